"""Gates, at which people decide whether a stage may pass, and the comments on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self, Unpack
from uuid import UUID

from peewee import ModelSelect

from dispatch_state import json_values, values
from dispatch_state.actors import Actor, Human, login
from dispatch_state.errors import InvalidValue
from dispatch_state.ids import new_id
from dispatch_state.lifecycle.interface import NOW, Columns, Firing
from dispatch_state.lifecycle.locks import Lock
from dispatch_state.lifecycle.session import session
from dispatch_state.lifecycle.triggers import transition
from dispatch_state.models.base import Stateful
from dispatch_state.models.columns import GateColumns
from dispatch_state.models.guards import checkpoint, human
from dispatch_state.models.keys import ParentField
from dispatch_state.models.queries import OPEN_GATE, next_pending_gate
from dispatch_state.models.row import Row
from dispatch_state.models.stage import Stage
from dispatch_state.storage.fields import IdField, JsonField, StampField, TextField, WordField
from dispatch_state.vocabulary import DecisionType, GateStatus, GateType, StageStatus


def approvers(value: object, place: str) -> None:
    """A shape: null, "any", ["any"], or a list of different logins, any one of whom may decide.

    Args:
        value: the value to check.
        place: the table and the column, for the message.

    Raises:
        InvalidValue: it is anything else.
    """
    if value in ("any", ["any"]):
        return
    if not isinstance(value, list) or not value:
        raise InvalidValue(f'{place}: takes None, "any", or a list of at least one login')
    names = [login(item, place) for item in value]
    values.refuse_repeats(names, place)
    if "any" in names:
        raise InvalidValue(f'{place}: "any" cannot be combined with logins')


def approver(gate: Gate, firing: Firing) -> str | None:
    """A person among the gate's required_approvers; any person when it names none."""
    if not isinstance(firing.by, Human):
        return f"it takes a person, not {firing.by.actor}"
    named = gate.named_approvers()
    if not named or firing.by.login in named:
        return None
    return f"{firing.by.login} is not among its required approvers: {values.listed(gate.required_approvers)}"


def stage_awaits(gate: Gate, firing: Firing) -> str | None:
    """The gate's stage is awaiting_gate."""
    stage = gate.stage
    return None if stage.status == StageStatus.AWAITING_GATE else f"{stage} is {stage.status}, not awaiting_gate"


def choice_fits(gate: Gate, firing: Firing) -> str | None:
    """The choice is one of the gate's options, or there are no options and no choice."""
    choice = firing["choice"]
    if gate.options is None:
        return None if choice is None else "it has no options to choose from"
    if choice in gate.options:
        return None
    return f"it takes a choice among its options: {values.listed(gate.options)}"


def is_a_checkpoint(gate: Gate, firing: Firing) -> str | None:
    """The gate is of type checkpoint."""
    return None if gate.gate_type == GateType.CHECKPOINT else f"it is of type {gate.gate_type}, not checkpoint"


def its_time_has_come(gate: Gate, firing: Firing) -> str | None:
    """The gate's auto_approve_at has passed."""
    if gate.auto_approve_at is None:
        return "it has no auto_approve_at"
    return None if firing.now >= gate.auto_approve_at else f"its time comes at {gate.auto_approve_at.isoformat()}"


