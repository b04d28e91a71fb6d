"""The write queue: writers take turns, a turn ends with its transaction, and the queue never stops a write for good."""

from __future__ import annotations

import errno
import fcntl
import math
import os
import signal
import sqlite3
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from dispatch_state import ConfigEntry, Store, StoreBusy, open_store
from dispatch_state.storage import write_queue
from dispatch_state.storage.write_queue import FIRST_POLL, LONGEST_STREAK, LOST_AFTER, PATIENCE, STREAK_GAP, WriteQueue
from tests.threads import in_thread


@pytest.fixture
def opened(file: Path) -> Iterator[Store]:
    with open_store(file, durability="normal", timeout=0.2) as store:
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


class Moments:
    """A clock that only sleeping moves.

    meanwhile: called with the end of each sleep; it does what other writers do until then.

    """

    def __init__(self) -> None:
        self.now = 1000.0
        self.meanwhile: Callable[[float], object] = lambda until: None

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        until = self.now + seconds
        self.meanwhile(until)
        self.now = until


@pytest.fixture
def moments(monkeypatch: pytest.MonkeyPatch) -> Moments:
    moments = Moments()
    monkeypatch.setattr(write_queue, "time", moments)
    return moments


@pytest.fixture
def places(file: Path) -> Iterator[list[WriteQueue]]:
    """Four writers' places in one queue."""
    places = [WriteQueue(str(file), 1) for _ in range(4)]
    yield places
    for place in places:
        place.close()


def test_one_writer_has_the_turn_until_it_gives_it_back(places: list[WriteQueue], moments: Moments) -> None:
    first, second, *_ = places
    assert first.take()
    assert first.take(), "who has the turn has it still"
    assert not second.take()
    first.give_back()
    assert second.take()
    second.close()
    assert first.take(), "closing ends the turn"


def test_a_waiting_writer_gives_up_at_its_timeout(places: list[WriteQueue], moments: Moments) -> None:
    first, second, *_ = places
    assert first.take()
    assert not second.wait()
    assert 1 <= moments.now - 1000 < 1.01


@pytest.mark.parametrize("long", [0, 2 * STREAK_GAP])
def test_who_has_the_turn_goes_on_for_a_while(places: list[WriteQueue], moments: Moments, long: float) -> None:
    """And then whoever waits is next, though the other one asks at once."""
    busy, patient, newcomer, _ = places
    turns = []

    def goes_on(until: float) -> None:
        while moments.now < until and busy.take():
            turns.append(moments.now)
            moments.now += STREAK_GAP / 10
            busy.give_back()

    goes_on(moments.now + STREAK_GAP)
    assert busy.take()
    assert not patient.take()
    moments.meanwhile = goes_on
    assert patient.wait()
    assert turns[-1] - turns[0] == pytest.approx(LONGEST_STREAK, abs=2 * STREAK_GAP)
    assert max(later - earlier for earlier, later in pairwise(turns)) < STREAK_GAP
    assert not busy.take()
    moments.now += long
    patient.give_back()
    assert busy.wait(), "it is served again, behind the other one"
    assert patient._is_first(moments.now, moments.now)
    busy.give_back()
    moments.now += STREAK_GAP / 2
    assert not newcomer.take(), "and goes on"


def test_nobody_takes_the_turn_between_two_transactions_of_a_busy_writer(
    places: list[WriteQueue], moments: Moments
) -> None:
    busy, patient, newcomer, _ = places
    assert busy.take()
    busy.give_back()
    assert busy.take()
    assert not patient.take()
    assert patient._is_first(moments.now, moments.now)  # and it waits
    busy.give_back()
    moments.now += STREAK_GAP / 2
    assert not patient.take()
    assert not newcomer.take()
    assert busy.take()
    busy.give_back()
    moments.now += 2 * STREAK_GAP  # it does something else
    assert newcomer.take()


