"""What follows from what, for every move of every row.

Read top to bottom, this page answers the question. A rule only reads, and yields the moves that
follow in their order; it is resumed at each step's turn, so an `if` is asked then. A step whose row
has left the statuses its trigger starts from is dropped; one that a guard refuses is a defect of
this page, and rolls everything back. `then` names all that a rule may yield: the tables and
diagrams are made of it.
"""

from __future__ import annotations

from collections.abc import Iterator

from dispatch_state.engine.locks import require_locks
from dispatch_state.engine.rules import FOLLOWERS, Step, after
from dispatch_state.lifecycle.interface import Firing
from dispatch_state.models.agent import Agent
from dispatch_state.models.epic import (
    Epic,
    Stage,
    awaiting_stage,
    first_live_issue_of_epic,
    first_live_issue_of_stage,
    first_pending_stage,
    live_stages,
    open_gates,
    running_stage,
)
from dispatch_state.models.gate import Gate, open_gates_of_epic
from dispatch_state.models.issue import (
    REVIEWING,
    Issue,
    agents_holding,
    first_done_issue_of_stage,
    issues_under_way,
    live_issues_of_epic,
    live_issues_of_stage,
    unassigned_issues_of_stage,
    unsettled_request,
)
from dispatch_state.models.issue_guards import reviewing_agent
from dispatch_state.models.keys import present
from dispatch_state.models.log import is_own_act, moves_of
from dispatch_state.models.proposal import Proposal, proposals_of
from dispatch_state.models.pull_request import PullRequest
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

# ---- the two sentences that other rules use ----------------------------------------------------------


def stage_check(issue: Issue) -> Iterator[Step]:
    """The issue's stage, when nothing in it is live and something is done: to its gates, or closed."""
    if issue.stage_id is not None:
        yield from check(present(Stage, issue.stage_id))


def check(stage: Stage) -> Iterator[Step]:
    """As `stage_check`, of the stage itself."""
    if stage.status != StageStatus.IN_PROGRESS or stage.epic.status != EpicStatus.IN_PROGRESS:
        return
    if first_live_issue_of_stage(stage.id) is None and first_done_issue_of_stage(stage.id) is not None:
        yield Step(stage, "submit" if open_gates(stage.id) else "finish")


def next_of(epic: Epic) -> Iterator[Step]:
    """An epic in progress with no stage under way: its first pending stage starts; with none left, it completes."""
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
    yield from next_of(epic)


@after(Epic, "cancel", then=(Issue.cancel, Stage.skip, Gate.skip))
def a_cancelled_epic_takes_everything_along(epic: Epic, firing: Firing) -> Iterator[Step]:
    for issue in live_issues_of_epic(epic.id):
        yield Step(issue, "cancel")
    for stage in live_stages(epic.id):
        yield Step(stage, "skip")
    for gate in open_gates_of_epic(epic.id):
        yield Step(gate, "skip")


# ---- stages ----------------------------------------------------------------------------------------


@after(Stage, "create", then=NEXT)
def an_epic_without_a_stage_under_way_starts_the_newborn(stage: Stage, firing: Firing) -> Iterator[Step]:
    yield from next_of(stage.epic)


@after(Stage, "start", then=(Issue.queue,))
def a_started_stage_offers_its_issues(stage: Stage, firing: Firing) -> Iterator[Step]:
    for issue in unassigned_issues_of_stage(stage.id):
        yield Step(issue, "queue")


@after(Stage, "submit", then=(Gate.resubmit, Epic.reach_gate))
def a_submitted_stage_waits_at_its_gates(stage: Stage, firing: Firing) -> Iterator[Step]:
    for gate in open_gates(stage.id):
        if gate.status == GateStatus.REJECTED:
            yield Step(gate, "resubmit")
    yield Step(stage.epic, "reach_gate")


@after(Stage, "finish", then=NEXT)
def a_finished_stage_makes_room(stage: Stage, firing: Firing) -> Iterator[Step]:
    yield from next_of(stage.epic)


