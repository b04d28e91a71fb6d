"""Transactions and savepoints as blocks, which end whatever is raised in them, at whatever line.

A signal's handler may raise at any line. So each block is undone at two levels: by itself, and by the call around it,
which asks the database to `recover` the depth that it began with.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Generator
from functools import partial
from typing import Any, Self

import peewee

from dispatch_state.errors import InvalidValue

GONE = "the transaction of this block is over, or a block in it was never left; nothing is written: begin it again"
NO_TASK: Any = object()
"""Owns a transaction that no `await` can interrupt, because it begins and ends in one call of ours."""


def running_task() -> object:
    """The asyncio task that runs in this thread; None outside of one."""
    asyncio: Any = sys.modules.get("asyncio.tasks")  # nobody runs a loop who has not imported it
    loop = None if asyncio is None else asyncio.events._get_running_loop()
    return None if loop is None else asyncio.current_task(loop)


class ThreadLifetime:
    """Lives as long as its thread does: nothing but the thread's own state holds it.

    `Thread.is_alive` does not tell: a signal's exception in it marks a living thread as stopped (CPython 3.11).
    """


class ThreadState(peewee._ConnectionLocal):
    """What Peewee keeps for each thread.

    task: the asyncio task that opened this thread's transaction, or `NO_TASK`.
    left_open: blocks whose transaction is over, because the one around them has ended, and that nobody has left yet.
        Until somebody does, nothing is begun in this thread: it would be committed by itself within such a block.
    """

    task: object = NO_TASK

    def __init__(self) -> None:
        super().__init__()
        self.left_open: set[Block] = set()
        self.life = ThreadLifetime()


class Block(peewee._transaction):
    """Commits as one: a transaction, or, where one is open, a savepoint in it or simply a part of it.

    One object serves for all blocks that begin alike, also for several threads at once. An exception may be raised at
    any line, by a signal's handler: whatever was begun is then undone, here or by `recover` further out.

    Args:
        savepoint: whether it is a savepoint where a transaction is open; else it is a part of that.
        of_caller: whether a caller's code runs in it, which may be a coroutine that awaits.
    """

    guarded = False
    """Whether it is undone when its owner is dropped, so that it is certain to end some time."""

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
                    raise peewee.InternalError(GONE)
                self._start()  # which may make a connection, and with it another list
                if self._of_caller:
                    database._state.task = running_task()
            database._state.transactions.append(self)
            return self
        except BaseException:
            database.recover(depth)
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
                depth = self._left_out_of_order(state)
            if kind is not None:
                database.recover(depth)
            elif not in_order:
                raise peewee.InternalError(GONE)
            elif depth:
                if self.savepoint:
                    database.run(f"RELEASE SAVEPOINT {savepoint_name(depth)}")
            else:
                database.commit()
                state.task = NO_TASK
            del state.transactions[depth:]
        except BaseException:
            database.recover(depth)
            raise
        if state.commit_callbacks and not depth:
            database._run_commit_callbacks()

    def _left_out_of_order(self, state: ThreadState) -> int:
        """Note the blocks in it that nobody has left; returns where it is among the open ones, or behind them."""
        opened = state.transactions
        state.left_open.discard(self)
        depth = max((depth for depth, block in enumerate(opened) if block is self), default=len(opened))
        state.left_open.update(guarded(opened[depth + 1 :]))
        return depth


def guarded(blocks: list[Any]) -> list[Block]:
    """Those of some blocks, Peewee's own among them, that are certain to end some time."""
    return [block for block in blocks if isinstance(block, Block) and block.guarded]


