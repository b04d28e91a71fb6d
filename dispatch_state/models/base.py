"""The base of the models with a lifecycle: their machine, and how rows are created, changed and removed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Self
from uuid import UUID

from dispatch_state.actors import STORE, Actor
from dispatch_state.errors import InvalidValue
from dispatch_state.ids import new_id
from dispatch_state.lifecycle.interface import Firing
from dispatch_state.lifecycle.locks import Lock, Locks
from dispatch_state.lifecycle.machine import Lifecycle
from dispatch_state.lifecycle.session import session
from dispatch_state.lifecycle.triggers import Trigger
from dispatch_state.models.row import Row
from dispatch_state.storage.fields import IdField, IntegerField, StampField, WordField
from dispatch_state.values import listed, shown
from dispatch_state.vocabulary import Status


def _named(model: type[Row], only: Any) -> set[str]:
    """The names of the fields that `save(only=…)` lists; raises `InvalidValue` for anything else."""
    if not isinstance(only, list | tuple | set | frozenset):
        raise InvalidValue("save(only): takes a list of fields or their names")
    names: list[Any] = [getattr(field, "name", field) for field in only]
    if unknown := [name for name in names if not isinstance(name, str) or name not in model._meta.fields]:
        raise InvalidValue(f"save(only): {model.__name__} has no column {listed(map(shown, unknown[:5]))}")
    return set(names)


class Stateful(Row):
    """A row with a lifecycle: only triggers change its status, and every move is logged."""

    machine: ClassVar[Lifecycle]
    """Its statuses and transitions, with diagrams."""
    statuses: ClassVar[type[Status]]
    """Its statuses. A new row has the first one, unless the next attribute names others."""
    births: ClassVar[tuple[Status, ...]] = ()
    """The statuses that a new row may have, the usual one first, when there are several."""
    creation_stamps: ClassVar[tuple[str, ...]] = ("created_at",)
    """The columns that contain the moment of its creation."""
    written_elsewhere: ClassVar[Mapping[str, str]] = {}
    """Further columns that neither creation nor `save` may set, and what writes them."""
    parents: ClassVar[tuple[str, ...]] = ()
    """The keys that never change by `save`."""
    placed_by: ClassVar[str] = "create()"
    """What sets those keys, for messages."""
    editable_until: ClassVar[tuple[str, ...]] = ()
    """The columns that `save` may change for some time only; `why_fixed` says until when."""
    filled_at_creation: ClassVar[tuple[str, ...]] = ()
    """The columns that `on_create` fills in when they are left out."""
    create_locks: ClassVar[Locks] = ()
    """What its creation locks, besides the row."""
    remove_locks: ClassVar[Locks] = (Lock.ROW,)
    """What its removal locks."""
    written_by = "create(), save(), its triggers and remove()"
    removed_by = "remove()"

    id = IdField(primary_key=True, default=new_id)
    version = IntegerField(default=1)

    if TYPE_CHECKING:
        status: WordField[Any]

    @classmethod
    def validate_model(cls) -> None:
        """Build the machine from the declared triggers. Peewee calls this after it has created the class.

        Raises:
            TypeError: the declared lifecycle is not sound.
        """
        super().validate_model()
        if "statuses" in vars(cls):
            declared = {name: getattr(method, "trigger", None) for name, method in vars(cls).items()}
            triggers = {name: found for name, found in declared.items() if isinstance(found, Trigger)}
            first_statuses = cls.births or (next(iter(cls.statuses)),)
            cls.machine = Lifecycle(cls._meta.table_name, cls.statuses, triggers, first_statuses)

    @classmethod
    def create(cls, *, by: Actor = STORE, reason: str = "", **columns: Any) -> Self:
        """Insert a new row in its first status, and log its creation.

        Args:
            by: who creates it.
            reason: why, for the log.
            columns: its columns by name. A key takes a row or its id.

        Returns:
            The new row.

        Raises:
            InvalidValue: a column is unknown, missing or wrong, or creation may not set it.
            RowNotFound: a key names no row.
            GuardRefused: the row cannot be created in the present state of other rows, or `by` may not create it.
            StoreError: the store is not open, or the database failed. A subclass says which.
        """
        current = session()
        row = cls(**columns)
        current.insert(row, by, reason)
        return row

    def save(self, force_insert: bool = False, only: Any = None, *, by: Actor = STORE, reason: str = "") -> int:
        """Insert a new row, or write the changed columns of an existing one.

        Args:
            force_insert: whether to insert the row even if it was read from the database.
            only: the fields, or their names, to write. When None, all changed columns are written.
            by, reason: who creates a new row, and why. They have no effect for an existing row.

        Returns:
            How many rows were written: 1, or 0 when no column has changed.

        Raises:
            InvalidValue: a column is wrong, or `save` may not change it.
            RowNotFound: the row was removed, or a key names no row.
            GuardRefused: the column cannot change any more in the row's present state, or the row cannot be created.
            StoreError: the store is not open, or the database failed. A subclass says which.
        """
        if force_insert or self.is_new:
            session().insert(self, by, reason)
            return 1
        changed = self.unsaved()
        if only is not None:
            wanted = _named(type(self), only)
            changed = tuple(name for name in changed if name in wanted)
        if changed:
            session().save(self, changed)
        return int(bool(changed))

    def remove(self, *, by: Actor, reason: str) -> None:
        """Delete a final row, and the rows that its foreign keys delete with it. Each removal is logged.

        Args:
            by: a person or the system.
            reason: why; required.

        Raises:
            InvalidValue: an argument is wrong, or the object has unsaved changes.
            RowNotFound: the row was removed before.
            StaleRow: the row moved since it was read.
            IllegalTransition: the row is live.
            GuardRefused: `by` is neither a person nor the system, or a key without ON DELETE still refers to a row that
                would be deleted.
            StoreError: the store is not open, or the database failed. A subclass says which.
        """
        session().remove(self, by, reason)

    def may(self, trigger: str, *, by: Actor, **arguments: Any) -> bool:
        """Whether a trigger would be accepted now. The row is read from the database; no reason is needed.

        Args:
            trigger: the trigger's name.
            by: who would act.
            arguments: the trigger's arguments by name.

        Raises:
            InvalidValue: there is no such trigger, or an argument is wrong.
            RowNotFound: the row was removed.
            StoreError: the store is not open, or the database failed. A subclass says which.
        """
        return not self.why_not(trigger, by=by, **arguments)

    def why_not(self, trigger: str, *, by: Actor, **arguments: Any) -> list[str]:
        """Find out why a trigger would be refused now. The row is read from the database; no reason is needed.

        Args:
            trigger: the trigger's name.
            by: who would act.
            arguments: the trigger's arguments by name.

        Returns:
            Every reason, in the words of `GuardRefused`; empty when the trigger would be accepted.

        Raises:
            InvalidValue: there is no such trigger, or an argument is wrong.
            RowNotFound: the row was removed.
            StoreError: the store is not open, or the database failed. A subclass says which.
        """
        return session().refusals(self, trigger, by, arguments)

    def legal_triggers(self) -> tuple[str, ...]:
        """Return the triggers that start from this object's status, by name; reads memory only, and asks no guard."""
        return self.machine.legal(self.status)

    def diagram(self, form: str = "mermaid") -> str:
        """Return the lifecycle as a diagram with the status of this object highlighted; reads memory only.

        Args:
            form: "mermaid", or "dot", from which `dispatch_state.diagrams.render` makes a picture.

        Returns:
            The text of the diagram.

        Raises:
            InvalidValue: there is no such form.
        """
        if form not in ("mermaid", "dot"):
            raise InvalidValue(f"diagram(form): {shown(form)} is not one of mermaid, dot")
        return self.machine.to_mermaid(self.status) if form == "mermaid" else self.machine.to_dot(self.status)

    # ---- what each model defines for itself -------------------------------------------------------

    def check_columns(self) -> None:
        """Check that the columns of a new row fit each other.

        Raises:
            InvalidValue: they do not.
        """

    def on_create(self, firing: Firing) -> None:
        """Fill in the columns that a new row leaves out, and add to `firing.refusals` what forbids its creation.

        Args:
            firing: the creation.
        """

    def why_fixed(self, columns: tuple[str, ...]) -> list[str]:
        """Return why these columns cannot change any more in the row's present state.

        Args:
            columns: the names of the columns that would change.

        Returns:
            The reasons; empty when the columns may change.
        """
        return []

    def owner_id(self) -> UUID | None:
        """Return the id of the agent that owns the row, which may fire the triggers allowed to owners."""
        return None

    def decision_context(self) -> dict[str, UUID | None]:
        """Return the ids that a decision about this row contains: proposal, issue, epic, gate, stage, agent."""
        return {}

    def decision_details(self, firing: Firing) -> dict[str, Any]:
        """Return what a decision's outcome contains besides the action, the reason and the ids.

        Args:
            firing: the act.
        """
        return {}

    def label(self) -> str:
        """Return a few words by which people recognise the row."""
        return str(self)

    @classmethod
    def update(cls, data: Any = None, /, **columns: Any) -> Any:
        """Return Peewee's UPDATE query, for columns that no transition owns. It is neither checked nor logged.

        Args:
            data: the values by field.
            columns: the values by name.

        Raises:
            InvalidValue: a column may not be changed by it, or `data` is not a dict.
        """
        if data is not None and not isinstance(data, dict):
            raise InvalidValue(f"{cls.__name__}.update() takes a dict of columns")
        named = {getattr(key, "name", str(key)) for key in (*(data or ()), *columns)}
        ids = {field.object_id_name: field.name for field in cls._meta.refs}
        if guarded := {ids.get(name, name) for name in named} & (cls.protected_columns() | set(cls.editable_until)):
            raise InvalidValue(f"{cls.__name__}: update() refuses this: {cls.why_protected(guarded)}")
        return super(Row, cls).update(data, **columns)

    @classmethod
    @cache
    def moment_columns(cls) -> tuple[str, ...]:
        """The columns that say when something happened to the row. Deadlines are not among them."""
        return tuple(
            f.name for f in cls._meta.sorted_fields if isinstance(f, StampField) and f.name not in cls.editable_until
        )

    @classmethod
    @cache
    def set_at_creation(cls) -> frozenset[str]:
        """The columns that creation may set."""
        return frozenset(cls._meta.fields) - cls.protected_columns() | {"id", "status", *cls.parents}

    @classmethod
    @cache
    def protected_columns(cls) -> frozenset[str]:
        """The columns that `save` and `update` may never change."""
        return cls.machine.owned | {"id", "updated_at", *cls.creation_stamps, *cls.written_elsewhere, *cls.parents}

    @classmethod
    def why_protected(cls, columns: Iterable[str]) -> str:
        """Return what changes these protected columns, for messages.

        Args:
            columns: the names of the columns.
        """
        return "; ".join(f"{name} {cls._way_to(name)}" for name in sorted(columns))

    @classmethod
    def _way_to(cls, column: str) -> str:
        if column in ("status", "version"):
            return "moves by triggers only"
        if setters := [name for name, trigger in cls.machine.triggers.items() if column in trigger.owned]:
            return f"is set by its trigger{'s' if setters[1:] else ''} {listed(setters)} only"
        if column in cls.editable_until:
            return "is changed by save() only"
        way = cls.placed_by if column in cls.parents else cls.written_elsewhere.get(column)
        return f"is set by {way} only" if way else "is set by the store only"
