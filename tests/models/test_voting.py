"""The tally, compared with an oracle that is written by hand in another style.

The code computes an outcome; the oracle eliminates outcomes. It lists every possible outcome, goes through the
contract sentence by sentence, strikes out what each sentence forbids, and demands that exactly one is left. Weights
are integers, in halves.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from typing import NamedTuple

import pytest

from dispatch_state.errors import StoreCorrupt
from dispatch_state.models.voting import (
    DEFAULTS,
    WEIGHTS,
    Ballot,
    Cause,
    Rules,
    Standing,
    ballot,
    favourite,
    passes,
    tally,
)
from dispatch_state.vocabulary import AgentType, ProposalType, Threshold, VoteDecision
from tests.long_forms import LONG

HALVES = {"coder": 2, "reviewer": 3, "pm": 2, "security": 4, "docs": 1, "test": 2, "architect": 3}
"""The weights of the contract, in halves, in the order of the agents' types."""
SAYS = ("approve", "reject", "abstain", "need_more_info")
THRESHOLDS = ("unanimous", "super_majority", "simple_majority", "single_approval")
PAGE = """
implementation_approach simple_majority coder reviewer architect
tech_stack_choice simple_majority coder architect
architecture_decision super_majority architect coder security
new_agent_type super_majority pm architect
workflow_change super_majority pm architect
governance_rule unanimous pm architect security
tool_integration simple_majority coder security
prompt_improvement simple_majority pm architect
"""
DEFAULT_VOTERS = {frozenset(line.split()[2:]) for line in PAGE.strip().splitlines()}
EQUALS = (("coder", "pm", "test"), ("reviewer", "architect"))
"""Types of equal weight: exchanging them in a panel changes no outcome."""

Panel = tuple[tuple[str, str], ...]
"""The type and the vote of each agent, in any order."""


# ---- the oracle --------------------------------------------------------------------------------------


class Outcome(NamedTuple):
    """A result of the tally, in the words of the contract."""

    standing: str
    cause: str | None
    quorum: bool | None


POSSIBLE = [
    Outcome("pending", None, None),
    *(Outcome(*made) for made in itertools.product(("approved", "rejected"), ("tally", "deadline"), (True, False))),
]


@cache
def oracle(threshold: str, a: int, r: int, silent: bool, asked: bool, absent: bool, expired: bool) -> Outcome:
    """The one outcome that no sentence of the contract forbids.

    silent: a required type has cast no vote other than need_more_info; asked: a vote is need_more_info;
    absent: a required type is without a vote of any kind; a, r: the weights for and against.
    """
    first_approve_ends_it = threshold == "single_approval" and a > 0
    first_reject_ends_it = threshold == "unanimous" and r > 0
    ended_early = first_approve_ends_it or first_reject_ends_it
    reached = {
        "unanimous": r == 0 and a > 0,
        "super_majority": 3 * a >= 2 * (a + r) and a > 0,
        "simple_majority": 2 * a > a + r,
        "single_approval": a > 0,
    }[threshold]

    def forbidden(it: Outcome) -> bool:
        final = it.standing != "pending"
        return any(
            (
                # "Pending until every required type has cast a vote other than need_more_info, …
                final and silent and not ended_early and not expired,
                # … and no vote is need_more_info."
                final and asked and not ended_early and not expired,
                # "Pending until": and no longer.
                not final and not silent and not asked,
                # "Two early ends: single_approval on the first approve, unanimous on the first reject."
                not final and ended_early,
                # "or the deadline has passed and the tally then says so"
                not final and expired,
                # "The outcome says cause": the deadline's only what would be pending without it.
                final and it.cause == "deadline" and not expired,
                final and it.cause == "deadline" and (ended_early or not (silent or asked)),
                final and it.cause == "tally" and not ended_early and (silent or asked),
                # "No quorum, hence rejected: …
                it.quorum is False and it.standing == "approved",
                # … A + R = 0 when final; …
                it.quorum is True and a + r == 0,
                # … or, after the deadline, a required type without a vote, unless it had ended early
                it.quorum is True and expired and absent and not ended_early,
                # (an early end has a quorum)." And nothing else takes it away.
                it.quorum is False and ended_early,
                it.quorum is False and a + r > 0 and not (expired and absent),
                # "approved: …
                it.standing == "approved" and not reached,
                # Otherwise rejected."
                it.standing == "rejected" and it.quorum is True and reached,
            )
        )

    (left,) = (it for it in POSSIBLE if not forbidden(it))
    return left


