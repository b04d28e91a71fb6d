"""The whole store as a file, and back: the same rows, the same bytes, on either database; all or nothing."""

from __future__ import annotations

import bz2
import errno
import gzip
import io
import json
import lzma
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import pytest

from dispatch_state import (
    Agent,
    ConfigEntry,
    InvalidValue,
    Store,
    StoreError,
    StoreFull,
    StoreReadOnly,
    open_store,
    snapshots,
)
from dispatch_state.cli.commands import main
from dispatch_state.snapshots import TABLES
from dispatch_state.testing import Clock, Walk, scratch_store, scratch_target
from dispatch_state.testing.attempts import everything
from tests import postgres
from tests.conftest import BACKENDS
from tests.golden import scene
from tests.properties.machine import LONG
from tests.test_database import in_thread
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
    monkeypatch.setattr(snapshots, "PAGE", 3)
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


NEWER = b'{"format": "dispatch_state", "version": 2}\n'
REFUSED: dict[str, tuple[Change, type[Exception], str]] = {
    "nothing": (lambda lines: [], InvalidValue, "line 1"),
    "no header": (lambda lines: lines[1:], InvalidValue, "line 1: this is no snapshot"),
    "a newer format": (lambda lines: [NEWER, *lines[1:]], InvalidValue, "line 1: takes version 1"),
    "cut": (lambda lines: lines[:-1], InvalidValue, "cut"),
    "cut within a line": (lambda lines: [*lines[:-2], lines[-2][:40]], InvalidValue, "no JSON"),
    "a line short": (lambda lines: [*lines[:-3], *lines[-2:]], InvalidValue, "other rows than"),
    "behind the end": (lambda lines: [*lines, lines[1]], InvalidValue, "behind the end"),
    "no JSON": (lambda lines: [*lines[:3], b"nonsense\n", *lines[3:]], InvalidValue, "line 4: no JSON"),
    "no UTF-8": (lambda lines: [*lines[:3], b'{"a":"\xff"}\n', *lines[3:]], InvalidValue, "line 4: no JSON"),
    "an empty line": (lambda lines: [*lines[:3], b"\n", *lines[3:]], InvalidValue, "line 4"),
    "a list": (lambda lines: [*lines[:3], b"[]\n", *lines[3:]], InvalidValue, "line 4: takes a JSON object"),
    "two tables": (lambda lines: [*lines[:3], b'{"a":1,"b":2}\n', *lines[3:]], InvalidValue, "line 4: takes"),
    "an unknown table": (lambda lines: [*lines[:3], b'{"users":{}}\n', *lines[3:]], InvalidValue, "is no table"),
    "an unknown column": (edited(1, nonsense=1), InvalidValue, 'line 2: epics lacks, or does not know, "nonsense"'),
    "an unknown word": (edited(1, status="finished"), InvalidValue, "line 2: epics.status"),
    "no UUID": (edited(1, id="1"), InvalidValue, "line 2: epics.id"),
    "no moment": (edited(1, created_at="yesterday"), InvalidValue, "line 2: epics.created_at"),
    "no moment at all": (edited(1, created_at=None), InvalidValue, "line 2: epics.created_at"),
    "a number as text": (edited(1, version="1"), InvalidValue, "line 2: epics.version"),
    "JSON of another shape": (edited(1, acceptance_criteria={"a": 1}), InvalidValue, "line 2: epics.acceptance"),
    "a status that the log does not give": (edited(1, status="cancelled"), StoreError, "breaks the store"),
    "an orphan": (
        edited(1, current_stage_id="01890a5d-ac96-774b-bcce-b302099a8057"), StoreError, "."
    ),
    "a row more": (lambda lines: [*lines[:2], lines[1], *lines[2:]], InvalidValue, "other rows than"),
    "a row twice": (twice, StoreError, "."),
}  # fmt: skip


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
@pytest.mark.parametrize("backend", BACKENDS)
def test_memory_does_not_grow_with_the_store(backend: str, tmp_path: Path) -> None:
    """A hundred thousand issues with their log in the long form, within 200 MiB; two thousand in the short one."""
    count = 100_000 if LONG else 2_000
    large = tmp_path / "large.jsonl"
    large.write_bytes(b"".join(many_issues(count)))
    with scratch_target(place(backend)) as target:
        for way, path in (("import", large), ("export", tmp_path / "again.jsonl")):
            command = [sys.executable, "-c", GROWS, target, way, str(path)]
            done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, env=dict(os.environ))
            assert done.returncode == 0, done.stderr
            print(backend, way, count, done.stdout.strip(), "MiB")
            assert int(done.stdout) < 200
    assert (tmp_path / "again.jsonl").read_bytes() == large.read_bytes()


def many_issues(count: int) -> Iterator[bytes]:
    """A snapshot of so many issues, each born, queued and taken off the queue."""
    with scratch_store("memory", clock=Clock()) as store:
        issue = World(store).new_issue()
        issue.queue(by=MAINTAINER)
        issue.dequeue(by=MAINTAINER, reason=WHY)
        lines = exported(store).splitlines(keepends=True)
    (row,), log = [json.loads(line)["issues"] for line in lines if b'{"issues"' in line], []
    moves = [json.loads(line)["transition_log"] for line in lines if line.startswith(b'{"transition_log"')]
    yield lines[0]
    for number in range(count):
        key = f"00000000-0000-7000-8000-{number:012x}"
        yield snapshots._line({"issues": {**row, "id": key}})
        log.append(key)
    for number, key in enumerate(log):
        for step, move in enumerate(moves):
            yield snapshots._line({"transition_log": {**move, "entity_id": key, "seq": 3 * number + step + 1}})
    counts = dict.fromkeys(TABLES, 0) | {"issues": count, "transition_log": 3 * count}
    yield snapshots._line({"end": counts})


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
