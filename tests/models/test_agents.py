"""Agents: heartbeats, log lines, tokens, failures, and the metrics of their work."""

from __future__ import annotations

import json
from datetime import timedelta

import peewee
import pytest

from dispatch_state import Agent, AgentLog, GuardRefused, InvalidValue, LogLevel, Store, StoreCorrupt
from dispatch_state.models.metrics import COUNTERS
from dispatch_state.schema import enforcement
from dispatch_state.testing.scratch import Clock
from dispatch_state.values import MAX_TEXT
from tests.world import MAINTAINER, RUNNER, WHY, World


def test_heartbeats_go_forward_only(world: World, clock: Clock) -> None:
    """A heartbeat never sets `last_heartbeat` back, and an agent that has ended sends none."""
    agent = world.issues("in_progress").assigned_agent
    clock.forward(minutes=5)
    agent.heartbeat()
    assert (agent.last_heartbeat, agent.version) == (clock.now, Agent.get_by_id(agent.id).version)
    clock.forward(minutes=-10)
    agent.heartbeat()
    assert agent.last_heartbeat == clock.now + timedelta(minutes=10)
    agent.stop(by=MAINTAINER, reason=WHY)
    with pytest.raises(GuardRefused, match="completed"):
        agent.heartbeat()
    agent.log("info", "the dead may still say what happened")


def test_a_heartbeat_answers_what_is_held(world: World, clock: Clock) -> None:
    """With `holding=`, it is refused when the agent no longer holds that issue."""
    issue, other = world.issues("in_progress"), world.issues("in_progress")
    agent, seen = issue.assigned_agent, clock.now
    clock.forward(minutes=1)
    assert agent.heartbeat(holding=issue) == agent.heartbeat(holding=issue.id) == agent.heartbeat() == issue.id
    assert agent.last_heartbeat == clock.now > seen
    seen = clock.now
    clock.forward(minutes=1)
    with pytest.raises(GuardRefused, match=f"holds {issue}, not {other}"):
        agent.heartbeat(holding=other)
    issue.block(by=MAINTAINER, reason=WHY)
    with pytest.raises(GuardRefused, match=f"holds no issue, not {issue}"):
        agent.heartbeat(holding=issue)
    assert agent.reload().last_heartbeat == clock.now  # by the move that freed it
    clock.forward(minutes=1)
    with pytest.raises(GuardRefused):
        agent.heartbeat(holding=issue)
    assert agent.reload().last_heartbeat == clock.now - timedelta(minutes=1)
    assert agent.heartbeat() is None
    assert agent.last_heartbeat == clock.now
    reviewer = world.agent("reviewer")
    reviewed = world.issues("awaiting_review")
    reviewed.review(by=reviewer)
    assert reviewer.heartbeat(holding=reviewed) == reviewed.id


@pytest.mark.parametrize("status", ["errored", "completed"])
def test_an_errored_or_completed_agent_sends_no_heartbeats(world: World, clock: Clock, status: str) -> None:
    agent = world.at("agents", status)
    seen = agent.last_heartbeat
    clock.forward(minutes=1)
    with pytest.raises(GuardRefused, match=status):
        agent.heartbeat()
    assert agent.reload().last_heartbeat == seen


STAMPED = {
    "dispatch": ("idle", "starting"), "run": ("starting", "working"), "receive_input": ("waiting_for_input", "working"),
    "resume": ("paused", "working"), "finish": ("working", "idle"), "recover": ("errored", "idle"),
}  # fmt: skip


@pytest.mark.parametrize("trigger", STAMPED)
@pytest.mark.parametrize("ahead", [0, 3650])
def test_moves_that_are_a_sign_of_life(world: World, clock: Clock, trigger: str, ahead: int) -> None:
    """They stamp the present time, even when an earlier stamp lies in the future."""
    source, dest = STAMPED[trigger]
    clock.forward(days=ahead)
    agent = world.at("agents", source)
    clock.forward(days=-ahead)
    clock.forward(minutes=1)
    given = {"issue": world.issues("in_review")} if trigger == "dispatch" else {}
    getattr(agent, trigger)(**given, by=RUNNER)
    assert (agent.status, agent.last_heartbeat) == (dest, clock.now)
    assert agent.reload().last_heartbeat == clock.now


def test_a_vote_that_is_decided_is_a_sign_of_life(world: World, clock: Clock) -> None:
    agent = world.at("agents", "waiting_for_vote")
    clock.forward(minutes=1)
    agent.proposals.get().force_reject(by=MAINTAINER, reason=WHY)
    assert (agent.reload().status, agent.last_heartbeat) == ("working", clock.now)


