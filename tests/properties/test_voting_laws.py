"""Laws of the tally: it is a function of the set of votes, fair in its direction, and an end is an end.

How firm an end is depends on its kind. An *early end* stands whatever is still said, as long as nobody changes a vote:
missing types, those who ask for more info, and newcomers alike. Only its option may change: later approvers may prefer
another. Any other end by the tally leaves nothing open (no type is missing, no info is asked for), so it can only be
overturned by a newcomer of a type that was heard; that is why voting closes at the first final tally. What the deadline
ended is not what completing the votes would have said.
"""

from __future__ import annotations

import itertools
from fractions import Fraction
from random import Random

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from dispatch_state.models.voting import WEIGHTS, Ballot, Cause, Rules, Standing, tally
from dispatch_state.vocabulary import AgentType, Threshold, VoteDecision

OPTIONS = ("a", "b", "c")
RISING = [Standing.REJECTED, Standing.PENDING, Standing.APPROVED]
"""Standings, from the worst for a proposal to the best."""
kinds = st.sampled_from(AgentType)
decisions = st.sampled_from(VoteDecision)
ENDS = (VoteDecision.APPROVE, VoteDecision.REJECT, VoteDecision.ABSTAIN)

Case = tuple[list[Ballot], Rules]


def ballots(prefix: str, *, most: int) -> st.SearchStrategy[list[Ballot]]:
    """Votes of so many voters at most, each voting once."""
    one = st.tuples(kinds, decisions, st.sampled_from([None, *OPTIONS]))
    return st.lists(one, max_size=most).map(lambda votes: [Ballot(f"{prefix}{n}", *v) for n, v in enumerate(votes)])


rules = st.builds(
    Rules,
    threshold=st.sampled_from(Threshold),
    required=st.lists(kinds, min_size=1, max_size=4, unique=True).map(tuple),
    options=st.just(OPTIONS),
)
cases = st.tuples(ballots("v", most=8), rules)


def replaced(ballot: Ballot, decision: VoteDecision) -> Ballot:
    return Ballot(ballot.voter, ballot.voter_type, decision, ballot.preferred_option)


@given(cases, st.randoms(use_true_random=False), st.booleans())
def test_the_order_of_votes_never_matters(case: Case, random: Random, expired: bool) -> None:
    cast, rule = case
    shuffled = list(cast)
    random.shuffle(shuffled)
    required = list(rule.required)
    random.shuffle(required)
    assert tally(iter(shuffled), rule, expired=expired) == tally(cast, rule, expired=expired)
    turned = Rules(rule.threshold, tuple(required), rule.options)
    assert tally(cast, turned, expired=expired) == tally(cast, rule, expired=expired)


@given(cases, st.booleans(), st.randoms(use_true_random=False))
def test_who_votes_which_way_matters_only_by_type(case: Case, expired: bool, random: Random) -> None:
    """Other names for the voters change nothing but the names of those who ask."""
    cast, rule = case
    names = [f"n{n}" for n in range(len(cast))]
    random.shuffle(names)
    others = [Ballot(name, b.voter_type, b.decision, b.preferred_option) for name, b in zip(names, cast, strict=True)]
    one, other = tally(cast, rule, expired=expired), tally(others, rule, expired=expired)
    assert len(one.requesters) == len(other.requesters)
    assert [getattr(one, n) for n in one.__slots__ if n != "requesters"] == [
        getattr(other, n) for n in other.__slots__ if n != "requesters"
    ]


@given(cases, st.booleans())
def test_an_approve_instead_of_a_reject_never_hurts(case: Case, expired: bool) -> None:
    """Approved stays approved, and what is pending is not rejected by it."""
    cast, rule = case
    before = tally(cast, rule, expired=expired).standing
    for at, ballot in enumerate(cast):
        if ballot.decision is VoteDecision.REJECT:
            better = [*cast[:at], replaced(ballot, VoteDecision.APPROVE), *cast[at + 1 :]]
            assert RISING.index(tally(better, rule, expired=expired).standing) >= RISING.index(before)


