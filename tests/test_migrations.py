"""The schema: the seed's on SQLite, native types on PostgreSQL, and how a database gets there."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
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
from dispatch_state.storage import connect as databases
from dispatch_state.storage.connect import Database
from dispatch_state.storage.targets import resolve
from tests import postgres

ROOT = Path(__file__).parent.parent
RELEASED = ROOT / "migrations"
SEED = (Path(__file__).parent / "seed_schema.sql").read_text()

ADDED_INDEXES = {
    "issues": {
        "idx_issues_claim": (0, ["status", None, None, "created_at", "id"]),
        "idx_issues_listing": (0, ["status", None, "created_at", "id"]),
        "idx_issues_under_way": (0, ["assigned_agent_id", "id"]),
    }
}
"""Indexes beyond the seed's; None stands for an expression."""
HASHES = {
    "001_initial_schema": "c08f8c68378461456fd7e26d432606ce07e328f426c0dad2371ec50e7c16b8c8",
    "002_add_epics": "bc5c5cc94bd9db46314b3dfd0febcfbe28eea099d0e80e32ba0a105a9e03bb55",
    "003_add_governance": "afb0f02ff8e1856545dfe9f88e3349e4d6c8de4ea9611a8227a6aa4155cead4f",
    "004_versions_and_log": "3ce17c4f74c240b937b61dc5b8fbb0bcd4bbd37665996eb5f25a00fc9503ef14",
    "005_gate_and_vote_columns": "a6f3e4d5d89fef6173247994aa24394d8378541d33cefb7dc2096942940d47fd",
    "006_claim_index": "1ffb39c8ef892756f27dada02988b4be45dda6941cdc1bec23bbe1459db7a961",
    "007_listing_index": "f670395377f058f468d259252c1494aa02a33c29f22342828580ad788d658f97",
    "008_under_way_index": "2b63df1e3050786e58ea57ca1faad38acfd8407072fa4c7d1d40ff6c5ff68826",
    "009_metrics_names": "61566abbbf7f86a25460170810cad6d8a0744e92e6bf3dcb48be34495eb7648c",
}

NAMES = list(HASHES)

STATEFUL = ("epics", "stages", "gates", "issues", "pull_requests", "agents", "proposals")
ADDED = {
    **{(table, "version"): ("INTEGER", 1, "1", 0) for table in STATEFUL},
    ("votes", "preferred_option"): ("TEXT", 0, None, 0),
    ("gates", "options"): ("TEXT", 0, None, 0),
    ("gates", "chosen_option"): ("TEXT", 0, None, 0),
    ("gates", "auto_approve_at"): ("TEXT", 0, None, 0),
}
LOG = [
    ("seq", "INTEGER", 0, None, 1),
    ("entity", "TEXT", 1, None, 0),
    ("entity_id", "TEXT", 1, None, 0),
    ("version", "INTEGER", 1, None, 0),
    ("trigger", "TEXT", 1, None, 0),
    ("source", "TEXT", 0, None, 0),
    ("dest", "TEXT", 0, None, 0),
    ("actor", "TEXT", 1, None, 0),
    ("reason", "TEXT", 0, None, 0),
    ("details", "TEXT", 0, None, 0),
    ("cause_seq", "INTEGER", 0, None, 0),
    ("decision_id", "TEXT", 0, None, 0),
    ("created_at", "TEXT", 1, None, 0),
]
NATIVE = {
    "epics": """id uuid, github_id bigint, acceptance_criteria jsonb, current_stage_id uuid, blocked_at_gate_id uuid,
        created_at timestamptz, updated_at timestamptz, completed_at timestamptz, version integer""",
    "stages": """id uuid, epic_id uuid, stage_order integer, created_at timestamptz, started_at timestamptz,
        completed_at timestamptz, version integer""",
    "gates": """id uuid, stage_id uuid, required_approvers jsonb, created_at timestamptz, approved_at timestamptz,
        version integer, options jsonb, auto_approve_at timestamptz""",
    "gate_comments": "id uuid, gate_id uuid, created_at timestamptz",
    "issues": """id uuid, github_id bigint, labels jsonb, epic_id uuid, stage_id uuid, assigned_agent_id uuid,
        created_at timestamptz, updated_at timestamptz, assigned_at timestamptz, completed_at timestamptz,
        version integer""",
    "pull_requests": """id uuid, issue_id uuid, github_number bigint, checks_passing boolean, created_at timestamptz,
        merged_at timestamptz, version integer""",
    "agents": """id uuid, current_issue_id uuid, process_id bigint, started_at timestamptz, last_heartbeat timestamptz,
        completed_at timestamptz, metrics jsonb, version integer""",
    "proposals": """id uuid, proposer_id uuid, related_issue_id uuid, affected_components jsonb, options jsonb,
        required_voters jsonb, execution_result jsonb, created_at timestamptz, voting_deadline timestamptz,
        resolved_at timestamptz, executed_at timestamptz, version integer""",
    "votes": "id uuid, proposal_id uuid, voter_id uuid, confidence double precision, created_at timestamptz",
    "decisions": "id uuid, proposal_id uuid, issue_id uuid, epic_id uuid, outcome jsonb, created_at timestamptz",
    "agent_logs": "id uuid, agent_id uuid, issue_id uuid, context jsonb, created_at timestamptz",
    "config_store": "value jsonb, updated_at timestamptz",
    "sync_state": "last_sync_at timestamptz, last_issue_id bigint, last_pr_id bigint, sync_errors jsonb",
    "transition_log": """seq bigint, entity_id uuid, version integer, details jsonb, cause_seq bigint,
        decision_id uuid, created_at timestamptz""",
}


