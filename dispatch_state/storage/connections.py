"""What connections to either database have in common.

Each thread has one of its own; every use in a forked child is refused; all threads' are closed at once.
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

_debugging = partial(logging.getLogger("peewee").isEnabledFor, logging.DEBUG)
Found = tuple[list[tuple[Any, ...]], Any]
"""Every row, and the cursor, of use until the next statement."""


class ManagedDatabase(peewee.Database):
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
    block: Block
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

    def transaction(self, *arguments: Any, **options: Any) -> Block:
        """A transaction as Peewee has it; arguments say how it begins."""
        return Block(self, *arguments, **options)

    def atomic(self, *arguments: Any, **options: Any) -> Atomic:
        """A transaction, or a savepoint in the one that is open; arguments say how the transaction begins."""
        return Atomic(self, *arguments, **options)

    def manual_commit(self) -> Any:
        """Peewee's block without transactions of its own; connects first, because a new connection forgets blocks."""
        self.connection()
        return super().manual_commit()

    def pop_transaction(self) -> Any:
        """Take the innermost block off, as Peewee's sessions do."""
        if self.transaction_depth() == 1:
            self._state.task = NO_TASK
        return super().pop_transaction()

    def savepoint(self) -> Savepoint:  # type: ignore[override]
        """A savepoint in the transaction that is open."""
        return Savepoint(self)

    def begin_savepoint(self, depth: int) -> None:
        """Set the savepoint of a depth of blocks."""
        self.run(f"SAVEPOINT {savepoint_name(depth)}")

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
            self.run(f"ROLLBACK TO SAVEPOINT {savepoint_name(depth)}")
            self.run(f"RELEASE SAVEPOINT {savepoint_name(depth)}")
        except self.foreign_errors as error:
            self._savepoint_lost(error)

    def _savepoint_lost(self, error: Exception) -> None:
        """See that a transaction which cannot be rolled back to a savepoint is never committed."""
        raise AssertionError("each database says how")

    def _roll_back(self) -> None:
        """Roll this thread's transaction back, if one is open; its connection is closed when that fails."""
        raise AssertionError("each database says how")

    def undo_interrupted(self) -> None:
        """Undo a block that the exception which is being handled kept from ending: nothing more belongs into it."""
        error = sys.exception()
        while error is not None:
            trace = error.__traceback__
            while trace is not None:
                if trace.tb_frame.f_code is Atomic.__exit__.__code__:
                    trace.tb_frame.f_locals["self"].undo_in(self)
                trace = trace.tb_next
            error = error.__context__

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

    def _begin_managing(self) -> None:
        self._state = ThreadState()
        self.block = Block(self, savepoint=True, of_caller=False)
        self._owners: dict[int, tuple[weakref.ref[Any], Any]] = {}
        self._owning = threading.RLock()
        _DATABASES.add(self)

    def _connect(self) -> Any:
        if any(other._lost_block() for other in list(_DATABASES)):
            raise StoreNotOpen()  # here each statement that is left of it would commit by itself
        with self._owning:
            for life, ended in list(self._owners.values()):
                if life() is None:
                    self._close(ended)
        connection: Any = None
        try:
            connection = super()._connect()  # type: ignore[misc]
            with self._owning:
                self._owners[id(connection)] = weakref.ref(self._state.life), connection
                if not self._open:
                    raise StoreNotOpen()
            return connection
        except BaseException:
            if connection is not None:
                self._close(connection)
            raise

    def _lost_block(self) -> bool:
        """Whether this thread is in a block of this store, which was closed meanwhile."""
        return not self._open and not self.inherited and bool(self._state.transactions)

    def _close(self, connection: Any) -> None:
        try:
            with self._owning:
                self._owners.pop(id(connection), None)
            super()._close(connection)  # type: ignore[misc]
        except BaseException:
            connection.close()  # nobody else would: the thread has let go of it
            raise

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

    def never_finalised(self) -> list[Any]:
        """The connections that a forked child must never finalise."""
        return []


_DATABASES: weakref.WeakSet[ManagedDatabase] = weakref.WeakSet()
INHERITED: set[tuple[int, int]] = set()
"""In a forked child: the SQLite files, by device and number, that were open when it was forked."""


def _keep_inherited_connections() -> None:
    """In a forked child: hold every inherited SQLite connection for ever.

    Finalising one would close files that the parent still uses, and with them SQLite's locks. A reference
    that is never given back keeps them also through the interpreter's shutdown. A turn that the parent has
    taken ends with the parent, not with a child that outlives it.
    """
    import ctypes

    for database in _DATABASES:
        database.inherited = True
        database._state.conn = None
        for connection in database.never_finalised():
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
