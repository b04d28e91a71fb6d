"""What is due: checkpoints whose time has come, votes whose deadline has passed.

Each is done in a transaction of its own, and judged again under its locks: any number of processes may
tick at once, and what another one has done is no longer due.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from peewee import ModelSelect

from dispatch_state.actors import CHECKPOINT, System
from dispatch_state.door import Turn, door
from dispatch_state.errors import GuardRefused, IllegalTransition, RowNotFound, StaleRow
from dispatch_state.models.epic import Stage
from dispatch_state.models.gate import Gate
from dispatch_state.models.proposal import UNDECIDED, Proposal, resolve
from dispatch_state.moves import Move
from dispatch_state.statements import rows
from dispatch_state.vocabulary import GateStatus, GateType, ProposalStatus, StageStatus

TICK = System("tick")
"""Who opens a vote that was never opened before its deadline."""


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
def due_checkpoints(now: datetime) -> ModelSelect[Gate]:
    due = (Gate.gate_type == GateType.CHECKPOINT) & (Gate.status == GateStatus.PENDING) & (Gate.auto_approve_at <= now)
    query = Gate.select(*Gate._meta.sorted_fields).join(Stage).where(due, Stage.status == StageStatus.AWAITING_GATE)
    return query.order_by(Gate.auto_approve_at, Gate.id)


@rows
def overdue_proposals(now: datetime) -> ModelSelect[Proposal]:
    overdue = (Proposal.voting_deadline <= now) & Proposal.status.in_(UNDECIDED)
    return Proposal.select().where(overdue).order_by(Proposal.voting_deadline, Proposal.id)
