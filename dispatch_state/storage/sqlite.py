"""The store in one SQLite file, or in memory."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import peewee

from dispatch_state.errors import (
    StoreBusy,
    StoreCorrupt,
    StoreError,
    StoreFull,
    StoreNotFound,
    StoreReadOnly,
    WrongProcess,
    summary,
)
from dispatch_state.ids import new_id
from dispatch_state.storage.connections import INHERITED, Found, ManagedDatabase, original
from dispatch_state.storage.files import identity
from dispatch_state.storage.mounts import is_mount_point
from dispatch_state.storage.targets import MEMORY, SQLITE
from dispatch_state.storage.transactions import GONE
from dispatch_state.storage.write_queue import Known, WriteQueue
from dispatch_state.values import utc_now

SYNCHRONOUS = {"full": "FULL", "normal": "NORMAL"}
LARGEST_LOG = 16 * 1024 * 1024
"""Bytes to which a write-ahead log that grew is cut once it is written from its start again: four times as many as it
ordinarily has, so that it is only cut when somebody has kept SQLite from writing it over for a while."""
LOOK_EVERY = 0.05
"""Seconds between two looks for commits of others; each reads one number that all processes share in memory."""


class _Cursor(sqlite3.Cursor):
    """A cursor whose connection is not closed while it runs: SQLite forbids that, and the process would die."""

    connection: _Connection

    def execute(self, *statement: Any) -> Self:
        with self.connection.busy:
            return super().execute(*statement)

    def fetchone(self) -> Any:
        with self.connection.busy:
            return super().fetchone()

    def fetchmany(self, size: int | None = 1) -> list[Any]:
        with self.connection.busy:
            return super().fetchmany(size)

    def fetchall(self) -> list[Any]:
        with self.connection.busy:
            return super().fetchall()

    def __next__(self) -> Any:
        with self.connection.busy:
            return super().__next__()


class _Connection(sqlite3.Connection):
    """A connection to a SQLite file, with its place among those who write to it.

    busy: held while it runs a statement; whoever closes it waits for that.
    kept: runs the statements whose rows are all read at once.
    unwatched: whether it is in a transaction, when whose began nobody wanted to see each statement.
    file: which file it is to, whatever its name; None for memory.
    """

    unwatched = False
    turn = WriteQueue(None, 0)
    file: tuple[int, int] | None = None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.busy = threading.RLock()
        super().__init__(*arguments, **options)
        self.kept = self.cursor(sqlite3.Cursor)

    def cursor(self, factory: Any = _Cursor) -> Any:
        return super().cursor(factory)

    def end(self) -> None:
        """Let others have their turn, behind a transaction."""
        self.unwatched = False
        self.turn.give()

    def nobody_writes(self) -> bool:
        """Whether nobody writes: SQLite's lock is taken and given back at once. What else is wrong, BEGIN tells."""
        with self.busy:
            ((wait,),) = self.kept.execute("PRAGMA busy_timeout").fetchall()
            try:
                self.kept.execute("PRAGMA busy_timeout = 0").fetchall()
                self.kept.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                code = error.sqlite_errorcode
                return code & 0xFF != sqlite3.SQLITE_BUSY or code == sqlite3.SQLITE_BUSY_SNAPSHOT
            finally:
                if self.in_transaction:
                    self.kept.execute("ROLLBACK")
                self.kept.execute(f"PRAGMA busy_timeout = {wait}").fetchall()
            return True

    def execute(self, *statement: Any) -> Any:
        return self.cursor().execute(*statement)

    def commit(self) -> None:
        with self.busy:
            super().commit()

    def rollback(self) -> None:
        with self.busy:
            super().rollback()

    def backup(self, *target: Any, **options: Any) -> None:
        with self.busy:
            super().backup(*target, **options)

    def close(self) -> None:
        with self.busy:
            super().close()
            self.turn.close()


