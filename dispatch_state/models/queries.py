"""The queries of guards, rules and locks.

The guards of a model need models that are declared after it. Therefore these queries take ids, and find each model by
the name of its table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from peewee import SQL, ModelSelect

from dispatch_state.models.row import MODELS
from dispatch_state.storage.statements import exists, one, rows, tuples
from dispatch_state.vocabulary import GateStatus, IssueStatus, ProposalStatus, PullRequestStatus, StageStatus

if TYPE_CHECKING:
    from dispatch_state.models.agent import Agent
    from dispatch_state.models.gate import Gate
    from dispatch_state.models.issue import Issue
    from dispatch_state.models.proposal import Proposal
    from dispatch_state.models.pull_request import PullRequest
    from dispatch_state.models.stage import Stage
    from dispatch_state.models.vote import Vote

CLOSED_STAGE = (StageStatus.APPROVED, StageStatus.SKIPPED)
RUNNING_STAGE = (StageStatus.IN_PROGRESS, StageStatus.AWAITING_GATE)
OPEN_GATE = (GateStatus.PENDING, GateStatus.REJECTED)
UNSETTLED = (PullRequestStatus.DRAFT, PullRequestStatus.OPEN)
UNDER_WAY = (IssueStatus.ASSIGNED, IssueStatus.IN_PROGRESS)
UNDECIDED = (ProposalStatus.OPEN, ProposalStatus.VOTING)

# ---- stages and gates --------------------------------------------------------------------------------


@exists
def any_stage(epic: UUID) -> ModelSelect[Stage]:
    """Whether the epic has a stage."""
    return _stages(epic)


@one
def awaiting_stage(epic: UUID) -> ModelSelect[Stage]:
    """The stage of the epic that is awaiting_gate, or None."""
    return _stages(epic, MODELS["stages"].status == StageStatus.AWAITING_GATE)


@one
def running_stage(epic: UUID) -> ModelSelect[Stage]:
    """The stage of the epic that is in_progress or awaiting_gate, or None."""
    return _stages(epic, MODELS["stages"].status.in_(RUNNING_STAGE))


@one
def first_open_stage(epic: UUID) -> ModelSelect[Stage]:
    """The first stage of the epic that is neither approved nor skipped, or None."""
    stage = MODELS["stages"]
    return _stages(epic, stage.status.not_in(CLOSED_STAGE)).order_by(stage.stage_order)


@one
def first_pending_stage(epic: UUID) -> ModelSelect[Stage]:
    """The first pending stage of the epic, or None."""
    stage = MODELS["stages"]
    return _stages(epic, stage.status == StageStatus.PENDING).order_by(stage.stage_order)


@rows
def live_stages(epic: UUID) -> ModelSelect[Stage]:
    """The live stages of the epic, by stage_order."""
    stage = MODELS["stages"]
    return _stages(epic, stage.status.in_(StageStatus.live())).order_by(stage.stage_order)


@exists
def stage_order_taken(epic: UUID, order: int, excluded: UUID) -> ModelSelect[Stage]:
    """Whether another stage of the epic has the order."""
    stage = MODELS["stages"]
    return _stages(epic, stage.stage_order == order, stage.id != excluded)


@tuples
def stage_orders(epic: UUID) -> ModelSelect[Stage]:
    """The order and the status of each stage of the epic."""
    stage = MODELS["stages"]
    query: ModelSelect[Stage] = stage.select(stage.stage_order, stage.status).where(stage.epic == epic)
    return query


def _stages(epic: UUID, *where: Any) -> ModelSelect[Stage]:
    stage = MODELS["stages"]
    query: ModelSelect[Stage] = stage.select().where(stage.epic == epic, *where)
    return query


@one
def first_pending_gate(stage: UUID) -> ModelSelect[Gate]:
    """The oldest pending gate of the stage, or None."""
    return _gates(stage, (GateStatus.PENDING,))


@one
def next_pending_gate(stage: UUID, excluded: UUID) -> ModelSelect[Gate]:
    """The oldest pending gate of the stage besides one, or None."""
    return _gates(stage, (GateStatus.PENDING,)).where(MODELS["gates"].id != excluded)


@rows
def open_gates(stage: UUID) -> ModelSelect[Gate]:
    """The pending and rejected gates of the stage, the oldest first."""
    return _gates(stage, OPEN_GATE)


@rows
def open_gates_of_epic(epic: UUID) -> ModelSelect[Gate]:
    """The pending and rejected gates of all stages of the epic, the oldest first."""
    gate, stage = MODELS["gates"], MODELS["stages"]
    query: ModelSelect[Gate] = gate.select(*gate._meta.sorted_fields).join(stage)
    return query.where(stage.epic == epic, gate.status.in_(OPEN_GATE)).order_by(gate.created_at, gate.id)


def _gates(stage: UUID, statuses: tuple[GateStatus, ...]) -> ModelSelect[Gate]:
    gate = MODELS["gates"]
    query: ModelSelect[Gate] = gate.select().where(gate.stage == stage, gate.status.in_(statuses))
    return query.order_by(gate.created_at, gate.id)


# ---- issues and pull requests ------------------------------------------------------------------------


@one
def first_live_issue_of_epic(epic: UUID) -> ModelSelect[Issue]:
    """The oldest live issue of the epic, or None."""
    return _oldest_first(MODELS["issues"].epic == epic, _is_live())


@one
def first_live_issue_of_stage(stage: UUID) -> ModelSelect[Issue]:
    """The oldest live issue of the stage, or None."""
    return _oldest_first(MODELS["issues"].stage == stage, _is_live())


@one
def first_done_issue_of_stage(stage: UUID) -> ModelSelect[Issue]:
    """An issue of the stage that is done, or None."""
    issue = MODELS["issues"]
    query: ModelSelect[Issue] = issue.select().where(issue.stage == stage, issue.status == IssueStatus.DONE)
    return query


@rows
def live_issues_of_epic(epic: UUID) -> ModelSelect[Issue]:
    """The live issues of the epic, the oldest first."""
    return _oldest_first(MODELS["issues"].epic == epic, _is_live())


@rows
def live_issues_of_stage(stage: UUID) -> ModelSelect[Issue]:
    """The live issues of the stage, the oldest first."""
    return _oldest_first(MODELS["issues"].stage == stage, _is_live())


@rows
def unassigned_issues_of_stage(stage: UUID) -> ModelSelect[Issue]:
    """The unassigned issues of the stage, the oldest first."""
    issue = MODELS["issues"]
    return _oldest_first(issue.stage == stage, issue.status == IssueStatus.UNASSIGNED)


@rows
def issues_waiting_for_their_stage(epic: UUID) -> ModelSelect[Issue]:
    """The unassigned issues of the epic's pending stages, which are queued when their stage starts."""
    issue, stage = MODELS["issues"], MODELS["stages"]
    query: ModelSelect[Issue] = issue.select(*issue._meta.sorted_fields).join(stage, on=(issue.stage == stage.id))
    waiting = stage.status == StageStatus.PENDING, issue.status == IssueStatus.UNASSIGNED
    return query.where(stage.epic == epic, *waiting)


