"""Rows in any status: every status of every lifecycle has a way, and a row is where it was asked to be."""

from __future__ import annotations

from typing import Any

import pytest

from dispatch_state import InvalidValue, Issue, Store
from dispatch_state.testing import factories
from dispatch_state.testing.factories import MODELS
from dispatch_state.testing.ways import WAYS
from tests.world import World

STATUSES = [(table, str(status)) for table, model in MODELS.items() for status in model.statuses]


@pytest.mark.parametrize(("table", "status"), STATUSES)
def test_a_row_is_in_the_status_that_was_asked_for(table: str, status: str, store: Store) -> None:
    row = World(store).at(table, status)
    assert (row._meta.table_name, row.status, MODELS[table].get_by_id(row.id).status) == (table, status, status)


def test_a_way_that_leads_elsewhere_is_an_error(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(WAYS["issues"], "done", "assign start")
    with pytest.raises(AssertionError, match=r"was led to in_progress, not to done"):
        World(store).issues("done")


@pytest.mark.parametrize(
    ("table", "status", "way"),
    [
        ("issues", "in_review", "assign start submit review"),
        ("issues", "blocked", "assign start block"),
        ("stages", "awaiting_gate", "start_epic submit"),
        ("pull_requests", "merged", "merge"),
        ("pull_requests", "draft", "convert_to_draft"),
        ("proposals", "executed", "force_approve begin_execution finish_execution"),
    ],
)
def test_a_status_without_a_way_is_reached_from_the_nearest_that_has_one(
    table: str, status: str, way: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(WAYS[table], status)
    row = World(store).at(table, status)
    assert (row.status, factories.steps_to(World(store).at(table, row.machine.initial), status)) == (
        status,
        way.split(),
    )


def test_a_status_that_cannot_be_reached_is_an_error(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    request = World(store).at("pull_requests", "merged")
    monkeypatch.delitem(WAYS["pull_requests"], "draft")
    monkeypatch.setitem(WAYS, "pull_requests", {"merged": ""})
    with pytest.raises(InvalidValue, match="pull_requests: no way leads from merged to draft"):
        World(store).lead(request, "draft")


@pytest.mark.parametrize("table", MODELS)
def test_no_such_status(table: str, store: Store) -> None:
    with pytest.raises(KeyError, match="finished"):
        World(store).at(table, "finished")


def test_what_leads_a_row_is_a_trigger_or_a_method_of_the_world() -> None:
    for table, ways in WAYS.items():
        known: Any = {*MODELS[table].machine.triggers, *vars(factories.World)}
        for way in ways.values():
            assert set(way.split()) <= known


def test_an_agents_issue_is_moved_by_its_agent(store: Store) -> None:
    issue: Issue = World(store).issues("done")
    assert {move.actor for move in store.history(issue)[1:]} == {issue.assigned_agent.actor}  # type: ignore[union-attr]
