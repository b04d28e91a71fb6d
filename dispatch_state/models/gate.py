"""Gates, where people decide whether a stage may pass, and what they say there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self, Unpack
from uuid import UUID

from peewee import ModelSelect

from dispatch_state import json_values, values
from dispatch_state.actors import Actor, Human, login
from dispatch_state.errors import InvalidValue
from dispatch_state.ids import new_id
from dispatch_state.lifecycle.interface import NOW, Columns, Firing, Lock, session
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
    """A shape: null, "any", ["any"], or a list of different logins, any one of whom may decide."""
    if value in ("any", ["any"]):
        return
    if not isinstance(value, list) or not value:
        raise InvalidValue(f'{place}: takes None, "any", or a list of at least one login')
    names = [login(item, place) for item in value]
    values.refuse_repeats(names, place)
    if "any" in names:
        raise InvalidValue(f'{place}: "any" stands alone')


def approver(gate: Gate, firing: Firing) -> str | None:
    """A person among the gate's required_approvers."""
    if not isinstance(firing.by, Human):
        return f"it takes a person, not {firing.by.actor}"
    named = gate.named_approvers()
    if not named or firing.by.login in named:
        return None
    return f"{firing.by.login} is not among its required approvers: {values.listed(gate.required_approvers)}"


def stage_awaits(gate: Gate, firing: Firing) -> str | None:
    stage = gate.stage
    return None if stage.status == StageStatus.AWAITING_GATE else f"{stage} is {stage.status}, not awaiting_gate"


def choice_fits(gate: Gate, firing: Firing) -> str | None:
    choice = firing["choice"]
    if gate.options is None:
        return None if choice is None else "it has no options to choose from"
    if choice in gate.options:
        return None
    return f"it takes a choice among its options: {values.listed(gate.options)}"


def is_a_checkpoint(gate: Gate, firing: Firing) -> str | None:
    return None if gate.gate_type == GateType.CHECKPOINT else f"it is of type {gate.gate_type}, not checkpoint"


def its_time_has_come(gate: Gate, firing: Firing) -> str | None:
    if gate.auto_approve_at is None:
        return "it has no auto_approve_at"
    return None if firing.now >= gate.auto_approve_at else f"its time comes at {gate.auto_approve_at.isoformat()}"


class Gate(Stateful):
    """Where a person decides whether a stage may pass."""

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
        """Say yes; the last gate lets the stage through.

        Args:
            comment: kept in `gate_comments`.
            choice: one of the options, when it is a decision gate.
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
        """Say no; the stage goes back to work."""
        return Columns(rejection_reason=reason)

    @transition(
        GateStatus.REJECTED,
        to=GateStatus.PENDING,
        guards=(stage_awaits,),
        sets=("approved_by", "approved_at", "rejection_reason"),
    )
    def resubmit(self, *, by: Actor, reason: str = "") -> Columns:
        """Ask again after rework; follows when the stage is submitted."""
        return Columns(approved_by=None, approved_at=None, rejection_reason=None)

    @transition(
        *OPEN_GATE,
        to=GateStatus.SKIPPED,
        allowed=human,
        decision=DecisionType.HUMAN_OVERRIDE,
        locks=(Lock.NEXT_ISSUES,),
    )
    def skip(self, *, by: Actor, reason: str) -> Columns:
        """Take the gate out of the way; any person's word, approver or not."""
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
        """Open a checkpoint whose time has come; `store.tick()` fires it."""
        return self._passed(approved_by=by.signature, approved_at=NOW)

    def _passed(self, **own: Any) -> Columns:
        """Columns of a gate that holds no longer: an epic blocked at it is blocked at the next pending one."""
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
        firing.refusals += self._fixed_columns("a gate is born")

    def why_fixed(self, columns: tuple[str, ...]) -> list[str]:
        fixed = [name for name in columns if name in self.editable_until]
        return self._fixed_columns(f"{values.listed(fixed)} may change") if fixed else []

    def _fixed_columns(self, what: str) -> list[str]:
        stage = self.stage
        if stage.status in (StageStatus.PENDING, StageStatus.IN_PROGRESS):
            return []
        return [f"{what} only while the stage is pending or in_progress, and {stage} is {stage.status}"]

    def named_approvers(self) -> tuple[str, ...]:
        """The logins any one of whom may decide, as they are compared; none when any person may."""
        wanted = self.required_approvers
        if wanted in (None, "any", ["any"]):
            return ()
        return tuple(name.lower().removeprefix("@") for name in wanted)

    def comment(self, content: str, *, by: Actor) -> GateComment:
        """Say something at the gate, without deciding.

        Raises:
            InvalidValue: the content is blank, or `by` is no actor.
            RowNotFound: the gate is gone.
            GuardRefused: an acting agent is dead.
        """
        here = session()
        content = values.nonblank_text(content, "gate_comments.content")
        said: GateComment = here.work_on(
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
    """What somebody said at a gate."""

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
