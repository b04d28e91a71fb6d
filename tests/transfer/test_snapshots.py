"""Snapshots: export and import give the same rows and the same bytes on either database, or change nothing."""

from __future__ import annotations

import filecmp
import io
import json
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from dispatch_state import Agent, ConfigEntry, InvalidValue, Store, StoreError
from dispatch_state.storage import paging
from dispatch_state.testing.outcomes import everything
from dispatch_state.testing.scratch import Clock, scratch_store, scratch_target
from dispatch_state.testing.walks import Walk
from dispatch_state.transfer import snapshot_reader, snapshot_writer
from dispatch_state.transfer.snapshot_format import TABLES
from tests import postgres
from tests.backends import BACKENDS
from tests.golden import scene
from tests.long_forms import LONG
from tests.paths import ROOT
from tests.threads import in_thread
from tests.transfer.exports import exported
from tests.world import MAINTAINER, WHY, World

# ---- there and back ------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", BACKENDS)
@pytest.mark.parametrize("dest", BACKENDS)
def test_what_is_imported_is_what_was_exported(source: str, dest: str) -> None:
    """After a long walk, byte for byte; moves go on from the last number, and the store is sound."""
    walk: Any = type("Wandered", (Walk,), {"backend": postgres.place(source)})()
    try:
        walk.begin()
        for number in range(120):
            walk.player.step(Random(number))
        scene()
        ConfigEntry.write("numbers", [1, 1.0, 1e16, -0.0, 1e300, 0.1, None, {"b": 1, "a": 2}])
        ConfigEntry.write("Ä key", None)
        first, rows = exported(walk.store), everything()
    finally:
        walk.teardown()
    with scratch_store(postgres.place(dest)) as store:
        counts = store.import_snapshot(io.BytesIO(first))
        assert counts == {table: len(found) for table, found in rows.items()}
        assert everything() == rows
        assert exported(store) == first
        last = max(rows["transition_log"])
        agent = Agent.create(agent_type="coder")
        assert [move.seq for move in store.history(agent)] == [last + 1]
        assert store.verify() == []


def test_an_empty_store(store: Store) -> None:
    empty = exported(store)
    assert len(empty.splitlines()) == 2
    assert set(store.import_snapshot(io.BytesIO(empty)).values()) == {0}


def test_every_table_is_in_it(snapshot: Path) -> None:
    lines = [json.loads(line) for line in snapshot.read_text().splitlines()]
    assert lines[0] == {"format": "dispatch_state", "version": 1}
    assert {table for line in lines[1:-1] for table in line} == set(TABLES)
    assert set(lines[-1]["end"]) == set(TABLES)


def test_one_moment_is_exported(store: Store, target: str) -> None:
    """Commits during the export are not in it."""
    for _ in range(5):
        Agent.create(agent_type="coder")
    more = []

    class Out(io.BytesIO):
        def write(self, line: Any) -> int:
            if not more:
                more.append(in_thread(lambda: Agent.create(agent_type="coder")))
            return super().write(line)

    out = Out()
    assert store.export(out)["agents"] == 5
    assert Agent.select().count() == 6
    assert len(out.getvalue().splitlines()) == 2 + 5 + 5


def test_progress_is_told(snapshot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot_writer, "PAGE", 3)
    monkeypatch.setattr(snapshot_reader, "PAGE", 3)
    told: list[tuple[int, int]] = []
    with scratch_store("memory") as store:
        store.import_snapshot(snapshot, progress=lambda *far: told.append(far))
        total = told[-1][0]
        assert [done for done, _ in told] == sorted(done for done, _ in told)
        told.clear()
        store.export(io.BytesIO(), progress=lambda *far: told.append(far))
    assert told[-1] == (total, total)
    assert len(told) > 5


# ---- what is refused -----------------------------------------------------------------------------------


def refused(store: Store, data: bytes, error: type[Exception], says: str) -> None:
    """Assert that the import is refused, and that the store stays empty and its triggers stay in place."""
    with pytest.raises(error, match=says):
        store.import_snapshot(io.BytesIO(data))
    assert not any(everything().values())
    assert store.verify() == []


