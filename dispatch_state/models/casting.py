"""Casting a vote, and moving the proposal when the vote decides it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from dispatch_state import values
from dispatch_state.actors import SANGHA
from dispatch_state.errors import IllegalTransition, InvalidValue
from dispatch_state.lifecycle.interface import Move
from dispatch_state.lifecycle.session import UnitOfWork
from dispatch_state.models.queries import UNDECIDED, cast_on, vote_of
from dispatch_state.models.row import MODELS
from dispatch_state.models.voting import Ballot, Standing, ballot
from dispatch_state.storage.statements import find
from dispatch_state.vocabulary import LogLevel, ProposalStatus

if TYPE_CHECKING:
    from dispatch_state.models.agent import Agent
    from dispatch_state.models.proposal import Proposal


def checked_confidence(value: object) -> float:
    """Check a confidence.

    Args:
        value: the value to check.

    Returns:
        The number, from 0 to 1.

    Raises:
        InvalidValue: it is anything else.
    """
    confidence = values.number(value, "votes.confidence")
    if not 0 <= confidence <= 1:
        raise InvalidValue("votes.confidence: takes a number from 0 to 1")
    return confidence


def cast(unit: UnitOfWork, proposal: Proposal, *, agent: Agent, columns: dict[str, Any]) -> list[Move]:
    """Store an agent's vote, and move the proposal when the vote decides it; see `Proposal.vote`.

    Args:
        unit: the unit of work.
        proposal: the proposal as read under its lock.
        agent: who votes.
        columns: the checked columns of the vote.

    Returns:
        The moves of the proposal; empty when it is not decided yet and was voting before.

    Raises:
        IllegalTransition: the proposal is neither open nor voting.
        GuardRefused: the agent may not vote.
    """
    if proposal.status not in UNDECIDED:
        raise IllegalTransition(f"its voting is over: {proposal.machine.illegal(proposal, 'vote')}")
    agent = find(MODELS["agents"], agent.id) or agent  # read again: its type, and so its weight, may have changed
    unit.refuse(
        proposal, "vote", [*unit.actor_refusals(agent, proposal), *_why_no_vote(proposal, agent, unit, columns)]
    )
    moves = unit.act(proposal, "open_voting", agent, "") if proposal.status == ProposalStatus.OPEN else []
    _keep_vote(unit, proposal, agent, columns)
    return moves + resolve(unit, proposal)


def resolve(unit: UnitOfWork, proposal: Proposal) -> list[Move]:
    """Move a voting proposal whose tally is final, as an act of `SANGHA`, the agents as a body.

    Args:
        unit: the unit of work.
        proposal: the proposal as read under its lock.

    Returns:
        The moves; empty when the tally is not final.
    """
    count = proposal.counted(unit.now)
    if not count.final:
        return []
    return unit.act(proposal, "approve" if count.standing is Standing.APPROVED else "reject", SANGHA, "")


def _why_no_vote(proposal: Proposal, agent: Agent, unit: UnitOfWork, columns: dict[str, Any]) -> list[str]:
    reasons = []
    if agent.agent_type not in (proposal.required_voters or ()):
        reasons.append(
            f"a {agent.agent_type} has no vote; required are {values.listed(proposal.required_voters or ())}"
        )
    if proposal.voting_deadline is not None and unit.now >= proposal.voting_deadline:
        reasons.append(f"its deadline passed at {proposal.voting_deadline.isoformat()}")
    preferred, options = columns["preferred_option"], proposal.option_names()
    if preferred is not None and preferred not in options:
        reasons.append(f"the preferred option is not among its options: {values.listed(options)}")
    return reasons


def _keep_vote(unit: UnitOfWork, proposal: Proposal, agent: Agent, columns: dict[str, Any]) -> None:
    before = vote_of(proposal.id, agent.id)
    columns = {**columns, "voter_type": agent.agent_type}
    if before is None:
        unit.insert(MODELS["votes"], proposal=proposal.id, voter=agent.id, **columns)
        return
    replaced = {"proposal": str(proposal.id), "replaced_vote": before.said()}
    unit.insert(MODELS["agent_logs"], agent=agent.id, level=LogLevel.INFO, message="changed its vote", context=replaced)
    unit.set(before, **columns, created_at=unit.now)


def ballots_on(proposal: UUID) -> list[Ballot]:
    """Return the votes on a proposal in the form that `tally` takes."""
    return [ballot(*cast) for cast in cast_on(proposal)]
