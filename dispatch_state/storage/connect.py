"""Reaching a store: the one place that chooses between SQLite and PostgreSQL."""

from __future__ import annotations

import sys
from pathlib import Path

import peewee

from dispatch_state import values
from dispatch_state.errors import InvalidValue, StoreError, StoreNotFound, StoreUnreachable
from dispatch_state.storage.files import make_file
from dispatch_state.storage.postgresql import PostgresStore, reason
from dispatch_state.storage.sqlite import SYNCHRONOUS, SqliteStore
from dispatch_state.storage.targets import MEMORY, POSTGRESQL, Target, without_password
from dispatch_state.values import shown

Database = SqliteStore | PostgresStore
LONGEST_WAIT = 2_000_000.0
"""Seconds; both databases count a wait in 32 bits of milliseconds, and SQLite takes more for no wait at all."""


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
        make_file(Path(target.location), create)
    database = SqliteStore(target.location, timeout=wait, durability=durability)
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


def _reach_postgresql(target: Target, timeout: float, kept: int) -> PostgresStore:
    if "psycopg" not in sys.modules:
        raise StoreError('PostgreSQL takes psycopg: pip install "dispatch-state[postgres]"')
    try:
        database = PostgresStore(target.location, timeout=timeout, pool_size=kept)
    except sys.modules["psycopg"].ProgrammingError:
        # libpq quotes what it could not read, which may be the password
        raise InvalidValue("target: the URL cannot be read") from None
    try:
        database.execute_sql("SELECT 1").fetchone()
    except peewee.PeeweeException as error:
        database.close_all()
        raise _unreached(target, error) from error
    return database


def _unreached(target: Target, error: Exception) -> StoreError:
    """Why a server could not be reached, in libpq's words, without the password."""
    if isinstance(error, StoreError) and not isinstance(error, StoreUnreachable):
        return error
    why = without_password(reason(error.__cause__ or error), target.location)
    if "does not exist" in why and "database" in why:
        return StoreNotFound(f"{target}: that database does not exist; create it first")
    kind = StoreError if "does not exist" in why or "authentication failed" in why else StoreUnreachable
    return kind(f"{target} cannot be reached: {why}")
