"""Rows: what creation and `save` write, refuse and keep, alike on both databases."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import peewee
import pytest

from dispatch_state import (
    Agent,
    AgentLog,
    Epic,
    Gate,
    GuardRefused,
    InvalidValue,
    Issue,
    IssueStatus,
    Priority,
    RowNotFound,
    Store,
    values,
)
from dispatch_state.ids import new_id
from dispatch_state.values import MAX_TEXT
from tests.conftest import Clock
from tests.world import MAINTAINER, RUNNER, WHY, World


@pytest.fixture
def world(store: Store) -> World:
    return World(store)


def test_attributes_are_pythons_own(world: World, clock: Clock) -> None:
    issue = world.new_issue(labels=["a", "b"], github_id=7)
    read = Issue.get_by_id(issue.id)
    for row in (issue, read):
        assert isinstance(row.id, UUID)
        assert row.status is IssueStatus.UNASSIGNED
        assert row.priority is Priority.MEDIUM
        assert (row.labels, row.github_id) == (["a", "b"], 7)
        assert (row.created_at, row.created_at.tzinfo) == (clock.now, UTC)
    assert dict(issue.__data__) == dict(read.__data__)


def test_create_and_save_both_insert(world: World) -> None:
    preset = new_id()
    issue = Issue(id=preset, repo_path="/src", **world.issue_columns())
    assert (issue.is_new, issue.save(by=MAINTAINER, reason=WHY)) == (True, 1)
    assert (issue.is_new, Issue.get_by_id(preset)) == (False, issue)
    born = world.store.history(issue)[0]
    assert (born.trigger, born.actor, born.reason, born.version) == ("create", "human:maintainer", WHY, 1)
    again = Issue(id=preset, repo_path="/src", **world.issue_columns())
    with pytest.raises(InvalidValue, match="that id was used before"):
        again.save()
    assert again.is_new


def test_save_writes_what_changed_and_nothing_else(world: World, clock: Clock) -> None:
    issue = world.new_issue()
    stale = Issue.get_by_id(issue.id)
    issue.queue(by=MAINTAINER)
    clock.forward(hours=1)
    stale.title = "Another title"
    assert (stale.save(), stale.save()) == (1, 0)
    assert (stale.updated_at, stale.unsaved()) == (clock.now, ())
    issue.reload()
    assert (issue.title, issue.status, issue.version, issue.updated_at) == ("Another title", "queued", 2, clock.now)


def test_save_only_some(world: World) -> None:
    issue = world.new_issue()
    issue.title, issue.prompt = "New title", "New prompt"
    issue.save(only=[Issue.title])
    assert issue.unsaved() == ("prompt",)
    assert (Issue.get_by_id(issue.id).title, Issue.get_by_id(issue.id).prompt) == ("New title", "Do it")


def test_a_list_changed_in_place_is_noticed(world: World) -> None:
    issue = Issue.get_by_id(world.new_issue(labels=["a"]).id)
    assert issue.unsaved() == ()
    issue.labels.append("b")
    assert issue.unsaved() == ("labels",)
    with pytest.raises(InvalidValue, match="unsaved changes to labels"):
        issue.queue(by=MAINTAINER)
    issue.save()
    assert Issue.get_by_id(issue.id).labels == ["a", "b"]


def test_a_list_changed_in_place_and_read_again_is_noticed(world: World) -> None:
    """What it was is what the row held when it was handed out first."""
    issue = Issue.get_by_id(world.new_issue(labels=["a"]).id)
    issue.labels.append("b")
    assert issue.labels == ["a", "b"]
    assert issue.unsaved() == ("labels",)
    issue.reload()
    assert (issue.labels, issue.unsaved()) == (["a"], ())


def test_a_trigger_refuses_unsaved_changes(world: World) -> None:
    issue = world.new_issue()
    issue.title = "Another"
    with pytest.raises(InvalidValue, match="unsaved changes to title"):
        issue.queue(by=MAINTAINER)
    assert issue.reload().title == "An issue"
    issue.queue(by=MAINTAINER)


GUARDED = [
    ("issues", "status", "status moves by triggers only"),
    ("issues", "version", "version moves by triggers only"),
    ("issues", "completed_at", "completed_at is set by its trigger complete only"),
    ("issues", "assigned_at", "assigned_at is set by its triggers assign, unassign, release only"),
    ("issues", "epic", "epic is set by place() only"),
    ("issues", "created_at", "created_at is set by the store only"),
    ("agents", "metrics", "metrics is set by the moves that it counts and use_tokens() only"),
    ("pull_requests", "review_status", "review_status is set by record_review() only"),
    ("gates", "stage", "stage is set by create() only"),
    ("gates", "rejection_reason", "rejection_reason is set by its triggers reject, resubmit only"),
]
"""A column of each kind that `save` and `update` may not change, and who changes it."""
FIRST = {"issues": "unassigned", "agents": "idle", "pull_requests": "open", "gates": "pending"}


@pytest.mark.parametrize(("table", "column", "way"), GUARDED)
def test_a_guarded_column_says_who_changes_it(world: World, table: str, column: str, way: str) -> None:
    row = world.at(table, FIRST[table])
    kept = getattr(row, column)
    with pytest.raises(InvalidValue) as refused:
        type(row).update({column: None})
    assert str(refused.value) == f"{type(row).__name__}: not by update(): {way}"
    row.__data__[column] = None
    row._dirty.add(column)
    with pytest.raises(InvalidValue) as refused:
        row.save()
    assert str(refused.value) == f"{row}: not by save(): {way}; reload() puts the object back"
    assert getattr(row.reload(), column) == kept


def test_terms_are_changed_by_save(world: World) -> None:
    with pytest.raises(InvalidValue, match=r"update\(\): options is changed by save\(\) only; status moves by"):
        Gate.update(status="approved", options=None)


def test_a_trigger_after_a_status_set_by_hand_does_not_recommend_to_save_it(world: World) -> None:
    issue = world.new_issue()
    issue.status = "done"
    with pytest.raises(InvalidValue, match=r"unsaved changes to status; reload\(\) it first"):
        issue.queue(by=MAINTAINER)
    issue.reload().title = "Another"
    with pytest.raises(InvalidValue, match=r"unsaved changes to title; save\(\) or reload\(\) it first"):
        issue.queue(by=MAINTAINER)


def test_what_deletes_past_the_log_names_remove(world: World) -> None:
    issue = world.new_issue()
    for attempt in (issue.delete_instance, lambda: Issue.delete_by_id(issue.id), Issue.delete, Issue.truncate_table):
        with pytest.raises(InvalidValue, match=r"record of what happened; use remove\(\)$"):
            attempt()
    with pytest.raises(InvalidValue, match=r"use Agent\.log\(\) and Agent\.fail\(\)$"):
        AgentLog.delete()


def test_an_unsaved_change_of_an_actor_stays(world: World) -> None:
    issue, agent = world.issues("queued"), world.agent()
    agent.agent_type = "docs"
    issue.assign(agent, by=agent)
    assert (agent.status, agent.agent_type, agent.unsaved()) == ("starting", "docs", ("agent_type",))


def test_a_parent_may_be_a_row_an_id_or_its_text(world: World) -> None:
    epic = world.epics("draft")
    for parent in (epic, epic.id, str(epic.id), str(epic.id).upper()):
        issue = Issue.create(epic=parent, **world.issue_columns())
        assert (issue.epic_id, issue.epic, issue.repo_path) == (epic.id, epic, epic.repo_path)


def test_a_stage_brings_its_epic(world: World) -> None:
    stage, other = world.stages("pending"), world.epics("draft")
    assert Issue.create(stage=stage, **world.issue_columns()).epic_id == stage.epic_id
    with pytest.raises(GuardRefused, match="belongs to another epic"):
        Issue.create(stage=stage, epic=other, **world.issue_columns())


def test_a_missing_row_is_also_the_models_does_not_exist(world: World) -> None:
    with pytest.raises(Issue.DoesNotExist) as missing:
        Issue.get_by_id(new_id())
    assert isinstance(missing.value, RowNotFound)
    assert isinstance(missing.value, peewee.DoesNotExist)
    with pytest.raises(Epic.DoesNotExist):
        Issue.create(epic=new_id(), **world.issue_columns())


def test_a_partial_read_says_what_to_do(world: World) -> None:
    world.new_issue()
    issue = Issue.select(Issue.id, Issue.title).get()
    with pytest.raises(InvalidValue, match=r"read without status, version; reload\(\)"):
        issue.queue(by=MAINTAINER)
    issue.reload().queue(by=MAINTAINER)


@pytest.mark.parametrize("text", ["", "a" * MAX_TEXT, "🙂" * 1000, "line\nline\ttab", "\u202e", "'; DROP TABLE issues"])
def test_texts_come_back(world: World, text: str) -> None:
    issue = world.new_issue()
    issue.title = text
    issue.save()
    assert Issue.get_by_id(issue.id).title == text


JSON = [
    {}, {"a": [1, 2.5, None, True, "x"]}, {"n": 2**63 - 1, "m": -(2**63)},
    {"f": 1e300, "g": 1e-300, "h": 1e23, "i": 0.1},
    {"deep": [[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]}, {"": ""}, {"ключ": "значение 🙂"}, {"big": "x" * MAX_TEXT},
]  # fmt: skip


@pytest.mark.parametrize("value", JSON, ids=range(len(JSON)))
def test_json_comes_back(world: World, value: Any) -> None:
    line = world.agent().log("info", "message", context=value)
    assert AgentLog.get_by_id(line.id).context == value


LONG = [
    ("9223372036854775807", int), ("-9223372036854775808", int), ("9223372036854775808", float),
    ("-9223372036854775809", float), ("9300000000000000000", float), ("1" + "0" * 23, float),
    ("0.1234567890123456789012", float), ('"9300000000000000000"', str),
]  # fmt: skip


@pytest.mark.parametrize(("text", "kind"), LONG)
def test_an_integer_beyond_64_bits_was_a_float(text: str, kind: type) -> None:
    found = values.parse_json(f"[{text}]")[0]
    assert (type(found), found) == (kind, kind(json.loads(text)))


@pytest.mark.parametrize("text", ["[1] x", "[1]]", "{}{}", "1 2", "", " ", " [1] x"])
def test_json_with_more_behind_it_is_none(text: str) -> None:
    with pytest.raises(ValueError):
        values.parse_json(text)


@pytest.mark.parametrize("text", ["[1] \n", " [1]", "\t[1]\t"])
def test_json_with_space_around_it_is_read(text: str) -> None:
    assert values.parse_json(text) == values.parse_json(text.encode()) == [1]


def test_the_present_is_asked_of_datetime_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """As tools that freeze time for a caller's tests need it: they replace the class in each module."""

    class Frozen(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return cls(2020, 1, 1, tzinfo=tz)

    monkeypatch.setattr(values, "datetime", Frozen)
    assert values.utc_now() == datetime(2020, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("offset", [-12, 0, 5.5, 14])
def test_times_become_utc(world: World, offset: float) -> None:
    local = datetime(2026, 3, 29, 1, 30, 0, 123456, tzinfo=timezone(timedelta(hours=offset)))
    gate = world.stages("pending").add_gate("checkpoint", "wait", auto_approve_at=local)
    read = type(gate).get_by_id(gate.id)
    assert read.auto_approve_at == gate.auto_approve_at == local
    assert read.auto_approve_at.utcoffset() == timedelta(0)


def test_ids_sort_by_time() -> None:
    made = [new_id() for _ in range(5000)]
    assert made == sorted(made)
    assert len(set(made)) == 5000
    assert {(made_id.version, made_id.variant) for made_id in made} == {(7, "specified in RFC 4122")}


def test_by_status_is_in_the_seeds_order(world: World, clock: Clock) -> None:
    for priority in ("low", "critical", "medium", "high", "critical"):
        clock.forward(seconds=1)
        world.new_issue(priority=priority).queue(by=MAINTAINER)
    found = list(Issue.by_status("queued"))
    assert [issue.priority for issue in found] == ["critical", "critical", "high", "medium", "low"]
    assert found[0].created_at < found[1].created_at


def test_a_loop_over_a_query_may_write(world: World, target: str) -> None:
    """Also while another process writes: the query has been read when its loop begins."""
    import subprocess
    import sys

    for _ in range(20):
        world.new_issue()
    other = f"import dispatch_state as d\nwith d.open_store({target!r}): d.Agent.create(agent_type='coder')"
    for number, issue in enumerate(Issue.select()):
        if number == 3:
            subprocess.run([sys.executable, "-c", other], check=True)
        issue.queue(by=MAINTAINER)
    assert Issue.select().where(Issue.status == "queued").count() == 20


def test_heartbeats_go_forward_only(world: World, clock: Clock) -> None:
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
    """And says nothing when that is not what the agent works on any more."""
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
def test_the_dead_send_no_heartbeats(world: World, clock: Clock, status: str) -> None:
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
    """They stamp the present moment, also on an agent that was made, and heard, while the clock was ahead."""
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
    """Unless another is named; without one, to none."""
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


def test_repr_tells_little(world: World) -> None:
    issue = world.new_issue(title="secret title")
    assert repr(issue) == f"<Issue {str(issue.id)[-8:]} unassigned 1>"
    assert "secret" not in repr(issue)
