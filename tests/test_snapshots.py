"""The whole store as a file, and back: the same rows, the same bytes, on either database; all or nothing."""

from __future__ import annotations

import bz2
import errno
import filecmp
import gzip
import io
import json
import lzma
import os
import sqlite3
import subprocess
import sys
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import pytest

from dispatch_state import Agent, ConfigEntry, InvalidValue, Store, StoreError, StoreFull, StoreReadOnly, open_store
from dispatch_state.cli.commands import main
from dispatch_state.schema.runner import HISTORY
from dispatch_state.storage import paging
from dispatch_state.testing import Clock, Walk, scratch_store, scratch_target
from dispatch_state.testing.outcomes import everything
from dispatch_state.transfer import snapshot_reader, snapshot_writer
from dispatch_state.transfer.snapshot_format import TABLES
from tests import postgres
from tests.conftest import BACKENDS
from tests.golden import scene
from tests.properties.machine import LONG
from tests.test_database import in_thread
from tests.test_migrations import NAMES, SEED
from tests.world import MAINTAINER, WHY, World

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One of a store with a row of each table; it is made before any other store is open."""
    path = tmp_path_factory.mktemp("snapshot") / "snapshot.jsonl"
    with scratch_store("memory", clock=Clock()) as store:
        scene()
        store.export(path)
    return path


def place(backend: str) -> str:
    return postgres.server_or_skip() if backend == "postgresql" else backend


def exported(store: Store) -> bytes:
    out = io.BytesIO()
    store.export(out)
    return out.getvalue()


# ---- there and back ------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", BACKENDS)
@pytest.mark.parametrize("dest", BACKENDS)
def test_what_is_imported_is_what_was_exported(source: str, dest: str) -> None:
    """After a long walk, byte for byte; moves go on from the last number, and the store is sound."""
    walk: Any = type("Wandered", (Walk,), {"backend": place(source)})()
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
    with scratch_store(place(dest)) as store:
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
    """What is committed while it is written is not in it."""
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


# ---- files ---------------------------------------------------------------------------------------------


def test_a_file_is_its_owners_alone_and_never_written_over(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "snapshot.jsonl"
    store.export(str(path))
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(InvalidValue, match="exists"):
        store.export(path)


def test_an_export_that_fails_leaves_no_file(store: Store, tmp_path: Path) -> None:
    World(store).new_issue()

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.export(tmp_path / "snapshot.jsonl", progress=stop)
    assert not list(tmp_path.glob("*.jsonl"))


@pytest.mark.parametrize("wrong", [None, 7, "", "a\0b", b"\xff\0", "no/such/folder/file", "x" * 300_000])
def test_paths_that_will_not_do(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: Any) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises((InvalidValue, StoreReadOnly)):
        store.export(wrong)
    with pytest.raises(InvalidValue):
        store.import_snapshot(wrong)


def closed() -> io.BytesIO:
    file = io.BytesIO()
    file.close()
    return file


class Raising:
    """A file that raises whatever it is given, when it is read or written."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def write(self, line: bytes) -> int:
        raise self.error

    def readline(self, longest: int) -> bytes:
        raise self.error


def at(folder: Path, mode: str) -> Any:
    return (folder / "opened").open(mode)


FILES: dict[str, tuple[Callable[[Path], Any], type[Exception], str]] = {
    "text in memory": (lambda _: io.StringIO(), InvalidValue, "binary mode"),
    "a text file": (lambda folder: at(folder, "w+"), InvalidValue, "binary mode"),
    "a temporary text file": (lambda _: tempfile.NamedTemporaryFile("w+"), InvalidValue, "binary mode"),  # noqa: SIM115
    "a closed file": (lambda _: closed(), InvalidValue, "closed file"),
    "a file that raises": (lambda _: Raising(KeyError("key")), InvalidValue, "key"),
    "a file that says nothing": (lambda _: Raising(EOFError()), InvalidValue, "EOFError"),
}


@pytest.mark.parametrize(("opened", "error", "says"), FILES.values(), ids=FILES)
def test_open_files_that_will_not_do(
    store: Store, tmp_path: Path, opened: Callable[[Path], Any], error: type[Exception], says: str
) -> None:
    file = opened(tmp_path)
    with pytest.raises(error, match=f"export: .*{says}"):
        store.export(file)
    with pytest.raises(error, match=f"import_snapshot: .*{says}"):
        store.import_snapshot(file)
    with suppress(AttributeError):
        file.close()
    Agent.create(agent_type="coder")
    assert store.verify() == []


