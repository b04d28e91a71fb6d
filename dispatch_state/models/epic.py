"""Epics, their stages, the gates of those, and what people say at a gate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from peewee import ModelSelect

from dispatch_state import values
from dispatch_state.actors import STORE, Actor, Human, login
from dispatch_state.errors import InvalidValue
from dispatch_state.fields import (
    IdField,
    IntegerField,
    JsonField,
    StampField,
    TextField,
    WordField,
)
from dispatch_state.machine import NOW, Columns, Firing, door, transition
from dispatch_state.models.base import ParentField, PointerField, Row, Stateful
from dispatch_state.models.guards import checkpoint, human
from dispatch_state.statements import one, rows, some, tuples
from dispatch_state.vocabulary import DecisionType, EpicStatus, GateStatus, GateType, StageStatus

if TYPE_CHECKING:
    from dispatch_state.models.issue import Issue
    from dispatch_state.models.ledger import Decision

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

    github_id = IntegerField(null=True)
    github_url = TextField(null=True)
    title = TextField()
    description = TextField()
    acceptance_criteria = JsonField(values.list_of_text, null=True)
    repo_path = TextField()
    repo_url = TextField(null=True)
    status = WordField(EpicStatus, default=EpicStatus.DRAFT)
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

    class Meta:
        table_name = "epics"

    @transition(EpicStatus.DRAFT, to=EpicStatus.READY, guards=(has_a_stage,))
    def mark_ready(self, *, by: Actor, reason: str = "") -> Columns:
        """Say that the epic is written."""
        return Columns()

    @transition(EpicStatus.READY, to=EpicStatus.IN_PROGRESS)
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
        EpicStatus.AWAITING_GATE, to=EpicStatus.IN_PROGRESS, guards=(no_stage_waits,), sets=("blocked_at_gate",)
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
        word=human,
        decision=DecisionType.HUMAN_OVERRIDE,
        sets=("current_stage", "blocked_at_gate"),
    )
    def cancel(self, *, by: Actor, reason: str) -> Columns:
        """Give the epic up, with every live issue, stage and gate in it; a person's word."""
        return Columns(current_stage=None, blocked_at_gate=None)

    def add_stage(
        self, name: str, description: str | None = None, *, by: Actor = STORE, reason: str = "", **columns: Any
    ) -> Stage:
        """Add a stage after the present ones; arguments and errors as `Stage.create`."""
        return Stage.create(epic=self, name=name, description=description, by=by, reason=reason, **columns)

    def add_issue(self, *, by: Actor = STORE, reason: str = "", **columns: Any) -> Issue:
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
    parents = ("epic",)
    terms = ("stage_order",)
    filled = ("stage_order",)

    epic = ParentField(Epic, backref="stages", column_name="epic_id", on_delete="CASCADE")
    name = TextField()
    description = TextField(null=True)
    stage_order = IntegerField(bits=32)
    status = WordField(StageStatus, default=StageStatus.PENDING)
    created_at = StampField()
    started_at = StampField(null=True)
    completed_at = StampField(null=True)

    if TYPE_CHECKING:
        epic_id: UUID
        gates: ModelSelect[Gate]
        issues: ModelSelect[Issue]

    class Meta:
        table_name = "stages"

    @transition(
        StageStatus.PENDING,
        to=StageStatus.IN_PROGRESS,
        guards=(its_epic_in_progress, earlier_stages_closed),
        sets=("started_at",),
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
    )
    def finish(self, *, by: Actor, reason: str = "") -> Columns:
        """Close a stage that no gate holds."""
        return Columns(completed_at=NOW)

    @transition(StageStatus.AWAITING_GATE, to=StageStatus.APPROVED, guards=(no_gate_is_open,), sets=("completed_at",))
    def approve(self, *, by: Actor, reason: str = "") -> Columns:
        """Let the stage through; follows from its last gate."""
        return Columns(completed_at=NOW)

    @transition(StageStatus.AWAITING_GATE, to=StageStatus.IN_PROGRESS, guards=(a_gate_is_rejected,))
    def rework(self, *, by: Actor, reason: str = "") -> Columns:
        """Go back to work on the stage; follows from a gate's rejection."""
        return Columns()

    @transition(
        *StageStatus.live(),
        to=StageStatus.SKIPPED,
        guards=(live_issues_only_with_leave,),
        word=human,
        decision=DecisionType.HUMAN_OVERRIDE,
        sets=("completed_at",),
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
        required_approvers: Any = None,
        *,
        by: Actor = STORE,
        reason: str = "",
        **columns: Any,
    ) -> Gate:
        """Add a gate that the stage must pass; arguments and errors as `Gate.create`."""
        return Gate.create(
            stage=self,
            gate_type=gate_type,
            description=description,
            required_approvers=required_approvers,
            by=by,
            reason=reason,
            **columns,
        )

    def add_issue(self, *, by: Actor = STORE, reason: str = "", **columns: Any) -> Issue:
        """Add an issue to the stage and its epic; arguments and errors as `Issue.create`."""
        issues: Any = Stage.issues
        issue: Issue = issues.rel_model.create(stage=self, by=by, reason=reason, **columns)
        return issue

    def context(self) -> dict[str, UUID | None]:
        return {"stage": self.id, "epic": self.epic_id}

    def label(self) -> str:
        return self.name


