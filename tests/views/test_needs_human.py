"""`needs_human()`: which rows wait for a person, since when and why."""

from __future__ import annotations

from typing import get_args, get_type_hints

import pytest

from dispatch_state import NeedsHuman, Store
from dispatch_state.testing.scratch import Clock
from tests.waits import WAITS
from tests.world import MAINTAINER, WHY, World


@pytest.mark.parametrize("kind", WAITS)
def test_a_person_is_needed(world: World, store: Store, clock: Clock, kind: str) -> None:
    """Each kind is listed with its row, the moment it began and a reason."""
    row = WAITS[kind](world)
    came = clock.now
    clock.forward(hours=1)
    found = [need for need in store.needs_human() if need.kind == kind]
    assert [(need.row, need.since) for need in found] == [(row, came)]
    assert isinstance(found[0], NeedsHuman)
    assert type(row) in get_args(get_type_hints(NeedsHuman)["row"])
    assert found[0].why


def test_nobody_is_needed(world: World, store: Store) -> None:
    """Work that agents do or may claim asks for no person."""
    world.running_epic({}).current_stage.add_issue(**world.issue_columns())
    world.issues("in_progress")
    world.issues("awaiting_review")
    world.agents("errored")  # the work that it left is queued
    world.new_proposal()
    assert store.needs_human() == []


def test_since_is_when_the_row_began_to_wait(world: World, store: Store, clock: Clock) -> None:
    stage = world.running_epic().current_stage
    issue = stage.add_issue(**world.issue_columns()).reload()
    orphan = world.issues("awaiting_review")
    clock.forward(hours=5)
    issue.cancel(by=MAINTAINER, reason=WHY)
    orphan.assigned_agent.stop(by=MAINTAINER, reason=WHY)
    came = {need.kind: need.since for need in store.needs_human()}
    assert (came["idle stage"], came["orphaned review"]) == (clock.now, clock.now)
