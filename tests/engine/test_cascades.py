"""What follows from a move: all cascades against the table written by hand, and each one in a test of its own."""

from __future__ import annotations

from collections import defaultdict

import pytest

from dispatch_state import Agent, Decision, Gate, GuardRefused, Human, Issue, PullRequest, Store, TransitionLog
from dispatch_state.engine.rules import RULES
from dispatch_state.testing.scratch import Clock
from tests.cascade_table import FOLLOWS
from tests.invariants import broken
from tests.moves import fired
from tests.world import MAINTAINER, MODELS, RUNNER, WHY, World, first_stage

Story = list[tuple[str, str, str]]


def test_a_rule_for_each_move_that_has_followers() -> None:
    """Each move that has followers in the contract has a rule, and no other move has one."""
    ruled = {(model._meta.table_name, trigger) for model, trigger in RULES}
    assert ruled == {key for key, followers in FOLLOWS.items() if followers}


def test_every_follower_is_in_the_table(store: Store, world: World, clock: Clock) -> None:
    """Bring rows into every status and compare all moves that followed with the table."""
    for table, model in MODELS.items():
        for status in model.statuses:
            world.at(table, status)
    by_seq = {move.seq: move for move in store.changes(limit=100_000)}
    seen = defaultdict(set)
    for move in by_seq.values():
        if move.cause_seq is not None:
            cause = by_seq[move.cause_seq]
            seen[cause.entity, cause.trigger].add((move.entity, move.trigger))
            assert (move.actor, move.reason is not None) == (cause.actor, True)
    for key, followers in seen.items():
        assert followers <= set(FOLLOWS[key]), key
    assert broken(store) == []


# ---- issues ------------------------------------------------------------------------------------------


def test_assigning_dispatches_the_agent_and_starting_runs_it(world: World) -> None:
    issue, agent = world.issues("queued"), world.agent()
    assert fired(issue.assign(agent, by=agent, worktree_path="/w", branch_name="b")) == [
        "issues.assign",
        "agents.dispatch",
    ]
    assert (agent.status, agent.current_issue_id, agent.worktree_path) == ("starting", issue.id, "/w")
    assert fired(issue.start(by=agent)) == ["issues.start", "agents.run"]
    assert agent.status == "working"


def test_running_starts_the_issue(world: World) -> None:
    """`agent.run()` starts the issue that the agent was given."""
    issue, agent = world.issues("queued"), world.agent()
    issue.assign(agent, by=agent)
    assert fired(agent.run(4711, "session", by=agent)) == ["agents.run", "issues.start"]
    assert (agent.process_id, agent.claude_session_id, issue.reload().status) == (4711, "session", "in_progress")


@pytest.mark.parametrize("trigger", ["submit", "block", "release"])
def test_work_that_stops_frees_its_agent(world: World, trigger: str) -> None:
    """Submitting, blocking or releasing an issue makes its agent idle."""
    issue = world.issues("in_progress")
    agent = issue.assigned_agent
    assert fired(getattr(issue, trigger)(by=agent, reason=WHY)) == [f"issues.{trigger}", "agents.finish"]
    assert (agent.status, agent.current_issue_id) == ("idle", None)
    assert (issue.assigned_agent_id is None) == (trigger == "release")


def test_unassigning_frees_the_agent(world: World) -> None:
    issue = world.issues("assigned")
    assert fired(issue.unassign(by=MAINTAINER)) == ["issues.unassign", "agents.finish"]
    assert (issue.assigned_agent_id, issue.assigned_at) == (None, None)


def test_a_review_by_an_agent_dispatches_it(world: World) -> None:
    issue, reviewer = world.issues("awaiting_review"), world.agent("reviewer")
    assert fired(issue.review(by=reviewer)) == ["issues.review", "agents.dispatch", "agents.run"]
    assert (reviewer.status, reviewer.current_issue_id) == ("working", issue.id)