# ---- panels ------------------------------------------------------------------------------------------


def panels(size: int) -> Iterator[Panel]:
    """Every panel of so many agents: a multiset of types, in which each agent casts any of the four votes."""
    return itertools.combinations_with_replacement(tuple(itertools.product(HALVES, SAYS)), size)


def one_of_its_kind(panel: Panel) -> bool:
    """Whether the panel represents all panels that differ only by types of equal weight."""
    said = dict.fromkeys(HALVES, "")
    for kind, says in panel:
        said[kind] += says
    return all(said[one] >= said[other] for group in EQUALS for one, other in itertools.pairwise(group))


def agrees(panel: Panel, required_sets: set[frozenset[str]]) -> None:
    """Assert that the tally of a panel is what the contract says, before the deadline and after it."""
    ballots = [BALLOTS[seat][which] for seat, which in enumerate(panel)]
    a, r = (sum(HALVES[kind] for kind, said in panel if said == says) for says in ("approve", "reject"))
    present = {kind for kind, _ in panel}
    heard = {kind for kind, says in panel if says != "need_more_info"}
    asking = tuple(str(seat) for seat, (_, says) in enumerate(panel) if says == "need_more_info")
    for required in required_sets:
        missing = tuple(kind for kind in HALVES if kind in required and kind not in heard)
        absent = any(kind not in present for kind in required)
        told = (Fraction(a, 2), Fraction(r, 2), missing, asking)
        for threshold, expired in MATTERS:
            count = tally(ballots, rules(threshold, required), expired=expired)
            wanted = oracle(threshold, a, r, bool(missing), bool(asking), absent, expired)
            verdict = Outcome(count.standing, count.cause, count.quorum)
            assert verdict == wanted, (panel, threshold, required, expired)
            assert count.final == (wanted.standing != "pending")
            assert (count.approve_weight, count.reject_weight, count.missing, count.requesters) == told, panel


MATTERS = tuple(itertools.product(THRESHOLDS, (False, True)))
BALLOTS = [
    {(k, s): Ballot(str(seat), AgentType(k), VoteDecision(s)) for k, s in itertools.product(HALVES, SAYS)}
    for seat in range(6)
]


@cache
def rules(threshold: str, required: frozenset[str]) -> Rules:
    return Rules(Threshold(threshold), tuple(AgentType(kind) for kind in sorted(required)))


def of(panel: Panel) -> frozenset[str]:
    return frozenset(kind for kind, _ in panel) or frozenset({"coder"})


def absentee(panel: Panel) -> frozenset[str]:
    """The panel's types and one that is missing from it; a panel of all seven types has none."""
    return of(panel) | {next(kind for kind in HALVES if kind not in of(panel))}


@pytest.mark.parametrize("size", range(6 if LONG else 4))
def test_every_panel(size: int) -> None:
    """Every panel of up to three agents (long form: five). Required are its types, one more, or a default's types."""
    defaults = DEFAULT_VOTERS if LONG or size < 3 else set()
    for panel in panels(size):
        agrees(panel, {of(panel), absentee(panel), *defaults})


@pytest.mark.parametrize("size", [4, 5])
def test_every_panel_but_for_names(size: int) -> None:
    """Panels of four and five agents; of those that differ only by types of equal weight, one."""
    for panel in filter(one_of_its_kind, panels(size)):
        agrees(panel, {of(panel)} if size == 5 else {of(panel), absentee(panel)})


@pytest.mark.parametrize("required", sorted(DEFAULT_VOTERS, key=sorted), ids=lambda kinds: "-".join(sorted(kinds)))
def test_panels_of_the_defaults(required: frozenset[str]) -> None:
    """Three to five agents of the types that a default requires; smaller panels are tested above."""
    seats = tuple(itertools.product(sorted(required), SAYS))
    for size in (3, 4, 5):
        for panel in itertools.combinations_with_replacement(seats, size):
            agrees(panel, {required})


# ---- weights and defaults ----------------------------------------------------------------------------


def test_the_weights_are_those_of_the_contract() -> None:
    assert {str(kind): weight * 2 for kind, weight in WEIGHTS.items()} == HALVES
    assert {type(weight) for weight in WEIGHTS.values()} == {Fraction}