def test_the_turn_is_not_kept_for_a_writer_that_took_it_once(places: list[WriteQueue], moments: Moments) -> None:
    """Otherwise writers that write now and then would wait for each other for nothing."""
    single, patient, *_ = places
    assert single.take()
    assert not patient.take()
    moments.meanwhile = lambda until: single.give_back()
    assert patient.wait()
    assert moments.now == 1000 + FIRST_POLL, "at its next look"


def test_a_writer_that_gives_up_leaves_the_queue(places: list[WriteQueue], moments: Moments) -> None:
    busy, hasty, patient, _ = places
    assert busy.take()
    assert not hasty.wait()
    assert patient._is_first(moments.now, moments.now)


def test_first_come_first_served(places: list[WriteQueue], moments: Moments) -> None:
    busy, *queue = places
    arrivals = [moments.now + place for place in range(3)]
    assert busy.take()
    assert not any(place.take() for place in queue)
    moments.now += 10
    for _ in range(2):  # in whatever order they look
        looks = [
            place._is_first(arrived, moments.now) for place, arrived in zip(queue[::-1], arrivals[::-1], strict=True)
        ]
    assert looks == [False, False, True]
    moments.now += 2 * LOST_AFTER  # the first one was killed
    assert queue[2]._is_first(arrivals[2], moments.now)
    assert queue[1]._is_first(arrivals[1], moments.now), "who came before it and looked later"
    assert not queue[2]._is_first(arrivals[2], moments.now)


def test_a_writer_that_is_served_leaves_the_queue(places: list[WriteQueue], moments: Moments) -> None:
    busy, served, other, _ = places
    assert busy.take()
    assert not served.take()
    assert not other.take()
    moments.meanwhile = lambda until: busy.close()
    assert served.wait()
    assert other._is_first(moments.now, moments.now)


@pytest.fixture
def stranger(file: Path) -> Iterator[Callable[[], None]]:
    """Another program that holds the lock of the queue's file until this is called."""
    turn = turn_file(file).open("w")
    fcntl.flock(turn, fcntl.LOCK_EX)
    yield turn.close
    turn.close()


def test_a_lock_under_which_nobody_writes_is_waited_for_once(
    file: Path, moments: Moments, stranger: Callable[[], None]
) -> None:
    """By all connections of a store together, until it has been free again."""
    state = write_queue.QueueState()
    one, other = [WriteQueue(str(turn_file(file)), 30, lambda: True, state) for _ in range(2)]

    def waited(place: WriteQueue) -> float:
        began = moments.now
        assert place.take() or place.wait()
        place.give_back()
        return moments.now - began

    assert waited(one) == pytest.approx(PATIENCE, abs=2 * FIRST_POLL)
    assert [waited(place) for place in (one, other, one)] == [0, 0, 0]
    stranger()
    assert waited(other) == 0
    assert not state.held_by_another
    with turn_file(file).open() as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        assert waited(one) == pytest.approx(PATIENCE, abs=2 * FIRST_POLL)
    for place in (one, other):
        place.close()


def test_a_writer_that_really_writes_is_waited_for(file: Path, moments: Moments, places: list[WriteQueue]) -> None:
    """As long as the timeout allows; then the waiting writer gets its turn."""
    busy, *_ = places
    state = write_queue.QueueState()
    patient = WriteQueue(str(file), 30, lambda: False, state)
    assert busy.take()
    assert not patient.wait()
    assert moments.now - 1000 == pytest.approx(30, abs=0.1)
    moments.meanwhile = lambda until: busy.give_back() if until > 1050 else None
    assert patient.wait()
    assert patient._has_turn
    assert not state.held_by_another
    patient.close()


