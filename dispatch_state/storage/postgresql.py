"""The store in one schema of a PostgreSQL database."""

from __future__ import annotations

import select
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, NoReturn

import peewee
from playhouse.pool import PooledDatabase

from dispatch_state.errors import (
    CommitUnknown,
    StoreBusy,
    StoreCorrupt,
    StoreError,
    StoreFull,
    StoreReadOnly,
    StoreUnreachable,
    summary,
)
from dispatch_state.storage.connections import Found, ManagedDatabase, original
from dispatch_state.storage.targets import POSTGRESQL

CHANNEL = "dispatch_state"
"""On which a session hears that a move was committed."""
MANY = 1000
"""A cursor that has read more rows than this is not kept, nor is what it holds of them."""
LOOK_EVERY = 0.01
"""Seconds between two looks at who is still writing."""
_WRITING = """SELECT virtualtransaction FROM pg_locks
    WHERE relation = 'transition_log'::regclass AND mode = 'RowExclusiveLock' AND granted
"""


class ServerClock:
    """The server's clock, as it was last measured, to within half a round trip.

    It is measured with statements that are sent anyway. Between two measurements it goes as this machine's does; when
    that one is set, and from time to time, it is measured anew.
    """

    AGE = 30.0
    """Seconds after which it is measured anew."""
    STEP = 0.1
    """By so many seconds this machine's clock may leave its monotonic one before it is taken to have been set."""

    def __init__(self) -> None:
        self._ahead = timedelta()
        self._at = self._skew = -1e9

    def __call__(self) -> datetime:
        """The present moment, in UTC."""
        return datetime.now(UTC) + self._ahead

    @staticmethod
    def local() -> tuple[float, datetime]:
        """This machine's monotonic clock, and its wall clock."""
        return time.monotonic(), datetime.now(UTC)

    def measured(self, asked: tuple[float, datetime], moment: datetime) -> None:
        """Take over what the server said between the moment it was asked and now."""
        begun, told = asked
        now = time.monotonic()
        self._ahead = moment - (told + timedelta(seconds=now - begun) / 2)
        self._at, self._skew = now, time.time() - now

    def is_due(self) -> bool:
        """Whether it should be measured anew."""
        now = time.monotonic()
        return now - self._at > self.AGE or abs(time.time() - now - self._skew) > self.STEP


class _Session(peewee.PostgresqlDatabase):
    """Connections in the state the store relies on: READ COMMITTED, UTC, JSON as text, a bounded wait for locks.

    Behind a pooler, such as PgBouncer in transaction mode, each transaction may meet another session of the server. So
    nothing is prepared there, and each transaction sets for itself what it relies on.
    """

    lock_timeout: float
    clock: ServerClock
    pooled = False
    """Whether there is a pooler between."""

    def _connect(self) -> Any:
        connection: Any = None
        try:
            connection = super()._connect()  # type: ignore[misc]
            self._set_up(connection)
            return connection
        except BaseException as error:
            if connection is not None:
                connection.close()
            elif isinstance(error, sys.modules["psycopg"].OperationalError):
                raise StoreUnreachable(f"the database cannot be reached: {reason(error)}") from error
            raise

    def _set_up(self, connection: Any) -> None:
        """Set what holds for the whole session, or see that it has a pooler, for whose session nothing is set."""
        text = sys.modules["psycopg.types.string"].TextLoader
        connection.adapters.register_loader("json", text)
        connection.adapters.register_loader("jsonb", text)
        asked = ServerClock.local()
        found = connection.execute(
            """SELECT pg_backend_pid(), clock_timestamp(), current_setting('search_path'),
                set_config('default_transaction_isolation', 'read committed', pg_backend_pid() <> %(pid)s),
                set_config('TimeZone', 'UTC', pg_backend_pid() <> %(pid)s),
                set_config('lock_timeout', %(wait)s, pg_backend_pid() <> %(pid)s)""",
            {"pid": connection.pgconn.backend_pid, "wait": self._milliseconds},
        ).fetchone()
        self.clock.measured(asked, found[1])
        if found[0] != connection.pgconn.backend_pid:
            self._set_up_pooled(connection, found[2])
        connection.kept = connection.cursor()

    def _set_up_pooled(self, connection: Any, search_path: str) -> None:
        self.pooled = True
        connection.prepare_threshold = None
        connection.adapters.register_loader("timestamptz", _utc_loader())
        wanted = connection.info.get_parameters().get("options", "").partition("search_path=")[2].split(" ")[0]
        if wanted and wanted != search_path:
            raise StoreError(
                "the connection pooler leaves out the options of the URL, and with them the schema: name the schema "
                f"once on the server, ALTER ROLE … SET search_path = {wanted}"
            )

    @property
    def _milliseconds(self) -> str:
        return f"{max(1, int(self.lock_timeout * 1000))}ms"


