"""Stale copies: after another copy of a row has moved, no method of the old copy can change the row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dispatch_state import Agent, Epic, IllegalTransition, Issue, RowNotFound, StaleRow, Store, TransitionLog
from tests import grids
from tests.grids import STATUSES
from tests.world import MAINTAINER, MODELS, WHY, World

MOVES: dict[str, Callable[[World, Any], object]] = {
    "epics": lambda w, row: row.cancel(by=MAINTAINER, reason=WHY),
    "stages": lambda w, row: row.skip(by=MAINTAINER, reason=WHY),
    "gates": lambda w, row: row.skip(by=MAINTAINER, reason=WHY),
    "issues": lambda w, row: row.cancel(by=MAINTAINER, reason=WHY),
    "pull_requests": lambda w, row: row.reopen(by=MAINTAINER) if row.status == "closed" else row.close(by=MAINTAINER),
    "agents": lambda w, row: row.stop(by=MAINTAINER, reason=WHY),
    "proposals": lambda w, row: {
        "open": row.open_voting, "voting": lambda **k: row.force_reject(reason=WHY, **k),
        "approved": row.begin_execution, "executing": lambda **k: row.roll_back(reason=WHY, **k),
        "executed": lambda **k: row.roll_back(reason=WHY, **k),
    }[row.status](by=MAINTAINER),
}  # fmt: skip
"""How another copy moves a row, from any status that is not final."""

LIVE = [(table, status) for table, status in STATUSES if status not in grids.FINAL[table]]


@pytest.mark.parametrize(("table", "status"), LIVE, ids=str)
def test_every_trigger_of_a_stale_copy(store: Store, subtests: pytest.Subtests, table: str, status: str) -> None:
    """Legal and illegal triggers alike raise StaleRow: only the present row could say which it is."""
    for trigger in MODELS[table].machine.triggers:
        with subtests.test(trigger):
            world = World(store)
            row = world.at(table, status)
            arguments = world.arguments(row, trigger)
            row.reload()
            copy = MODELS[table].get_by_id(row.id)
            MOVES[table](world, row)
            before, held = dict(copy.__data__), TransitionLog.select().count()
            with pytest.raises(StaleRow, match=r"reload\(\) it and decide again"):
                getattr(copy, trigger)(**arguments)
            assert dict(copy.__data__) == before
            assert TransitionLog.select().count() == held
            assert copy.reload().__data__ == MODELS[table].get_by_id(row.id).__data__


@pytest.mark.parametrize("way", ["reassign", "place", "remove"])
def test_fenced_methods(store: Store, way: str) -> None:
    """`reassign`, `place` and `remove` refuse stale copies too."""
    world = World(store)
    issue = world.issues("in_progress" if way == "reassign" else "unassigned")
    copy = Issue.get_by_id(issue.id)
    issue.cancel(by=MAINTAINER, reason=WHY)
    calls: dict[str, Callable[[], object]] = {
        "reassign": lambda: copy.reassign(world.agent(), by=MAINTAINER, reason=WHY),
        "place": lambda: copy.place(world.epics("draft"), by=MAINTAINER),
        "remove": lambda: copy.remove(by=MAINTAINER, reason=WHY),
    }
    with pytest.raises(StaleRow):
        calls[way]()
    assert Issue.get_by_id(issue.id).status == "cancelled"


def test_the_status_is_part_of_the_fence(store: Store) -> None:
    """After a rollback an object may have a version that another session's move has reached too."""
    world = World(store)
    issue = world.issues("unassigned")
    with pytest.raises(ZeroDivisionError), store.database.atomic():
        issue.queue(by=MAINTAINER)
        raise ZeroDivisionError
    assert (issue.status, issue.version) == ("queued", 2), "Peewee's own block does not restore objects"
    Issue.get_by_id(issue.id).cancel(by=MAINTAINER, reason=WHY)
    with pytest.raises(StaleRow):
        issue.dequeue(by=MAINTAINER)
    assert Issue.get_by_id(issue.id).status == "cancelled"


def test_a_heartbeat_of_a_stale_copy_reads_the_row(store: Store) -> None:
    world = World(store)
    agent = world.agent()
    copy = Agent.get_by_id(agent.id)
    world.issues("queued").assign(agent, by=agent)
    copy.heartbeat()
    assert (copy.status, copy.version) == (agent.status, agent.version)


def test_arguments_and_actor_are_brought_up_to_date(store: Store) -> None:
    """A loop can reuse its agent object: its own moves never make it stale."""
    world = World(store)
    agent = world.agent()
    for _ in range(3):
        issue = world.issues("queued")
        issue.assign(agent, by=agent)
        issue.start(by=agent)
        issue.complete(by=agent)
        assert dict(agent.__data__) == dict(Agent.get_by_id(agent.id).__data__)


def test_a_stale_agent_object_still_acts(store: Store) -> None:
    """Only the row whose trigger is called must be up to date; its actor need not be."""
    world = World(store)
    issue = world.issues("in_progress")
    stale = Agent.get_by_id(issue.assigned_agent_id)
    stale.version -= 1
    stale._dirty.clear()
    issue.complete(by=stale)
    assert (stale.status, issue.status) == ("idle", "done")


def test_a_neighbour_column_changes_without_a_move(store: Store) -> None:
    """`current_stage` is written with the move of the epic, not by one of its own."""
    world = World(store)
    epic = world.epics("ready")
    held = Epic.get_by_id(epic.id)
    epic.start(by=MAINTAINER)
    assert epic.current_stage_id is not None
    assert (epic.version, [m.trigger for m in store.history(epic)]) == (
        held.version + 1,
        ["create", "mark_ready", "start"],
    )


def test_a_missing_argument_is_reported_before_a_stale_copy(world: World) -> None:
    issue, agent = world.issues("queued"), world.agent()
    stale = Issue.get_by_id(issue.id)
    issue.dequeue(by=MAINTAINER)
    gone = Agent.get_by_id(agent.id)
    agent.stop(by=MAINTAINER, reason=WHY)
    agent.remove(by=MAINTAINER, reason=WHY)
    for row, error in ((stale, RowNotFound), (world.issues("done"), RowNotFound)):
        with pytest.raises(error):
            row.assign(gone, by=MAINTAINER)
    with pytest.raises(StaleRow):
        stale.dequeue(by=MAINTAINER)
    with pytest.raises(IllegalTransition):
        issue.start(by=MAINTAINER)
