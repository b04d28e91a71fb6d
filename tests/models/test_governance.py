"""The life of a proposal: votes, deadlines, execution, and what people may do to it."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dispatch_state import (
    SANGHA,
    Agent,
    AgentLog,
    AgentType,
    Decision,
    GuardRefused,
    Human,
    IllegalTransition,
    InvalidValue,
    Move,
    Proposal,
    Store,
    StoreCorrupt,
    System,
    Vote,
)
from dispatch_state.testing.scratch import Clock
from tests.invariants import broken
from tests.world import LONG_TEXT, MAINTAINER, WHY, World


@pytest.fixture
def voters(world: World) -> dict[str, Agent]:
    return {kind: world.agent(kind) for kind in ("coder", "architect", "security")}


@pytest.fixture
def proposal(world: World) -> Proposal:
    required = ["coder", "architect", "security"]
    return world.new_proposal(threshold="super_majority", required_voters=required, options=["a", "b"])


def fired_by(moves: list[Move]) -> list[tuple[str, str]]:
    from dispatch_state import TransitionLog

    return [(move.trigger, TransitionLog.get_by_id(move.seq).actor) for move in moves]


# ---- creation ----------------------------------------------------------------------------------------


def test_the_type_gives_threshold_and_voters(world: World) -> None:
    made = Proposal.create(
        proposal_type="governance_rule", proposer=world.agent(), title="t", description="d", rationale="r"
    )
    assert (made.threshold, made.required_voters) == ("unanimous", ["pm", "architect", "security"])


def test_options_may_be_objects(world: World, voters: dict[str, Agent]) -> None:
    options = [{"id": "a", "title": "A", "pros": ["fast"], "cons": []}, {"id": "b", "title": "B"}]
    proposal = world.new_proposal(options=options)
    proposal.vote(voters["coder"], "approve", WHY, preferred_option="b")
    assert (proposal.options, proposal.chosen_option) == (options, "b")


@pytest.mark.parametrize("stored", ["[1]", '{"a": 1}', "5", '"ab"', "[null]", '[["a"]]', '[{"x": 1}]'])
def test_stored_options_of_another_shape(world: World, store: Store, stored: str) -> None:
    """The column is JSON, so SQL can write any shape. Every use raises an error of the library."""
    proposal = world.new_proposal()
    store.database.execute_sql(f"UPDATE proposals SET options = '{stored}'")
    for ask in (
        proposal.tally,
        lambda: proposal.vote(world.agent(), "approve", WHY),
        lambda: proposal.may("force_approve", by=MAINTAINER, choice="a"),
    ):
        with pytest.raises((InvalidValue, StoreCorrupt)):
            ask()


@pytest.mark.parametrize("options", [[], ["a", "a"], [{"title": "no id"}], [{"id": "a"}, "a"], [""], "a"])
def test_bad_options(world: World, options: Any) -> None:
    with pytest.raises(InvalidValue, match=r"proposals\.options"):
        world.new_proposal(options=options)


def test_the_terms_of_a_proposal_are_fixed_once_voting_begins(proposal: Proposal) -> None:
    proposal.threshold = "unanimous"
    proposal.save()
    proposal.open_voting(by=MAINTAINER)
    proposal.threshold = "single_approval"
    with pytest.raises(GuardRefused, match="may change only while it is open"):
        proposal.save()


# ---- voting ------------------------------------------------------------------------------------------


def test_the_first_vote_opens_and_the_deciding_one_resolves(proposal: Proposal, voters: dict[str, Agent]) -> None:
    """The voter opens the proposal; `SANGHA` is the actor of the decision."""
    opened = proposal.vote(voters["coder"], "approve", "fits", confidence=0.8, preferred_option="a")
    assert fired_by(opened) == [("open_voting", voters["coder"].actor)]
    assert (proposal.status, proposal.voting_deadline) == ("voting", proposal.created_at + timedelta(hours=24))
    assert proposal.vote(voters["security"], "reject", "risky") == []
    decided = proposal.vote(voters["architect"], "reject", "no")
    assert fired_by(decided) == [("reject", "sangha")]
    assert (proposal.status, proposal.resolved_at, proposal.chosen_option) == ("rejected", proposal.created_at, None)


def test_the_decision_records_the_tally_and_every_vote(
    proposal: Proposal, voters: dict[str, Agent], store: Store
) -> None:
    proposal.vote(voters["coder"], "approve", "fits", confidence=0.8, preferred_option="a")
    proposal.vote(voters["architect"], "approve", "fine", preferred_option="b")
    proposal.vote(voters["security"], "abstain", "no view")
    decision = Decision.get()
    outcome = decision.outcome
    assert (decision.decision_type, decision.decided_by, decision.proposal) == ("proposal_approved", "sangha", proposal)
    assert (outcome["action"], outcome["cause"], outcome["quorum"]) == ("approve", "tally", True)
    assert (outcome["approve_weight"], outcome["reject_weight"]) == ("5/2", "0")
    assert (outcome["chosen_option"], outcome["tied"]) == ("b", False)
    assert outcome["proposal_id"] == str(proposal.id)
    assert [(v["voter"], v["decision"], v["reasoning"]) for v in outcome["votes"]] == [
        (str(voters["coder"].id), "approve", "fits"),
        (str(voters["architect"].id), "approve", "fine"),
        (str(voters["security"].id), "abstain", "no view"),
    ]
    move = store.history(proposal)[-1]
    assert (move.decision_id, move.cause_seq, move.actor) == (decision.id, None, "sangha")
    assert broken(store) == []


def test_a_vote_may_be_changed_and_the_old_one_stays_in_the_agents_log(
    proposal: Proposal, voters: dict[str, Agent]
) -> None:
    proposal.vote(voters["coder"], "need_more_info", "how fast?")
    proposal.vote(voters["coder"], "approve", "fast enough")
    vote = Vote.get()
    assert (vote.decision, vote.reasoning, vote.preferred_option) == ("approve", "fast enough", None)
    kept = AgentLog.get()
    assert (kept.agent, kept.context["replaced_vote"]["decision"]) == (voters["coder"], "need_more_info")


def test_need_more_info_keeps_the_tally_open(proposal: Proposal, voters: dict[str, Agent]) -> None:
    for kind in ("coder", "architect"):
        proposal.vote(voters[kind], "approve", WHY)
    proposal.vote(voters["security"], "need_more_info", WHY)
    count = proposal.tally()
    assert (count.final, count.requesters, [str(kind) for kind in count.missing]) == (
        False, (str(voters["security"].id),), ["security"],
    )  # fmt: skip
    assert proposal.vote(voters["security"], "abstain", WHY)[0].trigger == "approve"


def test_the_proposer_may_vote(world: World) -> None:
    proposal = world.new_proposal()
    assert proposal.vote(proposal.proposer, "approve", WHY)[-1].dest == "approved"


def test_votes_that_are_refused(proposal: Proposal, world: World, voters: dict[str, Agent], clock: Clock) -> None:
    """A type without a vote, an unknown option, an agent that has ended, and a vote after the deadline."""
    with pytest.raises(GuardRefused, match="a docs has no vote"):
        proposal.vote(world.agent("docs"), "approve", WHY)
    with pytest.raises(GuardRefused, match="not among its options"):
        proposal.vote(voters["coder"], "approve", WHY, preferred_option="c")
    voters["architect"].stop(by=MAINTAINER, reason=WHY)
    with pytest.raises(GuardRefused, match="completed"):
        proposal.vote(voters["architect"], "approve", WHY)
    proposal.vote(voters["coder"], "approve", WHY)
    clock.forward(hours=24)
    with pytest.raises(GuardRefused, match="its deadline passed"):
        proposal.vote(voters["security"], "approve", WHY)
    assert Vote.select().count() == 1


def test_no_vote_after_the_end(proposal: Proposal, voters: dict[str, Agent]) -> None:
    proposal.force_reject(by=MAINTAINER, reason=WHY)
    with pytest.raises(IllegalTransition, match="its voting is over"):
        proposal.vote(voters["coder"], "approve", WHY)


@pytest.mark.parametrize("by", [MAINTAINER, System("runner")])
@pytest.mark.parametrize("trigger", ["approve", "reject"])
def test_only_the_tally_resolves(proposal: Proposal, by: Any, trigger: str) -> None:
    """Nobody approves or rejects a proposal by hand, and `SANGHA` only when the tally is final."""
    proposal.open_voting(by=MAINTAINER)
    with pytest.raises(GuardRefused, match="only the vote of the agents may") as refusal:
        getattr(proposal, trigger)(by=by)
    assert len(refusal.value.reasons) == 2
    with pytest.raises(GuardRefused, match="the tally is not final"):
        getattr(proposal, trigger)(by=SANGHA)


def test_the_sangha_only_decides_proposals(world: World) -> None:
    with pytest.raises(GuardRefused, match="only approves and rejects proposals"):
        world.issues("unassigned").queue(by=SANGHA)


# ---- deadlines ---------------------------------------------------------------------------------------


def test_at_the_deadline_the_present_votes_decide(
    proposal: Proposal, voters: dict[str, Agent], store: Store, clock: Clock
) -> None:
    proposal.vote(voters["coder"], "approve", WHY)
    proposal.vote(voters["architect"], "approve", WHY)
    proposal.vote(voters["security"], "need_more_info", WHY)
    assert store.tick() == []
    clock.forward(hours=24)
    assert fired_by(store.tick()) == [("approve", "sangha")]
    assert Decision.get().outcome["cause"] == "deadline"
    assert store.tick() == []


def test_a_missing_type_is_no_quorum(proposal: Proposal, voters: dict[str, Agent], store: Store, clock: Clock) -> None:
    """At the deadline, a required type of agent without a vote means rejection, and a person is asked."""
    proposal.vote(voters["coder"], "approve", WHY)
    clock.forward(hours=24)
    assert fired_by(store.tick()) == [("reject", "sangha")]
    assert Decision.get().outcome["quorum"] is False
    assert [(need.kind, need.row) for need in store.needs_human()] == [("no quorum", proposal)]


def test_an_open_proposal_past_its_deadline_is_opened_and_rejected(world: World, store: Store, clock: Clock) -> None:
    proposal = world.new_proposal(voting_deadline=clock.now + timedelta(hours=1))
    clock.forward(hours=1)
    assert fired_by(store.tick()) == [("open_voting", "system:tick"), ("reject", "sangha")]
    assert proposal.reload().status == "rejected"


def test_no_deadline_is_beyond_the_calendar(world: World, clock: Clock) -> None:
    """A deadline after the year 9999 becomes the last moment that a datetime can hold."""
    proposal = world.new_proposal()
    clock.now = datetime(9999, 12, 31, 12, tzinfo=UTC)
    proposal.open_voting(by=MAINTAINER)
    assert proposal.reload().voting_deadline == datetime.max.replace(tzinfo=UTC)


def test_the_end_of_a_vote_wakes_the_proposer(world: World, store: Store, clock: Clock) -> None:
    agent = world.start(world.new_issue())
    world.new_proposal(agent)
    agent.await_vote(by=agent)
    clock.forward(hours=24)
    assert [move.trigger for move in store.tick()] == ["reject", "vote_resolved"]
    assert agent.reload().status == "working"
    assert broken(store) == []


def test_a_tick_approves_a_checkpoint_at_its_time(world: World, store: Store, clock: Clock) -> None:
    world.waiting_stage({"gate_type": "checkpoint", "auto_approve_at": clock.now + timedelta(hours=1)})
    assert store.tick() == []
    clock.forward(hours=1)
    assert [move.trigger for move in store.tick()] == ["auto_approve", "approve", "clear_gate", "start"]
    assert Decision.get().decided_by == "system:checkpoint"
    assert store.tick() == []


# ---- people ------------------------------------------------------------------------------------------


def test_force_needs_a_person_a_reason_and_an_option(proposal: Proposal, voters: dict[str, Agent]) -> None:
    with pytest.raises(GuardRefused, match="it takes a person"):
        proposal.force_approve(by=voters["coder"], reason=WHY)
    with pytest.raises(InvalidValue, match="must not be blank"):
        proposal.force_approve(by=MAINTAINER, reason=" ")
    with pytest.raises(GuardRefused, match="the choice is not among its options"):
        proposal.force_approve("c", by=MAINTAINER, reason=WHY)
    proposal.force_approve("b", by=Human("Ada"), reason=WHY)
    assert (proposal.forced_by, proposal.force_reason, proposal.chosen_option) == ("ada", WHY, "b")
    assert Decision.get().outcome["action"] == "force_approve"


def test_execution_may_fail_and_be_tried_again(world: World) -> None:
    proposal = world.proposals("approved")
    proposal.begin_execution(by=System("runner"))
    proposal.fail_execution("no route", by=System("runner"))
    assert (proposal.status, proposal.execution_result) == ("approved", {"success": False, "error": "no route"})
    proposal.begin_execution(by=System("runner"))
    proposal.finish_execution({"success": True, "steps": 3}, by=System("runner"))
    assert (proposal.execution_result, proposal.executed_at is not None) == ({"success": True, "steps": 3}, True)


def test_only_a_person_may_veto_and_a_veto_stops_execution(world: World, voters: dict[str, Agent]) -> None:
    proposal = world.proposals("executing")
    with pytest.raises(GuardRefused, match="it takes a person"):
        proposal.veto(by=voters["coder"], reason=WHY)
    proposal.veto(by=MAINTAINER, reason=WHY)
    assert (proposal.vetoed_by, proposal.veto_reason) == ("maintainer", WHY)
    assert [d.decision_type for d in Decision.select().where(Decision.decision_type == "human_veto")] == ["human_veto"]


# ---- at the same time --------------------------------------------------------------------------------


def at_once(store: Store, *calls: Any) -> list[Any]:
    """Start the calls together, each in a thread of its own; return what each returned or raised."""
    results: list[Any] = [None] * len(calls)
    barrier = threading.Barrier(len(calls))

    def run(at: int) -> None:
        barrier.wait()
        try:
            results[at] = calls[at]()
        except Exception as error:
            results[at] = error
        finally:
            store.database.close()

    threads = [threading.Thread(target=run, args=(at,)) for at in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def fresh(proposal: Proposal) -> Proposal:
    return Proposal.get_by_id(proposal.id)


@pytest.mark.parametrize("round_", range(15))
def test_a_vote_that_meets_the_close_is_counted_or_refused(world: World, store: Store, round_: int) -> None:
    """No vote is accepted and then ignored: the decision lists exactly the votes in the table."""
    proposal = world.new_proposal(threshold="simple_majority", required_voters=["coder"])
    proposal.open_voting(by=MAINTAINER)
    agents = [world.agent("coder") for _ in range(3)]
    results = at_once(store, *(lambda a=a: fresh(proposal).vote(a, "approve", WHY) for a in agents))
    assert not [r for r in results if isinstance(r, Exception) and not isinstance(r, IllegalTransition)]
    accepted = [r for r in results if isinstance(r, list)]
    counted = Decision.get(Decision.proposal == proposal).outcome["votes"]
    assert len(accepted) == len(counted) == Vote.select().where(Vote.proposal == proposal).count()
    assert broken(store) == []


@pytest.mark.parametrize("round_", range(10))
def test_two_closers_never_both_win(world: World, store: Store, clock: Clock, round_: int) -> None:
    """Two ticks and a forced approval at the same time leave one decision."""
    proposal = world.new_proposal(required_voters=["coder", "pm"], threshold="simple_majority")
    proposal.open_voting(by=MAINTAINER)
    clock.forward(hours=25)
    results = at_once(store, store.tick, store.tick, lambda: fresh(proposal).force_approve(by=MAINTAINER, reason=WHY))
    won = [r for r in results if isinstance(r, list) and r]
    assert len(won) == 1
    assert Decision.select().where(Decision.proposal == proposal).count() == 1
    assert broken(store) == []


@pytest.mark.parametrize("round_", range(10))
def test_two_votes_of_one_agent_leave_one_row(
    proposal: Proposal, voters: dict[str, Agent], store: Store, round_: int
) -> None:
    """The second vote replaces the first, which is kept in the agent's log."""
    coder = voters["coder"]
    calls = [lambda d=d: fresh(proposal).vote(Agent.get_by_id(coder.id), d, WHY) for d in ("approve", "reject")]
    results = at_once(store, *calls)
    assert not [r for r in results if isinstance(r, Exception)]
    assert Vote.select().where(Vote.proposal == proposal).count() == 1
    assert AgentLog.select().count() == 1


