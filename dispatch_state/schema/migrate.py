"""Bring a database to this version's schema.

The steps are files in `migrations/`, run by `playhouse.migrations`, each in a transaction of its own
that begins by taking a lock and then asks the history again, so that any number of processes may open
one fresh database together. A step that fails leaves the database as it was before that step.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import peewee

from dispatch_state.errors import DispatchError, MigrationFailed, SchemaTooNew, SchemaTooOld, StoreError, StoreNotFound
from dispatch_state.schema import enforcement, names, numbering
from dispatch_state.schema.adoption import has_the_seeds_tables, log, refuse_unfinished, rewrite
from dispatch_state.storage.connect import Database
from dispatch_state.storage.sqlite import SqliteStore
from dispatch_state.storage.targets import SQLITE
from dispatch_state.values import listed

HISTORY = "dispatch_migration"
FORMER = "schema_migration"
"""What the history was called; Peewee's runner gives that name to everybody's."""
LOGGER = logging.getLogger("dispatch_state")
WAL_TRIES = 200
SEEDS = ("001_initial_schema", "002_add_epics", "003_add_governance")
"""The steps that make the seed's tables."""
SHOWN, SHOWN_NAMES = 3, 13
"""How many triggers, and how many tables and the like, a message names."""
RENEWAL = "dispatch-state migrate puts them back, and so does open_store() with migrate=True"


def migrate(database: Database, *, wanted: bool = True, create: bool = True) -> None:
    """Bring a database to this version's schema, its triggers in place; does nothing when it is there already.

    Args:
        wanted: whether an old or an empty database may be changed.
        create: whether our tables may be made where there are none.

    Raises:
        StoreNotFound: there are none, and `create` is False; or no schema of PostgreSQL's search path is there.
        SchemaTooOld: it needs migrating, and `wanted` is False.
        SchemaTooNew: a newer version of this library wrote it.
        MigrationFailed: a name of ours stands for something else, it cannot be adopted, or a step failed; the steps
            before that one stay applied.
    """
    try:
        _migrate(database, wanted, create)
        _enforce(database, wanted)
        _number(database, wanted)
    except DispatchError:
        raise
    except database.foreign_errors as error:
        raise database.store_error(error) or MigrationFailed(f"the schema could not be read: {error}") from error


