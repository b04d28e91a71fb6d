"""The tally: counting a set of votes, in exact arithmetic.

These are pure functions over plain values, without a database and without floats. The order of the votes does not
matter. docs/governance.md explains the rules. Weights are fractions, and 2/3 is exactly 2/3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from fractions import Fraction
from math import lcm
from typing import NamedTuple

from dispatch_state.errors import StoreCorrupt
from dispatch_state.vocabulary import AgentType, ProposalType, Threshold, VoteDecision, total

WEIGHTS: Mapping[AgentType, Fraction] = {kind: kind.weight for kind in AgentType}
_WHOLE = lcm(*(weight.denominator for weight in WEIGHTS.values()))
_PARTS = {kind: int(weight * _WHOLE) for kind, weight in WEIGHTS.items()}
"""The weights as multiples of one small part: as exact as fractions, and faster to add."""


class Standing(StrEnum):
    """The result of a tally."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"


class Cause(StrEnum):
    """What made a tally final."""

    TALLY = "tally"
    DEADLINE = "deadline"


class Default(NamedTuple):
    """The threshold and the required voters of a type of proposal, when its creation does not name them."""

    threshold: Threshold
    required: tuple[AgentType, ...]


DEFAULTS = {kind: Default(kind.threshold, kind.required) for kind in ProposalType}


class Ballot(NamedTuple):
    """One voter's present vote: the voter's id, its type when it voted, its decision, and the option it prefers."""

    voter: str
    voter_type: AgentType
    decision: VoteDecision
    preferred_option: str | None = None


KINDS = {str(kind): kind for kind in AgentType}
_DECISIONS = {str(decision): decision for decision in VoteDecision}


def ballot(voter: object, kind: str, says: str, option: str | None) -> Ballot:
    """Make a ballot from the stored columns of a vote.

    Args:
        voter: the voter's id.
        kind: the voter's type.
        says: the decision.
        option: the preferred option, or None.

    Returns:
        The ballot.

    Raises:
        StoreCorrupt: the type or the decision is unknown.
    """
    try:
        return Ballot(str(voter), KINDS[kind], _DECISIONS[says], option)
    except KeyError:
        raise StoreCorrupt("votes: a row has an unknown voter_type or decision; store.verify() names the row") from None


class Rules(NamedTuple):
    """How the votes on a proposal are counted: the threshold, the types that must vote, and the options in order."""

    threshold: Threshold
    required: tuple[AgentType, ...]
    options: tuple[str, ...] = ()


class Tally(NamedTuple):
    """The count of the votes on a proposal.

    standing: pending, approved or rejected.
    cause: what ended the vote, tally or deadline; None while it is pending.
    quorum: whether all required types have voted, and there is a vote for or against; None while it is pending.
    approve_weight, reject_weight: the exact weights of the votes for and against.
    missing: the required types without a vote other than need_more_info.
    requesters: the voters that need more info.
    chosen_option: the option of an approval, if any was preferred; tied: whether another option had the same weight.
    """

    standing: Standing
    cause: Cause | None
    quorum: bool | None
    approve_weight: Fraction
    reject_weight: Fraction
    missing: tuple[AgentType, ...]
    requesters: tuple[str, ...]
    chosen_option: str | None = None
    tied: bool = False

    @property
    def final(self) -> bool:
        """Whether the vote is decided."""
        return self.standing is not Standing.PENDING


