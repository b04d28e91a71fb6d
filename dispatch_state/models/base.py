"""What every row with a lifecycle has: its machine, and the ways to create, change and remove it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Self
from uuid import UUID

from dispatch_state.actors import STORE, Actor
from dispatch_state.errors import InvalidValue
from dispatch_state.ids import new_id
from dispatch_state.lifecycle.interface import Firing, Lock, Locks, session
from dispatch_state.lifecycle.machine import Lifecycle
from dispatch_state.lifecycle.triggers import Trigger
from dispatch_state.models.row import Row
from dispatch_state.storage.fields import IdField, IntegerField, StampField, WordField
from dispatch_state.values import listed, shown
from dispatch_state.vocabulary import Status


def _named(model: type[Row], only: Any) -> set[str]:
    """The names of the fields that `save(only=…)` lists; raises `InvalidValue` for what lists none."""
    if not isinstance(only, list | tuple | set | frozenset):
        raise InvalidValue("save(only): takes a list of fields or their names")
    names: list[Any] = [getattr(field, "name", field) for field in only]
    if unknown := [name for name in names if not isinstance(name, str) or name not in model._meta.fields]:
        raise InvalidValue(f"save(only): {model.__name__} has no column {listed(map(shown, unknown[:5]))}")
    return set(names)


class Stateful(Row):
    """A row with a lifecycle: its status moves only by triggers, and every move is logged."""

    machine: ClassVar[Lifecycle]
    """Its statuses and transitions, with diagrams."""
    statuses: ClassVar[type[Status]]
    """Its statuses, the one it is born in first."""
    births: ClassVar[tuple[Status, ...]]
    """The statuses it may be born in, when there are several."""
    creation_stamps: ClassVar[tuple[str, ...]] = ("created_at",)
    """The columns that hold the moment of its birth."""
    written_elsewhere: ClassVar[Mapping[str, str]] = {}
    """Further columns that neither creation nor `save` may set, and what writes them."""
    parents: ClassVar[tuple[str, ...]] = ()
    """The keys that never change by `save`."""
    placed_by: ClassVar[str] = "create()"
    """What sets those keys, as messages name it."""
    editable_until: ClassVar[tuple[str, ...]] = ()
    """The columns that `save` may change for a time only; `frozen` says until when."""
    filled_at_creation: ClassVar[tuple[str, ...]] = ()
    """The columns that `birth` fills in when they are left open."""
    create_locks: ClassVar[Locks] = ()
    """What its creation locks."""
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
        """Build the machine from the declared triggers; Peewee calls this when it has made the class."""
        super().validate_model()
        if "statuses" in vars(cls):
            declared = {name: getattr(method, "trigger", None) for name, method in vars(cls).items()}
            triggers = {name: found for name, found in declared.items() if isinstance(found, Trigger)}
            births = vars(cls).get("births") or (next(iter(cls.statuses)),)
            cls.machine = Lifecycle(cls._meta.table_name, cls.statuses, triggers, births)

    @classmethod
    def create(cls, *, by: Actor = STORE, reason: str = "", **columns: Any) -> Self:
        """Insert a new row, in its first status.

        Args:
            by: who makes it.
            reason: why, for the log.
            columns: its columns by name; a key takes a row or its id.

        Raises:
            InvalidValue: a column is unknown, missing, wrong, or not set at birth.
            RowNotFound: a key names nothing.
            GuardRefused: what the other rows hold forbids this birth.
        """
        here = session()
        row = cls(**columns)
        here.insert(row, by, reason)
        return row

    def save(self, force_insert: bool = False, only: Any = None, *, by: Actor = STORE, reason: str = "") -> int:
        """Insert a new row, or write the changed columns of one that exists; returns how many rows were written.

        Args:
            force_insert: insert, also a row that was read from the database.
            only: the fields or names to write; all that changed when None.
            by, reason: who gives birth to a new row and why; of no use for one that exists.

        Raises:
            InvalidValue: a column is wrong, or is none that `save` may change.
            RowNotFound: the row is gone, or a key names nothing.
            GuardRefused: the column cannot change any more where the row stands.
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
        """Delete a row that is final, with what the schema's keys take along; each that goes is logged.

        Args:
            by: a person or the system.
            reason: why; required.

        Raises:
            IllegalTransition: the row is live.
            GuardRefused: an agent asks, or a key without ON DELETE still names a row that would go.
        """
        session().remove(self, by, reason)

    def may(self, trigger: str, *, by: Actor, **arguments: Any) -> bool:
        """Whether the trigger would be accepted on the row as it stands in the database.

        Raises:
            InvalidValue: there is no such trigger, or an argument is wrong.
            RowNotFound: the row is gone.
        """
        return not self.why_not(trigger, by=by, **arguments)

    def why_not(self, trigger: str, *, by: Actor, **arguments: Any) -> list[str]:
        """Why the trigger would be refused on the row as it stands in the database; empty when it would not.

        Raises:
            InvalidValue: there is no such trigger, or an argument is wrong.
            RowNotFound: the row is gone.
        """
        return session().refusals(self, trigger, by, arguments)

    def legal_triggers(self) -> tuple[str, ...]:
        """The triggers that start from this object's status; reads memory only and asks no guard."""
        return self.machine.legal(self.status)

    def diagram(self, form: str = "mermaid") -> str:
        """Its lifecycle with the status of this object highlighted; reads memory only.

        Args:
            form: "mermaid", or "dot", which `dispatch_state.diagrams.render` makes a picture of.

        Raises:
            InvalidValue: there is no such form.
        """
        if form not in ("mermaid", "dot"):
            raise InvalidValue(f"diagram(form): {shown(form)} is not one of mermaid, dot")
        return self.machine.to_mermaid(self.status) if form == "mermaid" else self.machine.to_dot(self.status)

    # ---- what each model says of itself ----------------------------------------------------------

    def check_columns(self) -> None:
        """Raise `InvalidValue` when the columns of a new_row row do not fit each other."""

    def on_create(self, firing: Firing) -> None:
        """Fill in what a new_row row leaves open, and add to `firing.refusals` what forbids the birth."""

    def why_fixed(self, columns: tuple[str, ...]) -> list[str]:
        """Why these columns cannot change any more, where the row stands."""
        return []

    def owner_id(self) -> UUID | None:
        """The agent whose word counts as the owner's."""
        return None

    def decision_context(self) -> dict[str, UUID | None]:
        """The ids a decision about this row names: proposal, issue, epic, gate, stage, agent."""
        return {}

    def decision_details(self, firing: Firing) -> dict[str, Any]:
        """What a decision's outcome says beyond the action, the reason and the ids."""
        return {}

    def label(self) -> str:
        """A few words people know the row by."""
        return str(self)

    @classmethod
    def update(cls, data: Any = None, /, **columns: Any) -> Any:
        """Peewee's UPDATE, for columns that no transition owns; neither checked nor logged.

        Raises:
            InvalidValue: a column is guarded.
        """
        if data is not None and not isinstance(data, dict):
            raise InvalidValue(f"{cls.__name__}.update() takes a dict of columns")
        named = {getattr(key, "name", str(key)) for key in (*(data or ()), *columns)}
        ids = {field.object_id_name: field.name for field in cls._meta.refs}
        if guarded := {ids.get(name, name) for name in named} & (cls.protected_columns() | set(cls.editable_until)):
            raise InvalidValue(f"{cls.__name__}: not by update(): {cls.why_protected(guarded)}")
        return super(Row, cls).update(data, **columns)

    @classmethod
    @cache
    def moment_columns(cls) -> tuple[str, ...]:
        """The columns that say when something happened to the row; deadlines are none."""
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
        """What changes these guarded columns instead of whoever tried, as messages say it."""
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
