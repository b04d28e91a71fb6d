"""Epics and their stages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self, Unpack
from uuid import UUID

from peewee import ModelSelect

from dispatch_state import json_values, values
from dispatch_state.actors import STORE, Actor
from dispatch_state.lifecycle.interface import NOW, Columns, Firing, Lock
from dispatch_state.lifecycle.triggers import transition
from dispatch_state.models.base import Stateful
from dispatch_state.models.guards import human
from dispatch_state.models.keys import ParentField, PointerField
from dispatch_state.storage.fields import (
    IntegerField,
    JsonField,
    StampField,
    TextField,
    WordField,
)
from dispatch_state.storage.statements import exists, one, rows, tuples
from dispatch_state.vocabulary import DecisionType, EpicStatus, GateStatus, GateType, StageStatus

if TYPE_CHECKING:
    from dispatch_state.models.columns import Approvers, EpicColumns, GateTerms, IssueContent, StageColumns, StagePlace
    from dispatch_state.models.decision import Decision
    from dispatch_state.models.gate import Gate
    from dispatch_state.models.issue import Issue

CLOSED_STAGE = (StageStatus.APPROVED, StageStatus.SKIPPED)
OPEN_GATE = (GateStatus.PENDING, GateStatus.REJECTED)


# ---- epics -----------------------------------------------------------------------------------------


def has_a_stage(epic: Epic, firing: Firing) -> str | None:
    return None if any_stage(epic.id) else "it has no stage; add one first"


def a_gate_is_waiting(epic: Epic, firing: Firing) -> str | None:
    stage = awaiting_stage(epic.id)
    return None if stage and first_pending_gate(stage.id) else "no stage of it waits at a pending gate"


def no_stage_waits(epic: Epic, firing: Firing) -> str | None:
    stage = awaiting_stage(epic.id)
    return f"{stage} waits at a gate" if stage else None


def every_stage_closed(epic: Epic, firing: Firing) -> str | None:
    stage = first_open_stage(epic.id)
    return f"{stage} is {stage.status}" if stage else None


def no_live_issue_in_epic(epic: Epic, firing: Firing) -> str | None:
    issue = first_live_issue_of_epic(epic.id)
    return f"{issue} is {issue.status}" if issue else None


class Epic(Stateful):
    """A piece of work in stages."""

    statuses = EpicStatus
    stamps = ("created_at", "updated_at")
    written_by = "Epic.create(), save(), its triggers and remove()"
    create_locks = ()
    remove_locks = (Lock.ROW, Lock.LIVE_ISSUES)

    github_id = IntegerField(null=True)
    github_url = TextField(null=True)
    title = TextField()
    description = TextField()
    acceptance_criteria = JsonField(json_values.list_of_text, null=True)
    repo_path = TextField(holds=values.indexed)
    repo_url = TextField(null=True)
    status: WordField[EpicStatus] = WordField(EpicStatus, default=EpicStatus.DRAFT)
    current_stage = PointerField("Stage", null=True, column_name="current_stage_id", backref="+")
    blocked_at_gate = PointerField("Gate", null=True, column_name="blocked_at_gate_id", backref="+")
    created_at = StampField()
    updated_at = StampField()
    completed_at = StampField(null=True)

    if TYPE_CHECKING:
        current_stage: Stage | None  # type: ignore[no-redef]
        blocked_at_gate: Gate | None  # type: ignore[no-redef]
        current_stage_id: UUID | None
        blocked_at_gate_id: UUID | None
        stages: ModelSelect[Stage]
        issues: ModelSelect[Issue]
        decisions: ModelSelect[Decision]

        @classmethod
        def create(cls, **columns: Unpack[EpicColumns]) -> Self: ...  # type: ignore[override]

    class Meta:
        table_name = "epics"

    @transition(EpicStatus.DRAFT, to=EpicStatus.READY, guards=(has_a_stage,))
    def mark_ready(self, *, by: Actor, reason: str = "") -> Columns:
        """Say that the epic is written."""
        return Columns()

    @transition(EpicStatus.READY, to=EpicStatus.IN_PROGRESS, locks=(Lock.NEXT_ISSUES,))
    def start(self, *, by: Actor, reason: str = "") -> Columns:
        """Begin; the first stage starts."""
        return Columns()

    @transition(
        EpicStatus.IN_PROGRESS, to=EpicStatus.AWAITING_GATE, guards=(a_gate_is_waiting,), sets=("blocked_at_gate",)
    )
    def reach_gate(self, *, by: Actor, reason: str = "") -> Columns:
        """Wait at the first pending gate of the stage that was submitted; follows from it."""
        stage = awaiting_stage(self.id)
        return Columns(blocked_at_gate=first_pending_gate(stage.id) if stage else None)

    @transition(
        EpicStatus.AWAITING_GATE,
        to=EpicStatus.IN_PROGRESS,
        guards=(no_stage_waits,),
        sets=("blocked_at_gate",),
        locks=(Lock.NEXT_ISSUES,),
    )
    def clear_gate(self, *, by: Actor, reason: str = "") -> Columns:
        """Go on after a gate: with the next stage, or with the rework of this one; follows from the gate."""
        return Columns(blocked_at_gate=None)

    @transition(
        EpicStatus.IN_PROGRESS,
        to=EpicStatus.COMPLETED,
        guards=(every_stage_closed, no_live_issue_in_epic),
        sets=("completed_at", "current_stage"),
    )
    def complete(self, *, by: Actor, reason: str = "") -> Columns:
        """Finish; follows when the last stage and the last issue are closed."""
        return Columns(completed_at=NOW, current_stage=None)

    @transition(
        *EpicStatus.live(),
        to=EpicStatus.CANCELLED,
        allowed=human,
        decision=DecisionType.HUMAN_OVERRIDE,
        sets=("current_stage", "blocked_at_gate"),
        locks=(Lock.LIVE_ISSUES, Lock.NEXT_ISSUES),
    )
    def cancel(self, *, by: Actor, reason: str) -> Columns:
        """Give the epic up, with every live issue, stage and gate in it; a person's word."""
        return Columns(current_stage=None, blocked_at_gate=None)

    def add_stage(
        self,
        name: str,
        description: str | None = None,
        *,
        by: Actor = STORE,
        reason: str = "",
        **columns: Unpack[StagePlace],
    ) -> Stage:
        """Add a stage after the present ones; arguments and errors as `Stage.create`."""
        return Stage.create(epic=self, name=name, description=description, by=by, reason=reason, **columns)

    def add_issue(self, *, by: Actor = STORE, reason: str = "", **columns: Unpack[IssueContent]) -> Issue:
        """Add an issue that belongs to no stage; arguments and errors as `Issue.create`."""
        issues: Any = Epic.issues
        issue: Issue = issues.rel_model.create(epic=self, by=by, reason=reason, **columns)
        return issue

    def context(self) -> dict[str, UUID | None]:
        return {"epic": self.id}

    def label(self) -> str:
        return self.title