def test_a_file_that_is_opened_the_other_way_round(store: Store, tmp_path: Path) -> None:
    (tmp_path / "opened").touch()
    with at(tmp_path, "rb") as file, pytest.raises(InvalidValue, match="not opened to be written"):
        store.export(file)
    with at(tmp_path, "wb") as file, pytest.raises(InvalidValue, match="not opened to be read"):
        store.import_snapshot(file)


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), StoreFull),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), StoreFull),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), StoreError),
        (OSError(errno.EIO, "Input/output error"), StoreError),
    ],
)
def test_what_a_disk_says_while_it_is_written(store: Store, error: OSError, meaning: type[StoreError]) -> None:
    with pytest.raises(StoreError, match=str(error.strerror)) as refused:
        store.export(Raising(error))  # type: ignore[arg-type]
    assert type(refused.value) is meaning
    with pytest.raises(KeyboardInterrupt):
        store.export(Raising(KeyboardInterrupt()))  # type: ignore[arg-type]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="THERE IS NO /dev/full HERE: A FULL DISK IS NOT TRIED")
@pytest.mark.parametrize("buffering", [0, -1])
def test_a_file_on_a_full_disk_is_told_before_export_returns(store: Store, buffering: int) -> None:
    full = open("/dev/full", "wb", buffering)  # noqa: SIM115 - closing it fails
    with pytest.raises(StoreFull):
        store.export(full)
    with suppress(OSError):
        full.close()


class Sips(io.RawIOBase):
    """A file without a buffer that takes a few bytes at a time, or none."""

    def __init__(self, most: int) -> None:
        self.most, self.taken = most, b""

    def writable(self) -> bool:
        return True

    def write(self, line: Any) -> int | None:
        self.taken += bytes(line)[: self.most]
        return min(self.most, len(line)) or None


def test_a_file_without_a_buffer_gets_all_of_it(store: Store) -> None:
    Agent.create(agent_type="coder")
    file = Sips(7)
    store.export(file)  # type: ignore[arg-type]
    assert file.taken == exported(store)
    with pytest.raises(InvalidValue, match="takes nothing now"):
        store.export(Sips(0))  # type: ignore[arg-type]


DAMAGED: dict[str, Callable[[bytes], Any]] = {
    "a cut gzip": lambda data: gzip.GzipFile(fileobj=io.BytesIO(gzip.compress(data)[:-20])),
    "a damaged gzip": lambda data: gzip.GzipFile(fileobj=io.BytesIO(gzip.compress(data)[:50] + bytes(500))),
    "no gzip": lambda data: gzip.GzipFile(fileobj=io.BytesIO(data)),
    "a damaged xz": lambda data: lzma.LZMAFile(io.BytesIO(lzma.compress(data)[:50] + bytes(500))),  # noqa: SIM115
    "a cut bz2": lambda data: bz2.BZ2File(io.BytesIO(bz2.compress(data)[:-20])),
}


@pytest.mark.parametrize("opened", DAMAGED.values(), ids=DAMAGED)
def test_a_compressed_file_that_is_damaged(store: Store, snapshot: Path, opened: Callable[[bytes], Any]) -> None:
    with pytest.raises(InvalidValue, match="import_snapshot: the file cannot be read: "):
        store.import_snapshot(opened(snapshot.read_bytes()))
    assert not any(everything().values())


def test_through_a_compressed_or_a_temporary_file(store: Store, snapshot: Path, tmp_path: Path) -> None:
    store.import_snapshot(gzip.GzipFile(fileobj=io.BytesIO(gzip.compress(snapshot.read_bytes()))))  # type: ignore[arg-type]
    with tempfile.NamedTemporaryFile() as file, gzip.open(tmp_path / "out.gz", "wb") as packed:
        store.export(file)  # type: ignore[arg-type]
        store.export(packed)  # type: ignore[arg-type]
        assert Path(file.name).read_bytes() == snapshot.read_bytes()
    with gzip.open(tmp_path / "out.gz") as packed:
        assert packed.read() == snapshot.read_bytes()


def test_not_within_a_transaction(store: Store, snapshot: Path) -> None:
    with store.atomic():
        with pytest.raises(InvalidValue, match="transaction"):
            store.export(io.BytesIO())
        with pytest.raises(InvalidValue, match="transaction"):
            store.import_snapshot(snapshot)


# ---- what is refused -----------------------------------------------------------------------------------


