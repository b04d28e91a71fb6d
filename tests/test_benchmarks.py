"""The benchmarks measure what they say: tapes are exact, limits judge, and every rival writes what it should."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import peewee
import psycopg
import pytest

import benchmarks.by_hand
from benchmarks import report, rivals, scenes
from benchmarks.cases import CASES, moves, postgres
from benchmarks.measure import Calls, Ratio, at_least, at_most, interleaved, ratio
from benchmarks.report import Line
from benchmarks.tape import Sent, bare, played, recording, recording_psycopg
from benchmarks.twins import OURS, RAW, Session, race, taped
from dispatch_state import Store, open_store
from tests import postgres as server
from tests.operations import COUNT, TAPED


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    """A run of very little work."""
    session = Session(rounds=2, quick=True, folder=tmp_path / "run")
    session.folder.mkdir()
    yield session
    session.close()


def everything(path: str) -> dict[str, list[Any]]:
    """Every row of every table."""
    connection = sqlite3.connect(path)
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    found = {table: connection.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall() for table in tables}
    connection.close()
    return found


def test_the_move_by_hand_does_what_the_library_does(session: Session) -> None:
    """Else what it takes would say nothing."""
    path = session.scratch()
    with open_store(path, durability="normal") as store:
        made = moves.some_issues(store, 0)
    paths = session.copy(path), session.copy(path)
    recorded = taped(session.copy(path), moves.to_and_fro, made, 1)[0]
    with open_store(paths[0], durability="normal") as store:
        ours = [call() for call in islice(moves.to_and_fro(store, made), 70)]
    by_hand = [call() for call in islice(benchmarks.by_hand.to_and_fro(paths[1], made, recorded), 70)]
    assert by_hand == ours
    assert standing(paths[0]) == standing(paths[1])


def standing(path: str) -> list[Any]:
    """Where every issue stands, and what the log says of it, without the times."""
    connection = sqlite3.connect(path)
    found = connection.execute("SELECT id, version, status FROM issues ORDER BY id").fetchall()
    found += connection.execute(
        "SELECT seq, entity, entity_id, version, trigger, source, dest, actor, reason, details FROM transition_log"
    ).fetchall()
    connection.close()
    return found


@pytest.mark.parametrize("case", TAPED)
def test_a_tape_is_what_the_library_sends(case: str, tmp_path: Path) -> None:
    """SQLite's trace shows the same statements for the library and its tape, and both leave the same rows."""
    build, operations = TAPED[case]
    path, twin = str(tmp_path / "store.db"), str(tmp_path / "twin.db")
    with open_store(path, durability="normal") as store:
        made = build(store, COUNT)
    shutil.copyfile(path, twin)
    sent, ours, theirs = [], [], []
    with recording() as tape, open_store(path, durability="normal") as store:
        for call in islice(operations(store, made), COUNT):
            tape.cut()
            store.database.connection().set_trace_callback(ours.append)
            call()
            store.database.connection().set_trace_callback(None)
            sent.append(tape.cut())
    raw = bare(twin, "normal")
    raw.set_trace_callback(theirs.append)
    for play in played(raw.cursor(), sent):
        play()
    raw.close()
    assert theirs == ours
    assert len(ours) >= COUNT
    assert everything(twin) == everything(path)


def test_the_recorder_hears_every_way_to_the_driver() -> None:
    """A cursor's `execute`, a connection's, and the calls that end a transaction."""
    with recording() as tape:
        connection: Any = vars(peewee)["sqlite3"].connect(":memory:", isolation_level=None)
        connection.execute("BEGIN")
        connection.cursor().execute("SELECT ?", (1,))
        connection.commit()
        connection.rollback()
        connection.execute("BEGIN")
        connection.rollback()
        connection.close()
    assert [(one.sql, one.parameters, one.reads) for one in tape.cut()] == [
        ("BEGIN", (), False), ("SELECT ?", (1,), True), ("COMMIT", (), False), ("BEGIN", (), False),
        ("ROLLBACK", (), False),
    ]  # fmt: skip


def test_what_was_read_is_read_again() -> None:
    """The rows too: else playing would be cheaper than what was recorded."""
    cursor = Mock()
    for play in played(cursor, [[Sent("SELECT 1", (), True), Sent("COMMIT", (), False)]] * 2):
        play()
    assert [call[0] for call in cursor.method_calls] == ["execute", "fetchall", "execute"] * 2


