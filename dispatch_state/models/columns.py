"""The arguments of each model's `create()`, for type checkers; a test compares them with the models.

A value of an enumeration may be given as its text, and a key as the row or its id.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, Required, TypedDict
from uuid import UUID

from dispatch_state.actors import Actor
from dispatch_state.vocabulary import (
    AgentType,
    GateType,
    IssueType,
    Priority,
    ProposalType,
    PullRequestStatus,
    Threshold,
)

if TYPE_CHECKING:
    from dispatch_state.models.agent import Agent
    from dispatch_state.models.epic import Epic
    from dispatch_state.models.issue import Issue
    from dispatch_state.models.stage import Stage

Approvers = list[str] | Literal["any"]


class Creation(TypedDict, total=False):
    """What every `create` takes besides columns: who creates the row, and why."""

    by: Actor
    reason: str


class EpicColumns(Creation, total=False):
    """What `Epic.create` takes."""

    id: UUID | str
    title: Required[str]
    description: Required[str]
    repo_path: Required[str]
    repo_url: str | None
    acceptance_criteria: list[str] | None
    github_id: int | None
    github_url: str | None


class StagePlace(TypedDict, total=False):
    """What `Epic.add_stage` takes besides name and description."""

    id: UUID | str
    stage_order: int


class StageColumns(StagePlace, Creation, total=False):
    """What `Stage.create` takes."""

    epic: Required[Epic | UUID | str]
    name: Required[str]
    description: str | None


class GateTerms(TypedDict, total=False):
    """What `Stage.add_gate` takes besides type, description and approvers."""

    id: UUID | str
    options: list[str] | None
    auto_approve_at: datetime | None


class GateColumns(GateTerms, Creation, total=False):
    """What `Gate.create` takes."""

    stage: Required[Stage | UUID | str]
    gate_type: Required[GateType | str]
    description: Required[str]
    required_approvers: Approvers | None


class IssueContent(TypedDict, total=False):
    """What `Epic.add_issue` and `Stage.add_issue` take."""

    id: UUID | str
    title: Required[str]
    prompt: Required[str]
    issue_type: Required[IssueType | str]
    priority: Priority | str
    agent_type: AgentType | str | None
    labels: list[str] | None
    repo_path: str
    repo_url: str | None
    github_id: int | None
    github_url: str | None


class IssueColumns(IssueContent, Creation, total=False):
    """What `Issue.create` takes."""

    epic: Epic | UUID | str | None
    stage: Stage | UUID | str | None


class PullRequestColumns(Creation, total=False):
    """What `PullRequest.create` takes."""

    id: UUID | str
    issue: Required[Issue | UUID | str]
    github_number: Required[int]
    github_url: Required[str]
    branch: Required[str]
    status: PullRequestStatus | str


class AgentColumns(Creation, total=False):
    """What `Agent.create` takes."""

    id: UUID | str
    agent_type: Required[AgentType | str]


class ProposalColumns(Creation, total=False):
    """What `Proposal.create` takes."""

    id: UUID | str
    proposal_type: Required[ProposalType | str]
    proposer: Required[Agent | UUID | str]
    title: Required[str]
    description: Required[str]
    rationale: Required[str]
    related_issue: Issue | UUID | str | None
    affected_components: list[str] | None
    options: list[str] | list[dict[str, Any]] | None
    required_voters: list[str] | list[AgentType]
    threshold: Threshold | str
    implementation_plan: str | None
    rollback_plan: str | None
    voting_deadline: datetime | None
