"""Column types: what an attribute is in Python, and what is stored on either database.

Each knows how to `check` a value before SQL, what it becomes as a bound parameter (the same text for
both databases; PostgreSQL turns it into its native type), and how a value read from either becomes
Python's own: `uuid.UUID`, aware UTC `datetime`, members of an enumeration, lists and dicts.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, overload
from uuid import UUID

import peewee

from dispatch_state import json_values, values
from dispatch_state.errors import InvalidValue, StoreCorrupt
from dispatch_state.ids import number_text, parse_uuid, uuid_text

V = TypeVar("V")
E = TypeVar("E", bound=StrEnum)
Shape = Callable[[object, str], object]


class Slot:
    """A place in a statement whose text is generated once.

    convert: makes the parameter that goes there; None for what goes there as it is.
    part: the attribute of the value that is converted (a UUID is looked up by its number, whose hash costs nothing);
        the value itself when empty.
    holds_null: whether None is converted too.
    """

    __slots__ = ("convert", "holds_null", "index", "part")

    def __init__(
        self, index: int, convert: Callable[[Any], Any] | None = None, *, part: str = "", holds_null: bool = False
    ) -> None:
        self.index = index
        self.convert = convert
        self.part = part
        self.holds_null = holds_null


class Checked:
    """What every column type of ours adds to Peewee's: `check`, and room for a `Slot`."""

    null: bool
    name: str
    model: Any
    column_name: str
    alike: type | None = None
    """The type of values that are Python's own as they are stored."""
    fast_read: Callable[[Any], Any]
    """Reads what is mostly stored, and may raise for anything else, which `python_value` then reads."""

    @property
    def place(self) -> str:
        """Table and column, as messages name it."""
        return f"{self.model._meta.table_name}.{self.column_name}"

    def check(self, value: object) -> Any:
        """The value as this column holds it; raises `InvalidValue` for what it does not."""
        if value is not None:
            return self.checked(value)
        if not self.null:
            raise InvalidValue(f"{self.place}: must not be empty")
        return None

    def checked(self, value: object) -> Any:
        raise AssertionError("each column type says what it holds")

    def db_value(self, value: Any) -> Any:
        if isinstance(value, Slot):
            return self.placed(value.index)
        return value if isinstance(value, peewee.Node) else self.bound(value)

    def placed(self, index: int) -> Slot:
        """A slot for a value of this column."""
        return Slot(index, None if type(self).stored is Checked.stored else self.stored)

    def bound(self, value: Any) -> Any:
        """`value` as a bound parameter."""
        return None if value is None else self.stored(value)

    def stored(self, value: Any) -> Any:
        """`value`, which is not None, as a bound parameter."""
        return value

    def unreadable(self) -> StoreCorrupt:
        """What a stored value is that no value of this column looks like."""
        return StoreCorrupt(f"{self.place}: what is stored there is no value of it; store.verify() names the row")

    def readable(self, value: Any) -> Any:
        """A stored value that is no text, unless it is bytes, which no column of ours holds."""
        if isinstance(value, bytes):
            raise self.unreadable()
        return value


if TYPE_CHECKING:

    class _Column(Checked, peewee.Field[V]):
        def db_value(self, value: Any) -> Any: ...

    _Plain = _Column
    _Text = _Column
    _Integer = _Column
    _Float = _Column
    _Boolean = _Column
    _Json = _Column
else:
    _Plain = types.new_class("_Plain", (Checked, peewee.Field, Generic[V]))
    _Text = types.new_class("_Text", (Checked, peewee.TextField, Generic[V]))
    _Integer = types.new_class("_Integer", (Checked, peewee.BigIntegerField, Generic[V]))
    _Float = types.new_class("_Float", (Checked, peewee.DoubleField, Generic[V]))
    _Boolean = types.new_class("_Boolean", (Checked, peewee.BooleanField, Generic[V]))
    _Json = types.new_class("_Json", (Checked, peewee.JSONField, Generic[V]))