def test_a_store_that_is_not_empty(store: Store, snapshot: Path) -> None:
    agent = Agent.create(agent_type="coder")
    with pytest.raises(StoreError, match="not empty: it has agents"):
        store.import_snapshot(snapshot)
    assert [found.id for found in Agent.select()] == [agent.id]


Change = Callable[[list[bytes]], list[bytes]]


def edited(number: int, **columns: Any) -> Change:
    """Columns of a line, or, with None for `drop`, without it."""

    def change(lines: list[bytes]) -> list[bytes]:
        held = json.loads(lines[number])
        (row,) = held.values()
        row.update(columns)
        return [*lines[:number], json.dumps(held).encode() + b"\n", *lines[number + 1 :]]

    return change


def twice(lines: list[bytes]) -> list[bytes]:
    """The first agent stands in the place of the second, too."""
    first, second, *_ = [number for number, line in enumerate(lines) if line.startswith(b'{"agents"')]
    return [*lines[:second], lines[first], *lines[second + 1 :]]


def last_move(**columns: Any) -> Change:
    """Columns of the last move."""

    def change(lines: list[bytes]) -> list[bytes]:
        (*_, number) = [number for number, line in enumerate(lines) if line.startswith(b'{"transition_log"')]
        return edited(number, **columns)(lines)

    return change


NEWER = b'{"format": "dispatch_state", "version": 2}\n'
REFUSED: dict[str, tuple[Change, type[Exception], str]] = {
    "nothing": (lambda lines: [], InvalidValue, "line 1"),
    "no header": (lambda lines: lines[1:], InvalidValue, "line 1: this is not a snapshot"),
    "a newer format": (lambda lines: [NEWER, *lines[1:]], InvalidValue, "line 1: takes version 1"),
    "cut": (lambda lines: lines[:-1], InvalidValue, "cut"),
    "cut within a line": (lambda lines: [*lines[:-2], lines[-2][:40]], InvalidValue, "not JSON"),
    "a line short": (lambda lines: [*lines[:-3], *lines[-2:]], InvalidValue, "do not match the rows above"),
    "behind the end": (lambda lines: [*lines, lines[1]], InvalidValue, "after the last line"),
    "no JSON": (lambda lines: [*lines[:3], b"nonsense\n", *lines[3:]], InvalidValue, "line 4: not JSON"),
    "no UTF-8": (lambda lines: [*lines[:3], b'{"a":"\xff"}\n', *lines[3:]], InvalidValue, "line 4: not JSON"),
    "an empty line": (lambda lines: [*lines[:3], b"\n", *lines[3:]], InvalidValue, "line 4"),
    "a list": (lambda lines: [*lines[:3], b"[]\n", *lines[3:]], InvalidValue, "line 4: takes a JSON object"),
    "two tables": (lambda lines: [*lines[:3], b'{"a":1,"b":2}\n', *lines[3:]], InvalidValue, "line 4: takes"),
    "an unknown table": (lambda lines: [*lines[:3], b'{"users":{}}\n', *lines[3:]], InvalidValue, "is not a table"),
    "an unknown column": (edited(1, nonsense=1), InvalidValue, 'epics has missing or unknown columns: "nonsense"'),
    "an unknown word": (edited(1, status="finished"), InvalidValue, "line 2: epics.status"),
    "no UUID": (edited(1, id="1"), InvalidValue, "line 2: epics.id"),
    "no moment": (edited(1, created_at="yesterday"), InvalidValue, "line 2: epics.created_at"),
    "no moment at all": (edited(1, created_at=None), InvalidValue, "line 2: epics.created_at"),
    "a number as text": (edited(1, version="1"), InvalidValue, "line 2: epics.version"),
    "JSON of another shape": (edited(1, acceptance_criteria={"a": 1}), InvalidValue, "line 2: epics.acceptance"),
    "a status that the log does not give": (edited(1, status="cancelled"), StoreError, "breaks the store"),
    **{
        f"the number {number}": (last_move(seq=number), InvalidValue, r"line \d+: transition_log\.seq: ")
        for number in (-7, 0, 2**53 + 1, 2**63 - 1, "1", True, None)
    },
    "an orphan": (
        edited(1, current_stage_id="01890a5d-ac96-774b-bcce-b302099a8057"), StoreError, "."
    ),
    "a row more": (lambda lines: [*lines[:2], lines[1], *lines[2:]], InvalidValue, "do not match the rows above"),
    "a row twice": (twice, StoreError, "."),
}  # fmt: skip


