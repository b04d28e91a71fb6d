"""What every row has: checked columns, one door for each way to write, and, with a lifecycle, its machine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Self
from uuid import UUID

import peewee

from dispatch_state.actors import STORE, Actor
from dispatch_state.errors import InvalidValue, RowNotFound
from dispatch_state.ids import new_id
from dispatch_state.lifecycle.interface import Firing, Lock, Locks, session
from dispatch_state.lifecycle.machine import Lifecycle
from dispatch_state.lifecycle.triggers import Trigger
from dispatch_state.models.keys import present, short
from dispatch_state.storage.current import DATABASE
from dispatch_state.storage.fields import IdField, IntegerField, StampField, WordField, fingerprint
from dispatch_state.values import closest, listed, shown
from dispatch_state.vocabulary import Status


def _shown(row: Row) -> str:
    stands = [str(row.__data__[name]) for name in ("status", "version") if name in row.__data__]
    return f"<{' '.join([str(row), *stands])}>"


def _copied(value: Any) -> Any:
    """The same value, its dicts, lists and sets new ones."""
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    return (
        [_copied(item) for item in value]
        if isinstance(value, list)
        else set(value)
        if isinstance(value, set)
        else value
    )


class Row(peewee.Model):
    """A row of any table: a Peewee model, queried with everything Peewee has, written only by its own door."""

    written_by: ClassVar[str]
    """What writes rows of this model, as messages name it."""
    removed_by: ClassVar[str] = ""
    """What removes them, where something does."""
    _fingerprints: dict[str, str] | None = None
    """The fingerprints of lists and dicts that this object has handed out, by column."""

    if TYPE_CHECKING:
        _dirty: set[str]
        DoesNotExist: ClassVar[type[Exception]]

    class Meta:
        database = DATABASE
        only_save_dirty = True

    def __init__(self, **columns: Any) -> None:
        stored = columns.pop("__no_default__", False)
        super().__init__(__no_default__=stored)
        self.is_new = not stored
        for name, value in columns.items():
            if not stored and name not in self._meta.combined and name not in _ids(type(self)):
                raise InvalidValue(
                    f"{type(self).__name__} has no column {shown(name)}{closest(name, self._meta.combined)}"
                )
            setattr(self, name, value)

    @classmethod
    def get_by_id(cls, pk: Any) -> Self:
        """The row of that id, through a kept statement.

        Raises:
            InvalidValue: the id is none.
            RowNotFound: there is no such row.
        """
        return session().read(lambda: present(cls, pk))  # type: ignore[no-any-return]

    @classmethod
    def validate_model(cls) -> None:
        """Make the model's `DoesNotExist` one of our errors too; Peewee calls this when it has made the class."""
        name = f"{cls.__name__}DoesNotExist"
        where = {"__module__": cls.__module__, "__qualname__": f"{cls.__qualname__}.DoesNotExist"}
        cls.DoesNotExist = type(name, (RowNotFound, cls.DoesNotExist), where)  # found there when it is unpickled
        cls.__repr__ = _shown  # type: ignore[assignment]  # Peewee gives each class one of its own

    def __init_subclass__(cls, **options: Any) -> None:
        """Refuse a subclass of a model that has a table, before Peewee puts it in that model's place."""
        super().__init_subclass__(**options)
        for base in cls.__mro__[1:]:
            if issubclass(base, Row) and base.__module__ != __name__:  # Row and Stateful are made to be subclassed
                raise InvalidValue(
                    f"{cls.__name__}: {base.__name__} cannot be subclassed, because its rules and its triggers know "
                    f"{base.__name__} only. Keep data of your own in a table of your own, with a key to the row, such "
                    "as peewee.ForeignKeyField(Issue), and put methods into functions that take the row"
                )

    def __copy__(self) -> Self:
        """Another object of the same row, which changes for itself; rows that its keys name are shared."""
        twin = type(self).__new__(type(self))
        vars(twin).update({name: _copied(value) for name, value in vars(self).items()})
        return twin

    def __str__(self) -> str:
        return f"{type(self).__name__} {short(self._pk)}"

    @property
    def _pk(self) -> Any:
        key: Any = self._meta.primary_key
        return self.__data__.get(key.name)

    def unsaved(self) -> tuple[str, ...]:
        """The columns changed in memory and not written, lists and dicts changed in place among them."""
        for name, was in (self._fingerprints or {}).items():
            if fingerprint(self.__data__.get(name)) != was:
                self._dirty.add(name)
        return tuple(f.name for f in self._meta.sorted_fields if f.name in self._dirty) if self._dirty else ()

    def take(self, data: dict[str, Any]) -> None:
        """Hold these columns as read from the database; unsaved changes to others stay."""
        dirty = self._dirty - data.keys() if self._dirty else self._dirty
        held = {**self.__data__, **data}
        # in one step: an exception of a signal may come at any line
        self.__dict__.update(__data__=held, __rel__={}, _fingerprints=None, _dirty=dirty, is_new=False)

    def reload(self) -> Self:
        """Read this row afresh, in place; unsaved changes are dropped. Returns the row.

        Raises:
            RowNotFound: it is not in the store any more.
        """
        session().reload(self)
        return self

    # ---- Peewee's own ways to write, each of which names the door --------------------------------

    @classmethod
    def _refuse(cls, what: str, instead: str = "") -> NoReturn:
        use = instead or cls.written_by
        raise InvalidValue(f"{cls.__name__}.{what} would pass by the record of what happened; use {use}")

    @classmethod
    def create(cls, **columns: Any) -> Self:
        cls._refuse("create()")

    def save(self, force_insert: bool = False, only: Any = None) -> int:
        self._refuse("save()")

    def delete_instance(self, recursive: bool = False, delete_nullable: bool = False) -> int:
        self._refuse("delete_instance()", self.removed_by)

    @classmethod
    def insert(cls, data: Any = None, /, **columns: Any) -> NoReturn:
        cls._refuse("insert()")

    @classmethod
    def insert_many(cls, rows: Any, fields: Any = None) -> NoReturn:
        cls._refuse("insert_many()")

    @classmethod
    def insert_from(cls, query: Any, fields: Any) -> NoReturn:
        cls._refuse("insert_from()")

    @classmethod
    def replace(cls, data: Any = None, /, **columns: Any) -> NoReturn:
        cls._refuse("replace()")

    @classmethod
    def replace_many(cls, rows: Any, fields: Any = None) -> NoReturn:
        cls._refuse("replace_many()")

    @classmethod
    def bulk_create(cls, model_list: Any, batch_size: Any = None) -> NoReturn:
        cls._refuse("bulk_create()")

    @classmethod
    def bulk_update(cls, model_list: Any, fields: Any, batch_size: Any = None) -> NoReturn:
        cls._refuse("bulk_update()")

    @classmethod
    def set_by_id(cls, key: Any, value: Any) -> NoReturn:
        cls._refuse("set_by_id()")

    @classmethod
    def delete_by_id(cls, pk: Any) -> NoReturn:
        cls._refuse("delete_by_id()", cls.removed_by)

    @classmethod
    def delete(cls) -> NoReturn:
        cls._refuse("delete()", cls.removed_by)

    @classmethod
    def truncate_table(cls, **options: Any) -> NoReturn:
        cls._refuse("truncate_table()", cls.removed_by)

    @classmethod
    def update(cls, data: Any = None, /, **columns: Any) -> Any:
        cls._refuse("update()")


