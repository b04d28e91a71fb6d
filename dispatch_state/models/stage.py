"""Stages: the parts of an epic, one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self, Unpack
from uuid import UUID

from peewee import ModelSelect

from dispatch_state.actors import STORE, Actor
from dispatch_state.lifecycle.interface import NOW, Columns, Firing
from dispatch_state.lifecycle.locks import Lock
from dispatch_state.lifecycle.triggers import transition
from dispatch_state.models.base import Stateful
from dispatch_state.models.epic import Epic
from dispatch_state.models.guards import human
from dispatch_state.models.keys import ParentField
from dispatch_state.models.queries import (
    first_live_issue_of_stage,
    first_open_stage,
    open_gates,
    stage_order_taken,
    stage_orders,
)
from dispatch_state.models.row import MODELS
from dispatch_state.storage.fields import IntegerField, StampField, TextField, WordField
from dispatch_state.vocabulary import DecisionType, EpicStatus, GateStatus, GateType, StageStatus

if TYPE_CHECKING:
    from dispatch_state.models.columns import Approvers, GateTerms, IssueContent, StageColumns
    from dispatch_state.models.gate import Gate
    from dispatch_state.models.issue import Issue


def its_epic_in_progress(stage: Stage, firing: Firing) -> str | None:
    """The stage's epic is in_progress."""
    epic = stage.epic
    return None if epic.status == EpicStatus.IN_PROGRESS else f"{epic} is {epic.status}, not in_progress"


def earlier_stages_closed(stage: Stage, firing: Firing) -> str | None:
    """Every earlier stage is approved or skipped."""
    earlier = first_open_stage(stage.epic_id)
    if earlier is None or earlier.stage_order >= stage.stage_order:
        return None
    return f"{earlier}, which comes before it, is {earlier.status}"


def no_live_issue_in_stage(stage: Stage, firing: Firing) -> str | None:
    """Every issue of the stage is done or cancelled."""
    issue = first_live_issue_of_stage(stage.id)
    return f"{issue} is {issue.status}" if issue else None


def live_issues_only_with_leave(stage: Stage, firing: Firing) -> str | None:
    """The stage has no live issue, or `cancel_issues` was given."""
    issue = None if firing["cancel_issues"] else first_live_issue_of_stage(stage.id)
    return f"{issue} is {issue.status}; skip(cancel_issues=True) cancels its live issues" if issue else None


def a_gate_is_open(stage: Stage, firing: Firing) -> str | None:
    """A gate of the stage is pending or rejected."""
    return None if open_gates(stage.id) else "no gate of it is pending or rejected; finish() it"


def no_gate_is_open(stage: Stage, firing: Firing) -> str | None:
    """No gate of the stage is pending or rejected."""
    gates = open_gates(stage.id)
    return f"{gates[0]} is {gates[0].status}" if gates else None


def a_gate_is_rejected(stage: Stage, firing: Firing) -> str | None:
    """A gate of the stage is rejected."""
    rejected = [gate for gate in open_gates(stage.id) if gate.status == GateStatus.REJECTED]
    return None if rejected else "no gate of it is rejected"


class Stage(Stateful):
    """One stage of an epic, with its issues and its gates."""

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
        """Submit the stage to its gates; every issue is closed, and a gate is still open."""
        return Columns()

    @transition(
        StageStatus.IN_PROGRESS,
        to=StageStatus.APPROVED,
        guards=(no_live_issue_in_stage, no_gate_is_open),
        sets=("completed_at",),
        locks=(Lock.NEXT_ISSUES,),
    )
    def finish(self, *, by: Actor, reason: str = "") -> Columns:
        """Close a stage that has no open gate."""
        return Columns(completed_at=NOW)

    @transition(
        StageStatus.AWAITING_GATE,
        to=StageStatus.APPROVED,
        guards=(no_gate_is_open,),
        sets=("completed_at",),
        locks=(Lock.NEXT_ISSUES,),
    )
    def approve(self, *, by: Actor, reason: str = "") -> Columns:
        """Close the stage after its last gate; this follows from that gate."""
        return Columns(completed_at=NOW)

    @transition(
        StageStatus.AWAITING_GATE, to=StageStatus.IN_PROGRESS, guards=(a_gate_is_rejected,), locks=(Lock.NEXT_ISSUES,)
    )
    def rework(self, *, by: Actor, reason: str = "") -> Columns:
        """Go back to work on the stage; this follows from the rejection of a gate."""
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
        """Skip the stage and its open gates; only a person may do this.

        Args:
            cancel_issues: whether to cancel the live issues of the stage. When False, a live issue forbids the skip.
        """
        return Columns(completed_at=NOW)

    def on_create(self, firing: Firing) -> None:
        epic = self.epic
        taken = [order for order, _ in stage_orders(epic.id)]
        passed = [order for order, status in stage_orders(epic.id) if status != StageStatus.PENDING]
        if self.stage_order is None:
            self.stage_order = max(taken, default=-1) + 1
        elif self.stage_order in taken:
            firing.refusals.append(f"stage_order {self.stage_order} is taken in {epic}")
        if epic.status.final:
            firing.refusals.append(f"{epic} is {epic.status}")
        elif epic.status not in (EpicStatus.DRAFT, EpicStatus.READY) and self.stage_order <= max(passed, default=-1):
            firing.refusals.append(f"{epic} is {epic.status}: a new stage needs a stage_order above {max(passed)}")

    def why_fixed(self, columns: tuple[str, ...]) -> list[str]:
        if "stage_order" not in columns:
            return []
        epic = self.epic
        reasons = [] if epic.status == EpicStatus.DRAFT else [f"stage_order is fixed once {epic} is {epic.status}"]
        if stage_order_taken(epic.id, self.stage_order, self.id):
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
        """Add a gate that the stage must pass.

        Args:
            gate_type: approval, review, decision or checkpoint.
            description: what is to be decided.
            required_approvers: the logins any one of whom may decide. Any person may when it is None or "any".
            by: who creates it.
            reason: why, for the log.
            columns: further columns by name: `id`, `options` of a decision gate, `auto_approve_at` of a checkpoint.

        Returns:
            The new gate.

        Raises:
            InvalidValue: a column is wrong, or creation may not set it.
            RowNotFound: the stage was removed.
            GuardRefused: the stage is neither pending nor in_progress.
            StoreError: the store is not open, or the database failed. A subclass says which.
        """
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
        """Add an issue to the stage and its epic. In a stage that is in_progress it is queued.

        Args:
            by: who creates it.
            reason: why, for the log.
            columns: the columns of the issue by name.

        Returns:
            The new issue.

        Raises:
            InvalidValue: a column is missing or wrong, or creation may not set it.
            RowNotFound: the stage was removed.
            GuardRefused: the stage is awaiting_gate, approved or skipped, or the epic is final.
            StoreError: the store is not open, or the database failed. A subclass says which.
        """
        issue: Issue = MODELS["issues"].create(stage=self, by=by, reason=reason, **columns)
        return issue

    def decision_context(self) -> dict[str, UUID | None]:
        return {"stage": self.id, "epic": self.epic_id}

    def label(self) -> str:
        return self.name
