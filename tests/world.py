"""Rows in any status, each brought there by legal moves, and the arguments with which a trigger is accepted."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from dispatch_state import (
    SANGHA,
    Agent,
    Epic,
    Gate,
    Human,
    Issue,
    Proposal,
    PullRequest,
    Stage,
    Store,
    System,
)

MAINTAINER = Human("maintainer")
RUNNER = System("runner")
WHY = "because the test says so"
TEXTS = {"title": "A title", "description": "What it is about"}

ONLY_FOLLOW = {
    ("epics", "reach_gate"),
    ("epics", "clear_gate"),
    ("epics", "complete"),
    ("stages", "start"),
    ("stages", "approve"),
    ("stages", "rework"),
    ("gates", "resubmit"),
    ("agents", "vote_resolved"),
}
"""What may be fired by hand, but whose guards let it only follow."""

MODELS: dict[str, Any] = {m._meta.table_name: m for m in (Epic, Stage, Gate, Issue, PullRequest, Agent, Proposal)}


class World:
    """Makes rows of any kind in any status.

    Args:
        store: an open store whose clock can be moved.
    """

    def __init__(self, store: Store) -> None:
        self.store = store

    def at(self, table: str, status: str) -> Any:
        """A row of a table in a status, read afresh."""
        return getattr(self, table)(status).reload()

    # ---- epics, stages, gates ------------------------------------------------------------------

    def running_epic(self, *gates: dict[str, Any], stages: int = 2) -> Epic:
        """An epic in progress, its first stage with these gates."""
        epic = Epic.create(**TEXTS, repo_path="/src")
        first = epic.add_stage("first")
        for gate in gates:
            first.add_gate(**{"gate_type": "approval", "description": "look", **gate})
        for number in range(1, stages):
            epic.add_stage(f"stage {number}")
        epic.mark_ready(by=MAINTAINER)
        epic.start(by=MAINTAINER)
        return epic

    def waiting_stage(self, *gates: dict[str, Any]) -> Stage:
        """A stage that awaits its gates, the issue in it done."""
        stage = self.running_epic(*(gates or ({},))).stages.order_by(Stage.stage_order).first()
        issue = stage.add_issue(**self.issue_columns())
        self.finish(issue.reload())
        return stage.reload()

    def epics(self, status: str) -> Epic:
        epic = Epic.create(**TEXTS, repo_path="/src") if status in ("draft", "ready") else self.running_epic({})
        if status in ("draft", "ready"):
            epic.add_stage("first")
        if status == "ready":
            epic.mark_ready(by=MAINTAINER)
        elif status == "awaiting_gate":
            epic = self.waiting_stage().epic
        elif status == "completed":
            for stage in epic.stages.order_by(Stage.stage_order):
                stage.reload().skip(by=MAINTAINER, reason=WHY)
        elif status == "cancelled":
            epic.cancel(by=MAINTAINER, reason=WHY)
        return epic

    def stages(self, status: str) -> Stage:
        if status == "awaiting_gate":
            return self.waiting_stage()
        first, second = self.running_epic().stages.order_by(Stage.stage_order)
        if status == "pending":
            return second
        if status == "approved":
            first.finish(by=MAINTAINER)
        elif status == "skipped":
            first.skip(by=MAINTAINER, reason=WHY)
        return first

    def gates(self, status: str, **columns: Any) -> Gate:
        gate = self.waiting_stage(columns, {"description": "a second look"}).gates.order_by(Gate.id).first()
        if status == "approved":
            gate.approve(by=MAINTAINER)
        elif status == "rejected":
            gate.reject(by=MAINTAINER, reason=WHY)
        elif status == "skipped":
            gate.skip(by=MAINTAINER, reason=WHY)
        return gate

    # ---- issues, pull requests -----------------------------------------------------------------

    @staticmethod
    def issue_columns() -> dict[str, Any]:
        return {"title": "An issue", "prompt": "Do it", "issue_type": "feature"}

    def new_issue(self, **columns: Any) -> Issue:
        return Issue.create(**{**self.issue_columns(), "repo_path": "/src", **columns})

    def agent(self, agent_type: str = "coder") -> Agent:
        return Agent.create(agent_type=agent_type)

    def start(self, issue: Issue, agent: Agent | None = None) -> Agent:
        """Bring an unassigned or queued issue to in_progress; returns the agent that works on it."""
        agent = agent or self.agent()
        issue.assign(agent, by=agent)
        issue.start(by=agent)
        return agent.reload()

    def finish(self, issue: Issue) -> Agent:
        """Bring an unassigned or queued issue to done; returns the agent that did it."""
        agent = self.start(issue)
        issue.complete(by=agent)
        return agent.reload()

    def issues(self, status: str) -> Issue:
        issue = self.new_issue()
        agent = self.agent()
        if status == "queued":
            issue.queue(by=MAINTAINER)
        elif status == "cancelled":
            issue.cancel(by=MAINTAINER, reason=WHY)
        elif status == "assigned":
            issue.assign(agent, by=agent)
        elif status != "unassigned":
            self.start(issue, agent)
            self._after_start(issue, agent, status)
        return issue

    def _after_start(self, issue: Issue, agent: Agent, status: str) -> None:
        if status == "done":
            issue.complete(by=agent)
        elif status == "blocked":
            issue.block(by=agent, reason=WHY)
        elif status in ("awaiting_review", "in_review"):
            issue.submit(by=agent)
            if status == "in_review":
                issue.review(by=MAINTAINER)

    def request_columns(self, **columns: Any) -> dict[str, Any]:
        return {"github_number": 7, "github_url": "https://example.org/pull/7", "branch": "topic", **columns}

    def pull_requests(self, status: str) -> PullRequest:
        born = "draft" if status == "draft" else "open"
        request = PullRequest.create(issue=self.issues("in_progress"), **self.request_columns(status=born))
        if status == "merged":
            request.merge(by=MAINTAINER)
        elif status == "closed":
            request.close(by=MAINTAINER)
        return request

    # ---- agents --------------------------------------------------------------------------------

    def agents(self, status: str) -> Agent:
        """An agent in a status; a busy one reviews an issue, so that nothing keeps it from finishing."""
        agent = self.agent("reviewer")
        if status in ("idle", "completed"):
            if status == "completed":
                agent.stop(by=MAINTAINER, reason=WHY)
            return agent
        agent.dispatch(self.issues("in_review"), by=MAINTAINER)
        if status == "starting":
            return agent
        agent.run(by=agent)
        if status == "waiting_for_input":
            agent.request_input(by=agent)
        elif status == "waiting_for_vote":
            self.new_proposal(agent)
            agent.await_vote(by=agent)
        elif status == "paused":
            agent.pause(by=agent, reason=WHY)
        elif status == "errored":
            agent.fail("it fell over", by=agent)
        return agent

    # ---- proposals -----------------------------------------------------------------------------

    def new_proposal(self, proposer: Agent | None = None, **columns: Any) -> Proposal:
        return Proposal.create(
            **{
                "proposal_type": "tech_stack_choice",
                "proposer": proposer or self.agent(),
                **TEXTS,
                "rationale": "It is simpler",
                "options": ["peewee", "raw sql"],
                "threshold": "single_approval",
                "required_voters": ["coder"],
                **columns,
            }
        )

    def proposals(self, status: str) -> Proposal:
        proposal = self.new_proposal()
        if status == "voting":
            proposal.open_voting(by=MAINTAINER)
        elif status == "rejected":
            proposal.force_reject(by=MAINTAINER, reason=WHY)
        elif status != "open":
            proposal.force_approve(by=MAINTAINER, reason=WHY)
            self._execute(proposal, status)
        return proposal

    def _execute(self, proposal: Proposal, status: str) -> None:
        if status == "vetoed":
            proposal.veto(by=MAINTAINER, reason=WHY)
        elif status != "approved":
            proposal.begin_execution(by=RUNNER)
            if status == "executed":
                proposal.finish_execution({"success": True}, by=RUNNER)
            elif status == "rolled_back":
                proposal.roll_back(by=MAINTAINER, reason=WHY)

    # ---- arguments -----------------------------------------------------------------------------

    def arguments(self, row: Any, trigger: str) -> dict[str, Any]:
        """What a trigger takes to be accepted on a row of this world, its actor included."""
        table = row._meta.table_name
        given: dict[str, Any] = {"by": MAINTAINER}
        if row.machine.triggers[trigger].needs_reason:
            given["reason"] = WHY
        if (table, trigger) == ("issues", "assign"):
            given["agent"] = self.agent()
        elif (table, trigger) == ("agents", "dispatch"):
            given["issue"] = self.issues("in_review")
        elif (table, trigger) == ("agents", "await_vote"):
            if row.status == "working":
                self.new_proposal(row)
        elif trigger in ("fail", "fail_execution"):
            given["error"] = "it fell over"
        elif trigger == "finish_execution":
            given["result"] = {"success": True}
        elif trigger == "auto_approve":
            given["by"] = System("checkpoint")
        elif table == "proposals" and trigger in ("approve", "reject"):
            given["by"] = SANGHA
        return given


def snapshot(row_id: UUID, model: Any) -> dict[str, Any]:
    """Every column of a row as it stands."""
    return dict(model.get_by_id(row_id).__data__)


LATER = timedelta(days=2)