def refused(store: Store, data: bytes, error: type[Exception], says: str) -> None:
    """It is refused, and the store is as empty, and as guarded, as before."""
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
    "cut within a line": (lambda lines: [*lines[:-2], lines[-2][:40]], InvalidValue, "no JSON"),
    "a line short": (lambda lines: [*lines[:-3], *lines[-2:]], InvalidValue, "do not match the rows above"),
    "behind the end": (lambda lines: [*lines, lines[1]], InvalidValue, "after the last line"),
    "no JSON": (lambda lines: [*lines[:3], b"nonsense\n", *lines[3:]], InvalidValue, "line 4: no JSON"),
    "no UTF-8": (lambda lines: [*lines[:3], b'{"a":"\xff"}\n', *lines[3:]], InvalidValue, "line 4: no JSON"),
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
    with scratch_target(place(backend)) as target:
        for way, path in (("import", large), ("export", tmp_path / "again.jsonl")):
            command = [sys.executable, "-c", GROWS, target, way, str(path)]
            done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, env=dict(os.environ))
            assert done.returncode == 0, done.stderr
            print(backend, way, count, done.stdout.strip(), "MiB")
            assert int(done.stdout) < 200
    assert filecmp.cmp(tmp_path / "again.jsonl", large, shallow=False)


def many_issues(count: int, prompt: str) -> Iterator[bytes]:
    """A snapshot of so many issues, each born, queued and taken off the queue."""
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
    """A file that counts what it is told, and keeps none of it."""

    told = 0

    def write(self, line: Any) -> int:
        self.told += len(line)
        return len(line)


