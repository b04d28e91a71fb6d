"""Transactions and savepoints as blocks, which end correctly whatever exception is raised in them, at whatever line.

A signal handler may raise at any line. So a block is undone in two places: by itself, and by the call around it, which
makes the database roll back beyond the depth that the call began with.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Generator
from functools import partial
from typing import Any, Self

import peewee

from dispatch_state.errors import InvalidValue

TRANSACTION_IS_OVER = (
    "the transaction of this block is over, or a block in it was never left; nothing is written: begin it again"
)
NO_TASK: Any = object()
"""Stands for the task of a transaction that begins and ends within one call of the library, without any `await`."""


def running_task() -> object:
    """Return the asyncio task that runs in this thread; None outside of one."""
    asyncio: Any = sys.modules.get("asyncio.tasks")  # without the import, no loop can run
    loop = None if asyncio is None else asyncio.events._get_running_loop()
    return None if loop is None else asyncio.current_task(loop)


class ThreadLifetime:
    """Lives as long as its thread, because only the thread's own state refers to it.

    `Thread.is_alive` is not reliable: on CPython 3.11, a signal's exception in it marks a running thread as stopped.
    """


class ThreadState(peewee._ConnectionLocal):
    """What Peewee keeps for each thread, and a little more.

    task: the asyncio task that opened this thread's transaction, or `NO_TASK`.
    left_open: blocks that nobody has left yet, though their transaction is over because the block around them has
        ended. Until they are left, this thread begins no transaction: within such a block it would commit by itself.
    lifetime: ends with the thread.
    """

    task: object = NO_TASK

    def __init__(self) -> None:
        super().__init__()
        self.left_open: set[Block] = set()
        self.lifetime = ThreadLifetime()


class Block(peewee._transaction):
    """Commits as one: a transaction, or in an open transaction either a savepoint or simply a part of it.

    One object serves all blocks that begin in the same way, also in several threads at once. A signal handler may raise
    at any line; what was begun is then undone, here or by `roll_back_beyond` in a call further out.

    Args:
        database: the database.
        arguments: as `begin` takes them.
        savepoint: whether it sets a savepoint when a transaction is open.
        of_caller: whether it runs a caller's code, which may be a coroutine that awaits.
        options: as `begin` takes them.
    """

    ends_when_dropped = False
    """Whether it is undone when its owner is dropped, so that it always ends at some time."""

    def __init__(
        self, database: Any, *arguments: Any, savepoint: bool = False, of_caller: bool = True, **options: Any
    ) -> None:
        super().__init__(database, *arguments, **options)
        self._start = partial(database.begin, *arguments, **options)
        self.savepoint = savepoint
        self._of_caller = of_caller

    def __enter__(self) -> Self:
        database = self.db
        depth = len(database._state.transactions)
        try:
            if depth:
                self._join(depth)
            else:
                if database._state.left_open:
                    raise peewee.InternalError(TRANSACTION_IS_OVER)
                self._start()  # this may connect, and replace the list of transactions
                if self._of_caller:
                    database._state.task = running_task()
            database._state.transactions.append(self)
            return self
        except BaseException:
            database.roll_back_beyond(depth)
            raise

    def _join(self, depth: int) -> None:
        self.db.refuse_other_tasks()
        if self.savepoint:
            self.db.begin_savepoint(depth)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        database = self.db
        state = database._state
        if state.task is not NO_TASK:
            database.refuse_other_tasks()
        depth = len(state.transactions) - 1
        in_order = depth >= 0 and state.transactions[depth] is self
        try:
            if not in_order:
                depth = self._leave_out_of_order(state)
            if kind is not None:
                database.roll_back_beyond(depth)
            elif not in_order:
                raise peewee.InternalError(TRANSACTION_IS_OVER)
            elif depth:
                if self.savepoint:
                    database.run(f"RELEASE SAVEPOINT {savepoint_name(depth)}")
            else:
                database.commit()
                state.task = NO_TASK
            del state.transactions[depth:]
        except BaseException:
            database.roll_back_beyond(depth)
            raise
        if state.commit_callbacks and not depth:
            database._run_commit_callbacks()

    def _leave_out_of_order(self, state: ThreadState) -> int:
        """Note the blocks in it that nobody has left; returns its depth among the open blocks, or one beyond them."""
        opened = state.transactions
        state.left_open.discard(self)
        depth = max((depth for depth, block in enumerate(opened) if block is self), default=len(opened))
        state.left_open.update(ending_when_dropped(opened[depth + 1 :]))
        return depth


def ending_when_dropped(blocks: list[Any]) -> list[Block]:
    """Return the blocks that end when their owner is dropped; the others may be Peewee's own."""
    return [block for block in blocks if isinstance(block, Block) and block.ends_when_dropped]


