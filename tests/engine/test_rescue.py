"""Rescue and ticks: silent agents, sessions that are over, and rows that cannot be read."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from dispatch_state import GuardRefused, InvalidValue, Issue, StaleRow, Store, StoreError
from dispatch_state.engine import maintenance
from dispatch_state.testing.scratch import Clock
from tests.invariants import broken
from tests.world import MAINTAINER, RUNNER, WHY, World, queued


def test_rescue_marks_silent_agents_as_errored_and_leaves_the_rest(world: World, store: Store, clock: Clock) -> None:
    """Agents that wait for input or are paused send no heartbeats and are left alone."""
    silent, living = (world.start(world.new_issue()) for _ in range(2))
    waiting, paused = world.at("agents", "waiting_for_input"), world.at("agents", "paused")
    clock.forward(seconds=120)
    assert store.rescue() == []
    clock.forward(seconds=1)
    living.heartbeat()
    moves = store.rescue()
    assert [(move.entity, move.trigger) for move in moves] == [("agents", "fail"), ("issues", "release")]
    assert moves[0].id == silent.id
    assert store.history(silent)[-1].actor == "system:rescue"
    assert {living.reload().status, waiting.reload().status, paused.reload().status} == {
        "working", "waiting_for_input", "paused",
    }  # fmt: skip
    assert store.rescue() == []


def test_an_agent_that_sends_a_heartbeat_during_a_rescue_is_spared(
    world: World, store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = world.start(world.new_issue())
    clock.forward(seconds=121)
    silent = maintenance.silent_at_work

    def heartbeat_meanwhile(since: datetime, until: datetime) -> list[Any]:
        found = silent(since, until)
        assert found
        agent.heartbeat()
        return found

    monkeypatch.setattr(maintenance, "silent_at_work", heartbeat_meanwhile)
    assert store.rescue() == []
    assert agent.reload().status == "working"


def test_a_rescued_worker_can_change_nothing(world: World, store: Store, clock: Clock) -> None:
    """Its issue has gone to another agent, and each of its own calls is refused."""
    issue = world.issues("in_progress")
    worker = issue.assigned_agent
    mine = Issue.get_by_id(issue.id)
    clock.forward(minutes=5)
    store.rescue()
    other = world.agent()
    assert store.claim(other) == issue
    for write in (
        lambda: mine.complete(by=worker),
        lambda: mine.submit(by=worker),
        lambda: mine.block(by=worker, reason=WHY),
        lambda: worker.heartbeat(),
        lambda: worker.use_tokens(1),
        lambda: store.claim(worker),
        lambda: worker.finish(by=worker),
    ):
        with pytest.raises((GuardRefused, StaleRow)):
            write()
    assert (issue.reload().status, issue.assigned_agent_id) == ("assigned", other.id)


def test_rescue_blocks_an_issue_after_too_many_attempts(world: World, store: Store, clock: Clock) -> None:
    issue = world.new_issue()
    issue.queue(by=RUNNER)
    for _ in range(3):
        agent = world.agent()
        store.claim(agent)
        issue.reload().start(by=agent)
        clock.forward(minutes=5)
        store.rescue(max_attempts=3)
    assert issue.reload().status == "blocked"


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), 1e300, "120", True, None])
def test_bad_timeouts(store: Store, timeout: Any) -> None:
    with pytest.raises(InvalidValue, match="timeout"):
        store.rescue(timeout=timeout)


def test_the_longest_silence_is_looked_at_first(world: World, store: Store, clock: Clock) -> None:
    """An agent whose heartbeat lies in the future comes last."""
    agents = []
    for _ in range(3):
        agents.append(world.start(world.new_issue()))
        clock.forward(minutes=5)
    clock.forward(days=3650)
    agents[0].heartbeat()
    clock.forward(days=-3650)
    failed = [move.id for move in store.rescue() if move.trigger == "fail"]
    assert failed == [agent.id for agent in (agents[1], agents[2], agents[0])]
    assert "120 s ahead" in str(store.history(agents[0])[-1].reason)
    assert "for more than 120 s" in str(store.history(agents[1])[-1].reason)


def test_a_heartbeat_slightly_in_the_future_counts(world: World, store: Store, clock: Clock) -> None:
    """By no more than the timeout: clocks differ a little."""
    agent = world.start(world.new_issue())
    clock.forward(seconds=120)
    agent.heartbeat()
    clock.forward(seconds=-120)
    assert store.rescue() == []
    clock.forward(seconds=-1)
    assert [move.trigger for move in store.rescue()] == ["fail", "release"]


def test_a_heartbeat_of_a_clock_that_was_ahead_is_forgotten(world: World, store: Store, clock: Clock) -> None:
    """The agent's next move stamps the present time, and no other stamp follows the wrong clock."""
    issue = world.start(world.new_issue()).current_issue
    agent = issue.assigned_agent
    clock.forward(days=3650)
    agent.heartbeat()
    clock.forward(days=-3650)
    issue.complete(by=agent)
    assert (agent.last_heartbeat, issue.completed_at, issue.updated_at) == (clock.now, clock.now, clock.now)
    clock.forward(days=3650)
    agent.heartbeat()
    clock.forward(days=-3650)
    queued(world, clock)
    store.claim(agent)
    assert agent.last_heartbeat == clock.now
    clock.forward(days=3650)
    agent.heartbeat()
    clock.forward(days=-3650)
    agent.stop(by=agent, reason=WHY)
    assert agent.completed_at == clock.now


