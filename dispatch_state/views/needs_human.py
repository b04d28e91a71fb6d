"""The rows that wait for a person: which they are, since when, and what the person can do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

from peewee import JOIN, ModelSelect

from dispatch_state.github.needs import CLOSED, EDITED, closed_issues, edited_issues, needed_since
from dispatch_state.models.agent import Agent
from dispatch_state.models.base import Stateful
from dispatch_state.models.decision import Decision
from dispatch_state.models.gate import Gate
from dispatch_state.models.issue import REVIEWING, Issue
from dispatch_state.models.proposal import Proposal
from dispatch_state.models.stage import Stage
from dispatch_state.views.history import last_move
from dispatch_state.vocabulary import (
    AgentStatus,
    DecisionType,
    GateStatus,
    IssueStatus,
    ProposalStatus,
    StageStatus,
)


class NeedsHuman(NamedTuple):
    """A row that cannot go on until a person acts.

    kind: what sort of wait it is, in a word or two; row: the row that waits; since: when the wait began; why: what
    the row waits for, in a sentence.
    """

    kind: str
    row: Gate | Stage | Issue | Agent | Proposal
    since: datetime
    why: str


class _Need(NamedTuple):
    """One reason why a row can wait for a person.

    kind: its name, as `NeedsHuman.kind`.
    model: the model of the rows.
    statuses: in which a row can wait for this reason.
    why: what the row waits for, in a sentence.
    rows: returns the rows that wait for this reason now.
    since: returns when a row began to wait for this reason.
    """

    kind: str
    model: type[Stateful]
    statuses: tuple[str, ...]
    why: str
    rows: Callable[[], Any]
    since: Callable[[Any], datetime]


def needs_human() -> list[NeedsHuman]:
    """Return every row that cannot go on until a person acts, grouped by kind, the longest wait first."""
    found: list[NeedsHuman] = []
    for need in NEEDS:
        waiting = [NeedsHuman(need.kind, row, need.since(row), need.why) for row in need.rows()]
        found += sorted(waiting, key=lambda needed: (needed.since, needed.row.id))
    return found


def needed_from_a_person(row: Stateful) -> Iterator[str]:
    """Yield what a live row needs from a person now, in a sentence each.

    Args:
        row: a row whose status is not final.
    """
    for need in NEEDS:
        asked = need.model is type(row) and row.status in need.statuses
        if asked and need.rows().where(need.model.id == row.id).exists():
            yield who_may_approve(row) if isinstance(row, Gate) else need.why


def who_may_approve(gate: Gate) -> str:
    """Return a phrase that says who may approve a gate: its required approvers, or any person."""
    return f"{' or '.join(gate.named_approvers()) or 'any person'} may approve"


# ---- which rows wait -----------------------------------------------------------------------------------


def _waiting_gates() -> ModelSelect[Gate]:
    awaiting = Stage.status == StageStatus.AWAITING_GATE
    return Gate.select().join(Stage).where(awaiting, Gate.status == GateStatus.PENDING)


def _idle_stages() -> ModelSelect[Stage]:
    live = Issue.select(Issue.stage).where(Issue.stage.is_null(False), Issue.status.in_(IssueStatus.live()))
    return Stage.select().where(Stage.status == StageStatus.IN_PROGRESS, Stage.id.not_in(live))


def _unassigned_issues_in_running_stages() -> ModelSelect[Issue]:
    running = Stage.status == StageStatus.IN_PROGRESS
    return Issue.select().join(Stage).where(running, Issue.status == IssueStatus.UNASSIGNED)


def _reviews_without_an_agent() -> ModelSelect[Issue]:
    gone = Issue.assigned_agent.is_null() | (Agent.status == AgentStatus.COMPLETED)
    query = Issue.select().join(Agent, JOIN.LEFT_OUTER, on=Issue.assigned_agent)
    return query.where(Issue.status.in_(REVIEWING), gone)


def _proposals_without_quorum() -> Iterator[Proposal | None]:
    rejected = Decision.decision_type == DecisionType.PROPOSAL_REJECTED
    for decision in Decision.select(Decision.outcome, Decision.proposal).where(
        rejected, Decision.proposal.is_null(False)
    ):
        if decision.outcome.get("quorum") is False:
            yield decision.proposal


def _in_status(model: type[Stateful], status: str) -> Any:
    return model.select().where(model.status == status)


# ---- since when ----------------------------------------------------------------------------------------


def _moved_at(row: Stateful) -> datetime:
    move = last_move(row.id)
    moved_at: datetime = move.created_at if move is not None else getattr(row, row.creation_stamps[0])
    return moved_at


def _stage_moved_at(gate: Gate) -> datetime:
    return _moved_at(gate.stage)


def _last_move_in_stage(stage: Stage) -> datetime:
    return max([_moved_at(stage), *(_moved_at(issue) for issue in stage.issues)])


def _moved_or_agent_left_at(issue: Issue) -> datetime:
    agent = issue.assigned_agent
    return max(_moved_at(issue), agent.completed_at) if agent and agent.completed_at else _moved_at(issue)


def _changed_on_github_at(kind: str, issue: Issue) -> datetime:
    return needed_since(kind, issue) or _moved_at(issue)


# ---- the reasons ---------------------------------------------------------------------------------------

NEEDS = (
    _Need(
        "gate",
        Gate,
        (GateStatus.PENDING,),
        "its stage is done and waits for a person to decide",
        _waiting_gates,
        _stage_moved_at,
    ),
    _Need(
        "idle stage",
        Stage,
        (StageStatus.IN_PROGRESS,),
        "nothing in it is live: submit, finish or skip it, or give it an issue",
        _idle_stages,
        _last_move_in_stage,
    ),
    _Need(
        "unassigned issue",
        Issue,
        (IssueStatus.UNASSIGNED,),
        "its stage is running and it is not offered: queue or assign it",
        _unassigned_issues_in_running_stages,
        _moved_or_agent_left_at,
    ),
    _Need(
        "blocked issue",
        Issue,
        (IssueStatus.BLOCKED,),
        "unblock, release or cancel it",
        partial(_in_status, Issue, IssueStatus.BLOCKED),
        _moved_or_agent_left_at,
    ),
    _Need(
        "orphaned review",
        Issue,
        REVIEWING,
        "the agent that did the work is gone: complete, release or cancel it",
        _reviews_without_an_agent,
        _moved_or_agent_left_at,
    ),
    _Need(
        "waiting agent",
        Agent,
        (AgentStatus.WAITING_FOR_INPUT,),
        "it asked a person something",
        partial(_in_status, Agent, AgentStatus.WAITING_FOR_INPUT),
        _moved_at,
    ),
    _Need(
        "no quorum",
        Proposal,
        (ProposalStatus.REJECTED,),
        "it was rejected because too few voted: propose it again, or leave it",
        _proposals_without_quorum,
        _moved_at,
    ),
    _Need(
        "approved proposal",
        Proposal,
        (ProposalStatus.APPROVED,),
        "it was approved and nobody executes it",
        partial(_in_status, Proposal, ProposalStatus.APPROVED),
        _moved_at,
    ),
    _Need(
        EDITED,
        Issue,
        IssueStatus.live(),
        "its text on GitHub is no longer the text here: read it, and save() what is sound",
        edited_issues,
        partial(_changed_on_github_at, EDITED),
    ),
    _Need(
        CLOSED,
        Issue,
        IssueStatus.live(),
        "merge or close its pull request, or cancel it",
        closed_issues,
        partial(_changed_on_github_at, CLOSED),
    ),
)
"""Every reason for which a row can wait for a person, in the order in which they are listed."""
