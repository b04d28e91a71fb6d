"""Turns at writing: taken one by one, given back however a transaction ends, and only a courtesy."""

from __future__ import annotations

import fcntl
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from dispatch_state import ConfigEntry, Store, StoreBusy, open_store
from dispatch_state.lockfile import LockFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "dispatch.db"


@pytest.fixture
def opened(path: Path) -> Iterator[Store]:
    with open_store(path, durability="normal", timeout=0.2) as store:
        yield store


def turn_file(path: Path) -> Path:
    return Path(f"{path}-turn")


def is_taken(path: Path) -> bool:
    with turn_file(path).open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_one_has_the_turn_until_it_gives_it(path: Path) -> None:
    first, second = LockFile(str(path), 0.05), LockFile(str(path), 0.05)
    assert first.take()
    assert not second.take()
    assert not second.wait()
    first.give()
    assert second.take()
    assert second.take(), "who has the turn has it still"
    second.close()
    assert first.take(), "closing ends the turn"
    first.close()


def test_without_a_file_there_are_no_turns(tmp_path: Path) -> None:
    for path in (None, str(tmp_path / "no such folder" / "file"), str(tmp_path)):
        for _ in range(2):
            turn = LockFile(path, 60)
            assert turn.take()
            turn.give()
            turn.close()


def test_a_planted_link_is_not_followed(tmp_path: Path) -> None:
    victim, link = tmp_path / "victim", tmp_path / "link"
    link.symlink_to(victim)
    assert LockFile(str(link), 60).take()
    assert not victim.exists()


def test_a_transaction_has_the_turn_and_gives_it_back(opened: Store, path: Path) -> None:
    with opened.atomic():
        assert is_taken(path)
        with opened.atomic():
            pass
        assert is_taken(path), "a savepoint is not its end"
    assert not is_taken(path)
    with pytest.raises(ZeroDivisionError), opened.atomic():
        raise ZeroDivisionError
    assert not is_taken(path)
    assert turn_file(path).stat().st_mode & 0o777 == 0o600


def test_reading_takes_no_turn(opened: Store, path: Path) -> None:
    opened.counts()
    turn_file(path).unlink(missing_ok=True)
    opened.database.close()
    with opened.database.transaction("DEFERRED"):
        opened.counts()
        assert not turn_file(path).exists()


def test_a_turn_that_nobody_gives_back_does_not_stop_a_writer(opened: Store, path: Path) -> None:
    """SQLite's lock is the authority: it is free, so the write succeeds, a little later."""
    rogue = LockFile(str(turn_file(path)), 0)
    assert rogue.take()
    ConfigEntry.write("key", 1)
    assert ConfigEntry.read("key") == 1
    rogue.close()


def test_a_lock_of_sqlites_that_is_not_given_back_is_busy(opened: Store, path: Path) -> None:
    foreign = sqlite3.connect(path, isolation_level=None)
    foreign.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreBusy):
        ConfigEntry.write("key", 1)
    assert not is_taken(path), "who failed to begin has given its turn back"
    rogue = LockFile(str(turn_file(path)), 0)
    assert rogue.take()
    with pytest.raises(StoreBusy):
        ConfigEntry.write("key", 1)
    wait = opened.database.execute_sql("PRAGMA busy_timeout").fetchone()
    assert wait == (200,), "its connection waits again"
    rogue.close()
    foreign.close()


def test_threads_take_turns(opened: Store, path: Path) -> None:
    def write(number: int) -> None:
        for value in range(20):
            ConfigEntry.write(f"thread {number}", value)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {ConfigEntry.read(f"thread {number}") for number in range(8)} == {19}


FORK = """
import os, sys, time
from dispatch_state import open_store
store = open_store(sys.argv[1], durability="normal")
with store.atomic():
    if os.fork() == 0:
        print(os.getpid(), flush=True)
    time.sleep(600)
"""


def test_a_forked_child_does_not_keep_its_dead_parents_turn(path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", FORK, str(path)], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        try:
            assert is_taken(path)
            parent.kill()
            parent.wait()
            assert not is_taken(path)
        finally:
            os.kill(child, signal.SIGKILL)