def _named(model: type[Row], only: Any) -> set[str]:
    """The names of the fields that `save(only=…)` lists; raises `InvalidValue` for what lists none."""
    if not isinstance(only, list | tuple | set | frozenset):
        raise InvalidValue("save(only): takes a list of fields or their names")
    names: list[Any] = [getattr(field, "name", field) for field in only]
    if unknown := [name for name in names if not isinstance(name, str) or name not in model._meta.fields]:
        raise InvalidValue(f"save(only): {model.__name__} has no column {listed(map(shown, unknown[:5]))}")
    return set(names)


def a_saved(value: object, place: str, *models: type[Row]) -> None:
    """Raise `InvalidValue` unless `value` is a row of one of these models that was saved, its id known."""
    if isinstance(value, models) and not value.is_new and isinstance(value._pk, UUID):
        return
    wanted = " or ".join(model.__name__ for model in models)
    raise InvalidValue(f"{place}: takes a saved {wanted} row, not a value of type {type(value).__name__}")


def _ids(model: type[Row]) -> set[str]:
    return {field.object_id_name for field in model._meta.refs}


class Stateful(Row):
    """A row with a lifecycle: its status moves only by triggers, and every move is logged."""

    machine: ClassVar[Lifecycle]
    """Its statuses and transitions, with diagrams."""
    statuses: ClassVar[type[Status]]
    """Its statuses, the one it is born in first."""
    births: ClassVar[tuple[Status, ...]]
    """The statuses it may be born in, when there are several."""
    stamps: ClassVar[tuple[str, ...]] = ("created_at",)
    """The columns that hold the moment of its birth."""
    kept: ClassVar[Mapping[str, str]] = {}
    """Further columns that neither creation nor `save` may set, and what writes them."""
    parents: ClassVar[tuple[str, ...]] = ()
    """The keys that never change by `save`."""
    placed_by: ClassVar[str] = "create()"
    """What sets those keys, as messages name it."""
    terms: ClassVar[tuple[str, ...]] = ()
    """The columns that `save` may change for a time only; `frozen` says until when."""
    filled: ClassVar[tuple[str, ...]] = ()
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

    def whole(self) -> None:
        """Raise `InvalidValue` when the columns of a new_row row do not fit each other."""

    def birth(self, firing: Firing) -> None:
        """Fill in what a new_row row leaves open, and add to `firing.refusals` what forbids the birth."""

    def frozen(self, columns: tuple[str, ...]) -> list[str]:
        """Why these columns cannot change any more, where the row stands."""
        return []

    def owner_id(self) -> UUID | None:
        """The agent whose word counts as the owner's."""
        return None

    def context(self) -> dict[str, UUID | None]:
        """The ids a decision about this row names: proposal, issue, epic, gate, stage, agent."""
        return {}

    def verdict_details(self, firing: Firing) -> dict[str, Any]:
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
        if guarded := {ids.get(name, name) for name in named} & (cls.guarded() | set(cls.terms)):
            raise InvalidValue(f"{cls.__name__}: not by update(): {cls.kept_from(guarded)}")
        return super(Row, cls).update(data, **columns)

    @classmethod
    @cache
    def moments(cls) -> tuple[str, ...]:
        """The columns that say when something happened to the row; deadlines are none."""
        return tuple(f.name for f in cls._meta.sorted_fields if isinstance(f, StampField) and f.name not in cls.terms)

    @classmethod
    @cache
    def set_at_creation(cls) -> frozenset[str]:
        """The columns that creation may set."""
        return frozenset(cls._meta.fields) - cls.guarded() | {"id", "status", *cls.parents}

    @classmethod
    @cache
    def guarded(cls) -> frozenset[str]:
        """The columns that `save` and `update` may never change."""
        return cls.machine.owned | {"id", "updated_at", *cls.stamps, *cls.kept, *cls.parents}

    @classmethod
    def kept_from(cls, columns: Iterable[str]) -> str:
        """What changes these guarded columns instead of whoever tried, as messages say it."""
        return "; ".join(f"{name} {cls._way_to(name)}" for name in sorted(columns))

    @classmethod
    def _way_to(cls, column: str) -> str:
        if column in ("status", "version"):
            return "moves by triggers only"
        if setters := [name for name, trigger in cls.machine.triggers.items() if column in trigger.owned]:
            return f"is set by its trigger{'s' if setters[1:] else ''} {listed(setters)} only"
        if column in cls.terms:
            return "is changed by save() only"
        way = cls.placed_by if column in cls.parents else cls.kept.get(column)
        return f"is set by {way} only" if way else "is set by the store only"