def _migrate(database: Database, wanted: bool, create: bool) -> None:
    runner = _runners()(database)
    if not _pending(runner, set(runner.applied())):
        if wanted and runner.former:
            runner.up()
        return
    # read before the history: what another process makes meanwhile is in neither, or in the history too
    there, triggers = names.present(database), enforcement.taken(database)
    seeds = isinstance(database, SqliteStore) and has_the_seeds_tables(database)
    applied = set(runner.applied())
    pending = _pending(runner, applied)
    if not pending:
        return
    adopts = seeds and not applied
    if adopts:
        refuse_unfinished(database)
    found = _of_others(database, runner, there, applied | set(SEEDS if adopts else ()))
    if not applied:
        found |= triggers | _of_no_history(database, there)
    if found:
        raise MigrationFailed(
            "this database was made by another program, and names that the store needs are taken in it: "
            f"{_first(sorted(found, key=_tables_first), SHOWN_NAMES)}; nothing was changed; name another"
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


def _of_others(database: Database, runner: Any, there: set[str], done: set[str]) -> set[str]:
    """The names that the coming steps give to what they make, and that stand for something else already.

    Args:
        there: every name that is taken.
        done: the steps that were taken; what they made is ours.
    """
    steps = {step.name: Path(step.path).read_text() for step in runner.migrations()}
    ours = names.made((text for name, text in steps.items() if name in done), database.kind)
    coming = names.made((text for name, text in steps.items() if name not in done), database.kind)
    return (coming - ours) & there


def _of_no_history(database: Database, there: set[str]) -> set[str]:
    """The names of the history and its index, where they stand for something else."""
    return set() if HISTORY in database.get_tables() else {HISTORY, f"{HISTORY}_name"} & there


def _tables_first(name: str) -> tuple[bool, str]:
    return name.startswith("idx_"), name


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
        done = "they were put back" if wanted else f"nothing was changed; {RENEWAL}"
        named = _first(changed, SHOWN)
        LOGGER.warning("the database lacked its own triggers, or others stood there: %s; %s", named, done)


def _number(database: Database, wanted: bool) -> None:
    """See that the next move's number follows the last one's, and say when it did not."""
    if not numbering.is_wrong(database):
        return
    if wanted:
        with database.atomic():
            enforcement.hold(database)
            if numbering.is_wrong(database):
                numbering.put_right(database)
    done = "it was put right" if wanted else "nothing was changed; dispatch-state migrate puts it right"
    LOGGER.warning("the counter of the log's numbers was not where the log ends; %s", done)


def _first(found: list[str], count: int) -> str:
    """So many of them in prose, and how many more there are."""
    return f"{listed(found[:count])}{f' and {len(found) - count} more' if len(found) > count else ''}"


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
        former = False
        """Whether the history stands where it was kept at first."""

        def __init__(self, database: Database) -> None:
            super().__init__(database, str(_folder()), HISTORY, _schema(database))

        def applied(self) -> dict[str, Any]:
            with _is_ours(self.database):
                found: dict[str, Any] = super().applied()
            formerly = {} if found else _former_steps(self.database, self.migrations())
            self.former = bool(formerly)
            return found or formerly

        def up(self, target: str | None = None, fake: bool = False) -> Any:
            with self.database.atomic():
                enforcement.hold(self.database)
                self.History.create_table()
                applied = self.applied()
                if self.former:
                    _move_history(self.database, applied)
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


@contextmanager
def _is_ours(database: Database) -> Iterator[None]:
    """A block that reads the history; raises `MigrationFailed` when the table of that name holds something else."""
    try:
        yield
    except peewee.DatabaseError as error:
        if database.store_error(error):
            raise
        raise MigrationFailed(
            f"this database was made by another program: its table {HISTORY} has the name of ours; "
            "nothing was changed; name another"
        ) from error


def _former_steps(database: Database, steps: list[Any]) -> dict[str, Any]:
    """Our steps in the table that held the history at first; none where it is another program's."""
    if not {"name", "applied"} <= {column.name for column in database.get_columns(FORMER)}:
        return {}
    found = dict(database.execute_sql(f"SELECT name, applied FROM {FORMER}").fetchall())
    known = [step for step in steps if step.name in found]
    made = names.made((Path(step.path).read_text() for step in known), database.kind)
    return {step.name: found[step.name] for step in known} if made <= names.present(database) else {}


def _move_history(database: Database, applied: Iterable[str]) -> None:
    """Take our steps out of that table, which goes when nothing else is in it."""
    ours = listed(f"'{name}'" for name in applied)
    where = f"FROM {FORMER} WHERE name IN ({ours})"
    database.execute_sql(f"INSERT INTO {HISTORY} (name, applied) SELECT name, applied {where}")
    database.execute_sql(f"DELETE {where}")
    if database.execute_sql(f"SELECT 1 FROM {FORMER} LIMIT 1").fetchone() is None:
        database.execute_sql(f"DROP TABLE {FORMER}")


def _schema(database: Database) -> str | None:
    """The schema of PostgreSQL in which the tables are.

    Raises:
        StoreNotFound: there is none.
    """
    if database.kind == SQLITE:
        return None
    asked = "SELECT current_schema(), current_setting('search_path')"
    found, path = database.execute_sql(asked).fetchone()
    if found is None:
        wanted = [name for part in path.split(",") if (name := part.strip()) not in ("", '""', '"$user"')]
        make = f": CREATE SCHEMA {wanted[0]} makes it" if wanted else ""
        raise StoreNotFound(
            f"no schema that this role may use is there under the search_path ({path}){make}; name another"
        )
    return str(found)


def _folder() -> Path:
    """Where the steps are: in the installed package, or beside it in a bare checkout."""
    try:
        return Path(str(resources.files("dispatch_state.migrations")))
    except ModuleNotFoundError:
        return Path(__file__).parents[2] / "migrations"
