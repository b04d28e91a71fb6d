"""Fifty forked children, sixteen threads that move the same rows, and a clock that jumps whenever it is read."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from datetime import datetime
from itertools import cycle, pairwise
from typing import Any

import pytest

from dispatch_state import (
    Agent,
    GuardRefused,
    IllegalTransition,
    Issue,
    Stage,
    StaleRow,
    Store,
    StoreBusy,
    TransitionLog,
    WrongProcess,
    open_store,
)
from dispatch_state.testing.scratch import Clock
from tests.forks import in_child
from tests.invariants import broken
from tests.store_uses import USES, Opened
from tests.threads import HANG, in_threads
from tests.world import MAINTAINER, MODELS, WHY, World

FORKS = 50
THREADS, MOVES = 16, 12


def test_fifty_forked_children(store: Store) -> None:
    """Each child is refused, even in the middle of its parent's block, and the parent goes on undisturbed."""
    world = World(store)
    here = Opened(store, world.agent(), world.new_issue())
    here.issue.title = "changed, and not saved"
    for number, use in zip(range(FORKS), cycle(USES.values()), strict=False):
        if number % 2:
            assert in_child(lambda use=use: use(here)) == WrongProcess.__name__  # type: ignore[misc]
            here.agent.log("info", f"{number}")
            continue
        with store.atomic():
            here.agent.log("info", f"{number}")
            assert in_child(lambda use=use: use(here)) == WrongProcess.__name__  # type: ignore[misc]
    assert [int(entry.message) for entry in here.agent.logs.order_by(here.agent.logs.model.id)] == list(range(FORKS))
    here.agent.stop(by=MAINTAINER, reason=WHY)
    assert store.verify() == []
    if store.database.kind == "sqlite":
        assert store.database.execute_sql("PRAGMA integrity_check").fetchall() == [("ok",)]


@pytest.mark.parametrize("backend", ["sqlite"])
def test_a_child_forked_while_a_thread_takes_its_turn(store: Store) -> None:
    """The thread does not exist in the child, so its lock is never released there."""
    turn, holds, done = store.database.connection().turn, threading.Event(), threading.Event()

    def hold() -> None:
        with turn._closing:
            holds.set()
            done.wait(HANG)

    thread = threading.Thread(target=hold)
    thread.start()
    holds.wait(HANG)
    try:
        child = os.fork()
        if not child:
            os._exit(0)
        ended = any(os.waitpid(child, os.WNOHANG)[0] or time.sleep(0.01) for _ in range(HANG * 100))
        if not ended:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        assert ended, "it waits for a lock that nobody gives back"
    finally:
        done.set()
        thread.join(HANG)


def test_sixteen_threads_move_the_same_rows(store: Store) -> None:
    """A late thread is refused and changes nothing; each move that was made is in the log once."""
    world = World(store)
    ids = [world.new_issue().id for _ in range(3)]
    before = TransitionLog.select().count()

    def moves_about(number: int) -> Counter[str]:
        chance, counted = random.Random(number), Counter[str]()
        agent = world.agent()
        for _ in range(MOVES):
            row = Issue.get_by_id(chance.choice(ids))
            trigger = chance.choice([*(t for t in row.legal_triggers() if t != "cancel"), "queue"])
            given: dict[str, Any] = {"agent": agent} if trigger == "assign" else {}
            try:
                made = getattr(row, trigger)(by=MAINTAINER, reason=WHY, **given)
                counted["moves"] += len(made)
            except (StaleRow, IllegalTransition, GuardRefused, StoreBusy) as refusal:  # busy: the rows kept changing
                counted[type(refusal).__name__] += 1
        return counted

    counted = sum(in_threads(THREADS, moves_about), Counter())
    assert TransitionLog.select().count() == before + THREADS + counted["moves"]  # with the creation of the agents
    assert counted["StaleRow"] > 0
    for row in Issue.select():
        assert [move.version for move in store.history(row)] == list(range(1, row.version + 1))
    assert broken(store) == []
    assert store.verify() == []


# ---- clocks ------------------------------------------------------------------------------------------


