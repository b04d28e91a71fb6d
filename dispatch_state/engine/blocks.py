"""`store.atomic()` blocks, and what row objects were before them."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from dispatch_state.errors import DispatchError, StoreError
from dispatch_state.models.row import Row
from dispatch_state.storage.connect import Database
from dispatch_state.storage.transactions import Atomic


class Memory(threading.local):
    """What row objects were before the blocks of this thread changed them, block by block."""

    def __init__(self) -> None:
        self.blocks: list[dict[int, tuple[Row, dict[str, Any]]]] = []

    def remember(self, row: Row) -> None:
        """Keep what a row object is now, unless the block knows an earlier state of it."""
        if self.blocks and id(row) not in self.blocks[-1]:
            state = {name: _copied(value) for name, value in vars(row).items()}
            self.blocks[-1][id(row)] = (row, state)

    def end(self, level: int, restore: bool) -> None:
        """End the blocks beyond a level; what they remember goes back into the objects, or to the block around."""
        while len(self.blocks) > level:
            for key, (row, state) in self.blocks[-1].items():
                if restore:
                    row.__dict__ = state  # in one step: an exception may come at any line
                elif len(self.blocks) > 1:
                    self.blocks[-2].setdefault(key, (row, state))
            del self.blocks[-1]


def _copied(value: Any) -> Any:
    return value.copy() if isinstance(value, dict | set) else value


class ErrorBoundary:
    """Nothing foreign leaves here: an error of the database or its driver becomes one of ours."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def __enter__(self) -> None:
        self._database.check_usable()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._database.release()
        if error is not None and isinstance(error, self._database.foreign_errors):
            self.translate(error)

    def translate(self, error: Exception) -> None:
        """Raise what an error of the database or its driver becomes, unless it is one of ours too."""
        if isinstance(error, DispatchError):
            return
        self._database.check_usable()  # another thread may have closed the store meanwhile
        first = str(error).partition("\n")[0]
        raise self._database.store_error(error) or StoreError(f"the database refused: {first}") from error


class AtomicBlock(Atomic):
    """A block that commits as one; when it rolls back, row objects are put back to what they were.

    Args:
        block: begins and ends the transaction; an ordinary one when None.
    """

    _level = sys.maxsize
    _restores = True

    def __init__(
        self,
        database: Database,
        boundary: ErrorBoundary,
        memory: Memory,
        block: AbstractContextManager[Any] | None = None,
    ) -> None:
        super().__init__(database)
        self._error_boundary = boundary
        self._memory = memory
        self._given = block

    def _build_ctx(self) -> AtomicBlock:
        return AtomicBlock(self.db, self._error_boundary, self._memory)

    def _begin(self, depth: int) -> None:
        self._level = len(self._memory.blocks)
        self._block = self._given or (self.db.savepoint() if depth else self.db.transaction())
        with self._error_boundary:
            self._block.__enter__()
        self._memory.blocks.append({})

    def _end(self, *error: Any) -> None:
        failed = error[0] is not None
        if failed and not self.db.usable:
            self._undo()
            return
        with self._error_boundary:
            self._block.__exit__(*error)
        self._restores = failed
        self._memory.end(self._level, restore=failed)

    def _undo_function(self, depth: int) -> Callable[[], None]:
        restore = partial(self._memory.end, self._level, restore=self._restores)
        undo = super()._undo_function(depth)

        def undo_both() -> None:
            restore()
            undo()

        return undo_both