# ---- stages ----------------------------------------------------------------------------------------


def its_epic_in_progress(stage: Stage, firing: Firing) -> str | None:
    epic = stage.epic
    return None if epic.status == EpicStatus.IN_PROGRESS else f"{epic} is {epic.status}, not in_progress"


def earlier_stages_closed(stage: Stage, firing: Firing) -> str | None:
    earlier = first_open_stage(stage.epic_id)
    if earlier is None or earlier.stage_order >= stage.stage_order:
        return None
    return f"{earlier}, which comes before it, is {earlier.status}"


def no_live_issue_in_stage(stage: Stage, firing: Firing) -> str | None:
    issue = first_live_issue_of_stage(stage.id)
    return f"{issue} is {issue.status}" if issue else None


def live_issues_only_with_leave(stage: Stage, firing: Firing) -> str | None:
    issue = None if firing["cancel_issues"] else first_live_issue_of_stage(stage.id)
    return f"{issue} is {issue.status}; skip(cancel_issues=True) cancels its live issues" if issue else None


def a_gate_is_open(stage: Stage, firing: Firing) -> str | None:
    return None if open_gates(stage.id) else "no gate of it is pending or rejected; finish() it"


def no_gate_is_open(stage: Stage, firing: Firing) -> str | None:
    gates = open_gates(stage.id)
    return f"{gates[0]} is {gates[0].status}" if gates else None


def a_gate_is_rejected(stage: Stage, firing: Firing) -> str | None:
    rejected = [gate for gate in open_gates(stage.id) if gate.status == GateStatus.REJECTED]
    return None if rejected else "no gate of it is rejected"


