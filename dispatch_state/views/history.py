"""What a person asks of a store: why is this row here, what happened, who is waited for, how much is there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, NamedTuple, NoReturn
from uuid import UUID

from peewee import JOIN, ModelSelect, fn

from dispatch_state import values
from dispatch_state.actors import STORE, Actor, well_formed
from dispatch_state.errors import InvalidValue
from dispatch_state.github.progress import CLOSED, EDITED, closed_issues, edited_issues, needed_since
from dispatch_state.lifecycle.interface import Firing, session
from dispatch_state.models.agent import Agent, called
from dispatch_state.models.base import Stateful
from dispatch_state.models.decision import Decision
from dispatch_state.models.epic import Epic, Stage, awaiting_stage, open_gates
from dispatch_state.models.gate import Gate
from dispatch_state.models.issue import REVIEWING, Issue
from dispatch_state.models.keys import present
from dispatch_state.models.log import TransitionLog, moves_of
from dispatch_state.models.proposal import Proposal
from dispatch_state.models.pull_request import PullRequest
from dispatch_state.models.tables import STATEFUL
from dispatch_state.storage.statements import find, one, rows
from dispatch_state.vocabulary import (
    AgentStatus,
    DecisionType,
    EpicStatus,
    GateStatus,
    IssueStatus,
    ProposalStatus,
    PullRequestStatus,
    StageStatus,
    Status,
    total,
)


class NeedsHuman(NamedTuple):
    """Something that goes on only when a person says so.

    kind: a short word for it; since: when it came to that; why: in a sentence.
    """

    kind: str
    row: Gate | Stage | Issue | Agent | Proposal
    since: datetime
    why: str


def history(row: Stateful) -> list[TransitionLog]:
    """Every move of a row, the oldest first; also of one that was removed."""
    if not isinstance(row, Stateful):
        raise InvalidValue("history: takes a row with a lifecycle")
    return moves_of(values.uuid(row.id, "history"))


def explain(row: Stateful) -> str:
    """Why a row is where it is: its last move, what that followed from, up to who acted; and what it waits for."""
    return "\n".join(explained(row))


def explained(row: Stateful) -> list[str]:
    """As `explain`, a sentence to an item; texts of rows in it may have lines of their own."""
    if not isinstance(row, Stateful):
        raise InvalidValue("explain: takes a row with a lifecycle")
    here = present(type(row), row.id)
    told = [f"{here} “{here.label()[:80]}” is {here.status} (version {here.version})"]
    for move in causes(here):
        told.append(("  because " if len(told) == 1 else "  which followed ") + move.say(who(move.actor)))
    if waits := waits_for(here):
        told.append(f"  waits for: {'; '.join(waits)}")
    return told


def who(actor: str) -> str:
    """What an actor is called where people read: an agent by its type and the end of its id."""
    if not actor.startswith("agent:") or not well_formed(actor):
        return actor
    agent = find(Agent, UUID(actor.removeprefix("agent:")))
    return called(agent) if agent else f"agent {actor[-8:]}"


def causes(row: Stateful) -> list[TransitionLog]:
    """The last move of a row, the one that it followed from, and so on, up to the act.

    A cause comes before what follows from it; where the log was tampered with and says otherwise, the chain ends.
    """
    chain = []
    move = _last_move(row.id)
    while move is not None:
        chain.append(move)
        earlier = move.cause_seq is not None and move.cause_seq < move.seq
        move = find(TransitionLog, move.cause_seq) if earlier else None
    return chain


def changes(after: int, limit: int) -> list[TransitionLog]:
    """The moves recorded after one, in order, at most `limit`."""
    return _changes(values.integer(after, "after"), values.positive(limit, "limit"))


@rows
def _changes(after: int, limit: int) -> ModelSelect[TransitionLog]:
    return TransitionLog.select().where(TransitionLog.seq > after).order_by(TransitionLog.seq).limit(limit)


def counts() -> dict[str, dict[str, int]]:
    """How many rows stand in each status, by table; every status is named."""
    found = {}
    for model in STATEFUL:
        tally = {str(status): 0 for status in model.statuses}
        status: Any = model.status
        grouped: Any = model.select(status, fn.COUNT(model.id)).group_by(status).tuples()
        tally.update(grouped)
        found[model._meta.table_name] = {str(word): count for word, count in tally.items()}
    return found


# ---- what a row waits for ----------------------------------------------------------------------------


class _Open(dict[str, Any]):
    """Arguments that nobody has given yet."""

    def __missing__(self, name: str) -> NoReturn:
        raise _NotGiven


class _NotGiven(Exception):
    pass


def objections(row: Stateful, trigger: str, by: Actor | None = None) -> list[str]:
    """What speaks against a trigger as its row stands, whatever its arguments: in the words of `why_not`.

    Args:
        by: who would fire it; when None, nobody's word is asked.
    """
    edge = row.machine.triggers[trigger].edges[row.status]
    firing = Firing(row, trigger, _Open(), by or STORE, "", session().now())
    found = []
    for guard in edge.guards if by is None or edge.allowed is None else (edge.allowed, *edge.guards):
        with suppress(_NotGiven):
            found.append(guard(row, firing))
    return [refusal for refusal in found if refusal is not None]


def waits_for(row: Stateful) -> list[str]:
    """What a row waits for, as it stands; nothing when it is final, or somebody is at work on it."""
    trigger, otherwise = _ONWARD.get((type(row), row.status), _NOTHING)
    waits = objections(row, trigger) if trigger else []
    waits += [f"{gate} is {gate.status} ({who_may_approve(gate)})" for gate in _gates_ahead(row)]
    waits += [f"a person ({why})" for why in _asked_of_a_person(row)]
    return waits or [otherwise] * bool(otherwise)


def who_may_approve(gate: Gate) -> str:
    """Whose word opens a gate."""
    return f"{' or '.join(gate.named_approvers()) or 'any person'} may approve"


def _gates_ahead(row: Stateful) -> list[Gate]:
    stage = awaiting_stage(row.id) if isinstance(row, Epic) else row
    waiting = isinstance(stage, Stage) and stage.status == StageStatus.AWAITING_GATE
    return open_gates(stage.id) if stage is not None and waiting else []


def _asked_of_a_person(row: Stateful) -> Iterator[str]:
    for _, why, query in _WAITS:
        waiting = query()
        ours = isinstance(waiting, ModelSelect) and waiting.model is type(row)
        if ours and waiting.where(type(row).id == row.id).exists():
            yield who_may_approve(row) if isinstance(row, Gate) else why


_NOTHING = "", ""
"""Of a status in which somebody is at work on the row, or in which it may stay."""
_ONWARD: Mapping[tuple[type[Stateful], Status], tuple[str, str]] = {
    (Epic, EpicStatus.DRAFT): ("mark_ready", "somebody to say that it is ready"),
    (Epic, EpicStatus.READY): ("start", "somebody to start it"),
    (Epic, EpicStatus.IN_PROGRESS): ("complete", ""),
    (Epic, EpicStatus.AWAITING_GATE): ("clear_gate", ""),
    (Stage, StageStatus.PENDING): ("start", ""),
    (Stage, StageStatus.IN_PROGRESS): ("finish", ""),
    (Stage, StageStatus.AWAITING_GATE): _NOTHING,
    (Gate, GateStatus.PENDING): ("approve", ""),
    (Gate, GateStatus.REJECTED): ("resubmit", ""),
    (Issue, IssueStatus.UNASSIGNED): ("queue", "somebody to queue or assign it"),
    (Issue, IssueStatus.QUEUED): ("assign", "an agent to claim it"),
    (Issue, IssueStatus.ASSIGNED): _NOTHING,
    (Issue, IssueStatus.IN_PROGRESS): _NOTHING,
    (Issue, IssueStatus.AWAITING_REVIEW): ("review", "somebody to review it"),
    (Issue, IssueStatus.IN_REVIEW): _NOTHING,
    (Issue, IssueStatus.BLOCKED): _NOTHING,
    (PullRequest, PullRequestStatus.DRAFT): _NOTHING,
    (PullRequest, PullRequestStatus.OPEN): _NOTHING,
    (PullRequest, PullRequestStatus.CLOSED): _NOTHING,
    (Agent, AgentStatus.IDLE): _NOTHING,
    (Agent, AgentStatus.STARTING): _NOTHING,
    (Agent, AgentStatus.WORKING): _NOTHING,
    (Agent, AgentStatus.WAITING_FOR_INPUT): _NOTHING,
    (Agent, AgentStatus.WAITING_FOR_VOTE): ("vote_resolved", ""),
    (Agent, AgentStatus.PAUSED): _NOTHING,
    (Agent, AgentStatus.ERRORED): _NOTHING,
    (Proposal, ProposalStatus.OPEN): ("open_voting", "a vote"),
    (Proposal, ProposalStatus.VOTING): ("approve", ""),
    (Proposal, ProposalStatus.APPROVED): _NOTHING,
    (Proposal, ProposalStatus.EXECUTING): _NOTHING,
    (Proposal, ProposalStatus.EXECUTED): _NOTHING,
}
"""The trigger that takes a row on from where it waits, and what is missing when nothing speaks against it."""
for _model in STATEFUL:
    _ways = {status: way for (model, status), way in _ONWARD.items() if model is _model}
    total(f"what {_model._meta.table_name} wait for", _model.statuses.live(), _ways)


# ---- who is waited for -------------------------------------------------------------------------------


def needs_human() -> list[NeedsHuman]:
    """Everything that goes on only when a person says so, the longest wait first within a kind."""
    found: list[NeedsHuman] = []
    for kind, why, query in _WAITS:
        waiting = [NeedsHuman(kind, row, _since(kind, row), why) for row in query()]
        found += sorted(waiting, key=lambda need: need.since)
    return found


def _since(kind: str, row: Stateful) -> datetime:
    """When it came to that: the last move of what it hangs on, or what GitHub told."""
    if kind in (EDITED, CLOSED) and isinstance(row, Issue):
        return needed_since(kind, row) or _moved_at(row)
    if isinstance(row, Gate):
        return _moved_at(row.stage)
    if isinstance(row, Stage):
        return max([_moved_at(row), *(_moved_at(issue) for issue in row.issues)])
    agent = row.assigned_agent if isinstance(row, Issue) else None
    return max(_moved_at(row), agent.completed_at) if agent and agent.completed_at else _moved_at(row)


def _moved_at(row: Stateful) -> datetime:
    move = _last_move(row.id)
    since: datetime = move.created_at if move is not None else getattr(row, row.stamps[0])
    return since


@one
def _last_move(row: UUID) -> ModelSelect[TransitionLog]:
    return TransitionLog.select().where(TransitionLog.entity_id == row).order_by(TransitionLog.version.desc())


def _waiting_gates() -> ModelSelect[Gate]:
    awaiting = Stage.status == StageStatus.AWAITING_GATE
    return Gate.select().join(Stage).where(awaiting, Gate.status == GateStatus.PENDING)


def _idle_stages() -> ModelSelect[Stage]:
    live = Issue.select(Issue.stage).where(Issue.stage.is_null(False), Issue.status.in_(IssueStatus.live()))
    return Stage.select().where(Stage.status == StageStatus.IN_PROGRESS, Stage.id.not_in(live))


def _issues_left_out() -> ModelSelect[Issue]:
    running = Stage.status == StageStatus.IN_PROGRESS
    return Issue.select().join(Stage).where(running, Issue.status == IssueStatus.UNASSIGNED)


def _issues_without_their_agent() -> ModelSelect[Issue]:
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


def _in_status(model: type[Stateful], status: str) -> Callable[[], Any]:
    return lambda: model.select().where(model.status == status)


_WAITS: tuple[tuple[str, str, Callable[[], Any]], ...] = (
    ("gate", "its stage is done and waits for a person to decide", _waiting_gates),
    ("idle stage", "nothing in it is live: submit, finish or skip it, or give it an issue", _idle_stages),
    ("unassigned issue", "its stage is running and it is not offered: queue or assign it", _issues_left_out),
    ("blocked issue", "unblock, release or cancel it", _in_status(Issue, IssueStatus.BLOCKED)),
    (
        "orphaned review",
        "the agent that did the work is gone: complete, release or cancel it",
        _issues_without_their_agent,
    ),
    ("waiting agent", "it asked a person something", _in_status(Agent, AgentStatus.WAITING_FOR_INPUT)),
    ("no quorum", "it was rejected because too few voted: propose it again, or leave it", _proposals_without_quorum),
    ("approved proposal", "it was approved and nobody executes it", _in_status(Proposal, ProposalStatus.APPROVED)),
    (EDITED, "its text on GitHub is not the one here any more: read it, and save() what is sound", edited_issues),
    (CLOSED, "merge or close its pull request, or cancel it", closed_issues),
)
