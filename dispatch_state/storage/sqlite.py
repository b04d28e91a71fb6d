"""The store in one SQLite file, or in memory."""

from __future__ import annotations

import os
import sqlite3
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import peewee

from dispatch_state.errors import StoreError, StoreNotFound, WrongProcess
from dispatch_state.ids import new_id
from dispatch_state.storage import sqlite_errors
from dispatch_state.storage.connections import INHERITED_FILES, ManagedDatabase, RowsAndCursor
from dispatch_state.storage.files import file_identity
from dispatch_state.storage.mounts import is_mount_point
from dispatch_state.storage.sqlite_connections import Connection, ReadAheadCursor, text_or_bytes
from dispatch_state.storage.targets import MEMORY, SQLITE
from dispatch_state.storage.transactions import TRANSACTION_IS_OVER
from dispatch_state.storage.write_queue import QueueState, WriteQueue
from dispatch_state.values import utc_now

SYNCHRONOUS = {"full": "FULL", "normal": "NORMAL"}
"""SQLite's setting for each durability."""
MAX_WAL = 16 * 1024 * 1024
"""Bytes to which a write-ahead log is cut when SQLite starts to write it from its beginning again. That is four times
its ordinary size, so it is only cut after somebody has kept SQLite from reusing it for a while."""
POLL_INTERVAL = 0.05
"""Seconds between two looks for commits of others. Each look reads one number that all processes share in memory."""