@rows
def issues_under_way(agent: UUID) -> ModelSelect[Issue]:
    """The issues that are assigned to the agent and are assigned or in_progress, the oldest first."""
    return _oldest_first(MODELS["issues"].assigned_agent == agent, under_way())


@one
def issue_under_way(agent: UUID) -> ModelSelect[Issue]:
    """An issue that is assigned to the agent and is assigned or in_progress, or None."""
    issue = MODELS["issues"]
    query: ModelSelect[Issue] = issue.select().where(issue.assigned_agent == agent, under_way())
    return query.order_by(issue.id)


def under_way() -> SQL:
    """Return the condition for issues that an agent works on, with the exact text of its partial index."""
    return SQL("status IN ('assigned', 'in_progress')")


def _is_live() -> Any:
    return MODELS["issues"].status.in_(IssueStatus.live())


def _oldest_first(*where: Any) -> ModelSelect[Issue]:
    issue = MODELS["issues"]
    query: ModelSelect[Issue] = issue.select().where(*where)
    return query.order_by(issue.created_at, issue.id)


@one
def unsettled_request(issue: UUID) -> ModelSelect[PullRequest]:
    """A pull request of the issue that is draft or open, or None."""
    return _unsettled(issue)


@one
def other_unsettled_request(issue: UUID, excluded: UUID) -> ModelSelect[PullRequest]:
    """A pull request of the issue that is draft or open, besides one, or None."""
    return _unsettled(issue).where(MODELS["pull_requests"].id != excluded)


def _unsettled(issue: UUID) -> ModelSelect[PullRequest]:
    request = MODELS["pull_requests"]
    query: ModelSelect[PullRequest] = request.select().where(request.issue == issue, request.status.in_(UNSETTLED))
    return query.order_by(request.id)


# ---- agents, proposals, votes ------------------------------------------------------------------------


@rows
def agents_holding(issue: UUID) -> ModelSelect[Agent]:
    """The agents that hold the issue, the oldest first."""
    agent = MODELS["agents"]
    query: ModelSelect[Agent] = agent.select().where(agent.current_issue == issue)
    return query.order_by(agent.started_at, agent.id)


@one
def holder(issue: UUID) -> ModelSelect[Agent]:
    """An agent that holds the issue, or None."""
    agent = MODELS["agents"]
    query: ModelSelect[Agent] = agent.select().where(agent.current_issue == issue)
    return query.order_by(agent.id)


@rows
def proposals_of(agent: UUID) -> ModelSelect[Proposal]:
    """The agent's proposals that are open or voting, the oldest first."""
    proposal = MODELS["proposals"]
    return _undecided(agent).order_by(proposal.created_at, proposal.id)


@exists
def any_undecided(agent: UUID) -> ModelSelect[Proposal]:
    """Whether a proposal of the agent is open or voting."""
    return _undecided(agent)


def _undecided(agent: UUID) -> ModelSelect[Proposal]:
    proposal = MODELS["proposals"]
    query: ModelSelect[Proposal] = proposal.select()
    return query.where(proposal.proposer == agent, proposal.status.in_(UNDECIDED))


@exists
def any_vote(agent: UUID) -> ModelSelect[Vote]:
    """Whether the agent has ever voted."""
    vote = MODELS["votes"]
    query: ModelSelect[Vote] = vote.select().where(vote.voter == agent)
    return query


@one
def vote_of(proposal: UUID, agent: UUID) -> ModelSelect[Vote]:
    """The agent's vote on the proposal, or None."""
    vote = MODELS["votes"]
    query: ModelSelect[Vote] = vote.select().where(vote.proposal == proposal, vote.voter == agent)
    return query


@rows
def votes_on(proposal: UUID) -> ModelSelect[Vote]:
    """The votes on the proposal, the oldest first."""
    vote = MODELS["votes"]
    query: ModelSelect[Vote] = vote.select().where(vote.proposal == proposal)
    return query.order_by(vote.created_at, vote.id)


@tuples
def cast_on(proposal: UUID) -> ModelSelect[Vote]:
    """The voter, its type, its decision and its preferred option, for each vote on the proposal."""
    vote = MODELS["votes"]
    columns = vote.voter, vote.voter_type, vote.decision, vote.preferred_option
    query: ModelSelect[Vote] = vote.select(*columns).where(vote.proposal == proposal)
    return query