def test_the_defaults_are_those_of_the_contract() -> None:
    for line in PAGE.strip().splitlines():
        kind, threshold, *required = line.split()
        assert DEFAULTS[ProposalType(kind)] == (threshold, tuple(required))
    assert set(DEFAULTS) == set(ProposalType)


# ---- single cases --------------------------------------------------------------------


def votes(*said: str) -> list[Ballot]:
    """Ballots from texts such as "coder approve", of the voters 0, 1, 2, …"""
    words = [one.split() for one in said]
    return [Ballot(str(n), AgentType(kind), VoteDecision(says)) for n, (kind, says) in enumerate(words)]


def test_two_thirds_is_exactly_two_thirds() -> None:
    """Two of three equal weights are enough; half a weight less is not."""
    two_of_three = votes("coder approve", "pm approve", "test reject")
    assert tally(two_of_three, rules("super_majority", frozenset({"coder"}))).standing is Standing.APPROVED
    nearly = tally([*two_of_three, *votes("docs reject")], rules("super_majority", frozenset({"coder"})))
    assert nearly.standing is Standing.REJECTED
    assert (nearly.approve_weight, nearly.reject_weight) == (Fraction(2), Fraction(3, 2))


@pytest.mark.parametrize("scale", [1, 10**6, 10**17, 10**40])
def test_the_arithmetic_is_exact(scale: int) -> None:
    """With these weights, floats would round away the difference that decides."""
    n = Fraction(scale)
    least = Fraction(1, 2)
    assert passes(Threshold.SUPER_MAJORITY, 2 * n, n)
    assert not passes(Threshold.SUPER_MAJORITY, 2 * n, n + least)
    assert not passes(Threshold.SUPER_MAJORITY, 2 * n - least, n)
    assert not passes(Threshold.SIMPLE_MAJORITY, n, n)
    assert passes(Threshold.SIMPLE_MAJORITY, n + least, n)
    assert not passes(Threshold.SIMPLE_MAJORITY, n, n + least)


@pytest.mark.parametrize("expired", [False, True])
def test_weights_are_fractions_even_when_there_are_none(expired: bool) -> None:
    """A decision stores them as text such as 7/2, never as 3.5."""
    for ballots, told in ((votes("security approve", "reviewer approve"), "7/2"), ([], "0")):
        count = tally(ballots, rules("unanimous", frozenset({"pm"})), expired=expired)
        assert (str(count.approve_weight), str(count.reject_weight)) == (told, "0")
        assert {type(count.approve_weight), type(count.reject_weight)} == {Fraction}


def test_exactly_half_is_no_majority() -> None:
    half = tally(votes("coder approve", "pm reject"), rules("simple_majority", frozenset({"coder", "pm"})))
    assert (half.standing, half.quorum) == (Standing.REJECTED, True)


@pytest.mark.parametrize(("threshold", "vote"), [("single_approval", "approve"), ("unanimous", "reject")])
@pytest.mark.parametrize("expired", [False, True])
def test_an_early_end_waits_for_nobody(threshold: str, vote: str, expired: bool) -> None:
    """The vote ends although types are missing and information is asked for, with a quorum, at any time."""
    ballots = votes(f"coder {vote}", "pm need_more_info")
    count = tally(ballots, rules(threshold, frozenset({"coder", "pm", "security"})), expired=expired)
    standing = Standing.APPROVED if vote == "approve" else Standing.REJECTED
    assert (count.standing, count.cause, count.quorum) == (standing, Cause.TALLY, True)
    assert (count.missing, count.requesters) == ((AgentType.PM, AgentType.SECURITY), ("1",))


def test_need_more_info_is_an_abstention_after_the_deadline() -> None:
    """It still counts as a vote of its type, so there is a quorum if anybody else approves or rejects."""
    ballots = votes("coder approve", "pm need_more_info")
    both = rules("simple_majority", frozenset({"coder", "pm"}))
    assert tally(ballots, both).standing is Standing.PENDING
    late = tally(ballots, both, expired=True)
    assert (late.standing, late.cause, late.quorum) == (Standing.APPROVED, Cause.DEADLINE, True)
    alone = tally(votes("coder need_more_info", "pm need_more_info"), both, expired=True)
    assert (alone.standing, alone.cause, alone.quorum) == (Standing.REJECTED, Cause.DEADLINE, False)


