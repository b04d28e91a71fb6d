"""Tables with an entry for each status or word are complete: a test names the entry that was forgotten."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import peewee
import pytest

from dispatch_state.audit import status_groups
from dispatch_state.audit.log import DECISION_INVARIANTS
from dispatch_state.audit.status_groups import StatusGroups
from dispatch_state.github.labels import PRIORITIES, TYPES
from dispatch_state.github.reviews import VERDICTS
from dispatch_state.github.triggers import CANCELLED_WHEN_COMPLETED, PULL_REQUEST_TRIGGERS, GitHubState
from dispatch_state.models.issue import Issue
from dispatch_state.models.pull_request import PullRequest
from dispatch_state.models.tables import EVERY, STATEFUL
from dispatch_state.schema.column_constraints import _sqlite_type, column_constraints
from dispatch_state.schema.dialects import Dialect
from dispatch_state.storage.targets import SQLITE
from dispatch_state.views.explain import ONWARD
from dispatch_state.views.needs_human import NEEDS
from dispatch_state.vocabulary import (
    DecisionType,
    IssueType,
    Priority,
    PullRequestStatus,
    ReviewStatus,
    Status,
)


def tables() -> Iterator[tuple[str, Collection[Any], Collection[Any]]]:
    """Each table's name, what it has entries for, and what it must have entries for."""
    yield "ONWARD", ONWARD, STATEFUL
    for model in STATEFUL:
        yield f"ONWARD[{model.__name__}]", ONWARD.get(model, {}), model.statuses.live()
    yield "DECISION_INVARIANTS", DECISION_INVARIANTS, tuple(DecisionType)
    yield "PULL_REQUEST_TRIGGERS", PULL_REQUEST_TRIGGERS, tuple(GitHubState)
    for state in GitHubState:
        yield f"PULL_REQUEST_TRIGGERS[{state}]", PULL_REQUEST_TRIGGERS.get(state, {}), tuple(PullRequestStatus)
    yield "VERDICTS", set(VERDICTS.values()), set(ReviewStatus) - {ReviewStatus.PENDING}
    yield "TYPES", set(TYPES.values()), tuple(IssueType)
    yield "PRIORITIES", set(PRIORITIES.values()), tuple(Priority)


TABLES = {name: (entries, wanted) for name, entries, wanted in tables()}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_has_an_entry_for_each_word(name: str) -> None:
    entries, wanted = TABLES[name]
    missing, unknown = [key for key in wanted if key not in entries], [key for key in entries if key not in wanted]
    assert (missing, unknown) == ([], [])


def test_the_triggers_in_the_tables_are_legal() -> None:
    """Each leads out of the status that it is written under, but for those that are fired so that they are refused."""
    for model, by_status in ONWARD.items():
        for status, onward in by_status.items():
            assert not onward.trigger or status in model.machine.triggers[onward.trigger].edges
    assert set(CANCELLED_WHEN_COMPLETED) <= set(Issue.machine.triggers["cancel"].edges)
    illegal = {
        (state, status)
        for state, by_pull_request in PULL_REQUEST_TRIGGERS.items()
        for status, name in by_pull_request.items()
        if name is not None and status not in PullRequest.machine.triggers[name].edges
    }
    assert illegal == {("draft", "merged"), ("open", "merged"), ("merged", "closed")}


def test_a_need_has_rows_in_its_statuses() -> None:
    """A status that its lifecycle does not have would never be asked about, and each kind is listed once."""
    for need in NEEDS:
        assert need.statuses
        assert set(need.statuses) <= set(need.model.statuses)
    assert len({need.kind for need in NEEDS}) == len(NEEDS)


GROUPS = {name: found for name, found in vars(status_groups).items() if isinstance(found, StatusGroups)}


def test_every_lifecycle_has_status_groups() -> None:
    assert len(GROUPS) == len(STATEFUL)


class Light(Status):
    """A lifecycle of two statuses."""

    ON = "on", "It shines."
    OFF = "off", "It is dark.", True


@pytest.mark.parametrize(
    ("groups", "named"),
    [
        ({"lit": ("on",)}, "off"),
        ({"lit": ("on",), "dark": ("off", "on")}, "on"),
        ({"lit": ("on",), "dark": ("off", "broken")}, "broken"),
    ],
)
def test_status_groups_name_what_is_forgotten(groups: Mapping[str, tuple[str, ...]], named: str) -> None:
    with pytest.raises(ValueError, match=f"Light: {named} must be in exactly one group"):
        StatusGroups(Light, **groups)


def test_status_groups_as_sql() -> None:
    assert StatusGroups(Light, lit=("on",), dark=("off",)).sql("dark", "lit") == "('off', 'on')"


# ---- columns -------------------------------------------------------------------------------------------


def test_sqlite_checks_the_type_of_every_column() -> None:
    """But for foreign keys and numbers of rows, which SQLite checks itself."""
    for model in EVERY:
        constrained = {column for column, _ in column_constraints(model, Dialect(SQLITE, "", ""))}
        every = {field.column_name for field in model._meta.sorted_fields}
        own = {field.column_name for field in model._meta.refs} | {"seq"}
        assert every - own == constrained - own


def test_a_column_of_an_unknown_type_is_named() -> None:
    weight = peewee.DoubleField(column_name="weight")
    with pytest.raises(TypeError, match="no constraint is known for the type of"):
        list(_sqlite_type(weight))