def test_a_review_may_name_another_reviewer(world: World) -> None:
    """The reviewer works then, and the agent that asked for the review stays idle."""
    issue, reviewer, lead = world.issues("awaiting_review"), world.agent("reviewer"), world.agent("pm")
    issue.review(reviewer, by=lead)
    assert (reviewer.status, lead.reload().status) == ("working", "idle")


def test_a_review_by_a_person_moves_no_agent(world: World) -> None:
    assert fired(world.issues("awaiting_review").review(by=MAINTAINER)) == ["issues.review"]


def test_no_agent_reviews_its_own_work(world: World) -> None:
    issue = world.issues("awaiting_review")
    with pytest.raises(GuardRefused, match="does not review its own work"):
        issue.review(by=issue.assigned_agent)


def test_requested_changes_go_back_to_the_agent_and_free_the_reviewer(world: World) -> None:
    issue, reviewer = world.issues("awaiting_review"), world.agent("reviewer")
    issue.review(by=reviewer)
    moves = issue.request_changes(by=reviewer, reason=WHY)
    assert fired(moves) == ["issues.request_changes", "agents.finish", "agents.dispatch", "agents.run"]
    assert [m.id for m in moves[1:]] == [reviewer.id, issue.assigned_agent_id, issue.assigned_agent_id]


def test_unblocking_dispatches_the_agent_again(world: World) -> None:
    issue = world.issues("blocked")
    assert fired(issue.unblock(by=MAINTAINER)) == ["issues.unblock", "agents.dispatch", "agents.run"]


def test_an_issue_is_not_unblocked_for_a_busy_agent(world: World) -> None:
    """The refusal recommends to release the issue instead."""
    issue = world.issues("blocked")
    world.start(world.new_issue(), issue.assigned_agent)
    with pytest.raises(GuardRefused, match=r"release\(\) it"):
        issue.unblock(by=MAINTAINER)


def test_a_reviewer_that_finishes_returns_the_review(world: World) -> None:
    issue, reviewer = world.issues("awaiting_review"), world.agent("reviewer")
    issue.review(by=reviewer)
    assert fired(reviewer.finish(by=reviewer)) == ["agents.finish", "issues.return_review"]


def test_completing_counts_for_the_agent(world: World, clock: Clock) -> None:
    agent = world.agent()
    for minutes in (10, 20):
        issue = world.new_issue()
        world.start(issue, agent)
        clock.forward(minutes=minutes)
        issue.complete(by=agent)
    assert agent.reload().metrics == {
        "issues_completed": 2, "errors_encountered": 0, "tokens_used": 0, "avg_completion_time": 900.0
    }  # fmt: skip


def test_an_open_pull_request_holds_completion(world: World) -> None:
    request = world.pull_requests("draft")
    with pytest.raises(GuardRefused, match="merge or close it"):
        request.issue.complete(by=MAINTAINER)


# ---- agents ------------------------------------------------------------------------------------------


def test_stopping_releases_the_work(world: World) -> None:
    issue = world.issues("in_progress")
    agent = issue.assigned_agent
    assert fired(agent.stop(by=RUNNER, reason=WHY)) == ["agents.stop", "issues.release"]
    assert (issue.reload().status, issue.assigned_agent_id) == ("queued", None)
    last = TransitionLog.select().where(TransitionLog.entity_id == agent.id).order_by(TransitionLog.seq.desc()).first()
    assert last.details == {"current_issue": str(issue.id)}


def test_a_failure_is_logged_counted_and_releases_the_work(world: World) -> None:
    """`fail()` writes a log line, counts the error and puts the issue back into the queue."""
    issue = world.issues("in_progress")
    agent = issue.assigned_agent
    assert fired(agent.fail("out of memory", by=agent)) == ["agents.fail", "issues.release"]
    assert agent.metrics["errors_encountered"] == 1
    line = agent.logs.get()
    assert (line.level, line.message, line.issue_id) == ("error", "out of memory", issue.id)
    released = world.store.history(issue)[-1]
    assert (released.reason, released.actor) == ("out of memory", f"agent:{agent.id}")