class PostgresStore(ManagedDatabase, PooledDatabase, _Session):
    """One schema of a PostgreSQL database; connections not in use are kept in a pool."""

    kind = POSTGRESQL
    clock: ServerClock

    def __init__(self, url: str, *, timeout: float, pool_size: int) -> None:
        self.lock_timeout = timeout
        self._kept = pool_size
        self.clock = ServerClock()
        named = sys.modules["psycopg.conninfo"].conninfo_to_dict(url)
        options: dict[str, Any] = {name: value for name, value in _line(timeout).items() if name not in named}
        super().__init__(url, max_connections=None, prefer_psycopg3=True, **options)
        self.foreign_errors = peewee.PeeweeException, sys.modules["psycopg"].Error
        self._begin_managing()

    def _is_closed(self, connection: Any) -> bool:
        try:
            return not _is_alive(connection)
        except BaseException:
            connection.close()  # the pool has let go of it already
            raise

    def _can_reuse(self, connection: Any) -> bool:
        return len(self._connections) < self._kept and connection.pgconn.transaction_status == _IDLE

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

    def execute_sql(self, sql: str, params: Any = None) -> Any:
        """As Peewee does; a connection that was lost is `StoreUnreachable`, and the next statement has another."""
        try:
            return super().execute_sql(sql, params)
        except peewee.PeeweeException as error:
            if self._has_lost(error):
                self.refuse(error)
            raise

    def execute(self, query: Any, **context_options: Any) -> Any:
        """As Peewee does; a query that only reads, outside of a transaction, is asked again on a fresh connection."""
        try:
            return super().execute(query, **context_options)
        except StoreUnreachable:
            if self.transaction_depth() or not isinstance(query, peewee.SelectBase):
                raise
        return super().execute(query, **context_options)

    def refuse(self, error: Exception) -> NoReturn:
        """Raise what an error is to Peewee's users: `StoreUnreachable` when its connection was lost."""
        self.check_usable()
        if isinstance(error, StoreError) or not self._has_lost(error):
            super().refuse(error)
        if self._state.conn is not None:
            self._state.conn.close()
        self.close_idle()  # what ended one has mostly ended all
        if not self.transaction_depth():
            self.close()
        raise StoreUnreachable(f"the connection to the database was lost: {reason(error)}") from error

    def _has_lost(self, error: Exception) -> bool:
        """Whether an error ended the connection of this thread."""
        state = getattr(original(error), "sqlstate", None) or ""
        if state[:2] == "08" or state in _HUNG_UP:
            return True
        connection = self._state.conn
        return connection is not None and connection.pgconn.status != _OK

    def begin(self, isolation_level: str | int | None = None) -> None:
        """Begin a transaction; its isolation is the session's, or is said as text or as psycopg's number."""
        connection = self._state.conn
        if connection is not None and not _is_alive(connection):
            self.close()
        level = self._adapter.isolation_level_str(isolation_level)
        if self.pooled:
            level = level or "READ COMMITTED"
        begin = f"BEGIN ISOLATION LEVEL {level}" if level else "BEGIN"
        if self.pooled:
            begin += f"; SET LOCAL lock_timeout = '{self._milliseconds}'; SET LOCAL TimeZone = 'UTC'"
        try:
            self._begin(begin)
        except StoreUnreachable:
            self._begin(begin)  # once more, on a fresh connection: nothing was begun on the one that was lost

    def _begin(self, begin: str) -> None:
        if self.clock.is_due():
            self._begin_and_measure(begin)
        else:
            self.run(begin)

    def _begin_and_measure(self, begin: str) -> None:
        """Begin, and ask for the server's clock in the same round trip."""
        asked = ServerClock.local()
        _, cursor = self.run(f"{begin}; SELECT clock_timestamp()")
        while cursor.nextset():
            pass
        self.clock.measured(asked, cursor.fetchone()[0])

    def commit(self) -> None:
        """Commit the transaction.

        Raises:
            StoreUnreachable: its connection was lost before; nothing is written.
            CommitUnknown: the connection was lost when the word was sent and the answer had not come.
            InternalError: a statement of it had failed, and it was rolled back, which PostgreSQL says by the way.
        """
        self.check_usable()
        connection = self._state.conn
        if connection is None or not _is_alive(connection):
            raise StoreUnreachable("the connection to the database was lost before the commit; nothing is written")
        try:
            _, cursor = self.run("COMMIT")
        except StoreUnreachable as error:
            raise CommitUnknown(f"{summary(CommitUnknown)} ({reason(error)})") from error
        if cursor.statusmessage == "ROLLBACK":
            raise peewee.InternalError(
                "an error in the transaction was passed over, and nothing of it is written; "
                "put what may fail into a store.atomic() of its own"
            )

    def rollback(self) -> None:
        """Roll the transaction back."""
        self.run("ROLLBACK")

    def _roll_back(self) -> None:
        connection = self._state.conn
        if connection is None:
            return
        try:
            if connection.pgconn.transaction_status in _IN_TRANSACTION:
                self.run("ROLLBACK")
        except self.foreign_errors:
            pass
        finally:
            if connection.pgconn.transaction_status != _IDLE:
                _hang_up(connection)

    def _savepoint_lost(self, error: Exception) -> None:
        if self._state.conn is not None:
            _hang_up(self._state.conn)

    def release(self) -> None:
        """Give this thread's connection back to the pool, between transactions."""
        if not self.transaction_depth() and not self._state.ctx:
            super().close()

    @contextmanager
    def listening(self) -> Iterator[Callable[[float], None]]:
        """From here on commits of moves are heard; gives what waits for one, so many seconds at most.

        Behind a pooler nobody hears anything: the session that listens is another one's at the next statement.
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
                self.refuse(error)

        try:
            yield wait
        finally:
            if self._state.conn is connection and _is_alive(connection):
                self.run(f"UNLISTEN {CHANNEL}")

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

    def store_error(self, error: Exception) -> StoreError | None:
        """What an error of PostgreSQL means to a caller, or None when it is no fault of the store."""
        state = getattr(original(error), "sqlstate", None) or ""
        known = _POSTGRESQL_ERRORS.get(state)
        if known is None and isinstance(error, peewee.OperationalError):
            known = StoreError
        return known(f"{summary(known)} ({type(original(error)).__name__} {state})") if known else None

    def should_retry(self, error: Exception) -> bool:
        """Whether the transaction lost to another one, or was cancelled, and may succeed when begun again."""
        return getattr(original(error), "sqlstate", None) in _BEGUN_AGAIN


_POSTGRESQL_ERRORS: Mapping[str, type[StoreError]] = {
    "40P01": StoreBusy,
    "40001": StoreBusy,
    "55P03": StoreBusy,
    "57014": StoreBusy,  # statement_timeout, or an administrator
    "53300": StoreUnreachable,
    "53100": StoreFull,
    "42501": StoreReadOnly,
    "25006": StoreReadOnly,
    "XX001": StoreCorrupt,
    "XX002": StoreCorrupt,
}
_BEGUN_AGAIN = frozenset({"40P01", "40001", "57014"})
"""What ends a transaction that may be begun again: a deadlock, a serialization failure, a cancelled statement."""
_HUNG_UP = frozenset({"57P01", "57P02", "57P03", "57P05", "25P03", "25P04"})
"""What the server says when it ends a connection: a shutdown, a restart, a time limit of its own."""
_OK = 0
"""libpq's `CONNECTION_OK`."""
_IDLE, _ACTIVE, _IN_TRANSACTION = 0, 1, (2, 3)
"""libpq's `PQTRANS_IDLE`, `PQTRANS_ACTIVE`, and `PQTRANS_INTRANS` with `PQTRANS_INERROR`."""


