"""What must be true before an issue moves, where it needs to know no other issue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dispatch_state.lifecycle.interface import Firing
from dispatch_state.models.agent import holder, issue_under_way
from dispatch_state.vocabulary import AgentStatus, EpicStatus, StageStatus

if TYPE_CHECKING:
    from dispatch_state.models.issue import Issue


def its_epic_runs(issue: Issue, firing: Firing) -> str | None:
    epic = issue.epic
    return f"{epic} is {epic.status}, not in_progress" if epic and epic.status != EpicStatus.IN_PROGRESS else None


def its_stage_runs(issue: Issue, firing: Firing) -> str | None:
    stage = issue.stage
    return f"{stage} is {stage.status}, not in_progress" if stage and stage.status != StageStatus.IN_PROGRESS else None


def the_agent_is_free(issue: Issue, firing: Firing) -> str | None:
    agent = firing["agent"]
    if agent.status != AgentStatus.IDLE:
        return f"{agent} is {agent.status}, not idle"
    other = issue_under_way(agent.id)
    return f"{agent} has {other}, which is {other.status}" if other else None


def the_agent_fits(issue: Issue, firing: Firing) -> str | None:
    agent = firing["agent"]
    if issue.agent_type in (None, agent.agent_type):
        return None
    return f"it takes a {issue.agent_type}, and {agent} is a {agent.agent_type}"


def the_reviewer_is_free(issue: Issue, firing: Firing) -> str | None:
    reviewer = reviewing_agent(firing)
    if reviewer is None:
        return None
    if reviewer.id == issue.assigned_agent_id:
        return f"{reviewer} is its assigned agent, which does not review its own work"
    return None if reviewer.status == AgentStatus.IDLE else f"{reviewer} is {reviewer.status}, not idle"


def no_agent_reviews_it(issue: Issue, firing: Firing) -> str | None:
    reviewer = holder(issue.id)
    return f"{reviewer} reviews it; finish() that agent" if reviewer else None


def its_agent_is_idle(issue: Issue, firing: Firing) -> str | None:
    agent = issue.assigned_agent
    if agent is None:
        return "its assigned agent is gone; release() it"
    return None if agent.status == AgentStatus.IDLE else f"{agent}, its assigned agent, is {agent.status}; release() it"


def reviewer(issue: Issue, firing: Firing) -> str | None:
    """An agent only when it reviews the issue; any person, and the system."""
    if firing.agent is None or firing.agent.current_issue_id == issue.id:
        return None
    return f"{firing.agent} does not review it"


def reviewing_agent(firing: Firing) -> Any:
    """The agent that a `review` sends: the one named, else the agent that acts; None when a person reviews."""
    return firing["reviewer"] or (firing.agent if firing.act else None)