@pytest.mark.parametrize(("begun", "end"), [(True, "blocked"), (False, "unassigned")])
def test_after_too_many_attempts_the_work_is_set_aside(world: World, begun: bool, end: str) -> None:
    """A started issue is blocked and an issue that was only assigned is unassigned, so no agent claims it again."""
    issue = world.new_issue()
    for attempt in range(1, 4):
        agent = world.agent()
        issue.reload().assign(agent, by=agent)
        if begun:
            issue.start(by=agent)
        agent.reload().fail("again", by=RUNNER)
        assert issue.reload().status == ("queued" if attempt < 3 else end)


@pytest.mark.parametrize("fresh_start", ["release", "reassign", "queue", "unblock"])
def test_a_person_gives_the_attempts_a_fresh_start(world: World, fresh_start: str) -> None:
    """When a person releases, reassigns, queues or unblocks an issue, its failed attempts count from zero."""
    issue = world.new_issue()
    for _ in range(2):
        agent = world.agent()
        world.start(issue.reload(), agent)
        agent.fail("again", by=RUNNER)
    agent = world.agent()
    world.start(issue.reload(), agent)
    if fresh_start == "reassign":
        agent = world.agent()
        issue.reassign(agent, by=MAINTAINER, reason=WHY)
        issue.start(by=agent)
    elif fresh_start == "unblock":
        issue.block(by=agent, reason=WHY)
        issue.unblock(by=MAINTAINER)
    else:
        issue.release(by=MAINTAINER, reason=WHY)
        if fresh_start == "queue":
            issue.dequeue(by=RUNNER)
            issue.queue(by=MAINTAINER)
        agent = world.agent()
        world.start(issue, agent)
    agent.reload().fail("again", by=RUNNER, max_attempts=2)
    assert issue.reload().status == "queued"


def test_a_release_by_the_runner_does_not_reset_the_attempts(world: World) -> None:
    issue = world.new_issue()
    world.start(issue)
    issue.release(by=RUNNER, reason=WHY)
    agent = world.start(issue)
    agent.fail("again", by=RUNNER, max_attempts=2)
    assert issue.reload().status == "blocked"


def test_waiting_for_a_vote_opens_it_and_its_end_wakes_the_agent(world: World) -> None:
    """`await_vote()` opens the agent's proposals, and the decision puts the agent back to work."""
    agent = world.start(world.new_issue())
    proposal = world.new_proposal(agent)
    assert fired(agent.await_vote(by=agent)) == ["agents.await_vote", "proposals.open_voting"]
    moves = proposal.reload().force_reject(by=MAINTAINER, reason=WHY)
    assert fired(moves) == ["proposals.force_reject", "agents.vote_resolved"]


def test_an_agent_waits_for_all_its_proposals(world: World) -> None:
    """It goes back to work when the last one is decided."""
    agent = world.start(world.new_issue())
    first, second = world.new_proposal(agent), world.new_proposal(agent)
    agent.await_vote(by=agent)
    assert fired(first.reload().force_reject(by=MAINTAINER, reason=WHY)) == ["proposals.force_reject"]
    assert fired(second.reload().force_reject(by=MAINTAINER, reason=WHY))[1:] == ["agents.vote_resolved"]


# ---- epics, stages, gates ----------------------------------------------------------------------------


def test_starting_an_epic_starts_its_first_stage_and_queues_its_issues(world: World, clock: Clock) -> None:
    """The issues are queued in the order in which they were created."""
    epic = world.epics("draft")
    created = []
    for _ in range(3):
        clock.forward(seconds=1)
        created.append(first_stage(epic).add_issue(**world.issue_columns()).id)
    epic.mark_ready(by=MAINTAINER)
    moves = epic.start(by=MAINTAINER)
    assert fired(moves) == ["epics.start", "stages.start"] + ["issues.queue"] * 3
    assert [move.id for move in moves[2:]] == created
    assert epic.current_stage_id == first_stage(epic).id


