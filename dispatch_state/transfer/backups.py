"""Copies the store while other processes write, and lets a repair write without the database's triggers."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import peewee

from dispatch_state.audit.verify import verify
from dispatch_state.errors import InvalidValue, StoreBusy, StoreError
from dispatch_state.models.tables import EVERY
from dispatch_state.schema import enforcement
from dispatch_state.storage.connect import Database
from dispatch_state.storage.files import unwritable_error
from dispatch_state.storage.postgresql import PostgresStore
from dispatch_state.storage.sqlite import SqliteStore
from dispatch_state.storage.targets import SQLITE
from dispatch_state.transfer.files import create_file

MAX_SHOWN = 5
"""The maximum number of violations that a message names."""
LOCK_INTERVAL = 0.003
"""Seconds between two attempts to lock all tables."""


# ---- backups -------------------------------------------------------------------------------------------


def backup(database: Database, path: str | os.PathLike[str]) -> Path:
    """Copy the store as it is at one moment to a new file; see `Store.backup`.

    Args:
        database: the open database.
        path: the path of a file that does not exist.

    Returns:
        The absolute path of the copy.

    Raises:
        InvalidValue: the file exists, or a transaction is open in this thread.
        StoreReadOnly, StoreFull: the file cannot be written.
        StoreError: the store is on PostgreSQL.
    """
    if not isinstance(database, SqliteStore):
        raise StoreError("a store on PostgreSQL is backed up with pg_dump, which copies one moment of it too")
    if database.transaction_depth():
        raise InvalidValue("backup: a transaction is open in this thread; leave it first")
    target = create_file(path, "backup")
    try:
        partial = create_file(f"{target}.partial", "backup")
    except BaseException:
        target.unlink()
        raise
    try:
        _copy(database, partial)
        partial.replace(target)
        _sync(target.parent)
    except BaseException as error:
        for file in (partial, target):
            file.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise unwritable_error(target, error) from error
        raise
    return target


def _copy(database: SqliteStore, partial: Path) -> None:
    copy = sqlite3.connect(partial)
    try:
        database.connection().backup(copy)
    finally:
        copy.close()
        for suffix in ("-wal", "-shm", "-journal"):
            Path(f"{partial}{suffix}").unlink(missing_ok=True)
    _sync(partial)


def _sync(path: Path) -> None:
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


# ---- repairs -------------------------------------------------------------------------------------------


@contextmanager
def enforcement_suspended(database: Database) -> Iterator[None]:
    """An exclusive transaction without the database's triggers; see `Store.enforcement_suspended`.

    Raises:
        InvalidValue: a transaction is open in this thread.
        StoreBusy: the tables could not be locked, because others write all the time.
        StoreError: what the block wrote breaks an invariant; it is rolled back.
    """
    if database.transaction_depth():
        raise InvalidValue("enforcement_suspended: a transaction is open in this thread; leave it first")
    with database.transaction(*(["EXCLUSIVE"] if database.kind == SQLITE else [])):
        enforcement.lock_schema(database)
        if isinstance(database, PostgresStore):
            _lock_all_tables(database)
        enforcement.remove(database)
        yield
        enforcement.install(database)
        _refuse_unsound(database)


def _lock_all_tables(database: PostgresStore) -> None:
    """Lock all tables at a moment when nobody uses any: waiting for one while holding another could deadlock."""
    tables = ", ".join(model._meta.table_name for model in EVERY)
    until = time.monotonic() + database.lock_timeout
    while True:
        try:
            with database.savepoint():
                database.execute_sql(f"LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE NOWAIT")
            return
        except peewee.OperationalError as error:
            if not isinstance(database.store_error(error), StoreBusy) or time.monotonic() > until:
                raise
        time.sleep(LOCK_INTERVAL)


def _refuse_unsound(database: Database) -> None:
    if found := verify(database):
        shown = "; ".join(map(str, found[:MAX_SHOWN]))
        more = f"; and {len(found) - MAX_SHOWN} more" if len(found) > MAX_SHOWN else ""
        raise StoreError(f"what was written breaks the store, and was rolled back: {shown}{more}")
