"""Connections to a SQLite file and their cursors, which another thread can close safely."""

from __future__ import annotations

import sqlite3
import threading
from collections import deque
from collections.abc import Iterator
from typing import Any, Self

from dispatch_state.storage.write_queue import WriteQueue


class Cursor(sqlite3.Cursor):
    """A cursor whose connection cannot be closed while it runs. SQLite forbids that, and the process would crash."""

    connection: Connection

    def execute(self, *statement: Any) -> Self:
        """Execute a statement as `sqlite3` does."""
        with self.connection.busy:
            return super().execute(*statement)

    def fetchone(self) -> Any:
        """Fetch a row as `sqlite3` does."""
        with self.connection.busy:
            return super().fetchone()

    def fetchmany(self, size: int | None = 1) -> list[Any]:
        """Fetch rows as `sqlite3` does."""
        with self.connection.busy:
            return super().fetchmany(size)

    def fetchall(self) -> list[Any]:
        """Fetch the remaining rows as `sqlite3` does."""
        with self.connection.busy:
            return super().fetchall()

    def __next__(self) -> Any:
        with self.connection.busy:
            return super().__next__()


class Connection(sqlite3.Connection):
    """A connection to a SQLite file, with its place in the write queue.

    busy: held while the connection runs a statement; closing it waits for that.
    reused_cursor: runs the statements whose rows are all fetched at once.
    in_unobserved_block: whether it is in a transaction that began while statements were not observed.
    turn: its place in the write queue.
    file: the device and inode of its file; None for memory.
    """

    in_unobserved_block = False
    turn = WriteQueue(None, 0)
    file: tuple[int, int] | None = None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.busy = threading.RLock()
        super().__init__(*arguments, **options)
        self.reused_cursor = self.cursor(sqlite3.Cursor)

    def cursor(self, factory: Any = Cursor) -> Any:
        """Return a new cursor."""
        return super().cursor(factory)

    def end_transaction(self) -> None:
        """Give the turn back after a transaction, so that others may write."""
        self.in_unobserved_block = False
        self.turn.give_back()

    def nobody_writes(self) -> bool:
        """Return whether SQLite's write lock is free; takes it and releases it at once.

        Any other error counts as free: the BEGIN that follows will raise it.
        """
        with self.busy:
            ((wait,),) = self.reused_cursor.execute("PRAGMA busy_timeout").fetchall()
            try:
                self.reused_cursor.execute("PRAGMA busy_timeout = 0").fetchall()
                self.reused_cursor.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                code = error.sqlite_errorcode
                return code & 0xFF != sqlite3.SQLITE_BUSY or code == sqlite3.SQLITE_BUSY_SNAPSHOT
            finally:
                if self.in_transaction:
                    self.reused_cursor.execute("ROLLBACK")
                self.reused_cursor.execute(f"PRAGMA busy_timeout = {wait}").fetchall()
            return True

    def execute(self, *statement: Any) -> Any:
        """Execute a statement through a new cursor."""
        return self.cursor().execute(*statement)

    def commit(self) -> None:
        """Commit as `sqlite3` does."""
        with self.busy:
            super().commit()

    def rollback(self) -> None:
        """Roll back as `sqlite3` does."""
        with self.busy:
            super().rollback()

    def backup(self, *target: Any, **options: Any) -> None:
        """Copy the database as `sqlite3` does."""
        with self.busy:
            super().backup(*target, **options)

    def close(self) -> None:
        """Close the connection, and leave the write queue."""
        with self.busy:
            super().close()
            self.turn.close()


class ReadAheadCursor:
    """A cursor whose first rows, which are mostly all of them, were read at once.

    Args:
        cursor: one that has executed a statement.
    """

    ROWS = 10_000
    """How many rows are read at once."""

    def __init__(self, cursor: sqlite3.Cursor) -> None:
        self._cursor = cursor
        self._rows = deque(cursor.fetchmany(self.ROWS) if cursor.description else ())

    def fetchone(self) -> Any:
        """Return the next row, or None."""
        return self._rows.popleft() if self._rows else self._cursor.fetchone()

    def fetchall(self) -> list[Any]:
        """Return the remaining rows."""
        rows, self._rows = list(self._rows), deque()
        return rows + self._cursor.fetchall()

    def __iter__(self) -> Iterator[Any]:
        return iter(self.fetchone, None)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)


def text_or_bytes(stored: bytes) -> str | bytes:
    """Return stored text, or its bytes when they are not UTF-8."""
    try:
        return stored.decode()
    except UnicodeDecodeError:
        return stored