def test_what_is_written_between_operations_is_found(tmp_path: Path) -> None:
    """The tape would leave it out, and what is played back would be something else."""

    def careless(store: Store, made: Any) -> Iterator[Any]:
        yield from moves.to_and_fro(store, scenes.issues(1))

    with pytest.raises(AssertionError, match="between operations"):
        taped(str(tmp_path / "store.db"), careless, None, 1)


def test_a_tape_of_postgresql_leaves_the_same_rows(tmp_path: Path) -> None:
    url = server.server_or_skip()
    model = postgres.new_database(url)
    with open_store(model) as store:
        made = moves.some_issues(store, 0)
    twin, sent = postgres.new_database(url, model), []
    with recording_psycopg() as tape, open_store(model) as store:
        for call in islice(moves.to_and_fro(store, made), COUNT):
            tape.cut()
            call()
            sent.append(tape.cut())
    assert [one.sql for one in sent[0]][0 :: len(sent[0]) - 1] == ["BEGIN", "COMMIT"]
    with psycopg.connect(twin, autocommit=True) as connection:
        for play in played(connection.cursor(), sent):
            play()
    log = "SELECT * FROM transition_log ORDER BY seq"
    with psycopg.connect(model) as one, psycopg.connect(twin) as other:
        assert one.execute(log).fetchall() == other.execute(log).fetchall()


def test_both_sides_of_a_race_run(session: Session) -> None:
    rounds = race(session, moves.some_issues, moves.to_and_fro, 4)
    assert {name: len(times) for name, times in rounds.items()} == {OURS: 2, RAW: 2}
    assert all(took > 0 for times in rounds.values() for took in times)


@pytest.mark.parametrize("backend", ["sqlite"])
def test_a_large_store_is_sound(store: Store) -> None:
    scenes.fill(store, queued=30, done=10, idle=5)
    assert store.verify() == []
    counts = store.counts()["issues"]
    assert (counts["queued"], counts["done"], sum(counts.values())) == (30, 10, 40)


def test_contenders_take_turns() -> None:
    turns: list[str] = []

    def calls(name: str) -> Iterator[Any]:
        while True:
            yield lambda: turns.append(name)

    interleaved([Calls(name, calls(name)) for name in "ab"], rounds=2, batch=1)
    assert "".join(turns) == "abbaabba"


def test_limits_judge() -> None:
    slow, fast = [2.0, 2.0, 2.0, 30.0], [1.0, 1.0, 1.0, 1.0]
    found = ratio({"slow": slow, "fast": fast}, "slow", "fast")
    assert (found.value, found.low) == (2, 2)
    for limit, ok in ((at_most(2), True), (at_most(1.9), False), (at_least(2), True), (at_least(2.1), False)):
        assert Line("case", "slow", "2 µs", found, "fast", limit).ok is ok
    assert Line("case", "slow", "2 µs", found, "fast").ok is None
    assert Line("case", "slow", "", Ratio(3, 1, 1), "fast", at_most(2)).cells()[-1] == "OVER"


def test_results_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "RESULTS", tmp_path / "RESULTS.md")
    lines = [Line("move", OURS, "1 µs", 1.5, RAW, at_most(1.35)), Line("move", RAW, "1 µs")]
    report.write(lines, "")
    text = (tmp_path / "RESULTS.md").read_text()
    assert "0 limits hold, 1 are broken" in text
    assert "| move | dispatch_state | 1 µs | 1.50 | raw | ≤ 1.35 × | OVER |" in text


INSTALLED = [name for name in rivals.RIVALS if name not in rivals.absent()]


@pytest.mark.parametrize("name", INSTALLED)
def test_a_rival_moves_rows_and_logs_them(name: str, tmp_path: Path) -> None:
    """Two moves of one row: both are in its log, and durable."""
    path = str(tmp_path / "rival.db")
    calls = rivals.module(name).to_and_fro(path)
    next(calls)()
    for call in islice(calls, 50):
        call()
    connection = sqlite3.connect(path)
    logs = {"django-fsm-2 + log": "django_fsm_log_statelog"}
    (logged,) = connection.execute(f"SELECT count(*) FROM {logs.get(name, 'log')}").fetchone()
    found = dict(connection.execute("SELECT status, count(*) FROM issues GROUP BY status").fetchall())
    assert (logged, found) == (51, {"unassigned": 1, "queued": 49})
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_every_case_is_listed_once() -> None:
    assert len(set(CASES.values())) == len(CASES)