@pytest.mark.parametrize("way", ["import", "export", "verify"])
def test_memory_does_not_grow_with_long_texts(
    way: str, store: Store, long: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of more than 50 MB no more are held than a page and what is made of it."""
    monkeypatch.setattr(paging, "BYTES", 2_000_000)
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
    monkeypatch.setattr(paging, "BYTES", 10)
    sized = [("a", 4), ("b", 6), ("c", 1), ("d", 30), ("e", 0), ("f", 0), ("g", 0), ("h", 10)]
    assert list(paging.groups(sized, 3)) == [["a", "b"], ["c"], ["d"], ["e", "f", "g"], ["h"]]
    assert list(paging.groups([], 3)) == []


# ---- moving --------------------------------------------------------------------------------------------


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, cwd=ROOT, check=False)


WAYS = {"command": ("-m", "dispatch_state", "copy"), "example": ("examples/to_postgres.py",)}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_store_moves_to_postgresql_and_back(way: tuple[str, ...], snapshot: Path, tmp_path: Path) -> None:
    first, last = str(tmp_path / "first.db"), str(tmp_path / "last.db")
    with open_store(first) as store:
        store.import_snapshot(snapshot)
    with postgres.fresh_schema() as url:
        for source, target in ((first, url), (url, last)):
            moved = run(*way, source, target)
            assert (moved.returncode, moved.stderr) == (0, ""), moved.stderr
        again = run(*way, first, url)
        assert again.returncode in (1, 3)
        assert "not empty" in again.stderr
    with open_store(last) as store:
        assert exported(store) == snapshot.read_bytes()
        assert store.verify() == []


def test_the_commands_export_and_import(snapshot: Path, tmp_path: Path) -> None:
    store, out = str(tmp_path / "store.db"), str(tmp_path / "out.jsonl")
    for words in (["init"], ["import", str(snapshot)], ["export", out]):
        done = run("-m", "dispatch_state", "--database", store, *words)
        assert (done.returncode, done.stderr) == (0, "")
    assert Path(out).read_bytes() == snapshot.read_bytes()


def test_through_a_pipe(snapshot: Path, tmp_path: Path) -> None:
    """What export writes on standard output is the snapshot and nothing else; import takes it from there."""
    command = [sys.executable, "-m", "dispatch_state", "--database", str(tmp_path / "store.db")]
    subprocess.run([*command, "init"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run([*command, "import", "-"], check=True, input=snapshot.read_bytes(), stdout=subprocess.DEVNULL)
    out = subprocess.run([*command, "export", "-", "--json"], check=True, capture_output=True)
    assert (out.stdout, out.stderr) == (snapshot.read_bytes(), b"")
    closed = subprocess.run(
        ["/bin/sh", "-c", '"$@" <&-', "sh", *command, "import", "-"], check=False, capture_output=True
    )
    assert (closed.returncode, closed.stderr.split(b": ")[1:]) == (
        2,
        [b"import", b"standard input is closed; name a file\n"],
    )


@pytest.fixture
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, snapshot: Path) -> Path:
    """One with a filled store, full.db; commands work there."""
    folder = tmp_path / "folder"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.delenv("DISPATCH_DATABASE", raising=False)
    with open_store("full.db") as store:
        store.import_snapshot(snapshot)
    return folder


def here(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"full.db-turn"}


def test_copy_makes_nothing_for_nothing(in_a_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for target in ("new.db", "full.db"):
        assert main(["copy", "nothere.db", target]) == 3
        assert "there is no store at" in capsys.readouterr().err
    assert main(["--database", "full.db", "copy", "full.db", "new.db"]) == 2
    assert "no --database" in capsys.readouterr().err
    assert here(in_a_folder) == {"full.db"}


@pytest.fixture
def seed(in_a_folder: Path) -> Path:
    """A database that another program made of the schema that is adopted, with a row in it."""
    file = in_a_folder / "seed.db"
    connection = sqlite3.connect(file)
    connection.executescript(SEED)
    connection.execute("INSERT INTO config_store VALUES ('a', '1', '2026-01-31T09:30:00Z')")
    connection.commit()
    connection.close()
    return file


READING = [
    ["status"], ["show", "01890a5d"], ["verify"], ["explain", "01890a5d"], ["tick"], ["rescue"],
    ["fire", "01890a5d", "queue", "--as", "ann"], ["decisions"],
    ["export", "out.jsonl"], ["log"], ["board"],
    ["import", "snapshot.jsonl"], ["backup", "copy.db"], ["init"],
]  # fmt: skip


@pytest.mark.parametrize("words", READING, ids=lambda words: words[0])
def test_only_migrate_adopts(words: list[str], seed: Path, snapshot: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A command that reads a database of another program, or fills a store, leaves it byte for byte."""
    (seed.parent / "snapshot.jsonl").write_bytes(snapshot.read_bytes())
    before = seed.read_bytes()
    assert main(["--database", "seed.db", *words]) == 3
    assert "another program made this database; dispatch-state --database seed.db migrate" in capsys.readouterr().err
    assert seed.read_bytes() == before
    assert main(["--database", "seed.db", "migrate"]) == 0
    assert seed.read_bytes() != before


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_copying_into_another_programs_database_is_refused_and_leaves_it(way: tuple[str, ...], seed: Path) -> None:
    before = seed.read_bytes()
    done = run(*way, str(seed.parent / "full.db"), str(seed))
    assert done.returncode in (1, 3)
    assert "another program made this database" in done.stderr
    assert seed.read_bytes() == before
    assert here(seed.parent) == {"full.db", "seed.db"}


def test_copying_into_a_store_of_an_older_version_is_refused_and_leaves_it(
    in_a_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    open_store("old.db").close()
    (last,) = NAMES[-1:]
    with sqlite3.connect("old.db") as connection:
        connection.execute(f"DELETE FROM {HISTORY} WHERE name = '{last}'")
        connection.execute("DROP INDEX idx_issues_under_way")
    connection.close()
    before = Path("old.db").read_bytes()
    assert main(["copy", "full.db", "old.db"]) == 3
    assert f"old.db: the database lacks {last}; name an empty one, or migrate it first" in capsys.readouterr().err
    assert Path("old.db").read_bytes() == before


def test_copying_into_a_database_with_tables_of_others(in_a_folder: Path) -> None:
    with sqlite3.connect("others.db") as connection:
        connection.execute("CREATE TABLE users (name TEXT)")
        connection.execute("INSERT INTO users VALUES ('ann')")
    connection.close()
    assert main(["copy", "full.db", "others.db"]) == 0
    with open_store("others.db") as store:
        assert store.database.execute_sql("SELECT * FROM users").fetchall() == [("ann",)]
        assert store.verify() == []


def test_copy_leaves_a_link_to_nothing_as_it_is(in_a_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (in_a_folder / "link.db").symlink_to("nothing.db")
    assert main(["copy", "full.db", "link.db"]) == 3
    assert "is a link to nothing" in capsys.readouterr().err
    assert (in_a_folder / "link.db").is_symlink()


@pytest.mark.parametrize("stopped", ["export", "import_snapshot"])
@pytest.mark.parametrize("there_before", [True, False])
def test_a_copy_that_is_interrupted(
    stopped: str, there_before: bool, in_a_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that it made is gone again; one that was there is as empty as it was."""
    if there_before:
        open_store("new.db").close()
    way = getattr(Store, stopped)

    def interrupted(store: Store, file: Any, *, progress: Any) -> Any:
        way(store, file, progress=progress)
        raise KeyboardInterrupt

    before = here(in_a_folder)
    with monkeypatch.context() as patched:
        patched.setattr(Store, stopped, interrupted)
        assert main(["copy", "full.db", "new.db"]) == 130
    assert here(in_a_folder) == before
    if not there_before:
        assert main(["copy", "full.db", "new.db"]) == 0
        assert here(in_a_folder) == {"full.db", "new.db", "new.db-turn"}


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
