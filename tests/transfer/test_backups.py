"""Backups while others write, restores, and both from a shell."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from dispatch_state import ConfigEntry, InvalidValue, Issue, Store, StoreError, StoreFull, StoreReadOnly, open_store
from dispatch_state.cli.commands import main
from dispatch_state.schema import enforcement
from tests.backends import on_postgresql, on_sqlite
from tests.invariants import broken
from tests.world import MAINTAINER, World

# ---- backups -------------------------------------------------------------------------------------------


@on_sqlite
def test_a_backup_is_the_store(store: Store, tmp_path: Path) -> None:
    issue = World(store).issues("done")
    made = store.backup(tmp_path / "copy.db")
    assert made == tmp_path / "copy.db"
    assert made.stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in tmp_path.iterdir() if "copy" in path.name) == ["copy.db"]
    store.close()
    with open_store(made) as copy:
        assert Issue.get() == issue
        assert copy.verify() == []
        Issue.get_by_id(issue.id).remove(by=MAINTAINER, reason="it is one's own store")


@on_sqlite
def test_a_backup_while_others_write_is_one_moment(store: Store, tmp_path: Path) -> None:
    world, over = World(store), threading.Event()

    def write() -> None:
        while not over.is_set():
            world.issues("done")

    writer = threading.Thread(target=write)
    writer.start()
    copies = [store.backup(tmp_path / f"{number}.db") for number in range(5)]
    over.set()
    writer.join()
    store.close()
    counts = []
    for copy in copies:
        with open_store(copy) as opened:
            assert opened.verify() == []
            counts.append(Issue.select().count())
    assert counts == sorted(counts)


def test_a_backup_in_memory_is_a_file(tmp_path: Path) -> None:
    with open_store(":memory:") as store:
        issue = World(store).new_issue()
        made = store.backup(tmp_path / "copy.db")
    with open_store(made):
        assert Issue.get() == issue


@on_sqlite
def test_what_is_there_is_not_written_over(store: Store, target: str, tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.write_text("precious")
    for path in (there, target, tmp_path):
        with pytest.raises(InvalidValue, match="exists"):
            store.backup(path)
    assert there.read_text() == "precious"


@on_sqlite
def test_what_is_there_under_the_name_of_the_unfinished_copy_is_kept(store: Store, tmp_path: Path) -> None:
    there = tmp_path / "copy.db.partial"
    there.write_text("precious")
    with pytest.raises(InvalidValue, match="partial exists"):
        store.backup(tmp_path / "copy.db")
    assert there.read_text() == "precious"
    assert not (tmp_path / "copy.db").exists()


@on_sqlite
@pytest.mark.parametrize("path", [None, 3, "a\0b", b"\xff" * 300])
def test_what_is_no_path_is_refused(store: Store, path: Any, tmp_path: Path) -> None:
    with pytest.raises((InvalidValue, StoreReadOnly)):
        store.backup(path)


@on_sqlite
def test_a_folder_that_is_not_there_is_reported(store: Store, tmp_path: Path) -> None:
    with pytest.raises(StoreReadOnly, match="No such file"):
        store.backup(tmp_path / "no" / "copy.db")


@on_sqlite
def test_a_block_is_left_first(store: Store, tmp_path: Path) -> None:
    with store.atomic(), pytest.raises(InvalidValue, match="leave it first"):
        store.backup(tmp_path / "copy.db")
    assert not (tmp_path / "copy.db").exists()


@on_sqlite
def test_a_backup_that_fails_leaves_nothing(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(path: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr("dispatch_state.transfer.backups._sync", fails)
        with pytest.raises(StoreFull, match="No space left"):
            store.backup(tmp_path / "copy.db")
    assert [path.name for path in tmp_path.iterdir() if "copy" in path.name] == []
    store.backup(tmp_path / "copy.db")


@on_postgresql
def test_postgresql_has_a_tool_of_its_own(store: Store, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="pg_dump"):
        store.backup(tmp_path / "copy.db")
    assert list(tmp_path.iterdir()) == []


# ---- restores ------------------------------------------------------------------------------------------


def test_a_repair_that_leaves_it_sound_is_kept(store: Store) -> None:
    issue = World(store).issues("queued")
    with store.enforcement_suspended():
        store.database.execute_sql("UPDATE issues SET status = 'unassigned', version = 1")
        store.database.execute_sql("DELETE FROM transition_log WHERE version = 2")
    assert (issue.reload().status, issue.version) == ("unassigned", 1)
    assert enforcement.differences(store.database) == []
    assert store.verify() == []


def test_what_does_not_hold_is_rolled_back(store: Store) -> None:
    issue = World(store).issues("queued")
    with (
        pytest.raises(StoreError, match=r"I12 issues .*: does not have the status") as refusal,
        store.enforcement_suspended(),
    ):
        store.database.execute_sql("UPDATE issues SET status = 'done'")
        issue.reload()
    assert "I4 issues" in str(refusal.value)
    assert (issue.status, issue.reload().status) == ("queued", "queued")
    assert enforcement.differences(store.database) == []


def test_an_error_inside_rolls_back(store: Store) -> None:
    issue = World(store).issues("queued")
    with pytest.raises(ZeroDivisionError), store.enforcement_suspended():
        store.database.execute_sql("UPDATE issues SET status = 'done'")
        raise ZeroDivisionError
    assert issue.reload().status == "queued"
    assert enforcement.differences(store.database) == []


def test_the_library_goes_on_inside(store: Store) -> None:
    with store.enforcement_suspended():
        issue = World(store).issues("done")
    assert issue.reload().status == "done"
    assert broken(store) == []


def test_it_is_a_transaction_of_its_own(store: Store) -> None:
    with store.atomic(), pytest.raises(InvalidValue, match="leave it first"), store.enforcement_suspended():
        raise AssertionError("not reached")


def test_others_wait_meanwhile(store: Store) -> None:
    """Another thread's write happens after the triggers are back in place."""
    World(store).issues("queued")
    seen: list[str] = []

    def write() -> None:
        ConfigEntry.write("key", 1)
        seen.append("written")
        store.database.close()

    other = threading.Thread(target=write)
    with store.enforcement_suspended():
        other.start()
        other.join(0.2)
        assert seen == []
    other.join()
    assert seen == ["written"]