class Jumping(Clock):
    """A clock that goes back an hour or forward a day when it is read."""

    def __init__(self) -> None:
        super().__init__()
        self._chance = random.Random(0)

    def __call__(self) -> datetime:
        self.forward(**self._chance.choice([{"hours": -1}, {"days": 1}, {}, {"seconds": 1}]))
        return super().__call__()


IN_ORDER = {
    "epics": ("created_at", "completed_at", "updated_at"),
    "stages": ("created_at", "started_at", "completed_at"),
    "gates": ("created_at", "approved_at"),
    "issues": ("created_at", "assigned_at", "completed_at", "updated_at"),
    "pull_requests": ("created_at", "merged_at"),
    "agents": ("started_at", "completed_at"),
    "proposals": ("created_at", "resolved_at", "executed_at"),
}
"""The stamps of each table, in the order in which they happen. A heartbeat is not one of them."""


def test_a_clock_that_jumps(target: str) -> None:
    """No row ends before it began, in any table and status, and `seq` gives the order of the moves."""
    with open_store(target, durability="normal", clock=Jumping()) as store:
        world = World(store)
        for table, model in MODELS.items():
            assert set(IN_ORDER[table]) == set(model.moment_columns())
            for status in model.machine.states:
                world.at(table, str(status))
        for table, model in MODELS.items():
            for row in model.select():
                stamps = [stamp for column in IN_ORDER[table] if (stamp := getattr(row, column)) is not None]
                assert all(earlier <= later for earlier, later in pairwise(stamps)), f"{row}: {stamps}"
                assert [move.version for move in store.history(row)] == list(range(1, row.version + 1))
                assert getattr(row, "metrics", None) is None or row.counters()["avg_completion_time"] >= 0
        moves = store.changes(limit=100_000)
        assert any(later.created_at < earlier.created_at for earlier, later in pairwise(moves)), "it did jump back"
        assert store.verify() == []


def test_a_clock_that_jumps_while_agents_send_heartbeats(target: str, clock: Clock) -> None:
    """Jumps by less than the timeout: agents with heartbeats are spared, silent ones are not."""
    with open_store(target, durability="normal", clock=clock) as store:
        world = World(store)
        living, silent = ([world.issues("in_progress").assigned_agent for _ in range(3)] for _ in range(2))
        for hours in (-1, 1, -1, 1):
            clock.forward(hours=hours)
            assert store.rescue(timeout=7200) == []
            for agent in living:
                last = agent.last_heartbeat
                agent.heartbeat()
                assert agent.last_heartbeat >= last, "a heartbeat never goes back"
        clock.forward(days=2)
        for agent in living:
            agent.heartbeat()
        failed = {move.id for move in store.rescue(timeout=120) if move.trigger == "fail"}
        assert failed == {agent.id for agent in silent}
        assert {Agent.get_by_id(agent.id).status for agent in living} == {"working"}
        assert store.verify() == []


def test_after_a_clock_stepped_back_no_row_ends_before_it_began(store: Store, clock: Clock) -> None:
    """The clock steps back by an hour in the middle of the work, and by a day in the middle of an epic."""
    world = World(store)
    issue, agent = world.issues("queued"), world.agent()
    issue.assign(agent, by=agent)
    clock.forward(hours=-1)
    issue.start(by=agent)
    agent.reload().heartbeat()
    issue.title = "Another title"
    issue.save()
    issue.complete(by=agent)
    issue.reload()
    assert issue.created_at <= issue.assigned_at <= issue.completed_at <= issue.updated_at
    assert agent.reload().metrics["avg_completion_time"] == 0
    assert [move.trigger for move in store.history(issue)] == ["create", "queue", "assign", "start", "complete"]
    epic = world.running_epic()
    clock.forward(days=-1)
    stage = epic.stages.order_by(Stage.stage_order).first()
    stage.finish(by=MAINTAINER)
    assert stage.reload().created_at <= stage.started_at <= stage.completed_at
    assert store.verify() == []


def test_a_clock_that_steps_forward_spares_agents_with_heartbeats(store: Store, clock: Clock) -> None:
    world = World(store)
    living, dead = (world.at("issues", "in_progress").assigned_agent for _ in range(2))
    clock.forward(days=1)
    living.heartbeat()
    assert {move.id for move in store.rescue(timeout=120) if move.trigger == "fail"} == {dead.id}
    assert living.reload().status == "working"