def tally(ballots: Iterable[Ballot], rules: Rules, *, expired: bool = False) -> Tally:
    """Count the votes, in any order.

    The tally is final in one of these cases:
    - every required type has cast a vote other than need_more_info, and no vote is need_more_info;
    - the vote ends early: at the first approve for single_approval, at the first reject for unanimous;
    - the deadline has passed. Only then, and only if neither case above applies, the deadline is the cause.

    A final tally has no quorum, and rejects, when there is no vote for or against, or when a required type has no vote.
    An early end does not wait for the required types.

    Args:
        ballots: the present votes, one for each voter.
        rules: how they are counted.
        expired: whether the deadline has passed. Then need_more_info counts as abstain, which is a vote of its type.

    Returns:
        The tally.
    """
    cast = tuple(ballots)
    approve, reject = _parts(cast, VoteDecision.APPROVE), _parts(cast, VoteDecision.REJECT)
    weights = Fraction(approve, _WHOLE), Fraction(reject, _WHOLE)
    unsure = tuple(sorted(b.voter for b in cast if b.decision is VoteDecision.NEED_MORE_INFO))
    missing = _missing((b for b in cast if b.decision is not VoteDecision.NEED_MORE_INFO), rules)
    early = _ends_early(cast, rules.threshold)
    settled = early or not (missing or unsure)
    if not (settled or expired):
        return Tally(Standing.PENDING, None, None, *weights, missing, unsure)
    quorum = approve + reject > 0 and (early or not _missing(cast, rules))
    approved = quorum and passes(rules.threshold, approve, reject)
    standing = Standing.APPROVED if approved else Standing.REJECTED
    cause = Cause.TALLY if settled else Cause.DEADLINE
    chosen, tied = favourite(cast, rules.options) if approved else (None, False)
    return Tally(standing, cause, quorum, *weights, missing, unsure, chosen, tied)


def _parts(ballots: Iterable[Ballot], decision: VoteDecision) -> int:
    """The weight of the votes with one decision, in parts."""
    return sum([_PARTS[b.voter_type] for b in ballots if b.decision is decision])


def passes(threshold: Threshold, approve: int | Fraction, reject: int | Fraction) -> bool:
    """Whether the votes reach a threshold. Two thirds are enough for super_majority; a half is not a majority.

    Args:
        threshold: the threshold. Without an approving vote none is reached.
        approve: the weight of the votes for the proposal, in any unit.
        reject: the weight of the votes against it, in the same unit.
    """
    return approve > 0 and _PASSES[threshold](approve, reject)


def favourite(ballots: Iterable[Ballot], options: Sequence[str]) -> tuple[str | None, bool]:
    """Find the option that approving votes prefer with the greatest weight.

    Args:
        ballots: the votes.
        options: the options, in order.

    Returns:
        The option, the first one of several with the same weight, and whether there were several. None and False when
        no approving vote prefers an option.
    """
    weights = dict.fromkeys(options, 0)
    for ballot in ballots:
        if ballot.decision is VoteDecision.APPROVE and ballot.preferred_option in weights:
            weights[ballot.preferred_option] += _PARTS[ballot.voter_type]
    greatest = max(weights.values(), default=0)
    best = [option for option, got in weights.items() if got == greatest]
    return (best[0], len(best) > 1) if greatest else (None, False)


def _ends_early(ballots: Iterable[Ballot], threshold: Threshold) -> bool:
    ending = _ENDINGS[threshold]
    return any(ballot.decision is ending for ballot in ballots)


def _missing(ballots: Iterable[Ballot], rules: Rules) -> tuple[AgentType, ...]:
    present = {ballot.voter_type for ballot in ballots}
    absent = set(rules.required) - present
    return tuple([kind for kind in AgentType if kind in absent]) if absent else ()


_PASSES: Mapping[Threshold, Callable[[int | Fraction, int | Fraction], bool]] = total(
    {
        Threshold.UNANIMOUS: lambda approve, reject: not reject,
        Threshold.SUPER_MAJORITY: lambda approve, reject: 3 * approve >= 2 * (approve + reject),
        Threshold.SIMPLE_MAJORITY: lambda approve, reject: 2 * approve > approve + reject,
        Threshold.SINGLE_APPROVAL: lambda approve, reject: True,
    },
    Threshold,
    "the rules of thresholds",
)
"""Whether weights reach a threshold, once something is approved."""
_ENDINGS: Mapping[Threshold, VoteDecision | None] = total(
    {
        Threshold.UNANIMOUS: VoteDecision.REJECT,
        Threshold.SUPER_MAJORITY: None,
        Threshold.SIMPLE_MAJORITY: None,
        Threshold.SINGLE_APPROVAL: VoteDecision.APPROVE,
    },
    Threshold,
    "the early ends of thresholds",
)
"""The vote that decides at once."""
