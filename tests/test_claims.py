"""Claims: the right issue, atomically, at a cost that does not grow."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from dispatch_state import Agent, GuardRefused, InvalidValue, Issue, RowNotFound, StaleRow, Store, upkeep
from dispatch_state.claims import LOOK, _candidates
from tests.conftest import Clock
from tests.invariants import broken
from tests.world import MAINTAINER, RUNNER, WHY, World


@pytest.fixture
def world(store: Store) -> World:
    return World(store)


def queued(world: World, clock: Clock, **columns: Any) -> Issue:
    clock.forward(seconds=1)
    issue = world.new_issue(**columns)
    issue.queue(by=MAINTAINER)
    return issue


def test_the_order_is_the_seeds(world: World, store: Store, clock: Clock) -> None:
    made = {
        name: queued(world, clock, priority=name.split()[0])
        for name in ("low", "high 1", "critical", "high 2", "medium")
    }
    claimed = [store.claim(world.agent()) for _ in range(5)]
    assert claimed == [made[name] for name in ("critical", "high 1", "high 2", "medium", "low")]
    assert store.claim(world.agent()) is None
    assert broken(store) == []


def test_an_agent_takes_what_is_for_its_type_or_for_anybody(world: World, store: Store, clock: Clock) -> None:
    queued(world, clock, agent_type="docs", priority="critical")
    anybody, own = queued(world, clock), queued(world, clock, agent_type="coder", priority="high")
    assert [store.claim(world.agent()) for _ in range(3)] == [own, anybody, None]


def test_filters(world: World, store: Store, clock: Clock) -> None:
    queued(world, clock, priority="critical")
    wanted = queued(world, clock, repo_path="/other", issue_type="bug")
    assert store.claim(world.agent(), repo_path="/nowhere") is None
    assert store.claim(world.agent(), issue_type="docs") is None
    assert store.claim(world.agent(), repo_path="/other", issue_type="bug") == wanted


def test_what_assign_would_refuse_is_left(world: World, store: Store, clock: Clock) -> None:
    """A queued issue of an epic that waits at a gate."""
    stage = world.running_epic({}).current_stage
    loose = stage.epic.add_issue(**world.issue_columns())
    loose.queue(by=MAINTAINER)
    world.finish(stage.add_issue(**world.issue_columns()).reload())
    assert stage.epic.reload().status == "awaiting_gate"
    assert store.claim(world.agent()) is None
    stage.gates.get().approve(by=MAINTAINER)
    assert store.claim(world.agent()) == loose


def test_a_claim_brings_agent_and_issue_up_to_date(world: World, store: Store, clock: Clock) -> None:
    queued(world, clock)
    agent = world.agent()
    clock.forward(minutes=1)
    issue = store.claim(agent)
    assert issue is not None
    assert (issue.status, issue.assigned_agent_id, agent.status, agent.last_heartbeat) == (
        "assigned", agent.id, "starting", clock.now,
    )  # fmt: skip
    assert dict(issue.__data__) == dict(Issue.get_by_id(issue.id).__data__)
    issue.start(by=agent)


def test_claiming_again_gives_the_issue_back(world: World, store: Store, clock: Clock) -> None:
    queued(world, clock)
    queued(world, clock)
    agent = world.agent()
    issue = store.claim(agent)
    clock.forward(minutes=1)
    seen = len(store.changes())
    assert store.claim(Agent.get_by_id(agent.id)) == issue
    assert len(store.changes()) == seen
    assert agent.reload().last_heartbeat == clock.now


def test_a_reviewer_is_busy(world: World, store: Store, clock: Clock) -> None:
    queued(world, clock)
    assert store.claim(world.at("agents", "working")) is None


@pytest.mark.parametrize("status", ["errored", "completed"])
def test_the_dead_claim_nothing(world: World, store: Store, clock: Clock, status: str) -> None:
    issue = queued(world, clock)
    with pytest.raises(GuardRefused, match=status):
        store.claim(world.agents(status))
    assert issue.reload().status == "queued"


def test_bad_claims(world: World, store: Store) -> None:
    agent = world.agent()
    for call in (
        lambda: store.claim("agent"),  # type: ignore[arg-type]
        lambda: store.claim(agent, issue_type="nonsense"),
        lambda: store.claim(agent, repo_path=""),
        lambda: store.claim(agent, repo_path=5),  # type: ignore[arg-type]
    ):
        with pytest.raises(InvalidValue):
            call()
    with pytest.raises(RowNotFound):
        store.claim(Agent(agent_type="coder"))


def test_the_plan_reads_the_index_in_order(world: World, store: Store) -> None:
    """No scan, and no sorting, whatever the size of the table."""
    sql, bound = _candidates((), LOOK).prepared(store.database.kind)
    parameters = bound("coder")
    if store.database.kind == "sqlite":
        plan = [row[3] for row in store.database.execute_sql(f"EXPLAIN QUERY PLAN {sql}", parameters)]
        assert "USING INDEX idx_issues_claim (status=? AND <expr>=?)" in plan[0]
        assert not [line for line in plan if "TEMP B-TREE" in line or "SCAN" in line]
        return
    store.database.execute_sql("SET enable_seqscan = off")
    plan = [row[0] for row in store.database.execute_sql(f"EXPLAIN {sql}", parameters)]
    store.database.execute_sql("RESET enable_seqscan")
    assert any("idx_issues_claim" in line for line in plan)
    assert not [line for line in plan if "Sort Key" in line]


# ---- rescue ------------------------------------------------------------------------------------------


def test_rescue_fails_the_silent_and_leaves_the_rest(world: World, store: Store, clock: Clock) -> None:
    silent, beating = (world.start(world.new_issue()) for _ in range(2))
    waiting, paused = world.at("agents", "waiting_for_input"), world.at("agents", "paused")
    clock.forward(seconds=120)
    assert store.rescue() == []
    clock.forward(seconds=1)
    beating.heartbeat()
    moves = store.rescue()
    assert [(move.entity, move.trigger) for move in moves] == [("agents", "fail"), ("issues", "release")]
    assert moves[0].id == silent.id
    assert store.history(silent)[-1].actor == "system:rescue"
    assert {beating.reload().status, waiting.reload().status, paused.reload().status} == {
        "working", "waiting_for_input", "paused",
    }  # fmt: skip
    assert store.rescue() == []


def test_who_beats_while_rescue_is_on_its_way_is_spared(
    world: World, store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = world.start(world.new_issue())
    clock.forward(seconds=121)
    silent = upkeep.silent_agents

    def beats_meanwhile(moment: datetime) -> list[Agent]:
        found = silent(moment)
        agent.heartbeat()
        return found

    monkeypatch.setattr(upkeep, "silent_agents", beats_meanwhile)
    assert store.rescue() == []
    assert agent.reload().status == "working"


def test_a_rescued_worker_can_change_nothing(world: World, store: Store, clock: Clock) -> None:
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


def test_rescue_sets_aside_after_too_many_attempts(world: World, store: Store, clock: Clock) -> None:
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
