"""Rows in any status, each brought there by legal moves, and the arguments with which a trigger is accepted."""

from __future__ import annotations

from typing import Any

from dispatch_state import (
    SANGHA,
    Agent,
    Epic,
    Gate,
    Human,
    InvalidValue,
    Issue,
    Proposal,
    PullRequest,
    Stage,
    System,
)
from dispatch_state.lifecycle.machine import Lifecycle
from dispatch_state.models.tables import STATEFUL

MAINTAINER = Human("maintainer")
RUNNER = System("runner")
CHECKPOINT = System("checkpoint")
WHY = "because the test says so"
TEXTS = {"title": "A title", "description": "What it is about"}
ANYBODY = (None, "any", ["any"])
"""What a gate's required approvers are when any person may decide."""

MODELS: dict[str, Any] = {model._meta.table_name: model for model in STATEFUL}


class World:
    """Makes rows of any kind in any status, in the open store. The columns given are those of the row asked for."""

    def at(self, table: str, status: str, **columns: Any) -> Any:
        """A row of a table in a status, read afresh."""
        row = getattr(self, table)(status, **columns).reload()
        for trigger in way(row.machine, row.status, status):  # where no method below leads
            getattr(row, trigger)(**self.arguments(row, trigger))
        return row.reload()

    # ---- epics, stages, gates ------------------------------------------------------------------

    def new_epic(self, **columns: Any) -> Epic:
        """An epic in draft, without stages."""
        return Epic.create(**{**TEXTS, "repo_path": "/src", **columns})

    def running_epic(self, *gates: dict[str, Any], stages: int = 2, **columns: Any) -> Epic:
        """An epic in progress, its first stage with these gates."""
        epic = self.new_epic(**columns)
        first = epic.add_stage("first")
        for gate in gates:
            first.add_gate(**{"gate_type": "approval", "description": "look", **gate})
        for number in range(1, stages):
            epic.add_stage(f"stage {number}")
        return self._begun(epic)

    def _begun(self, epic: Epic) -> Epic:
        epic.mark_ready(by=MAINTAINER)
        epic.start(by=MAINTAINER)
        return epic

    def waiting_stage(self, *gates: dict[str, Any]) -> Stage:
        """A stage that awaits its gates, the issue in it done."""
        return self._handed_in(self.running_epic(*(gates or ({},))))

    def _handed_in(self, epic: Epic) -> Stage:
        stage: Stage = epic.stages.order_by(Stage.stage_order).first()
        self.finish(stage.add_issue(**self.issue_columns()).reload())
        return stage.reload()

    def epics(self, status: str, **columns: Any) -> Epic:
        """An epic in a status."""
        if status in ("draft", "ready"):
            epic = self.new_epic(**columns)
            epic.add_stage("first")
            if status == "ready":
                epic.mark_ready(by=MAINTAINER)
            return epic
        epic = self.running_epic({}, **columns)
        if status == "awaiting_gate":
            self._handed_in(epic)
        elif status == "completed":
            for stage in epic.stages.order_by(Stage.stage_order):
                stage.reload().skip(by=MAINTAINER, reason=WHY)
        elif status == "cancelled":
            epic.cancel(by=MAINTAINER, reason=WHY)
        return epic

    def stages(self, status: str, **columns: Any) -> Stage:
        """A stage in a status: the first one of its epic, or, when pending, the second."""
        columns = {"name": "a stage", **columns}
        if status == "pending":
            return self.running_epic(stages=1).add_stage(**columns)
        epic = self.new_epic()
        stage = epic.add_stage(**columns)
        epic.add_stage("another")
        if status == "awaiting_gate":
            stage.add_gate("approval", "look")
            return self._handed_in(self._begun(epic))
        self._begun(epic)
        stage.reload()
        if status == "approved":
            stage.finish(by=MAINTAINER)
        elif status == "skipped":
            stage.skip(by=MAINTAINER, reason=WHY)
        return stage

    def gates(self, status: str, **columns: Any) -> Gate:
        """A gate in a status; its stage was handed in, and another gate holds it."""
        gate: Gate = self.waiting_stage(columns, {"description": "a second look"}).gates.order_by(Gate.id).first()
        if status == "approved":
            gate.approve(by=entitled(gate), choice=gate.options[0] if gate.options else None)
        elif status == "rejected":
            gate.reject(by=entitled(gate), reason=WHY)
        elif status == "skipped":
            gate.skip(by=MAINTAINER, reason=WHY)
        return gate

    # ---- issues, pull requests -----------------------------------------------------------------

    @staticmethod
    def issue_columns() -> dict[str, Any]:
        """What an issue in a stage or an epic takes at least."""
        return {"title": "An issue", "prompt": "Do it", "issue_type": "feature"}

    def new_issue(self, **columns: Any) -> Issue:
        """An unassigned issue, of no epic unless one is given."""
        return Issue.create(**{**self.issue_columns(), "repo_path": "/src", **columns})

    def agent(self, agent_type: str = "coder") -> Agent:
        """An idle agent."""
        return Agent.create(agent_type=agent_type)

    def start(self, issue: Issue, agent: Agent | None = None) -> Agent:
        """Bring an unassigned or queued issue to in_progress; returns the agent that works on it."""
        agent = agent or self.agent(issue.agent_type or "coder")
        issue.assign(agent, by=agent)
        issue.start(by=agent)
        return agent.reload()

    def finish(self, issue: Issue) -> Agent:
        """Bring an unassigned or queued issue to done; returns the agent that did it."""
        agent = self.start(issue)
        issue.complete(by=agent)
        return agent.reload()

    def issues(self, status: str, **columns: Any) -> Issue:
        """An issue in a status, of no epic unless one is given."""
        issue = self.new_issue(**columns)
        if status == "queued":
            issue.queue(by=MAINTAINER)
        elif status == "cancelled":
            issue.cancel(by=MAINTAINER, reason=WHY)
        elif status == "assigned":
            agent = self.agent(issue.agent_type or "coder")
            issue.assign(agent, by=agent)
        elif status != "unassigned":
            self._after_start(issue, self.start(issue), status)
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
        """What a pull request takes beside its issue."""
        return {"github_number": 7, "github_url": "https://example.org/pull/7", "branch": "topic", **columns}

    def pull_requests(self, status: str, **columns: Any) -> PullRequest:
        """A pull request in a status, for an issue that was in progress."""
        born = {"status": "draft" if status == "draft" else "open"}
        request = PullRequest.create(issue=self.issues("in_progress"), **self.request_columns(**columns, **born))
        if status == "merged":
            request.merge(by=MAINTAINER)
        elif status == "closed":
            request.close(by=MAINTAINER)
        return request

    # ---- agents --------------------------------------------------------------------------------

    def agents(self, status: str, agent_type: str = "reviewer") -> Agent:
        """An agent in a status; a busy one reviews an issue, so that nothing keeps it from finishing."""
        agent = self.agent(agent_type)
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
        """An open proposal, to be decided by one coder's approval unless the columns say otherwise."""
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

    def proposals(self, status: str, **columns: Any) -> Proposal:
        """A proposal in a status; a decided one was forced."""
        proposal = self.new_proposal(**columns)
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
            given["by"] = CHECKPOINT
        elif table == "proposals" and trigger in ("approve", "reject"):
            given["by"] = SANGHA
        return given


def entitled(gate: Gate) -> Human:
    """A person who may decide a gate."""
    wanted = gate.required_approvers
    return MAINTAINER if wanted in ANYBODY else Human(wanted[0].removeprefix("@"))


def way(machine: Lifecycle, source: str, dest: str) -> tuple[str, ...]:
    """The triggers of the shortest way between two statuses, those declared first where several are as short.

    Raises:
        InvalidValue: no way leads there.
    """
    ways: dict[str, tuple[str, ...]] = {source: ()}
    waiting = [source]
    while waiting and dest not in ways:
        here = waiting.pop(0)
        for trigger, begin, end in machine.transitions:
            if begin == here and end not in ways:
                ways[end] = (*ways[here], trigger)
                waiting.append(end)
    if dest not in ways:
        raise InvalidValue(f"{machine.entity}: no way leads from {source} to {dest}")
    return ways[dest]