def test_a_log_line_belongs_to_the_issue_held(world: World) -> None:
    """Unless the call names another issue. A line of an agent without an issue belongs to none."""
    issue, other = world.issues("in_progress"), world.new_issue()
    agent = issue.assigned_agent
    assert agent.log("info", "begun").issue_id == issue.id
    assert agent.log("info", "seen besides", issue=other).issue_id == other.id
    issue.complete(by=agent)
    assert agent.log("info", "idle").issue_id is None
    reviewed, reviewer = world.issues("awaiting_review"), world.agent("reviewer")
    reviewed.review(by=reviewer)
    assert reviewer.log("warn", "the tests are slow").issue_id == reviewed.id
    assert [line.message for line in issue.logs] == ["begun"]


def test_tokens_add_up(world: World) -> None:
    agent = world.agent()
    copy = Agent.get_by_id(agent.id)
    agent.use_tokens(5)
    copy.use_tokens(7)
    assert copy.metrics["tokens_used"] == 12


# ---- what machines write -------------------------------------------------------------------------------


CUT = " … (cut; it had 2,000,000 characters)"
WRITTEN = [
    ("a\x00b", "a\ufffdb"),
    ("\x00", "\ufffd"),
    ("\ud800 and \udfff!", "\ufffd and \ufffd!"),
    ("\ud83d\ude00", "\U0001f600"),
    ("\ufeffa", "\ufeffa"),
    ("", "(no message)"),
    (" \t\n", "(no message)"),
    ("x" * MAX_TEXT, "x" * MAX_TEXT),
    ("ü" * MAX_TEXT, "ü" * MAX_TEXT),
    ("x" * 2 * MAX_TEXT, "x" * (MAX_TEXT - len(CUT)) + CUT),
    (LogLevel.ERROR, "error"),
]
"""The text that a program passes, and the text that is stored."""


@pytest.mark.parametrize(("written", "stored"), WRITTEN, ids=[ascii(written)[:12] for written, _ in WRITTEN])
def test_a_failure_is_always_recorded(world: World, written: str, stored: str) -> None:
    """Text that no column can hold is changed, never refused: the failure must not be lost."""
    issue = world.issues("in_progress")
    agent = issue.assigned_agent
    moves = agent.fail(written, by=agent)
    assert (agent.status, issue.reload().status) == ("errored", "queued")
    assert agent.logs.get().message == stored
    assert [world.store.history(row)[-1].reason for row in (agent, issue)] == [stored, stored]
    assert len(moves) == 2
    assert (
        agent.log("warn", written).message == AgentLog.select().where(AgentLog.level == "warn").get().message == stored
    )
    proposal = world.proposals("executing")
    proposal.fail_execution(written, by=MAINTAINER)
    assert proposal.reload().execution_result == {"success": False, "error": stored}
    assert world.store.history(proposal)[-1].reason == stored
    assert world.store.verify() == []


def test_a_failure_is_recorded_whatever_the_reason(world: World) -> None:
    """A blank reason or one that cannot be stored does not hinder the failure."""
    proposal = world.proposals("executing")
    proposal.fail_execution("it broke", by=MAINTAINER, reason="a\x00b")
    assert world.store.history(proposal)[-1].reason == "a\ufffdb"
    proposal.begin_execution(by=MAINTAINER)
    proposal.fail_execution("it broke", by=MAINTAINER, reason=" ")
    assert world.store.history(proposal)[-1].reason == "it broke"
    agent = world.agents("working")
    agent.fail("it broke", by=MAINTAINER, reason="\ud800")
    assert world.store.history(agent)[-1].reason == "it broke"


def test_an_error_that_is_no_text_is_refused(world: World) -> None:
    agent = world.agents("working")
    for error in (None, 7, b"it broke", ["it broke"]):
        with pytest.raises(InvalidValue, match=r"fail\(error\): takes text"):
            agent.fail(error, by=agent)
        with pytest.raises(InvalidValue, match=r"agent_logs\.message: takes text"):
            agent.log("info", error)
    with pytest.raises(InvalidValue, match=r"fail\(reason\): takes text"):
        agent.fail("it broke", by=agent, reason=7)
    assert agent.reload().status == "working"


# ---- metrics -------------------------------------------------------------------------------------------


