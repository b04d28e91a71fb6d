"""What follows from what, for every move of every row.

Each rule only reads, and yields the moves that follow, in order. A rule is resumed only after the step before has been
made, so each `if` sees the database as it is then. A step is dropped when its row has left the statuses from which the
trigger starts. When a guard refuses a step, a rule below is wrong, and everything rolls back. `then` names every
trigger that a rule may yield; tables and diagrams show it.
"""

from __future__ import annotations

from collections.abc import Iterator

from dispatch_state.engine.locks import require_locks
from dispatch_state.engine.rules import FOLLOWERS, Step, after
from dispatch_state.lifecycle.interface import Firing
from dispatch_state.models.agent import Agent
from dispatch_state.models.epic import Epic
from dispatch_state.models.gate import Gate
from dispatch_state.models.issue import REVIEWING, Issue
from dispatch_state.models.issue_guards import reviewing_agent
from dispatch_state.models.keys import present
from dispatch_state.models.log import attempts
from dispatch_state.models.proposal import Proposal
from dispatch_state.models.pull_request import PullRequest
from dispatch_state.models.queries import (
    agents_holding,
    awaiting_stage,
    first_done_issue_of_stage,
    first_live_issue_of_epic,
    first_live_issue_of_stage,
    first_pending_stage,
    issues_under_way,
    live_issues_of_epic,
    live_issues_of_stage,
    live_stages,
    open_gates,
    open_gates_of_epic,
    proposals_of,
    running_stage,
    unassigned_issues_of_stage,
    unsettled_request,
)
from dispatch_state.models.stage import Stage
from dispatch_state.vocabulary import (
    AgentStatus,
    EpicStatus,
    GateStatus,
    IssueStatus,
    ProposalStatus,
    PullRequestStatus,
    StageStatus,
)

CHECK = (Stage.submit, Stage.finish)
NEXT = (Stage.start, Epic.complete)
SEND = (Agent.dispatch, Agent.run)

# ---- the two rules that other rules use ---------------------------------------------------------------


def stage_check(issue: Issue) -> Iterator[Step]:
    """Submit or finish the issue's stage, when it has no live issue and at least one that is done."""
    if issue.stage_id is not None:
        yield from check(present(Stage, issue.stage_id))


def check(stage: Stage) -> Iterator[Step]:
    """Submit a running stage to its open gates, or finish it, when no issue of it is live and at least one is done."""
    if stage.status != StageStatus.IN_PROGRESS or stage.epic.status != EpicStatus.IN_PROGRESS:
        return
    if first_live_issue_of_stage(stage.id) is None and first_done_issue_of_stage(stage.id) is not None:
        yield Step(stage, "submit" if open_gates(stage.id) else "finish")


def next_of(epic: Epic) -> Iterator[Step]:
    """Start the first pending stage of an epic in progress without a running one; with nothing left, complete it."""
    epic = present(Epic, epic.id)
    if epic.status != EpicStatus.IN_PROGRESS or running_stage(epic.id) is not None:
        return
    stage = first_pending_stage(epic.id)
    if stage is not None:
        yield Step(stage, "start")
    elif first_live_issue_of_epic(epic.id) is None:
        yield Step(epic, "complete")


# ---- epics -----------------------------------------------------------------------------------------


@after(Epic, "start", "clear_gate", then=NEXT)
def an_epic_goes_on(epic: Epic, firing: Firing) -> Iterator[Step]:
    """An epic that starts or leaves a gate goes on with its next stage."""
    yield from next_of(epic)


@after(Epic, "cancel", then=(Issue.cancel, Stage.skip, Gate.skip))
def a_cancelled_epic_takes_everything_along(epic: Epic, firing: Firing) -> Iterator[Step]:
    """A cancelled epic cancels its live issues and skips its live stages and open gates."""
    for issue in live_issues_of_epic(epic.id):
        yield Step(issue, "cancel")
    for stage in live_stages(epic.id):
        yield Step(stage, "skip")
    for gate in open_gates_of_epic(epic.id):
        yield Step(gate, "skip")


# ---- stages ----------------------------------------------------------------------------------------


@after(Stage, "create", then=NEXT)
def an_epic_without_a_running_stage_starts_the_new_one(stage: Stage, firing: Firing) -> Iterator[Step]:
    """A new stage starts when its epic is in_progress and no stage is running."""
    yield from next_of(stage.epic)


@after(Stage, "start", then=(Issue.queue,))
def a_started_stage_offers_its_issues(stage: Stage, firing: Firing) -> Iterator[Step]:
    """A started stage queues its unassigned issues."""
    for issue in unassigned_issues_of_stage(stage.id):
        yield Step(issue, "queue")


@after(Stage, "submit", then=(Gate.resubmit, Epic.reach_gate))
def a_submitted_stage_waits_at_its_gates(stage: Stage, firing: Firing) -> Iterator[Step]:
    """A submitted stage asks its rejected gates again, and its epic waits."""
    for gate in open_gates(stage.id):
        if gate.status == GateStatus.REJECTED:
            yield Step(gate, "resubmit")
    yield Step(stage.epic, "reach_gate")


