"""What SQLite's and PostgreSQL's connections have in common.

Each thread has a connection of its own. A forked child may not use its parent's. `close_all` closes the
connections of all threads.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import weakref
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

import peewee

from dispatch_state.errors import InvalidValue, StoreNotOpen, WrongProcess
from dispatch_state.storage.transactions import (
    NO_TASK,
    Atomic,
    Block,
    Savepoint,
    ThreadState,
    running_task,
    savepoint_name,
)
from dispatch_state.values import Clock

_logs_statements = partial(logging.getLogger("peewee").isEnabledFor, logging.DEBUG)
RowsAndCursor = tuple[list[tuple[Any, ...]], Any]
"""All rows of a statement, and its cursor, which is valid until the next statement."""


class ManagedDatabase(peewee.Database):
    """A Peewee database that refuses to be used after `close_all`, and in a forked child."""

    kind: str
    clock: Clock
    """Returns the present moment, in UTC."""
    lock_timeout: float
    """How long to wait for a lock, in seconds."""
    if TYPE_CHECKING:
        _state: Any
    inherited = False
    """Whether this is a forked child, which must leave the parent's connections and transactions alone."""
    block: Block
    """A transaction, or a savepoint in the open one, that begins and ends within one call of the library."""
    foreign_errors: tuple[type[Exception], ...]
    """The exceptions of Peewee and the driver; no public call lets them through."""
    _open = True

    def check_usable(self) -> None:
        """Check that the database may be used.

        Raises:
            StoreNotOpen: `close_all` was called.
            WrongProcess: this is a forked child.
        """
        if not self._open:
            raise StoreNotOpen()
        if self.inherited:
            raise WrongProcess()

    @property
    def is_observed(self) -> bool:
        """Whether each statement must be shown to a query hook, or to Peewee's log at DEBUG."""
        return bool(self.query_hooks) or _logs_statements()

    def run(self, sql: str, parameters: Sequence[Any] = ()) -> RowsAndCursor:
        """Execute a statement through Peewee, which shows it to query hooks; returns all its rows, and the cursor."""
        cursor = self.execute_sql(sql, parameters)
        return (cursor.fetchall() if cursor.description else []), cursor

    def raise_as_peewee(self, error: Exception) -> NoReturn:
        """Raise an error of the driver as Peewee's.

        Raises:
            StoreNotOpen: another thread has closed the store.
            Exception: Peewee's error otherwise.
        """
        self.check_usable()
        with peewee.__exception_wrapper__:  # type: ignore[attr-defined]
            raise error

    def transaction(self, *arguments: Any, **options: Any) -> Block:
        """Return a transaction block; the arguments are those of `begin`."""
        return Block(self, *arguments, **options)

    def atomic(self, *arguments: Any, **options: Any) -> Atomic:
        """Return a block: a transaction, begun with these arguments, or a savepoint in the open one."""
        return Atomic(self, *arguments, **options)

    def manual_commit(self) -> Any:
        """Return Peewee's block of manual commits. It connects first: a new connection would forget the block."""
        self.connection()
        return super().manual_commit()

    def pop_transaction(self) -> Any:
        """Remove the innermost block, as Peewee does."""
        if self.transaction_depth() == 1:
            self._state.task = NO_TASK
        return super().pop_transaction()

    def savepoint(self) -> Savepoint:  # type: ignore[override]
        """Return a savepoint block in the open transaction."""
        return Savepoint(self)

    def begin_savepoint(self, depth: int) -> None:
        """Set the savepoint for a depth of blocks."""
        self.run(f"SAVEPOINT {savepoint_name(depth)}")

    def roll_back_beyond(self, depth: int) -> None:
        """Roll back the blocks of this thread beyond a depth, if there still are any.

        It raises no error of the database, so that it never hides the error that the caller should see. When a rollback
        fails, it closes the connection, and the transaction ends with that.
        """
        state = self._state
        if self.usable:
            while len(state.transactions) > max(depth, 1):
                level = len(state.transactions) - 1
                if getattr(state.transactions[level], "savepoint", False):
                    self._roll_back_to_savepoint(level)
                del state.transactions[level:]
            if not depth:
                self._roll_back()
        del state.transactions[depth:]
        if not depth:
            state.task = NO_TASK
            state.commit_callbacks.clear()

    def _roll_back_to_savepoint(self, depth: int) -> None:
        try:
            self.run(f"ROLLBACK TO SAVEPOINT {savepoint_name(depth)}")
            self.run(f"RELEASE SAVEPOINT {savepoint_name(depth)}")
        except self.foreign_errors as error:
            self._end_lost_savepoint(error)

    def _end_lost_savepoint(self, error: Exception) -> None:
        """Make sure that a transaction is never committed after a rollback to its savepoint failed."""
        raise AssertionError("each database defines this")

    def _roll_back(self) -> None:
        """Roll back this thread's transaction, if one is open; close the connection when that fails."""
        raise AssertionError("each database defines this")

    def undo_interrupted_block(self) -> None:
        """Undo the block whose end was interrupted by the exception that is being handled now."""
        error = sys.exception()
        while error is not None:
            trace = error.__traceback__
            while trace is not None:
                if trace.tb_frame.f_code is Atomic.__exit__.__code__:
                    trace.tb_frame.f_locals["self"].undo_in(self)
                trace = trace.tb_next
            error = error.__context__

    def is_own_task(self) -> bool:
        """Return whether no other asyncio task opened this thread's transaction."""
        owner = self._state.task
        return owner is NO_TASK or owner is running_task()

    def refuse_other_tasks(self) -> None:
        """Check that no other asyncio task opened the transaction of this thread.

        Raises:
            InvalidValue: one did.
        """
        if not self.is_own_task():
            raise InvalidValue(
                "another asyncio task opened the transaction that is open in this thread; put each whole transaction "
                "into one function without await, and call it with dispatch_state.aio.run"
            )

    def _begin_managing(self) -> None:
        self._state = ThreadState()
        self.block = Block(self, savepoint=True, of_caller=False)
        self._thread_connections: dict[int, tuple[weakref.ref[Any], Any]] = {}
        self._connections_lock = threading.RLock()
        _DATABASES.add(self)

    def _connect(self) -> Any:
        if any(other._is_in_closed_block() for other in list(_DATABASES)):
            raise StoreNotOpen()  # each further statement of that block would commit by itself
        with self._connections_lock:
            for lifetime, known in list(self._thread_connections.values()):
                if lifetime() is None:  # its thread has ended
                    self._close(known)
        connection: Any = None
        try:
            connection = super()._connect()  # type: ignore[misc]
            with self._connections_lock:
                self._thread_connections[id(connection)] = weakref.ref(self._state.lifetime), connection
                if not self._open:
                    raise StoreNotOpen()
            return connection
        except BaseException:
            if connection is not None:
                self._close(connection)
            raise

    def _is_in_closed_block(self) -> bool:
        """Return whether this thread is in a block of this store, and the store was closed meanwhile."""
        return not self._open and not self.inherited and bool(self._state.transactions)

    def _close(self, connection: Any) -> None:
        try:
            with self._connections_lock:
                self._thread_connections.pop(id(connection), None)
            super()._close(connection)  # type: ignore[misc]
        except BaseException:
            connection.close()  # nobody else would: the thread no longer holds it
            raise

    def connection(self) -> Any:
        """Return this thread's connection; raises as `check_usable` does."""
        self.check_usable()
        return super().connection()

    def cursor(self, named_cursor: Any = None) -> Any:
        """Return a new cursor of this thread's connection; raises as `check_usable` does."""
        self.check_usable()
        return super().cursor(named_cursor)

    def connect(self, reuse_if_open: bool = False) -> Any:
        """Connect this thread as Peewee does; raises as `check_usable` does."""
        self.check_usable()
        return super().connect(reuse_if_open)

    def close(self) -> Any:
        """Close this thread's connection, or give it back to the pool; raises as `check_usable` does."""
        self.check_usable()
        return super().close()

    def close_all(self) -> None:
        """Close the connections of all threads; every later use raises `StoreNotOpen`.

        Raises:
            WrongProcess: this is a forked child, and the connections are its parent's.
        """
        if self.inherited:
            raise WrongProcess()
        with self._connections_lock:
            self._open = False
            while self._thread_connections:  # one may wait for a lock that the next one holds
                for key, (_, connection) in list(self._thread_connections.items()):
                    if self._close_if_idle(connection):
                        del self._thread_connections[key]

    def _close_if_idle(self, connection: Any) -> bool:
        """Close a connection unless it is running a statement that must end first; returns whether it is closed."""
        connection.close()
        return True

    @property
    def usable(self) -> bool:
        """Whether the store is open, and this is the process that opened it."""
        return self._open and not self.inherited

    def kept_after_fork(self) -> list[Any]:
        """Return the connections that a forked child must never finalise."""
        return []


