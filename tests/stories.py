"""Moves that are composed of several: the rows that are there before, and the call that makes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dispatch_state import Issue
from tests.world import MAINTAINER, MODELS, WHY, World

Story = Callable[[World], tuple[list[Any], Callable[[], object]]]


def a_gate_is_approved(world: World) -> tuple[list[Any], Callable[[], object]]:
    stage = world.waiting_stage()
    following = stage.epic.stages.order_by(MODELS["stages"].stage_order)[1]
    for _ in range(3):
        following.add_issue(**world.issue_columns())
    gate = stage.gates.get()
    return [gate], lambda: gate.approve(by=MAINTAINER, comment="Good")


def an_epic_is_cancelled(world: World) -> tuple[list[Any], Callable[[], object]]:
    epic = world.running_epic({})
    issue = epic.current_stage.add_issue(**world.issue_columns()).reload()
    world.start(issue)
    epic.reload()
    return [epic], lambda: epic.cancel(by=MAINTAINER, reason=WHY)


def an_issue_is_assigned(world: World) -> tuple[list[Any], Callable[[], object]]:
    issue, agent = world.issues("queued"), world.agent()
    return [issue, agent], lambda: issue.assign(agent, by=agent)


def the_last_issue_is_completed(world: World) -> tuple[list[Any], Callable[[], object]]:
    issue = world.running_epic({}).current_stage.add_issue(**world.issue_columns()).reload()
    agent = world.start(issue)
    return [issue, agent], lambda: issue.complete(by=agent)


def an_agent_fails(world: World) -> tuple[list[Any], Callable[[], object]]:
    agent = world.issues("in_progress").assigned_agent
    return [agent], lambda: agent.fail("it fell over", by=agent)


def an_issue_is_reassigned(world: World) -> tuple[list[Any], Callable[[], object]]:
    issue, agent = world.issues("in_progress"), world.agent()
    return [issue, agent], lambda: issue.reassign(agent, by=MAINTAINER, reason=WHY)


def a_request_is_merged(world: World) -> tuple[list[Any], Callable[[], object]]:
    request = world.pull_requests("open")
    return [request], lambda: request.merge(by=MAINTAINER)


def an_issue_is_created(world: World) -> tuple[list[Any], Callable[[], object]]:
    issue = Issue(stage=world.running_epic().current_stage, **world.issue_columns())
    return [issue], lambda: issue.save()


def an_epic_is_removed(world: World) -> tuple[list[Any], Callable[[], object]]:
    epic = world.epics("completed").reload()
    return [epic], lambda: epic.remove(by=MAINTAINER, reason=WHY)


def a_vote_decides(world: World) -> tuple[list[Any], Callable[[], object]]:
    proposer = world.start(world.new_issue())
    proposal = world.new_proposal(proposer)
    proposer.await_vote(by=proposer)
    voter = world.agent()
    return [proposal.reload(), voter], lambda: proposal.vote(voter, "approve", WHY)


STORIES: list[Story] = [
    a_gate_is_approved,
    an_epic_is_cancelled,
    an_issue_is_assigned,
    the_last_issue_is_completed,
    an_agent_fails,
    an_issue_is_reassigned,
    a_request_is_merged,
    an_issue_is_created,
    an_epic_is_removed,
    a_vote_decides,
]