@pytest.mark.parametrize("status", ["idle", "errored"])
def test_rescue_stops_sessions_that_are_over(world: World, store: Store, clock: Clock, status: str) -> None:
    """Only with `idle_timeout`, and not while an issue that the agent wrote is still in review."""
    over, alive = world.agents(status), world.agents(status)
    reviewed = world.issues("awaiting_review")
    named = reviewed.assigned_agent
    clock.forward(seconds=3600)
    assert store.rescue(idle_timeout=3600) == []
    clock.forward(seconds=1)
    if status == "idle":
        store.claim(alive)
    else:
        alive.recover(by=alive)
    assert store.rescue() == []
    moves = store.rescue(idle_timeout=3600)
    assert {move.trigger for move in moves} == {"stop"}
    assert over.id in {move.id for move in moves}
    assert over.reload().status == "completed"
    assert store.history(over)[-1].actor == "system:rescue"
    assert (alive.reload().status, named.reload().status) == ("idle", "idle")
    reviewed.cancel(by=MAINTAINER, reason=WHY)
    clock.forward(seconds=3601)
    assert named.id in {move.id for move in store.rescue(idle_timeout=3600)}
    assert broken(store) == []


def test_a_rescue_moves_each_agent_once(world: World, store: Store, clock: Clock) -> None:
    """It does not stop an agent that it has just marked as errored."""
    agent = world.start(world.new_issue())
    clock.forward(days=1)
    assert [move.trigger for move in store.rescue(idle_timeout=60)] == ["fail", "release"]
    assert [move.trigger for move in store.rescue(idle_timeout=60)] == ["stop"]
    assert agent.reload().status == "completed"


def test_an_agent_that_is_given_work_during_a_rescue_is_not_stopped(
    world: World, store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither is one whose issue is in review by then."""
    agents = [world.agent() for _ in range(3)]
    issues = [world.new_issue() for _ in range(2)]
    clock.forward(days=1)
    silent = maintenance.silent_at_rest

    def given_work(since: datetime, until: datetime) -> list[Any]:
        found = silent(since, until)
        assert len(found) == 3
        clock.forward(days=-1)
        world.start(issues[0], agents[0])
        world.start(issues[1], agents[1])
        issues[1].submit(by=agents[1])
        clock.forward(days=1)
        return found

    monkeypatch.setattr(maintenance, "silent_at_rest", given_work)
    assert [move.id for move in store.rescue(idle_timeout=60)] == [agents[2].id]


def spoil(store: Store, table: str, column: str, value: str, rows: list[Any]) -> None:
    """Write a value that the column cannot hold, past the database's own trigger."""
    trigger = f"dispatch_{table}_update" if store.database.kind == "sqlite" else f"dispatch_{table} ON {table}"
    store.database.execute_sql(f"DROP TRIGGER {trigger}")
    for row in rows:
        store.database.execute_sql(f"UPDATE {table} SET {column} = '{value}' WHERE id = '{row.id}'")


def test_an_agent_that_cannot_be_read_keeps_no_other_from_rescue(world: World, store: Store, clock: Clock) -> None:
    """All other agents are rescued and committed; then the first error is raised."""
    agents = []
    for _ in range(4):
        agents.append(world.start(world.new_issue()))
        clock.forward(seconds=1)
    clock.forward(minutes=5)
    value, message = UNREADABLE[store.database.kind]
    spoil(store, "agents", "started_at", value, agents[:2])
    with pytest.raises(StoreError, match=message) as raised:
        store.rescue()
    assert raised.value.__notes__ == ["besides this one 1 could not be moved; 4 moves were made"]
    assert [agent.reload().status for agent in agents[2:]] == ["errored"] * 2
    assert Issue.select().where(Issue.status == "queued").count() == 2


UNREADABLE = {
    "sqlite": ("yesterday", "the stored value is not one it can hold"),
    "postgresql": ("0044-03-15 00:00:00+00 BC", "before year 1"),
}
"""By the kind of database: a time that Python cannot read, and the message about it."""


def test_a_row_that_cannot_be_read_keeps_no_other_from_its_tick(world: World, store: Store, clock: Clock) -> None:
    stages = [
        world.waiting_stage({"gate_type": "checkpoint", "auto_approve_at": clock.now + timedelta(minutes=minute)})
        for minute in range(2)
    ]
    proposal = world.new_proposal(voting_deadline=clock.now)
    clock.forward(hours=1)
    value, message = UNREADABLE[store.database.kind]
    spoil(store, "gates", "created_at", value, [stages[0].gates.get()])
    with pytest.raises(StoreError, match=message):
        store.tick()
    assert (stages[1].reload().status, proposal.reload().status) == ("approved", "rejected")


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), "120", True])
def test_bad_idle_timeouts(store: Store, timeout: Any) -> None:
    with pytest.raises(InvalidValue, match="idle_timeout"):
        store.rescue(idle_timeout=timeout)