class SqliteStore(ManagedDatabase, peewee.SqliteDatabase):
    """One SQLite file, or one in-memory database that the threads of the process share.

    Args:
        location: an absolute path, or `:memory:`.
        timeout: how long to wait for a lock, in seconds.
        durability: "full" or "normal".
    """

    kind = SQLITE
    foreign_errors = peewee.PeeweeException, sqlite3.Error, UnicodeDecodeError  # the last one comes from damaged files

    def __init__(self, location: str, *, timeout: float, durability: str) -> None:
        memory = location == MEMORY
        super().__init__(
            f"file:/dispatch-{new_id()}?vfs=memdb" if memory else location,
            pragmas={
                "foreign_keys": 1,
                "synchronous": SYNCHRONOUS[durability],
                "journal_size_limit": MAX_WAL,
            },
            lock_type="IMMEDIATE",
            timeout=timeout,
            uri=memory,
            check_same_thread=False,
            cached_statements=512,
            factory=Connection,
        )
        self.lock_timeout = timeout
        self.clock = utc_now
        self._file: tuple[int, int] | None = None
        # beside the file itself, so that all links to it share one queue
        self._queue_file = None if memory else f"{os.path.realpath(location)}-turn"
        self._queue_state = QueueState()
        self._begin_managing()
        self._anchor = self._connect() if memory else None
        if memory:
            self._thread_connections[id(self._anchor)] = weakref.ref(self), self._anchor

    def _connect(self) -> Connection:
        if self._queue_file is not None:
            self._refuse_inherited()
            if self._file is None:
                self._refuse_shared_file()
            self._require_same_file()
        connection: Connection = super()._connect()
        try:
            self._prepare(connection)
        except BaseException:
            self._close(connection)
            raise
        return connection

    def _prepare(self, connection: Connection) -> None:
        """Check the file and foreign keys, and give the connection its place in the write queue."""
        if self._queue_file is not None:
            self._file = self._file or file_identity(self.database)
            self._require_same_file()
            connection.file = self._file
        connection.turn = WriteQueue(self._queue_file, self.lock_timeout, connection.nobody_writes, self._queue_state)
        if connection.execute("PRAGMA foreign_keys").fetchone() != (1,):
            raise StoreError("this SQLite was built without foreign keys, on which the store depends")

    def _refuse_inherited(self) -> None:
        """Raise `WrongProcess` for a file that was open in the process that forked this one.

        SQLite keeps a table of the process's locks, and a forked child inherits it. If the child opened the same file,
        SQLite would believe that the child holds the parent's locks, and the child's commits could be lost.
        """
        if file_identity(self.database) in INHERITED_FILES:
            raise WrongProcess(
                f"{self.database} was open in the process that forked this one, and SQLite cannot open it here again; "
                "close the store before forking, or start a new process (multiprocessing calls it spawn)"
            )

    def _refuse_shared_file(self) -> None:
        """Raise `StoreError` for a file that can be reached in two folders: by a hard link, or mounted by itself.

        SQLite finds its write-ahead log by the file's name, so a commit under one name is overwritten under another.
        This check comes before SQLite opens the file, because closing it again would write to it.
        """
        file = Path(self.database)
        if file.exists() and file.stat().st_nlink > 1:
            raise StoreError(f"{file} has another name (a hard link), under which commits are lost; remove either name")
        for suffix in ("", "-wal", "-shm"):
            if is_mount_point(name := f"{os.path.realpath(file)}{suffix}"):
                raise StoreError(
                    f"{name} is mounted by itself, and SQLite keeps its log in files beside it, which are not "
                    "those of the folder it was mounted from: commits would be lost; mount the folder instead"
                )

    def _require_same_file(self) -> None:
        """Raise `StoreNotFound` when the file that was opened was removed or replaced: further writes would be lost."""
        if self._file is not None and self._file != (found := file_identity(self.database)):
            what = "was removed" if found is None else "was replaced by another file"
            raise StoreNotFound(
                f"{self.database} {what} while it was open; backup() still copies what was open here; "
                "close() and open_store() reach what is there now"
            )

    def _close_if_idle(self, connection: Connection) -> bool:
        idle = connection.busy.acquire(timeout=0.01)
        if idle:
            try:
                connection.close()
            finally:
                connection.busy.release()
        return idle

    def run(self, sql: str, parameters: Sequence[Any] = ()) -> RowsAndCursor:
        """Execute a statement; returns all its rows, and the cursor.

        Whether statements are observed is asked once for each transaction, when it begins.
        """
        connection = self._state.conn or self.connection()
        if not connection.in_unobserved_block and self.is_observed:
            return super().run(sql, parameters)
        try:
            with connection.busy:
                cursor = connection.reused_cursor.execute(sql, parameters)
                return cursor.fetchall(), cursor
        except Exception as error:
            self.raise_as_peewee(error)

    def begin(self, lock_type: str | None = None) -> None:
        """Begin a transaction, once this connection has its turn.

        Args:
            lock_type: as in BEGIN; None for IMMEDIATE. A DEFERRED transaction only reads, and needs no turn.
        """
        connection = self._state.conn or self.connection()
        try:
            has_turn = lock_type == "DEFERRED" or connection.turn.take() or connection.turn.wait()
            connection.in_unobserved_block = not self.is_observed
            if self._file != file_identity(self.database):
                self._require_same_file()
            if has_turn:
                self.run("BEGIN IMMEDIATE" if lock_type is None else f"BEGIN {lock_type}")
            else:
                self._begin_without_waiting()
        except BaseException:
            self._roll_back()
            with suppress(*self.foreign_errors):
                self._set_busy_timeout(self.lock_timeout)
            raise

    def _set_busy_timeout(self, seconds: float) -> None:
        self.run(f"PRAGMA busy_timeout = {int(seconds * 1000)}")

    def _begin_without_waiting(self) -> None:
        """Begin at once or fail: the timeout was spent waiting for the turn."""
        try:
            self._set_busy_timeout(0)
            self.run("BEGIN IMMEDIATE")
        finally:
            self._set_busy_timeout(self.lock_timeout)

    def begin_savepoint(self, depth: int) -> None:
        """Set the savepoint for a depth of blocks.

        Raises:
            InternalError: the transaction around it is over; a savepoint would begin another one.
        """
        connection = self._state.conn or self.connection()
        try:
            is_over = not connection.in_transaction
        except sqlite3.Error as error:
            self.raise_as_peewee(error)
        if is_over:
            raise peewee.InternalError(TRANSACTION_IS_OVER)
        super().begin_savepoint(depth)

    def commit(self) -> None:
        """Commit, and give the turn back.

        Raises:
            InternalError: the transaction is over.
        """
        try:
            self.run("COMMIT")
        except peewee.OperationalError as error:
            if sqlite_errors.error_code(error) == sqlite3.SQLITE_ERROR:
                raise peewee.InternalError(TRANSACTION_IS_OVER) from error
            raise
        self._state.conn.end_transaction()

    def rollback(self) -> None:
        """Roll back, and give the turn back."""
        try:
            self.run("ROLLBACK")
        finally:
            self.connection().end_transaction()

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
            connection.end_transaction()

    def _end_lost_savepoint(self, error: Exception) -> None:
        if sqlite_errors.error_code(error) != sqlite3.SQLITE_ERROR:  # otherwise it was released already
            self._roll_back()

    def execute(self, query: Any, **context_options: Any) -> Any:
        """Execute a query as Peewee does, and read its first rows at once.

        A query that is still being read holds its snapshot, and SQLite refuses to write from an old one. So a loop over
        a query that fires triggers would fail as soon as another process writes.
        """
        with peewee.__exception_wrapper__:  # type: ignore[attr-defined]
            return ReadAheadCursor(super().execute(query, **context_options))

    def kept_after_fork(self) -> list[Any]:
        return [connection for _, connection in self._thread_connections.values()]

    def release(self) -> None:
        """Do nothing: a thread keeps its connection."""

    @contextmanager
    def listening(self) -> Iterator[Callable[[float], None]]:
        """Listen for other connections' commits; gives a function that waits for one, for some seconds at most."""
        known = self._commits()

        def wait(seconds: float) -> None:
            until = time.monotonic() + seconds
            while self._commits() == known and time.monotonic() < until:
                time.sleep(POLL_INTERVAL)

        yield wait

    def _commits(self) -> Any:
        return self.execute_sql("PRAGMA data_version").fetchone()

    def wait_for_earlier_moves(self, seconds: float) -> bool:
        """Return True at once: with one writer at a time, moves are committed in the order of their numbers."""
        return True

    @contextmanager
    def undecodable_text_as_bytes(self) -> Iterator[None]:
        """Read stored text that is not UTF-8 as bytes. SQLite does not check the encoding of what it stores."""
        connection = self.connection()
        connection.text_factory = text_or_bytes
        try:
            yield
        finally:
            connection.text_factory = str

    def switch_to_wal(self) -> None:
        """Make the file use a write-ahead log from now on. An in-memory database has none."""
        if self._anchor is None and self.execute_sql("PRAGMA journal_mode").fetchone() != ("wal",):
            self.execute_sql("PRAGMA journal_mode = wal")

    def store_error(self, error: Exception) -> StoreError | None:
        """Return the error that a caller gets for an error of SQLite; None when the store is not at fault."""
        return sqlite_errors.store_error(error)

    def should_retry(self, error: Exception) -> bool:
        """Return False: SQLite has waited for the lock already."""
        return False
