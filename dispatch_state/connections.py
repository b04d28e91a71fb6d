"""What connections to either database have in common.

Each thread has one of its own; every use in a forked child is refused; all threads' are closed at once.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import weakref
from collections.abc import Callable, Generator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, Self

import peewee

from dispatch_state.errors import InvalidValue, StoreNotOpen, WrongProcess
from dispatch_state.values import Clock

_debugging = partial(logging.getLogger("peewee").isEnabledFor, logging.DEBUG)
Found = tuple[list[tuple[Any, ...]], Any]
"""Every row, and the cursor, of use until the next statement."""


NO_TASK: Any = object()
"""Owns a transaction that no `await` can interrupt, because it begins and ends in one call of ours."""


def running_task() -> object:
    """The asyncio task that runs in this thread; None outside of one."""
    asyncio: Any = sys.modules.get("asyncio.tasks")  # nobody runs a loop who has not imported it
    loop = None if asyncio is None else asyncio.events._get_running_loop()
    return None if loop is None else asyncio.current_task(loop)


class _ThreadState(peewee._ConnectionLocal):
    """What Peewee keeps for each thread.

    task: the asyncio task that opened this thread's transaction, or `NO_TASK`.
    """

    task: object = NO_TASK


class _Block(peewee._transaction):
    """Commits as one: a transaction, or, where one is open, a savepoint in it or simply a part of it.

    One object serves for all blocks that begin alike, also for several threads at once. An exception may be raised at
    any line, by a signal's handler: whatever was begun is then undone, here or by `Guarded.recover` further out.

    Args:
        savepoint: whether it is a savepoint where a transaction is open; else it is a part of that.
        of_caller: whether a caller's code runs in it, which may be a coroutine that awaits.
    """

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
        while depth > 0 and state.transactions[depth] is not self:
            depth -= 1  # an exception kept a block in this one from leaving
        try:
            if len(state.transactions) > depth + 1:
                database.recover(depth + 1)
            if kind is not None:
                database.recover(depth)
            elif depth:
                if self.savepoint:
                    database.run(f"RELEASE SAVEPOINT {_name(depth)}")
            else:
                database.commit()
                state.task = NO_TASK
            del state.transactions[depth:]
        except BaseException:
            database.recover(depth)
            raise
        if state.commit_callbacks and not depth:
            database._run_commit_callbacks()


class _Savepoint(_Block):
    """What Peewee's `savepoint()` gives: a savepoint that a caller may end and begin again."""

    def __init__(self, database: Any) -> None:
        super().__init__(database, savepoint=True)

    def _join(self, depth: int) -> None:
        super()._join(depth)
        self._name = _name(depth)

    def commit(self, begin: bool = True) -> None:
        self.db.run(f"RELEASE SAVEPOINT {self._name}")
        if begin:
            self.db.run(f"SAVEPOINT {self._name}")

    def rollback(self, begin: bool = True) -> None:
        self.db.run(f"ROLLBACK TO SAVEPOINT {self._name}")
        if not begin:
            self.db.run(f"RELEASE SAVEPOINT {self._name}")


def _name(depth: int) -> str:
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
        self._depth = self.db.transaction_depth()
        try:
            given = self._entered(self._depth)
            self._guard = _guard(threading.get_ident(), self._is_open(self._depth), self._undoing(self._depth))
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
        foreign = False
        try:
            foreign = not self.db.is_own_task()
            if foreign:
                self.db.refuse_other_tasks()
            self._left(kind, error, trace)
            self._depth = None
            next(self._guard, None)
        except BaseException:
            if not foreign:
                self._undo()
            raise

    def _left(self, *error: Any) -> None:
        """End: commit, or roll back when there is an error."""
        self._block.__exit__(*error)

    def _undo(self) -> None:
        """Roll back what is still open of it."""
        if self._depth is not None:
            self._undoing(self._depth)()
            self._depth = None

    def _undoing(self, depth: int) -> Callable[[], None]:
        """What undoes it, without a reference to this object."""
        return partial(self.db.recover, depth)

    def _is_open(self, depth: int) -> Callable[[], bool]:
        """What tells whether it is still open, without a reference to this object."""
        state = self.db._state
        mine = state.transactions[depth]
        return lambda: state.transactions[depth : depth + 1] == [mine]