# ---- gates -----------------------------------------------------------------------------------------


def approvers(value: object, place: str) -> None:
    """A shape: null, "any", ["any"], or a list of different logins, any one of whom may decide."""
    if value in ("any", ["any"]):
        return
    if not isinstance(value, list) or not value:
        raise InvalidValue(f'{place}: takes None, "any", or a list of at least one login')
    names = [login(item.removeprefix("@") if isinstance(item, str) else item, place) for item in value]
    values.refuse_repeats(names, place)
    if "any" in names:
        raise InvalidValue(f'{place}: "any" stands alone')


def approver(gate: Gate, firing: Firing) -> str | None:
    """A person among the gate's required_approvers."""
    if not isinstance(firing.by, Human):
        return f"it takes a person, not {firing.by.actor}"
    wanted = gate.required_approvers
    if wanted in (None, "any", ["any"]) or firing.by.login in (name.lower().removeprefix("@") for name in wanted):
        return None
    return f"{firing.by.login} is not among its required approvers: {values.listed(wanted)}"


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
    parents = ("stage",)
    terms = ("required_approvers", "gate_type", "options", "auto_approve_at")

    stage = ParentField(Stage, backref="gates", column_name="stage_id", on_delete="CASCADE")
    gate_type = WordField(GateType)
    description = TextField()
    required_approvers = JsonField(approvers, null=True)
    status = WordField(GateStatus, default=GateStatus.PENDING)
    approved_by = TextField(null=True)
    rejection_reason = TextField(null=True)
    created_at = StampField()
    approved_at = StampField(null=True)
    options = JsonField(values.list_of_text, null=True)
    chosen_option = TextField(null=True)
    auto_approve_at = StampField(null=True)

    if TYPE_CHECKING:
        stage_id: UUID
        comments: ModelSelect[GateComment]

    class Meta:
        table_name = "gates"

    @transition(
        GateStatus.PENDING,
        to=GateStatus.APPROVED,
        guards=(stage_awaits, choice_fits),
        word=approver,
        decision=DecisionType.GATE_APPROVED,
        sets=("approved_by", "approved_at", "chosen_option"),
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
        word=approver,
        decision=DecisionType.GATE_REJECTED,
        sets=("rejection_reason",),
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

    @transition(*OPEN_GATE, to=GateStatus.SKIPPED, word=human, decision=DecisionType.HUMAN_OVERRIDE)
    def skip(self, *, by: Actor, reason: str) -> Columns:
        """Take the gate out of the way; any person's word, approver or not."""
        return self._passed()

    @transition(
        GateStatus.PENDING,
        to=GateStatus.APPROVED,
        guards=(is_a_checkpoint, stage_awaits, its_time_has_come),
        word=checkpoint,
        decision=DecisionType.GATE_APPROVED,
        sets=("approved_by", "approved_at"),
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

    def whole(self) -> None:
        place = "gates.options"
        if self.gate_type != GateType.DECISION:
            if self.options is not None:
                raise InvalidValue(f"{place}: only a decision gate has options")
        elif len(self.options or ()) < 2:
            raise InvalidValue(f"{place}: a decision gate takes at least two")
        else:
            values.names(self.options, place)
        if self.auto_approve_at is not None and self.gate_type != GateType.CHECKPOINT:
            raise InvalidValue("gates.auto_approve_at: only a checkpoint has one")

    def birth(self, firing: Firing) -> None:
        firing.refusals += self._closed_terms("a gate is born")

    def frozen(self, columns: tuple[str, ...]) -> list[str]:
        fixed = [name for name in columns if name in self.terms]
        return self._closed_terms(f"{values.listed(fixed)} may change") if fixed else []

    def _closed_terms(self, what: str) -> list[str]:
        stage = self.stage
        if stage.status in (StageStatus.PENDING, StageStatus.IN_PROGRESS):
            return []
        return [f"{what} only while the stage is pending or in_progress, and {stage} is {stage.status}"]

    def comment(self, content: str, *, by: Actor) -> GateComment:
        """Say something at the gate, without deciding.

        Raises:
            InvalidValue: the content is blank, or `by` is no actor.
            RowNotFound: the gate is gone.
            GuardRefused: an acting agent is dead.
        """
        here = door()
        content = values.words(content, "gate_comments.content")
        said: GateComment = here.turn(
            self,
            lambda turn, gate: turn.insert(GateComment, gate=gate.id, author=by.signature, content=content),
            reach="comment",
            by=by,
        )
        return said

    def verdict_details(self, firing: Firing) -> dict[str, Any]:
        choice = firing.arguments.get("choice")
        return {} if choice is None else {"chosen_option": choice}

    def context(self) -> dict[str, UUID | None]:
        return {"gate": self.id, "stage": self.stage_id, "epic": self.stage.epic_id}

    def label(self) -> str:
        return self.description


class GateComment(Row):
    """What somebody said at a gate."""

    written_by = "Gate.comment() and Gate.approve(comment=…)"

    id = IdField(primary_key=True, default=values.new_id)
    gate = ParentField(Gate, backref="comments", column_name="gate_id", on_delete="CASCADE")
    author = TextField()
    content = TextField()
    created_at = StampField()

    if TYPE_CHECKING:
        gate_id: UUID

    class Meta:
        table_name = "gate_comments"


# ---- what guards and rules ask ---------------------------------------------------------------------


@some
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


@some
def order_taken(epic: UUID, order: int, but: UUID) -> ModelSelect[Stage]:
    return Stage.select().where(Stage.epic == epic, Stage.stage_order == order, Stage.id != but)


@tuples
def orders(epic: UUID) -> ModelSelect[Stage]:
    return Stage.select(Stage.stage_order, Stage.status).where(Stage.epic == epic)


@one
def first_pending_gate(stage: UUID) -> ModelSelect[Gate]:
    pending = Gate.status == GateStatus.PENDING
    return Gate.select().where(Gate.stage == stage, pending).order_by(Gate.created_at, Gate.id)


@one
def next_pending_gate(stage: UUID, but: UUID) -> ModelSelect[Gate]:
    pending = Gate.status == GateStatus.PENDING
    return Gate.select().where(Gate.stage == stage, pending, Gate.id != but).order_by(Gate.created_at, Gate.id)


@rows
def open_gates(stage: UUID) -> ModelSelect[Gate]:
    return Gate.select().where(Gate.stage == stage, Gate.status.in_(OPEN_GATE)).order_by(Gate.created_at, Gate.id)


@rows
def open_gates_of_epic(epic: UUID) -> ModelSelect[Gate]:
    query = Gate.select(*Gate._meta.sorted_fields).join(Stage)
    return query.where(Stage.epic == epic, Gate.status.in_(OPEN_GATE)).order_by(Gate.created_at, Gate.id)


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
