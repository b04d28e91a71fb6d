"""What a person asks of a store: who is waited for, what happened, why, and how much there is."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from dispatch_state import InvalidValue, NeedsHuman, RowNotFound, Store
from dispatch_state.values import new_id
from tests.conftest import Clock
from tests.world import MAINTAINER, WHY, World


@pytest.fixture
def world(store: Store) -> World:
    return World(store)


def unassigned_in_a_running_stage(world: World) -> Any:
    issue = world.running_epic().current_stage.add_issue(**world.issue_columns())
    issue.dequeue(by=MAINTAINER)
    return issue


def orphaned_review(world: World) -> Any:
    issue = world.issues("awaiting_review")
    issue.assigned_agent.stop(by=MAINTAINER, reason=WHY)
    return issue


def without_quorum(world: World) -> Any:
    proposal = world.new_proposal(voting_deadline=world.store.now())
    world.store.tick()
    return proposal


WAITS: dict[str, Callable[[World], Any]] = {
    "gate": lambda world: world.waiting_stage().gates.get(),
    "idle stage": lambda world: world.running_epic({}).current_stage,
    "unassigned issue": unassigned_in_a_running_stage,
    "blocked issue": lambda world: world.issues("blocked"),
    "orphaned review": orphaned_review,
    "errored agent": lambda world: world.agents("errored"),
    "waiting agent": lambda world: world.agents("waiting_for_input"),
    "no quorum": without_quorum,
    "approved proposal": lambda world: world.proposals("approved"),
}


@pytest.mark.parametrize("kind", WAITS)
def test_a_person_is_needed(world: World, store: Store, clock: Clock, kind: str) -> None:
    row = WAITS[kind](world)
    came = clock.now
    clock.forward(hours=1)
    found = [need for need in store.needs_human() if need.kind == kind]
    assert [(need.row, need.since) for need in found] == [(row, came)]
    assert isinstance(found[0], NeedsHuman)
    assert found[0].why


def test_nobody_is_needed(world: World, store: Store) -> None:
    world.running_epic({}).current_stage.add_issue(**world.issue_columns())
    world.issues("in_progress")
    world.issues("awaiting_review")
    world.new_proposal()
    assert store.needs_human() == []


def test_history_is_oldest_first_and_outlives_the_row(world: World, store: Store) -> None:
    issue = world.issues("done")
    wanted = ["create", "assign", "start", "complete"]
    assert [move.trigger for move in store.history(issue)] == wanted
    issue.remove(by=MAINTAINER, reason=WHY)
    assert [move.trigger for move in store.history(issue)] == [*wanted, "remove"]
    with pytest.raises(RowNotFound):
        store.explain(issue)
    with pytest.raises(InvalidValue):
        store.history("issue")  # type: ignore[arg-type]


def test_explain_goes_up_to_who_acted(world: World, store: Store) -> None:
    stage = world.waiting_stage()
    stage.gates.get().approve(by=MAINTAINER, reason="it is sound")
    told = store.explain(stage.epic.reload().current_stage).splitlines()
    assert "is in_progress (version 2)" in told[0]
    assert told[1].startswith("  because ")
    assert all(line.startswith("  which followed ") for line in told[2:])
    assert "gates" in told[-1]
    assert told[-1].endswith("by human:maintainer: it is sound")


def test_a_move_says_what_the_log_says_of_it(world: World, store: Store) -> None:
    issue = world.new_issue()
    (move,) = issue.queue(by=MAINTAINER)
    assert move.say() == f"issues {str(issue.id)[-8:]}  queue (unassigned -> queued)"
    logged = store.history(issue)[-1]
    assert logged.say().endswith(f"  {move.say()} by human:maintainer")
    assert move._replace(trigger="create", source=None).say().endswith("  create (queued)")


def test_changes_come_in_pages(world: World, store: Store) -> None:
    world.issues("done")
    every = store.changes()
    pages, after = [], 0
    while page := store.changes(after=after, limit=3):
        pages += page
        after = page[-1].seq
    assert [move.seq for move in pages] == [move.seq for move in every]
    assert [move.seq for move in every] == sorted(move.seq for move in every)


BAD_PAGES: list[dict[str, Any]] = [{"limit": 0}, {"limit": "5"}, {"after": None}, {"after": 2**63}, {"limit": True}]


@pytest.mark.parametrize("arguments", BAD_PAGES)
def test_bad_pages(store: Store, arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue):
        store.changes(**arguments)


def test_every_move_is_logged_once_without_what_was_asked(
    world: World, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    before = len(store.changes())
    issue = world.new_issue(prompt="the secret prompt")
    issue.queue(by=MAINTAINER)
    ours = [record for record in caplog.records if record.name == "dispatch_state"]
    assert len(ours) == len(store.changes()) - before == 2
    assert "queue: unassigned -> queued by human:maintainer" in ours[-1].message
    assert not [record for record in ours if "secret" in record.message]
    assert not [record for record in caplog.records if record.name.startswith("transitions")]


def test_a_bare_import_is_light() -> None:
    heavy = "marshmallow", "hypothesis", "rich", "dispatch_state.testing"
    code = f"import sys, dispatch_state; print([name for name in {heavy!r} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
    assert new_id() != new_id()
