"""A full disk, and files that are read-only, damaged, replaced or not a store: each raises its own error.

Whatever happens to the file under an open store, no acknowledged move is lost, and no error of SQLite leaves a public
call.
"""

from __future__ import annotations

import os
import random
import resource
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dispatch_state import (
    Agent,
    ConfigEntry,
    DispatchError,
    InvalidValue,
    Issue,
    MigrationFailed,
    Store,
    StoreCorrupt,
    StoreError,
    StoreFull,
    StoreNotFound,
    StoreReadOnly,
    open_store,
)
from tests.faults.storage import READS, SMALL_WRITES, WRITES, Rows, SlowClock, filled, ids, new_issue, ready, refusals
from tests.paths import ROOT
from tests.threads import in_thread
from tests.world import MAINTAINER, WHY

KIB = 1024


# ---- full --------------------------------------------------------------------------------------------


def goes_full(file: Path, fill: Callable[[Store], Callable[[], object]], *, to_the_brim: bool = True) -> None:
    """Write until there is no room, then with room again: what was acknowledged is there, and it goes on.

    Args:
        fill: takes the room away; returns what gives it back.
        to_the_brim: whether there is then no room for a single page, and so for no write at all.
    """
    with open_store(file, clock=SlowClock()) as store:
        rows = ready(store)
        free = fill(store)
        acknowledged = set()
        with pytest.raises(StoreFull, match="free some and call again"):
            while True:
                acknowledged.add(new_issue().id)
        while to_the_brim and set(refusals(rows, SMALL_WRITES).values()) != {StoreFull}:
            pass
        held = ids(rows)
        found = refusals(rows, WRITES) if to_the_brim else {}
        assert set(found.values()) <= {StoreFull}, found
        assert set(refusals(rows, READS).values()) == {None}
        assert acknowledged <= ids(rows) == held
        assert store.verify() == []
        free()
        assert set(refusals(rows, WRITES).values()) == {None}
        assert store.verify() == []
    with open_store(file) as store:
        assert acknowledged <= ids(rows)
        assert store.verify() == []


