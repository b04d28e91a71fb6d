"""What is due: checkpoints whose time has come, votes whose deadline has passed, agents given up for dead.

Each is done in a transaction of its own, and judged again under its locks: any number of processes may
tick at once, and what another one has done is no longer due.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from peewee import ModelSelect

from dispatch_state import values
from dispatch_state.actors import CHECKPOINT, System
from dispatch_state.door import Turn, door
from dispatch_state.errors import GuardRefused, IllegalTransition, RowNotFound, StaleRow
from dispatch_state.models.agent import Agent
from dispatch_state.models.epic import Stage
from dispatch_state.models.gate import Gate
from dispatch_state.models.proposal import UNDECIDED, Proposal, resolve
from dispatch_state.moves import Move
from dispatch_state.statements import rows
from dispatch_state.vocabulary import AgentStatus, GateStatus, GateType, ProposalStatus, StageStatus

TICK = System("tick")
"""Who opens a vote that was never opened before its deadline."""
RESCUE = System("rescue")
"""Who gives an agent up for dead."""
BEATING = (AgentStatus.STARTING, AgentStatus.WORKING)
"""The statuses in which an agent is expected to beat; waiting and paused ones are left alone."""


def tick() -> list[Move]:
    """Fire what is due by the store's clock; returns every move that was made."""
    here = door()
    now = here.now()
    moves: list[Move] = []
    for gate in here.read(lambda: due_checkpoints(now)):
        moves += _unless_done(lambda gate=gate: gate.auto_approve(by=CHECKPOINT))  # type: ignore[misc]
    for proposal in here.read(lambda: overdue_proposals(now)):
        moves += _unless_done(lambda proposal=proposal: here.turn(proposal, _close, reach="vote"))  # type: ignore[misc]
    return moves


def rescue(timeout: float, max_attempts: int) -> list[Move]:
    """Fail every starting or working agent that has not beaten for longer than the timeout; see `Store.rescue`."""
    here = door()
    longest = values.seconds(timeout, "rescue(timeout)")
    most = values.positive(max_attempts, "rescue(max_attempts)")
    error = f"no heartbeat for more than {longest.total_seconds():g} s"

    def fail(turn: Turn, agent: Agent) -> list[Move]:
        if agent.status not in BEATING or turn.now - agent.last_heartbeat <= longest:
            return []
        return turn.act(agent, "fail", RESCUE, error, error=error, max_attempts=most)

    moves: list[Move] = []
    for agent in here.read(lambda: silent_agents(values.earlier(here.now(), longest))):
        moves += _unless_done(lambda agent=agent: here.turn(agent, fail, reach="fail"))  # type: ignore[misc]
    return moves


def _unless_done(fire: Callable[[], list[Move]]) -> list[Move]:
    """What a firing did, or nothing when another process was faster."""
    try:
        return fire()
    except (StaleRow, IllegalTransition, GuardRefused, RowNotFound):
        return []


def _close(turn: Turn, proposal: Proposal) -> list[Move]:
    moves = turn.act(proposal, "open_voting", TICK, "") if proposal.status == ProposalStatus.OPEN else []
    return moves + resolve(turn, proposal) if proposal.status == ProposalStatus.VOTING else moves


@rows
def silent_agents(since: datetime) -> ModelSelect[Agent]:
    silent = Agent.status.in_(BEATING) & (Agent.last_heartbeat < since)
    return Agent.select().where(silent).order_by(Agent.last_heartbeat, Agent.id)


@rows
def due_checkpoints(now: datetime) -> ModelSelect[Gate]:
    due = (Gate.gate_type == GateType.CHECKPOINT) & (Gate.status == GateStatus.PENDING) & (Gate.auto_approve_at <= now)
    query = Gate.select(*Gate._meta.sorted_fields).join(Stage).where(due, Stage.status == StageStatus.AWAITING_GATE)
    return query.order_by(Gate.auto_approve_at, Gate.id)


@rows
def overdue_proposals(now: datetime) -> ModelSelect[Proposal]:
    overdue = (Proposal.voting_deadline <= now) & Proposal.status.in_(UNDECIDED)
    return Proposal.select().where(overdue).order_by(Proposal.voting_deadline, Proposal.id)
