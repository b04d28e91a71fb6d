"""What time makes due: checkpoints, votes past their deadline, and agents that send no heartbeat any more.

A query finds the ids of the rows for which something is due. Each row is then read, checked again and moved in its own
transaction, under its locks. Several processes may do this at the same time: a row that another process has moved is no
longer due. A row that cannot be read does not keep the others from moving.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from peewee import ModelSelect

from dispatch_state import values
from dispatch_state.actors import CHECKPOINT, System
from dispatch_state.errors import (
    GuardRefused,
    IllegalTransition,
    RowNotFound,
    StaleRow,
    StoreNotOpen,
    StoreUnreachable,
    WrongProcess,
)
from dispatch_state.lifecycle.interface import Move
from dispatch_state.lifecycle.locks import Locks
from dispatch_state.lifecycle.session import UnitOfWork, session
from dispatch_state.models.agent import Agent
from dispatch_state.models.base import Stateful
from dispatch_state.models.casting import resolve
from dispatch_state.models.gate import Gate
from dispatch_state.models.issue import Issue
from dispatch_state.models.proposal import Proposal
from dispatch_state.models.queries import UNDECIDED
from dispatch_state.models.stage import Stage
from dispatch_state.storage.statements import exists, row_object, tuples
from dispatch_state.vocabulary import AgentStatus, GateStatus, GateType, IssueStatus, ProposalStatus, StageStatus

TICK = System("tick")
"""The actor that opens a vote which nobody opened before its deadline."""
RESCUE = System("rescue")
"""The actor that fails and stops silent agents."""
SENDING_HEARTBEATS = (AgentStatus.STARTING, AgentStatus.WORKING)
"""The statuses in which an agent is expected to send heartbeats; waiting and paused agents are not."""
WITHOUT_WORK = (AgentStatus.IDLE, AgentStatus.ERRORED)
"""The statuses in which an agent has no work."""


class Due(NamedTuple):
    """Rows for which something is due.

    model: the model of the rows.
    keys: their ids in order, as the database returns them.
    action: what is done, for messages.
    locks: what it locks.
    work: checks a row again, and moves it.
    """

    model: type[Stateful]
    keys: list[tuple[Any, ...]]
    action: str
    locks: Locks
    work: Callable[[UnitOfWork, Any], list[Move]]


def tick() -> list[Move]:
    """Fire what is due by the store's clock; see `Store.tick`.

    Returns:
        Every move that was made.

    Raises:
        StoreError: a row could not be read or written.
    """
    current = session()
    now = current.now()
    checkpoints = current.read(lambda: due_checkpoints(now))
    proposals = current.read(lambda: overdue_proposals(now))
    return _fire(
        Due(Gate, checkpoints, "auto_approve", _locks(Gate, "auto_approve"), _open),
        Due(Proposal, proposals, "vote", _locks(Proposal, "approve", "reject"), _close),
    )


def rescue(timeout: float, max_attempts: int, idle_timeout: float | None) -> list[Move]:
    """Fail the agents that are silent at work, and stop those that are silent without work; see `Store.rescue`.

    Args:
        timeout: in seconds, for agents at work.
        max_attempts: from how many attempts on an issue is set aside.
        idle_timeout: in seconds, for agents without work; None leaves them alone.

    Returns:
        Every move that was made.

    Raises:
        InvalidValue: an argument is wrong.
        StoreError: an agent could not be read or written.
    """
    current = session()
    longest = values.seconds(timeout, "rescue(timeout)")
    most = values.positive(max_attempts, "rescue(max_attempts)")
    at_rest = None if idle_timeout is None else values.seconds(idle_timeout, "rescue(idle_timeout)")
    now = current.now()
    silent = current.read(lambda: silent_at_work(*_bounds(now, longest)))
    due = [Due(Agent, silent, "fail", _locks(Agent, "fail"), _fail(longest, most))]
    if at_rest is not None:
        silent = current.read(lambda: silent_at_rest(*_bounds(now, at_rest)))
        due.append(Due(Agent, silent, "stop", _locks(Agent, "stop"), _stop(at_rest)))
    return _fire(*due)


def _fire(*due: Due) -> list[Move]:
    """Do what is due, row by row, and return every move that was made.

    Raises:
        Exception: the first error that is not a refusal, after all other rows.
    """
    moves: list[Move] = []
    errors: list[Exception] = []
    for model, keys, action, locks, work in due:
        for (key,) in keys:
            try:
                row = row_object(model, {"id": model._meta.fields["id"].python_value(key)})
                moves += session().work_on(row, action, work, locks=locks)
            except (StaleRow, IllegalTransition, GuardRefused, RowNotFound):
                pass  # another process was faster
            except (StoreNotOpen, WrongProcess, StoreUnreachable) as error:
                error.add_note(f"{len(moves)} moves were made before")
                raise  # it concerns every row
            except Exception as error:
                errors.append(error)
    if errors:
        errors[0].add_note(f"besides this one {len(errors) - 1} could not be moved; {len(moves)} moves were made")
        raise errors[0]
    return moves


def _locks(model: type[Stateful], *triggers: str) -> Locks:
    return tuple(dict.fromkeys(lock for name in triggers for lock in model.machine.triggers[name].locks))


# ---- agents ------------------------------------------------------------------------------------------


def _bounds(now: datetime, longest: timedelta) -> tuple[datetime, datetime]:
    """The oldest and the newest heartbeat that count; a newer one came from a clock that was ahead."""
    return values.earlier(now, longest), values.later(now, longest)


def _silent(agent: Agent, now: datetime, longest: timedelta) -> bool:
    return abs(now - agent.last_heartbeat) > longest


def _fail(longest: timedelta, max_attempts: int) -> Callable[[UnitOfWork, Agent], list[Move]]:
    def fail(unit: UnitOfWork, agent: Agent) -> list[Move]:
        if agent.status not in SENDING_HEARTBEATS or not _silent(agent, unit.now, longest):
            return []
        error = f"no heartbeat for more than {longest.total_seconds():g} s"
        if agent.last_heartbeat > unit.now:
            error = f"its last heartbeat is more than {longest.total_seconds():g} s ahead"
        return unit.act(agent, "fail", RESCUE, error, error=error, max_attempts=max_attempts)

    return fail


def _stop(longest: timedelta) -> Callable[[UnitOfWork, Agent], list[Move]]:
    def stop(unit: UnitOfWork, agent: Agent) -> list[Move]:
        if agent.status not in WITHOUT_WORK or not _silent(agent, unit.now, longest) or any_live_issue(agent.id):
            return []
        return unit.act(agent, "stop", RESCUE, f"{agent.status} and silent for more than {longest.total_seconds():g} s")

    return stop


@tuples
def silent_at_work(since: datetime, until: datetime) -> ModelSelect[Agent]:
    """The ids of starting and working agents whose heartbeat is before `since` or after `until`."""
    return _silent_since(since, until).where(Agent.status.in_(SENDING_HEARTBEATS))


@tuples
def silent_at_rest(since: datetime, until: datetime) -> ModelSelect[Agent]:
    """The ids of such agents without work that no live issue names as its assigned agent."""
    named = Issue.select(Issue.assigned_agent).where(Issue.assigned_agent.is_null(False), _live())
    return _silent_since(since, until).where(Agent.status.in_(WITHOUT_WORK), Agent.id.not_in(named))


def _silent_since(since: datetime, until: datetime) -> ModelSelect[Agent]:
    silent = (Agent.last_heartbeat < since) | (Agent.last_heartbeat > until)
    return Agent.select(Agent.id).where(silent).order_by(Agent.last_heartbeat, Agent.id)


@exists
def any_live_issue(agent: Any) -> ModelSelect[Issue]:
    """Whether a live issue is assigned to the agent."""
    return Issue.select().where(Issue.assigned_agent == agent, _live())


def _live() -> Any:
    return Issue.status.in_(IssueStatus.live())


# ---- gates and proposals -----------------------------------------------------------------------------


def _open(unit: UnitOfWork, gate: Gate) -> list[Move]:
    return unit.act(gate, "auto_approve", CHECKPOINT, "")


def _close(unit: UnitOfWork, proposal: Proposal) -> list[Move]:
    moves = unit.act(proposal, "open_voting", TICK, "") if proposal.status == ProposalStatus.OPEN else []
    return moves + resolve(unit, proposal) if proposal.status == ProposalStatus.VOTING else moves


@tuples
def due_checkpoints(now: datetime) -> ModelSelect[Gate]:
    """The ids of pending checkpoints whose time has come, and whose stage waits for them."""
    due = (Gate.gate_type == GateType.CHECKPOINT) & (Gate.status == GateStatus.PENDING) & (Gate.auto_approve_at <= now)
    query = Gate.select(Gate.id).join(Stage).where(due, Stage.status == StageStatus.AWAITING_GATE)
    return query.order_by(Gate.auto_approve_at, Gate.id)


@tuples
def overdue_proposals(now: datetime) -> ModelSelect[Proposal]:
    """The ids of open and voting proposals whose deadline has passed."""
    overdue = (Proposal.voting_deadline <= now) & Proposal.status.in_(UNDECIDED)
    return Proposal.select(Proposal.id).where(overdue).order_by(Proposal.voting_deadline, Proposal.id)