def test_the_last_issue_takes_the_stage_to_its_gates(world: World) -> None:
    """When the last issue is done, the stage goes to its gates and the epic waits."""
    stage = first_stage(world.running_epic({}))
    issues = [stage.add_issue(**world.issue_columns()).reload() for _ in range(2)]
    world.finish(issues[0])
    agent = world.start(issues[1])
    assert fired(issues[1].complete(by=agent)) == [
        "issues.complete",
        "agents.finish",
        "stages.submit",
        "epics.reach_gate",
    ]


def test_the_last_issue_closes_a_stage_without_gates(world: World) -> None:
    """When the last issue is done, the stage is finished and the next one starts."""
    stage = first_stage(world.running_epic())
    issue = stage.add_issue(**world.issue_columns()).reload()
    agent = world.start(issue)
    assert fired(issue.complete(by=agent)) == ["issues.complete", "agents.finish", "stages.finish", "stages.start"]


def test_a_stage_without_a_done_issue_waits_for_a_person(world: World) -> None:
    """Cancelling the last issue does not finish the stage."""
    stage = first_stage(world.running_epic())
    issue = stage.add_issue(**world.issue_columns()).reload()
    assert fired(issue.cancel(by=MAINTAINER, reason=WHY)) == ["issues.cancel"]
    assert [(need.kind, need.row) for need in world.store.needs_human()] == [("idle stage", stage)]


def test_the_last_gate_lets_the_stage_through(world: World) -> None:
    """The epic points at the gates that are still pending, one after the other, until the last one is approved."""
    stage = world.waiting_stage({}, {})
    first, second = stage.gates.order_by(Gate.id)
    assert fired(first.approve(by=MAINTAINER, comment="Good")) == ["gates.approve"]
    assert stage.epic.reload().blocked_at_gate_id == second.id
    assert [c.content for c in first.comments] == ["Good"]
    moves = second.approve(by=MAINTAINER)
    assert fired(moves) == ["gates.approve", "stages.approve", "epics.clear_gate", "stages.start"]
    assert stage.epic.reload().blocked_at_gate_id is None


def test_after_a_skipped_gate_the_epic_waits_at_the_next_one(world: World) -> None:
    stage = world.waiting_stage({}, {})
    first, second = stage.gates.order_by(Gate.id)
    assert fired(first.skip(by=MAINTAINER, reason=WHY)) == ["gates.skip"]
    assert stage.epic.reload().blocked_at_gate_id == second.id
    assert fired(second.skip(by=MAINTAINER, reason=WHY))[:2] == ["gates.skip", "stages.approve"]


def test_a_rejection_sends_the_stage_back_and_approvals_of_siblings_survive(world: World) -> None:
    """After the rework only the rejected gate is pending again."""
    stage = world.waiting_stage({}, {})
    first, second = stage.gates.order_by(Gate.id)
    first.approve(by=MAINTAINER)
    assert fired(second.reject(by=MAINTAINER, reason=WHY)) == ["gates.reject", "stages.rework", "epics.clear_gate"]
    issue = stage.add_issue(**world.issue_columns()).reload()
    assert issue.status == "queued"
    agent = world.start(issue)
    moves = issue.complete(by=agent)
    assert fired(moves)[2:] == ["stages.submit", "gates.resubmit", "epics.reach_gate"]
    assert (first.reload().status, second.reload().status, second.rejection_reason) == ("approved", "pending", None)


def test_skipping_the_last_rejected_gate_finishes_an_idle_stage(world: World) -> None:
    stage = world.waiting_stage()
    gate = stage.gates.get()
    gate.reject(by=MAINTAINER, reason=WHY)
    assert fired(gate.skip(by=MAINTAINER, reason=WHY)) == ["gates.skip", "stages.finish", "stages.start"]


def test_skipping_a_stage_that_waits_clears_the_epic(world: World) -> None:
    """The epic goes on: it no longer waits at the skipped stage's gate, and the next stage starts."""
    stage = world.waiting_stage()
    moves = stage.skip(by=MAINTAINER, reason=WHY)
    assert fired(moves) == ["stages.skip", "gates.skip", "epics.clear_gate", "stages.start"]


