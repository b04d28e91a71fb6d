"""What connections to either database have in common.

Each thread has one of its own; every use in a forked child is refused; all threads' are closed at once.
"""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, Self

import peewee

from dispatch_state.errors import StoreNotOpen, WrongProcess

_debugging = partial(logging.getLogger("peewee").isEnabledFor, logging.DEBUG)
Found = tuple[list[tuple[Any, ...]], Any]
"""Every row, and the cursor, of use until the next statement."""


class _Savepoint(peewee._savepoint):
    """A savepoint of constant name, which SQLite's cache of prepared statements knows.

    One that is rolled back is also released: with one name for all, the block around it would else roll
    back to the inner savepoint instead of its own.
    """

    def __init__(self, database: Any) -> None:
        super().__init__(database, "dispatch_state")

    def _begin(self) -> None:
        self.db.run(f"SAVEPOINT {self.quoted_sid}")

    def commit(self, begin: bool = True) -> None:
        self.db.run(f"RELEASE SAVEPOINT {self.quoted_sid}")
        if begin:
            self._begin()

    def rollback(self, begin: bool = True) -> None:
        try:
            self.db.run(f"ROLLBACK TO SAVEPOINT {self.quoted_sid}")
            self.commit(begin)
        except peewee.PeeweeException:
            self.db.raise_unless_gone()


class _Transaction(peewee._transaction):
    """Peewee's transaction, with what it asks of the database on each way in and out asked once.

    One serves for all blocks that begin alike, also for several threads at once.

    inner: what it is in a transaction that is open; when None, a part of that.
    """

    inner: _Savepoint | None = None

    def __init__(self, database: Any, *arguments: Any, **options: Any) -> None:
        super().__init__(database, *arguments, **options)
        self._start = partial(database.begin, *arguments, **options)

    def __enter__(self) -> Self:
        state = self.db._state
        if not state.transactions:
            self._start()  # which may make a connection, and with it another list
        elif self.inner is not None:
            self.inner.__enter__()
        state.transactions.append(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        state = self.db._state
        state.transactions.pop()
        if state.transactions:
            if self.inner is not None:
                self.inner.__exit__(kind, error, trace)
            return
        if kind is not None:
            self.rollback(False)
            return
        try:
            self.db.commit()
        except Exception:
            self.rollback(False)
            raise
        if state.commit_callbacks:
            self.db._run_commit_callbacks()


class Guarded(peewee.Database):
    """Refuses use after `close_all`, and in a forked child, where the parent's connections are left alone."""

    kind: str
    if TYPE_CHECKING:
        _state: Any
    inherited = False
    """Whether this is a forked child, where the parent's transactions are left alone."""
    block: _Transaction
    """Commits as one: a transaction, or a savepoint in the one that is open."""
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

    def transaction(self, *arguments: Any, **options: Any) -> _Transaction:
        """A transaction as Peewee has it; arguments say how it begins."""
        return _Transaction(self, *arguments, **options)

    def _begin_guard(self) -> None:
        self.block = _Transaction(self)
        self.block.inner = _Savepoint(self)
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

    def savepoint(self) -> _Savepoint:
        return _Savepoint(self)

    def rollback(self) -> None:
        """Roll the transaction back, if it is still there."""
        try:
            self.run("ROLLBACK")
        except peewee.PeeweeException:
            self.raise_unless_gone()

    @property
    def usable(self) -> bool:
        """Whether its transactions are still there, and this process's."""
        return self._open and not self.inherited

    def raise_unless_gone(self) -> None:
        """Raise the error of a rollback again, unless its transaction is gone: then what ended it is what is told."""
        if self.is_closed() or self._in_transaction(self.connection()):
            raise

    def _in_transaction(self, connection: Any) -> bool:
        raise AssertionError("each database says how it is told")

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
