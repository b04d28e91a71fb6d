"""Rows: what creation and `save` write, refuse and leave alone, with the same results on both databases."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import peewee
import pytest

from dispatch_state import (
    AgentLog,
    Decision,
    Epic,
    Gate,
    GuardRefused,
    InvalidValue,
    Issue,
    IssueStatus,
    Priority,
    Proposal,
    RowNotFound,
    Stage,
    StaleRow,
    Store,
    errors,
    json_values,
    schemas,
    values,
)
from dispatch_state.ids import new_id
from dispatch_state.models.tables import EVERY
from dispatch_state.testing.scratch import Clock, scratch_store
from dispatch_state.values import MAX_TEXT
from tests.golden import scene
from tests.world import LONG_TEXT, MAINTAINER, RUNNER, WHY, World, as_stored


def test_attributes_have_python_types(world: World, clock: Clock) -> None:
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
    created = world.store.history(issue)[0]
    assert (created.trigger, created.actor, created.reason, created.version) == ("create", "human:maintainer", WHY, 1)
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


def test_save_only_writes_the_named_columns(world: World) -> None:
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
    """The comparison is with the value that the row held when the list was read first."""
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
"""A column of each kind that `save` and `update` may not change, and what changes it."""
FIRST = {"issues": "unassigned", "agents": "idle", "pull_requests": "open", "gates": "pending"}


@pytest.mark.parametrize(("table", "column", "way"), GUARDED)
def test_the_refusal_of_a_guarded_column_names_what_changes_it(world: World, table: str, column: str, way: str) -> None:
    row = world.at(table, FIRST[table])
    kept = getattr(row, column)
    with pytest.raises(InvalidValue) as refused:
        type(row).update({column: None})
    assert str(refused.value) == f"{type(row).__name__}: update() refuses this: {way}"
    row.__data__[column] = None
    row._dirty.add(column)
    with pytest.raises(InvalidValue) as refused:
        row.save()
    assert str(refused.value) == f"{row}: save() refuses this: {way}; reload() restores the object"
    assert getattr(row.reload(), column) == kept


def test_update_names_save_for_the_terms_of_a_row(world: World) -> None:
    with pytest.raises(
        InvalidValue, match=r"update\(\) refuses this: options is changed by save\(\) only; status moves by"
    ):
        Gate.update(status="approved", options=None)


def test_a_trigger_after_a_status_set_by_hand_does_not_recommend_to_save_it(world: World) -> None:
    issue = world.new_issue()
    issue.status = "done"
    with pytest.raises(InvalidValue, match=r"unsaved changes to status; reload\(\) it first"):
        issue.queue(by=MAINTAINER)
    issue.reload().title = "Another"
    with pytest.raises(InvalidValue, match=r"unsaved changes to title; save\(\) or reload\(\) it first"):
        issue.queue(by=MAINTAINER)


def test_the_refusal_of_a_delete_past_the_log_names_remove(world: World) -> None:
    issue = world.new_issue()
    for attempt in (issue.delete_instance, lambda: Issue.delete_by_id(issue.id), Issue.delete, Issue.truncate_table):
        with pytest.raises(InvalidValue, match=r"log of moves; use remove\(\)$"):
            attempt()
    with pytest.raises(InvalidValue, match=r"use Agent\.log\(\) and Agent\.fail\(\)$"):
        AgentLog.delete()


def test_an_unsaved_change_of_an_actor_stays(world: World) -> None:
    """Acting brings the actor's object up to date without losing its unsaved changes."""
    issue, agent = world.issues("queued"), world.agent()
    agent.agent_type = "docs"
    issue.assign(agent, by=agent)
    assert (agent.status, agent.agent_type, agent.unsaved()) == ("starting", "docs", ("agent_type",))


def test_a_parent_may_be_a_row_an_id_or_its_text(world: World) -> None:
    epic = world.epics("draft")
    for parent in (epic, epic.id, str(epic.id), str(epic.id).upper()):
        issue = Issue.create(epic=parent, **world.issue_columns())
        assert (issue.epic_id, issue.epic, issue.repo_path) == (epic.id, epic, epic.repo_path)


def test_an_issue_gets_the_epic_of_its_stage(world: World) -> None:
    stage, other = world.stages("pending"), world.epics("draft")
    assert Issue.create(stage=stage, **world.issue_columns()).epic_id == stage.epic_id
    with pytest.raises(GuardRefused, match="belongs to another epic"):
        Issue.create(stage=stage, epic=other, **world.issue_columns())