def test_the_highest_number_of_a_move(store: Store, snapshot: Path) -> None:
    store.import_snapshot(io.BytesIO(b"".join(last_move(seq=2**53)(snapshot.read_bytes().splitlines(keepends=True)))))
    assert store.verify() == []
    agent = Agent.create(agent_type="coder")
    assert [move.seq for move in store.history(agent)] == [2**53 + 1]
    assert {(v.invariant, v.id) for v in store.verify()} == {("I21", 2**53 + 1)}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_changes_nothing(store: Store, snapshot: Path, case: str) -> None:
    change, error, says = REFUSED[case]
    refused(store, b"".join(change(snapshot.read_bytes().splitlines(keepends=True))), error, says)


def test_a_history_that_was_rewritten_is_refused(store: Store, snapshot: Path) -> None:
    lines = snapshot.read_bytes().splitlines(keepends=True)
    number = next(n for n, line in enumerate(lines) if b'"trigger":"start"' in line)
    refused(store, b"".join(edited(number, trigger="cancel")(lines)), StoreError, "breaks the store")


# ---- large ---------------------------------------------------------------------------------------------


GROWS = """
import sys
from pathlib import Path
from dispatch_state import open_store
store = open_store(sys.argv[1], durability="normal")
if sys.argv[2] == "import":
    store.import_snapshot(sys.argv[3])
else:
    store.export(sys.argv[3])
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(int(peak.split()[1]) // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads what Linux says of a process")
@pytest.mark.parametrize("prompt", ["short", pytest.param("long", marks=pytest.mark.long)])
@pytest.mark.parametrize("backend", BACKENDS)
def test_memory_does_not_grow_with_the_store(backend: str, prompt: str, tmp_path: Path) -> None:
    """A hundred thousand issues with their log in the long form, within 200 MiB; two thousand in the short one.

    Or five hundred whose prompts are as long as they may be.
    """
    count = 500 if prompt == "long" else 100_000 if LONG else 2_000
    large = tmp_path / "large.jsonl"
    with large.open("wb") as out:
        out.writelines(many_issues(count, "x" * 1_000_000 if prompt == "long" else "do it"))
    with scratch_target(postgres.place(backend)) as target:
        for way, path in (("import", large), ("export", tmp_path / "again.jsonl")):
            command = [sys.executable, "-c", GROWS, target, way, str(path)]
            done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, env=dict(os.environ))
            assert done.returncode == 0, done.stderr
            print(backend, way, count, done.stdout.strip(), "MiB")
            assert int(done.stdout) < 200
    assert filecmp.cmp(tmp_path / "again.jsonl", large, shallow=False)


def many_issues(count: int, prompt: str) -> Iterator[bytes]:
    """A snapshot of so many issues, each created, queued and taken off the queue."""
    with scratch_store("memory", clock=Clock()) as store:
        issue = World(store).new_issue(prompt=prompt)
        issue.queue(by=MAINTAINER)
        issue.dequeue(by=MAINTAINER, reason=WHY)
        lines = exported(store).splitlines(keepends=True)
    (row,), log = [json.loads(line)["issues"] for line in lines if b'{"issues"' in line], []
    moves = [json.loads(line)["transition_log"] for line in lines if line.startswith(b'{"transition_log"')]
    yield lines[0]
    for number in range(count):
        key = f"00000000-0000-7000-8000-{number:012x}"
        yield snapshot_writer._line({"issues": {**row, "id": key}})
        log.append(key)
    for number, key in enumerate(log):
        for step, move in enumerate(moves):
            yield snapshot_writer._line({"transition_log": {**move, "entity_id": key, "seq": 3 * number + step + 1}})
    counts = dict.fromkeys(TABLES, 0) | {"issues": count, "transition_log": 3 * count}
    yield snapshot_writer._line({"end": counts})


def long_texts(count: int) -> bytes:
    """A snapshot of so many issues, and eight times as many rows with JSON, with texts as long as they may be."""
    text = "é" * 500_000 + "x" * 500_000
    with scratch_store("memory", clock=Clock()) as store:
        agent = Agent.create(agent_type="coder")
        for number in range(count):
            World(store).new_issue(prompt=text)
            for more in range(8):
                agent.log("info", "what it read", context={"said": text[:99_000]})
                ConfigEntry.write(f"{number}-{more}", text[:99_000])
        return exported(store)


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("long") / "long.jsonl"
    path.write_bytes(long_texts(12))
    return path


class Nowhere(io.RawIOBase):
    """A file that counts what is written to it, and keeps none of it."""

    told = 0

    def write(self, line: Any) -> int:
        self.told += len(line)
        return len(line)


@pytest.mark.parametrize("way", ["import", "export", "verify"])
def test_memory_does_not_grow_with_long_texts(
    way: str, store: Store, long: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of more than 50 MB no more are held than a page and what is made of it."""
    monkeypatch.setattr(paging, "MAX_BYTES", 2_000_000)
    if way != "import":
        store.import_snapshot(long)
    out: Any = Nowhere()
    ways: dict[str, Callable[[], Any]] = {
        "import": lambda: store.import_snapshot(long), "export": lambda: store.export(out), "verify": store.verify
    }  # fmt: skip
    tracemalloc.start()
    try:
        ways[way]()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert long.stat().st_size > 50_000_000
    assert peak < {"import": 16_000_000, "export": 8_000_000, "verify": 4_000_000}[way]
    if way == "export":
        assert out.told == long.stat().st_size