class Savepoint(Block):
    """The block of Peewee's `savepoint()`: a savepoint that a caller may end and set again."""

    _name: str | None = None

    def __init__(self, database: Any) -> None:
        super().__init__(database, savepoint=True)

    def _join(self, depth: int) -> None:
        super()._join(depth)
        self._name = savepoint_name(depth)

    def commit(self, begin: bool = True) -> None:
        """Keep what was done since it was set.

        Args:
            begin: whether to set it again.
        """
        if self._name is None:
            super().commit(begin)
            return
        self.db.run(f"RELEASE SAVEPOINT {self._name}")
        if begin:
            self.db.run(f"SAVEPOINT {self._name}")

    def rollback(self, begin: bool = True) -> None:
        """Undo what was done since it was set.

        Args:
            begin: whether to set it again.
        """
        if self._name is None:
            super().rollback(begin)
            return
        self.db.run(f"ROLLBACK TO SAVEPOINT {self._name}")
        if not begin:
            self.db.run(f"RELEASE SAVEPOINT {self._name}")


def savepoint_name(depth: int) -> str:
    """Return the name of the savepoint at a depth of blocks.

    Names are constant, so that SQLite finds the statements in its cache. Each depth has its own, so that a savepoint
    which an exception left behind is never mistaken for that of the block around it.
    """
    return f"dispatch_state_{depth}"


class Atomic(peewee._atomic):
    """The block of `atomic()`: a transaction, or a savepoint in the open one.

    A signal's exception may come just before the first line of `__exit__`, which then never runs. So a block that is
    still open is undone when the interpreter drops this object, together with that exception.
    """

    _depth: int | None = None
    _transaction_args: tuple[tuple[Any, ...], dict[str, Any]]

    def __enter__(self) -> Any:
        if self._depth is not None:
            raise InvalidValue("this atomic() block is open already; call atomic() for each block")
        self.db.undo_interrupted_block()
        self._thread = threading.get_ident()
        self._depth = self.db.transaction_depth()
        try:
            bound = self._begin(self._depth)
            opened = self.db._state.transactions[self._depth]
            opened.ends_when_dropped = True
            self._undo_on_drop = _undo_when_dropped(
                self._thread, self.db._state, opened, self._undo_function(self._depth)
            )
            next(self._undo_on_drop)
            return bound
        except BaseException:
            self._undo()
            raise

    def _begin(self, depth: int) -> Any:
        """Begin; returns what `with … as` binds."""
        arguments, options = self._transaction_args
        self._block = self.db.savepoint() if depth else self.db.transaction(*arguments, **options)
        return self._block.__enter__()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        is_own = True
        try:
            is_own = self.db.is_own_task() and self._thread == threading.get_ident()
            if not is_own:
                self._refuse_others()
            self._end(kind, error, trace)
            self._depth = None
            next(self._undo_on_drop, None)
        except BaseException:
            if is_own:
                self._undo()
            raise

    def _refuse_others(self) -> None:
        self.db.refuse_other_tasks()
        raise InvalidValue("this atomic() block was opened in another thread; leave it there")

    def _end(self, *error: Any) -> None:
        """End: commit, or roll back when there is an error."""
        self._block.__exit__(*error)

    def _undo(self) -> None:
        """Roll back what is still open in it."""
        if self._depth is not None:
            self._undo_function(self._depth)()
            self._depth = None

    def undo_in(self, database: Any) -> None:
        """Undo the block if it is open, and belongs to this thread and this database."""
        if self.db is database and self._depth is not None and self._thread == threading.get_ident():
            self._undo()
            next(self._undo_on_drop, None)

    def _undo_function(self, depth: int) -> Callable[[], None]:
        """Return a function that undoes the block and does not refer to this object."""
        return partial(self.db.roll_back_beyond, depth)


def _undo_when_dropped(
    thread: int, state: ThreadState, opened: Block, undo: Callable[[], None]
) -> Generator[None, None, None]:
    """Undo a block when this generator is dropped before it was run to its end.

    A `__del__` would run at the end of each block too, and a signal's exception in it would be lost.
    """
    try:
        yield
    except GeneratorExit:
        if thread == threading.get_ident() and not sys.is_finalizing():
            if opened in state.transactions:
                state.left_open.update(ending_when_dropped(state.transactions[state.transactions.index(opened) + 1 :]))
                undo()
            state.left_open.discard(opened)
        raise
