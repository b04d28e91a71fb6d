"""Each kind of wait for a person, and a function that brings a row to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dispatch_state.github.events import apply_event
from tests.deliveries import changed, closed, in_status, opened
from tests.world import MAINTAINER, WHY, World


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


def edited_by_a_stranger(world: World) -> Any:
    issue = opened(author_association="NONE")
    issue.queue(by=MAINTAINER)
    later = {"number": 12, "html_url": issue.github_url, "author_association": "NONE", "body": "Do something else"}
    apply_event(*changed("issues_opened", "2026-02-01T00:00:00Z", top={"action": "edited"}, issue=later))
    return issue


def closed_on_github(world: World) -> Any:
    issue = in_status(world.store, "in_progress", "draft")
    apply_event(*closed())
    return issue


WAITS: dict[str, Callable[[World], Any]] = {
    "gate": lambda world: world.waiting_stage().gates.get(),
    "idle stage": lambda world: world.running_epic({}).current_stage,
    "unassigned issue": unassigned_in_a_running_stage,
    "blocked issue": lambda world: world.issues("blocked"),
    "orphaned review": orphaned_review,
    "waiting agent": lambda world: world.agents("waiting_for_input"),
    "no quorum": without_quorum,
    "approved proposal": lambda world: world.proposals("approved"),
    "edited by a stranger": edited_by_a_stranger,
    "closed on GitHub": closed_on_github,
}
