"""Rows in any status, brought there by legal moves, and arguments with which their triggers are accepted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from dispatch_state import (
    SANGHA,
    Actor,
    Agent,
    Epic,
    EpicStatus,
    Gate,
    Human,
    InvalidValue,
    Issue,
    Proposal,
    PullRequest,
    PullRequestStatus,
    Stage,
    StageStatus,
    System,
)
from dispatch_state.lifecycle.machine import Lifecycle
from dispatch_state.models.base import Stateful
from dispatch_state.models.tables import STATEFUL
from dispatch_state.testing.ways import WAYS

R = TypeVar("R", bound=Stateful)

MAINTAINER = Human("maintainer")
RUNNER = System("runner")
CHECKPOINT = System("checkpoint")
WHY = "because the test says so"
TEXTS = {"title": "A title", "description": "What it is about"}
ANYBODY = (None, "any", ["any"])
"""The `required_approvers` of gates that any person may decide."""

MODELS: dict[str, Any] = {model._meta.table_name: model for model in STATEFUL}


class World:
    """Makes rows of any table in any status, in the open store.

    Each method that makes a row takes columns for it; other rows that it needs are made with usual ones.
    """

    def at(self, table: str, status: str, **columns: Any) -> Any:
        """Make a row in a status.

        Args:
            table: the table of the row.
            status: the status to bring it to.
            columns: further columns of the row.

        Returns:
            The row, read afresh.

        Raises:
            AssertionError: the row ended up in another status.
            InvalidValue: no way leads to the status.
            KeyError: there is no such table or status.
        """
        return getattr(self, table)(status, **columns)

    def lead(self, row: R, status: str) -> R:
        """Fire what leads a new row to a status; raises `AssertionError` when it ends up in another one."""
        for step in steps_to(row, status):
            if step in row.machine.triggers:
                given = self.arguments(row, step)
                getattr(row, step)(**{**given, **_usual_arguments(row, step, given)})
            else:
                getattr(self, step)(row)
                row.reload()
        if row.reload().status != status:
            raise AssertionError(f"{row} was led to {row.status}, not to {status}; testing/ways.py, WAYS")
        return row

    # ---- epics, stages, gates ------------------------------------------------------------------

    def new_epic(self, **columns: Any) -> Epic:
        """An epic in draft, without stages."""
        return Epic.create(**{**TEXTS, "repo_path": "/src", **columns})

    def planned_epic(self, *gates: dict[str, Any], stages: int = 2, **columns: Any) -> Epic:
        """An epic in draft, with stages; the first one has these gates."""
        epic = self.new_epic(**columns)
        first = epic.add_stage("first")
        for gate in gates:
            first.add_gate(**{"gate_type": "approval", "description": "look", **gate})
        for number in range(1, stages):
            epic.add_stage(f"stage {number}")
        return epic

    def running_epic(self, *gates: dict[str, Any], stages: int = 2, **columns: Any) -> Epic:
        """An epic in progress; its first stage has these gates."""
        return self.lead(self.planned_epic(*gates, stages=stages, **columns), EpicStatus.IN_PROGRESS)

    def waiting_stage(self, *gates: dict[str, Any]) -> Stage:
        """A stage that waits at its gates; the issue in it is done."""
        return self.hand_in(self.running_epic(*(gates or ({},))))

    def hand_in(self, row: Epic | Stage) -> Stage:
        """Finish an issue in a stage, or in the first stage of an epic, which submits the stage; returns the stage."""
        stage: Stage = row.stages.order_by(Stage.stage_order).first() if isinstance(row, Epic) else row
        self.finish(stage.add_issue(**self.issue_columns()).reload())
        return stage.reload()

    def skip_stages(self, epic: Epic) -> None:
        """Skip all stages of an epic, which completes it."""
        for stage in epic.stages.order_by(Stage.stage_order):
            stage.reload().skip(by=MAINTAINER, reason=WHY)

    def start_epic(self, stage: Stage) -> None:
        """Start the epic of a stage, which starts its first stage."""
        self.lead(stage.epic, EpicStatus.IN_PROGRESS)

    def epics(self, status: str, **columns: Any) -> Epic:
        """An epic in a status; unless it is new, it has two stages, the first with a gate."""
        new = status in (EpicStatus.DRAFT, EpicStatus.READY)
        return self.lead(self.planned_epic(stages=1, **columns) if new else self.planned_epic({}, **columns), status)

    def stages(self, status: str, **columns: Any) -> Stage:
        """A stage in a status: the first one of its epic, or the second one when it is pending."""
        columns = {"name": "a stage", **columns}
        if status == StageStatus.PENDING:
            return self.lead(self.running_epic(stages=1).add_stage(**columns), status)
        epic = self.new_epic()
        stage = epic.add_stage(**columns)
        epic.add_stage("another")
        if status == StageStatus.AWAITING_GATE:
            stage.add_gate("approval", "look")
        return self.lead(stage, status)

    def gates(self, status: str, **columns: Any) -> Gate:
        """A gate in a status; its stage was handed in, and a second gate holds it."""
        gate: Gate = self.waiting_stage(columns, {"description": "a second look"}).gates.order_by(Gate.id).first()
        return self.lead(gate, status)

    # ---- issues, pull requests -----------------------------------------------------------------

    @staticmethod
    def issue_columns() -> dict[str, Any]:
        """The columns that an issue in a stage or an epic needs at least."""
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
        return self.lead(self.new_issue(**columns), status)

    def request_columns(self, **columns: Any) -> dict[str, Any]:
        """The columns that a pull request needs beside its issue."""
        return {"github_number": 7, "github_url": "https://example.org/pull/7", "branch": "topic", **columns}

    def pull_requests(self, status: str, **columns: Any) -> PullRequest:
        """A pull request in a status, for an issue that was in progress."""
        first = PullRequestStatus.DRAFT if status == PullRequestStatus.DRAFT else PullRequestStatus.OPEN
        columns = self.request_columns(**columns, status=first)
        return self.lead(PullRequest.create(issue=self.issues("in_progress"), **columns), status)

    # ---- agents, proposals ---------------------------------------------------------------------

    def agents(self, status: str, agent_type: str = "reviewer") -> Agent:
        """An agent in a status; a busy one reviews an issue, so that nothing keeps it from finishing."""
        return self.lead(self.agent(agent_type), status)

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
        return self.lead(self.new_proposal(**columns), status)

    # ---- arguments -----------------------------------------------------------------------------

    def arguments(self, row: Any, trigger: str) -> dict[str, Any]:
        """The arguments with which a trigger is accepted on a row of this world, its actor included."""
        table = row._meta.table_name
        given: dict[str, Any] = {"by": MAINTAINER}
        if row.machine.triggers[trigger].needs_reason:
            given["reason"] = WHY
        if (table, trigger) == ("issues", "assign"):
            given["agent"] = self.agent(row.agent_type or "coder")
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


def steps_to(row: Stateful, status: str) -> list[str]:
    """Return what leads a new row to a status: the entry in `WAYS`, or else the nearest entry and triggers after it.

    Args:
        row: a row that was just created.
        status: the status to bring it to.

    Returns:
        Triggers of the row and methods of `World`, in order.

    Raises:
        InvalidValue: no way leads to the status.
        KeyError: the row's lifecycle has no such status.
    """
    if status not in list(row.statuses):
        raise KeyError(status)
    entries = WAYS[row._meta.table_name]
    starts = {**{source: entry for source, entry in entries.items() if entry}, row.status: ""}
    ways = [
        (len(further), len(entry.split()), [*entry.split(), *further])
        for source, entry in starts.items()
        if (further := _shortest(row.machine, source, status)) is not None
    ]
    if not ways:
        raise InvalidValue(f"{row._meta.table_name}: no way leads from {row.status} to {status}")
    return min(ways)[-1]


def _shortest(machine: Lifecycle, source: str, status: str) -> list[str] | None:
    """Return the triggers of the shortest way between two statuses; None when there is no way."""
    ways: dict[str, list[str]] = {source: []}
    for here in (waiting := [source]):
        for trigger, begin, end in machine.transitions:
            if begin == here and end not in ways:
                ways[end] = [*ways[here], trigger]
                waiting.append(end)
    return ways.get(status)


def _usual_arguments(row: Stateful, trigger: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """How the usual arguments of a trigger differ from `World.arguments`: its actor, and its choice."""
    if isinstance(row, Gate) and trigger in ("approve", "reject"):
        choice = {"choice": row.options[0]} if row.options and trigger == "approve" else {}
        return {"by": entitled(row), **choice}
    by: Actor | None = None
    if isinstance(row, Issue) and trigger != "review":
        by = given.get("agent") or row.assigned_agent
    elif isinstance(row, Agent) and trigger not in ("dispatch", "stop"):
        by = row
    elif trigger in ("begin_execution", "finish_execution"):
        by = RUNNER
    return {} if by is None else {"by": by}


def entitled(gate: Gate) -> Human:
    """A person who may decide a gate."""
    wanted = gate.required_approvers
    return MAINTAINER if wanted in ANYBODY else Human(wanted[0].removeprefix("@"))
