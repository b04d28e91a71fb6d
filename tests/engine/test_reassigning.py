"""`Issue.reassign`: a person gives an issue to another agent."""

from __future__ import annotations

import pytest

from dispatch_state import SANGHA, Agent, Decision, GuardRefused, IllegalTransition, InvalidValue, Issue, StaleRow
from tests.invariants import broken
from tests.moves import fired
from tests.world import MAINTAINER, RUNNER, WHY, World


def test_reassigning_is_two_moves_and_one_decision(world: World) -> None:
    issue, other = world.issues("in_progress"), world.agent()
    moves = issue.reassign(other, by=MAINTAINER, reason=WHY)
    assert fired(moves) == ["issues.release", "agents.finish", "issues.assign", "agents.dispatch"]
    assert (issue.status, issue.assigned_agent_id, other.status) == ("assigned", other.id, "starting")
    decision = Decision.get()
    assert (decision.outcome["action"], decision.outcome["reason"]) == ("reassign", WHY)


def test_only_a_person_may_reassign(world: World) -> None:
    issue, other = world.issues("in_progress"), world.agent()
    with pytest.raises(GuardRefused, match="takes a person"):
        issue.reassign(other, by=RUNNER, reason=WHY)


def test_reassigning_changes_nothing_when_the_agent_is_busy(world: World) -> None:
    issue, busy = world.issues("in_progress"), world.start(world.new_issue())
    before = dict(issue.__data__)
    with pytest.raises(GuardRefused, match="not idle"):
        issue.reassign(busy, by=MAINTAINER, reason=WHY)
    assert dict(issue.reload().__data__) == before


@pytest.mark.parametrize("status", ["assigned", "in_progress", "blocked", "awaiting_review", "in_review"])
def test_an_issue_may_go_to_its_own_agent_again(world: World, status: str) -> None:
    """The agent starts afresh with it."""
    issue = world.issues(status)
    agent = issue.assigned_agent
    moves = fired(issue.reassign(agent, by=MAINTAINER, reason=WHY))
    assert (moves[0], moves[-2:]) == ("issues.release", ["issues.assign", "agents.dispatch"])
    assert (issue.status, issue.assigned_agent_id, agent.status, agent.current_issue_id) == (
        "assigned", agent.id, "starting", issue.id
    )  # fmt: skip
    outcome = Decision.get().outcome
    assert (outcome["agent_id"], outcome["to_agent_id"]) == (str(agent.id), str(agent.id))
    assert broken(world.store) == []


def test_an_issue_may_go_to_the_agent_that_reviews_it(world: World) -> None:
    issue, reviewer = world.issues("awaiting_review"), world.agent("reviewer")
    author = issue.assigned_agent
    issue.review(by=reviewer)
    moves = issue.reassign(Agent.get_by_id(reviewer.id), by=MAINTAINER, reason=WHY)
    assert fired(moves) == ["issues.release", "agents.finish", "issues.assign", "agents.dispatch"]
    assert (issue.assigned_agent_id, reviewer.reload().status) == (reviewer.id, "starting")
    outcome = Decision.get().outcome
    assert (outcome["agent_id"], outcome["to_agent_id"]) == (str(author.id), str(reviewer.id))
    assert broken(world.store) == []


def test_a_refused_reassigning_names_the_status_that_the_issue_has(world: World) -> None:
    """It does not name a status between the two moves."""
    issue, busy = world.issues("in_progress"), world.start(world.new_issue())
    with pytest.raises(GuardRefused) as refused:
        issue.reassign(busy, by=MAINTAINER, reason=WHY)
    why = f"{busy} is working, not idle"
    assert str(refused.value) == f"{issue} is in_progress: reassign was refused: {why}"
    assert refused.value.reasons == (why,)


@pytest.mark.parametrize("status", ["unassigned", "queued", "done", "cancelled"])
def test_what_cannot_be_released_is_not_reassigned_whoever_asks(world: World, status: str) -> None:
    """The error is IllegalTransition, before any question of permission, and StaleRow on a stale copy."""
    issue, other = world.issues(status), world.agent()
    for by in (MAINTAINER, RUNNER, world.agent(), world.agents("errored"), world.agents("completed"), SANGHA):
        with pytest.raises(IllegalTransition, match=f"is {status}: release does not start there"):
            issue.reassign(other, by=by, reason=WHY)
    stale = Issue.get_by_id(issue.id)
    stale.version -= 1
    stale._dirty.clear()
    with pytest.raises(StaleRow):
        stale.reassign(other, by=SANGHA, reason=WHY)


def test_reassign_refuses_unsaved_changes(world: World) -> None:
    issue = world.issues("in_progress")
    issue.title = "changed"
    with pytest.raises(InvalidValue, match="unsaved changes to title"):
        issue.reassign(world.agent(), by=MAINTAINER, reason=WHY)


def test_the_decision_of_a_reassignment_names_both_agents(world: World) -> None:
    issue, other = world.issues("in_progress"), world.agent()
    before = issue.assigned_agent_id
    issue.reassign(other, by=MAINTAINER, reason=WHY)
    outcome = Decision.get().outcome
    assert (outcome["agent_id"], outcome["to_agent_id"]) == (str(before), str(other.id))