def limit_the_size(store: Store) -> Callable[[], object]:
    """Limit the size of the files that this process may write."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = sum(path.stat().st_size for path in Path(store.database.database).parent.iterdir())
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 200 * KIB, before[1]))
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, before)


def limit_the_pages(store: Store) -> Callable[[], object]:
    """Forbid SQLite to make the file larger."""
    pages = store.database.execute_sql("PRAGMA page_count").fetchone()[0]
    store.database.execute_sql(f"PRAGMA max_page_count = {pages + 20}")
    return lambda: store.database.execute_sql("PRAGMA max_page_count = 1000000")


def fill_the_disk(store: Store) -> Callable[[], object]:
    """Fill the disk with another file, but for a little."""
    other = Path(store.database.database).with_name("other")
    room = os.statvfs(other.parent)
    other.write_bytes(bytes(room.f_bavail * room.f_bsize - 200 * KIB))
    return other.unlink


def opens_where_there_is_no_room(file: Path) -> None:
    """Open a new store with more and more room: StoreFull each time, until there is enough and it is sound."""
    other, size = file.with_name("other"), os.statvfs(file.parent)
    outcomes = []
    for left in (0, 8, 36, 64, 256, 3000):
        for path in file.parent.iterdir():
            path.unlink()
        other.write_bytes(bytes(size.f_blocks * size.f_bsize - left * KIB))
        try:
            open_store(file).close()
            outcomes.append("opened")
        except StoreFull as error:
            outcomes.append("full")
            assert "free some" in str(error) or "see to it" in str(error)
    assert outcomes == ["full"] * (len(outcomes) - 1) + ["opened"]
    other.unlink()
    with open_store(file) as store:
        assert store.verify() == []


def in_a_process(call: str, file: Path, *before: str) -> None:
    """Call a function of this module in a process of its own."""
    code = f"from {__name__} import *; {call}"
    command = [*before, sys.executable, "-W", "error", "-c", code, str(file)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")


def on_a_small_disk(folder: Path) -> list[str]:
    """A prefix for a command that gives it a disk of 4 MiB of its own, which goes when the command ends."""
    mounted = f"mount -t tmpfs -o size=4m tmpfs '{folder}' && "
    before = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
    if (
        not shutil.which("unshare")
        or subprocess.run([*before, f"{mounted} :"], capture_output=True, check=False).returncode
    ):
        pytest.skip("NO SMALL DISK CAN BE MOUNTED HERE: a full disk is tested by limits alone")
    return [*before, f'{mounted} exec "$@"', "sh"]


def test_a_full_disk(file: Path) -> None:
    in_a_process("goes_full(Path(sys.argv[1]), fill_the_disk)", file, *on_a_small_disk(file.parent))


def test_a_file_that_may_grow_no_more(file: Path) -> None:
    in_a_process("goes_full(Path(sys.argv[1]), limit_the_size)", file)


def test_a_database_that_may_grow_no_more(file: Path) -> None:
    goes_full(file, limit_the_pages, to_the_brim=False)


def test_a_store_is_opened_where_there_is_no_room(file: Path) -> None:
    in_a_process("opens_where_there_is_no_room(Path(sys.argv[1]))", file, *on_a_small_disk(file.parent))


# ---- read-only ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("of_file", "of_folder"), [(0o666, 0o555), (0o444, 0o555), (0o000, 0o777), (0o666, 0o000)])
def test_what_cannot_be_opened_for_writing(
    of_file: int, of_folder: int, file: Path, request: pytest.FixtureRequest
) -> None:
    """SQLite needs files beside its own even to read, so opening raises at once."""
    filled(file)
    with permitted(file, of_file, of_folder):
        request.getfixturevalue("unprivileged")
        for migrate in (True, False):
            with pytest.raises(StoreReadOnly, match="ermi"):
                open_store(file, create=False, migrate=migrate)


def test_a_file_that_may_only_be_read_is_read(file: Path, request: pytest.FixtureRequest) -> None:
    """Every write raises StoreReadOnly and changes nothing in memory."""
    filled(file)
    with permitted(file, 0o444, 0o777):
        request.getfixturevalue("unprivileged")
        with open_store(file) as store:
            agent = Agent.select().where(Agent.status == "idle").get()
            with pytest.raises(StoreReadOnly, match="permit it"):
                agent.stop(by=MAINTAINER, reason=WHY)
            for write in (agent.heartbeat, store.tick, new_issue, lambda: ConfigEntry.write("key", 1)):
                with pytest.raises(StoreReadOnly):
                    write()
            assert (agent.status, agent.version) == ("idle", 1)
            assert store.verify() == []
            assert len(store.changes()) > 30


@contextmanager
def permitted(file: Path, of_file: int, of_folder: int) -> Iterator[None]:
    """Limit what users other than root may do with the file and its folder."""
    for folder in file.parents[1:]:
        if folder.stat().st_uid == os.getuid() and not folder.stat().st_mode & 0o001:
            folder.chmod(folder.stat().st_mode | 0o055)
    for path in file.parent.iterdir():
        path.chmod(of_file)
    file.parent.chmod(of_folder)
    try:
        yield
    finally:
        os.seteuid(os.getuid())
        file.parent.chmod(0o777)


# ---- damaged -----------------------------------------------------------------------------------------

ALLOWED = (None, StoreCorrupt)


def what_it_gives(file: Path) -> dict[str, Any]:
    """What each use of a damaged store raises; None where it works."""
    try:
        with open_store(file, create=False, clock=SlowClock()) as store:
            found: dict[str, Any] = refusals(Rows(store=store), {"verify": lambda r: unsound(r.store)})
            try:
                rows = ready(store)
            except DispatchError as error:
                return found | {"ready": type(error)}
            return found | refusals(rows, READS) | refusals(rows, WRITES)
    except StoreError as error:
        assert "; " in str(error), "it says what to do"
        return {"open": type(error)}


def unsound(store: Store) -> None:
    if store.verify():
        raise StoreCorrupt


@pytest.mark.parametrize("kept", [1, 50, 99, 100, 512, 4096, 4097, 8192, 0.3, 0.5, -4096, -1])
def test_a_truncated_file(kept: float, file: Path) -> None:
    """Opening it raises, or it is empty; it never looks like a store that silently lost its end."""
    filled(file)
    size = file.stat().st_size
    os.truncate(file, int(size * kept if 0 < kept < 1 else kept % size))
    found = what_it_gives(file)
    assert StoreCorrupt in found.values() or found == {"open": StoreNotFound}, found


@pytest.mark.parametrize("seed", range(8))
def test_a_damaged_file(seed: int, file: Path) -> None:
    """Bytes are overwritten anywhere: each use works or raises an error of the library, never one of SQLite."""
    filled(file)
    whole, chance = file.read_bytes(), random.Random(seed)
    for _ in range(2):
        for path in file.parent.iterdir():
            path.unlink()
        damaged, at = bytearray(whole), chance.randrange(len(whole) - 500)
        damaged[at : at + 500] = chance.choice([b"\xff" * 500, bytes(500), chance.randbytes(500)])
        file.write_bytes(damaged)
        for name, error in what_it_gives(file).items():
            assert error is None or issubclass(error, DispatchError), f"{name} at byte {at}: {error}"


def test_a_file_that_is_truncated_while_it_is_open_is_corrupt(file: Path) -> None:
    with open_store(file) as store:
        for _ in range(30):
            new_issue()
        store.database.execute_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        os.truncate(file, 8192)
        for use in (store.counts, store.needs_human, store.verify, lambda: store.backup(file.with_name("copy.db"))):
            error = in_thread(use)  # whose connection has read nothing yet
            assert isinstance(error, StoreCorrupt)
            assert "restore it from a backup" in str(error)


UNREADABLE = {
    "a moment": ("updated_at", "not so"),
    "JSON": ("labels", "not so"),
    "JSON that nests too deep": ("labels", "[" * 500_000 + "]" * 500_000),
    "a parent": ("epic_id", "not so"),
    "a key": ("id", "not so"),
}
"""Values that cannot be read: the column, and what is stored in it."""


@pytest.mark.parametrize(("column", "stored"), UNREADABLE.values(), ids=UNREADABLE)
def test_a_value_that_cannot_be_read_is_named(column: str, stored: str, file: Path) -> None:
    """The error names the column and is never the parser's own."""
    with open_store(file) as store:
        issue = new_issue()
        with pytest.raises(StoreError), store.enforcement_suspended():
            store.database.execute_sql("PRAGMA defer_foreign_keys = 1")
            store.database.execute_sql(f"UPDATE issues SET {column} = ?", (stored,))
            with pytest.raises(StoreCorrupt, match=f"issues.{column}: the stored value is not one it can hold"):
                Issue.get()
            if column != "id":
                with pytest.raises(StoreCorrupt, match=r"verify\(\) names the row"):
                    issue.reload()