def test_skipping_a_stage_with_live_issues_takes_cancel_issues(world: World) -> None:
    """Otherwise the skip is refused, so that nobody cancels work by accident."""
    stage = first_stage(world.running_epic({}))
    issue = stage.add_issue(**world.issue_columns()).reload()
    agent = world.start(issue)
    with pytest.raises(GuardRefused, match="cancel_issues=True"):
        stage.reload().skip(by=MAINTAINER, reason=WHY)
    moves = stage.skip(cancel_issues=True, by=MAINTAINER, reason=WHY)
    assert fired(moves) == ["stages.skip", "issues.cancel", "gates.skip", "stages.start", "agents.finish"]
    assert agent.reload().status == "idle"


def test_cancelling_an_epic_closes_everything_with_one_decision(world: World) -> None:
    """The decision lists all moves, and each row's log has the reason."""
    epic = world.running_epic({})
    stage = first_stage(epic)
    issue = stage.add_issue(**world.issue_columns()).reload()
    world.start(issue)
    moves = epic.reload().cancel(by=MAINTAINER, reason=WHY)
    assert fired(moves) == [
        "epics.cancel",
        "issues.cancel",
        "stages.skip",
        "stages.skip",
        "gates.skip",
        "agents.finish",
    ]
    decision = Decision.get()
    assert (decision.decision_type, decision.epic_id) == ("human_override", epic.id)
    assert [row["id"] for row in decision.outcome["moved"]] == [str(move.id) for move in moves]
    assert {world.store.history(row)[-1].reason for row in (epic, issue, stage)} == {WHY}


def test_an_epic_waits_for_its_issues_without_a_stage(world: World) -> None:
    """It is complete when its stages are closed and these issues are done."""
    epic = world.running_epic(stages=1)
    issue = epic.add_issue(**world.issue_columns())
    assert fired(first_stage(epic).finish(by=MAINTAINER)) == ["stages.finish"]
    agent = world.start(issue)
    assert fired(issue.complete(by=agent))[2:] == ["epics.complete"]


def test_a_stage_that_is_added_to_an_idle_epic_starts(world: World) -> None:
    """The epic runs, and all its stages are closed: only an issue without a stage is left."""
    epic = world.running_epic(stages=1)
    epic.add_issue(**world.issue_columns())
    first_stage(epic).finish(by=MAINTAINER)
    assert epic.add_stage("late").reload().status == "in_progress"


def test_a_checkpoint_opens_at_its_time(world: World, clock: Clock) -> None:
    """`auto_approve()` is refused before `auto_approve_at`."""
    from dispatch_state import System

    stage = world.waiting_stage({"gate_type": "checkpoint", "auto_approve_at": clock.now.replace(hour=23)})
    gate = stage.gates.get()
    with pytest.raises(GuardRefused, match="its time comes at"):
        gate.auto_approve(by=System("checkpoint"))
    clock.forward(hours=14)
    assert fired(gate.auto_approve(by=System("checkpoint")))[1:] == [
        "stages.approve",
        "epics.clear_gate",
        "stages.start",
    ]
    assert gate.approved_by == "system:checkpoint"


# ---- pull requests -----------------------------------------------------------------------------------


def test_opening_a_pull_request_submits_its_issue(world: World) -> None:
    issue = world.issues("in_progress")
    PullRequest.create(issue=issue, **world.request_columns(), by=issue.assigned_agent)
    assert issue.reload().status == "awaiting_review"


def test_a_draft_pull_request_submits_its_issue_when_it_is_ready(world: World) -> None:
    request = world.pull_requests("draft")
    assert fired(request.mark_ready(by=MAINTAINER)) == ["pull_requests.mark_ready", "issues.submit", "agents.finish"]


def test_a_merge_finishes_the_issue_by_legal_moves(world: World) -> None:
    """The issue is reviewed first and then completed: no status is skipped."""
    request = world.pull_requests("open")
    assert fired(request.merge(by=MAINTAINER)) == ["pull_requests.merge", "issues.review", "issues.complete"]


