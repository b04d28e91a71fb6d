"""The tables: the seed's on SQLite, with native types on PostgreSQL."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

import peewee
import pytest

from dispatch_state.schema import enforcement
from dispatch_state.schema import runner as migrations
from dispatch_state.schema.migrate import migrate
from dispatch_state.storage.connect import Database
from tests.connections import reach
from tests.migrations import ID, NATIVE, OTHER, SEED, WHEN

ADDED_INDEXES = {
    "issues": {
        "idx_issues_claim": (0, ["status", None, None, "created_at", "id"]),
        "idx_issues_listing": (0, ["status", None, "created_at", "id"]),
        "idx_issues_under_way": (0, ["assigned_agent_id", "id"]),
    }
}
"""Indexes beyond the seed's; None stands for an expression."""

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
    database = reach(str(file))
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