def test_only_the_first_in_the_queue_looks_at_sqlites_lock(
    file: Path, moments: Moments, places: list[WriteQueue]
) -> None:
    """And not as soon as it is first: otherwise a long queue would be taken for another program's lock."""
    busy, first, *_ = places
    asked: list[float] = []
    state = write_queue.QueueState()
    second = WriteQueue(str(file), 1, lambda: bool(asked.append(moments.now)), state)
    assert busy.take()
    assert not first.take()
    moments.meanwhile = lambda until: first._is_first(0, until) if until < 1000.5 else None
    assert not second.wait()
    assert min(asked) > 1000.5 + PATIENCE
    state.held_by_another = True  # then it asks at once, but as the first only
    asked.clear()
    began = moments.now
    moments.meanwhile = lambda until: first._is_first(0, until)
    assert first._is_first(0, began)
    assert not second.wait()
    assert asked == []
    second.close()


SAID = {
    "nothing": b"",
    "too little": b"short",
    "zeros": bytes(24),
    "no numbers": b"\xff" * 24,
    "text": b"text of somebody else, and more of it",
    "the future": struct.pack("<3d", 1e9, 0, 1e9),
    "the end of time": struct.pack("<3d", math.inf, -math.inf, math.inf),
}


@pytest.mark.parametrize("said", SAID.values(), ids=SAID)
def test_nonsense_in_the_file_stops_nobody(places: list[WriteQueue], moments: Moments, file: Path, said: bytes) -> None:
    file.write_bytes(said)
    first, second, *_ = places
    assert first.take()
    assert not second.wait()
    first.give_back()
    moments.now += 2 * LOST_AFTER
    assert second.wait()
    second.give_back()
    assert first.take() or first.wait()


