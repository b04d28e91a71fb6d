"""All that differs between SQLite and PostgreSQL: how a store is reached, and what its errors mean.

Both databases give each thread a connection of its own, refuse every use in a forked child, and are
closed for all threads at once.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import threading
import weakref
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import peewee
from playhouse.pool import PooledDatabase

from dispatch_state import values
from dispatch_state.errors import (
    InvalidValue,
    StoreBusy,
    StoreCorrupt,
    StoreError,
    StoreFull,
    StoreNotFound,
    StoreNotOpen,
    StoreReadOnly,
    WrongProcess,
)
from dispatch_state.targets import MEMORY, POSTGRESQL, SQLITE, Target
from dispatch_state.values import shown

SYNCHRONOUS = {"full": "FULL", "normal": "NORMAL"}
LONGEST_WAIT = 2_000_000.0
"""Seconds; both databases count a wait in 32 bits of milliseconds, and SQLite takes more for no wait at all."""


# ---- what both have ----------------------------------------------------------------------------------


class _Savepoint(peewee._savepoint):
    """A savepoint of constant name, which SQLite's cache of prepared statements knows.

    One that is rolled back is also released: with one name for all, the block around it would else roll
    back to the inner savepoint instead of its own.
    """

    def __init__(self, database: Any) -> None:
        super().__init__(database, "dispatch_state")

    def rollback(self, begin: bool = True) -> None:
        with self.db.unless_gone():
            super().rollback(begin=False)
            self.commit(begin)


class _Guarded(peewee.Database):
    """Refuses use after `close_all`, and in a forked child, where the parent's connections are left alone."""

    kind: str
    driver_error: type[Exception]
    _open = True

    def check_usable(self) -> None:
        """Raise `StoreNotOpen` after `close_all`, and `WrongProcess` in a forked child."""
        if not self._open:
            raise StoreNotOpen()
        if os.getpid() != self._pid:
            raise WrongProcess()

    def _begin_guard(self) -> None:
        self._pid = os.getpid()
        self._owners: dict[int, tuple[threading.Thread, Any]] = {}
        self._owning = threading.RLock()
        _GUARDED.add(self)

    def _connect(self) -> Any:
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
        if os.getpid() != self._pid:
            raise WrongProcess()
        with self._owning:
            self._open = False
            while self._owners:
                self._owners.popitem()[1][1].close()

    def savepoint(self) -> _Savepoint:
        return _Savepoint(self)

    def rollback(self) -> None:
        with self.unless_gone():
            super().rollback()

    @contextmanager
    def unless_gone(self) -> Iterator[None]:
        """Let a rollback fail in silence when its transaction is gone, so that what ended it is what is told."""
        try:
            yield
        except peewee.PeeweeException:
            if self.is_closed() or self._in_transaction(self.connection()):
                raise

    def _in_transaction(self, connection: Any) -> bool:
        raise AssertionError("each database says how it is told")

    def immortal(self) -> list[Any]:
        """The connections that a forked child must never finalise."""
        return []


_GUARDED: weakref.WeakSet[_Guarded] = weakref.WeakSet()


def _keep_inherited_connections() -> None:
    """In a forked child: hold every inherited SQLite connection for ever.

    Finalising one would close files that the parent still uses, and with them SQLite's locks. A reference
    that is never given back keeps them also through the interpreter's shutdown.
    """
    import ctypes

    for database in _GUARDED:
        for connection in database.immortal():
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))


os.register_at_fork(after_in_child=_keep_inherited_connections)


# ---- SQLite ------------------------------------------------------------------------------------------


