"""Connecting to a store: the one place that chooses between SQLite and PostgreSQL."""

from __future__ import annotations

import sys
from pathlib import Path

import peewee

from dispatch_state import values
from dispatch_state.errors import InvalidValue, StoreError, StoreNotFound, StoreUnreachable
from dispatch_state.storage.files import create_file
from dispatch_state.storage.postgresql import PostgresStore
from dispatch_state.storage.postgresql_errors import reason
from dispatch_state.storage.sqlite import SYNCHRONOUS, SqliteStore
from dispatch_state.storage.targets import MEMORY, POSTGRESQL, Target, without_password
from dispatch_state.values import shown

Database = SqliteStore | PostgresStore
LONGEST_WAIT = 2_000_000.0
"""Seconds. Both databases count a wait in milliseconds of 32 bits, and SQLite does not wait at all for more."""


def connect(target: Target, *, create: bool, timeout: float, pool_size: int, durability: str) -> Database:
    """Connect to a store, and check that it answers.

    Args:
        target: where it is.
        create: whether to create the file when it does not exist (SQLite).
        timeout: how long to wait for a lock, in seconds.
        pool_size: how many idle connections are kept (PostgreSQL).
        durability: "full" or "normal" (SQLite).

    Raises:
        InvalidValue: an argument is wrong.
        StoreNotFound: the file or the database does not exist.
        StoreCorrupt: the file is not a database.
        StoreUnreachable: the server cannot be reached.
        StoreError: the store cannot be opened, read or written.
    """
    wait = min(values.seconds(timeout, "timeout").total_seconds(), LONGEST_WAIT)
    idle_connections = values.positive(pool_size, "pool_size")
    if not isinstance(durability, str) or durability not in SYNCHRONOUS:
        raise InvalidValue(f'durability: takes "full" or "normal", not {shown(durability)}')
    if target.kind == POSTGRESQL:
        return _connect_to_postgresql(target, wait, idle_connections)
    return _connect_to_sqlite(target, wait, durability, create)


def _connect_to_sqlite(target: Target, timeout: float, durability: str, create: bool) -> SqliteStore:
    if target.location != MEMORY:
        create_file(Path(target.location), create)
    database = SqliteStore(target.location, timeout=timeout, durability=durability)
    try:
        database.execute_sql("SELECT count(*) FROM sqlite_master").fetchone()
    except StoreError:
        database.close_all()
        raise
    except database.foreign_errors as error:
        database.close_all()
        known = database.store_error(error)
        raise (type(known) if known else StoreError)(f"{target}: {known or error}") from error
    return database


def _connect_to_postgresql(target: Target, timeout: float, pool_size: int) -> PostgresStore:
    if "psycopg" not in sys.modules:
        raise StoreError('PostgreSQL needs psycopg: pip install "dispatch-state[postgres]"')
    try:
        database = PostgresStore(target.location, timeout=timeout, pool_size=pool_size)
    except sys.modules["psycopg"].ProgrammingError:
        # libpq would quote the unreadable part, which may be the password
        raise InvalidValue("target: the URL cannot be read") from None
    try:
        database.execute_sql("SELECT 1").fetchone()
    except peewee.PeeweeException as error:
        database.close_all()
        raise _connection_error(target, error) from error
    return database


def _connection_error(target: Target, error: Exception) -> StoreError:
    """Return the error for a failed connection, with the cause that libpq reports, but without the password."""
    if isinstance(error, StoreError) and not isinstance(error, StoreUnreachable):
        return error
    why = without_password(reason(error.__cause__ or error), target.location)
    if "does not exist" in why and "database" in why:
        return StoreNotFound(f"{target}: that database does not exist; create it first")
    kind = StoreError if "does not exist" in why or "authentication failed" in why else StoreUnreachable
    return kind(f"{target} cannot be reached: {why}")