@given(cases, st.booleans(), kinds)
def test_an_abstention_of_a_type_that_was_heard_is_neutral(case: Case, expired: bool, kind: AgentType) -> None:
    cast, rule = case
    heard = {b.voter_type for b in cast if b.decision is not VoteDecision.NEED_MORE_INFO}
    assume(kind in heard or kind not in rule.required)
    more = [*cast, Ballot("abstainer", kind, VoteDecision.ABSTAIN, "a")]
    assert tally(more, rule, expired=expired) == tally(cast, rule, expired=expired)


@given(cases)
def test_more_info_is_an_abstention_once_the_deadline_has_passed(case: Case) -> None:
    """The verdict is the one that abstentions would have had; before it, one such vote holds all but an early end."""
    cast, rule = case
    abstained = [replaced(b, VoteDecision.ABSTAIN) if b.decision not in ENDS else b for b in cast]
    late, plain = tally(cast, rule, expired=True), tally(abstained, rule, expired=True)
    assert (late.standing, late.quorum, late.chosen_option) == (plain.standing, plain.quorum, plain.chosen_option)
    count = tally(cast, rule)
    if count.requesters and count.final:
        ender = {Threshold.SINGLE_APPROVAL: count.approve_weight, Threshold.UNANIMOUS: count.reject_weight}
        assert ender[rule.threshold] > 0


@given(
    cases,
    ballots("newcomer", most=4),
    st.sampled_from([(Threshold.SINGLE_APPROVAL, VoteDecision.APPROVE), (Threshold.UNANIMOUS, VoteDecision.REJECT)]),
    st.booleans(),
    st.data(),
)
def test_an_early_end_stands_whatever_is_still_said(
    case: Case,
    newcomers: list[Ballot],
    ending: tuple[Threshold, VoteDecision],
    expired: bool,
    data: st.DataObject,
) -> None:
    """One approve is enough, or one reject; those who ask for info may say anything, newcomers may join."""
    others, rule = case
    rule = Rules(ending[0], rule.required, rule.options)
    cast = [*others, Ballot("ender", data.draw(kinds), ending[1])]
    final = tally(cast, rule, expired=expired)
    assert (final.final, final.cause, final.quorum) == (True, Cause.TALLY, True)
    later = [replaced(b, data.draw(decisions)) if b.decision not in ENDS else b for b in cast] + newcomers
    after = tally(later, rule, expired=data.draw(st.booleans()))
    assert (after.standing, after.cause, after.quorum) == (final.standing, final.cause, final.quorum)


@settings(suppress_health_check=[HealthCheck.filter_too_much])  # most drawn votes are still open
@given(cases)
def test_every_end_by_the_tally_is_what_every_completion_would_say(case: Case) -> None:
    """However the types still missing and those who ask for info would vote: an end that left them out agrees."""
    cast, rule = case
    count = tally(cast, rule)
    assume(count.final)
    absent = [kind for kind in rule.required if kind not in {b.voter_type for b in cast}]
    unsure = [n for n, ballot in enumerate(cast) if ballot.decision is VoteDecision.NEED_MORE_INFO]
    assume(len(absent) + len(unsure) <= 4)
    for choice in itertools.product(ENDS, repeat=len(absent) + len(unsure)):
        completed = list(cast)
        for n, decision in zip(unsure, choice, strict=False):
            completed[n] = replaced(cast[n], decision)
        completed += [Ballot(kind, kind, d) for kind, d in zip(absent, choice[len(unsure) :], strict=True)]
        after = tally(completed, rule)
        assert (after.standing, after.cause, after.quorum) == (count.standing, count.cause, count.quorum)


