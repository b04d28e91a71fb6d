"""New rows: where they may be added, what follows from them, and how they bring the objects in memory up to date."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dispatch_state import GuardRefused, PullRequest
from tests.moves import fired
from tests.world import MAINTAINER, WHY, World, as_stored, first_stage


def test_an_issue_that_is_added_to_a_running_stage_is_queued(world: World) -> None:
    issue = first_stage(world.running_epic()).add_issue(**world.issue_columns())
    assert (issue.status, issue.version) == ("queued", 2)
    assert issue.epic_id is not None


@pytest.mark.parametrize("status", ["awaiting_gate", "approved", "skipped"])
def test_no_issue_is_added_to_a_closed_stage(world: World, status: str) -> None:
    with pytest.raises(GuardRefused, match=status):
        world.stages(status).add_issue(**world.issue_columns())


@pytest.mark.parametrize("status", ["completed", "cancelled"])
def test_nothing_is_added_to_a_closed_epic(world: World, status: str) -> None:
    epic = world.epics(status)
    with pytest.raises(GuardRefused, match=status):
        epic.add_issue(**world.issue_columns())
    with pytest.raises(GuardRefused, match=status):
        epic.add_stage("late")


def test_a_stage_is_added_after_the_stages_that_have_begun(world: World) -> None:
    epic = world.running_epic()
    with pytest.raises(GuardRefused, match="a stage_order above 0"):
        epic.add_stage("early", stage_order=-1)
    with pytest.raises(GuardRefused, match="is taken"):
        epic.add_stage("twin", stage_order=1)
    assert epic.add_stage("late").stage_order == 2


def test_no_gate_is_added_to_a_waiting_stage(world: World) -> None:
    with pytest.raises(GuardRefused, match="a gate can be created only while"):
        world.waiting_stage().add_gate("approval", "late")


def test_an_agent_opens_requests_for_its_own_issue_only(world: World) -> None:
    issue, other = world.issues("in_progress"), world.agent()
    with pytest.raises(GuardRefused, match="is not assigned to"):
        PullRequest.create(issue=issue, **world.request_columns(), by=other)


def test_place_follows_the_rules_of_creation(world: World) -> None:
    running, closed = first_stage(world.running_epic()), world.stages("skipped")
    issue = world.new_issue()
    with pytest.raises(GuardRefused, match="skipped"):
        issue.place(closed, by=MAINTAINER)
    assert fired(issue.place(running, by=MAINTAINER)) == ["issues.queue"]
    assert (issue.epic_id, issue.stage_id, issue.status) == (running.epic_id, running.id, "queued")
    with pytest.raises(GuardRefused, match="never changes"):
        issue.place(running, by=MAINTAINER)


# ---- the object that something is added to ------------------------------------------------------------


ADDED: dict[str, Callable[[World, Any], Any]] = {
    "a stage to an epic": lambda world, epic: epic.add_stage("another"),
    "an issue to an epic": lambda world, epic: epic.add_issue(**world.issue_columns()),
    "a placed issue to an epic": lambda world, epic: world.new_issue().place(epic, by=MAINTAINER),
    "a gate to a stage": lambda world, stage: stage.add_gate("approval", "a human looks"),
    "an issue to a stage": lambda world, stage: stage.add_issue(**world.issue_columns()),
    "a placed issue to a stage": lambda world, stage: world.new_issue().place(stage, by=MAINTAINER),
    "a request to an issue": lambda world, issue: PullRequest.create(issue=issue, **world.request_columns()),
    "a proposal to an agent": lambda world, agent: world.new_proposal(agent),
}


@pytest.mark.parametrize("what", ADDED)
def test_the_object_that_something_was_added_to_is_up_to_date(world: World, what: str) -> None:
    """The copy is older than the row; afterwards it holds what the database holds."""
    row: Any
    kind = what.split()[-1]
    if kind == "epic":
        row, trigger = world.epics("ready"), "start"
    elif kind == "stage":
        row, trigger = first_stage(world.epics("ready")), None
    else:
        row, trigger = (world.issues("unassigned"), "queue") if kind == "issue" else (world.agent(), None)
    copy = type(row).get_by_id(row.id)
    if trigger:
        getattr(row, trigger)(by=MAINTAINER)
    elif kind == "stage":
        row.epic.start(by=MAINTAINER)
    else:
        world.issues("queued").assign(row, by=row)
    assert copy.version < type(row).get_by_id(row.id).version
    ADDED[what](world, copy)
    assert dict(copy.__data__) == dict(type(row).get_by_id(row.id).__data__)


def test_a_stale_copy_can_be_used_after_something_was_added_to_it(world: World) -> None:
    """It keeps its unsaved changes."""
    epic = world.epics("ready")
    copy = type(epic).get_by_id(epic.id)
    epic.start(by=MAINTAINER)
    copy.title = "Another title"
    copy.add_stage("s")
    assert (copy.status, copy.title, copy.unsaved()) == ("in_progress", "Another title", ("title",))
    copy.save()
    copy.cancel(by=MAINTAINER, reason=WHY)


def test_a_refused_addition_leaves_the_object_as_it_was(world: World) -> None:
    epic = world.epics("completed").reload()
    copy = type(epic).get_by_id(epic.id)
    copy.version -= 1
    copy._dirty.clear()
    with pytest.raises(GuardRefused):
        copy.add_stage("s")
    assert copy.version == epic.version - 1


def test_a_creation_brings_its_parents_and_actor_up_to_date(world: World) -> None:
    issue = world.issues("in_progress")
    agent = issue.assigned_agent
    PullRequest.create(issue=issue, by=agent, **world.request_columns())
    assert (issue.status, agent.status) == ("awaiting_review", "idle")
    as_stored(issue)
    issue.review(by=MAINTAINER)
    epic = world.running_epic(stages=1)
    epic.add_issue(**world.issue_columns())
    epic.stages.get().finish(by=MAINTAINER)
    epic.reload()
    late = epic.add_stage("late")
    assert epic.current_stage_id == late.id


def test_place_fills_in_what_the_epic_holds(world: World) -> None:
    """Afterwards the object holds what the database holds."""
    epic = world.epics("draft")
    epic.repo_url = "https://example.org/app"
    epic.save()
    issue = world.new_issue()
    issue.place(epic, by=MAINTAINER)
    assert issue.repo_url == epic.repo_url
    as_stored(issue)
