"""Which rows a turn may judge or move, locked in one order (PostgreSQL).

SQLite has one writer, and needs none of this. On PostgreSQL a turn locks its whole family before it
judges anything: epics, proposals, pull requests, issues, agents, each by id; stages and gates are
covered by their epic. Row locks are `FOR NO KEY UPDATE`, because plain `FOR UPDATE` collides with the
checks of foreign keys. The family is found by unlocked reads and found again under its locks; when it
has grown meanwhile, the turn starts over.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any
from uuid import UUID

from peewee import ModelSelect

from dispatch_state.models.agent import Agent
from dispatch_state.models.base import Row, Stateful
from dispatch_state.models.epic import Epic, Stage, first_live_issue_of_epic
from dispatch_state.models.gate import Gate
from dispatch_state.models.issue import (
    Issue,
    agents_holding,
    issues_under_way,
    live_issues_of_epic,
    live_issues_of_stage,
)
from dispatch_state.models.proposal import Proposal, proposals_of
from dispatch_state.models.pull_request import PullRequest
from dispatch_state.storage.fields import Slot
from dispatch_state.storage.retries import Outdated
from dispatch_state.storage.statements import DATABASE, Statement, find, rows
from dispatch_state.storage.targets import POSTGRESQL
from dispatch_state.vocabulary import IssueStatus, StageStatus

ORDER: tuple[type[Stateful], ...] = (Epic, Proposal, PullRequest, Issue, Agent)
BATCH = 1024
"""How many rows one statement locks at most."""

Family = Mapping[type[Stateful], set[UUID]]


def family(row: Row, trigger: str, others: Iterable[Row], actor: object = None) -> Family:
    """The rows to lock for a trigger on a row (or for a method, by its name), and for the other rows it names.

    Args:
        row: as last read; it is read again here.
        trigger: the trigger's or method's name; a name that is none of those that reach further covers the row alone.
        others: rows among the arguments, and an acting agent that may come to review; read again here too.
        actor: who acts; an agent is held, so that it is still alive when its act commits.
    """
    members: defaultdict[type[Stateful], set[UUID]] = defaultdict(set)
    if isinstance(actor, Agent) and trigger != "claim":
        members[Agent].add(actor.id)
    if trigger == "claim":  # locks the issue it finds, and then the agent
        return members
    if trigger in ALONE or (trigger == "save" and isinstance(row, ORDER)):
        _alone(members, row, trigger)
        return members
    for named in (row, *others):
        other = find(type(named), named._pk) or named
        _REACH.get(type(other), _alone)(members, other, trigger)
    return members


def hold(row: Row, trigger: str, others: Iterable[Row] = (), actor: object = None) -> None:
    """Lock the family of a trigger on a row; arguments as for `family`. SQLite has one writer, and locks nothing.

    Raises:
        Outdated: it has grown while its locks were being taken.
    """
    if DATABASE.kind != POSTGRESQL:
        return
    members = family(row, trigger, others, actor)
    lock(members)
    if not covers(members, family(row, trigger, others, actor)):
        raise Outdated


def lock(members: Family) -> None:
    """Take the locks of a family, in the one order; waits for those who hold them."""
    for model in ORDER:
        keys = sorted(members.get(model, ()))
        for start in range(0, len(keys), BATCH):
            batch = keys[start : start + BATCH]
            size = 1 << (len(batch) - 1).bit_length()  # a statement is kept for each, so there are few of them
            _locking(model, size).rows(*batch, *batch[-1:] * (size - len(batch)))


def covers(wider: Family, narrower: Family) -> bool:
    """Whether every member of one family is one of the other."""
    return all(keys <= wider.get(model, set()) for model, keys in narrower.items())


@cache
def _locking(model: type[Stateful], count: int) -> Statement:
    def build(*keys: Slot) -> Any:
        query = model.select(model.id).where(model.id.in_(keys)).order_by(model.id)
        return query.for_update("FOR NO KEY UPDATE")  # type: ignore[arg-type]

    return Statement(build, count)


# ---- how far a trigger reaches -----------------------------------------------------------------------

Members = defaultdict[type[Stateful], set[UUID]]
ALONE = ("heartbeat", "use_tokens", "log", "comment", "record_review", "record_checks")
AGENT_ALONE = ("create", "assign", "reassign", "review", "vote")
CLOSING = ("cancel", "skip", "remove")
CLOSING_AN_ISSUE = ("create", "complete", "cancel", "merge", "place", "remove")


def _alone(members: Members, row: Any, trigger: str) -> None:
    if isinstance(row, ORDER):
        members[type(row)].add(row.id)


def _epic(members: Members, epic: Any, trigger: str) -> None:
    members[Epic].add(epic.id)
    _offered_next(members, epic.id)
    if trigger in CLOSING:
        _with_agents(members, live_issues_of_epic(epic.id))


def _stage(members: Members, stage: Any, trigger: str) -> None:
    members[Epic].add(stage.epic_id)
    _offered_next(members, stage.epic_id)
    if trigger in CLOSING:
        _with_agents(members, live_issues_of_stage(stage.id))


def _gate(members: Members, gate: Any, trigger: str) -> None:
    _stage(members, gate.stage, "")


def _issue(members: Members, issue: Any, trigger: str) -> None:
    _with_agents(members, [issue])
    epic = issue.epic_id or (issue.stage.epic_id if issue.stage_id is not None else None)
    if epic is not None and trigger in CLOSING_AN_ISSUE:
        members[Epic].add(epic)
        if _may_be_the_last(issue):
            _offered_next(members, epic)


def _agent(members: Members, agent: Any, trigger: str) -> None:
    members[Agent].add(agent.id)
    if trigger in AGENT_ALONE:
        return
    if trigger == "remove":
        members[Issue].update(issue.id for issue in agent.issues)
    if trigger in ("await_vote", "vote_resolved"):
        members[Proposal].update(proposal.id for proposal in proposals_of(agent.id))
    held = [agent.current_issue] if agent.current_issue_id is not None else []
    _with_agents(members, [*held, *issues_under_way(agent.id)])


def _pull_request(members: Members, request: Any, trigger: str) -> None:
    if trigger != "create":
        members[PullRequest].add(request.id)
    _issue(members, request.issue, "merge" if trigger == "merge" else "")


def _proposal(members: Members, proposal: Any, trigger: str) -> None:
    if trigger != "create":
        members[Proposal].add(proposal.id)
    members[Agent].add(proposal.proposer_id)


_REACH: dict[type[Row], Callable[[Members, Any, str], None]] = {
    Epic: _epic,
    Stage: _stage,
    Gate: _gate,
    Issue: _issue,
    Agent: _agent,
    PullRequest: _pull_request,
    Proposal: _proposal,
}


def _with_agents(members: Members, issues: Iterable[Any]) -> None:
    for issue in issues:
        members[Issue].add(issue.id)
        members[Agent].update(agent.id for agent in agents_holding(issue.id))
        if issue.assigned_agent_id is not None:
            members[Agent].add(issue.assigned_agent_id)


def _offered_next(members: Members, epic: UUID) -> None:
    members[Issue].update(issue.id for issue in waiting_issues(epic))


def _may_be_the_last(issue: Any) -> bool:
    """Whether closing the issue may close its stage, and so start the next one."""
    if issue.stage_id is None:
        return first_live_issue_of_epic(issue.epic_id) in (None, issue)
    return all(other.id == issue.id for other in live_issues_of_stage(issue.stage_id))


@rows
def waiting_issues(epic: UUID) -> ModelSelect[Issue]:
    pending = Stage.status == StageStatus.PENDING
    query = Issue.select(*Issue._meta.sorted_fields).join(Stage, on=(Issue.stage == Stage.id))
    return query.where(Stage.epic == epic, pending, Issue.status == IssueStatus.UNASSIGNED)
