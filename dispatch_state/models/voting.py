"""The tally: what a set of votes says, in exact arithmetic.

Pure functions over plain values: no database, no floats, and no dependence on the order of votes. The
rules are those of docs/governance.md; weights are fractions, and 2/3 is exactly 2/3.
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
"""The weights as whole numbers of one part, which are as exact as fractions, and add up faster."""


class Standing(StrEnum):
    """What a tally says of a proposal."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"


class Cause(StrEnum):
    """What made a tally final."""

    TALLY = "tally"
    DEADLINE = "deadline"


class Default(NamedTuple):
    """What a type of proposal asks for when it is created without saying so."""

    threshold: Threshold
    required: tuple[AgentType, ...]


DEFAULTS = {kind: Default(kind.threshold, kind.required) for kind in ProposalType}


class Ballot(NamedTuple):
    """One voter's present vote: the voter's id, its type when it voted, what it says, and which option it prefers."""

    voter: str
    voter_type: AgentType
    decision: VoteDecision
    preferred_option: str | None = None


KINDS = {str(kind): kind for kind in AgentType}
_SAYINGS = {str(decision): decision for decision in VoteDecision}


def ballot(voter: object, kind: str, says: str, option: str | None) -> Ballot:
    """A ballot from what is stored of a vote; raises `StoreCorrupt` for words that no vote holds."""
    try:
        return Ballot(str(voter), KINDS[kind], _SAYINGS[says], option)
    except KeyError:
        raise StoreCorrupt("votes: a word in it is none of a vote's; store.verify() names the row") from None


class Rules(NamedTuple):
    """What a proposal asks of its votes: the threshold, the types that must be heard, the options in their order."""

    threshold: Threshold
    required: tuple[AgentType, ...]
    options: tuple[str, ...] = ()


class Tally(NamedTuple):
    """What the votes say.

    standing: pending, approved or rejected.
    cause: what ended the vote, tally or deadline, and None while it is pending.
    quorum: whether enough was said, and None while it is pending.
    approve_weight, reject_weight: of the votes for and against, exactly.
    missing: the required types that have said nothing yet but that they need more info.
    requesters: the voters that need more info.
    chosen_option: of an approval, if any was preferred; tied: whether it shared the greatest weight.
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
        """Whether the proposal moves by it."""
        return self.standing is not Standing.PENDING


def tally(ballots: Iterable[Ballot], rules: Rules, *, expired: bool = False) -> Tally:
    """Count the votes, in any order.

    The count is final when every required type has said something else than need_more_info and nobody says that any
    more; or at an early end (the first approve of single_approval, the first reject of unanimous); or after the
    deadline, which is its cause only if it took the deadline. Final without a vote for or against, or without any
    vote of a required type (an early end waits for none), it has no quorum and is a rejection.

    Args:
        ballots: the present votes, one for each voter.
        rules: what the proposal asks of them.
        expired: whether the deadline has passed; need_more_info then counts as abstain, so it is a vote of its type.
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
    """The weight of the votes that say one thing, in parts."""
    return sum([_PARTS[b.voter_type] for b in ballots if b.decision is decision])


def passes(threshold: Threshold, approve: int | Fraction, reject: int | Fraction) -> bool:
    """Whether weights, in whatever unit, reach the threshold: two thirds are enough, a half is not.

    Nothing passes unapproved.
    """
    return approve > 0 and _PASSES[threshold](approve, reject)


def favourite(ballots: Iterable[Ballot], options: Sequence[str]) -> tuple[str | None, bool]:
    """The option with the greatest weight of approving votes, and whether another has as much.

    Of equals it is the one listed first; without a preference for any of the options there is none, and no tie.
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
    "the rules of thresholds",
    Threshold,
    {
        Threshold.UNANIMOUS: lambda approve, reject: not reject,
        Threshold.SUPER_MAJORITY: lambda approve, reject: 3 * approve >= 2 * (approve + reject),
        Threshold.SIMPLE_MAJORITY: lambda approve, reject: 2 * approve > approve + reject,
        Threshold.SINGLE_APPROVAL: lambda approve, reject: True,
    },
)
"""Whether weights reach a threshold, once something is approved."""
_ENDINGS: Mapping[Threshold, VoteDecision | None] = total(
    "the early ends of thresholds",
    Threshold,
    {
        Threshold.UNANIMOUS: VoteDecision.REJECT,
        Threshold.SUPER_MAJORITY: None,
        Threshold.SIMPLE_MAJORITY: None,
        Threshold.SINGLE_APPROVAL: VoteDecision.APPROVE,
    },
)
"""The vote that decides at once."""
