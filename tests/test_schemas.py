"""Schemas: rows as plain data. Input is checked by the columns' own rules, and output can be loaded again."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import marshmallow
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dispatch_state import (
    Agent,
    DispatchError,
    Gate,
    InvalidValue,
    Issue,
    Proposal,
    PullRequest,
    Stage,
    Store,
    Vote,
    schemas,
)
from dispatch_state.models.tables import EVERY, STATEFUL
from dispatch_state.schemas import InvalidPayload, IssueSchema, schema_for
from dispatch_state.testing.scratch import scratch_store
from dispatch_state.testing.strategies import payloads
from tests import postgres
from tests.backends import BACKENDS
from tests.golden import PAGE, dumps
from tests.world import MAINTAINER, World

WHOLE = {"title": "A title", "prompt": "Do it", "issue_type": "bug", "repo_path": "/src"}
SOME_ID = "01890a5d-ac96-774b-bcce-b302099a8057"


def messages(payload: Any, model: Any = Issue, **options: Any) -> Any:
    """What a schema says is wrong with a payload."""
    with pytest.raises(InvalidPayload) as refused:
        schema_for(model)().load(payload, **options)
    return refused.value.messages


# ---- out -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
def test_dumps_are_the_golden_ones(backend: str) -> None:
    """Alike on both databases; a change of what is dumped shows in review: `python -m tests.golden` renews it."""
    place = postgres.server_or_skip() if backend == "postgresql" else backend
    assert dumps(place) == json.loads(PAGE.read_text())


@pytest.mark.parametrize("model", EVERY)
def test_a_dump_has_every_column(model: Any) -> None:
    columns = {field.column_name for field in model._meta.sorted_fields}
    assert json.loads(PAGE.read_text())[model._meta.table_name].keys() == columns
    assert {field.data_key for field in schema_for(model)().fields.values()} == columns


def test_what_is_dumped_is_a_copy(store: Store) -> None:
    issue = World(store).new_issue(labels=["one"])
    IssueSchema().dump(issue)["labels"].append("two")
    assert issue.labels == ["one"]
    assert not issue.unsaved()


def test_columns_that_were_not_read_are_left_out(store: Store) -> None:
    World(store).new_issue()
    assert IssueSchema(many=True).dump(Issue.select(Issue.title)) == [{"title": "An issue"}]


def test_some_columns_only(store: Store) -> None:
    issue = World(store).issues("queued")
    assert IssueSchema(only=["title", "status"]).dump(issue) == {"title": "An issue", "status": "queued"}


# ---- in ------------------------------------------------------------------------------------------------


def test_a_payload_becomes_an_unsaved_row_in_its_first_status(store: Store) -> None:
    epic = World(store).new_epic()
    stage = epic.add_stage("first")
    issue = IssueSchema().load({**WHOLE, "epic_id": str(epic.id), "stage_id": str(stage.id).upper(), "labels": ["x"]})
    assert issue.is_new
    assert issue.status == "unassigned"
    assert not store.history(issue)
    issue.save(by=MAINTAINER)
    assert (issue.reload().stage, issue.labels) == (stage, ["x"])


@pytest.mark.parametrize("model", STATEFUL)
def test_every_payload_goes_in_and_comes_out_again(model: Any) -> None:
    """Drawn payloads, as JSON text: what is dumped of the row that they make holds what was loaded."""

    @settings(max_examples=15, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(data=st.data())
    def check(data: st.DataObject) -> None:
        with scratch_store("memory") as store:
            world = World(store)
            parents: dict[Any, Any] = {
                Stage: lambda: {"epic": world.new_epic()},
                Gate: lambda: {"stage": world.new_epic().add_stage("only")},
                PullRequest: lambda: {"issue": world.issues("in_progress")},
                Proposal: lambda: {"proposer": world.agent()},
            }
            payload = data.draw(payloads(model, **parents.get(model, dict)()))
            payload.pop("status", None)
            schema = schema_for(model)()
            plain = {k: v for k, v in schema.dump(model(**payload)).items() if k in keys(model, payload)}
            row = schema.loads(json.dumps(plain))
            row.save(by=MAINTAINER)
            dumped = schema.dump(row.reload())
            assert {name: dumped[name] for name in plain} == plain

    check()


def keys(model: Any, payload: dict[str, Any]) -> set[str]:
    return {model._meta.fields[name].column_name for name in payload}


@pytest.mark.parametrize("model", STATEFUL)
def test_what_a_payload_may_not_set(model: Any) -> None:
    """A status, a version, a moment of the row's life, a column of a transition, and what is no column."""
    created = {model._meta.fields[name].column_name for name in schemas.loaded(model)}
    columns = model._meta.fields
    guarded = {columns[name].column_name for name in model.protected_columns() & columns.keys()} - created
    assert {"status", "version", *model.creation_stamps} & columns.keys() <= guarded
    said = messages(dict.fromkeys([*guarded, "nonsense"], None), model)
    assert {name for name, told in said.items() if told == ["Unknown field."]} == {*guarded, "nonsense"}


