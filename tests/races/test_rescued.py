"""Workers that are declared dead while they are stopped: after they resume, they cannot change anything."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

import pytest

from dispatch_state import Agent, AgentLog, Issue, Store, StoreBusy, open_store
from dispatch_state.testing.outcomes import everything
from tests.invariants import broken
from tests.long_forms import LONG
from tests.races import sleepers
from tests.races.sleepers import Attempt
from tests.races.workers import Worker, crew, offer, wait_for
from tests.world import World

WAKINGS = 100 if LONG else 5
PATIENCE = 0.2
"""The heartbeat timeout and the wait for a lock, in seconds."""


@pytest.fixture
def world(target: str) -> Iterator[World]:
    """A world with the workers' own clock and a short wait for locks."""
    with open_store(target, durability="normal", timeout=PATIENCE) as store:
        yield World(store)


def surprises(attempts: list[Attempt]) -> list[Attempt]:
    """The attempts whose outcome is not among the allowed ones."""
    assert attempts
    return [(what, became, due) for what, became, due in attempts if became not in due]


def test_a_worker_that_resumes_changes_nothing(world: World, target: str) -> None:
    store = world.store
    world.running_epic({}).current_stage.add_issue(**world.issue_columns())
    with crew(1, sleepers.sleep_at_work, target) as [sleeper]:
        agent, issue = (model.get_by_id(key) for model, key in zip((Agent, Issue), sleeper.hear(), strict=True))
        sleeper.stop()
        wait_for(lambda: store.rescue(timeout=PATIENCE), "the sleeper is given up for dead")
        other = world.agent()
        assert store.claim(other) == issue
        issue.reload().start(by=other)
        before = everything()
        sleeper.say("wake up")
        sleeper.go_on()
        assert surprises(sleeper.hear()) == []
        assert everything() == before
        sleeper.say("come back")
        assert sleeper.hear() is None
    assert agent.reload().status == "idle"
    assert [line.message for line in agent.logs.order_by(AgentLog.id)][1:] == ["it was only asleep"]
    issue.pull_requests.get().close(by=other)
    issue.complete(by=other)
    assert issue.stage.epic.status == "awaiting_gate"
    assert broken(store) == []
    assert store.verify() == []


def test_a_worker_that_was_stopped_anywhere(world: World, target: str) -> None:
    """It is stopped between any two statements. While it holds locks, others wait for it and do not declare it dead."""
    chance = random.Random(11)
    with crew(1, sleepers.work_on, target) as [sleeper]:
        agent = Agent.get_by_id(sleeper.hear())
        for _ in range(WAKINGS):
            while not stopped_and_given_up(world.store, sleeper, agent, chance.uniform(0, 0.03)):
                sleeper.go_on()
            agent = woken(world, sleeper)
    assert broken(world.store) == []
    assert world.store.verify() == []


def stopped_and_given_up(store: Store, sleeper: Worker, agent: Agent, after: float) -> bool:
    """Stop a worker after a while; return whether it was declared dead, which takes work and no held lock."""
    time.sleep(after)
    sleeper.stop()
    try:
        while agent.reload().status in ("starting", "working"):
            store.rescue(timeout=PATIENCE / 10)
    except StoreBusy:
        return False
    return agent.status == "errored"


def woken(world: World, sleeper: Worker) -> Agent:
    """Let another agent take the work, then resume the worker; return the agent as which it begins again."""
    store, other = world.store, world.agent()
    issue = store.claim(other)
    assert issue is not None
    issue.start(by=other)
    before = everything()
    sleeper.go_on()
    assert surprises(sleeper.hear()) == []
    assert everything() == before
    issue.complete(by=other)
    sleeper.say("begin again")
    return Agent.get_by_id(sleeper.hear())


def test_a_worker_that_was_stopped_in_its_transaction_is_waited_for(world: World, target: str) -> None:
    """Nobody sees half of its work, nobody declares it dead, and it ends as if it had not been stopped."""
    store = world.store
    offer("t")
    with crew(1, sleepers.complete_slowly, target) as [sleeper]:
        issue = Issue.get_by_id(sleeper.hear())
        sleeper.stop()
        before = everything()
        assert issue.status == "in_progress"
        time.sleep(PATIENCE / 10)
        with pytest.raises(StoreBusy):
            store.rescue(timeout=PATIENCE / 10)
        assert everything() == before
        sleeper.go_on()
        sleeper.say("commit")
        assert sleeper.hear() == "committed"
    assert issue.reload().status == "done"
    assert store.rescue(timeout=PATIENCE / 10) == []
    assert broken(store) == []
