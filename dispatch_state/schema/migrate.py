"""Brings a database to the schema of this version.

The migrations are files in `migrations/`, run by `playhouse.migrations`. Each runs in its own transaction, which takes
a lock first and then reads the history again, so that any number of processes can open one new database at the same
time. A migration that fails leaves the database as it was before that migration.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import peewee

from dispatch_state.errors import DispatchError, MigrationFailed, SchemaTooOld, StoreNotFound
from dispatch_state.schema import enforcement, names, numbering
from dispatch_state.schema.adoption import (
    SEED_MIGRATIONS,
    check_sqlx_history,
    convert_values,
    has_seed_tables,
    log_adoption,
)
from dispatch_state.schema.runner import HISTORY, open_runner, pending_migrations
from dispatch_state.storage.connect import Database
from dispatch_state.storage.sqlite import SqliteStore
from dispatch_state.values import listed

LOGGER = logging.getLogger("dispatch_state")
WAL_ATTEMPTS = 200
MAX_TRIGGERS_SHOWN, MAX_NAMES_SHOWN = 3, 13
"""The maximum number of triggers, and of tables and other names, that a message lists."""
HOW_TO_REINSTALL = "dispatch-state migrate reinstalls them, and so does open_store() with migrate=True"


def migrate(database: Database, *, wanted: bool = True, create: bool = True) -> None:
    """Bring a database to the schema of this version, and install its triggers; do nothing when that is done already.

    Args:
        database: the open database.
        wanted: whether an old or empty database may be changed.
        create: whether our tables may be made in a database that has none.

    Raises:
        StoreNotFound: there are no tables of ours and `create` is False, or no schema of PostgreSQL's search path
            exists.
        SchemaTooOld: the database needs migrating, and `wanted` is False.
        SchemaTooNew: a newer version of this library wrote the database.
        MigrationFailed: a name that we need is taken, the database cannot be adopted, or a migration failed; the
            migrations before that one stay applied.
    """
    try:
        _migrate(database, wanted, create)
        _check_triggers(database, wanted)
        _check_counter(database, wanted)
    except DispatchError:
        raise
    except database.foreign_errors as error:
        raise database.store_error(error) or MigrationFailed(f"the schema could not be read: {error}") from error


def _migrate(database: Database, wanted: bool, create: bool) -> None:
    runner = open_runner(database)
    if not pending_migrations(runner, set(runner.applied())):
        if wanted and runner.has_former_history:
            runner.up()
        return
    # read before the history: a table that another process makes meanwhile is then missing here, or in the history
    there, triggers = names.existing_names(database), enforcement.taken_names(database)
    seeds = isinstance(database, SqliteStore) and has_seed_tables(database)
    applied = set(runner.applied())
    pending = pending_migrations(runner, applied)
    if not pending:
        return
    adopts = seeds and not applied
    if adopts:
        check_sqlx_history(database)
    found = _conflicting_names(database, runner, there, applied | set(SEED_MIGRATIONS if adopts else ()))
    if not applied:
        found |= triggers | _conflicting_history_names(database, there)
    if found:
        raise MigrationFailed(
            "this database was made by another program, and names that the store needs are taken: "
            f"{_first(sorted(found, key=_tables_first), MAX_NAMES_SHOWN)}; nothing was changed; name another"
        )
    if not (applied or adopts or create):
        what = "this database has no store in it" if there else "the database is empty"
        raise StoreNotFound(f"{what}; name another, or open it with create=True")
    if not wanted and adopts:
        raise SchemaTooOld("another program made this database; open it with migrate=True to adopt it")
    if not wanted:
        raise SchemaTooOld(f"the database lacks {listed(pending)}; open it with migrate=True")
    if isinstance(database, SqliteStore):
        if adopts:
            _adopt(database, runner)
            return
        _switch_to_wal(database)
    runner.up()


def _conflicting_names(database: Database, runner: Any, taken: set[str], done: set[str]) -> set[str]:
    """Return the names that the pending migrations need and that something else has already.

    Args:
        database: the open database.
        runner: Peewee's runner.
        taken: every name that is taken.
        done: the migrations that were applied; what they created is ours.
    """
    texts = {step.name: Path(step.path).read_text() for step in runner.migrations()}
    ours = names.created_names((text for name, text in texts.items() if name in done), database.kind)
    coming = names.created_names((text for name, text in texts.items() if name not in done), database.kind)
    return (coming - ours) & taken


def _conflicting_history_names(database: Database, taken: set[str]) -> set[str]:
    """Return the names of the history and its index, where something else has them."""
    return set() if HISTORY in database.get_tables() else {HISTORY, f"{HISTORY}_name"} & taken


def _tables_first(name: str) -> tuple[bool, str]:
    return name.startswith("idx_"), name


def _adopt(database: SqliteStore, runner: Any) -> None:
    """Make a database with the seed's tables one of ours, or leave it as it was."""
    with database.transaction("EXCLUSIVE"):
        if not runner.applied():  # otherwise another process was faster
            convert_values(database)
            runner.History.create_table()
            for name in SEED_MIGRATIONS:
                runner.History.create(name=name)
            runner.up()
            enforcement.remove(database)
            log_adoption(database)
            enforcement.install(database)
    _switch_to_wal(database)


def _check_triggers(database: Database, wanted: bool) -> None:
    """Install the triggers if they are not in place, and log a warning that names them."""
    changed = enforcement.ensure(database) if wanted else enforcement.differences(database)
    if changed:
        done = "they were reinstalled" if wanted else f"nothing was changed; {HOW_TO_REINSTALL}"
        named = _first(changed, MAX_TRIGGERS_SHOWN)
        LOGGER.warning("the database's own triggers were missing or changed: %s; %s", named, done)


def _check_counter(database: Database, wanted: bool) -> None:
    """Set the counter of the log's numbers right if it is wrong, and log a warning."""
    if not numbering.counter_is_wrong(database):
        return
    if wanted:
        with database.atomic():
            enforcement.lock_schema(database)
            if numbering.counter_is_wrong(database):
                numbering.reset_counter(database)
    done = "it was corrected" if wanted else "nothing was changed; dispatch-state migrate corrects it"
    LOGGER.warning("the counter of the log's numbers did not match the last number; %s", done)


def _first(found: list[str], count: int) -> str:
    """Return the first `count` names in prose, and the number of the others."""
    return f"{listed(found[:count])}{f' and {len(found) - count} more' if len(found) > count else ''}"


def _switch_to_wal(database: SqliteStore) -> None:
    """Switch to write-ahead logging, again and again while another process does: SQLite does not wait for that lock."""
    for attempt in range(1, WAL_ATTEMPTS + 1):
        try:
            database.switch_to_wal()
            return
        except peewee.OperationalError:
            if attempt == WAL_ATTEMPTS:
                raise
            time.sleep(0.01)