BROKEN = [
    '"many"', "3", "null", "[1]", '{"issues_completed": "many"}', '{"issues_completed": null}', '{"tokens_used": true}',
    '{"errors_encountered": -1}', '{"issues_completed": 1.5}', '{"tokens_used": 9223372036854775808}', '{"mine": "1"}',
    '{"mine": [1]}', '{"avg_completion_time": {}}', '{"mine": 1e999}', '{"tokens_used": 1e300}',
]  # fmt: skip
"""JSON that is not a valid value of `metrics`."""
SOUND = ['{"mine": -1.5, "tokens_used": 9223372036854775807}', '{"issues_completed": 3.0, "tokens_used": 0}', "{}"]


def written(store: Store, agent: Agent, metrics: str | None) -> None:
    """Write metrics by SQL while the database's triggers are off."""
    with store.database.atomic():
        enforcement.remove(store.database)
        mark = store.database.param
        store.database.execute_sql(f"UPDATE agents SET metrics = {mark} WHERE id = {mark}", (metrics, str(agent.id)))
        enforcement.install(store.database)


@pytest.mark.parametrize("metrics", BROKEN)
def test_broken_metrics_are_refused_and_named(world: World, metrics: str) -> None:
    """The database refuses them, whoever writes. If they are there nevertheless, `verify()` names the row and all
    counting raises StoreCorrupt.
    """
    store, issue = world.store, world.issues("in_progress")
    agent = issue.assigned_agent
    mark = store.database.param
    with pytest.raises(peewee.PeeweeException, match=r"agents\.metrics: takes a JSON object of numbers"):
        store.database.execute_sql(f"UPDATE agents SET metrics = {mark} WHERE id = {mark}", (metrics, str(agent.id)))
    assert agent.reload().metrics is None
    written(store, agent, metrics)
    assert {(v.invariant, v.entity, v.id) for v in store.verify()} == {("I13", "agents", agent.id)}
    if metrics == "null":  # which is read as None
        return
    agent.reload()
    for act in (
        lambda: agent.fail("it broke", by=agent),
        lambda: agent.use_tokens(1),
        lambda: issue.complete(by=agent),
        agent.counters,
    ):
        with pytest.raises(
            StoreCorrupt, match=r"agents\.metrics: takes a JSON object of numbers.*verify\(\) names every"
        ):
            act()
    assert (agent.reload().status, issue.reload().status) == ("working", "in_progress")
    agent.heartbeat()
    issue.submit(by=agent)


@pytest.mark.parametrize("metrics", SOUND)
def test_sound_metrics_are_taken_and_counted_on(world: World, metrics: str) -> None:
    store, issue = world.store, world.issues("in_progress")
    agent, mark = issue.assigned_agent, store.database.param
    store.database.execute_sql(f"UPDATE agents SET metrics = {mark} WHERE id = {mark}", (metrics, str(agent.id)))
    assert store.verify() == []
    issue.complete(by=agent)
    other = world.new_issue()
    world.start(other, agent)
    agent.fail("it broke", by=agent)
    counted, before = agent.reload().metrics, json.loads(metrics)
    assert counted["issues_completed"] == before.get("issues_completed", 0) + 1
    assert (counted["errors_encountered"], counted.get("mine")) == (1, before.get("mine"))
    assert all(type(counted[name]) is int for name in COUNTERS)
    assert store.verify() == []


def test_a_counter_that_is_full_stops_nothing(world: World) -> None:
    """A full counter stays full, and the agent can still fail."""
    agent = world.agents("working")
    written(world.store, agent, json.dumps(dict.fromkeys(COUNTERS, (1 << 63) - 1)))
    agent.reload().fail("it broke", by=agent)
    assert agent.reload().metrics["errors_encountered"] == (1 << 63) - 1
    agent.recover(by=agent)
    with pytest.raises(InvalidValue, match="does not fit into 64 bits"):
        agent.use_tokens(1)


def test_a_mean_of_any_size_is_counted_on(world: World, clock: Clock) -> None:
    agent = world.agent()
    written(world.store, agent, '{"avg_completion_time": 1.7e308, "issues_completed": 4}')
    issue = world.new_issue()
    world.start(issue, agent.reload())
    clock.forward(seconds=60)
    issue.complete(by=agent)
    assert agent.reload().metrics["avg_completion_time"] == pytest.approx(1.36e308)


def test_an_agents_type_is_fixed_once_it_works_or_has_voted(world: World) -> None:
    free, busy, voter = world.agent(), world.start(world.new_issue()), world.agent()
    world.new_proposal().vote(voter, "approve", WHY)
    free.agent_type = "docs"
    free.save()
    for agent in (busy, voter):
        agent.agent_type = "security"
        with pytest.raises(GuardRefused, match="agent_type"):
            agent.save()