@after(Stage, "finish", then=NEXT)
def a_finished_stage_makes_room(stage: Stage, firing: Firing) -> Iterator[Step]:
    """A finished stage lets the next one start."""
    yield from next_of(stage.epic)


@after(Stage, "approve", "rework", then=(Epic.clear_gate,))
def a_stage_leaves_its_gates(stage: Stage, firing: Firing) -> Iterator[Step]:
    """When a stage leaves its gates, its epic stops waiting."""
    yield Step(stage.epic, "clear_gate")


@after(Stage, "skip", then=(Issue.cancel, Gate.skip, Epic.clear_gate, *NEXT))
def a_skipped_stage_closes_what_is_in_it(stage: Stage, firing: Firing) -> Iterator[Step]:
    """A skipped stage cancels its live issues and skips its open gates; then its epic goes on."""
    for issue in live_issues_of_stage(stage.id):
        yield Step(issue, "cancel")
    for gate in open_gates(stage.id):
        yield Step(gate, "skip")
    epic = present(Epic, stage.epic_id)
    if epic.status == EpicStatus.AWAITING_GATE and awaiting_stage(epic.id) is None:
        yield Step(epic, "clear_gate")
    else:
        yield from next_of(epic)


# ---- gates -----------------------------------------------------------------------------------------


@after(Gate, "approve", "auto_approve", then=(Stage.approve,))
def the_last_gate_lets_its_stage_through(gate: Gate, firing: Firing) -> Iterator[Step]:
    """The approval of the last open gate approves the stage."""
    stage = present(Stage, gate.stage_id)
    if stage.status == StageStatus.AWAITING_GATE and not open_gates(stage.id):
        yield Step(stage, "approve")


@after(Gate, "reject", then=(Stage.rework,))
def a_rejection_sends_the_stage_back(gate: Gate, firing: Firing) -> Iterator[Step]:
    """The rejection of a gate sends its stage back to work."""
    yield Step(gate.stage, "rework")


@after(Gate, "skip", then=(Stage.approve, *CHECK))
def a_skipped_gate_is_out_of_the_way(gate: Gate, firing: Firing) -> Iterator[Step]:
    """A skipped gate approves its stage, or finishes it, when no other gate of it is open."""
    stage = present(Stage, gate.stage_id)
    if open_gates(stage.id):
        return
    if stage.status == StageStatus.AWAITING_GATE:
        yield Step(stage, "approve")
    elif stage.status == StageStatus.IN_PROGRESS:
        yield from check(stage)


# ---- issues ----------------------------------------------------------------------------------------


@after(Issue, "create", then=(Issue.queue,))
def an_issue_created_in_a_running_stage_is_queued(issue: Issue, firing: Firing) -> Iterator[Step]:
    """An issue that is created in a running stage is queued."""
    if issue.stage is not None and issue.stage.status == StageStatus.IN_PROGRESS:
        yield Step(issue, "queue")


@after(Issue, "assign", then=(Agent.dispatch,))
def an_assigned_agent_is_sent(issue: Issue, firing: Firing) -> Iterator[Step]:
    """An agent is dispatched to the issue that was assigned to it."""
    yield Step(firing["agent"], "dispatch", issue=issue)


@after(Issue, "start", then=(Agent.run,))
def the_agent_of_a_started_issue_runs(issue: Issue, firing: Firing) -> Iterator[Step]:
    """The assigned agent of a started issue runs."""
    if issue.assigned_agent is not None:
        yield Step(issue.assigned_agent, "run", **firing.passed_on)


@after(Issue, "unassign", "submit", "block", "release", then=(Agent.finish,))
def its_agents_are_free(issue: Issue, firing: Firing) -> Iterator[Step]:
    """The agents that hold the issue finish."""
    for agent in agents_holding(issue.id):
        yield Step(agent, "finish")


@after(Issue, "review", then=SEND)
def a_reviewing_agent_is_sent(issue: Issue, firing: Firing) -> Iterator[Step]:
    """The agent that reviews the issue is dispatched to it and runs."""
    reviewer = reviewing_agent(firing)
    if reviewer is not None:
        yield Step(reviewer, "dispatch", issue=issue)
        yield Step(reviewer, "run")


@after(Issue, "request_changes", then=(Agent.finish, *SEND))
def its_reviewers_are_free_and_its_agent_is_sent_again(issue: Issue, firing: Firing) -> Iterator[Step]:
    """After a request for changes the reviewers finish, and the assigned agent is dispatched again."""
    yield from its_agents_are_free(issue, firing)
    yield from its_agent_is_sent_again(issue, firing)


@after(Issue, "unblock", then=SEND)
def its_agent_is_sent_again(issue: Issue, firing: Firing) -> Iterator[Step]:
    """The assigned agent is dispatched to the issue again and runs."""
    if issue.assigned_agent is not None:
        yield Step(issue.assigned_agent, "dispatch", issue=issue)
        yield Step(issue.assigned_agent, "run")