@cache
def _utc_loader() -> type[Any]:
    """Reads moments as UTC, whatever the time zone of the session is."""
    stock: Any = sys.modules["psycopg.types.datetime"].TimestamptzLoader

    class UtcLoader(stock):
        def load(self, data: Any) -> datetime:
            moment: datetime = super().load(data)
            return moment.astimezone(UTC)

    return UtcLoader


def _line(timeout: float) -> dict[str, int]:
    """How a connection is made, and when one that answers no more is given up, unless the URL says it."""
    return {
        "connect_timeout": max(2, int(timeout)),
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
        "tcp_user_timeout": 60_000,
    }


def _is_alive(connection: Any) -> bool:
    """Whether the server has not ended a connection that is not in use; asks this machine, and sends nothing."""
    pgconn = connection.pgconn
    if pgconn.status != _OK:
        return False
    waiting = select.poll()
    waiting.register(pgconn.socket, select.POLLIN)
    try:
        while waiting.poll(0):  # a notice, or the end
            pgconn.consume_input()
    except sys.modules["psycopg"].OperationalError:
        return False
    return bool(pgconn.status == _OK)


def _hang_up(connection: Any) -> None:
    """Close a connection that may be running a statement: the server is asked to stop that, and its locks go."""
    with suppress(sys.modules["psycopg"].Error):
        if connection.pgconn.transaction_status == _ACTIVE:
            connection.cancel_safe(timeout=2.0)
    connection.close()


def reason(error: BaseException) -> str:
    """What libpq says went wrong, in one line."""
    lines = str(original(error)).splitlines() or [type(original(error)).__name__]
    several = [line.removeprefix("- ") for line in lines if line.startswith("- ")]
    return "; ".join(several) or lines[0].removeprefix("connection failed: ")
