"""What a move costs in things that can be counted: statements, round trips, calls, and how a query is planned.

Ceilings are what it took when the line was written last: lower them, never raise them without a reason.
"""

from __future__ import annotations

import sqlite3
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.cases import moves
from benchmarks.tape import Sent, recording_psycopg
from benchmarks.twins import taped
from dispatch_state import Store, open_store
from dispatch_state.storage import write_queue
from tests.operations import TAPED


def counted(sent: list[Sent]) -> dict[str, int]:
    """How many statements of each kind."""
    return dict(Counter(one.sql.split()[0] for one in sent))


def recorded(case: str, tmp_path: Path, count: int = 3) -> list[Sent]:
    """What the library sends for the last of so many operations."""
    build, operations = TAPED[case]
    path = str(tmp_path / "store.db")
    with open_store(path, durability="normal") as store:
        made = build(store, count)
    return taped(path, operations, made, count)[-1]


STATEMENTS = {
    "move": {"BEGIN": 1, "SELECT": 1, "INSERT": 1, "UPDATE": 1, "COMMIT": 1},
    "move-guarded": {"BEGIN": 2, "SELECT": 6, "INSERT": 2, "UPDATE": 2, "COMMIT": 2},
    "stale": {"BEGIN": 1, "SELECT": 1, "ROLLBACK": 1},
    "illegal": {"SELECT": 1},
    "load": {"SELECT": 1},
}
"""Exactly these, for what is fired most."""


@pytest.mark.parametrize("case", STATEMENTS)
def test_statements_of_a_move(case: str, tmp_path: Path) -> None:
    assert counted(recorded(case, tmp_path)) == STATEMENTS[case]


AT_MOST = {"cascade": 45, "claim": 12, "life": 58, "votes": 67}
"""All statements of what is composed of several moves."""


@pytest.mark.parametrize("case", AT_MOST)
def test_statements_of_several_moves(case: str, tmp_path: Path) -> None:
    assert len(recorded(case, tmp_path)) <= AT_MOST[case]


SORTS = {"claim": 0, "listing": 0}
"""How often what reads a long table sorts what it found."""


@pytest.mark.parametrize("case", SORTS)
def test_long_tables_are_read_by_an_index(case: str, tmp_path: Path) -> None:
    """No scan in any of its statements, and no more sorting than this."""
    sent = recorded(case, tmp_path)
    connection = sqlite3.connect(tmp_path / "store.db")
    plans = [plan for one in sent if one.sql.startswith("SELECT") for plan in planned(connection, one)]
    connection.close()
    assert plans
    assert [plan for plan in plans if "SCAN" in plan] == []
    assert len([plan for plan in plans if "TEMP B-TREE" in plan]) <= SORTS[case]


def planned(connection: sqlite3.Connection, sent: Sent) -> Iterator[str]:
    """How SQLite goes about a statement, line by line."""
    for *_, told in connection.execute(f"EXPLAIN QUERY PLAN {sent.sql}", sent.parameters):
        yield told


# ---- calls -----------------------------------------------------------------------------------------------

CALLS = {"call": 55, "c_call": 56}
"""Functions of Python, and of C, that one move calls, the database's among them."""


def test_calls_of_a_move(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the clock stands still: once in a millisecond a writer looks whether others wait, which is three calls."""
    monkeypatch.setattr(write_queue, "time", SimpleNamespace(monotonic=float))
    found: Counter[str] = Counter()
    with open_store(tmp_path / "store.db", durability="normal") as store:
        calls = moves.to_and_fro(store, moves.some_issues(store, 0))
        for call in islice(calls, 100):
            call()
        last = next(calls)
        sys.setprofile(lambda frame, event, argument: found.update((event,)))
        last()
        sys.setprofile(None)
    assert {kind: found[kind] for kind in CALLS if found[kind] > CALLS[kind]} == {}


# ---- PostgreSQL ------------------------------------------------------------------------------------------

ON_POSTGRESQL = {"BEGIN": 1, "SELECT": 4, "INSERT": 1, "UPDATE": 1, "COMMIT": 1}


@pytest.mark.parametrize("backend", ["postgresql"])
def test_round_trips_of_a_move(store: Store, tmp_path: Path) -> None:
    """One for each statement, and none besides."""
    with recording_psycopg() as tape:
        calls = moves.to_and_fro(store, moves.some_issues(store, 0))
        for call in islice(calls, 100):
            call()
        tape.cut()
        last = next(calls)
        traced = traced_messages(store, tmp_path / "trace", last)
        sent = tape.cut()
    assert counted(sent) == ON_POSTGRESQL
    assert traced.count("Sync") + traced.count("Query") == len(sent)


@pytest.mark.parametrize("backend", ["postgresql"])
def test_a_move_makes_no_cursor_and_describes_no_column(store: Store) -> None:
    """Which psycopg does for whoever asks, for every statement anew."""
    calls = moves.to_and_fro(store, moves.some_issues(store, 0))
    for call in islice(calls, 100):
        call()
    last = next(calls)
    found: Counter[str] = Counter()
    sys.setprofile(lambda frame, event, argument: found.update((frame.f_code.co_qualname,)))
    last()
    sys.setprofile(None)
    assert found["Cursor.execute"]
    assert [name for name in ("Connection.cursor", "Column.__init__") if found[name]] == []


def traced_messages(store: Store, path: Path, call: Any) -> list[str]:
    """What libpq sends to the server meanwhile, by the names of its messages."""
    connection = store.database.connection()
    with path.open("wb") as file:
        connection.pgconn.trace(file.fileno())
        store.database.close()
        call()
        with store.database.connection_context():
            connection.pgconn.untrace()
    parts = [line.split("\t") for line in path.read_text().splitlines()]
    return [part[3] for part in parts if part[1] == "F"]