_DATABASES: weakref.WeakSet[ManagedDatabase] = weakref.WeakSet()
INHERITED_FILES: set[tuple[int, int]] = set()
"""In a forked child: the SQLite files that were open when it was forked, by device and inode."""


def _keep_inherited_connections() -> None:
    """In a forked child: keep every inherited SQLite connection for ever.

    Finalising one would close files that the parent still uses, and release SQLite's locks on them. A reference that is
    never released keeps the connections through the interpreter's shutdown too. The child leaves the write queue, so
    that a turn of the parent ends with the parent, even when the child lives longer.
    """
    import ctypes

    for database in _DATABASES:
        database.inherited = True
        database._state.conn = None
        for connection in database.kept_after_fork():
            connection.turn.abandon()
            INHERITED_FILES.add(connection.file)
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))


os.register_at_fork(after_in_child=_keep_inherited_connections)


def driver_error(error: BaseException) -> BaseException:
    """Return the driver's error, which Peewee may have wrapped several times."""
    while isinstance(error, peewee.PeeweeException) and hasattr(error, "orig"):
        error = error.orig
    return error


def is_foreign_key_error(error: Exception) -> bool:
    """Return whether the database refused to delete a row because a foreign key refers to it."""
    found = driver_error(error)
    return getattr(found, "sqlstate", None) in ("23001", "23503") or "FOREIGN KEY" in str(found)