def test_a_vote_counts_for_the_type_that_is_stored(world: World) -> None:
    """A type that was changed in memory only does not count."""
    proposal, agent = world.new_proposal(required_voters=["security"]), world.agent("coder")
    agent.agent_type = AgentType.SECURITY
    with pytest.raises(GuardRefused, match="a coder has no vote"):
        proposal.vote(agent, "approve", WHY)


def test_required_voters_are_never_empty(world: World) -> None:
    proposal = world.new_proposal()
    for nothing in (None, []):
        proposal.required_voters = nothing
        with pytest.raises(InvalidValue, match="required_voters"):
            proposal.save()


def test_long_reasonings_do_not_keep_a_proposal_open(world: World, store: Store, clock: Clock) -> None:
    proposal = world.new_proposal(required_voters=["coder"], threshold="simple_majority")
    proposal.open_voting(by=MAINTAINER)
    first, second = world.agent(), world.agent()
    proposal.vote(first, "need_more_info", LONG_TEXT)
    proposal.vote(first, "need_more_info", LONG_TEXT)
    proposal.vote(second, "need_more_info", LONG_TEXT)
    clock.forward(hours=25)
    assert [move.trigger for move in store.tick()] == ["reject"]
    assert [len(vote["reasoning"]) for vote in Decision.get().outcome["votes"]] == [len(LONG_TEXT)] * 2
