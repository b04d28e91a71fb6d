"""What must be true for a proposal to move."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dispatch_state import values
from dispatch_state.lifecycle.interface import Firing
from dispatch_state.models.voting import Standing, Tally

if TYPE_CHECKING:
    from dispatch_state.models.proposal import Proposal


def the_tally_approves(proposal: Proposal, firing: Firing) -> str | None:
    """The tally of the votes is final, and approves the proposal."""
    return _tally_refusal(proposal.counted(firing.now), Standing.APPROVED)


def the_tally_rejects(proposal: Proposal, firing: Firing) -> str | None:
    """The tally of the votes is final, and rejects the proposal."""
    return _tally_refusal(proposal.counted(firing.now), Standing.REJECTED)


def _tally_refusal(count: Tally, wanted: Standing) -> str | None:
    if count.standing is wanted:
        return None
    if count.standing is not Standing.PENDING:
        return f"the tally says {count.standing}"
    return f"the tally is not final: missing {values.listed(count.missing)}; {len(count.requesters)} need more info"


def choice_is_an_option(proposal: Proposal, firing: Firing) -> str | None:
    """The choice, if any, is one of the proposal's options."""
    choice, options = firing["choice"], proposal.option_names()
    if choice is None or choice in options:
        return None
    return f"the choice is not among its options: {values.listed(options)}"
