"""A proposal's whole life, with changed votes, force, veto and expiry, against the tally and the record."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule

from dispatch_state import Agent, Decision, GuardRefused, Human, IllegalTransition, Proposal, System, Vote
from dispatch_state.testing.walks import StoreMachine
from tests.backends import BACKENDS
from tests.properties.machine import on, run
from tests.world import WHY

ADA, RUNNER = Human("ada"), System("runner")
KINDS = ("coder", "architect", "security", "docs")


class ProposalLife(StoreMachine):
    """One proposal at a time, and five agents."""

    @initialize(threshold=st.sampled_from(["unanimous", "super_majority", "simple_majority", "single_approval"]))
    def begin(self, threshold: str) -> None:
        self.agents = [self.world.agent(kind) for kind in (*KINDS, "coder")]
        self.propose(threshold)

    @rule(threshold=st.sampled_from(["unanimous", "super_majority", "simple_majority", "single_approval"]))
    def propose(self, threshold: str) -> None:
        required = ["coder", "architect", "security"]
        self.proposal = self.world.new_proposal(self.agents[0], threshold=threshold, required_voters=required)

    @rule(
        voter=st.integers(0, 4),
        decision=st.sampled_from(["approve", "approve", "reject", "abstain", "need_more_info"]),
        option=st.sampled_from([None, "peewee", "raw sql"]),
    )
    def vote(self, voter: int, decision: str, option: str | None) -> None:
        agent: Agent = self.agents[voter]
        status, expired = self.proposal.status, self.expired()
        try:
            moves = self.proposal.vote(agent, decision, WHY, preferred_option=option)
        except IllegalTransition:
            assert status not in ("open", "voting")
        except GuardRefused:
            assert agent.agent_type == "docs" or expired
        else:
            assert status in ("open", "voting")
            assert not expired
            mine = Vote.get(Vote.proposal == self.proposal, Vote.voter == agent)
            assert (mine.decision, mine.preferred_option) == (decision, option)
            assert bool([m for m in moves if m.trigger in ("approve", "reject")]) == self.proposal.tally().final

    def expired(self) -> bool:
        return self.proposal.voting_deadline is not None and self.clock.now >= self.proposal.voting_deadline

    @rule(hours=st.integers(1, 20))
    def time_passes(self, hours: int) -> None:
        self.clock.forward(hours=hours)

    @rule()
    def tick(self) -> None:
        self.store.tick()
        assert (
            not Proposal.select()
            .where(Proposal.status.in_(["open", "voting"]), Proposal.voting_deadline <= self.clock.now)
            .count()
        )
        self.proposal.reload()

    @rule(trigger=st.sampled_from(["force_approve", "force_reject", "veto", "roll_back"]))
    def a_person_speaks(self, trigger: str) -> None:
        self.fire(trigger, by=ADA, reason=WHY)

    @rule(trigger=st.sampled_from(["begin_execution", "finish_execution", "fail_execution", "open_voting"]))
    def it_is_carried_out(self, trigger: str) -> None:
        given: dict[str, Any] = {"finish_execution": {"result": {"success": True}}, "fail_execution": {"error": "no"}}
        self.fire(trigger, by=RUNNER, **given.get(trigger, {}))

    def fire(self, trigger: str, **arguments: Any) -> None:
        legal = trigger in self.proposal.legal_triggers()
        try:
            getattr(self.proposal, trigger)(**arguments)
            assert legal
        except IllegalTransition:
            assert not legal

    @invariant()
    def resolved_once(self) -> None:
        """A proposal past its voting was resolved by exactly one decision."""
        for proposal in Proposal.select():
            actions = [d.outcome["action"] for d in Decision.select().where(Decision.proposal == proposal)]
            resolving = [a for a in actions if a in ("approve", "reject", "force_approve", "force_reject")]
            assert len(resolving) == (proposal.status not in ("open", "voting"))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_proposals_life(backend: str) -> None:
    run(on(ProposalLife, backend), examples=25 if backend == "sqlite" else 6)