class Gate(Stateful):
    """A point at which a person decides whether a stage may pass."""

    statuses = GateStatus
    written_by = "Gate.create(), Stage.add_gate(), save(), its triggers and remove()"
    create_locks = (Lock.EPIC,)
    parents = ("stage",)
    editable_until = ("required_approvers", "gate_type", "options", "auto_approve_at")

    stage = ParentField(Stage, backref="gates", column_name="stage_id", on_delete="CASCADE")
    gate_type = WordField(GateType)
    description = TextField()
    required_approvers = JsonField(approvers, null=True)
    status: WordField[GateStatus] = WordField(GateStatus, default=GateStatus.PENDING)
    approved_by = TextField(null=True)
    rejection_reason = TextField(null=True)
    created_at = StampField()
    approved_at = StampField(null=True)
    options = JsonField(json_values.list_of_text, null=True)
    chosen_option = TextField(null=True)
    auto_approve_at = StampField(null=True)

    if TYPE_CHECKING:
        stage_id: UUID
        comments: ModelSelect[GateComment]

        @classmethod
        def create(cls, **columns: Unpack[GateColumns]) -> Self: ...  # type: ignore[override]

    class Meta:
        table_name = "gates"

    @transition(
        GateStatus.PENDING,
        to=GateStatus.APPROVED,
        guards=(stage_awaits, choice_fits),
        allowed=approver,
        decision=DecisionType.GATE_APPROVED,
        sets=("approved_by", "approved_at", "chosen_option"),
        locks=(Lock.NEXT_ISSUES,),
    )
    def approve(self, comment: str | None = None, choice: str | None = None, *, by: Actor, reason: str = "") -> Columns:
        """Approve the gate; the stage passes when no other gate of it is open.

        Args:
            comment: text for `gate_comments`.
            choice: one of the options, for a decision gate.
        """
        columns = self._passed(approved_by=by.signature, approved_at=NOW, chosen_option=choice)
        if comment is not None:
            columns.record(GateComment, gate=self.id, author=by.signature, content=comment)
        return columns

    @transition(
        GateStatus.PENDING,
        to=GateStatus.REJECTED,
        guards=(stage_awaits,),
        allowed=approver,
        decision=DecisionType.GATE_REJECTED,
        sets=("rejection_reason",),
        locks=(Lock.NEXT_ISSUES,),
    )
    def reject(self, *, by: Actor, reason: str) -> Columns:
        """Reject the gate; the stage goes back to work."""
        return Columns(rejection_reason=reason)

    @transition(
        GateStatus.REJECTED,
        to=GateStatus.PENDING,
        guards=(stage_awaits,),
        sets=("approved_by", "approved_at", "rejection_reason"),
    )
    def resubmit(self, *, by: Actor, reason: str = "") -> Columns:
        """Ask again after rework; this follows when the stage is submitted."""
        return Columns(approved_by=None, approved_at=None, rejection_reason=None)

    @transition(
        *OPEN_GATE,
        to=GateStatus.SKIPPED,
        allowed=human,
        decision=DecisionType.HUMAN_OVERRIDE,
        locks=(Lock.NEXT_ISSUES,),
    )
    def skip(self, *, by: Actor, reason: str) -> Columns:
        """Skip the gate; any person may do this, approver or not."""
        return self._passed()

    @transition(
        GateStatus.PENDING,
        to=GateStatus.APPROVED,
        guards=(is_a_checkpoint, stage_awaits, its_time_has_come),
        allowed=checkpoint,
        decision=DecisionType.GATE_APPROVED,
        sets=("approved_by", "approved_at"),
        locks=(Lock.NEXT_ISSUES,),
    )
    def auto_approve(self, *, by: Actor, reason: str = "") -> Columns:
        """Approve a checkpoint whose time has come; `store.tick()` fires this."""
        return self._passed(approved_by=by.signature, approved_at=NOW)

    def _passed(self, **own: Any) -> Columns:
        """The columns of a passed gate; an epic that was blocked at it is now blocked at the next pending gate."""
        columns, epic = Columns(**own), self.stage.epic
        if epic.blocked_at_gate_id == self.id and (other := next_pending_gate(self.stage_id, self.id)):
            columns.on(epic, blocked_at_gate=other.id)
        return columns

    def check_columns(self) -> None:
        place = "gates.options"
        if self.gate_type != GateType.DECISION:
            if self.options is not None:
                raise InvalidValue(f"{place}: only a decision gate has options")
        elif len(self.options or ()) < 2:
            raise InvalidValue(f"{place}: a decision gate takes at least two")
        else:
            json_values.option_names(self.options, place)
        if self.auto_approve_at is not None and self.gate_type != GateType.CHECKPOINT:
            raise InvalidValue("gates.auto_approve_at: only a checkpoint has one")

    def on_create(self, firing: Firing) -> None:
        firing.refusals += self._fixed_columns("a gate can be created")

    def why_fixed(self, columns: tuple[str, ...]) -> list[str]:
        fixed = [name for name in columns if name in self.editable_until]
        return self._fixed_columns(f"{values.listed(fixed)} may change") if fixed else []

    def _fixed_columns(self, what: str) -> list[str]:
        stage = self.stage
        if stage.status in (StageStatus.PENDING, StageStatus.IN_PROGRESS):
            return []
        return [f"{what} only while the stage is pending or in_progress, and {stage} is {stage.status}"]

    def named_approvers(self) -> tuple[str, ...]:
        """Return the logins any one of whom may decide, in lower case; empty when any person may."""
        wanted = self.required_approvers
        if wanted in (None, "any", ["any"]):
            return ()
        return tuple(name.lower().removeprefix("@") for name in wanted)

    def comment(self, content: str, *, by: Actor) -> GateComment:
        """Add a comment to the gate, without a decision.

        Args:
            content: the text; not blank.
            by: who writes it.

        Returns:
            The new comment.

        Raises:
            InvalidValue: the content is blank, or `by` is not an actor.
            RowNotFound: the gate was removed.
            GuardRefused: the acting agent is errored, completed or not in this store.
            StoreError: the store is not open, or the database failed. A subclass says which.
        """
        current = session()
        content = values.nonblank_text(content, "gate_comments.content")
        said: GateComment = current.work_on(
            self,
            "comment",
            lambda unit, gate: unit.insert(GateComment, gate=gate.id, author=by.signature, content=content),
            locks=(),
            by=by,
        )
        return said

    def decision_details(self, firing: Firing) -> dict[str, Any]:
        choice = firing.arguments.get("choice")
        return {} if choice is None else {"chosen_option": choice}

    def decision_context(self) -> dict[str, UUID | None]:
        return {"gate": self.id, "stage": self.stage_id, "epic": self.stage.epic_id}

    def label(self) -> str:
        return self.description


class GateComment(Row):
    """A comment on a gate."""

    written_by = "Gate.comment() and Gate.approve(comment=…)"

    id = IdField(primary_key=True, default=new_id)
    gate = ParentField(Gate, backref="comments", column_name="gate_id", on_delete="CASCADE")
    author = TextField()
    content = TextField()
    created_at = StampField()

    if TYPE_CHECKING:
        gate_id: UUID

    class Meta:
        table_name = "gate_comments"
