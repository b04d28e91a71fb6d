"""Runs the migrations with Peewee's runner, one process at a time, and reads the history of those that were applied."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import peewee

from dispatch_state.errors import DispatchError, MigrationFailed, SchemaTooNew, StoreError, StoreNotFound
from dispatch_state.schema import enforcement, names
from dispatch_state.storage.connect import Database
from dispatch_state.storage.targets import SQLITE
from dispatch_state.values import listed

HISTORY = "dispatch_migration"
"""The table that lists the migrations that were applied."""
FORMER_HISTORY = "schema_migration"
"""The first name of that table. It is the default of Peewee's runner, so another program's history may have it."""


def open_runner(database: Database) -> Any:
    """Return Peewee's runner for a database, changed so that one process runs at a time.

    Raises:
        StoreNotFound: no schema of PostgreSQL's search path exists.
    """
    return _runner_class()(database)


def pending_migrations(runner: Any, applied: set[str]) -> list[str]:
    """Return the names of the migrations to run.

    Args:
        runner: Peewee's runner.
        applied: the names of the migrations that were applied.

    Raises:
        StoreError: the installation has no migrations.
        SchemaTooNew: the database has a migration that this version does not know.
        MigrationFailed: an earlier migration than the last applied one is missing.
    """
    known = [migration.name for migration in runner.migrations()]
    if not known:
        raise StoreError(f"the installation is broken: no migrations in {runner.directory}")
    if unknown := sorted(applied - set(known)):
        raise SchemaTooNew(f"the database has {listed(unknown)}, which this version does not know; upgrade it")
    pending = [name for name in known if name not in applied]
    if pending and applied and pending[0] < max(applied):
        raise MigrationFailed(f"{pending[0]} was never applied, but {max(applied)} was: the history has a gap")
    return pending


@cache
def _runner_class() -> type[Any]:
    """Return Peewee's runner, changed so that one process runs at a time; it is slow to import, so not at the top."""
    from playhouse.migrations import Runner

    class OneAtATime(Runner):
        has_former_history = False
        """Whether the history is still in the table with its first name."""

        def __init__(self, database: Database) -> None:
            super().__init__(database, str(migrations_folder()), HISTORY, _postgresql_schema(database))

        def applied(self) -> dict[str, Any]:
            with _reading_history(self.database):
                found: dict[str, Any] = super().applied()
            former = {} if found else _former_history(self.database, self.migrations())
            self.has_former_history = bool(former)
            return found or former

        def up(self, target: str | None = None, fake: bool = False) -> Any:
            with self.database.atomic():
                enforcement.lock_schema(self.database)
                self.History.create_table()
                applied = self.applied()
                if self.has_former_history:
                    _move_history(self.database, applied)
            return super().up(target, fake)

        def _run(self, name: str, module: Any, direction: str, fake: bool = False) -> None:
            try:
                with self.migrator.migration_context():
                    enforcement.lock_schema(self.database)
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


@contextmanager
def _reading_history(database: Database) -> Iterator[None]:
    """A block that reads the history.

    Raises:
        MigrationFailed: the table with the history's name belongs to another program.
    """
    try:
        yield
    except peewee.DatabaseError as error:
        if database.store_error(error):
            raise
        raise MigrationFailed(
            f"this database was made by another program: its table {HISTORY} has the name that the store needs; "
            "nothing was changed; name another"
        ) from error


def _former_history(database: Database, steps: list[Any]) -> dict[str, Any]:
    """Return our migrations in the table with the history's first name; empty when that is another program's table."""
    if not {"name", "applied"} <= {column.name for column in database.get_columns(FORMER_HISTORY)}:
        return {}
    found = dict(database.execute_sql(f"SELECT name, applied FROM {FORMER_HISTORY}").fetchall())
    known = [step for step in steps if step.name in found]
    made = names.created_names((Path(step.path).read_text() for step in known), database.kind)
    return {step.name: found[step.name] for step in known} if made <= names.existing_names(database) else {}


def _move_history(database: Database, applied: Iterable[str]) -> None:
    """Move our migrations out of the table with the first name, and drop that table when nothing else is in it."""
    ours = listed(f"'{name}'" for name in applied)
    where = f"FROM {FORMER_HISTORY} WHERE name IN ({ours})"
    database.execute_sql(f"INSERT INTO {HISTORY} (name, applied) SELECT name, applied {where}")
    database.execute_sql(f"DELETE {where}")
    if database.execute_sql(f"SELECT 1 FROM {FORMER_HISTORY} LIMIT 1").fetchone() is None:
        database.execute_sql(f"DROP TABLE {FORMER_HISTORY}")


def _postgresql_schema(database: Database) -> str | None:
    """Return the schema of PostgreSQL that holds the tables; None on SQLite.

    Raises:
        StoreNotFound: no schema of the search path exists.
    """
    if database.kind == SQLITE:
        return None
    query = "SELECT current_schema(), current_setting('search_path')"
    found, path = database.execute_sql(query).fetchone()
    if found is None:
        wanted = [name for part in path.split(",") if (name := part.strip()) not in ("", '""', '"$user"')]
        make = f": CREATE SCHEMA {wanted[0]} makes it" if wanted else ""
        raise StoreNotFound(
            f"there is no schema that this role can use under the search_path ({path}){make}; name another"
        )
    return str(found)


def migrations_folder() -> Path:
    """Return the folder of the migrations: in the installed package, or beside it in a checkout."""
    try:
        return Path(str(resources.files("dispatch_state.migrations")))
    except ModuleNotFoundError:
        return Path(__file__).parents[2] / "migrations"
