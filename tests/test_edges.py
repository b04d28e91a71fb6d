"""What a second pair of eyes found: the places where memory, weight, locks and words could have differed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import peewee
import pytest

from dispatch_state import (
    Agent,
    AgentType,
    Decision,
    Epic,
    Gate,
    GuardRefused,
    IllegalTransition,
    InvalidValue,
    Issue,
    Proposal,
    PullRequest,
    RowNotFound,
    Stage,
    StaleRow,
    Store,
    SyncState,
)
from dispatch_state.families import family
from dispatch_state.testing import Clock
from tests.world import MAINTAINER, RUNNER, WHY, World

LONG = "é" * 600_000


def as_stored(row: Any) -> None:
    assert dict(row.__data__) == dict(type(row).get_by_id(row.id).__data__)


# ---- votes -------------------------------------------------------------------------------------------


def test_a_votes_weight_is_what_the_store_says(world: World) -> None:
    proposal, agent = world.new_proposal(required_voters=["security"]), world.agent("coder")
    agent.agent_type = AgentType.SECURITY
    with pytest.raises(GuardRefused, match="a coder has no vote"):
        proposal.vote(agent, "approve", WHY)


def test_an_agents_type_is_fixed_once_it_works_or_has_voted(world: World) -> None:
    free, busy, voter = world.agent(), world.start(world.new_issue()), world.agent()
    world.new_proposal().vote(voter, "approve", WHY)
    free.agent_type = "docs"
    free.save()
    for agent in (busy, voter):
        agent.agent_type = "security"
        with pytest.raises(GuardRefused, match="agent_type"):
            agent.save()


def test_required_voters_are_never_empty(world: World) -> None:
    proposal = world.new_proposal()
    for nothing in (None, []):
        proposal.required_voters = nothing
        with pytest.raises(InvalidValue, match="required_voters"):
            proposal.save()


def test_long_reasonings_do_not_keep_a_proposal_from_its_end(world: World, store: Store, clock: Clock) -> None:
    proposal = world.new_proposal(required_voters=["coder"], threshold="simple_majority")
    proposal.open_voting(by=MAINTAINER)
    first, second = world.agent(), world.agent()
    proposal.vote(first, "need_more_info", LONG)
    proposal.vote(first, "need_more_info", LONG)
    proposal.vote(second, "need_more_info", LONG)
    clock.forward(hours=25)
    assert [move.trigger for move in store.tick()] == ["reject"]
    assert [len(vote["reasoning"]) for vote in Decision.get().outcome["votes"]] == [len(LONG)] * 2


def test_a_long_reason_is_a_legal_reason(world: World) -> None:
    issue = world.issues("in_progress")
    issue.release(by=MAINTAINER, reason=LONG)
    assert Decision.get().outcome["reason"] == LONG
    proposal = world.proposals("executing")
    proposal.fail_execution(LONG, by=RUNNER, reason="mine")
    assert proposal.execution_result["error"] == LONG
    assert world.store.history(proposal)[-1].reason == "mine"


def test_a_sync_keeps_long_errors(store: Store) -> None:
    for _ in range(3):
        SyncState.record("github", error=LONG[:400_000])
    assert len(SyncState.get().sync_errors) == 3


# ---- in memory ---------------------------------------------------------------------------------------


def test_a_birth_brings_its_parents_and_actor_up_to_date(world: World) -> None:
    issue = world.issues("in_progress")
    agent = issue.assigned_agent
    PullRequest.create(issue=issue, by=agent, **world.request_columns())
    assert (issue.status, agent.status) == ("awaiting_review", "idle")
    as_stored(issue)
    issue.review(by=MAINTAINER)
    epic = world.running_epic(stages=1)
    epic.add_issue(**world.issue_columns())
    epic.stages.get().finish(by=MAINTAINER)
    epic.reload()
    late = epic.add_stage("late")
    assert epic.current_stage_id == late.id


def test_place_leaves_what_is_stored(world: World) -> None:
    epic = world.epics("draft")
    epic.repo_url = "https://example.org/app"
    epic.save()
    issue = world.new_issue()
    issue.place(epic, by=MAINTAINER)
    assert issue.repo_url == epic.repo_url
    as_stored(issue)


def test_json_is_kept_by_value(world: World) -> None:
    labels = ["a"]
    issue = world.new_issue(labels=labels)
    labels.append("b")
    assert issue.labels == ["a"]
    as_stored(issue)


def test_a_query_in_a_block_raises_peewees_error(store: Store) -> None:
    with pytest.raises(peewee.DatabaseError) as refused, store.atomic():
        store.database.execute_sql("SELECT * FROM no_such_table")
    assert type(refused.value).__module__ == "peewee"


def test_the_family_holds_the_acting_agent_and_what_its_removal_touches(world: World, store: Store) -> None:
    issue, agent = world.issues("in_progress"), world.agent()
    assert agent.id in family(issue, "queue", (), agent)[Agent]
    assert agent.id in family(world.waiting_stage().gates.get(), "comment", (), agent)[Agent]
    done = world.issues("done")
    assert done.id in family(done.assigned_agent, "remove", ())[Issue]


# ---- terms and words ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "update",
    [
        lambda: Gate.update(required_approvers=["mallory"]),
        lambda: Proposal.update(threshold="single_approval"),
        lambda: Proposal.update({Proposal.required_voters: ["coder"]}),
        lambda: Stage.update(stage_order=7),
        lambda: Issue.update({"epic_id": None}),
        lambda: Issue.update(5),
        lambda: Issue.update([[1]]),
    ],
)
def test_peewees_update_leaves_terms_alone(store: Store, update: Callable[[], object]) -> None:
    with pytest.raises(InvalidValue):
        update()


def partial_agent() -> Agent:
    return Agent.select(Agent.agent_type).get()


BAD_CALLS: dict[str, Callable[[World, Issue, Agent], object]] = {
    "save only a number": lambda w, i, a: i.save(only=5),
    "save only text": lambda w, i, a: i.save(only="title"),
    "save only a field": lambda w, i, a: i.save(only=Issue.title),
    "save only what is none": lambda w, i, a: i.save(only=["nope"]),
    "save only numbers": lambda w, i, a: i.save(only=[5, None]),
    "log about a partial row": lambda w, i, a: a.log("info", "m", issue=Issue.select(Issue.title).get()),
    "may without its argument": lambda w, i, a: i.may("assign", by=MAINTAINER),
    "may with another's argument": lambda w, i, a: i.may("queue", by=MAINTAINER, foo=1),
    "a version that is true": lambda w, i, a: w.new_issue(version=True),
    "a trigger of another model": lambda w, i, a: Issue.block(w.epics("draft"), by=MAINTAINER, reason=WHY),  # type: ignore[arg-type]
    "an agent in name": lambda w, i, a: i.assign(type("Agent", (), {"is_new": False, "id": 1})(), by=MAINTAINER),
    "a vote of a partial agent": lambda w, i, a: w.new_proposal().vote(
        Agent.select(Agent.agent_type).get(), "approve", WHY
    ),
    "reassign to a partial agent": lambda w, i, a: i.reassign(
        Agent.select(Agent.agent_type).get(), by=MAINTAINER, reason=WHY
    ),
    "place in a partial epic": lambda w, i, a: i.place(Epic.select(Epic.title).get(), by=MAINTAINER),
    "remove a partial row": lambda w, i, a: Issue.select(Issue.id).get().remove(by=MAINTAINER, reason=WHY),
    "comment as nobody": lambda w, i, a: w.waiting_stage().gates.get().comment("Hm", by=None),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("call", BAD_CALLS.values(), ids=BAD_CALLS)
def test_bad_calls(world: World, call: Callable[[World, Issue, Agent], object]) -> None:
    world.epics("draft")
    with pytest.raises(InvalidValue):
        call(world, world.issues("in_progress"), world.agent())


def test_reassign_refuses_unsaved_changes(world: World) -> None:
    issue = world.issues("in_progress")
    issue.title = "changed"
    with pytest.raises(InvalidValue, match="unsaved changes to title"):
        issue.reassign(world.agent(), by=MAINTAINER, reason=WHY)


def test_may_takes_the_arguments_of_the_call(world: World) -> None:
    assert world.issues("in_progress").may("block", by=MAINTAINER, reason=WHY)


def test_a_missing_argument_is_told_before_a_stale_copy(world: World) -> None:
    issue, agent = world.issues("queued"), world.agent()
    stale = Issue.get_by_id(issue.id)
    issue.dequeue(by=MAINTAINER)
    gone = Agent.get_by_id(agent.id)
    agent.stop(by=MAINTAINER, reason=WHY)
    agent.remove(by=MAINTAINER, reason=WHY)
    for row, error in ((stale, RowNotFound), (world.issues("done"), RowNotFound)):
        with pytest.raises(error):
            row.assign(gone, by=MAINTAINER)
    with pytest.raises(StaleRow):
        stale.dequeue(by=MAINTAINER)
    with pytest.raises(IllegalTransition):
        issue.start(by=MAINTAINER)


def test_the_decision_of_a_reassignment_names_both_agents(world: World) -> None:
    issue, other = world.issues("in_progress"), world.agent()
    before = issue.assigned_agent_id
    issue.reassign(other, by=MAINTAINER, reason=WHY)
    outcome = Decision.get().outcome
    assert (outcome["agent_id"], outcome["to_agent_id"]) == (str(before), str(other.id))


def test_since_is_when_it_came_to_that(world: World, store: Store, clock: Clock) -> None:
    stage = world.running_epic().current_stage
    issue = stage.add_issue(**world.issue_columns()).reload()
    orphan = world.issues("awaiting_review")
    clock.forward(hours=5)
    issue.cancel(by=MAINTAINER, reason=WHY)
    orphan.assigned_agent.stop(by=MAINTAINER, reason=WHY)
    came = {need.kind: need.since for need in store.needs_human()}
    assert (came["idle stage"], came["orphaned review"]) == (clock.now, clock.now)


def test_a_clock_that_steps_back_makes_no_nonsense(store: Store, clock: Clock) -> None:
    """An hour back in the middle: no row ends before it began, and the order of moves is that of `seq`."""
    world = World(store)
    issue, agent = world.issues("queued"), world.agent()
    issue.assign(agent, by=agent)
    clock.forward(hours=-1)
    issue.start(by=agent)
    agent.reload().heartbeat()
    issue.title = "Another title"
    issue.save()
    issue.complete(by=agent)
    issue.reload()
    assert issue.created_at <= issue.assigned_at <= issue.completed_at <= issue.updated_at
    assert agent.reload().metrics["avg_completion_time"] == 0
    assert [move.trigger for move in store.history(issue)] == ["create", "queue", "assign", "start", "complete"]
    epic = world.running_epic()
    clock.forward(days=-1)
    stage = epic.stages.order_by(Stage.stage_order).first()
    stage.finish(by=MAINTAINER)
    assert stage.reload().created_at <= stage.started_at <= stage.completed_at
    assert store.verify() == []


def test_a_clock_that_steps_forward_spares_who_beats(store: Store, clock: Clock) -> None:
    world = World(store)
    living, dead = (world.at("issues", "in_progress").assigned_agent for _ in range(2))
    clock.forward(days=1)
    living.heartbeat()
    assert {move.id for move in store.rescue(timeout=120) if move.trigger == "fail"} == {dead.id}
    assert living.reload().status == "working"
