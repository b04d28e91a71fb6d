"""The schema: the seed's on SQLite, native types on PostgreSQL, and how a database gets there."""

from __future__ import annotations

import hashlib
import runpy
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peewee
import pytest
from playhouse.migrations import Runner

from dispatch_state import Agent, open_store
from dispatch_state.errors import MigrationFailed, SchemaTooNew, SchemaTooOld, StoreError, StoreNotFound
from dispatch_state.schema import enforcement, numbering
from dispatch_state.schema import runner as migrations
from dispatch_state.schema.migrate import migrate
from dispatch_state.storage.connect import Database
from tests import postgres
from tests.connections import reach
from tests.migrations import HASHES, ID, NAMES, NATIVE, OTHER, RELEASED, WHEN, history, schema
from tests.paths import ROOT


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the migrations that a test may change, in place of the released ones."""
    copy = tmp_path / "migrations"
    shutil.copytree(RELEASED, copy)
    monkeypatch.setattr(migrations, "migrations_folder", lambda: copy)
    for module, name, otherwise in (
        (enforcement, "install", None), (enforcement, "differences", []), (numbering, "counter_is_wrong", False)
    ):  # fmt: skip
        monkeypatch.setattr(module, name, _at_the_end(getattr(module, name), otherwise))
    return copy


def _at_the_end(done: Callable[[Database], Any], otherwise: Any) -> Callable[[Database], Any]:
    """The triggers and the log are of the last schema: a library that knew fewer migrations had others."""
    return lambda database: done(database) if history(database) == NAMES else otherwise


# ---- getting there -----------------------------------------------------------------------------------


def test_released_migrations_never_change() -> None:
    found = {file.stem: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(RELEASED.glob("[0-9]*.py"))}
    assert found == HASHES


def test_a_fresh_database_gets_every_migration_once(migrated: Database) -> None:
    assert history(migrated) == NAMES
    before = schema(migrated)
    migrate(migrated)
    assert schema(migrated) == before


def test_step_by_step_gives_the_schema_of_a_fresh_database(target: str, folder: Path, tmp_path: Path) -> None:
    waiting = tmp_path / "later"
    waiting.mkdir()
    for name in NAMES:
        (folder / f"{name}.py").rename(waiting / f"{name}.py")
    for name in NAMES:
        (waiting / f"{name}.py").rename(folder / f"{name}.py")
        database = reach(target)
        migrate(database)
        assert history(database)[-1] == name
        database.close_all()
    database = reach(target)
    stepped = schema(database)
    database.close_all()
    assert stepped == at_once(target, tmp_path)


def at_once(target: str, tmp_path: Path) -> list[Any]:
    """The schema of another fresh database of the same kind, made in one go."""
    if not target.startswith("postgresql"):
        database = reach(str(tmp_path / "fresh.db"))
        migrate(database)
        found = schema(database)
        database.close_all()
        return found
    with postgres.fresh_schema() as url:
        database = reach(url)
        migrate(database)
        found = schema(database)
        database.close_all()
    return found


def test_sqlite_is_switched_to_a_write_ahead_log_for_good(tmp_path: Path) -> None:
    database = reach(str(tmp_path / "x.db"))
    migrate(database)
    database.close_all()
    plain = sqlite3.connect(tmp_path / "x.db")
    assert plain.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    plain.close()


def test_opening_a_current_database_asks_little_and_locks_nothing(migrated: Database) -> None:
    asked: list[str] = []
    migrated.query_hooks.append(lambda event: asked.append(event.sql))
    migrate(migrated)
    assert len(asked) <= 8
    assert [sql for sql in asked if not sql.startswith("SELECT")] == []
    assert [sql for sql in asked if "advisory" in sql] == []


OPEN = """
import sys
from dispatch_state.storage import (connect as databases)
from dispatch_state.schema.migrate import (migrate)
from dispatch_state.storage.targets import (resolve)
print("ready", flush=True)
sys.stdin.readline()
database = databases.connect(resolve(sys.argv[1]), create=True, timeout=20, pool_size=2, durability="normal")
migrate(database)
print(len(database.get_tables()))
database.close_all()
"""


@pytest.mark.parametrize("turn", range(6))
def test_four_processes_may_open_one_fresh_database_together(turn: int, target: str) -> None:
    """Every other time it has a table of another program."""
    if turn % 2:
        database = reach(target)
        database.execute_sql("CREATE TABLE somebodys (x INTEGER)")
        database.close_all()
    opened = [
        subprocess.Popen(
            [sys.executable, "-c", OPEN, target],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for _ in range(4)
    ]  # fmt: skip
    for process in opened:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in opened:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    told = [process.communicate(timeout=60) for process in opened]
    assert [(out.strip(), err) for out, err in told] == [(told[0][0].strip(), "")] * 4
    database = reach(target)
    assert history(database) == NAMES
    database.close_all()


# ---- what is refused ---------------------------------------------------------------------------------


def test_a_newer_database_is_refused_and_left_alone(migrated: Database) -> None:
    migrated.execute_sql(f"INSERT INTO {migrations.HISTORY} (name, applied) VALUES ('999_from_the_future', '{WHEN}')")
    before = schema(migrated)
    with pytest.raises(SchemaTooNew, match="999_from_the_future"):
        migrate(migrated)
    assert schema(migrated) == before


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_an_old_database_is_left_alone_when_migrating_is_not_wanted(
    steps: int, database: Database, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in NAMES[steps:]:
        (folder / f"{name}.py").unlink()
    if steps:
        migrate(database)
    before = schema(database)
    monkeypatch.setattr(migrations, "migrations_folder", lambda: RELEASED)
    with pytest.raises(SchemaTooOld, match=NAMES[steps]):
        migrate(database, wanted=False)
    assert schema(database) == before


def test_an_empty_database_is_not_found_when_nothing_is_to_be_created(database: Database) -> None:
    with pytest.raises(StoreNotFound):
        migrate(database, create=False)
    assert schema(database) == []


def test_a_hole_in_the_history_is_refused(migrated: Database) -> None:
    migrated.execute_sql(f"DELETE FROM {migrations.HISTORY} WHERE name = '{NAMES[1]}'")
    with pytest.raises(MigrationFailed, match=NAMES[1]):
        migrate(migrated)


@pytest.mark.parametrize(
    "breaks",
    [
        "db.execute_sql('CREATE TABLE half (x INTEGER)'); db.execute_sql('CREATE TABLE half (x INTEGER)')",
        "db.execute_sql('CREATE TABLE half (x INTEGER)'); raise RuntimeError('stop')",
        "db.execute_sql('DROP TABLE votes'); 1 / 0",
    ],
)
def test_a_step_that_fails_leaves_the_database_as_it_was(breaks: str, migrated: Database, folder: Path) -> None:
    (folder / "900_breaks.py").write_text(f"def up(migrator, db):\n    {breaks}\n")
    before = schema(migrated)
    with pytest.raises(MigrationFailed, match="900_breaks"):
        migrate(migrated)
    assert schema(migrated) == before
    assert not migrated.in_transaction()
    foreign_keys_are_on(migrated)


def foreign_keys_are_on(database: Database) -> None:
    if database.kind == "sqlite":
        assert database.execute_sql("PRAGMA foreign_keys").fetchone() == (1,)


def test_foreign_keys_are_on_after_migrating(migrated: Database) -> None:
    foreign_keys_are_on(migrated)
    with pytest.raises(peewee.IntegrityError):
        migrated.execute_sql(f"INSERT INTO gate_comments VALUES ('{ID}', '{OTHER}', 'somebody', 'words', '{WHEN}')")


def test_steps_before_the_one_that_fails_stay_and_the_rest_follows_later(
    database: Database, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / f"{NAMES[2]}.py").write_text("def up(migrator, db):\n    1 / 0\n")
    with pytest.raises(MigrationFailed, match=NAMES[2]):
        migrate(database)
    assert history(database) == NAMES[:2]
    assert "proposals" not in database.get_tables()
    monkeypatch.setattr(migrations, "migrations_folder", lambda: RELEASED)
    migrate(database)
    assert history(database) == NAMES


# ---- beside other programs -----------------------------------------------------------------------------


THEIRS = [
    "CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT)",
    "CREATE TABLE _sqlx_migrations (version BIGINT, success BOOLEAN)",
    "CREATE INDEX idx_users_name ON users (name)",
    "CREATE VIEW names AS SELECT name FROM users",
    "INSERT INTO users VALUES (1, 'ann')",
    "INSERT INTO _sqlx_migrations VALUES (20260101000000, FALSE)",
]


@pytest.fixture
def shared(database: Database) -> Database:
    """A database in which another program has made its tables."""
    for statement in THEIRS:
        database.execute_sql(statement)
    return database


def of_others(database: Database) -> list[Any]:
    """What the database says of everything that is not of ours."""
    ours = {*NATIVE, migrations.HISTORY}
    position = 2 if database.kind == "sqlite" else 0
    return [row for row in schema(database) if not isinstance(row, str) and row[position] not in ours]


def test_tables_of_others_stay_and_ours_are_made_beside_them(shared: Database, native: Database) -> None:
    theirs = schema(shared)
    migrate(shared)
    assert history(shared) == NAMES
    assert of_others(shared) == theirs
    assert shared.execute_sql("SELECT * FROM names").fetchall() == [("ann",)]
    assert set(shared.get_tables()) - {"sqlite_sequence", "users", "_sqlx_migrations"} == set(native.get_tables())
    before = schema(shared)
    migrate(shared)
    assert schema(shared) == before


def test_tables_of_others_alone_are_no_store(shared: Database) -> None:
    before = schema(shared)
    for wanted in (True, False):
        with pytest.raises(StoreNotFound, match=r"this database has no store in it; .* create=True"):
            migrate(shared, wanted=wanted, create=False)
    with pytest.raises(SchemaTooOld, match=NAMES[0]):
        migrate(shared, wanted=False)
    assert schema(shared) == before


COLLIDING = {
    "a table": ("CREATE TABLE issues (id INTEGER)", "issues"),
    "a view": ("CREATE VIEW epics AS SELECT 1 AS x", "epics"),
    "an index": ("CREATE INDEX idx_issues_claim ON somebodys (x)", "idx_issues_claim"),
    "the log": ("CREATE TABLE transition_log (x INTEGER)", "transition_log"),
    "the history": (f"CREATE TABLE {migrations.HISTORY} (version INTEGER)", migrations.HISTORY),
    "a view for the history": (f"CREATE VIEW {migrations.HISTORY} AS SELECT 1 AS x", migrations.HISTORY),
    "the history's index": (
        f"CREATE INDEX {migrations.HISTORY}_name ON somebodys (x)", f"{migrations.HISTORY}_name"
    ),
}  # fmt: skip
ON_SQLITE = {
    "capital letters": ("CREATE TABLE Issues (id INTEGER)", "issues"),
    "the history in capital letters": (f"CREATE TABLE {migrations.HISTORY.upper()} (x)", migrations.HISTORY),
    "a trigger": (
        "CREATE TRIGGER dispatch_issues_update AFTER INSERT ON somebodys BEGIN SELECT 1; END", "dispatch_issues_update"
    ),
}  # fmt: skip
ON_POSTGRESQL = {
    "a sequence": ("CREATE SEQUENCE transition_log_seq_seq", "transition_log_seq_seq"),
    "a type": ("CREATE TYPE agents AS ENUM ('one')", "agents"),
    "a composite type": ("CREATE TYPE gates AS (x integer)", "gates"),
    "a function": ("CREATE FUNCTION dispatch_issues() RETURNS integer LANGUAGE sql AS 'SELECT 1'", "dispatch_issues"),
}


KNOWN = {"sqlite": COLLIDING | ON_SQLITE, "postgresql": COLLIDING | ON_POSTGRESQL}


@pytest.mark.parametrize(
    ("backend", "case"), [(backend, case) for backend, cases in KNOWN.items() for case in cases], indirect=["backend"]
)
def test_names_of_ours_that_are_taken_are_named_and_left(backend: str, case: str, database: Database) -> None:
    statement, name = KNOWN[backend][case]
    database.execute_sql("CREATE TABLE somebodys (x INTEGER)")
    database.execute_sql(statement)
    before = everything(database)
    for create in (True, False):
        with pytest.raises(MigrationFailed, match=rf"another program.*\b{name}\b.*nothing was changed"):
            migrate(database, create=create)
    assert everything(database) == before


def everything(database: Database) -> list[Any]:
    """The schema, with triggers, functions and types, and no look at the history."""
    if database.kind == "sqlite":
        return database.execute_sql("SELECT type, name, sql FROM sqlite_master ORDER BY 1, 2").fetchall()
    here = "current_schema()::regnamespace"
    kinds = {"pg_class": "rel", "pg_type": "typ", "pg_proc": "pro"}
    asked = (f"SELECT {its}name::text FROM {kind} WHERE {its}namespace = {here}" for kind, its in kinds.items())
    return sorted(database.execute_sql(" UNION ALL ".join(asked)).fetchall())


def test_names_of_a_function_may_be_anothers_on_postgresql(database: Database) -> None:
    """A function with arguments has another name, and so has one in a schema of its own; capital letters count."""
    if database.kind == "sqlite":
        pytest.skip("SQLite has no functions")
    database.execute_sql("CREATE FUNCTION dispatch_issues(integer) RETURNS integer LANGUAGE sql AS 'SELECT 1'")
    database.execute_sql('CREATE TABLE "Issues" (x INTEGER)')
    migrate(database)
    migrate(database)
    assert enforcement.differences(database) == []
    assert database.execute_sql("SELECT dispatch_issues(7)").fetchone() == (1,)


def test_a_name_that_a_later_step_needs_is_reported_before_any_step(database: Database, folder: Path) -> None:
    migrate(database)
    database.execute_sql("CREATE TABLE notes (x INTEGER)")
    (folder / "900_first.py").write_text("def up(migrator, db):\n    db.execute_sql('CREATE TABLE half (x INTEGER)')\n")
    rebuilt = "DROP INDEX idx_issues_claim; CREATE INDEX idx_issues_claim ON issues (id)"
    (folder / "901_notes.py").write_text(
        f"SCHEMA = 'CREATE TABLE notes (x INTEGER); {rebuilt}'\n\ndef up(m, db): 1 / 0\n"
    )
    before = schema(database)
    with pytest.raises(MigrationFailed, match=r"taken: notes; nothing was changed"):
        migrate(database)
    assert schema(database) == before


# ---- the history -----------------------------------------------------------------------------------------


def as_it_was(database: Database) -> None:
    """Put the history where it was kept at first."""
    runner = Runner(database, str(RELEASED), migrations.FORMER_HISTORY)
    runner.History.create_table()
    database.execute_sql(
        f"INSERT INTO {migrations.FORMER_HISTORY} (name, applied) "
        f"SELECT name, applied FROM {migrations.HISTORY} ORDER BY name"
    )
    database.execute_sql(f"DROP TABLE {migrations.HISTORY}")


def test_the_history_of_an_older_library_is_moved(migrated: Database) -> None:
    before = schema(migrated)
    as_it_was(migrated)
    moved = schema(migrated)
    migrate(migrated, wanted=False, create=False)
    assert schema(migrated) == moved
    migrate(migrated)
    assert schema(migrated) == before
    migrate(migrated)
    assert schema(migrated) == before


def test_an_older_librarys_old_schema_is_brought_up_to_date(
    database: Database, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in NAMES[5:]:
        (folder / f"{name}.py").unlink()
    migrate(database)
    as_it_was(database)
    monkeypatch.setattr(migrations, "migrations_folder", lambda: RELEASED)
    with pytest.raises(SchemaTooOld, match=NAMES[5]):
        migrate(database, wanted=False)
    migrate(database)
    assert history(database) == NAMES
    assert migrations.FORMER_HISTORY not in database.get_tables()


def mine(database: Database, tmp_path: Path, name: str = "0001_mine") -> list[str]:
    """Run a migration of a program that uses Peewee's runner as it comes; returns that program's history."""
    steps = tmp_path / "steps"
    steps.mkdir(exist_ok=True)
    text = "def up(migrator, db):\n    db.execute_sql('CREATE TABLE IF NOT EXISTS mine (x INTEGER)')\n"
    (steps / f"{name}.py").write_text(text)
    runner = Runner(database, str(steps))
    runner.up()
    return sorted(runner.applied())


@pytest.mark.parametrize("first", ["theirs", "ours"])
@pytest.mark.parametrize("name", ["0001_mine", NAMES[0]])
def test_who_uses_peewees_runner_keeps_a_history_of_its_own(
    name: str, first: str, database: Database, tmp_path: Path
) -> None:
    """Whichever comes first, and whatever the steps are called."""
    if first == "ours":
        migrate(database)
    assert mine(database, tmp_path, name) == [name]
    migrate(database)
    assert history(database) == NAMES
    assert mine(database, tmp_path, name) == [name]
    assert database.execute_sql("SELECT * FROM mine").fetchall() == []


def test_steps_of_others_in_the_history_of_an_older_library_stay_there(migrated: Database, tmp_path: Path) -> None:
    as_it_was(migrated)
    mine(migrated, tmp_path)
    migrate(migrated)
    assert history(migrated) == NAMES
    assert mine(migrated, tmp_path) == ["0001_mine"]


# ---- schemas of PostgreSQL -------------------------------------------------------------------------------


def test_the_error_of_a_missing_schema_says_how_to_make_it() -> None:
    postgres.server_or_skip()
    for path, made in (("nowhere", "nowhere"), ('"$user",nowhere,other', "nowhere"), ('"No-where"', '"No-where"')):
        database = reach(postgres.in_schema(path))
        with pytest.raises(StoreNotFound, match=rf"CREATE SCHEMA {made} makes it; name another"):
            migrate(database)
        database.close_all()
    database = reach(postgres.in_schema('""'))
    with pytest.raises(StoreNotFound, match=r"no schema.*under the search_path \(\"\"\); name another"):
        migrate(database)
    database.close_all()


def test_another_schema_of_the_same_database_does_not_matter(database: Database, native: Database) -> None:
    if database.kind == "sqlite":
        pytest.skip("SQLite has one schema")
    assert history(database) == []
    migrate(database)
    assert schema(database) == schema(native)


@pytest.mark.parametrize("there", [True, False])
def test_an_installation_without_migrations_is_reported(there: bool, database: Database, folder: Path) -> None:
    shutil.rmtree(folder)
    if there:
        folder.mkdir()
    with pytest.raises(StoreError, match="installation is broken"):
        migrate(database)
    assert schema(database) == []


RENAMED = [
    ('{"avg_completion_time_secs": 12.5, "issues_completed": 2, "ü": 1}',
     {"avg_completion_time": 12.5, "issues_completed": 2, "ü": 1}),
    ('{"avg_completion_time_secs": 3.0, "avg_completion_time": 100.0, "issues_completed": 4}',
     {"avg_completion_time": 100.0, "issues_completed": 4}),
    ('{"avg_completion_time": 100.0}', {"avg_completion_time": 100.0}),
    ('{"tokens_used": 1}', {"tokens_used": 1}),
    (None, None),
]  # fmt: skip
"""Metrics as they were stored, and what is stored now."""


def rename_mean_times(database: Database) -> None:
    """Run the migration on rows of today: those before and after it need not be undone."""
    runpy.run_path(str(RELEASED / "009_metrics_names.py"))["up"](None, database)
    enforcement.install(database)


def test_the_mean_time_gets_the_seeds_name(target: str) -> None:
    with open_store(target) as store:
        agents = [Agent.create(agent_type="coder") for _ in RENAMED]
        database, mark = store.database, store.database.param
        with database.atomic():
            enforcement.remove(database)
            for agent, (stored, _) in zip(agents, RENAMED, strict=True):
                update = f"UPDATE agents SET metrics = {mark} WHERE id = {mark}"
                database.execute_sql(update, (stored, str(agent.id)))
            rename_mean_times(database)
        found = [Agent.get_by_id(agent.id) for agent in agents]
        assert [agent.metrics for agent in found] == [metrics for _, metrics in RENAMED]
        assert [agent.version for agent in found] == [1] * len(RENAMED)
        assert store.verify() == []


def test_metrics_that_are_no_json_stop_no_migration(tmp_path: Path) -> None:
    with open_store(str(tmp_path / "dispatch.db")) as store:
        agent = Agent.create(agent_type="coder")
        with store.database.atomic():
            enforcement.remove(store.database)
            store.database.execute_sql("UPDATE agents SET metrics = '{\"avg_completion_time_secs\"'")
            rename_mean_times(store.database)
        assert [violation.id for violation in store.verify()] == [agent.id]
