"""Files of snapshots: paths, open files, compression, full disks, damage."""

from __future__ import annotations

import bz2
import errno
import gzip
import io
import lzma
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from dispatch_state import Agent, InvalidValue, Store, StoreError, StoreFull, StoreReadOnly
from dispatch_state.testing.outcomes import everything
from tests.transfer.exports import exported
from tests.world import World


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
    """A file that raises the given error when it is read or written."""

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
def test_a_file_on_a_full_disk_is_reported_before_export_returns(store: Store, buffering: int) -> None:
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