def test_a_missing_row_is_also_the_models_does_not_exist(world: World) -> None:
    """`RowNotFound` can be caught as Peewee's `DoesNotExist` of the model."""
    with pytest.raises(Issue.DoesNotExist) as missing:
        Issue.get_by_id(new_id())
    assert isinstance(missing.value, RowNotFound)
    assert isinstance(missing.value, peewee.DoesNotExist)
    with pytest.raises(Epic.DoesNotExist):
        Issue.create(epic=new_id(), **world.issue_columns())


def test_a_trigger_on_a_partly_read_row_recommends_reload(world: World) -> None:
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
    found = json_values.parse_json(f"[{text}]")[0]
    assert (type(found), found) == (kind, kind(json.loads(text)))


@pytest.mark.parametrize("text", ["[1] x", "[1]]", "{}{}", "1 2", "", " ", " [1] x"])
def test_json_with_text_behind_it_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        json_values.parse_json(text)


@pytest.mark.parametrize("text", ["[1] \n", " [1]", "\t[1]\t"])
def test_json_with_space_around_it_is_read(text: str) -> None:
    assert json_values.parse_json(text) == json_values.parse_json(text.encode()) == [1]


def test_the_present_is_asked_of_datetime_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tools that freeze time replace the class `datetime` in each module, so the library must not keep a reference."""

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


def test_by_status_lists_the_most_urgent_issues_first(world: World, clock: Clock) -> None:
    for priority in ("low", "critical", "medium", "high", "critical"):
        clock.forward(seconds=1)
        world.new_issue(priority=priority).queue(by=MAINTAINER)
    found = list(Issue.by_status("queued"))
    assert [issue.priority for issue in found] == ["critical", "critical", "high", "medium", "low"]
    assert found[0].created_at < found[1].created_at


def test_a_loop_over_a_query_may_write(world: World, target: str) -> None:
    """Even while another process writes: the query is read to its end before the loop begins."""
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


def test_repr_shows_no_content(world: World) -> None:
    issue = world.new_issue(title="secret title")
    assert repr(issue) == f"<Issue {str(issue.id)[-8:]} unassigned 1>"
    assert "secret" not in repr(issue)


# ---- subclasses ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", EVERY)
def test_a_model_is_not_subclassed(model: Any) -> None:
    """Moves of a subclass would bypass the cascades and the locks, so defining one is an error."""
    before = {other: dict(vars(other)) for other in EVERY}
    for body in ({}, {"Meta": type("Meta", (), {"table_name": model._meta.table_name})}):
        with pytest.raises(
            InvalidValue, match=r"My: \w+ cannot be subclassed.* a table of your own, with a key to the row"
        ):
            type(model)("My", (model,), dict(body))
    assert {other: dict(vars(other)) for other in EVERY} == before


def test_an_alias_is_no_subclass(world: World) -> None:
    world.new_issue()
    other = Issue.alias()
    assert [row.title for row in other.select().where(other.status == "unassigned")] == ["An issue"]


OWN_TABLE = """
import sys, peewee
from dispatch_state import Human, Issue, GuardRefused, open_store

ada = Human("ada")
with open_store(sys.argv[1]) as store:
    class Ticket(peewee.Model):
        issue = peewee.ForeignKeyField(Issue, backref="tickets")
        queue = peewee.TextField()
        class Meta:
            database = store.database
    store.database.create_tables([Ticket])
    issue = Issue.create(title="t", prompt="p", issue_type="bug", repo_path="/src")
    Ticket.create(issue=issue, queue="billing")
    (found,) = Issue.select().join(Ticket).where(Ticket.queue == "billing")
    found.cancel(by=ada, reason="away")
    assert [ticket.queue for ticket in found.tickets] == ["billing"]
    try:
        found.remove(by=ada, reason="away")
    except GuardRefused as refusal:
        assert "still refers to" in str(refusal), refusal
    Ticket.delete().execute()
    found.remove(by=ada, reason="away")
    assert store.verify() == []