class Identifying(Checked):
    """What columns that hold an id have in common: `uuid.UUID` in Python, text on SQLite, uuid on PostgreSQL."""

    alike = UUID
    fast_read = staticmethod(parse_uuid)

    def placed(self, index: int) -> Slot:
        return Slot(index, number_text, part="int")

    def python_value(self, value: Any) -> Any:
        try:
            return parse_uuid(value) if isinstance(value, str) else self.readable(value)
        except ValueError:
            raise self.unreadable() from None


class IdField(Identifying, _Plain[V]):
    """A UUID: `uuid.UUID` in Python, dashed lower-case text on SQLite, uuid on PostgreSQL."""

    field_type = "UUID"

    @overload
    def __init__(self: IdField[UUID], *, null: Literal[False] = ..., **options: Any) -> None: ...
    @overload
    def __init__(self: IdField[UUID | None], *, null: Literal[True], **options: Any) -> None: ...
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)

    def checked(self, value: object) -> UUID:
        return value if type(value) is UUID else values.uuid(value, self.place)

    def stored(self, value: Any) -> str:
        return uuid_text(value)


class StampField(_Plain[V]):
    """A moment: aware UTC `datetime` in Python, fixed-width ISO 8601 text on SQLite, timestamptz on PostgreSQL."""

    field_type = "DATETIME"
    alike = datetime
    fast_read = staticmethod(values.parse_instant)

    @overload
    def __init__(self: StampField[datetime], *, null: Literal[False] = ..., **options: Any) -> None: ...
    @overload
    def __init__(self: StampField[datetime | None], *, null: Literal[True], **options: Any) -> None: ...
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)

    def checked(self, value: object) -> datetime:
        return values.instant(value, self.place)

    def stored(self, value: Any) -> str:
        return value if isinstance(value, str) else values.stamp(values.instant(value, self.place))

    def placed(self, index: int) -> Slot:
        return Slot(index, values.stamp)

    def python_value(self, value: Any) -> Any:
        try:
            return values.parse_instant(value) if isinstance(value, str) else self.readable(value)
        except (ValueError, OverflowError):
            raise self.unreadable() from None


class WordField(_Plain[V]):
    """A word of an enumeration, stored as its text. A word it does not know is read as plain text."""

    field_type = "TEXT"

    if TYPE_CHECKING:

        def __set__(self, instance: object, value: V | str) -> None: ...

    @overload
    def __init__(self: WordField[E], words: type[E], *, null: Literal[False] = ..., **options: Any) -> None: ...
    @overload
    def __init__(self: WordField[E | None], words: type[E], *, null: Literal[True], **options: Any) -> None: ...
    def __init__(self, words: type[E], **options: Any) -> None:
        super().__init__(**options)
        self.words = words
        self._members: dict[str, StrEnum] = {str(member): member for member in words}
        self.fast_read = self._members.__getitem__

    def checked(self, value: object) -> StrEnum:
        return word(value, self.words, self.place)

    def stored(self, value: Any) -> str:
        return str(value)

    def placed(self, index: int) -> Slot:
        return Slot(index, str)

    def python_value(self, value: Any) -> Any:
        return self._members.get(value) or self.readable(value)


def word(value: object, words: type[E], place: str) -> E:
    """`value` as a member of `words`; raises `InvalidValue` that lists them."""
    try:
        if isinstance(value, str):
            return words(value)
    except ValueError:
        pass
    raise InvalidValue(f"{place}: {values.shown(value)} is not one of {values.listed(words)}")


class TextField(_Text[V]):
    """Text; `holds` may ask more of it (not blank, a login)."""

    alike = str

    @overload
    def __init__(self: TextField[str], *, null: Literal[False] = ..., **options: Any) -> None: ...
    @overload
    def __init__(self: TextField[str | None], *, null: Literal[True], **options: Any) -> None: ...
    def __init__(self, *, holds: Callable[[object, str], str] = values.text, **options: Any) -> None:
        super().__init__(**options)
        self._holds = holds

    def checked(self, value: object) -> str:
        return self._holds(value, self.place)

    def python_value(self, value: Any) -> Any:
        return value if isinstance(value, str) else self.readable(value)