class SqliteStore(_Guarded, peewee.SqliteDatabase):
    """One SQLite file, or one in-memory database that the threads of the process share."""

    kind = SQLITE
    driver_error = sqlite3.Error

    def __init__(self, location: str, *, timeout: float, durability: str) -> None:
        memory = location == MEMORY
        super().__init__(
            f"file:/dispatch-{values.new_id()}?vfs=memdb" if memory else location,
            pragmas={"foreign_keys": 1, "synchronous": SYNCHRONOUS[durability]},
            lock_type="IMMEDIATE",
            timeout=timeout,
            uri=memory,
            check_same_thread=False,
            cached_statements=512,
        )
        self._begin_guard()
        self._anchor = self._connect() if memory else None
        if memory:
            self._owners[id(self._anchor)] = threading.main_thread(), self._anchor

    def _connect(self) -> sqlite3.Connection:
        connection: sqlite3.Connection = super()._connect()
        if connection.execute("PRAGMA foreign_keys").fetchone() != (1,):
            self._close(connection)
            raise StoreError("this SQLite was built without foreign keys, on which the store depends")
        return connection

    def _in_transaction(self, connection: sqlite3.Connection) -> bool:
        return connection.in_transaction

    def execute(self, query: Any, **context_options: Any) -> Any:
        """As Peewee does, with the first rows read at once.

        A query that is still being read holds its snapshot, and SQLite refuses to write from an old one: a
        loop over a query that fires triggers would fail as soon as another process writes.
        """
        return _ReadAhead(super().execute(query, **context_options))

    def immortal(self) -> list[Any]:
        return [connection for _, connection in self._owners.values()]

    def release(self) -> None:
        """Nothing: a thread keeps its connection."""

    def switch_to_wal(self) -> None:
        """Make the file use a write-ahead log, once; it stays so. An in-memory database has none."""
        if self._anchor is None and self.execute_sql("PRAGMA journal_mode").fetchone() != ("wal",):
            self.execute_sql("PRAGMA journal_mode = wal")

    def store_error(self, error: Exception) -> StoreError | None:
        """What an error of SQLite means to a caller, or None when it is no fault of the store."""
        code = getattr(_original(error), "sqlite_errorcode", None)
        if code == sqlite3.SQLITE_BUSY_SNAPSHOT:
            return StoreBusy("a query of this thread is still being read: read it to its end before writing")
        known = _SQLITE_ERRORS.get(code & 0xFF) if code is not None else None
        if known is None and isinstance(error, peewee.DatabaseError) and "malformed" in str(error):
            known = StoreCorrupt
        return known(f"{known.__doc__} ({error})") if known else None

    def should_retry(self, error: Exception) -> bool:
        """Never: SQLite has waited for the lock already."""
        return False


class _ReadAhead:
    """A cursor whose first rows, which are mostly all of them, have been read."""

    ROWS = 10_000

    def __init__(self, cursor: sqlite3.Cursor) -> None:
        self._cursor = cursor
        self._rows = deque(cursor.fetchmany(self.ROWS) if cursor.description else ())

    def fetchone(self) -> Any:
        return self._rows.popleft() if self._rows else self._cursor.fetchone()

    def fetchall(self) -> list[Any]:
        rows, self._rows = list(self._rows), deque()
        return rows + self._cursor.fetchall()

    def __iter__(self) -> Iterator[Any]:
        return iter(self.fetchone, None)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)


_SQLITE_ERRORS: Mapping[int, type[StoreError]] = {
    sqlite3.SQLITE_BUSY: StoreBusy,
    sqlite3.SQLITE_LOCKED: StoreBusy,
    sqlite3.SQLITE_FULL: StoreFull,
    sqlite3.SQLITE_READONLY: StoreReadOnly,
    sqlite3.SQLITE_CANTOPEN: StoreReadOnly,
    sqlite3.SQLITE_PERM: StoreReadOnly,
    sqlite3.SQLITE_NOTADB: StoreCorrupt,
    sqlite3.SQLITE_CORRUPT: StoreCorrupt,
}


def _make_file(path: Path, create: bool) -> None:
    """See that the file is there; one that we make is its owner's alone, and no planted link is followed."""
    if path.exists():
        return
    if path.is_symlink():
        raise StoreError(f"{path} is a link to nothing; remove it or make what it names")
    if not create:
        raise StoreNotFound(f"there is no store at {path}")
    flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, flags, 0o600))
    except FileExistsError:
        return  # another process was faster, or a folder on the way is a file: opening will tell
    except OSError as error:
        raise StoreReadOnly(f"{path} cannot be made: {error.strerror}") from None


# ---- PostgreSQL --------------------------------------------------------------------------------------


class _Session(peewee.PostgresqlDatabase):
    """Connections in the state the store relies on: READ COMMITTED, UTC, JSON as text, a bounded wait for locks."""

    lock_timeout: float

    def _connect(self) -> Any:
        connection = super()._connect()  # type: ignore[misc]
        connection.execute(
            "SELECT set_config('default_transaction_isolation', 'read committed', false),"
            " set_config('TimeZone', 'UTC', false), set_config('lock_timeout', %s, false)",
            (f"{max(1, int(self.lock_timeout * 1000))}ms",),
        )
        text = sys.modules["psycopg.types.string"].TextLoader
        connection.adapters.register_loader("json", text)
        connection.adapters.register_loader("jsonb", text)
        return connection