def test_a_required_type_that_never_voted_costs_the_quorum() -> None:
    late = tally(votes("coder approve"), rules("simple_majority", frozenset({"coder", "pm"})), expired=True)
    assert (late.standing, late.cause, late.quorum) == (Standing.REJECTED, Cause.DEADLINE, False)
    assert late.missing == (AgentType.PM,)


def test_a_tally_that_was_final_before_the_deadline_has_cause_tally() -> None:
    late = tally(votes("coder approve"), rules("simple_majority", frozenset({"coder"})), expired=True)
    assert (late.standing, late.cause) == (Standing.APPROVED, Cause.TALLY)


def test_one_agent_of_a_type_speaks_for_it_but_a_colleague_may_hold_it_open() -> None:
    """One vote per required type is enough, but any agent's need_more_info keeps the vote open."""
    count = tally(votes("coder approve", "coder need_more_info"), rules("simple_majority", frozenset({"coder"})))
    assert (count.standing, count.missing, count.requesters) == (Standing.PENDING, (), ("1",))


def test_a_vote_in_which_all_abstain_has_no_quorum() -> None:
    count = tally(votes("coder abstain"), rules("single_approval", frozenset({"coder"})))
    assert (count.standing, count.cause, count.quorum) == (Standing.REJECTED, Cause.TALLY, False)


def test_missing_types_and_requesters_are_listed_in_order() -> None:
    """Types in the order of the enum and requesters by id, in whatever order the votes came."""
    required = (AgentType.ARCHITECT, AgentType.SECURITY, AgentType.CODER)
    ballots = [Ballot(voter, AgentType.PM, VoteDecision.NEED_MORE_INFO) for voter in ("c", "a", "b")]
    count = tally(ballots, Rules(Threshold.UNANIMOUS, required))
    assert count.missing == (AgentType.CODER, AgentType.SECURITY, AgentType.ARCHITECT)
    assert count.requesters == ("a", "b", "c")


# ---- the chosen option -------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [(), ("a",), ("b", "a"), ("c", "a", "b")])
def test_every_choice_of_three_approvers(options: tuple[str, ...]) -> None:
    """Only approvers choose an option; the preferences of others do not count."""
    others = [
        Ballot("no", AgentType.SECURITY, VoteDecision.REJECT, "a"),
        Ballot("or", AgentType.SECURITY, VoteDecision.ABSTAIN, "b"),
    ]
    rule = Rules(Threshold.SINGLE_APPROVAL, (AgentType.CODER,), options)
    for kinds in itertools.combinations_with_replacement(HALVES, 3):
        for preferred in itertools.product((None, "a", "b", "c"), repeat=3):
            got = Counter(dict.fromkeys(options, 0))
            for kind, option in zip(kinds, preferred, strict=True):
                got.update({option: HALVES[kind]} if option in options else {})
            ranked = sorted((-weight, options.index(option), option) for option, weight in got.items() if weight)
            wanted = (ranked[0][2], [rank[0] for rank in ranked].count(ranked[0][0]) > 1) if ranked else (None, False)
            approving = [
                Ballot(str(n), AgentType(kind), VoteDecision.APPROVE, option)
                for n, (kind, option) in enumerate(zip(kinds, preferred, strict=True))
            ]
            count = tally([*others, *approving], rule)
            assert (count.chosen_option, count.tied) == wanted == favourite(approving, options), (kinds, preferred)


@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_only_an_approval_chooses_an_option(threshold: str) -> None:
    """A pending tally and a rejection name no option, even when approvers prefer one."""
    against = Ballot("no", AgentType.SECURITY, VoteDecision.REJECT, "a")
    of_it = Ballot("yes", AgentType.CODER, VoteDecision.APPROVE, "a")
    for ballots in ([against], [against, of_it], [of_it]):
        for expired in (False, True):
            required = (AgentType.CODER, AgentType.SECURITY)
            count = tally(ballots, Rules(Threshold(threshold), required, ("a", "b")), expired=expired)
            assert (count.chosen_option == "a") == (count.standing is Standing.APPROVED)
            assert count.tied is False


@pytest.mark.parametrize("stored", [("a", "king", "approve", None), ("a", "coder", "maybe", None)])
def test_a_stored_vote_of_unknown_words_is_corrupt(stored: tuple[str, str, str, str | None]) -> None:
    with pytest.raises(StoreCorrupt, match=r"store\.verify\(\) names the row"):
        ballot(*stored)