# ---- another file ------------------------------------------------------------------------------------


def removed(file: Path) -> None:
    file.unlink()


def removed_with_its_log(file: Path) -> None:
    for path in file.parent.glob(f"{file.name}*"):
        path.unlink()


def replaced(file: Path) -> None:
    """Put another file under the same name, as an editor, a restore or a sync does."""
    shutil.copy(file, file.with_name("copy"))
    file.with_name("copy").replace(file)


def moved_with_its_folder(file: Path) -> None:
    file.parent.rename(file.parent.with_name("elsewhere"))


@pytest.mark.parametrize("happens", [removed, removed_with_its_log, replaced, moved_with_its_folder])
def test_another_file_in_its_place(happens: Callable[[Path], None], tmp_path: Path) -> None:
    """Nothing is written to a file that nobody would find again; the open store can still be read and copied."""
    file = tmp_path / "folder" / "dispatch.db"
    with open_store(file, clock=SlowClock()) as store:
        rows = ready(store)
        held = ids(rows)
        happens(file)
        there = file.exists()
        found = refusals(rows, WRITES)
        assert set(found.values()) == {StoreNotFound}, found
        with pytest.raises(StoreNotFound, match=r"while it was open; .*open_store"):
            store.verify()
        assert isinstance(in_thread(new_issue), StoreNotFound), "a thread's new connection"
        assert file.exists() == there, "it was made anew"
        assert set(refusals(rows, READS).values()) == {None}
        copy = store.backup(tmp_path / "copy.db")
    with open_store(copy) as store:
        assert ids(rows) == held
        assert store.verify() == []