def test_a_file_system_without_locks_stops_nobody(places: list[WriteQueue], monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", unknown)
    for place in places:
        assert place.take()
        place.give_back()
        assert place.take()


def test_a_full_disk_stops_nobody(places: list[WriteQueue], moments: Moments, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    monkeypatch.setattr(os, "pread", full)
    first, second, *_ = places
    assert first.take()
    moments.meanwhile = lambda until: first.give_back()
    assert second.wait()


def test_without_a_file_there_are_no_turns(tmp_path: Path) -> None:
    for path in (None, str(tmp_path / "no such folder" / "file"), str(tmp_path)):
        for _ in range(2):
            turn = WriteQueue(path, 60)
            assert turn.take()
            turn.give_back()
            turn.close()


def test_a_planted_link_is_not_followed(tmp_path: Path) -> None:
    victim, link = tmp_path / "victim", tmp_path / "link"
    link.symlink_to(victim)
    assert WriteQueue(str(link), 60).take()
    assert not victim.exists()


def test_a_transaction_has_the_turn_and_gives_it_back(opened: Store, file: Path) -> None:
    with opened.atomic():
        assert is_taken(file)
        with opened.atomic():
            pass
        assert is_taken(file), "a savepoint is not its end"
    assert not is_taken(file)
    with pytest.raises(ZeroDivisionError), opened.atomic():
        raise ZeroDivisionError
    assert not is_taken(file)
    assert turn_file(file).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("way", ["link.db", "chain.db", "folder/dispatch.db", "folder/link.db"])
def test_a_store_behind_links_has_the_queue_of_its_file(file: Path, way: str) -> None:
    """SQLite, too, keeps its other files beside the real file and not beside a link."""
    open_store(file).close()
    (file.parent / "link.db").symlink_to(file)
    (file.parent / "chain.db").symlink_to("link.db")
    (file.parent / "elsewhere").mkdir()
    (file.parent / "elsewhere" / "folder").symlink_to(file.parent)
    linked = file.parent / ("elsewhere" if "/" in way else "") / way
    with open_store(linked, timeout=0.2) as store:
        with store.atomic():
            ConfigEntry.write("key", 1)
            assert is_taken(file)
        assert not is_taken(file)
        assert {file.name for file in file.parent.iterdir() if file.name.endswith("-turn")} == {"dispatch.db-turn"}
        assert {file.name for file in file.parent.iterdir() if file.name.endswith("-wal")} == {"dispatch.db-wal"}


def test_reading_takes_no_turn(opened: Store, file: Path) -> None:
    opened.counts()
    turn_file(file).unlink(missing_ok=True)
    opened.database.close()
    with opened.database.transaction("DEFERRED"):
        opened.counts()
        assert not turn_file(file).exists()


def test_a_turn_that_nobody_gives_back_does_not_stop_a_writer(opened: Store, file: Path) -> None:
    """SQLite's own lock decides. It is free, so the write succeeds a little later."""
    rogue = WriteQueue(str(turn_file(file)), 0)
    assert rogue.take()
    ConfigEntry.write("key", 1)
    assert ConfigEntry.read("key") == 1
    rogue.close()


def test_writing_while_another_program_holds_the_lock(
    file: Path, moments: Moments, stranger: Callable[[], None]
) -> None:
    """The store waits once for all its threads, not for the whole timeout, and then writes."""
    with open_store(file, durability="normal") as store:
        began = moments.now
        for number in range(20):
            in_thread(lambda: ConfigEntry.write("key", number))  # noqa: B023 - it has ended when the next one begins
            ConfigEntry.write("key", -number)
        assert moments.now - began == 0, "it was waited for when the store was opened"
        assert moments.now - 1000 == pytest.approx(PATIENCE, abs=2 * FIRST_POLL)
        assert ConfigEntry.read("key") == -19
        assert store.database.execute_sql("PRAGMA busy_timeout").fetchone() == (30_000,)
        stranger()
        with store.atomic():
            assert is_taken(file), "its own turns again"


def test_looking_at_sqlites_lock_leaves_it_as_it_was(opened: Store, file: Path) -> None:
    connection = opened.database.connection()
    foreign = sqlite3.connect(file, isolation_level=None)
    assert connection.nobody_writes()
    foreign.execute("BEGIN IMMEDIATE")
    assert not connection.nobody_writes()
    foreign.execute("ROLLBACK")
    assert connection.nobody_writes()
    assert not connection.in_transaction
    foreign.execute("BEGIN IMMEDIATE")
    foreign.close()
    assert opened.database.execute_sql("PRAGMA busy_timeout").fetchone() == (200,)


def test_an_open_query_is_reported_while_another_program_holds_the_lock(
    moments: Moments, opened: Store, file: Path
) -> None:
    for number in range(3):
        ConfigEntry.write(f"key {number}", number)
    reading = opened.database.connection().execute(f"SELECT * FROM {ConfigEntry._meta.table_name}")
    reading.fetchone()
    in_thread(lambda: ConfigEntry.write("key", 1))
    with turn_file(file).open() as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        began = moments.now
        with pytest.raises(StoreBusy, match="still being read"):
            ConfigEntry.write("key", 2)
        assert moments.now - began == pytest.approx(PATIENCE, abs=2 * FIRST_POLL), "and at once"
    reading.close()


def test_a_lock_of_sqlites_that_is_not_given_back_is_busy(opened: Store, file: Path) -> None:
    foreign = sqlite3.connect(file, isolation_level=None)
    foreign.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreBusy):
        ConfigEntry.write("key", 1)
    assert not is_taken(file), "who failed to begin has given its turn back"
    rogue = WriteQueue(str(turn_file(file)), 0)
    assert rogue.take()
    with pytest.raises(StoreBusy):
        ConfigEntry.write("key", 1)
    wait = opened.database.execute_sql("PRAGMA busy_timeout").fetchone()
    assert wait == (200,), "its connection waits again"
    rogue.close()
    foreign.close()


def test_threads_take_turns(opened: Store, file: Path) -> None:
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


def test_a_forked_child_does_not_keep_its_dead_parents_turn(file: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", FORK, str(file)], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        try:
            assert is_taken(file)
            parent.kill()
            parent.wait()
            assert not is_taken(file)
        finally:
            os.kill(child, signal.SIGKILL)