def connect(target: str) -> Database:
    return databases.connect(resolve(target), create=True, timeout=10.0, pool_size=2, durability="normal")


@pytest.fixture
def database(target: str) -> Iterator[Database]:
    """An empty database."""
    found = connect(target)
    yield found
    found.close_all()


@pytest.fixture
def migrated(database: Database) -> Database:
    migrate(database)
    return database


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


def history(database: Database) -> list[str]:
    if migrations.HISTORY not in database.get_tables():
        return []
    return [name for (name,) in database.execute_sql(f"SELECT name FROM {migrations.HISTORY} ORDER BY name")]


def schema(database: Database) -> list[Any]:
    """Everything the database says of its schema, and the history."""
    if database.kind == "sqlite":
        told = database.execute_sql(
            "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' ORDER BY 1, 2"
        )
    else:
        told = database.execute_sql(
            "SELECT table_name, column_name, data_type, is_nullable, column_default, is_identity"
            " FROM information_schema.columns WHERE table_schema = current_schema()"
            f" AND NOT (table_name = '{migrations.HISTORY}' AND column_name = 'id')"
            " UNION ALL SELECT tablename, indexname, replace(indexdef, current_schema(), ''), '', '', ''"
            " FROM pg_indexes WHERE schemaname = current_schema()"
            " UNION ALL SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid), '', '', ''"
            " FROM pg_constraint WHERE connamespace = current_schema()::regnamespace ORDER BY 1, 2, 3"
        )
    return [*told.fetchall(), *history(database)]


# ---- the schema is the seed's ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def seed() -> Iterator[sqlite3.Connection]:
    """A database that the seed's own statements made."""
    connection = sqlite3.connect(":memory:")
    connection.executescript(SEED)
    yield connection
    connection.close()


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    """A SQLite database that our migrations made."""
    file = tmp_path_factory.mktemp("schema") / "x.db"
    database = connect(str(file))
    migrate(database)
    database.close_all()
    connection = sqlite3.connect(file)
    yield connection
    connection.close()


def tables(connection: sqlite3.Connection) -> set[str]:
    found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    return {name for (name,) in found}


def columns(connection: sqlite3.Connection, table: str) -> dict[str, Any]:
    return {row[1]: row[2:] for row in connection.execute(f"PRAGMA table_info({table})")}


def keys(connection: sqlite3.Connection, table: str) -> set[Any]:
    return {row[2:] for row in connection.execute(f"PRAGMA foreign_key_list({table})")}


def indexes(connection: sqlite3.Connection, table: str) -> dict[str, Any]:
    listed = connection.execute(f"PRAGMA index_list({table})").fetchall()
    return {
        name: (unique, [part[2] for part in connection.execute(f"PRAGMA index_info({name})")])
        for _, name, unique, origin, _ in listed
        if origin == "c"
    }