@after(Stage, "approve", "rework", then=(Epic.clear_gate,))
def a_stage_leaves_its_gates(stage: Stage, firing: Firing) -> Iterator[Step]:
    yield Step(stage.epic, "clear_gate")


@after(Stage, "skip", then=(Issue.cancel, Gate.skip, Epic.clear_gate, *NEXT))
def a_skipped_stage_closes_what_is_in_it(stage: Stage, firing: Firing) -> Iterator[Step]:
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
    stage = present(Stage, gate.stage_id)
    if stage.status == StageStatus.AWAITING_GATE and not open_gates(stage.id):
        yield Step(stage, "approve")


@after(Gate, "reject", then=(Stage.rework,))
def a_rejection_sends_the_stage_back(gate: Gate, firing: Firing) -> Iterator[Step]:
    yield Step(gate.stage, "rework")


@after(Gate, "skip", then=(Stage.approve, *CHECK))
def a_skipped_gate_is_out_of_the_way(gate: Gate, firing: Firing) -> Iterator[Step]:
    stage = present(Stage, gate.stage_id)
    if open_gates(stage.id):
        return
    if stage.status == StageStatus.AWAITING_GATE:
        yield Step(stage, "approve")
    elif stage.status == StageStatus.IN_PROGRESS:
        yield from check(stage)


# ---- issues ----------------------------------------------------------------------------------------


@after(Issue, "create", then=(Issue.queue,))
def an_issue_born_into_a_running_stage_is_offered(issue: Issue, firing: Firing) -> Iterator[Step]:
    if issue.stage is not None and issue.stage.status == StageStatus.IN_PROGRESS:
        yield Step(issue, "queue")


@after(Issue, "assign", then=(Agent.dispatch,))
def an_assigned_agent_is_sent(issue: Issue, firing: Firing) -> Iterator[Step]:
    yield Step(firing["agent"], "dispatch", issue=issue)


@after(Issue, "start", then=(Agent.run,))
def the_agent_of_a_started_issue_runs(issue: Issue, firing: Firing) -> Iterator[Step]:
    if issue.assigned_agent is not None:
        yield Step(issue.assigned_agent, "run", **firing.onward)


@after(Issue, "unassign", "submit", "block", "release", then=(Agent.finish,))
def its_agents_are_free(issue: Issue, firing: Firing) -> Iterator[Step]:
    for agent in agents_holding(issue.id):
        yield Step(agent, "finish")


@after(Issue, "review", then=SEND)
def a_reviewing_agent_is_sent(issue: Issue, firing: Firing) -> Iterator[Step]:
    reviewer = reviewing_agent(firing)
    if reviewer is not None:
        yield Step(reviewer, "dispatch", issue=issue)
        yield Step(reviewer, "run")


@after(Issue, "request_changes", then=(Agent.finish, *SEND))
def its_reviewers_are_free_and_its_agent_is_sent_again(issue: Issue, firing: Firing) -> Iterator[Step]:
    yield from its_agents_are_free(issue, firing)
    yield from its_agent_is_sent_again(issue, firing)


@after(Issue, "unblock", then=SEND)
def its_agent_is_sent_again(issue: Issue, firing: Firing) -> Iterator[Step]:
    if issue.assigned_agent is not None:
        yield Step(issue.assigned_agent, "dispatch", issue=issue)
        yield Step(issue.assigned_agent, "run")


@after(Issue, "complete", "cancel", then=(Agent.finish, *CHECK, *NEXT))
def a_closed_issue_may_close_its_stage(issue: Issue, firing: Firing) -> Iterator[Step]:
    yield from its_agents_are_free(issue, firing)
    yield from stage_check(issue)
    if issue.stage_id is None and issue.epic is not None:
        yield from next_of(issue.epic)


# ---- agents ----------------------------------------------------------------------------------------


@after(Agent, "run", then=(Issue.start,))
def a_running_agent_starts_its_issue(agent: Agent, firing: Firing) -> Iterator[Step]:
    issue = agent.current_issue
    if issue is not None and issue.status == IssueStatus.ASSIGNED and issue.assigned_agent_id == agent.id:
        yield Step(issue, "start")