class Stage(Stateful):
    """One step of an epic, with its issues and the gates people pass it through."""

    statuses = StageStatus
    written_by = "Stage.create(), Epic.add_stage(), save(), its triggers and remove()"
    create_locks = (Lock.EPIC, Lock.NEXT_ISSUES)
    remove_locks = (Lock.ROW, Lock.LIVE_ISSUES)
    parents = ("epic",)
    terms = ("stage_order",)
    filled = ("stage_order",)

    epic = ParentField(Epic, backref="stages", column_name="epic_id", on_delete="CASCADE")
    name = TextField()
    description = TextField(null=True)
    stage_order = IntegerField(bits=32)
    status: WordField[StageStatus] = WordField(StageStatus, default=StageStatus.PENDING)
    created_at = StampField()
    started_at = StampField(null=True)
    completed_at = StampField(null=True)

    if TYPE_CHECKING:
        epic_id: UUID
        gates: ModelSelect[Gate]
        issues: ModelSelect[Issue]

        @classmethod
        def create(cls, **columns: Unpack[StageColumns]) -> Self: ...  # type: ignore[override]

    class Meta:
        table_name = "stages"

    @transition(
        StageStatus.PENDING,
        to=StageStatus.IN_PROGRESS,
        guards=(its_epic_in_progress, earlier_stages_closed),
        sets=("started_at",),
        locks=(Lock.NEXT_ISSUES,),
    )
    def start(self, *, by: Actor, reason: str = "") -> Columns:
        """Begin the stage; its unassigned issues are queued."""
        return Columns(started_at=NOW).on(self.epic, current_stage=self.id)

    @transition(StageStatus.IN_PROGRESS, to=StageStatus.AWAITING_GATE, guards=(no_live_issue_in_stage, a_gate_is_open))
    def submit(self, *, by: Actor, reason: str = "") -> Columns:
        """Hand the stage to its gates: every issue is closed and a gate is still open."""
        return Columns()

    @transition(
        StageStatus.IN_PROGRESS,
        to=StageStatus.APPROVED,
        guards=(no_live_issue_in_stage, no_gate_is_open),
        sets=("completed_at",),
        locks=(Lock.NEXT_ISSUES,),
    )
    def finish(self, *, by: Actor, reason: str = "") -> Columns:
        """Close a stage that no gate holds."""
        return Columns(completed_at=NOW)

    @transition(
        StageStatus.AWAITING_GATE,
        to=StageStatus.APPROVED,
        guards=(no_gate_is_open,),
        sets=("completed_at",),
        locks=(Lock.NEXT_ISSUES,),
    )
    def approve(self, *, by: Actor, reason: str = "") -> Columns:
        """Let the stage through; follows from its last gate."""
        return Columns(completed_at=NOW)

    @transition(
        StageStatus.AWAITING_GATE, to=StageStatus.IN_PROGRESS, guards=(a_gate_is_rejected,), locks=(Lock.NEXT_ISSUES,)
    )
    def rework(self, *, by: Actor, reason: str = "") -> Columns:
        """Go back to work on the stage; follows from a gate's rejection."""
        return Columns()

    @transition(
        *StageStatus.live(),
        to=StageStatus.SKIPPED,
        guards=(live_issues_only_with_leave,),
        allowed=human,
        decision=DecisionType.HUMAN_OVERRIDE,
        sets=("completed_at",),
        locks=(Lock.LIVE_ISSUES, Lock.NEXT_ISSUES),
    )
    def skip(self, *, cancel_issues: bool = False, by: Actor, reason: str) -> Columns:
        """Pass the stage over, with its open gates and, when asked to, its live issues; a person's word.

        Args:
            cancel_issues: whether live issues of the stage are cancelled; without it they forbid the skip.
        """
        return Columns(completed_at=NOW)

    def birth(self, firing: Firing) -> None:
        epic = self.epic
        taken = [order for order, _ in orders(epic.id)]
        passed = [order for order, status in orders(epic.id) if status != StageStatus.PENDING]
        if self.stage_order is None:
            self.stage_order = max(taken, default=-1) + 1
        elif self.stage_order in taken:
            firing.refusals.append(f"stage_order {self.stage_order} is taken in {epic}")
        if epic.status.final:
            firing.refusals.append(f"{epic} is {epic.status}")
        elif epic.status not in (EpicStatus.DRAFT, EpicStatus.READY) and self.stage_order <= max(passed, default=-1):
            firing.refusals.append(f"{epic} is {epic.status}: a stage is born above stage_order {max(passed)} only")

    def frozen(self, columns: tuple[str, ...]) -> list[str]:
        if "stage_order" not in columns:
            return []
        epic = self.epic
        reasons = [] if epic.status == EpicStatus.DRAFT else [f"stage_order is fixed once {epic} is {epic.status}"]
        if order_taken(epic.id, self.stage_order, self.id):
            reasons.append(f"stage_order {self.stage_order} is taken in {epic}")
        return reasons

    def add_gate(
        self,
        gate_type: GateType | str,
        description: str,
        required_approvers: Approvers | None = None,
        *,
        by: Actor = STORE,
        reason: str = "",
        **columns: Unpack[GateTerms],
    ) -> Gate:
        """Add a gate that the stage must pass; arguments and errors as `Gate.create`."""
        gates: Any = Stage.gates
        gate: Gate = gates.rel_model.create(
            stage=self,
            gate_type=gate_type,
            description=description,
            required_approvers=required_approvers,
            by=by,
            reason=reason,
            **columns,
        )
        return gate

    def add_issue(self, *, by: Actor = STORE, reason: str = "", **columns: Unpack[IssueContent]) -> Issue:
        """Add an issue to the stage and its epic; arguments and errors as `Issue.create`."""
        issues: Any = Stage.issues
        issue: Issue = issues.rel_model.create(stage=self, by=by, reason=reason, **columns)
        return issue

    def context(self) -> dict[str, UUID | None]:
        return {"stage": self.id, "epic": self.epic_id}

    def label(self) -> str:
        return self.name