"""


def test_a_user_may_define_a_table_with_a_key_to_issues(target: str) -> None:
    subprocess.run([sys.executable, "-c", OWN_TABLE, target], check=True)


# ---- copies --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", EVERY)
@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda row: pickle.loads(pickle.dumps(row))])
def test_a_copy_changes_on_its_own(model: Any, copied: Any) -> None:
    with scratch_store("memory"):
        scene()
        row = model.select().first()
        for name in model._meta.fields:
            getattr(row, name)
        held, handed = dict(row.__data__), dict(row._fingerprints or {})
        other = copied(row)
        assert (type(other), other.__data__, other.is_new, other.unsaved()) == (model, held, False, ())
        for name, value in other.__data__.items():
            if isinstance(value, list):
                value.append("changed")
            elif isinstance(value, dict):
                value["changed"] = 1
            other.__data__[name] = None
            other._dirty.add(name)
        other.__rel__.clear()
        assert (dict(row.__data__), row.unsaved(), dict(row._fingerprints or {})) == (held, (), handed)
        assert row.reload().__data__ == held


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_a_copy_in_a_block_that_rolls_back(world: World, copied: Any) -> None:
    """The original keeps its values; the copy goes back to those it had when it was made."""
    issue = world.new_issue(labels=["a"])
    held = dict(issue.__data__)
    with pytest.raises(ZeroDivisionError), world.store.atomic():
        other = copied(issue)
        other.queue(by=MAINTAINER)
        assert (other.status, issue.status, issue.version) == ("queued", "unassigned", 1)
        raise ZeroDivisionError
    assert (dict(issue.__data__), dict(other.__data__)) == (held, held)
    issue.queue(by=MAINTAINER)
    with pytest.raises(StaleRow):
        other.cancel(by=MAINTAINER, reason=WHY)


def test_the_original_moved_in_a_block_that_rolls_back(world: World) -> None:
    issue = world.new_issue()
    other = copy.copy(issue)
    with pytest.raises(ZeroDivisionError), world.store.atomic():
        issue.queue(by=MAINTAINER)
        later = copy.copy(issue)
        raise ZeroDivisionError
    assert [row.status for row in (issue, other, later)] == ["unassigned", "unassigned", "queued"]


def every(kind: type[Exception]) -> set[type[Exception]]:
    return {kind}.union(*(every(other) for other in kind.__subclasses__()))


ERRORS = sorted(every(errors.DispatchError) - {schemas.InvalidPayload}, key=lambda kind: kind.__qualname__)


def test_each_model_has_its_own_does_not_exist() -> None:
    assert {model.DoesNotExist for model in EVERY} <= set(ERRORS)


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__qualname__)
def test_an_error_survives_pickling_and_copying(kind: type[errors.DispatchError]) -> None:
    error = kind("what went wrong", ("a reason",)) if kind is GuardRefused else kind("what went wrong")
    pickled = [pickle.loads(pickle.dumps(error, protocol)) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]
    for other in (*pickled, copy.copy(error), copy.deepcopy(error)):
        assert (type(other), str(other), other.args, vars(other)) == (kind, str(error), error.args, vars(error))
        assert other.retryable is kind.retryable


def test_a_refused_payload_survives_pickling_and_copying() -> None:
    with pytest.raises(schemas.InvalidPayload) as refused:
        schemas.IssueSchema().load({"title": 7})
    error = refused.value
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert (type(other), str(other), other.args) == (schemas.InvalidPayload, str(error), error.args)
        assert (other.messages, other.data) == (error.messages, error.data)


def test_a_long_reason_is_a_legal_reason(world: World) -> None:
    issue = world.issues("in_progress")
    issue.release(by=MAINTAINER, reason=LONG_TEXT)
    assert Decision.get().outcome["reason"] == LONG_TEXT
    proposal = world.proposals("executing")
    proposal.fail_execution(LONG_TEXT, by=RUNNER, reason="mine")
    assert proposal.execution_result["error"] == LONG_TEXT
    assert world.store.history(proposal)[-1].reason == "mine"


def test_json_is_kept_by_value(world: World) -> None:
    """Changing the caller's list later does not change the row."""
    labels = ["a"]
    issue = world.new_issue(labels=labels)
    labels.append("b")
    assert issue.labels == ["a"]
    as_stored(issue)


@pytest.mark.parametrize(
    "update",
    [
        lambda: Gate.update(required_approvers=["mallory"]),
        lambda: Proposal.update(threshold="single_approval"),
        lambda: Proposal.update({Proposal.required_voters: ["coder"]}),
        lambda: Stage.update(stage_order=7),
        lambda: Issue.update({"epic_id": None}),
        lambda: Issue.update(5),
        lambda: Issue.update([[1]]),
    ],
)
def test_peewees_update_may_not_change_terms(store: Store, update: Callable[[], object]) -> None:
    with pytest.raises(InvalidValue):
        update()