@after(Issue, "complete", "cancel", then=(Agent.finish, *CHECK, *NEXT))
def a_closed_issue_may_close_its_stage(issue: Issue, firing: Firing) -> Iterator[Step]:
    """A closed issue frees its agents, and may close its stage or complete its epic."""
    yield from its_agents_are_free(issue, firing)
    yield from stage_check(issue)
    if issue.stage_id is None and issue.epic is not None:
        yield from next_of(issue.epic)


# ---- agents ----------------------------------------------------------------------------------------


@after(Agent, "run", then=(Issue.start,))
def a_running_agent_starts_its_issue(agent: Agent, firing: Firing) -> Iterator[Step]:
    """An agent that runs starts the issue that is assigned to it."""
    issue = agent.current_issue
    if issue is not None and issue.status == IssueStatus.ASSIGNED and issue.assigned_agent_id == agent.id:
        yield Step(issue, "start")


@after(Agent, "await_vote", then=(Proposal.open_voting,))
def what_is_awaited_is_put_to_the_vote(agent: Agent, firing: Firing) -> Iterator[Step]:
    """An agent that awaits votes opens the voting on its open proposals."""
    for proposal in proposals_of(agent.id):
        if proposal.status == ProposalStatus.OPEN:
            yield Step(proposal, "open_voting")


@after(Agent, "finish", then=(Issue.return_review,))
def an_open_review_goes_back(agent: Agent, firing: Firing) -> Iterator[Step]:
    """An agent that finishes returns its open review."""
    yield from its_review_returns(agent, firing)


@after(Agent, "stop", then=(Issue.release, Issue.return_review))
def a_stopped_agents_work_is_offered_again(agent: Agent, firing: Firing) -> Iterator[Step]:
    """A stopped agent releases its issues and returns its open review."""
    for issue in issues_under_way(agent.id):
        yield Step(issue, "release")
    yield from its_review_returns(agent, firing)


@after(Agent, "fail", then=(Issue.release, Issue.block, Issue.unassign, Issue.return_review))
def a_failed_agents_work_is_offered_again_or_set_aside(agent: Agent, firing: Firing) -> Iterator[Step]:
    """A failed agent releases its issues, or sets them aside after `max_attempts`, and returns its open review."""
    for issue in issues_under_way(agent.id):
        if attempts(issue) < firing["max_attempts"]:
            yield Step(issue, "release")
        else:
            yield Step(issue, "block" if issue.status == IssueStatus.IN_PROGRESS else "unassign")
    yield from its_review_returns(agent, firing)


def its_review_returns(agent: Agent, firing: Firing) -> Iterator[Step]:
    """Return the issue that the agent reviewed until this move, if it is still in_review."""
    held = firing.before["current_issue"]
    if held is None:
        return
    issue = present(Issue, held)
    if issue.status == IssueStatus.IN_REVIEW and issue.assigned_agent_id != agent.id:
        yield Step(issue, "return_review")


# ---- pull requests ---------------------------------------------------------------------------------


@after(PullRequest, "create", "mark_ready", "reopen", then=(Issue.submit,))
def an_open_request_submits_its_issue(request: PullRequest, firing: Firing) -> Iterator[Step]:
    """An open pull request submits its issue, if that is in_progress."""
    if request.status == PullRequestStatus.OPEN and request.issue.status == IssueStatus.IN_PROGRESS:
        yield Step(request.issue, "submit")


@after(PullRequest, "merge", then=(Issue.review, Issue.complete))
def a_merge_finishes_its_issue(request: PullRequest, firing: Firing) -> Iterator[Step]:
    """A merge takes its issue to done, unless another pull request of it is draft or open."""
    issue = present(Issue, request.issue_id)
    if unsettled_request(issue.id) is not None:
        return
    if issue.status == IssueStatus.AWAITING_REVIEW:
        yield Step(issue, "review")
    if issue.status in (IssueStatus.IN_PROGRESS, *REVIEWING):
        yield Step(issue, "complete")


@after(PullRequest, "close", then=(Issue.request_changes,))
def a_withdrawn_request_sends_its_issue_back(request: PullRequest, firing: Firing) -> Iterator[Step]:
    """A closed pull request sends its issue back to an idle agent, unless another one is draft or open."""
    issue = present(Issue, request.issue_id)
    agent = issue.assigned_agent
    if issue.status not in REVIEWING or agent is None or agent.status != AgentStatus.IDLE:
        return
    if unsettled_request(issue.id) is None:
        yield Step(issue, "request_changes")


# ---- proposals -------------------------------------------------------------------------------------


@after(Proposal, "approve", "reject", "force_approve", "force_reject", then=(Agent.vote_resolved,))
def a_proposer_that_waits_goes_on(proposal: Proposal, firing: Firing) -> Iterator[Step]:
    """A proposer that waits for a vote goes on when none of its proposals is open or voting."""
    proposer = proposal.proposer
    if proposer.status == AgentStatus.WAITING_FOR_VOTE and not proposals_of(proposer.id):
        yield Step(proposer, "vote_resolved")


require_locks(FOLLOWERS)