class IntegerField(_Integer[V]):
    """An integer of 64 bits, or of as many as PostgreSQL's column has."""

    alike = int

    @overload
    def __init__(self: IntegerField[int], *, null: Literal[False] = ..., **options: Any) -> None: ...
    @overload
    def __init__(self: IntegerField[int | None], *, null: Literal[True], **options: Any) -> None: ...
    def __init__(self, *, bits: int = 64, **options: Any) -> None:
        super().__init__(**options)
        self._bits = bits

    def checked(self, value: object) -> int:
        return values.integer(value, self.place, bits=self._bits)


class FloatField(_Float[V]):
    """A finite float."""

    @overload
    def __init__(self: FloatField[float], *, null: Literal[False] = ..., **options: Any) -> None: ...
    @overload
    def __init__(self: FloatField[float | None], *, null: Literal[True], **options: Any) -> None: ...
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)

    def checked(self, value: object) -> float:
        return values.number(value, self.place)


class BooleanField(_Boolean[V]):
    """True or False: 1 or 0 on SQLite, boolean on PostgreSQL."""

    @overload
    def __init__(self: BooleanField[bool], *, null: Literal[False] = ..., **options: Any) -> None: ...
    @overload
    def __init__(self: BooleanField[bool | None], *, null: Literal[True], **options: Any) -> None: ...
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)

    def checked(self, value: object) -> bool:
        return values.boolean(value, self.place)

    def stored(self, value: Any) -> bool:
        return bool(value)


class JsonAccessor(peewee.FieldAccessor):
    """Hands out a list or dict and remembers what it was, so that a change made in place is noticed."""

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        if instance is None:
            return self.field
        value = instance.__data__.get(self.name)
        if isinstance(value, list | dict):
            instance._fingerprints = handed = instance._fingerprints or {}
            if self.name not in handed:
                handed[self.name] = fingerprint(value)
        return value


def fingerprint(value: object) -> str:
    """A text that changes when a list or dict does."""
    try:
        return repr(value)
    except RecursionError:
        return repr(type(value))


class JsonField(_Json[Any]):
    """JSON of a given shape: lists and dicts in Python, text on SQLite, jsonb on PostgreSQL.

    With `holds_null`, None is JSON's own null, and not the absence of a value.
    """

    accessor_class = JsonAccessor
    fast_read = staticmethod(json_values.parse_json)

    def __init__(self, shape: Shape = json_values.any_json, *, holds_null: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self._shape = shape
        self._holds_null = holds_null

    def check(self, value: object) -> Any:
        return None if value is None and self._holds_null else super().check(value)

    def bound(self, value: Any) -> Any:
        return "null" if value is None and self._holds_null else super().bound(value)

    def placed(self, index: int) -> Slot:
        return Slot(index, json_values.stored_json, holds_null=self._holds_null)

    def shaped(self, value: object) -> None:
        """Raise `InvalidValue` for JSON of another shape than this column's."""
        self._shape(value, self.place)

    def checked(self, value: object) -> Any:
        encoded = json_values.json_text(value, self.place)
        self.shaped(value)
        return json_values.parse_json(encoded)  # a copy: what the caller does to its own later is not this row's

    def stored(self, value: Any) -> str:
        """The text; what a caller gives was checked for its length, and what we gather from it may be longer."""
        return json_values.json_text(value, self.place, longest=None)

    def python_value(self, value: Any) -> Any:
        try:
            return json_values.parse_json(value) if isinstance(value, str | bytes) else value
        except (ValueError, RecursionError):
            raise self.unreadable() from None

    def to_value(self, value: Any) -> Any:
        return peewee.Value(value, converter=self.db_value, unpack=False)
