"""Stages: the steps of an epic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self, Unpack
from uuid import UUID

from peewee import ModelSelect

from dispatch_state.actors import STORE, Actor
from dispatch_state.lifecycle.interface import NOW, Columns, Firing, Lock
from dispatch_state.lifecycle.triggers import transition
from dispatch_state.models.base import Stateful
from dispatch_state.models.epic import Epic
from dispatch_state.models.guards import human
from dispatch_state.models.keys import ParentField
from dispatch_state.models.queries import first_live_issue_of_stage, first_open_stage, open_gates, order_taken, orders
from dispatch_state.models.row import MODELS
from dispatch_state.storage.fields import IntegerField, StampField, TextField, WordField
from dispatch_state.vocabulary import DecisionType, EpicStatus, GateStatus, GateType, StageStatus

if TYPE_CHECKING:
    from dispatch_state.models.columns import Approvers, GateTerms, IssueContent, StageColumns
    from dispatch_state.models.gate import Gate
    from dispatch_state.models.issue import Issue


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
    editable_until = ("stage_order",)
    filled_at_creation = ("stage_order",)

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

    def on_create(self, firing: Firing) -> None:
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

    def why_fixed(self, columns: tuple[str, ...]) -> list[str]:
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
        gate: Gate = MODELS["gates"].create(
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
        issue: Issue = MODELS["issues"].create(stage=self, by=by, reason=reason, **columns)
        return issue

    def decision_context(self) -> dict[str, UUID | None]:
        return {"stage": self.id, "epic": self.epic_id}

    def label(self) -> str:
        return self.name