@given(cases)
def test_an_end_by_the_tally_that_is_not_early_left_nothing_open(case: Case) -> None:
    cast, rule = case
    count = tally(cast, rule)
    early = {
        Threshold.SINGLE_APPROVAL: any(b.decision is VoteDecision.APPROVE for b in cast),
        Threshold.UNANIMOUS: any(b.decision is VoteDecision.REJECT for b in cast),
    }.get(rule.threshold, False)
    assert count.final == (early or (count.missing, count.requesters) == ((), ()))


@given(cases)
def test_the_deadline_ends_every_vote_and_changes_no_end(case: Case) -> None:
    cast, rule = case
    late, early = tally(cast, rule, expired=True), tally(cast, rule)
    assert late.final
    assert (late.cause is Cause.TALLY) == early.final
    assert not early.final or early == late


@given(st.lists(kinds, min_size=1, max_size=6), kinds)
def test_two_thirds_of_the_weight_is_enough_and_a_hair_less_is_not(no: list[AgentType], kind: AgentType) -> None:
    """Two approves of its weight for each reject are exactly two thirds; any reject on top is too much."""
    votes = [(k, d) for k in no for d in (VoteDecision.REJECT, VoteDecision.APPROVE, VoteDecision.APPROVE)]
    cast = [Ballot(str(n), *vote) for n, vote in enumerate(votes)]
    rule = Rules(Threshold.SUPER_MAJORITY, tuple(set(no)))
    assert tally(cast, rule).standing is Standing.APPROVED
    assert tally([*cast, Ballot("more", kind, VoteDecision.REJECT)], rule).standing is Standing.REJECTED


@given(st.lists(kinds, min_size=1, max_size=6), kinds)
def test_half_of_the_weight_is_no_majority_and_a_hair_more_is(both: list[AgentType], kind: AgentType) -> None:
    votes = [(k, d) for k in both for d in (VoteDecision.APPROVE, VoteDecision.REJECT)]
    cast = [Ballot(str(n), *vote) for n, vote in enumerate(votes)]
    rule = Rules(Threshold.SIMPLE_MAJORITY, tuple(set(both)))
    assert tally(cast, rule).standing is Standing.REJECTED
    more = [*cast, Ballot("more", kind, VoteDecision.APPROVE)]
    assert tally(more, rule).standing is Standing.APPROVED


@given(cases, st.booleans())
def test_the_chosen_option_is_the_heaviest_and_a_tie_is_the_first_listed(case: Case, expired: bool) -> None:
    cast, rule = case
    count = tally(cast, rule, expired=expired)
    got = dict.fromkeys(OPTIONS, Fraction())
    for ballot in cast:
        if ballot.decision is VoteDecision.APPROVE and ballot.preferred_option:
            got[ballot.preferred_option] += WEIGHTS[ballot.voter_type]
    if count.standing is not Standing.APPROVED or not any(got.values()):
        assert (count.chosen_option, count.tied) == (None, False)
        return
    assert count.chosen_option is not None
    at = OPTIONS.index(count.chosen_option)
    most = got[count.chosen_option]
    assert all(got[earlier] < most for earlier in OPTIONS[:at])
    assert all(got[later] <= most for later in OPTIONS[at + 1 :])
    assert count.tied == any(got[later] == most for later in OPTIONS[at + 1 :])


@given(st.permutations(OPTIONS), st.lists(kinds, min_size=1, max_size=3))
def test_a_tie_goes_by_the_list_not_by_the_votes(options: list[str], each: list[AgentType]) -> None:
    """Every option has the same approvers: the first listed is chosen, marked, in whatever order the votes came."""
    votes = [(kind, option) for kind in each for option in OPTIONS]
    cast = [Ballot(str(n), kind, VoteDecision.APPROVE, option) for n, (kind, option) in enumerate(votes)]
    count = tally(cast, Rules(Threshold.SINGLE_APPROVAL, (AgentType.CODER,), tuple(options)))
    assert (count.chosen_option, count.tied) == (options[0], True)
