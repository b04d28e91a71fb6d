"""The store in one schema of a PostgreSQL database."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import peewee
from playhouse.pool import PooledDatabase

from dispatch_state.connections import Found, Guarded, original
from dispatch_state.errors import StoreBusy, StoreCorrupt, StoreError, StoreFull, StoreReadOnly
from dispatch_state.targets import POSTGRESQL

CHANNEL = "dispatch_state"
"""On which a session hears that a move was committed."""
MANY = 1000
"""A cursor that has read more rows than this is not kept, nor is what it holds of them."""
LOOK_EVERY = 0.01
"""Seconds between two looks at who is still writing."""
_WRITING = """SELECT virtualtransaction FROM pg_locks
    WHERE relation = 'transition_log'::regclass AND mode = 'RowExclusiveLock' AND granted
"""


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
        connection.kept = connection.cursor()
        return connection


class PostgresStore(Guarded, PooledDatabase, _Session):
    """One schema of a PostgreSQL database; connections not in use are kept in a pool."""

    kind = POSTGRESQL

    def __init__(self, url: str, *, timeout: float, pool_size: int) -> None:
        self.lock_timeout = timeout
        self._kept = pool_size
        super().__init__(url, max_connections=None, prefer_psycopg3=True, connect_timeout=max(2, int(timeout)))
        self.foreign_errors = peewee.PeeweeException, sys.modules["psycopg"].Error
        self._begin_guard()

    def _is_closed(self, connection: Any) -> bool:
        return bool(connection.closed)

    def _can_reuse(self, connection: Any) -> bool:
        return len(self._connections) < self._kept and bool(self._adapter.is_connection_reusable(connection))

    def run(self, sql: str, parameters: Sequence[Any] = ()) -> Found:
        """Execute a statement, through one cursor unless somebody watches: all its rows, and the cursor."""
        if self.watched:
            return super().run(sql, parameters)
        connection = self._state.conn or self.connection()
        try:
            kept = connection.kept.execute(sql, parameters)
            found = kept.fetchall() if kept.pgresult.nfields else []
            if len(found) > MANY:
                connection.kept = connection.cursor()
            return found, kept
        except Exception as error:
            self.refuse(error)

    def begin(self, isolation_level: str | int | None = None) -> None:
        """Begin a transaction; its isolation is the session's, or is said as text or as psycopg's number."""
        level = self._adapter.isolation_level_str(isolation_level)
        self.run(f"BEGIN ISOLATION LEVEL {level}" if level else "BEGIN")

    def commit(self) -> None:
        """Commit the transaction.

        Raises:
            InterfaceError: its connection was closed; a new one would take the word all the same.
            InternalError: a statement of it had failed, and it was rolled back, which PostgreSQL says by the way.
        """
        if self.is_closed():
            raise peewee.InterfaceError("the connection was closed")
        _, cursor = self.run("COMMIT")
        if cursor.statusmessage == "ROLLBACK":
            raise peewee.InternalError(
                "an error in the transaction was passed over, and nothing of it is written; "
                "put what may fail into a store.atomic() of its own"
            )

    def release(self) -> None:
        """Give this thread's connection back to the pool, between transactions."""
        if not self.transaction_depth():
            super().close()

    @contextmanager
    def listening(self) -> Iterator[Callable[[float], None]]:
        """From here on commits of moves are heard; gives what waits for one, so many seconds at most."""
        connection = self.connection()
        connection.execute(f"LISTEN {CHANNEL}")

        def wait(seconds: float) -> None:
            for _ in connection.notifies(timeout=seconds, stop_after=1):
                pass

        try:
            yield wait
        finally:
            if not connection.closed:
                connection.execute(f"UNLISTEN {CHANNEL}")

    def settled(self, seconds: float) -> bool:
        """Whether, within so many seconds, no commit to come holds a move with a number below one that is seen now.

        Whoever inserts a move locks the log's table before its number is drawn, and until the commit can be seen.
        """
        until = time.monotonic() + seconds
        earlier = self._writing()
        while earlier and time.monotonic() < until:
            time.sleep(LOOK_EVERY)
            earlier &= self._writing()
        return not earlier

    def _writing(self) -> set[str]:
        return {transaction for (transaction,) in self.execute_sql(_WRITING).fetchall()}

    def reading_anything(self) -> AbstractContextManager[None]:
        """Nothing to do: what PostgreSQL stores as text can be read."""
        return nullcontext()

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
        state = getattr(original(error), "sqlstate", None) or ""
        known = _POSTGRESQL_ERRORS.get(state)
        if known is None and (state[:2] in ("08", "57") or isinstance(error, peewee.OperationalError)):
            known = StoreError
        return known(f"{known.__doc__} ({type(original(error)).__name__} {state})") if known else None

    def should_retry(self, error: Exception) -> bool:
        """Whether the transaction lost to another one and would succeed when begun again."""
        return getattr(original(error), "sqlstate", None) in ("40P01", "40001")


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