def test_what_is_missing_is_named() -> None:
    assert messages({}) == {name: ["Missing data for required field."] for name in ("title", "prompt", "issue_type")}


WRONG = [
    ({"title": None}, "title"),
    ({"title": 7}, "title"),
    ({"title": "a\0b"}, "title"),
    ({"title": "\ud800"}, "title"),
    ({"github_id": "7"}, "github_id"),
    ({"github_id": True}, "github_id"),
    ({"github_id": 1.0}, "github_id"),
    ({"github_id": 2**63}, "github_id"),
    ({"priority": "soon"}, "priority"),
    ({"priority": None}, "priority"),
    ({"issue_type": "BUG"}, "issue_type"),
    ({"labels": "one"}, "labels"),
    ({"labels": [1]}, "labels"),
    ({"labels": {"a": 1}}, "labels"),
    ({"epic_id": SOME_ID.replace("-", "")}, "epic_id"),
    ({"epic_id": f"{{{SOME_ID}}}"}, "epic_id"),
    ({"epic_id": f"urn:uuid:{SOME_ID}"}, "epic_id"),
    ({"epic_id": 7}, "epic_id"),
    ({"id": None}, "id"),
    ({"repo_path": 1}, "repo_path"),
]


@pytest.mark.parametrize(("change", "column"), WRONG, ids=lambda value: repr(value)[:40])
def test_a_wrong_column_is_named_alone(change: dict[str, Any], column: str) -> None:
    said = messages({**WHOLE, **change})
    assert list(said) == [column]
    assert said[column][0]


@pytest.mark.parametrize(
    ("given_text", "moment"),
    [
        ("2026-01-31T09:30:00+00:00", datetime(2026, 1, 31, 9, 30, tzinfo=UTC)),
        ("2026-01-31T10:30:00.5+01:00", datetime(2026, 1, 31, 9, 30, 0, 500_000, tzinfo=UTC)),
        ("2026-01-31T09:30:00Z", datetime(2026, 1, 31, 9, 30, tzinfo=UTC)),
        (datetime(2026, 1, 31, 11, 30, tzinfo=timezone(timedelta(hours=2))), datetime(2026, 1, 31, 9, 30, tzinfo=UTC)),
    ],
)
def test_moments_are_aware_and_become_utc(given_text: Any, moment: datetime) -> None:
    payload = {"stage_id": SOME_ID, "gate_type": "checkpoint", "description": "look", "auto_approve_at": given_text}
    gate = schema_for(Gate)().load(payload)
    assert gate.auto_approve_at == moment
    assert gate.auto_approve_at.utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    "wrong", ["2026-01-31T09:30:00", "yesterday", 0, datetime(2026, 1, 31, 9), "0001-01-01T00:00+14:00"]
)
def test_moments_that_are_none(wrong: Any) -> None:
    payload = {"stage_id": SOME_ID, "gate_type": "checkpoint", "description": "look", "auto_approve_at": wrong}
    assert list(messages(payload, Gate)) == ["auto_approve_at"]