SEED_TABLES = sorted(set(NATIVE) - {"transition_log"})


def test_the_tables_are_the_seeds_and_the_log(seed: sqlite3.Connection, ours: sqlite3.Connection) -> None:
    assert tables(seed) == set(SEED_TABLES)
    assert tables(ours) == {*SEED_TABLES, "transition_log", migrations.HISTORY}


@pytest.mark.parametrize("table", SEED_TABLES)
def test_a_table_on_sqlite_is_the_seeds(table: str, seed: sqlite3.Connection, ours: sqlite3.Connection) -> None:
    added = {name: column for (owner, name), column in ADDED.items() if owner == table}
    assert columns(ours, table) == columns(seed, table) | added
    assert keys(ours, table) == keys(seed, table)
    assert indexes(ours, table) == indexes(seed, table) | ADDED_INDEXES.get(table, {})


def test_the_log_on_sqlite(ours: sqlite3.Connection) -> None:
    assert [row[1:] for row in ours.execute("PRAGMA table_info(transition_log)")] == LOG
    assert keys(ours, "transition_log") == set()
    assert list(indexes(ours, "transition_log").values()) == [(1, ["entity_id", "version"])]
    (text,) = ours.execute("SELECT sql FROM sqlite_master WHERE name = 'transition_log'").fetchone()
    assert "AUTOINCREMENT" in text


@pytest.fixture(scope="module")
def native() -> Iterator[Database]:
    """A PostgreSQL database that our migrations made."""
    try:
        with postgres.fresh_schema() as url:
            database = connect(url)
            migrate(database)
            yield database
            database.close_all()
    except postgres.Unavailable as error:
        pytest.skip(f"POSTGRESQL COULD NOT BE STARTED, ITS HALF OF THE SUITE IS SKIPPED: {error}")


@pytest.mark.parametrize("table", NATIVE)
def test_a_table_on_postgresql_has_native_types(table: str, native: Database, ours: sqlite3.Connection) -> None:
    expected = dict.fromkeys(columns(ours, table), "text")
    expected |= dict(item.strip().split(" ", 1) for item in NATIVE[table].split(","))
    expected = {name: kind.replace("timestamptz", "timestamp with time zone") for name, kind in expected.items()}
    assert {column.name: column.data_type for column in native.get_columns(table)} == expected


@pytest.mark.parametrize("table", NATIVE)
def test_a_table_on_postgresql_asks_for_what_sqlites_does(
    table: str, native: Database, ours: sqlite3.Connection
) -> None:
    told = columns(ours, table).items()
    plain = {name: (bool(required or key), default) for name, (_, required, default, key) in told}
    asked = native.execute_sql(
        "SELECT column_name, is_nullable = 'NO', split_part(column_default, '::', 1) FROM information_schema.columns"
        " WHERE table_schema = current_schema() AND table_name = %s",
        (table,),
    )
    found = {name: (required, default) for name, required, default in asked.fetchall()}
    if table == "pull_requests":
        plain["checks_passing"] = (False, "false")
    assert found == plain


@pytest.mark.parametrize("table", NATIVE)
def test_keys_and_indexes_on_postgresql_are_sqlites(table: str, native: Database, ours: sqlite3.Connection) -> None:
    found = native.get_foreign_keys(table)
    plain = {(dest, column, key, rule) for dest, column, key, _, rule, _ in keys(ours, table)}
    assert {(key.dest_table, key.column, key.dest_column, key.on_delete) for key in found} == plain
    made = {
        index.name: (index.unique, [part if part.isidentifier() else None for part in index.columns])
        for index in native.get_indexes(table)
    }
    made.pop(f"{table}_pkey")
    assert made == {name: (bool(unique), parts) for name, (unique, parts) in indexes(ours, table).items()}


ID, OTHER = "01890000-0000-7000-8000-000000000001", "01890000-0000-7000-8000-000000000002"
WHEN = "2026-01-31T09:30:00.000000+00:00"
EPIC = f"INSERT INTO epics (id, title, description, repo_path, created_at, updated_at) VALUES ('{ID}', 't', 'd', '/', '{WHEN}', '{WHEN}')"  # noqa: E501
AGENT = f"INSERT INTO agents (id, agent_type, started_at, last_heartbeat) VALUES ('{ID}', 'coder', '{WHEN}', '{WHEN}')"