class Savepoint(Block):
    """What Peewee's `savepoint()` gives: a savepoint that a caller may end and begin again."""

    _name: str | None = None

    def __init__(self, database: Any) -> None:
        super().__init__(database, savepoint=True)

    def _join(self, depth: int) -> None:
        super()._join(depth)
        self._name = savepoint_name(depth)

    def commit(self, begin: bool = True) -> None:
        """Keep what was done since it was set, and set it again unless `begin` is False."""
        if self._name is None:
            super().commit(begin)
            return
        self.db.run(f"RELEASE SAVEPOINT {self._name}")
        if begin:
            self.db.run(f"SAVEPOINT {self._name}")

    def rollback(self, begin: bool = True) -> None:
        """Undo what was done since it was set, and set it again unless `begin` is False."""
        if self._name is None:
            super().rollback(begin)
            return
        self.db.run(f"ROLLBACK TO SAVEPOINT {self._name}")
        if not begin:
            self.db.run(f"RELEASE SAVEPOINT {self._name}")


def savepoint_name(depth: int) -> str:
    """What the savepoint at a depth is called.

    Constant names find their statements in SQLite's cache. One for each depth is exact where an exception left a
    savepoint behind: that one is never taken for the savepoint of the block around it.
    """
    return f"dispatch_state_{depth}"


class Atomic(peewee._atomic):
    """What `atomic()` gives: a transaction, or a savepoint in the one that is open.

    A signal's exception may come between `with` and the first line of `__exit__`, which is never reached then. So
    what is still open is undone when the interpreter drops this object, together with that exception.
    """

    _depth: int | None = None
    _transaction_args: tuple[tuple[Any, ...], dict[str, Any]]

    def __enter__(self) -> Any:
        if self._depth is not None:
            raise InvalidValue("this atomic() block is open already; each block takes an object of its own")
        self.db.undo_interrupted()
        self._thread = threading.get_ident()
        self._depth = self.db.transaction_depth()
        try:
            given = self._entered(self._depth)
            opened = self.db._state.transactions[self._depth]
            opened.guarded = True
            self._guard = _guard(self._thread, self.db._state, opened, self._undoing(self._depth))
            next(self._guard)
            return given
        except BaseException:
            self._undo()
            raise

    def _entered(self, depth: int) -> Any:
        """Begin; returns what `with` gives to the caller."""
        arguments, options = self._transaction_args
        self._block = self.db.savepoint() if depth else self.db.transaction(*arguments, **options)
        return self._block.__enter__()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        mine = True
        try:
            mine = self.db.is_own_task() and self._thread == threading.get_ident()
            if not mine:
                self._refuse()
            self._left(kind, error, trace)
            self._depth = None
            next(self._guard, None)
        except BaseException:
            if mine:
                self._undo()
            raise

    def _refuse(self) -> None:
        self.db.refuse_other_tasks()
        raise InvalidValue("this atomic() block was opened in another thread, which is to leave it")

    def _left(self, *error: Any) -> None:
        """End: commit, or roll back when there is an error."""
        self._block.__exit__(*error)

    def _undo(self) -> None:
        """Roll back what is still open of it."""
        if self._depth is not None:
            self._undoing(self._depth)()
            self._depth = None

    def undo_in(self, database: Any) -> None:
        """Undo it, if it is this thread's block of a database and still open."""
        if self.db is database and self._depth is not None and self._thread == threading.get_ident():
            self._undo()
            next(self._guard, None)

    def _undoing(self, depth: int) -> Callable[[], None]:
        """What undoes it, without a reference to this object."""
        return partial(self.db.recover, depth)


def _guard(thread: int, state: ThreadState, opened: Block, undo: Callable[[], None]) -> Generator[None, None, None]:
    """Undoes a block when it is dropped before it was run to its end.

    It is no `__del__`, which would run at the end of each block too: a signal's exception in it would be lost.
    """
    try:
        yield
    except GeneratorExit:
        if thread == threading.get_ident() and not sys.is_finalizing():
            if opened in state.transactions:
                state.left_open.update(guarded(state.transactions[state.transactions.index(opened) + 1 :]))
                undo()
            state.left_open.discard(opened)
        raise
