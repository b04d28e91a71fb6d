"""Bring a database to this version's schema.

The steps are files in `migrations/`, run by `playhouse.migrations`, each in a transaction of its own
that begins by taking a lock and then asks the history again, so that any number of processes may open
one fresh database together. A step that fails leaves the database as it was before that step.
"""

from __future__ import annotations

import logging
import time
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import peewee

from dispatch_state import enforcement
from dispatch_state.adoption import has_the_seeds_tables, log, rewrite
from dispatch_state.database import Database
from dispatch_state.errors import DispatchError, MigrationFailed, SchemaTooNew, SchemaTooOld, StoreError, StoreNotFound
from dispatch_state.sqlite import SqliteStore
from dispatch_state.targets import SQLITE
from dispatch_state.values import listed

HISTORY = "schema_migration"
LOGGER = logging.getLogger("dispatch_state")
WAL_TRIES = 200
SEEDS = ("001_initial_schema", "002_add_epics", "003_add_governance")
"""The steps that make the seed's tables."""
SHOWN = 3
"""How many triggers a message names."""
RENEWAL = "dispatch-state migrate puts them back, and so does open_store() with migrate=True"


def migrate(database: Database, *, wanted: bool = True, create: bool = True) -> None:
    """Bring a database to this version's schema, its triggers in place; does nothing when it is there already.

    Args:
        wanted: whether an old or an empty database may be changed.
        create: whether an empty database may be filled.

    Raises:
        StoreNotFound: the database is empty, and `create` is False.
        SchemaTooOld: it needs migrating, and `wanted` is False.
        SchemaTooNew: a newer version of this library wrote it.
        MigrationFailed: it is no database of ours, or a step failed; the steps before that one stay applied.
    """
    try:
        _migrate(database, wanted, create)
        _enforce(database, wanted)
    except DispatchError:
        raise
    except database.foreign_errors as error:
        raise database.store_error(error) or MigrationFailed(f"the schema could not be read: {error}") from error


def _migrate(database: Database, wanted: bool, create: bool) -> None:
    tables = set(database.get_tables()) - {HISTORY, "sqlite_sequence"}
    runner = _runners()(database)
    applied = set(runner.applied())
    pending = _pending(runner, applied)
    if not pending:
        return
    if not tables and not create:
        raise StoreNotFound("the database is empty; name another, or open it with create=True")
    if tables and not applied:
        if isinstance(database, SqliteStore) and has_the_seeds_tables(database, tables):
            if not wanted:
                raise SchemaTooOld("another program made this database; open it with migrate=True to adopt it")
            _adopt(database, runner)
            return
        if runner.applied():  # another process adopted it just now
            return
        raise MigrationFailed(
            f"this database was made by another program: it has {listed(sorted(tables))} and no history of ours; "
            "nothing was changed; name another"
        )
    if not wanted:
        raise SchemaTooOld(f"the database lacks {listed(pending)}; open it with migrate=True")
    if isinstance(database, SqliteStore):
        _switch_to_wal(database)
    runner.up()


def _adopt(database: SqliteStore, runner: Any) -> None:
    """Make a database of the seed's one of ours, or leave it as it was."""
    with database.transaction("EXCLUSIVE"):
        if not runner.applied():  # else another process was faster
            rewrite(database)
            runner.History.create_table()
            for name in SEEDS:
                runner.History.create(name=name)
            runner.up()
            enforcement.remove(database)
            log(database)
            enforcement.install(database)
    _switch_to_wal(database)


def _enforce(database: Database, wanted: bool) -> None:
    """See that the triggers are in place, and say when they were not."""
    changed = enforcement.ensure(database) if wanted else enforcement.differences(database)
    if changed:
        more = f" and {len(changed) - SHOWN} more" if len(changed) > SHOWN else ""
        done = "they were put back" if wanted else f"nothing was changed; {RENEWAL}"
        named = f"{listed(changed[:SHOWN])}{more}"
        LOGGER.warning("the database lacked its own triggers, or others stood there: %s; %s", named, done)


def _pending(runner: Any, applied: set[str]) -> list[str]:
    known = [migration.name for migration in runner.migrations()]
    if not known:
        raise StoreError(f"the installation is broken: no migrations in {runner.directory}")
    if unknown := sorted(applied - set(known)):
        raise SchemaTooNew(f"the database has {listed(unknown)}, which this version does not know; upgrade it")
    pending = [name for name in known if name not in applied]
    if pending and applied and pending[0] < max(applied):
        raise MigrationFailed(f"{pending[0]} was never applied, but {max(applied)} was: the history has a hole")
    return pending


def _switch_to_wal(database: SqliteStore) -> None:
    """Switch once, trying again while another process does: SQLite does not wait for this lock."""
    for attempt in range(1, WAL_TRIES + 1):
        try:
            database.switch_to_wal()
            return
        except peewee.OperationalError:
            if attempt == WAL_TRIES:
                raise
            time.sleep(0.01)


@cache
def _runners() -> type[Any]:
    """Peewee's runner, one process at a time; made when a database is opened: who only imports us waits for nothing."""
    from playhouse.migrations import Runner

    class OneAtATime(Runner):
        def __init__(self, database: Database) -> None:
            schema = None
            if database.kind != SQLITE:
                schema = database.execute_sql("SELECT current_schema()").fetchone()[0]
            super().__init__(database, str(_folder()), HISTORY, schema)

        def up(self, target: str | None = None, fake: bool = False) -> Any:
            with self.database.atomic():
                enforcement.hold(self.database)
                self.History.create_table()
            return super().up(target, fake)

        def _run(self, name: str, module: Any, direction: str, fake: bool = False) -> None:
            try:
                with self.migrator.migration_context():
                    enforcement.hold(self.database)
                    applied = self.applied()
                    if name not in applied:
                        enforcement.remove(self.database)
                        module.up(self.migrator, self.database)
                        self.History.create(name=name)
                        if len(applied) + 1 == len(self.migrations()):
                            enforcement.install(self.database)
            except DispatchError:
                raise
            except Exception as error:
                busy = self.database.store_error(error)
                raise busy or MigrationFailed(f"{name}: {error}; the database is as it was before it") from error

    return OneAtATime


def _folder() -> Path:
    """Where the steps are: in the installed package, or beside it in a bare checkout."""
    try:
        return Path(str(resources.files("dispatch_state.migrations")))
    except ModuleNotFoundError:
        return Path(__file__).parent.parent / "migrations"