class SqliteStore(ManagedDatabase, peewee.SqliteDatabase):
    """One SQLite file, or one in-memory database that the threads of the process share."""

    kind = SQLITE
    foreign_errors = peewee.PeeweeException, sqlite3.Error, UnicodeDecodeError  # the last of damaged files

    def __init__(self, location: str, *, timeout: float, durability: str) -> None:
        memory = location == MEMORY
        super().__init__(
            f"file:/dispatch-{new_id()}?vfs=memdb" if memory else location,
            pragmas={
                "foreign_keys": 1,
                "synchronous": SYNCHRONOUS[durability],
                "journal_size_limit": LARGEST_LOG,
            },
            lock_type="IMMEDIATE",
            timeout=timeout,
            uri=memory,
            check_same_thread=False,
            cached_statements=512,
            factory=_Connection,
        )
        self.lock_timeout = timeout
        self.clock = utc_now
        self._file: tuple[int, int] | None = None
        # beside the file itself, so that there is one queue whatever links lead to it
        self._lock_file = None if memory else f"{os.path.realpath(location)}-turn"
        self._known = Known()
        self._begin_managing()
        self._anchor = self._connect() if memory else None
        if memory:
            self._owners[id(self._anchor)] = weakref.ref(self), self._anchor

    def _connect(self) -> _Connection:
        if self._lock_file is not None:
            self._refuse_inherited()
            if self._file is None:
                self._refuse_other_names()
            self._require_same_file()
        connection: _Connection = super()._connect()
        try:
            self._prepare(connection)
        except BaseException:
            self._close(connection)
            raise
        return connection

    def _prepare(self, connection: _Connection) -> None:
        """See that it is to the right file and knows foreign keys, and give it its place among the writers."""
        if self._lock_file is not None:
            self._file = self._file or identity(self.database)
            self._require_same_file()
            connection.file = self._file
        connection.turn = WriteQueue(self._lock_file, self.lock_timeout, connection.nobody_writes, self._known)
        if connection.execute("PRAGMA foreign_keys").fetchone() != (1,):
            raise StoreError("this SQLite was built without foreign keys, on which the store depends")

    def _refuse_inherited(self) -> None:
        """Raise `WrongProcess` for a file that was open in the process that forked this one.

        SQLite keeps one table of a process's locks, and a forked child inherits it: a store of its own in the
        same file would take itself to hold the parent's locks, and lose what it commits.
        """
        if identity(self.database) in INHERITED:
            raise WrongProcess(
                f"{self.database} was open in the process that forked this one, and SQLite cannot open it here again; "
                "close the store before forking, or start a new process (multiprocessing calls it spawn)"
            )

    def _refuse_other_names(self) -> None:
        """Raise `StoreError` for a file that can be reached in two folders: as a hard link, or mounted by itself.

        SQLite keeps its log beside the name: what is committed under one name is overwritten under another. It is
        asked before SQLite opens the file, because closing it again would write to it.
        """
        file = Path(self.database)
        if file.exists() and file.stat().st_nlink > 1:
            raise StoreError(f"{file} has another name (a hard link), under which commits are lost; remove either name")
        for suffix in ("", "-wal", "-shm"):
            if is_mount_point(name := f"{os.path.realpath(file)}{suffix}"):
                raise StoreError(
                    f"{name} is mounted by itself, and SQLite keeps its log in files beside it, which are others where "
                    "it was mounted from: commits would be lost; mount the folder instead"
                )

    def _require_same_file(self) -> None:
        """Raise `StoreNotFound` when the file of that name is not the one that was opened.

        It was removed, or another took its place: what is written now nobody would find again.
        """
        if self._file is not None and self._file != (found := identity(self.database)):
            what = "was removed" if found is None else "was replaced by another file"
            raise StoreNotFound(
                f"{self.database} {what} while it was open; backup() still copies what was open here, and close() "
                "and open_store() reach what is there now"
            )

    def _closed_at_last(self, connection: _Connection) -> bool:
        idle = connection.busy.acquire(timeout=0.01)
        if idle:
            try:
                connection.close()
            finally:
                connection.busy.release()
        return idle

    def run(self, sql: str, parameters: Sequence[Any] = ()) -> Found:
        """Execute a statement: all its rows, and the cursor; in a transaction, who watches is asked as it begins."""
        connection = self._state.conn or self.connection()
        if not connection.unwatched and self.watched:
            return super().run(sql, parameters)
        try:
            with connection.busy:
                kept = connection.kept.execute(sql, parameters)
                return kept.fetchall(), kept
        except Exception as error:
            self.refuse(error)

    def begin(self, lock_type: str | None = None) -> None:
        """Begin a transaction, when the turn has come; one that only reads (DEFERRED) takes none."""
        connection = self._state.conn or self.connection()
        try:
            patient = lock_type == "DEFERRED" or connection.turn.take() or connection.turn.wait()
            connection.unwatched = not self.watched
            if self._file != identity(self.database):
                self._require_same_file()
            if patient:
                self.run("BEGIN IMMEDIATE" if lock_type is None else f"BEGIN {lock_type}")
            else:
                self._begin_at_once()
        except BaseException:
            self._roll_back()
            with suppress(*self.foreign_errors):
                self._wait_for_locks(self.lock_timeout)
            raise

    def _wait_for_locks(self, seconds: float) -> None:
        self.run(f"PRAGMA busy_timeout = {int(seconds * 1000)}")

    def _begin_at_once(self) -> None:
        """Who has waited for the turn as long as may be takes SQLite's lock at once, or not at all."""
        try:
            self._wait_for_locks(0)
            self.run("BEGIN IMMEDIATE")
        finally:
            self._wait_for_locks(self.lock_timeout)

    def begin_savepoint(self, depth: int) -> None:
        """Set the savepoint of a depth of blocks.

        Raises:
            InternalError: the transaction around it is gone; a savepoint would begin another one.
        """
        connection = self._state.conn or self.connection()
        try:
            gone = not connection.in_transaction
        except sqlite3.Error as error:
            self.refuse(error)
        if gone:
            raise peewee.InternalError(GONE)
        super().begin_savepoint(depth)

    def commit(self) -> None:
        """Commit, and let others have their turn.

        Raises:
            InternalError: the transaction is gone.
        """
        try:
            self.run("COMMIT")
        except peewee.OperationalError as error:
            if getattr(original(error), "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR:
                raise peewee.InternalError(GONE) from error
            raise
        self._state.conn.end()

    def rollback(self) -> None:
        """Roll back, and let others have their turn."""
        try:
            self.run("ROLLBACK")
        finally:
            self.connection().end()

    def _roll_back(self) -> None:
        connection = self._state.conn
        if connection is None:
            return
        try:
            if connection.in_transaction:
                self.run("ROLLBACK")
        except self.foreign_errors:
            self._close(connection)  # which ends its transaction
            self._state.reset()
        finally:
            connection.end()

    def _savepoint_lost(self, error: Exception) -> None:
        if getattr(original(error), "sqlite_errorcode", None) != sqlite3.SQLITE_ERROR:  # else it is released already
            self._roll_back()

    def execute(self, query: Any, **context_options: Any) -> Any:
        """As Peewee does, with the first rows read at once.

        A query that is still being read holds its snapshot, and SQLite refuses to write from an old one: a
        loop over a query that fires triggers would fail as soon as another process writes.
        """
        with peewee.__exception_wrapper__:  # type: ignore[attr-defined]
            return _ReadAhead(super().execute(query, **context_options))

    def never_finalised(self) -> list[Any]:
        return [connection for _, connection in self._owners.values()]

    def release(self) -> None:
        """Nothing: a thread keeps its connection."""

    @contextmanager
    def listening(self) -> Iterator[Callable[[float], None]]:
        """From here on commits of other connections are heard; gives what waits for one, so many seconds at most."""
        heard = self._commits()

        def wait(seconds: float) -> None:
            until = time.monotonic() + seconds
            while self._commits() == heard and time.monotonic() < until:
                time.sleep(LOOK_EVERY)

        yield wait

    def _commits(self) -> Any:
        return self.execute_sql("PRAGMA data_version").fetchone()

    def settled(self, seconds: float) -> bool:
        """Whether no commit to come holds a move with a number below one that is seen now: there is one writer."""
        return True

    @contextmanager
    def reading_anything(self) -> Iterator[None]:
        """Text that is no UTF-8, which SQLite stores all the same, is read as the bytes it is."""
        connection = self.connection()
        connection.text_factory = _text_or_bytes
        try:
            yield
        finally:
            connection.text_factory = str

    def switch_to_wal(self) -> None:
        """Make the file use a write-ahead log, once; it stays so. An in-memory database has none."""
        if self._anchor is None and self.execute_sql("PRAGMA journal_mode").fetchone() != ("wal",):
            self.execute_sql("PRAGMA journal_mode = wal")

    def store_error(self, error: Exception) -> StoreError | None:
        """What an error of SQLite means to a caller, or None when it is no fault of the store."""
        code = getattr(original(error), "sqlite_errorcode", None)
        if code == sqlite3.SQLITE_BUSY_SNAPSHOT:
            return StoreBusy("a query of this thread is still being read: read it to its end before writing")
        known = _SQLITE_ERRORS.get(code) or _SQLITE_ERRORS.get(code & 0xFF) if code is not None else None
        if known is None and ("malformed" in str(error) or "decode" in str(error)):
            known = StoreCorrupt
        if known is None and code is not None and code & 0xFF == sqlite3.SQLITE_IOERR:
            return StoreError(f"the disk cannot be read or written; see to it, and open the store again ({error})")
        return known(f"{summary(known)} ({error})") if known else None

    def should_retry(self, error: Exception) -> bool:
        """Never: SQLite has waited for the lock already."""
        return False


def _text_or_bytes(stored: bytes) -> str | bytes:
    try:
        return stored.decode()
    except UnicodeDecodeError:
        return stored


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
    sqlite3.SQLITE_IOERR_WRITE: StoreFull,  # a quota, a limit of the process
    sqlite3.SQLITE_IOERR_SHMSIZE: StoreFull,
    sqlite3.SQLITE_READONLY: StoreReadOnly,
    sqlite3.SQLITE_CANTOPEN: StoreReadOnly,
    sqlite3.SQLITE_PERM: StoreReadOnly,
    sqlite3.SQLITE_NOTADB: StoreCorrupt,
    sqlite3.SQLITE_CORRUPT: StoreCorrupt,
    sqlite3.SQLITE_IOERR_SHORT_READ: StoreCorrupt,
}