# ---- what guards and rules ask ---------------------------------------------------------------------


@exists
def any_stage(epic: UUID) -> ModelSelect[Stage]:
    return Stage.select().where(Stage.epic == epic)


@one
def awaiting_stage(epic: UUID) -> ModelSelect[Stage]:
    return Stage.select().where(Stage.epic == epic, Stage.status == StageStatus.AWAITING_GATE)


@one
def running_stage(epic: UUID) -> ModelSelect[Stage]:
    running = (StageStatus.IN_PROGRESS, StageStatus.AWAITING_GATE)
    return Stage.select().where(Stage.epic == epic, Stage.status.in_(running))


@one
def first_open_stage(epic: UUID) -> ModelSelect[Stage]:
    return Stage.select().where(Stage.epic == epic, Stage.status.not_in(CLOSED_STAGE)).order_by(Stage.stage_order)


@one
def first_pending_stage(epic: UUID) -> ModelSelect[Stage]:
    pending = Stage.status == StageStatus.PENDING
    return Stage.select().where(Stage.epic == epic, pending).order_by(Stage.stage_order)


@rows
def live_stages(epic: UUID) -> ModelSelect[Stage]:
    live = Stage.status.in_(StageStatus.live())
    return Stage.select().where(Stage.epic == epic, live).order_by(Stage.stage_order)


@exists
def order_taken(epic: UUID, order: int, but: UUID) -> ModelSelect[Stage]:
    return Stage.select().where(Stage.epic == epic, Stage.stage_order == order, Stage.id != but)


@tuples
def orders(epic: UUID) -> ModelSelect[Stage]:
    return Stage.select(Stage.stage_order, Stage.status).where(Stage.epic == epic)


@one
def first_pending_gate(stage: UUID) -> ModelSelect[Gate]:
    return _gates(stage, (GateStatus.PENDING,))


@rows
def open_gates(stage: UUID) -> ModelSelect[Gate]:
    return _gates(stage, OPEN_GATE)


@one
def first_live_issue_of_epic(epic: UUID) -> ModelSelect[Issue]:
    return _live_issues(Epic, epic)


@one
def first_live_issue_of_stage(stage: UUID) -> ModelSelect[Issue]:
    return _live_issues(Stage, stage)


def _live_issues(parent: Any, key: UUID) -> ModelSelect[Issue]:
    issue = parent.issues.rel_model
    live = issue.status.in_(issue.statuses.live())
    return issue.select().where(parent.issues.field == key, live).order_by(issue.created_at, issue.id)  # type: ignore[no-any-return]


def _gates(stage: UUID, statuses: tuple[GateStatus, ...]) -> ModelSelect[Gate]:
    gates: Any = Stage.gates
    gate = gates.rel_model
    query = gate.select().where(gates.field == stage, gate.status.in_(statuses))
    return query.order_by(gate.created_at, gate.id)  # type: ignore[no-any-return]
