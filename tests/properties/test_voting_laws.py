"""Laws of the tally: it is a function of the set of votes, fair in its direction, and an end is an end."""

from __future__ import annotations

import itertools

from hypothesis import assume, given
from hypothesis import strategies as st

from dispatch_state.vocabulary import AgentType, Threshold, VoteDecision
from dispatch_state.voting import Ballot, Rules, Standing, tally

OPTIONS = ("a", "b", "c")
kinds = st.sampled_from(AgentType)
decisions = st.sampled_from(VoteDecision)


@st.composite
def votes(draw: st.DrawFn) -> tuple[list[Ballot], Rules]:
    """Votes of up to eight voters, and rules for them."""
    size = draw(st.integers(0, 8))
    option = st.sampled_from([None, *OPTIONS])
    ballots = [Ballot(str(n), draw(kinds), draw(decisions), draw(option)) for n in range(size)]
    required = draw(st.lists(kinds, min_size=1, max_size=4, unique=True))
    return ballots, Rules(draw(st.sampled_from(Threshold)), tuple(required), OPTIONS)


def replaced(ballot: Ballot, decision: VoteDecision) -> Ballot:
    return Ballot(ballot.voter, ballot.voter_type, decision, ballot.preferred_option)


@given(votes(), st.randoms(use_true_random=False), st.booleans())
def test_the_order_of_votes_never_matters(case: tuple[list[Ballot], Rules], random: object, expired: bool) -> None:
    ballots, rules = case
    shuffled = list(ballots)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert tally(shuffled, rules, expired=expired) == tally(ballots, rules, expired=expired)


@given(votes(), st.booleans())
def test_an_approval_instead_of_a_reject_never_hurts(case: tuple[list[Ballot], Rules], expired: bool) -> None:
    ballots, rules = case
    if tally(ballots, rules, expired=expired).standing is not Standing.APPROVED:
        ballots = [replaced(b, VoteDecision.APPROVE) if b.decision is VoteDecision.ABSTAIN else b for b in ballots]
    approved = tally(ballots, rules, expired=expired).standing is Standing.APPROVED
    for at, ballot in enumerate(ballots):
        if approved and ballot.decision is VoteDecision.REJECT:
            better = [*ballots[:at], replaced(ballot, VoteDecision.APPROVE), *ballots[at + 1 :]]
            assert tally(better, rules, expired=expired).standing is Standing.APPROVED


@given(votes(), st.booleans(), kinds)
def test_an_abstention_of_a_type_that_was_heard_is_neutral(
    case: tuple[list[Ballot], Rules], expired: bool, kind: AgentType
) -> None:
    ballots, rules = case
    heard = {b.voter_type for b in ballots if b.decision is not VoteDecision.NEED_MORE_INFO}
    assume(kind in heard or kind not in rules.required)
    more = [*ballots, Ballot("abstainer", kind, VoteDecision.ABSTAIN)]
    assert tally(more, rules, expired=expired) == tally(ballots, rules, expired=expired)


@given(votes())
def test_an_early_end_is_what_every_completion_would_say(case: tuple[list[Ballot], Rules]) -> None:
    """Where types are still missing, or info is asked for, no way to fill that in changes the result."""
    ballots, rules = case
    count = tally(ballots, rules)
    assume(count.final and (count.missing or count.requesters))
    absent = [kind for kind in rules.required if kind not in {b.voter_type for b in ballots}]
    unsure = [n for n, ballot in enumerate(ballots) if ballot.decision is VoteDecision.NEED_MORE_INFO]
    assume(len(absent) + len(unsure) <= 5)
    final = [d for d in VoteDecision if d is not VoteDecision.NEED_MORE_INFO]
    for choice in itertools.product(final, repeat=len(absent) + len(unsure)):
        completed = list(ballots)
        for n, decision in zip(unsure, choice, strict=False):
            completed[n] = replaced(ballots[n], decision)
        completed += [Ballot(kind, kind, d) for kind, d in zip(absent, choice[len(unsure) :], strict=True)]
        assert tally(completed, rules).standing is count.standing


@given(votes())
def test_no_dead_state(case: tuple[list[Ballot], Rules]) -> None:
    """The deadline alone ends every vote, and what was final before it stays so."""
    ballots, rules = case
    late = tally(ballots, rules, expired=True)
    assert late.final
    early = tally(ballots, rules)
    assert not early.final or early == late


@given(votes(), st.booleans())
def test_the_chosen_option_is_one_that_an_approver_prefers(case: tuple[list[Ballot], Rules], expired: bool) -> None:
    ballots, rules = case
    count = tally(ballots, rules, expired=expired)
    preferred = {b.preferred_option for b in ballots if b.decision is VoteDecision.APPROVE and b.preferred_option}
    if count.standing is Standing.APPROVED:
        assert (count.chosen_option in preferred) == bool(preferred)
    else:
        assert (count.chosen_option, count.tied) == (None, False)