class PostgresStore(_Guarded, PooledDatabase, _Session):
    """One schema of a PostgreSQL database; connections not in use are kept in a pool."""

    kind = POSTGRESQL

    def __init__(self, url: str, *, timeout: float, pool_size: int) -> None:
        self.lock_timeout = timeout
        self._kept = pool_size
        super().__init__(url, max_connections=None, prefer_psycopg3=True, connect_timeout=max(2, int(timeout)))
        self.driver_error = sys.modules["psycopg"].Error
        self._begin_guard()

    def _is_closed(self, connection: Any) -> bool:
        return bool(connection.closed)

    def _can_reuse(self, connection: Any) -> bool:
        return len(self._connections) < self._kept and bool(self._adapter.is_connection_reusable(connection))

    def release(self) -> None:
        """Give this thread's connection back to the pool, between transactions."""
        if not self.transaction_depth():
            super().close()

    def close_all(self) -> None:
        """Close the connections of all threads, and those kept; every later use is `StoreNotOpen`.

        Raises:
            WrongProcess: they are another process's.
        """
        super().close_all()
        self.close_idle()

    def _in_transaction(self, connection: Any) -> bool:
        return not connection.closed

    def store_error(self, error: Exception) -> StoreError | None:
        """What an error of PostgreSQL means to a caller, or None when it is no fault of the store."""
        state = getattr(_original(error), "sqlstate", None) or ""
        known = _POSTGRESQL_ERRORS.get(state)
        if known is None and (state[:2] in ("08", "57") or isinstance(error, peewee.OperationalError)):
            known = StoreError
        return known(f"{known.__doc__} ({type(_original(error)).__name__} {state})") if known else None

    def should_retry(self, error: Exception) -> bool:
        """Whether the transaction lost to another one and would succeed when begun again."""
        return getattr(_original(error), "sqlstate", None) in ("40P01", "40001")


_POSTGRESQL_ERRORS: Mapping[str, type[StoreError]] = {
    "40P01": StoreBusy,
    "40001": StoreBusy,
    "55P03": StoreBusy,
    "53100": StoreFull,
    "42501": StoreReadOnly,
    "25006": StoreReadOnly,
    "XX001": StoreCorrupt,
    "XX002": StoreCorrupt,
}


def _original(error: BaseException) -> BaseException:
    """The driver's error, which Peewee wraps once for each of its own calls on the way."""
    while isinstance(error, peewee.PeeweeException) and hasattr(error, "orig"):
        error = error.orig
    return error


# ---- reaching it -------------------------------------------------------------------------------------

Database = SqliteStore | PostgresStore


def connect(target: Target, *, create: bool, timeout: float, pool_size: int, durability: str) -> Database:
    """Reach a store, and see that it answers.

    Args:
        target: where it is.
        create: whether to make the file when it is not there.
        timeout: how long to wait for a lock, in seconds.
        pool_size: connections kept when not in use (PostgreSQL).
        durability: "full" or "normal" (SQLite).

    Raises:
        InvalidValue: an argument is wrong.
        StoreNotFound: nothing is there.
        StoreCorrupt: what is there is no database.
        StoreError: it cannot be reached, read or written.
    """
    wait = min(values.seconds(timeout, "timeout").total_seconds(), LONGEST_WAIT)
    kept = values.positive(pool_size, "pool_size")
    if not isinstance(durability, str) or durability not in SYNCHRONOUS:
        raise InvalidValue(f'durability: {shown(durability)} is neither "full" nor "normal"')
    if target.kind == POSTGRESQL:
        return _reach_postgresql(target, wait, kept)
    if target.location != MEMORY:
        _make_file(Path(target.location), create)
    database = SqliteStore(target.location, timeout=wait, durability=durability)
    try:
        database.execute_sql("SELECT count(*) FROM sqlite_master").fetchone()
    except peewee.PeeweeException as error:
        database.close_all()
        raise database.store_error(error) or StoreError(f"{target}: {error}") from error
    return database


def _reach_postgresql(target: Target, timeout: float, kept: int) -> PostgresStore:
    if "psycopg" not in sys.modules:
        raise StoreError('PostgreSQL takes psycopg: pip install "dispatch-state[postgres]"')
    database = PostgresStore(target.location, timeout=timeout, pool_size=kept)
    try:
        database.execute_sql("SELECT 1").fetchone()
    except peewee.PeeweeException as error:
        database.close_all()
        if isinstance(error, peewee.ProgrammingError):
            # libpq quotes what it could not read, which may be the password
            raise InvalidValue("target: the URL cannot be read") from None
        if "does not exist" in str(error) and "database" in str(error):
            raise StoreNotFound(f"{target}: that database does not exist; create it first") from None
        raise StoreError(f"{target} cannot be reached: {type(_original(error)).__name__}") from error
    return database
