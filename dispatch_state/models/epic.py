"""Epics: work in stages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self, Unpack
from uuid import UUID

from peewee import ModelSelect

from dispatch_state import json_values, values
from dispatch_state.actors import STORE, Actor
from dispatch_state.lifecycle.interface import NOW, Columns, Firing
from dispatch_state.lifecycle.locks import Lock
from dispatch_state.lifecycle.triggers import transition
from dispatch_state.models.base import Stateful
from dispatch_state.models.guards import human
from dispatch_state.models.keys import PointerField
from dispatch_state.models.queries import (
    any_stage,
    awaiting_stage,
    first_live_issue_of_epic,
    first_open_stage,
    first_pending_gate,
)
from dispatch_state.models.row import MODELS
from dispatch_state.storage.fields import IntegerField, JsonField, StampField, TextField, WordField
from dispatch_state.vocabulary import DecisionType, EpicStatus

if TYPE_CHECKING:
    from dispatch_state.models.columns import EpicColumns, IssueContent, StagePlace
    from dispatch_state.models.decision import Decision
    from dispatch_state.models.gate import Gate
    from dispatch_state.models.issue import Issue
    from dispatch_state.models.stage import Stage


def has_a_stage(epic: Epic, firing: Firing) -> str | None:
    """The epic has a stage."""
    return None if any_stage(epic.id) else "it has no stage; add one first"


def a_gate_is_waiting(epic: Epic, firing: Firing) -> str | None:
    """A stage of the epic waits at a pending gate."""
    stage = awaiting_stage(epic.id)
    return None if stage and first_pending_gate(stage.id) else "no stage of it waits at a pending gate"


def no_stage_waits(epic: Epic, firing: Firing) -> str | None:
    """No stage of the epic waits at a gate."""
    stage = awaiting_stage(epic.id)
    return f"{stage} waits at a gate" if stage else None


def every_stage_closed(epic: Epic, firing: Firing) -> str | None:
    """Every stage of the epic is approved or skipped."""
    stage = first_open_stage(epic.id)
    return f"{stage} is {stage.status}" if stage else None


def no_live_issue_in_epic(epic: Epic, firing: Firing) -> str | None:
    """Every issue of the epic is done or cancelled."""
    issue = first_live_issue_of_epic(epic.id)
    return f"{issue} is {issue.status}" if issue else None


class Epic(Stateful):
    """A piece of work in stages, which run one after the other."""

    statuses = EpicStatus
    creation_stamps = ("created_at", "updated_at")
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
        """Declare that the plan of the epic is complete."""
        return Columns()

    @transition(EpicStatus.READY, to=EpicStatus.IN_PROGRESS, locks=(Lock.NEXT_ISSUES,))
    def start(self, *, by: Actor, reason: str = "") -> Columns:
        """Begin the work; the first stage starts."""
        return Columns()

    @transition(
        EpicStatus.IN_PROGRESS, to=EpicStatus.AWAITING_GATE, guards=(a_gate_is_waiting,), sets=("blocked_at_gate",)
    )
    def reach_gate(self, *, by: Actor, reason: str = "") -> Columns:
        """Wait at the first pending gate of the submitted stage; this follows from its submission."""
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
        """Go on after a gate, with the next stage or with rework of this one; this follows from the gate."""
        return Columns(blocked_at_gate=None)

    @transition(
        EpicStatus.IN_PROGRESS,
        to=EpicStatus.COMPLETED,
        guards=(every_stage_closed, no_live_issue_in_epic),
        sets=("completed_at", "current_stage"),
    )
    def complete(self, *, by: Actor, reason: str = "") -> Columns:
        """Finish the epic; this follows when the last stage and the last issue are closed."""
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
        """Cancel the epic and every live issue, stage and gate in it; only a person may do this."""
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
        """Add a stage to the epic.

        Args:
            name: its name.
            description: its description.
            by: who creates it.
            reason: why, for the log.
            columns: further columns by name: `id`, and `stage_order`, which is after the present stages by default.

        Returns:
            The new stage.

        Raises:
            InvalidValue: a column is wrong, or creation may not set it.
            RowNotFound: the epic was removed.
            GuardRefused: the epic is final, or the stage order is taken or too low.
            StoreError: the store is not open, or the database failed. A subclass says which.
        """
        stage: Stage = MODELS["stages"].create(
            epic=self, name=name, description=description, by=by, reason=reason, **columns
        )
        return stage

    def add_issue(self, *, by: Actor = STORE, reason: str = "", **columns: Unpack[IssueContent]) -> Issue:
        """Add an issue to the epic, outside of its stages.

        Args:
            by: who creates it.
            reason: why, for the log.
            columns: the columns of the issue by name.

        Returns:
            The new issue.

        Raises:
            InvalidValue: a column is missing or wrong, or creation may not set it.
            RowNotFound: the epic was removed.
            GuardRefused: the epic is final.
            StoreError: the store is not open, or the database failed. A subclass says which.
        """
        issue: Issue = MODELS["issues"].create(epic=self, by=by, reason=reason, **columns)
        return issue

    def decision_context(self) -> dict[str, UUID | None]:
        return {"epic": self.id}

    def label(self) -> str:
        return self.title
