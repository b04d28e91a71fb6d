"""The store in one schema of a PostgreSQL database."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NoReturn

import peewee
from playhouse.pool import PooledDatabase

from dispatch_state.errors import CommitUnknown, StoreError, StoreUnreachable, summary
from dispatch_state.storage import postgresql_errors
from dispatch_state.storage.connections import ManagedDatabase, RowsAndCursor
from dispatch_state.storage.postgresql_connections import (
    CONNECTION_OK,
    IDLE,
    IN_TRANSACTION,
    PreparedConnections,
    cancel_and_close,
    connection_options,
    is_alive,
)
from dispatch_state.storage.postgresql_errors import reason
from dispatch_state.storage.server_clock import ServerClock
from dispatch_state.storage.targets import POSTGRESQL

CHANNEL = "dispatch_state"
"""The channel of NOTIFY on which commits of moves are announced."""
MANY_ROWS = 1000
"""After it has read more rows than this, a cursor is replaced, because it keeps its result in memory."""
POLL_INTERVAL = 0.01
"""Seconds between two looks at which transactions are still writing moves."""
_WRITERS = """SELECT virtualtransaction FROM pg_locks
    WHERE relation = 'transition_log'::regclass AND mode = 'RowExclusiveLock' AND granted
"""


class PostgresStore(ManagedDatabase, PooledDatabase, PreparedConnections):
    """One schema of a PostgreSQL database, with a pool of idle connections.

    Args:
        url: as libpq reads it.
        timeout: how long to wait for a lock, in seconds.
        pool_size: how many idle connections are kept.
    """

    kind = POSTGRESQL
    clock: ServerClock

    def __init__(self, url: str, *, timeout: float, pool_size: int) -> None:
        self.lock_timeout = timeout
        self._pool_size = pool_size
        self.clock = ServerClock()
        named = sys.modules["psycopg.conninfo"].conninfo_to_dict(url)
        options: dict[str, Any] = {
            name: value for name, value in connection_options(timeout).items() if name not in named
        }
        super().__init__(url, max_connections=None, prefer_psycopg3=True, **options)
        self.foreign_errors = peewee.PeeweeException, sys.modules["psycopg"].Error
        self._begin_managing()

    def _is_closed(self, connection: Any) -> bool:
        try:
            return not is_alive(connection)
        except BaseException:
            connection.close()  # the pool no longer holds it
            raise

    def _can_reuse(self, connection: Any) -> bool:
        return len(self._connections) < self._pool_size and connection.pgconn.transaction_status == IDLE

    def run(self, sql: str, parameters: Sequence[Any] = ()) -> RowsAndCursor:
        """Execute a statement; returns all its rows, and the cursor, which is reused unless statements are observed."""
        if self.is_observed:
            return super().run(sql, parameters)
        connection = self._state.conn or self.connection()
        try:
            cursor = connection.reused_cursor.execute(sql, parameters)
            found = cursor.fetchall() if cursor.pgresult.nfields else []
            if len(found) > MANY_ROWS:
                connection.reused_cursor = connection.cursor()
            return found, cursor
        except Exception as error:
            self.raise_as_peewee(error)

    def execute_sql(self, sql: str, params: Any = None) -> Any:
        """Execute as Peewee does.

        Raises:
            StoreUnreachable: the connection was lost; the next statement gets a new one.
        """
        try:
            return super().execute_sql(sql, params)
        except peewee.PeeweeException as error:
            if self._is_connection_lost(error):
                self.raise_as_peewee(error)
            raise

    def execute(self, query: Any, **context_options: Any) -> Any:
        """Execute a query as Peewee does; when the connection was lost, repeat one that reads outside a transaction."""
        try:
            return super().execute(query, **context_options)
        except StoreUnreachable:
            if self.transaction_depth() or not isinstance(query, peewee.SelectBase):
                raise
        return super().execute(query, **context_options)

    def raise_as_peewee(self, error: Exception) -> NoReturn:
        """Raise an error of the driver as Peewee's.

        Raises:
            StoreUnreachable: the connection was lost.
            StoreNotOpen: another thread has closed the store.
            Exception: Peewee's error otherwise.
        """
        self.check_usable()
        if isinstance(error, StoreError) or not self._is_connection_lost(error):
            super().raise_as_peewee(error)
        if self._state.conn is not None:
            self._state.conn.close()
        self.close_idle()  # whatever ended one connection has mostly ended all
        if not self.transaction_depth():
            self.close()
        raise StoreUnreachable(f"the connection to the database was lost: {reason(error)}") from error

    def _is_connection_lost(self, error: Exception) -> bool:
        """Return whether this thread's connection is lost, by an error or by its own state."""
        if postgresql_errors.is_disconnection(error):
            return True
        connection = self._state.conn
        return connection is not None and connection.pgconn.status != CONNECTION_OK

    def begin(self, isolation_level: str | int | None = None) -> None:
        """Begin a transaction.

        Args:
            isolation_level: SQL's name, or psycopg's number; None for the session's.
        """
        connection = self._state.conn
        if connection is not None and not is_alive(connection):
            self.close()
        level = self._adapter.isolation_level_str(isolation_level)
        if self.pooled:
            level = level or "READ COMMITTED"
        begin = f"BEGIN ISOLATION LEVEL {level}" if level else "BEGIN"
        if self.pooled:
            begin += f"; SET LOCAL lock_timeout = '{self.lock_timeout_text}'; SET LOCAL TimeZone = 'UTC'"
        try:
            self._begin(begin)
        except StoreUnreachable:
            self._begin(begin)  # once more, on a new connection: nothing had begun on the lost one

    def _begin(self, begin: str) -> None:
        if self.clock.is_due():
            self._begin_and_measure(begin)
        else:
            self.run(begin)

    def _begin_and_measure(self, begin: str) -> None:
        """Begin, and read the server's clock in the same round trip."""
        asked_at = ServerClock.local()
        _, cursor = self.run(f"{begin}; SELECT clock_timestamp()")
        while cursor.nextset():
            pass
        self.clock.set_from(asked_at, cursor.fetchone()[0])

    def commit(self) -> None:
        """Commit the transaction.

        Raises:
            StoreUnreachable: the connection was lost before the commit was sent; nothing is written.
            CommitUnknown: the connection was lost after the commit was sent and before it was answered.
            InternalError: a statement had failed, so PostgreSQL rolled back instead of committing.
        """
        self.check_usable()
        connection = self._state.conn
        if connection is None or not is_alive(connection):
            raise StoreUnreachable("the connection to the database was lost before the commit; nothing is written")
        try:
            _, cursor = self.run("COMMIT")
        except StoreUnreachable as error:
            raise CommitUnknown(f"{summary(CommitUnknown)} ({reason(error)})") from error
        if cursor.statusmessage == "ROLLBACK":
            raise peewee.InternalError(
                "a statement in the transaction failed and its error was ignored, so PostgreSQL rolled back and "
                "nothing is written; put what may fail into a store.atomic() of its own"
            )

    def rollback(self) -> None:
        """Roll the transaction back."""
        self.run("ROLLBACK")

    def _roll_back(self) -> None:
        connection = self._state.conn
        if connection is None:
            return
        try:
            if connection.pgconn.transaction_status in IN_TRANSACTION:
                self.run("ROLLBACK")
        except self.foreign_errors:
            pass
        finally:
            if connection.pgconn.transaction_status != IDLE:
                cancel_and_close(connection)

    def _end_lost_savepoint(self, error: Exception) -> None:
        if self._state.conn is not None:
            cancel_and_close(self._state.conn)

    def release(self) -> None:
        """Give this thread's connection back to the pool, unless a transaction is open."""
        if not self.transaction_depth() and not self._state.ctx:
            super().close()

    @contextmanager
    def listening(self) -> Iterator[Callable[[float], None]]:
        """Listen for commits of moves; gives a function that waits for one, for some seconds at most.

        Behind a pooler it cannot listen, because the next statement may use another session: there it only sleeps.
        """
        if self.pooled:
            yield time.sleep
            return
        self.run(f"LISTEN {CHANNEL}")
        connection = self._state.conn

        def wait(seconds: float) -> None:
            try:
                for _ in connection.notifies(timeout=seconds, stop_after=1):
                    pass
            except Exception as error:
                self.raise_as_peewee(error)

        try:
            yield wait
        finally:
            if self._state.conn is connection and is_alive(connection):
                self.run(f"UNLISTEN {CHANNEL}")

    def wait_for_earlier_moves(self, seconds: float) -> bool:
        """Wait until each move is committed whose number is below one that can be read now.

        A transaction that inserts a move locks the log's table before it draws the number, and until its commit can be
        seen. So the transactions that hold this lock now are the ones to wait for.

        Args:
            seconds: how long to wait.

        Returns:
            Whether all of them have ended in time.
        """
        until = time.monotonic() + seconds
        earlier = self._writers()
        while earlier and time.monotonic() < until:
            time.sleep(POLL_INTERVAL)
            earlier &= self._writers()
        return not earlier

    def _writers(self) -> set[str]:
        return {transaction for (transaction,) in self.execute_sql(_WRITERS).fetchall()}

    def undecodable_text_as_bytes(self) -> AbstractContextManager[None]:
        """Do nothing: PostgreSQL stores only text that can be decoded."""
        return nullcontext()

    def close_all(self) -> None:
        """Close all connections, also the idle ones; every later use raises `StoreNotOpen`.

        Raises:
            WrongProcess: this is a forked child, and the connections are its parent's.
        """
        super().close_all()
        self.close_idle()

    def store_error(self, error: Exception) -> StoreError | None:
        """Return the error that a caller gets for an error of PostgreSQL; None when the store is not at fault."""
        return postgresql_errors.store_error(error)

    def should_retry(self, error: Exception) -> bool:
        """Return whether a transaction lost to another one or was cancelled, and may succeed when it is begun again."""
        return postgresql_errors.is_retried(error)