def _guard(thread: int, is_open: Callable[[], bool], undo: Callable[[], None]) -> Generator[None, None, None]:
    """Undoes a block when it is dropped before it was run to its end.

    It is no `__del__`, which would run at the end of each block too: a signal's exception in it would be lost.
    """
    try:
        yield
    except GeneratorExit:
        if thread == threading.get_ident() and not sys.is_finalizing() and is_open():
            undo()
        raise


class Guarded(peewee.Database):
    """Refuses use after `close_all`, and in a forked child, where the parent's connections are left alone."""

    kind: str
    clock: Clock
    """Tells the present moment, in UTC."""
    lock_timeout: float
    """How long to wait for a lock, in seconds."""
    if TYPE_CHECKING:
        _state: Any
    inherited = False
    """Whether this is a forked child, where the parent's transactions are left alone."""
    block: _Block
    """A transaction, or a savepoint in the one that is open, for one call of ours: it begins and ends in that."""
    foreign_errors: tuple[type[Exception], ...]
    """What Peewee and its driver raise, none of which leaves the public calls."""
    _open = True

    def check_usable(self) -> None:
        """Raise `StoreNotOpen` after `close_all`, and `WrongProcess` in a forked child."""
        if not self._open:
            raise StoreNotOpen()
        if self.inherited:
            raise WrongProcess()

    @property
    def watched(self) -> bool:
        """Whether somebody wants to see each statement: a hook for queries, or Peewee's log at DEBUG."""
        return bool(self.query_hooks) or _debugging()

    def run(self, sql: str, parameters: Sequence[Any] = ()) -> Found:
        """Execute a statement where Peewee shows it to who watches: all its rows, and the cursor."""
        cursor = self.execute_sql(sql, parameters)
        return (cursor.fetchall() if cursor.description else []), cursor

    def refuse(self, error: Exception) -> NoReturn:
        """Raise what an error of the driver is to Peewee's users, or that another thread has closed the store."""
        self.check_usable()
        with peewee.__exception_wrapper__:  # type: ignore[attr-defined]
            raise error

    def transaction(self, *arguments: Any, **options: Any) -> _Block:
        """A transaction as Peewee has it; arguments say how it begins."""
        return _Block(self, *arguments, **options)

    def atomic(self, *arguments: Any, **options: Any) -> Atomic:
        """A transaction, or a savepoint in the one that is open; arguments say how the transaction begins."""
        return Atomic(self, *arguments, **options)

    def savepoint(self) -> _Savepoint:  # type: ignore[override]
        """A savepoint in the transaction that is open."""
        return _Savepoint(self)

    def begin_savepoint(self, depth: int) -> None:
        """Set the savepoint of a depth of blocks."""
        self.run(f"SAVEPOINT {_name(depth)}")

    def recover(self, depth: int) -> None:
        """Roll back what this thread has begun beyond a depth of blocks; does nothing where that is done already.

        It raises no error of the database, so that it never replaces the one on its way to the caller: where a
        rollback fails the connection is closed, and its transaction ends with it.
        """
        state = self._state
        if self.usable:
            while len(state.transactions) > max(depth, 1):
                level = len(state.transactions) - 1
                if getattr(state.transactions[level], "savepoint", False):
                    self._roll_back_to(level)
                del state.transactions[level:]
            if not depth:
                self._roll_back()
        del state.transactions[depth:]
        if not depth:
            state.task = NO_TASK
            state.commit_callbacks.clear()

    def _roll_back_to(self, depth: int) -> None:
        try:
            self.run(f"ROLLBACK TO SAVEPOINT {_name(depth)}")
            self.run(f"RELEASE SAVEPOINT {_name(depth)}")
        except self.foreign_errors as error:
            self._savepoint_lost(error)

    def _savepoint_lost(self, error: Exception) -> None:
        """See that a transaction which cannot be rolled back to a savepoint is never committed."""
        raise AssertionError("each database says how")

    def _roll_back(self) -> None:
        """Roll this thread's transaction back, if one is open; its connection is closed when that fails."""
        raise AssertionError("each database says how")

    def is_own_task(self) -> bool:
        """Whether no other asyncio task opened the transaction of this thread."""
        owner = self._state.task
        return owner is NO_TASK or owner is running_task()

    def refuse_other_tasks(self) -> None:
        """Raise `InvalidValue` when another asyncio task opened the transaction of this thread."""
        if not self.is_own_task():
            raise InvalidValue(
                "another asyncio task opened the transaction that is open in this thread; put a whole transaction into "
                "one function without await, and make it with dispatch_state.aio.run"
            )

    def _begin_guard(self) -> None:
        self._state = _ThreadState()
        self.block = _Block(self, savepoint=True, of_caller=False)
        self._owners: dict[int, tuple[threading.Thread, Any]] = {}
        self._owning = threading.RLock()
        _GUARDED.add(self)

    def _connect(self) -> Any:
        if any(other._lost_block() for other in list(_GUARDED)):
            raise StoreNotOpen()  # here each statement that is left of it would commit by itself
        with self._owning:
            for thread, ended in list(self._owners.values()):
                if not thread.is_alive():
                    self._close(ended)
        connection = super()._connect()  # type: ignore[misc]
        with self._owning:
            self._owners[id(connection)] = threading.current_thread(), connection
            if not self._open:
                self._close(connection)
                raise StoreNotOpen()
        return connection

    def _lost_block(self) -> bool:
        """Whether this thread is in a block of this store, which was closed meanwhile."""
        return not self._open and not self.inherited and bool(self._state.transactions)

    def _close(self, connection: Any) -> None:
        with self._owning:
            self._owners.pop(id(connection), None)
        super()._close(connection)  # type: ignore[misc]

    def connection(self) -> Any:
        self.check_usable()
        return super().connection()

    def cursor(self, named_cursor: Any = None) -> Any:
        self.check_usable()
        return super().cursor(named_cursor)

    def connect(self, reuse_if_open: bool = False) -> Any:
        self.check_usable()
        return super().connect(reuse_if_open)

    def close(self) -> Any:
        """Give this thread's connection back."""
        self.check_usable()
        return super().close()

    def close_all(self) -> None:
        """Close the connections of all threads; every later use is `StoreNotOpen`.

        Raises:
            WrongProcess: they are another process's.
        """
        if self.inherited:
            raise WrongProcess()
        with self._owning:
            self._open = False
            while self._owners:  # one may be waiting for a lock that the next one holds
                for key, (_, connection) in list(self._owners.items()):
                    if self._closed_at_last(connection):
                        del self._owners[key]

    def _closed_at_last(self, connection: Any) -> bool:
        """Close one, unless it is running a statement that must end first; whether it is closed."""
        connection.close()
        return True

    @property
    def usable(self) -> bool:
        """Whether its transactions are still there, and this process's."""
        return self._open and not self.inherited

    def immortal(self) -> list[Any]:
        """The connections that a forked child must never finalise."""
        return []


