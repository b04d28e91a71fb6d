"""Each guard and each permission alone: everything else about the call is right, and this one thing forbids it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dispatch_state import Agent, Epic, GuardRefused, Human, PullRequest, Stage, Store, System
from dispatch_state.testing.outcomes import everything
from dispatch_state.testing.scratch import Clock
from tests.world import MAINTAINER, RUNNER, TEXTS, WHY, World

Made = tuple[Any, str, dict[str, Any]]
CASES: list[tuple[Callable[[World], Made], str]] = []


def refuses(pattern: str) -> Callable[[Callable[[World], Made]], Callable[[World], Made]]:
    """Register a case: the row, the trigger and its arguments, and the one reason it is refused for."""

    def register(case: Callable[[World], Made]) -> Callable[[World], Made]:
        CASES.append((case, pattern))
        return case

    return register


def stage_with_live_issue(world: World, *gates: dict[str, Any]) -> Stage:
    stage = world.running_epic(*gates).current_stage
    stage.add_issue(**world.issue_columns())
    return stage.reload()


# ---- epics and stages --------------------------------------------------------------------------------


@refuses("it has no stage")
def mark_ready_without_a_stage(world: World) -> Made:
    return Epic.create(**TEXTS, repo_path="/src"), "mark_ready", {"by": MAINTAINER}


@refuses("no stage of it waits at a pending gate")
def reach_a_gate_that_is_none(world: World) -> Made:
    return world.at("epics", "in_progress"), "reach_gate", {"by": MAINTAINER}


@refuses("waits at a gate")
def clear_a_gate_that_holds(world: World) -> Made:
    return world.at("epics", "awaiting_gate"), "clear_gate", {"by": MAINTAINER}


@refuses("is unassigned")
def complete_an_epic_with_a_live_issue(world: World) -> Made:
    epic = world.running_epic(stages=1)
    epic.add_issue(**world.issue_columns())
    epic.stages.get().finish(by=MAINTAINER)
    return epic.reload(), "complete", {"by": MAINTAINER}


@refuses("is in_progress")
def complete_an_epic_with_an_open_stage(world: World) -> Made:
    return world.running_epic().reload(), "complete", {"by": MAINTAINER}


@refuses("it takes a person")
def cancel_an_epic_as_the_system(world: World) -> Made:
    return world.at("epics", "draft"), "cancel", {"by": RUNNER, "reason": WHY}


@refuses("is draft, not in_progress")
def start_a_stage_of_a_draft(world: World) -> Made:
    return world.epics("draft").stages.get(), "start", {"by": MAINTAINER}


@refuses("which comes before it, is in_progress")
def start_a_stage_out_of_order(world: World) -> Made:
    return world.at("stages", "pending"), "start", {"by": MAINTAINER}


@refuses("is queued")
def submit_a_stage_with_a_live_issue(world: World) -> Made:
    return stage_with_live_issue(world, {}), "submit", {"by": MAINTAINER}


@refuses("no gate of it is pending or rejected")
def submit_a_stage_without_a_gate(world: World) -> Made:
    return world.at("stages", "in_progress"), "submit", {"by": MAINTAINER}


@refuses("is queued")
def finish_a_stage_with_a_live_issue(world: World) -> Made:
    return stage_with_live_issue(world), "finish", {"by": MAINTAINER}


@refuses("is pending")
def finish_a_stage_with_an_open_gate(world: World) -> Made:
    return world.running_epic({}).current_stage, "finish", {"by": MAINTAINER}


@refuses("is pending")
def approve_a_stage_whose_gate_holds(world: World) -> Made:
    return world.waiting_stage(), "approve", {"by": MAINTAINER}


@refuses("no gate of it is rejected")
def rework_a_stage_that_nobody_rejected(world: World) -> Made:
    return world.waiting_stage(), "rework", {"by": MAINTAINER}


@refuses("cancel_issues=True")
def skip_a_stage_with_a_live_issue(world: World) -> Made:
    return stage_with_live_issue(world), "skip", {"by": MAINTAINER, "reason": WHY}


@refuses("it takes a person")
def skip_a_stage_as_the_system(world: World) -> Made:
    return world.at("stages", "pending"), "skip", {"by": RUNNER, "reason": WHY}


# ---- gates -------------------------------------------------------------------------------------------


@refuses("is in_progress, not awaiting_gate")
def approve_a_gate_too_early(world: World) -> Made:
    return world.running_epic({}).current_stage.gates.get(), "approve", {"by": MAINTAINER}


@refuses("is in_progress, not awaiting_gate")
def reject_a_gate_too_early(world: World) -> Made:
    return world.running_epic({}).current_stage.gates.get(), "reject", {"by": MAINTAINER, "reason": WHY}


@refuses("is in_progress, not awaiting_gate")
def resubmit_a_gate_by_hand(world: World) -> Made:
    return world.at("gates", "rejected"), "resubmit", {"by": MAINTAINER}


def gate(world: World, **columns: Any) -> Any:
    return world.waiting_stage(columns).gates.get()


@refuses("bob is not among its required approvers: maintainer, ada")
def approve_as_nobody_in_particular(world: World) -> Made:
    return gate(world, required_approvers=["maintainer", "ada"]), "approve", {"by": Human("bob")}


@refuses("ad is not among its required approvers: ada")
def membership_is_no_substring(world: World) -> Made:
    return gate(world, required_approvers=["ada"]), "reject", {"by": Human("ad"), "reason": WHY}


@refuses("it takes a person")
def approve_as_an_agent(world: World) -> Made:
    return gate(world), "approve", {"by": world.agent()}


@refuses("it takes a choice among its options: a, b")
def decide_without_a_choice(world: World) -> Made:
    return gate(world, gate_type="decision", options=["a", "b"]), "approve", {"by": MAINTAINER}


@refuses("it takes a choice among its options: a, b")
def decide_for_what_is_no_option(world: World) -> Made:
    return gate(world, gate_type="decision", options=["a", "b"]), "approve", {"by": MAINTAINER, "choice": "c"}


@refuses("it has no options")
def choose_where_there_is_no_choice(world: World) -> Made:
    return gate(world), "approve", {"by": MAINTAINER, "choice": "a"}


@refuses("it takes a person")
def skip_a_gate_as_the_system(world: World) -> Made:
    return gate(world), "skip", {"by": RUNNER, "reason": WHY}


def checkpoint(world: World, **columns: Any) -> dict[str, Any]:
    return {"gate_type": "checkpoint", "auto_approve_at": world.store.now(), **columns}


@refuses("not awaiting_gate")
def open_a_checkpoint_too_early(world: World) -> Made:
    found = world.running_epic(checkpoint(world)).current_stage.gates.get()
    return found, "auto_approve", {"by": System("checkpoint")}


@refuses("it has no auto_approve_at")
def open_a_checkpoint_without_a_time(world: World) -> Made:
    return gate(world, gate_type="checkpoint"), "auto_approve", {"by": System("checkpoint")}


@refuses("it takes System")
def open_a_checkpoint_as_a_person(world: World) -> Made:
    return gate(world, **checkpoint(world)), "auto_approve", {"by": MAINTAINER}


# ---- issues ------------------------------------------------------------------------------------------


@refuses("is awaiting_gate, not in_progress")
def queue_while_the_epic_waits(world: World) -> Made:
    epic = world.waiting_stage().epic
    return epic.add_issue(**world.issue_columns()), "queue", {"by": MAINTAINER}


@refuses("is pending, not in_progress")
def queue_before_the_stage_runs(world: World) -> Made:
    return world.stages("pending").add_issue(**world.issue_columns()), "queue", {"by": MAINTAINER}


@refuses("is working, not idle|has Issue")
def assign_to_the_busy(world: World) -> Made:
    return world.issues("queued"), "assign", {"by": MAINTAINER, "agent": world.at("agents", "working")}


@refuses("it takes a docs, and Agent .* is a coder")
def assign_to_the_wrong_type(world: World) -> Made:
    return world.new_issue(agent_type="docs"), "assign", {"by": MAINTAINER, "agent": world.agent("coder")}


@refuses("is awaiting_gate, not in_progress")
def assign_while_the_epic_waits(world: World) -> Made:
    issue = world.waiting_stage().epic.add_issue(**world.issue_columns())
    return issue, "assign", {"by": MAINTAINER, "agent": world.agent()}


@refuses("is pending, not in_progress")
def assign_before_the_stage_runs(world: World) -> Made:
    issue = world.stages("pending").add_issue(**world.issue_columns())
    return issue, "assign", {"by": MAINTAINER, "agent": world.agent()}


@refuses("is its assigned agent")
def review_ones_own_work(world: World) -> Made:
    issue = world.issues("awaiting_review")
    return issue, "review", {"by": MAINTAINER, "reviewer": issue.assigned_agent}


@refuses("is working, not idle")
def review_by_the_busy(world: World) -> Made:
    return world.issues("awaiting_review"), "review", {"by": MAINTAINER, "reviewer": world.start(world.new_issue())}


def in_review_by_an_agent(world: World) -> Any:
    issue = world.issues("awaiting_review")
    issue.review(world.agent("reviewer"), by=MAINTAINER)
    return issue


@refuses("reviews it")
def return_a_review_that_is_held(world: World) -> Made:
    return in_review_by_an_agent(world), "return_review", {"by": MAINTAINER}


def with_busy_author(world: World, status: str) -> Any:
    issue = world.issues(status)
    world.start(world.new_issue(), issue.assigned_agent)
    return issue


@refuses(r"its assigned agent, is working; release\(\) it")
def request_changes_of_the_busy(world: World) -> Made:
    return with_busy_author(world, "awaiting_review"), "request_changes", {"by": MAINTAINER, "reason": WHY}


@refuses(r"its assigned agent, is working; release\(\) it")
def unblock_for_the_busy(world: World) -> Made:
    return with_busy_author(world, "blocked"), "unblock", {"by": MAINTAINER}


@refuses("merge or close it")
def complete_work_with_an_open_request(world: World) -> Made:
    return world.pull_requests("draft").issue, "complete", {"by": MAINTAINER}


@refuses("merge or close it")
def complete_a_review_with_an_open_request(world: World) -> Made:
    issue = world.pull_requests("open").issue
    issue.review(by=MAINTAINER)
    return issue, "complete", {"by": MAINTAINER}


@refuses("does not review it")
def complete_what_another_agent_reviews(world: World) -> Made:
    return in_review_by_an_agent(world), "complete", {"by": world.agent("reviewer")}


@refuses("is not the agent it belongs to")
def complete_another_agents_work(world: World) -> Made:
    return world.issues("in_progress"), "complete", {"by": world.agent()}


@refuses("is not the agent it belongs to")
def start_another_agents_work(world: World) -> Made:
    return world.issues("assigned"), "start", {"by": world.agent()}


@refuses("is not the agent it belongs to")
def unassign_another_agents_work(world: World) -> Made:
    return world.issues("assigned"), "unassign", {"by": world.agent()}


@refuses("a person or the system")
def cancel_as_an_agent(world: World) -> Made:
    issue = world.issues("in_progress")
    return issue, "cancel", {"by": issue.assigned_agent, "reason": WHY}


@refuses("is completed")
def act_as_the_dead(world: World) -> Made:
    return world.issues("unassigned"), "queue", {"by": world.agents("completed")}


@refuses("is errored")
def act_as_the_errored(world: World) -> Made:
    return world.issues("unassigned"), "queue", {"by": world.agents("errored")}


@refuses("is not in this store")
def act_as_a_stranger(world: World) -> Made:
    return world.issues("unassigned"), "queue", {"by": Agent(agent_type="coder")}


# ---- agents ------------------------------------------------------------------------------------------


@refuses("is not assigned to it, and is queued, not in_review")
def dispatch_to_what_is_not_ones_own(world: World) -> Made:
    return world.agent(), "dispatch", {"by": MAINTAINER, "issue": world.issues("queued")}


@refuses("which is assigned to it, is blocked")
def dispatch_to_what_is_blocked(world: World) -> Made:
    issue = world.issues("blocked")
    return issue.assigned_agent, "dispatch", {"by": MAINTAINER, "issue": issue}


@refuses("reviews")
def dispatch_to_what_is_reviewed(world: World) -> Made:
    return world.agent(), "dispatch", {"by": MAINTAINER, "issue": in_review_by_an_agent(world)}


@refuses("submit, block or release it")
def finish_with_work_under_way(world: World) -> Made:
    return world.issues("in_progress").assigned_agent, "finish", {"by": MAINTAINER}


@refuses("no proposal of it is open or voting")
def wait_for_no_vote(world: World) -> Made:
    return world.at("agents", "working"), "await_vote", {"by": MAINTAINER}


@refuses("is still open or voting")
def resolve_an_open_vote(world: World) -> Made:
    return world.at("agents", "waiting_for_vote"), "vote_resolved", {"by": MAINTAINER}


@refuses("is not the agent it belongs to")
def pause_another_agent(world: World) -> Made:
    return world.at("agents", "working"), "pause", {"by": world.agent(), "reason": WHY}


# ---- pull requests -----------------------------------------------------------------------------------


@refuses("is done")
def reopen_for_a_finished_issue(world: World) -> Made:
    request = world.pull_requests("closed")
    request.issue.complete(by=MAINTAINER)
    return request, "reopen", {"by": MAINTAINER}


@refuses("was once assigned to")
def merge_ones_own_work(world: World) -> Made:
    request = world.pull_requests("open")
    return request, "merge", {"by": request.issue.assigned_agent}


@refuses("is not the agent it belongs to")
def close_anothers_request(world: World) -> Made:
    return world.pull_requests("open"), "close", {"by": world.agent()}


@refuses("is not the agent it belongs to")
def reopen_anothers_request(world: World) -> Made:
    request = world.pull_requests("closed")
    assert isinstance(request, PullRequest)
    return request, "reopen", {"by": world.agent()}


@pytest.mark.parametrize(("case", "pattern"), CASES, ids=lambda value: getattr(value, "__name__", ""))
def test_one_guard(store: Store, clock: Clock, case: Callable[[World], Made], pattern: str) -> None:
    """The refusal has exactly the one reason that the case names."""
    row, trigger, arguments = case(World(store))
    row.reload()
    before = everything()
    with pytest.raises(GuardRefused, match=pattern) as refused:
        getattr(row, trigger)(**arguments)
    assert len(refused.value.reasons) == 1
    assert str(row) in str(refused.value)
    assert f"is {row.status}: {trigger}" in str(refused.value)
    assert everything() == before


def test_a_gate_of_another_type_is_no_checkpoint(store: Store) -> None:
    waiting = gate(World(store))
    reasons = waiting.why_not("auto_approve", by=System("checkpoint"))
    assert reasons == ["it is of type approval, not checkpoint", "it has no auto_approve_at"]


def test_an_errored_agent_may_recover_or_stop_itself_and_nothing_else(store: Store) -> None:
    world = World(store)
    for trigger, dest in (("recover", "idle"), ("stop", "completed")):
        agent = world.at("agents", "errored")
        assert not agent.may(trigger, by=world.agents("errored"))
        getattr(agent, trigger)(by=agent, reason=WHY)
        assert agent.status == dest


def test_every_guard_that_fails_is_named(store: Store) -> None:
    """A refusal lists all its reasons at once."""
    world = World(store)
    issue = world.stages("pending").add_issue(**world.issue_columns(), agent_type="docs")
    with pytest.raises(GuardRefused) as refused:
        issue.assign(world.at("agents", "working"), by=world.agents("completed"))
    assert len(refused.value.reasons) == 4


def test_may_takes_the_arguments_of_the_call(world: World) -> None:
    assert world.issues("in_progress").may("block", by=MAINTAINER, reason=WHY)