def test_columns_that_do_not_fit_each_other() -> None:
    payload = {
        "stage_id": SOME_ID,
        "gate_type": "approval",
        "description": "look",
        "auto_approve_at": "2026-01-31T09:30Z",
    }
    assert list(messages(payload, Gate)) == ["_schema"]


def test_many_errors_are_reported_by_their_places() -> None:
    said = messages([WHOLE, {**WHOLE, "title": 7}, 7], many=True)
    assert {place: list(found) for place, found in said.items()} == {1: ["title"], 2: ["_schema"]}
    assert [issue.title for issue in IssueSchema(many=True).load([WHOLE, WHOLE])] == ["A title"] * 2


@pytest.mark.parametrize("wrong", [None, 7, "text", [], [1]])
def test_what_is_no_object(wrong: Any) -> None:
    assert messages(wrong) == {"_schema": ["Invalid input type."]}


@pytest.mark.parametrize("model", ["Decision", "TransitionLog"])
def test_what_only_the_library_writes_is_not_loaded(model: str) -> None:
    found = next(one for one in EVERY if one.__name__ == model)
    assert list(messages({}, found)) == ["_schema"]


def test_a_vote_comes_in_and_goes_to_its_method(store: Store) -> None:
    world = World(store)
    agent, proposal = world.agent(), world.new_proposal()
    ids = {"proposal_id": str(proposal.id), "voter_id": str(agent.id), "voter_type": "coder"}
    vote = schema_for(Vote)().load({**ids, "decision": "approve", "reasoning": "simple", "confidence": 0.5})
    proposal.vote(vote.voter, vote.decision, vote.reasoning, confidence=vote.confidence)
    assert schema_for(Vote)().dump(proposal.votes.get())["confidence"] == 0.5
    assert list(messages({**ids, "decision": "approve", "reasoning": "x", "confidence": float("nan")}, Vote)) == [
        "confidence"
    ]


# ---- updates -------------------------------------------------------------------------------------------


def test_an_update_of_a_row(store: Store) -> None:
    issue = World(store).new_issue()
    assert IssueSchema().load({"title": "Better", "priority": "high"}, instance=issue) is issue
    assert issue.unsaved() == ("title", "priority")
    issue.save()
    assert (issue.reload().title, issue.priority) == ("Better", "high")


def test_an_update_as_columns(store: Store) -> None:
    assert IssueSchema().load({"priority": "high"}, partial=True) == {"priority": "high"}
    assert IssueSchema().load([{"title": "A"}, {}], partial=True, many=True) == [{"title": "A"}, {}]


@pytest.mark.parametrize(
    "column", ["id", "epic_id", "stage_id", "status", "version", "created_at", "assigned_agent_id"]
)
def test_what_an_update_never_sets(store: Store, column: str) -> None:
    issue = World(store).new_issue()
    before = dict(issue.__data__)
    for options in ({"instance": issue}, {"partial": True}):
        assert list(messages({"title": "Better", column: SOME_ID}, **options)) == [column]
    assert issue.__data__ == before


def test_an_update_of_a_row_of_another_kind(store: Store) -> None:
    assert list(messages({}, instance=World(store).agent())) == ["_schema"]