def test_groups_are_bounded_by_bytes_and_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "MAX_BYTES", 10)
    sized = [("a", 4), ("b", 6), ("c", 1), ("d", 30), ("e", 0), ("f", 0), ("g", 0), ("h", 10)]
    assert list(paging.grouped(sized, 3)) == [["a", "b"], ["c"], ["d"], ["e", "f", "g"], ["h"]]
    assert list(paging.grouped([], 3)) == []


# ---- metrics -------------------------------------------------------------------------------------------


def with_metrics(snapshot: Path, metrics: Any) -> io.BytesIO:
    """A snapshot, its agents' metrics others."""
    lines = []
    for line in snapshot.read_text().splitlines():
        held = json.loads(line)
        if "agents" in held and "end" not in held:
            held["agents"]["metrics"] = metrics
        lines.append(json.dumps(held))
    return io.BytesIO("\n".join(lines).encode())


@pytest.mark.parametrize(
    ("former", "now"),
    [
        ({"avg_completion_time_secs": 5, "tokens_used": 1}, {"avg_completion_time": 5, "tokens_used": 1}),
        ({"avg_completion_time_secs": 5, "avg_completion_time": 9}, {"avg_completion_time": 9}),
        ({"avg_completion_time": 9}, {"avg_completion_time": 9}),
    ],
)
def test_metrics_of_an_older_snapshot_get_the_seeds_name(
    store: Store, snapshot: Path, former: dict[str, Any], now: dict[str, Any]
) -> None:
    store.import_snapshot(with_metrics(snapshot, former))
    assert [agent.metrics for agent in Agent.select()] == [now] * Agent.select().count()
    assert store.verify() == []


@pytest.mark.parametrize("metrics", ["many", 3, [1], {"issues_completed": "many"}, {"tokens_used": -1}, {"mine": None}])
def test_broken_metrics_are_not_imported(store: Store, snapshot: Path, metrics: Any) -> None:
    with pytest.raises(InvalidValue, match=r"line \d+: agents\.metrics: takes a JSON object of numbers"):
        store.import_snapshot(with_metrics(snapshot, metrics))
    assert not Agent.select().exists()
