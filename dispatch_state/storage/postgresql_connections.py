"""Connections to a PostgreSQL server: how they are made and set up, and how they end."""

from __future__ import annotations

import select
import sys
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from typing import Any

import peewee

from dispatch_state.errors import StoreError, StoreUnreachable
from dispatch_state.storage.postgresql_errors import is_disconnection, reason
from dispatch_state.storage.server_clock import ServerClock

CONNECTION_OK = 0
"""libpq's status of a connection that works."""
IDLE, ACTIVE, IN_TRANSACTION = 0, 1, (2, 3)
"""libpq's status of a transaction: PQTRANS_IDLE, PQTRANS_ACTIVE, and PQTRANS_INTRANS with PQTRANS_INERROR."""
_SETTINGS = """SELECT pg_backend_pid(), clock_timestamp(), current_setting('search_path'),
    set_config('default_transaction_isolation', 'read committed', pg_backend_pid() <> %(pid)s),
    set_config('TimeZone', 'UTC', pg_backend_pid() <> %(pid)s),
    set_config('lock_timeout', %(wait)s, pg_backend_pid() <> %(pid)s)"""
"""Sets the session up, unless the server process is not the one that libpq knows: then there is a pooler between."""


class PreparedConnections(peewee.PostgresqlDatabase):
    """Sets each connection up as the store needs it: READ COMMITTED, UTC, JSON as text, a limited wait for locks.

    Behind a pooler, such as PgBouncer in transaction mode, each transaction may use another session of the server. So
    no statement is prepared there, and each transaction sets what it needs for itself.
    """

    lock_timeout: float
    clock: ServerClock
    pooled = False
    """Whether there is a pooler between this process and the server."""

    def _connect(self) -> Any:
        connection: Any = None
        try:
            connection = super()._connect()  # type: ignore[misc]
            self._set_up(connection)
            return connection
        except BaseException as error:
            lost = connection is None or connection.pgconn.status != CONNECTION_OK or is_disconnection(error)
            if connection is not None:
                connection.close()
            if lost and isinstance(error, sys.modules["psycopg"].OperationalError):
                raise StoreUnreachable(f"the database cannot be reached: {reason(error)}") from error
            raise

    def _set_up(self, connection: Any) -> None:
        """Set up a session of the server, or find that there is a pooler."""
        text = sys.modules["psycopg.types.string"].TextLoader
        connection.adapters.register_loader("json", text)
        connection.adapters.register_loader("jsonb", text)
        asked_at = ServerClock.local()
        pid = connection.pgconn.backend_pid
        found = connection.execute(_SETTINGS, {"pid": pid, "wait": self.lock_timeout_text}).fetchone()
        self.clock.set_from(asked_at, found[1])
        if found[0] != pid:
            self._set_up_pooled(connection, found[2])
        connection.reused_cursor = connection.cursor()

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
    def lock_timeout_text(self) -> str:
        """How long to wait for a lock, as PostgreSQL's settings have it."""
        return f"{max(1, int(self.lock_timeout * 1000))}ms"


@cache
def _utc_loader() -> type[Any]:
    """Return a loader that reads moments in UTC, whatever time zone the session has."""
    stock: Any = sys.modules["psycopg.types.datetime"].TimestamptzLoader

    class UtcLoader(stock):
        def load(self, data: Any) -> datetime:
            moment: datetime = super().load(data)
            return moment.astimezone(UTC)

    return UtcLoader


def connection_options(timeout: float) -> dict[str, int]:
    """Return libpq's options for connecting and for giving up a connection that no longer answers.

    Args:
        timeout: the store's timeout, in seconds.
    """
    return {
        "connect_timeout": max(2, int(timeout)),
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
        "tcp_user_timeout": 60_000,
    }


def is_alive(connection: Any) -> bool:
    """Return whether an idle connection is still open. It reads what has arrived, and sends nothing."""
    pgconn = connection.pgconn
    if pgconn.status != CONNECTION_OK:
        return False
    waiting = select.poll()
    waiting.register(pgconn.socket, select.POLLIN)
    try:
        while waiting.poll(0):  # a notice, or the end
            pgconn.consume_input()
    except sys.modules["psycopg"].OperationalError:
        return False
    return bool(pgconn.status == CONNECTION_OK)


def cancel_and_close(connection: Any) -> None:
    """Close a connection, and first cancel a statement that it may be running, so that its locks are released."""
    with suppress(sys.modules["psycopg"].Error):
        if connection.pgconn.transaction_status == ACTIVE:
            connection.cancel_safe(timeout=2.0)
    connection.close()
