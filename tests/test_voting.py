"""The tally against an oracle written from the text of the contract, in another style: integers, all completions."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from fractions import Fraction

import pytest

from dispatch_state.vocabulary import AgentType, ProposalType, Threshold, VoteDecision
from dispatch_state.voting import DEFAULTS, WEIGHTS, Ballot, Cause, Rules, Standing, tally

LONG = bool(os.environ.get("DISPATCH_LONG"))
HALVES = {"coder": 2, "reviewer": 3, "pm": 2, "security": 4, "docs": 1, "test": 2, "architect": 3}
"""The weights of the page, in halves."""
SAYS = ("approve", "reject", "abstain", "need_more_info")
Panel = tuple[tuple[str, str], ...]


def oracle(panel: Panel, threshold: str, required: set[str], expired: bool) -> tuple[str, str | None, bool | None]:
    """Standing, cause and quorum of a panel of (type, says), word by word from the page."""
    a = sum(HALVES[kind] for kind, says in panel if says == "approve")
    r = sum(HALVES[kind] for kind, says in panel if says == "reject")
    heard = {kind for kind, says in panel if says != "need_more_info"}
    asks = any(says == "need_more_info" for _, says in panel)
    early = (threshold == "single_approval" and a > 0) or (threshold == "unanimous" and r > 0)
    complete = required <= heard and not asks
    if not early and not complete and not expired:
        return "pending", None, None
    cause = "tally" if early or complete else "deadline"
    present = {kind for kind, _ in panel}
    if a + r == 0 or (not early and not required <= present):
        return "rejected", cause, False
    yes = {
        "unanimous": r == 0 and a > 0,
        "super_majority": 3 * a >= 2 * (a + r) and a > 0,
        "simple_majority": 2 * a > a + r,
        "single_approval": a > 0,
    }[threshold]
    return ("approved" if yes else "rejected"), cause, True


def counted(panel: Panel, threshold: str, required: set[str], expired: bool) -> tuple[str, str | None, bool | None]:
    ballots = [Ballot(str(n), AgentType(kind), VoteDecision(says)) for n, (kind, says) in enumerate(panel)]
    rules = Rules(Threshold(threshold), tuple(kind for kind in AgentType if kind in required))
    count = tally(ballots, rules, expired=expired)
    return str(count.standing), count.cause and str(count.cause), count.quorum


def panels(size: int) -> Iterator[Panel]:
    """Every panel of that many agents: a multiset of types, each agent saying any of the four."""
    return itertools.combinations_with_replacement(list(itertools.product(HALVES, SAYS)), size)


def requirements(panel: Panel) -> list[set[str]]:
    """What may be required of a panel: all its types, the first of them, and one that is not there."""
    kinds = {kind for kind, _ in panel}
    absent = next(iter(set(HALVES) - kinds), "coder")
    return [kinds or {"coder"}, {min(kinds, default="coder")}, {absent}]


@pytest.mark.parametrize("size", range(6 if LONG else 5))
def test_every_panel(size: int) -> None:
    """Panels of up to four agents always, of up to five in the long form."""
    for panel in panels(size):
        for threshold, required, expired in itertools.product(Threshold, requirements(panel), (False, True)):
            wanted = oracle(panel, threshold, required, expired)
            assert counted(panel, threshold, required, expired) == wanted, (panel, threshold, required, expired)


@pytest.mark.parametrize("size", [4, 5])
def test_panels_of_the_defaults(size: int) -> None:
    """Four and five agents of the types each default asks for, every combination of decisions."""
    for default in {(d.threshold, d.required) for d in DEFAULTS.values()}:
        kinds = [str(kind) for kind in default[1]]
        seats = list(itertools.product(kinds, SAYS))
        for panel in itertools.combinations_with_replacement(seats, size):
            for expired in (False, True):
                wanted = oracle(panel, default[0], set(kinds), expired)
                assert counted(panel, default[0], set(kinds), expired) == wanted, (panel, default)


def test_the_weights_are_the_pages() -> None:
    assert {str(kind): weight * 2 for kind, weight in WEIGHTS.items()} == HALVES


def test_the_defaults_are_the_pages() -> None:
    page = """
    implementation_approach simple_majority coder reviewer architect
    tech_stack_choice simple_majority coder architect
    architecture_decision super_majority architect coder security
    new_agent_type super_majority pm architect
    workflow_change super_majority pm architect
    governance_rule unanimous pm architect security
    tool_integration simple_majority coder security
    prompt_improvement simple_majority pm architect
    """
    for line in page.split("\n")[1:-1]:
        kind, threshold, *required = line.split()
        default = DEFAULTS[ProposalType(kind)]
        assert (default.threshold, sorted(default.required)) == (threshold, sorted(required))
    assert set(DEFAULTS) == set(ProposalType)


def test_two_thirds_is_exactly_two_thirds() -> None:
    """Two of three equal weights is enough; one half less of the weight is not."""
    rules = Rules(Threshold.SUPER_MAJORITY, (AgentType.CODER,))
    panel = [("coder", "approve"), ("pm", "approve"), ("test", "reject")]
    ballots = [Ballot(str(n), AgentType(k), VoteDecision(s)) for n, (k, s) in enumerate(panel)]
    assert tally(ballots, rules).standing is Standing.APPROVED
    nearly = [*ballots, Ballot("x", AgentType.DOCS, VoteDecision.REJECT)]
    assert tally(nearly, rules).standing is Standing.REJECTED
    assert (tally(nearly, rules).approve_weight, tally(nearly, rules).reject_weight) == (2, Fraction(3, 2))


def test_what_a_pending_tally_waits_for() -> None:
    rules = Rules(Threshold.SIMPLE_MAJORITY, (AgentType.CODER, AgentType.PM))
    count = tally([Ballot("b", AgentType.CODER, VoteDecision.NEED_MORE_INFO)], rules)
    assert (count.final, count.missing, count.requesters) == (False, (AgentType.CODER, AgentType.PM), ("b",))
    assert (count.cause, count.quorum) == (None, None)
    late = tally([Ballot("b", AgentType.CODER, VoteDecision.NEED_MORE_INFO)], rules, expired=True)
    assert (late.standing, late.cause, late.quorum) == (Standing.REJECTED, Cause.DEADLINE, False)


@pytest.mark.parametrize(
    ("preferred", "chosen", "tied"),
    [
        ([None, None], None, False),
        (["b", None], "b", False),
        (["a", "b"], "a", True),
        (["b", "a"], "a", True),
        (["b", "b"], "b", False),
    ],
)
def test_the_chosen_option(preferred: list[str | None], chosen: str | None, tied: bool) -> None:
    rules = Rules(Threshold.SINGLE_APPROVAL, (AgentType.CODER,), ("a", "b"))
    ballots = [Ballot(str(n), AgentType.CODER, VoteDecision.APPROVE, p) for n, p in enumerate(preferred)]
    ballots.append(Ballot("no", AgentType.SECURITY, VoteDecision.REJECT, "b"))
    count = tally(ballots, rules)
    assert (count.chosen_option, count.tied) == (chosen, tied)
