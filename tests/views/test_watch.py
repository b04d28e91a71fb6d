"""`watch()`: every committed move comes once, in order, from whichever process; nothing else comes."""

from __future__ import annotations

import multiprocessing
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from dispatch_state import Agent, InvalidValue, Store, StoreNotOpen, TransitionLog, open_store
from dispatch_state.views import watch as watching
from tests.world import MAINTAINER, WHY, World

SPAWN = multiprocessing.get_context("spawn")
WRITERS, BLOCKS = 8, 25
HANG = 60.0
"""Seconds after which a watch that hears nothing is given up; nothing is judged by it."""


def numbers(moves: Any) -> list[int]:
    return [move.seq for move in moves]


def committed() -> list[int]:
    return numbers(TransitionLog.select().order_by(TransitionLog.seq))


class Refused(Exception):
    """An exception that rolls a block back."""


def test_moves_come_in_order_from_the_beginning(store: Store) -> None:
    World(store).issues("done")
    assert numbers(store.watch(after=0, timeout=0)) == committed()
    last = committed()[-1]
    assert numbers(store.watch(after=last - 2, timeout=0)) == [last - 1, last]
    assert not list(store.watch(after=last, timeout=0))


def test_a_long_log_comes_in_batches(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "BATCH", 3)
    for _ in range(10):
        Agent.create(agent_type="coder")
    assert numbers(store.watch(after=0, timeout=0)) == list(range(1, 11))


def test_from_now_on_means_from_the_call(store: Store) -> None:
    Agent.create(agent_type="coder")
    moves = store.watch(timeout=0)
    agent = Agent.create(agent_type="coder")
    assert [move.entity_id for move in moves] == [agent.id]


def test_the_thread_that_watches_may_move_rows(store: Store) -> None:
    told = []
    Agent.create(agent_type="coder")
    for move in store.watch(after=0, timeout=0):
        told.append(move.trigger)
        if len(told) < 3:
            Agent.create(agent_type="test").stop(by=MAINTAINER, reason=WHY)
    assert told == ["create", "create", "stop", "create", "stop"]


def test_what_was_rolled_back_never_comes(store: Store) -> None:
    with pytest.raises(Refused), store.atomic():
        Agent.create(agent_type="coder")
        raise Refused
    agent = Agent.create(agent_type="coder")
    assert [move.entity_id for move in store.watch(after=0, timeout=0)] == [agent.id]


def test_not_within_a_transaction(store: Store) -> None:
    moves = store.watch(after=0, timeout=0)
    with store.atomic(), pytest.raises(InvalidValue, match="a transaction is open in this thread"):
        Agent.create(agent_type="coder")
        next(moves)


@pytest.mark.parametrize("wrong", [-1.0, float("nan"), "1", True])
def test_wrong_timeouts(store: Store, wrong: Any) -> None:
    with pytest.raises(InvalidValue, match="timeout"):
        store.watch(timeout=wrong)


@pytest.mark.parametrize("wrong", [1.5, "1", True, 2**63])
def test_wrong_beginnings(store: Store, wrong: Any) -> None:
    with pytest.raises(InvalidValue, match="after"):
        store.watch(after=wrong)


def test_the_store_is_closed_meanwhile(store: Store) -> None:
    moves, told = store.watch(), []

    def wait() -> None:
        try:
            next(moves)
        except Exception as error:
            told.append(type(error))

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.1)  # long enough to be waiting; when it is not, it gets the same error
    store.close()
    thread.join(HANG)
    assert told == [StoreNotOpen]


class Waits:
    """A clock that only waiting moves; it records each wait."""

    def __init__(self) -> None:
        self.now = 0.0
        self.asked: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.asked.append(seconds)
        self.now += seconds

    @contextmanager
    def listening(self) -> Iterator[Callable[[float], None]]:
        yield self.sleep


def test_a_watcher_looks_every_half_second(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock stands still while the library works, so that the waits can be counted."""
    waits = Waits()
    monkeypatch.setattr(watching, "time", waits)
    monkeypatch.setattr(store.database, "listening", waits.listening)
    assert list(store.watch(timeout=2.2)) == []
    assert waits.asked == pytest.approx([0.5, 0.5, 0.5, 0.5, 0.2])
    assert waits.now == pytest.approx(2.2)


def make_agents(target: str, after: Any, count: int) -> None:
    with open_store(target, durability="normal"):
        after.wait(HANG)
        for _ in range(count):
            Agent.create(agent_type="coder")


def test_a_commit_of_another_process_is_heard(store: Store, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The regular look is put off, so only a notification can bring the move."""
    monkeypatch.setattr(watching, "POLL_INTERVAL", HANG)
    begin = SPAWN.Event()
    other = SPAWN.Process(target=make_agents, args=(target, begin, 1))
    other.start()
    moves, began = store.watch(timeout=HANG), time.monotonic()
    threading.Timer(0.2, begin.set).start()
    assert next(moves).trigger == "create"
    assert time.monotonic() - began < HANG
    other.join()
    assert other.exitcode == 0


def write(target: str, number: int) -> None:
    """Hold blocks of moves open for a while before they commit, and roll some back."""
    draw = random.Random(number)
    with open_store(target, durability="normal") as store:
        for _ in range(BLOCKS):
            try:
                with store.atomic():
                    for _ in range(draw.randint(1, 3)):
                        Agent.create(agent_type="coder").stop(by=MAINTAINER, reason=WHY)
                    time.sleep(draw.random() / 100)
                    if draw.random() < 0.2:
                        raise Refused
            except Refused:
                pass


def test_eight_writers_no_gap_no_repeat(store: Store, target: str) -> None:
    moves = store.watch(after=0, timeout=0)
    told = numbers(moves)
    writers = [SPAWN.Process(target=write, args=(target, number)) for number in range(WRITERS)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        told += numbers(store.watch(after=told[-1] if told else 0, timeout=0.05))
    told += numbers(store.watch(after=told[-1], timeout=0))
    assert [writer.exitcode for writer in writers] == [0] * WRITERS
    assert told == committed()
    assert len(told) >= WRITERS * BLOCKS


def test_watchers_leave_nothing_behind(store: Store) -> None:
    """A session that goes back to the pool no longer listens."""
    assert not list(store.watch(timeout=0))
    if store.database.kind == "postgresql":
        assert not store.database.execute_sql("SELECT pg_listening_channels()").fetchall()