def test_the_issue_is_done_when_its_last_pull_request_is_merged(world: World) -> None:
    request = world.pull_requests("open")
    PullRequest.create(issue=request.issue, **world.request_columns(status="draft"))
    assert fired(request.merge(by=MAINTAINER)) == ["pull_requests.merge"]
    assert "stays awaiting_review" in world.store.history(request)[-1].details["issue"]


def test_a_merge_leaves_an_issue_alone_that_is_not_under_way(world: World) -> None:
    """The log row of the merge says in which status the issue stays."""
    issue = world.issues("queued")
    request = PullRequest.create(issue=issue, **world.request_columns())
    assert fired(request.merge(by=MAINTAINER)) == ["pull_requests.merge"]
    assert world.store.history(request)[-1].details == {"issue": "stays queued"}


def test_no_agent_merges_what_was_ever_assigned_to_it(world: World) -> None:
    """Releasing the issue does not help: its history counts."""
    request = world.pull_requests("open")
    author, other = request.issue.assigned_agent, world.agent("reviewer")
    request.issue.release(by=MAINTAINER, reason=WHY)
    with pytest.raises(GuardRefused, match="was once assigned"):
        request.merge(by=author)
    assert request.may("merge", by=other)


def test_a_closed_pull_request_sends_the_issue_back(world: World) -> None:
    request = world.pull_requests("open")
    moves = request.close(by=MAINTAINER)
    assert fired(moves)[1:] == ["issues.request_changes", "agents.dispatch", "agents.run"]


def test_a_closed_pull_request_leaves_the_issue_when_its_agent_is_busy(world: World) -> None:
    request = world.pull_requests("open")
    world.start(world.new_issue(), request.issue.assigned_agent)
    assert fired(request.close(by=MAINTAINER)) == ["pull_requests.close"]


def test_a_decision_names_its_rows_its_actor_and_its_reason(world: World) -> None:
    """Logins ignore case, also among the required approvers."""
    stage = world.waiting_stage({"required_approvers": ["Ada", "@maintainer"]})
    gate = stage.gates.get()
    with pytest.raises(GuardRefused, match="not among its required approvers"):
        gate.approve(by=Human("bob"))
    gate.approve(by=Human("ADA"), reason=WHY)
    decision = Decision.get()
    assert (decision.decision_type, decision.decided_by, decision.epic_id) == (
        "gate_approved",
        "human:ada",
        stage.epic_id,
    )
    named = {key: decision.outcome[key] for key in ("action", "reason", "gate_id", "stage_id", "epic_id")}
    assert named == {
        "action": "approve", "reason": WHY, "gate_id": str(gate.id),
        "stage_id": str(stage.id), "epic_id": str(stage.epic_id),
    }  # fmt: skip
    assert world.store.history(gate)[-1].decision_id == decision.id


def test_a_release_is_an_override_only_when_a_person_does_it(world: World) -> None:
    """A person's release writes a decision; the runner's does not."""
    world.issues("in_progress").release(by=RUNNER, reason=WHY)
    assert Decision.select().count() == 0
    issue = world.issues("in_progress")
    issue.release(by=MAINTAINER, reason=WHY)
    assert Decision.get().issue_id == issue.id


def test_agents_act_on_their_own_issues_only(world: World) -> None:
    issue, stranger = world.issues("in_progress"), world.agent()
    for trigger in ("submit", "complete", "block", "release"):
        assert not issue.may(trigger, by=stranger)
        assert issue.may(trigger, by=issue.assigned_agent)
    assert not issue.may("cancel", by=issue.assigned_agent)
    assert not Agent.get_by_id(issue.assigned_agent_id).may("fail", by=stranger, error="x")


def test_counts_are_by_table_and_status(world: World) -> None:
    world.issues("done")
    world.issues("cancelled")
    counted = world.store.counts()
    assert (counted["issues"]["done"], counted["issues"]["cancelled"], counted["issues"]["queued"]) == (1, 1, 0)
    assert set(counted) == set(MODELS)
    assert Issue.select().count() == 2
