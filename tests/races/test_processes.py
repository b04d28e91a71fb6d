"""Processes that act on the same row: one of them wins, the others get an error, and nothing is lost."""

from __future__ import annotations

import multiprocessing
from collections import Counter
from multiprocessing.synchronize import Barrier
from typing import Any
from uuid import UUID

import pytest

from dispatch_state import (
    Agent,
    Decision,
    DispatchError,
    Gate,
    Issue,
    Proposal,
    StaleRow,
    Store,
    TransitionLog,
    Vote,
    open_store,
)
from tests.invariants import broken
from tests.world import MAINTAINER, WHY, World

SPAWN = multiprocessing.get_context("spawn")
PROCESSES = 4


def assign(agent: Agent, key: UUID, number: int) -> None:
    Issue.get_by_id(key).assign(agent, by=agent)


def decide(agent: Agent, key: UUID, number: int) -> None:
    gate = Gate.get_by_id(key)
    gate.approve(by=MAINTAINER) if number % 2 else gate.reject(by=MAINTAINER, reason=WHY)


def vote(agent: Agent, key: UUID, number: int) -> None:
    Proposal.get_by_id(key).vote(agent, "approve", WHY)


ACTS = {"assign": assign, "decide": decide, "vote": vote}


def work(target: str, act: str, keys: list[UUID], number: int, barrier: Barrier, line: Any) -> None:
    """Race at each row in turn; send each outcome, and any unexpected error."""
    outcomes: Counter[str] = Counter()
    with open_store(target, durability="normal"):
        for key in keys:
            agent = Agent.create(agent_type="coder")
            barrier.wait()
            try:
                ACTS[act](agent, key, number)
                outcomes["won"] += 1
            except DispatchError as error:
                outcomes[type(error).__name__] += 1
    line.put(outcomes)


def race(target: str, act: str, keys: list[UUID]) -> Counter[str]:
    """Count the outcomes of all processes."""
    barrier, line = SPAWN.Barrier(PROCESSES), SPAWN.Queue()
    args = [(target, act, keys, number, barrier, line) for number in range(PROCESSES)]
    workers = [SPAWN.Process(target=work, args=arguments) for arguments in args]
    for worker in workers:
        worker.start()
    outcomes = sum((line.get() for _ in workers), Counter())
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    return outcomes


def test_one_agent_gets_each_issue(store: Store, target: str) -> None:
    keys = [World(store).issues("queued").id for _ in range(20)]
    outcomes = race(target, "assign", keys)
    assert outcomes["won"] == len(keys)
    assert set(outcomes) <= {"won", "StaleRow", "IllegalTransition"}
    assert {issue.status for issue in Issue.select()} == {"assigned"}
    assert broken(store) == []


def test_one_person_decides_at_each_gate(store: Store, target: str) -> None:
    keys = [World(store).waiting_stage().gates.get().id for _ in range(10)]
    outcomes = race(target, "decide", keys)
    assert outcomes["won"] == len(keys) == Decision.select().count()
    moves = TransitionLog.select().where(
        TransitionLog.trigger.in_(["approve", "reject"]), TransitionLog.entity == "gates"
    )
    assert moves.count() == len(keys)
    assert broken(store) == []


def test_a_vote_is_counted_or_refused(store: Store, target: str) -> None:
    world = World(store)
    columns = {"threshold": "simple_majority", "required_voters": ["coder"]}
    keys = [world.new_proposal(**columns).id for _ in range(10)]
    outcomes = race(target, "vote", keys)
    assert set(outcomes) <= {"won", "IllegalTransition"}
    assert outcomes["won"] == Vote.select().count() == sum(len(d.outcome["votes"]) for d in Decision.select())
    assert Decision.select().count() == len(keys)
    assert broken(store) == []


def test_a_callers_rollback_meets_another_process(store: Store, target: str) -> None:
    """The object is one version ahead, at a version that the other process's move reaches."""
    issue = World(store).issues("queued")
    with pytest.raises(ZeroDivisionError), store.database.atomic():
        issue.dequeue(by=MAINTAINER)
        raise ZeroDivisionError
    assert race(target, "assign", [issue.id])["won"] == 1
    with pytest.raises(StaleRow):
        issue.queue(by=MAINTAINER)
    assert issue.reload().status == "assigned"