@after(Agent, "await_vote", then=(Proposal.open_voting,))
def what_is_awaited_is_put_to_the_vote(agent: Agent, firing: Firing) -> Iterator[Step]:
    for proposal in proposals_of(agent.id):
        if proposal.status == ProposalStatus.OPEN:
            yield Step(proposal, "open_voting")


@after(Agent, "finish", then=(Issue.return_review,))
def an_open_review_goes_back(agent: Agent, firing: Firing) -> Iterator[Step]:
    yield from its_review_returns(agent, firing)


@after(Agent, "stop", then=(Issue.release, Issue.return_review))
def a_stopped_agents_work_is_offered_again(agent: Agent, firing: Firing) -> Iterator[Step]:
    for issue in issues_under_way(agent.id):
        yield Step(issue, "release")
    yield from its_review_returns(agent, firing)


@after(Agent, "fail", then=(Issue.release, Issue.block, Issue.unassign, Issue.return_review))
def a_failed_agents_work_is_offered_again_or_set_aside(agent: Agent, firing: Firing) -> Iterator[Step]:
    for issue in issues_under_way(agent.id):
        if attempts(issue) < firing["max_attempts"]:
            yield Step(issue, "release")
        else:
            yield Step(issue, "block" if issue.status == IssueStatus.IN_PROGRESS else "unassign")
    yield from its_review_returns(agent, firing)


def its_review_returns(agent: Agent, firing: Firing) -> Iterator[Step]:
    """The issue the agent reviewed until now, if it is still in review."""
    held = firing.before["current_issue"]
    if held is None:
        return
    issue = present(Issue, held)
    if issue.status == IssueStatus.IN_REVIEW and issue.assigned_agent_id != agent.id:
        yield Step(issue, "return_review")


def attempts(issue: Issue) -> int:
    """How often the issue was assigned since its birth, or since a person last gave it a fresh start.

    That is a person's own `queue`, `release` (alone or in a `reassign`) or `unblock`.
    """
    count = 0
    for move in reversed(moves_of(issue.id)):
        if move.trigger == "assign":
            count += 1
        elif move.trigger in ("queue", "release", "unblock") and is_own_act(move):
            break
    return count


# ---- pull requests ---------------------------------------------------------------------------------


@after(PullRequest, "create", "mark_ready", "reopen", then=(Issue.submit,))
def an_open_request_submits_its_issue(request: PullRequest, firing: Firing) -> Iterator[Step]:
    if request.status == PullRequestStatus.OPEN and request.issue.status == IssueStatus.IN_PROGRESS:
        yield Step(request.issue, "submit")


@after(PullRequest, "merge", then=(Issue.review, Issue.complete))
def a_merge_finishes_its_issue(request: PullRequest, firing: Firing) -> Iterator[Step]:
    issue = present(Issue, request.issue_id)
    if unsettled_request(issue.id) is not None:
        return
    if issue.status == IssueStatus.AWAITING_REVIEW:
        yield Step(issue, "review")
    if issue.status in (IssueStatus.IN_PROGRESS, *REVIEWING):
        yield Step(issue, "complete")


@after(PullRequest, "close", then=(Issue.request_changes,))
def a_withdrawn_request_sends_its_issue_back(request: PullRequest, firing: Firing) -> Iterator[Step]:
    issue = present(Issue, request.issue_id)
    agent = issue.assigned_agent
    if issue.status not in REVIEWING or agent is None or agent.status != AgentStatus.IDLE:
        return
    if unsettled_request(issue.id) is None:
        yield Step(issue, "request_changes")


# ---- proposals -------------------------------------------------------------------------------------


@after(Proposal, "approve", "reject", "force_approve", "force_reject", then=(Agent.vote_resolved,))
def a_proposer_that_waits_goes_on(proposal: Proposal, firing: Firing) -> Iterator[Step]:
    proposer = proposal.proposer
    if proposer.status == AgentStatus.WAITING_FOR_VOTE and not proposals_of(proposer.id):
        yield Step(proposer, "vote_resolved")


require_locks(FOLLOWERS)