_GUARDED: weakref.WeakSet[Guarded] = weakref.WeakSet()
INHERITED: set[tuple[int, int]] = set()
"""In a forked child: the SQLite files, by device and number, that were open when it was forked."""


def _keep_inherited_connections() -> None:
    """In a forked child: hold every inherited SQLite connection for ever.

    Finalising one would close files that the parent still uses, and with them SQLite's locks. A reference
    that is never given back keeps them also through the interpreter's shutdown. A turn that the parent has
    taken ends with the parent, not with a child that outlives it.
    """
    import ctypes

    for database in _GUARDED:
        database.inherited = True
        database._state.conn = None
        for connection in database.immortal():
            connection.turn.abandon()
            INHERITED.add(connection.file)
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))


os.register_at_fork(after_in_child=_keep_inherited_connections)


def original(error: BaseException) -> BaseException:
    """The driver's error, which Peewee wraps once for each of its own calls on the way."""
    while isinstance(error, peewee.PeeweeException) and hasattr(error, "orig"):
        error = error.orig
    return error


def is_named_elsewhere(error: Exception) -> bool:
    """Whether the database refused to delete a row because a foreign key names it."""
    found = original(error)
    return getattr(found, "sqlstate", None) in ("23001", "23503") or "FOREIGN KEY" in str(found)