def test_it_comes_in_while_others_write(store: Store) -> None:
    """Neither side deadlocks, in many attempts."""
    over, failed = threading.Event(), []

    def write() -> None:
        world = World(store)
        try:
            while not over.is_set():
                world.issues("done")
        except StoreError as error:
            failed.append(error)
        store.database.close()

    writers = [threading.Thread(target=write) for _ in range(2)]
    for writer in writers:
        writer.start()
    try:
        for _ in range(4):
            with store.enforcement_suspended():
                pass
    finally:
        over.set()
        for writer in writers:
            writer.join()
    assert failed == []


# ---- from a shell --------------------------------------------------------------------------------------


def shell(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "dispatch_state", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "DISPATCH_DATABASE": ""},
    )


def test_verify_from_a_shell(store: Store, target: str) -> None:
    issue = World(store).new_issue()
    told = shell("--database", target, "verify")
    assert (told.returncode, told.stdout, told.stderr) == (0, "", "sound\n")
    with store.database.atomic():
        enforcement.remove(store.database)
        store.database.execute_sql("UPDATE issues SET version = 2")
        enforcement.install(store.database)
    told = shell("--database", target, "verify")
    assert told.returncode == 1
    assert told.stdout == f"I12 issues {issue.id}: does not have the status of its last move in the log\n"
    assert told.stderr == "1 violations\n"


@on_sqlite
def test_backup_from_a_shell(store: Store, target: str, tmp_path: Path) -> None:
    told = shell("--database", target, "backup", str(tmp_path / "copy.db"))
    assert (told.returncode, told.stdout) == (0, f"{tmp_path / 'copy.db'}\n")
    again = shell("--database", target, "backup", str(tmp_path / "copy.db"))
    assert (again.returncode, again.stderr.count("\n")) == (2, 1)
    assert "exists" in again.stderr


def test_a_store_that_is_not_there(tmp_path: Path) -> None:
    told = shell("--database", str(tmp_path / "no.db"), "verify")
    assert (told.returncode, told.stdout) == (3, "")
    assert told.stderr.startswith(f"dispatch-state: there is no store at {tmp_path / 'no.db'}; ")
    assert not (tmp_path / "no.db").exists()


def test_a_damaged_file(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_text("no database at all, but long enough to be read as a page" * 50)
    told = shell("--database", str(tmp_path / "x.db"), "verify")
    assert (told.returncode, told.stderr.count("\n")) == (3, 1)


@pytest.mark.parametrize("arguments", [["verify", "extra"], ["backup"]])
def test_a_wrong_call(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert "usage: dispatch-state" in capsys.readouterr().err


def test_the_command_is_installed() -> None:
    command = shutil.which("dispatch-state", path=str(Path(sys.executable).parent))
    assert command is not None
    assert subprocess.run([command, "--version"], capture_output=True, text=True, check=True).stdout.strip()
