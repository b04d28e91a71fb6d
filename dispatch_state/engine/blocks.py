"""The `store.atomic()` blocks, and the states that row objects had before them."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from dispatch_state.errors import DispatchError, StoreError
from dispatch_state.models.row import Row
from dispatch_state.storage.connect import Database
from dispatch_state.storage.transactions import Atomic


class ObjectStates(threading.local):
    """The states that row objects had before the open blocks of this thread changed them: one dict for each block."""

    def __init__(self) -> None:
        self.blocks: list[dict[int, tuple[Row, dict[str, Any]]]] = []

    def remember(self, row: Row) -> None:
        """Save the present state of a row object, unless the innermost block has saved an earlier one.

        Args:
            row: the object that is about to change. Outside of a block nothing is saved.
        """
        if self.blocks and id(row) not in self.blocks[-1]:
            state = {name: _copied(value) for name, value in vars(row).items()}
            self.blocks[-1][id(row)] = (row, state)

    def update(self, objects: tuple[Any, ...], changed: Mapping[tuple[type[Row], Any], dict[str, Any]]) -> None:
        """Bring row objects up to date.

        Args:
            objects: the objects; unsaved changes of theirs stay.
            changed: the columns that were written, by model and id.
        """
        for row in objects:
            data = changed.get((type(row), row.__data__.get("id")))
            if data is not None:
                if self.blocks:
                    self.remember(row)
                if row._dirty or row._fingerprints:
                    unsaved = row.unsaved()
                    data = {name: value for name, value in data.items() if name not in unsaved}
                row.take(data)

    def end(self, level: int, restore: bool) -> None:
        """End the blocks that are deeper than a level.

        Args:
            level: how many blocks stay open.
            restore: whether the objects get back their saved states. When False, the surrounding block takes over
                the states, if there is one.
        """
        while len(self.blocks) > level:
            for key, (row, state) in self.blocks[-1].items():
                if restore:
                    row.__dict__ = state  # in one step, because a signal may raise at any line
                elif len(self.blocks) > 1:
                    self.blocks[-2].setdefault(key, (row, state))
            del self.blocks[-1]


def _copied(value: Any) -> Any:
    return value.copy() if isinstance(value, dict | set) else value


class ErrorBoundary:
    """A block that turns the errors of the database and its driver into errors of this library."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def __enter__(self) -> None:
        self._database.check_usable()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._database.release()
        if error is not None and isinstance(error, self._database.foreign_errors):
            self.translate(error)

    def translate(self, error: Exception) -> None:
        """Raise the error of this library for an error of the database or its driver.

        Args:
            error: what the database raised. When it is also one of ours, this method returns.

        Raises:
            StoreError: the error as ours, a subclass where one fits.
            StoreNotOpen: another thread closed the store.
            WrongProcess: the store was opened before this process was forked.
        """
        if isinstance(error, DispatchError):
            return
        self._database.check_usable()  # another thread may have closed the store meanwhile
        first = str(error).partition("\n")[0]
        raise self._database.store_error(error) or StoreError(f"the database refused: {first}") from error


class AtomicBlock(Atomic):
    """A block that commits as a whole. When it rolls back, the row objects get back their earlier states.

    Args:
        database: the database of the transaction.
        boundary: turns the errors of the database into ours.
        object_states: saves the states of row objects.
        block: begins and ends the transaction. When None, the block begins an ordinary one.
    """

    _level = sys.maxsize
    _restores = True

    def __init__(
        self,
        database: Database,
        boundary: ErrorBoundary,
        object_states: ObjectStates,
        block: AbstractContextManager[Any] | None = None,
    ) -> None:
        super().__init__(database)
        self._error_boundary = boundary
        self._object_states = object_states
        self._block_to_enter = block

    def _build_ctx(self) -> AtomicBlock:
        return AtomicBlock(self.db, self._error_boundary, self._object_states)

    def _begin(self, depth: int) -> None:
        self._level = len(self._object_states.blocks)
        self._block = self._block_to_enter or (self.db.savepoint() if depth else self.db.transaction())
        with self._error_boundary:
            self._block.__enter__()
        self._object_states.blocks.append({})

    def _end(self, *error: Any) -> None:
        failed = error[0] is not None
        if failed and not self.db.usable:
            self._undo()
            return
        with self._error_boundary:
            self._block.__exit__(*error)
        self._restores = failed
        self._object_states.end(self._level, restore=failed)

    def _undo_function(self, depth: int) -> Callable[[], None]:
        restore = partial(self._object_states.end, self._level, restore=self._restores)
        undo = super()._undo_function(depth)

        def undo_both() -> None:
            restore()
            undo()

        return undo_both
