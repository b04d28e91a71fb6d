"""The guards of agents: what must be true for an agent to move."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dispatch_state.lifecycle.interface import Firing
from dispatch_state.models.queries import UNDER_WAY, any_undecided, holder, issue_under_way
from dispatch_state.vocabulary import IssueStatus

if TYPE_CHECKING:
    from dispatch_state.models.agent import Agent


def fits_the_issue(agent: Agent, firing: Firing) -> str | None:
    """The issue is assigned to the agent and under way, or it is in_review without another reviewer."""
    issue = firing["issue"]
    if issue.assigned_agent_id == agent.id:
        return None if issue.status in UNDER_WAY else f"{issue}, which is assigned to it, is {issue.status}"
    if issue.status != IssueStatus.IN_REVIEW:
        return f"{issue} is not assigned to it, and is {issue.status}, not in_review"
    reviewer = holder(issue.id)
    return f"{reviewer} reviews {issue}" if reviewer else None


def nothing_under_way(agent: Agent, firing: Firing) -> str | None:
    """No issue that is assigned to the agent is assigned or in_progress."""
    issue = issue_under_way(agent.id)
    return f"{issue}, which is assigned to it, is {issue.status}; submit, block or release it" if issue else None


def a_proposal_is_undecided(agent: Agent, firing: Firing) -> str | None:
    """A proposal of the agent is open or voting."""
    return None if any_undecided(agent.id) else "no proposal of it is open or voting"


def no_proposal_is_undecided(agent: Agent, firing: Firing) -> str | None:
    """No proposal of the agent is open or voting."""
    return "a proposal of it is still open or voting" if any_undecided(agent.id) else None