# ---- text ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not JSON"),
        ("", "not JSON"),
        (b"\xff", "not JSON"),
        ("[" * 100_000, "deeper"),
        ('{"labels": ' + "[" * 40 + "]" * 40 + "}", "deeper"),
        ('{"title": NaN}', "NaN"),
        ('{"github_id": 1e999}', "integer"),
        ('{"title": "a", "title": "b"}', "repeated"),
        ('{"github_id": 9223372036854775808}', "64 bits"),
        ('{"github_id": ' + "9" * 5000 + "}", "64 bits"),
        ('"' + "x" * 9_000_000 + '"', "longer"),
        (7, "JSON text"),
        (None, "JSON text"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_text_that_is_refused_before_it_is_loaded(text: Any, says: str) -> None:
    with pytest.raises(InvalidPayload, match=says):
        IssueSchema().loads(text)


def test_brackets_within_texts_do_not_nest() -> None:
    title = "[" * 100 + '\\"{' * 100
    assert IssueSchema().loads(json.dumps({**WHOLE, "title": title})).title == title


# ---- the classes ---------------------------------------------------------------------------------------


def test_an_error_is_ours_and_marshmallows() -> None:
    with pytest.raises(marshmallow.ValidationError) as refused:
        IssueSchema().load({"prompt": "secret"})
    assert isinstance(refused.value, InvalidValue)
    assert isinstance(refused.value, DispatchError)
    assert str(refused.value).startswith("IssueSchema: ")
    assert "secret" not in str(refused.value)


def test_there_is_a_schema_for_each_table() -> None:
    for model in EVERY:
        assert schema_for(model) is schema_for(model) is getattr(schemas, f"{model.__name__}Schema")
    for wrong in (Issue(), "Issue", None, dict, UUID):
        with pytest.raises(InvalidValue):
            schema_for(wrong)  # type: ignore[arg-type]


def test_marshmallow_is_loaded_by_who_uses_it() -> None:
    command = "import dispatch_state, sys; sys.exit('marshmallow' in sys.modules or 'hypothesis' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", command], check=False).returncode == 0


def test_agents_are_loaded_without_a_session(store: Store) -> None:
    agent = schema_for(Agent)().load({"agent_type": "coder"})
    agent.save()
    assert agent.status == "idle"


# ---- columns that nobody knows --------------------------------------------------------------------------

INCLUDE: Any = marshmallow.INCLUDE
NOT_INCLUDED = {"_schema": ["unknown: takes RAISE or EXCLUDE; INCLUDE would set unchecked attributes"]}


def lenient(model: Any) -> Any:
    """A schema of one's own, whose class says that unknown columns are included."""
    base: Any = schema_for(model)
    return type("Lenient", (base,), {"Meta": type("Meta", (), {"unknown": INCLUDE})})


@pytest.mark.parametrize("model", [model for model in EVERY if model not in schemas.DUMPED_ONLY])
def test_unknown_columns_are_never_included(model: Any) -> None:
    """Neither asked for by the call, nor by the schema or its class: an attribute of a row would be set unchecked."""
    row = model()
    ways: list[tuple[Any, dict[str, Any]]] = [
        (schema_for(model)(), {"unknown": INCLUDE}),
        (schema_for(model)(unknown=INCLUDE), {}),
        (lenient(model)(), {}),
    ]
    for schema, asked in ways:
        for more in ({"instance": row}, {"partial": True}, {}):
            for call in (schema.load, lambda data, schema=schema, **o: schema.loads(json.dumps(data), **o)):
                with pytest.raises(InvalidPayload) as refused:
                    call({"is_new": False, "_fingerprints": {}}, **asked, **more)
                assert refused.value.messages == NOT_INCLUDED
        with pytest.raises(InvalidPayload) as refused:
            schema.load([{"is_new": False}], many=True, **asked)
        assert refused.value.messages == NOT_INCLUDED
    assert (row.is_new, row._fingerprints) == (True, None)


def test_unknown_columns_may_be_left_out(store: Store) -> None:
    issue = World(store).new_issue()
    for schema, asked in (
        (IssueSchema(), {"unknown": marshmallow.EXCLUDE}),
        (IssueSchema(unknown=marshmallow.EXCLUDE), {}),
        (lenient(Issue)(), {"unknown": marshmallow.EXCLUDE}),
    ):
        assert schema.load({"title": "New", "is_new": True}, instance=issue, **asked) is issue
        assert (issue.title, issue.is_new) == ("New", False)
        issue.reload()
    assert messages({"is_new": True}, instance=issue, unknown="whatever") == NOT_INCLUDED


def test_an_instance_takes_one_payload(store: Store) -> None:
    issue = World(store).new_issue()
    told = {"_schema": ["instance: takes one payload, not many"]}
    assert messages([{"title": "New"}], instance=issue, many=True) == told
    with pytest.raises(InvalidPayload) as refused:
        IssueSchema(many=True).load([{"title": "New"}], instance=issue)
    assert (refused.value.messages, issue.unsaved()) == (told, ())