@pytest.mark.parametrize(
    ("row", "pointer"),
    [
        (EPIC, f"UPDATE epics SET current_stage_id = '{OTHER}'"),
        (EPIC, f"UPDATE epics SET blocked_at_gate_id = '{OTHER}'"),
        (AGENT, f"UPDATE agents SET current_issue_id = '{OTHER}'"),
    ],
    ids=["current_stage", "blocked_at_gate", "current_issue"],
)
def test_the_keys_that_close_a_cycle_are_real(row: str, pointer: str, migrated: Database) -> None:
    enforcement.remove(migrated)
    migrated.execute_sql(row)
    with pytest.raises(peewee.IntegrityError):
        migrated.execute_sql(pointer)


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
        database = connect(target)
        migrate(database)
        assert history(database)[-1] == name
        database.close_all()
    database = connect(target)
    stepped = schema(database)
    database.close_all()
    assert stepped == at_once(target, tmp_path)


def at_once(target: str, tmp_path: Path) -> list[Any]:
    """The schema of another fresh database of the same kind, made in one go."""
    if not target.startswith("postgresql"):
        database = connect(str(tmp_path / "fresh.db"))
        migrate(database)
        found = schema(database)
        database.close_all()
        return found
    with postgres.fresh_schema() as url:
        database = connect(url)
        migrate(database)
        found = schema(database)
        database.close_all()
    return found


def test_sqlite_is_switched_to_a_write_ahead_log_for_good(tmp_path: Path) -> None:
    database = connect(str(tmp_path / "x.db"))
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
from dispatch_state.storage import connect as databases
from dispatch_state.schema.migrate import migrate
from dispatch_state.storage.targets import resolve
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
        database = connect(target)
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
    database = connect(target)
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
def test_names_of_ours_that_are_taken_are_told_and_left(backend: str, case: str, database: Database) -> None:
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


def test_a_name_that_a_later_step_takes_is_told_before_any_step(database: Database, folder: Path) -> None:
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


def test_a_schema_that_is_not_there_is_told_with_what_makes_it() -> None:
    postgres.server_or_skip()
    for path, made in (("nowhere", "nowhere"), ('"$user",nowhere,other', "nowhere"), ('"No-where"', '"No-where"')):
        database = connect(postgres.in_schema(path))
        with pytest.raises(StoreNotFound, match=rf"CREATE SCHEMA {made} makes it; name another"):
            migrate(database)
        database.close_all()
    database = connect(postgres.in_schema('""'))
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
def test_an_installation_without_migrations_is_told(there: bool, database: Database, folder: Path) -> None:
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


def test_the_mean_time_gets_the_seeds_name(target: str) -> None:
    with open_store(target) as store:
        agents = [Agent.create(agent_type="coder") for _ in RENAMED]
        database, mark = store.database, store.database.param
        with database.atomic():
            enforcement.remove(database)
            database.execute_sql(f"DELETE FROM {migrations.HISTORY} WHERE name = {mark}", ("009_metrics_names",))
            for agent, (stored, _) in zip(agents, RENAMED, strict=True):
                update = f"UPDATE agents SET metrics = {mark} WHERE id = {mark}"
                database.execute_sql(update, (stored, str(agent.id)))
    with open_store(target) as store:
        found = [Agent.get_by_id(agent.id) for agent in agents]
        assert [agent.metrics for agent in found] == [metrics for _, metrics in RENAMED]
        assert [agent.version for agent in found] == [1] * len(RENAMED)
        assert store.verify() == []


def test_metrics_that_are_no_json_stop_no_migration(tmp_path: Path) -> None:
    target = str(tmp_path / "dispatch.db")
    with open_store(target) as store:
        agent = Agent.create(agent_type="coder")
        enforcement.remove(store.database)
        store.database.execute_sql("UPDATE agents SET metrics = '{\"avg_completion_time_secs\"'")
        store.database.execute_sql(f"DELETE FROM {migrations.HISTORY} WHERE name = '009_metrics_names'")
    with open_store(target) as store:
        assert [violation.id for violation in store.verify()] == [agent.id]
