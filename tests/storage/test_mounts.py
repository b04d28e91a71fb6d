"""Files that are mounted by themselves are refused, and folders that are mounted are served."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dispatch_state import Agent, ConfigEntry, open_store
from dispatch_state.errors import StoreError
from dispatch_state.storage import mounts, sqlite
from tests.paths import ROOT
from tests.threads import in_thread


def mounted(source: Path, place: Path) -> Path:
    """Mount a file or a folder at another place, in this process's namespace."""
    if source.is_dir():
        place.mkdir(parents=True)
    else:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    subprocess.run(["mount", "--bind", source, place], check=True)
    return place


def refuses_mounted_files(folder: Path) -> None:
    """The file alone, under any name, through links, or at its own place; and with it the files beside it."""
    outside = folder / "outside"
    outside.mkdir()
    with open_store(outside / "x.db", durability="normal"):
        ConfigEntry.write("key", 1)
    held = (outside / "x.db").read_bytes()
    places = [mounted(outside / "x.db", folder / name / "x.db") for name in ("in", "with space \\040\n", "Ä")]
    link, beside = folder / "link.db", folder / "linked"
    link.symlink_to(places[1])
    beside.symlink_to(folder / "in")
    for name in (*places, link, beside / "x.db"):
        for migrate in (True, False):
            with pytest.raises(StoreError, match=r"is mounted by itself.* mount the folder instead"):
                open_store(name, migrate=migrate)
        assert [path.name for path in places[0].parent.iterdir()] == ["x.db"], "nothing is made beside it"
    assert (outside / "x.db").read_bytes() == held
    subprocess.run(["mount", "--bind", outside / "x.db", outside / "x.db"], check=True)
    with pytest.raises(StoreError, match=r"x\.db is mounted by itself"):
        open_store(outside / "x.db")
    subprocess.run(["umount", outside / "x.db"], check=True)
    open_store(outside / "x.db").close()
    for suffix in ("-wal", "-shm"):
        (folder / "other").touch()
        beside_it = mounted(folder / "other", outside / f"x.db{suffix}")
        with pytest.raises(StoreError, match=f"x.db{suffix} is mounted by itself"):
            open_store(outside / "x.db")
        subprocess.run(["umount", beside_it], check=True)
        beside_it.unlink()


def serves_mounted_folders(folder: Path) -> None:
    """Whoever mounts the folder has all of the store's files there; what is mounted over it is another store."""
    outside = folder / "outside"
    outside.mkdir()
    inside = mounted(outside, folder / "inside")
    deeper = mounted(inside, folder / "deeper" / "still")
    for number, place in enumerate((outside, inside, deeper)):
        with open_store(place / "x.db", durability="normal") as store:
            assert store.counts()["agents"].get("idle", 0) == number
            Agent.create(agent_type="coder")
            other = sqlite3.connect(outside / "x.db")
            assert other.execute("SELECT count(*) FROM agents").fetchone() == (number + 1,)
            other.close()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", inside], check=True)
    (folder / "link.db").symlink_to(inside / "x.db")
    for name in (inside / "x.db", folder / "link.db"):
        with open_store(name) as store:
            assert store.counts()["agents"].get("idle", 0) == 0


@pytest.mark.parametrize("call", [refuses_mounted_files, serves_mounted_folders], ids=lambda call: call.__name__)
def test_mounts(call: Callable[[Path], None], tmp_path: Path) -> None:
    before = ["unshare", "--map-root-user", "--mount"]
    trial = [*before, "sh", "-c", "touch a b && mount --bind a b && mount -t tmpfs tmpfs ."]
    if not shutil.which("unshare") or subprocess.run(trial, cwd=tmp_path, capture_output=True, check=False).returncode:
        pytest.skip("NOTHING CAN BE MOUNTED HERE: files that are mounted by themselves are not tried")
    code = f"from {__name__} import *; {call.__name__}(Path(sys.argv[1]))"
    command = [*before, sys.executable, "-W", "error", "-c", code, str(tmp_path)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_system_that_says_nothing_of_mounts_opens_every_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As macOS does, or Linux where there is no /proc."""
    with monkeypatch.context() as without:
        without.setattr(mounts, "_FDINFO", "/no/such/place/{}")
        open_store(tmp_path / "x.db").close()
    monkeypatch.delattr(os, "O_PATH", raising=False)
    open_store(tmp_path / "x.db").close()


def test_mounts_are_asked_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the store is opened, and not for each connection or move."""
    asked: list[str] = []
    monkeypatch.setattr(sqlite, "is_mount_point", asked.append)
    with open_store(tmp_path / "x.db", durability="normal"):
        Agent.create(agent_type="coder")
        in_thread(lambda: Agent.create(agent_type="coder"))
    assert asked == [f"{tmp_path}/x.db{suffix}" for suffix in ("", "-wal", "-shm")]
