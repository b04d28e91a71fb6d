"""Why a row is in its status, and what it waits for."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple, NoReturn
from uuid import UUID

from dispatch_state.actors import STORE, Actor, is_actor_text
from dispatch_state.errors import InvalidValue
from dispatch_state.lifecycle.interface import Firing
from dispatch_state.lifecycle.session import session
from dispatch_state.models.agent import Agent
from dispatch_state.models.base import Stateful
from dispatch_state.models.epic import Epic
from dispatch_state.models.gate import Gate
from dispatch_state.models.issue import Issue
from dispatch_state.models.keys import present, short
from dispatch_state.models.log import TransitionLog
from dispatch_state.models.proposal import Proposal
from dispatch_state.models.pull_request import PullRequest
from dispatch_state.models.queries import awaiting_stage, open_gates
from dispatch_state.models.stage import Stage
from dispatch_state.models.tables import STATEFUL
from dispatch_state.storage.statements import find
from dispatch_state.views.history import last_move
from dispatch_state.views.needs_human import needed_from_a_person, who_may_approve
from dispatch_state.vocabulary import (
    AgentStatus,
    EpicStatus,
    GateStatus,
    IssueStatus,
    ProposalStatus,
    PullRequestStatus,
    StageStatus,
    total,
)


def explain(row: Stateful) -> str:
    """Explain why a row is in its status: its last move, what caused that move, and what the row waits for.

    Args:
        row: a row with a lifecycle.

    Raises:
        InvalidValue: `row` has no lifecycle.
        RowNotFound: the row was removed.
    """
    return "\n".join(explanation(row))


def explanation(row: Stateful) -> list[str]:
    """Return what `explain` says, one sentence per item. A sentence has several lines when a row's text has.

    Args:
        row: a row with a lifecycle.

    Raises:
        InvalidValue: `row` has no lifecycle.
        RowNotFound: the row was removed.
    """
    if not isinstance(row, Stateful):
        raise InvalidValue("explain: takes a row with a lifecycle")
    current = present(type(row), row.id)
    said = [f"{current} “{current.label()[:80]}” is {current.status} (version {current.version})"]
    for move in causes(current):
        said.append(("  because " if len(said) == 1 else "  which followed ") + move.say(display_name(move.actor)))
    if waits := waits_for(current):
        said.append(f"  waits for: {'; '.join(waits)}")
    return said


def agent_name(agent: Agent) -> str:
    """Return how people see an agent: its type, and the end of its id."""
    return f"{agent.agent_type} {short(agent.id)}"


def display_name(actor: str) -> str:
    """Return the name under which people read of an actor.

    Args:
        actor: the actor as it is stored, such as `human:ada` or `agent:` with an id.

    Returns:
        An agent's type and the end of its id; the stored text for every other actor.
    """
    if not actor.startswith("agent:") or not is_actor_text(actor):
        return actor
    agent = find(Agent, UUID(actor.removeprefix("agent:")))
    return agent_name(agent) if agent else f"agent {actor[-8:]}"


def causes(row: Stateful) -> list[TransitionLog]:
    """Return the last move of a row, the move that caused it, and so on, up to the act.

    A cause has a lower `seq` than its effect. The chain ends where a log that was tampered with says otherwise.
    """
    chain = []
    move = last_move(row.id)
    while move is not None:
        chain.append(move)
        earlier = move.cause_seq is not None and move.cause_seq < move.seq
        move = find(TransitionLog, move.cause_seq) if earlier else None
    return chain


# ---- what a row waits for ------------------------------------------------------------------------------


class _UnknownArguments(dict[str, Any]):
    """Arguments that nobody has given yet: reading one raises `_NotGiven`."""

    def __missing__(self, name: str) -> NoReturn:
        raise _NotGiven


class _NotGiven(Exception):
    """A guard asked for an argument of the trigger."""


def actor_refusals(row: Stateful, trigger: str, by: Actor | None = None) -> list[str]:
    """Return what stops a trigger now, in the words of `why_not`, whatever its arguments will be.

    Args:
        row: a row in a status from which the trigger is legal.
        trigger: the name of the trigger.
        by: who would fire it. None leaves out whether an actor is allowed to.
    """
    edge = row.machine.triggers[trigger].edges[row.status]
    firing = Firing(row, trigger, _UnknownArguments(), by or STORE, "", session().now())
    found = []
    for guard in edge.guards if by is None or edge.allowed is None else (edge.allowed, *edge.guards):
        with suppress(_NotGiven):
            found.append(guard(row, firing))
    return [refusal for refusal in found if refusal is not None]


def waits_for(row: Stateful) -> list[str]:
    """Return what a row waits for, in a phrase each.

    Returns:
        An empty list when the status is final, or when somebody is working on the row.
    """
    onward = ONWARD[type(row)].get(row.status)
    if onward is None:  # a final status, or one that SQL wrote
        return []
    waits = actor_refusals(row, onward.trigger) if onward.trigger else []
    waits += [f"{gate} is {gate.status} ({who_may_approve(gate)})" for gate in _gates_ahead(row)]
    waits += [f"a person ({need})" for need in needed_from_a_person(row)]
    return waits or ([onward.missing] if onward.missing else [])


def _gates_ahead(row: Stateful) -> list[Gate]:
    stage = awaiting_stage(row.id) if isinstance(row, Epic) else row
    waiting = isinstance(stage, Stage) and stage.status == StageStatus.AWAITING_GATE
    return open_gates(stage.id) if stage is not None and waiting else []


class Onward(NamedTuple):
    """How a row leaves a live status.

    trigger: the trigger that takes it on, whose guards say what it waits for; empty where none is to be asked.
    missing: what it waits for when nothing else is found; empty when that is nothing.
    """

    trigger: str = ""
    missing: str = ""


NOTHING = Onward()
"""For a status in which somebody is at work, or in which `NEEDS` or the gates say what is missing."""
ONWARD: Mapping[type[Stateful], Mapping[str, Onward]] = {
    Epic: {
        EpicStatus.DRAFT: Onward("mark_ready", "somebody to say that it is ready"),
        EpicStatus.READY: Onward("start", "somebody to start it"),
        EpicStatus.IN_PROGRESS: Onward("complete"),
        EpicStatus.AWAITING_GATE: Onward("clear_gate"),
    },
    Stage: {
        StageStatus.PENDING: Onward("start"),
        StageStatus.IN_PROGRESS: Onward("finish"),
        StageStatus.AWAITING_GATE: NOTHING,
    },
    Gate: {
        GateStatus.PENDING: Onward("approve"),
        GateStatus.REJECTED: Onward("resubmit"),
    },
    Issue: {
        IssueStatus.UNASSIGNED: Onward("queue", "somebody to queue or assign it"),
        IssueStatus.QUEUED: Onward("assign", "an agent to claim it"),
        IssueStatus.ASSIGNED: NOTHING,
        IssueStatus.IN_PROGRESS: NOTHING,
        IssueStatus.AWAITING_REVIEW: Onward("review", "somebody to review it"),
        IssueStatus.IN_REVIEW: NOTHING,
        IssueStatus.BLOCKED: NOTHING,
    },
    PullRequest: {
        PullRequestStatus.DRAFT: NOTHING,
        PullRequestStatus.OPEN: NOTHING,
        PullRequestStatus.CLOSED: NOTHING,
    },
    Agent: {
        AgentStatus.IDLE: NOTHING,
        AgentStatus.STARTING: NOTHING,
        AgentStatus.WORKING: NOTHING,
        AgentStatus.WAITING_FOR_INPUT: NOTHING,
        AgentStatus.WAITING_FOR_VOTE: Onward("vote_resolved"),
        AgentStatus.PAUSED: NOTHING,
        AgentStatus.ERRORED: NOTHING,
    },
    Proposal: {
        ProposalStatus.OPEN: Onward("open_voting", "a vote"),
        ProposalStatus.VOTING: Onward("approve"),
        ProposalStatus.APPROVED: NOTHING,
        ProposalStatus.EXECUTING: NOTHING,
        ProposalStatus.EXECUTED: NOTHING,
    },
}
"""How each live status is left."""
total(ONWARD, STATEFUL, "views.explain.ONWARD")
for _model in STATEFUL:
    total(ONWARD[_model], _model.statuses.live(), f"views.explain.ONWARD[{_model.__name__}]")