def test_a_link_that_is_changed_to_another_file(file: Path, tmp_path: Path) -> None:
    filled(tmp_path / "other.db")
    filled(tmp_path / "real.db")
    file.symlink_to(tmp_path / "real.db")
    with open_store(file):
        new_issue()
        file.unlink()
        file.symlink_to(tmp_path / "other.db")
        with pytest.raises(StoreNotFound, match="replaced by another file"):
            new_issue()
        file.unlink()
        file.symlink_to(tmp_path / "real.db")
        new_issue()


def test_a_second_name_of_the_same_file(file: Path, tmp_path: Path) -> None:
    """SQLite would keep a second WAL beside the other name, and commits would be lost."""
    held = filled(file)
    other = tmp_path / "other.db"
    other.hardlink_to(file)
    for name in (other, file):
        with pytest.raises(StoreError, match=r"hard link.*remove either name"):
            open_store(name)
    with pytest.raises(StoreError, match="hard link"):
        open_store(other, create=False, migrate=False)
    other.unlink()
    with open_store(file) as store:
        assert ids(Rows(store=store)) == held
        other.hardlink_to(file)
        new_issue()
        assert in_thread(new_issue).title == "t", "a copy by link that somebody takes meanwhile is no fault of ours"


# ---- another application's ---------------------------------------------------------------------------


def of_another_application(file: Path) -> None:
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE bookmarks (x)")
    connection.close()


def with_a_table_named_as_ours(file: Path) -> None:
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE issues (x)")
    connection.close()


def a_letter(file: Path) -> None:
    file.write_text("Dear reader,\n" * 1000)


def a_short_letter(file: Path) -> None:
    file.write_text("Hello")


def empty(file: Path) -> None:
    file.touch()


@pytest.mark.parametrize(
    ("made", "error"),
    [
        (of_another_application, StoreNotFound),
        (with_a_table_named_as_ours, MigrationFailed),
        (a_letter, StoreCorrupt),
        (a_short_letter, StoreCorrupt),
        (empty, StoreNotFound),
    ],
)
def test_a_file_that_is_no_store(made: Callable[[Path], None], error: type[StoreError], file: Path) -> None:
    """It stays as it is, byte for byte, and the error recommends another name; an empty or foreign database works."""
    made(file)
    before = file.read_bytes()
    becomes_one = error is StoreNotFound
    for options in ({"create": False}, {"create": False, "migrate": False}, *([] if becomes_one else [{}])):
        with pytest.raises(error, match="name another"):
            open_store(file, **options)
        assert file.read_bytes() == before
    if becomes_one:
        with open_store(file) as store:
            assert store.verify() == []


@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_what_is_not_a_regular_file(kind: str, file: Path) -> None:
    """No file is made beside it either."""
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "folder":
        file.mkdir()
    target = Path("/dev/null") if kind == "device" else file
    with pytest.raises(InvalidValue, match=r"no regular file|is a folder"):
        open_store(target)
    assert not target.with_name(f"{target.name}-turn").exists()
