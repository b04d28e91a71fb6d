"""A copy of the store while others write, and the door through which one is restored."""

from __future__ import annotations

import errno
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

SHOWN = 5
"""How many violations a message names."""
PAUSE = 0.003
"""Seconds between two looks whether all tables are free."""


# ---- backups -------------------------------------------------------------------------------------------


def backup(database: Database, path: str | os.PathLike[str]) -> Path:
    """Copy the store as it stands at one moment to a new file; see `Store.backup`."""
    if not isinstance(database, SqliteStore):
        raise StoreError("a store on PostgreSQL is backed up with pg_dump, which copies one moment of it too")
    if database.transaction_depth():
        raise InvalidValue("backup: a transaction is open in this thread; leave it first")
    target = new_file(path, "backup")
    try:
        partial = new_file(f"{target}.partial", "backup")
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


def new_file(path: str | os.PathLike[str], what: str) -> Path:
    """Take the name, so that nobody else does while the file is made; it is its owner's alone."""
    try:
        target = Path(os.fsdecode(path)).expanduser().absolute()
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        raise InvalidValue(f"{what}: {target} exists; name a file that does not") from None
    except (TypeError, ValueError, RuntimeError):
        raise InvalidValue(f"{what}: takes the path of a file that does not exist") from None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise InvalidValue(f"{what}: the path is too long") from None
        raise unwritable_error(target, error) from None
    return target


def _copy(database: SqliteStore, partial: Path) -> None:
    copy = sqlite3.connect(partial)
    try:
        database.connection().backup(copy)
    finally:
        copy.close()
        for leftover in ("-wal", "-shm", "-journal"):
            Path(f"{partial}{leftover}").unlink(missing_ok=True)
    _sync(partial)


def _sync(path: Path) -> None:
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


# ---- restores ------------------------------------------------------------------------------------------


@contextmanager
def suspended(database: Database) -> Iterator[None]:
    """One exclusive transaction without the database's triggers; see `Store.enforcement_suspended`."""
    if database.transaction_depth():
        raise InvalidValue("enforcement_suspended: a transaction is open in this thread; leave it first")
    with database.transaction(*(["EXCLUSIVE"] if database.kind == SQLITE else [])):
        enforcement.hold(database)
        if isinstance(database, PostgresStore):
            _shut_others_out(database)
        enforcement.remove(database)
        yield
        enforcement.install(database)
        _refuse_unsound(database)


def _shut_others_out(database: PostgresStore) -> None:
    """Lock every table, all at one moment when nobody is in any: whoever waits for one and holds another deadlocks."""
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
        time.sleep(PAUSE)


def _refuse_unsound(database: Database) -> None:
    if found := verify(database):
        told = "; ".join(map(str, found[:SHOWN]))
        more = f"; and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        raise StoreError(f"what was written breaks the store, and was rolled back: {told}{more}")
