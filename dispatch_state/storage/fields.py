"""Column types: what an attribute is in Python, and what each database stores.

A column type checks a value before SQL, makes a parameter of it (the same for both databases; PostgreSQL converts it
to its native type), and converts what either database returns to a `uuid.UUID`, an aware `datetime` in UTC, a member of
an enumeration, or lists and dicts.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload
from uuid import UUID

import peewee

from dispatch_state import json_values, values
from dispatch_state.errors import InvalidValue
from dispatch_state.ids import uuid_text
from dispatch_state.storage.field_base import (
    BooleanBase,
    FloatBase,
    IntegerBase,
    JsonBase,
    PlainBase,
    Slot,
    TextBase,
    UuidConversion,
    V,
)

E = TypeVar("E", bound=StrEnum)
Shape = Callable[[object, str], object]


class IdField(UuidConversion, PlainBase[V]):
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

    def to_parameter(self, value: Any) -> str:
        return uuid_text(value)


class StampField(PlainBase[V]):
    """A moment: aware UTC `datetime` in Python, ISO 8601 text of fixed width on SQLite, timestamptz on PostgreSQL."""

    field_type = "DATETIME"
    native = datetime
    fast_read = staticmethod(values.parse_instant)

    @overload
    def __init__(self: StampField[datetime], *, null: Literal[False] = ..., **options: Any) -> None: ...
    @overload
    def __init__(self: StampField[datetime | None], *, null: Literal[True], **options: Any) -> None: ...
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)

    def checked(self, value: object) -> datetime:
        return values.instant(value, self.place)

    def to_parameter(self, value: Any) -> str:
        return value if isinstance(value, str) else values.stamp(values.instant(value, self.place))

    def slot(self, index: int) -> Slot:
        return Slot(index, values.stamp)

    def python_value(self, value: Any) -> Any:
        try:
            return values.parse_instant(value) if isinstance(value, str) else self.not_bytes(value)
        except (ValueError, OverflowError):
            raise self.unreadable_error() from None


class WordField(PlainBase[V]):
    """A member of an enumeration, stored as its text. A stored word that is not a member is read as plain text.

    Args:
        words: the enumeration.
    """

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

    def to_parameter(self, value: Any) -> str:
        return str(value)

    def slot(self, index: int) -> Slot:
        return Slot(index, str)

    def python_value(self, value: Any) -> Any:
        return self._members.get(value) or self.not_bytes(value)


def word(value: object, words: type[E], place: str) -> E:
    """Return a word as a member of its enumeration.

    Args:
        value: the member, or its text.
        words: the enumeration.
        place: table and column, or an argument, for the message.

    Raises:
        InvalidValue: the enumeration has no such member; the message lists all.
    """
    try:
        if isinstance(value, str):
            return words(value)
    except ValueError:
        pass
    raise InvalidValue(f"{place}: {values.shown(value)} is not one of {values.listed(words)}")


class TextField(TextBase[V]):
    """Text.

    Args:
        holds: the check of a value and its place; a column may demand more than text, such as a login.
    """

    native = str

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
        return value if isinstance(value, str) else self.not_bytes(value)


class IntegerField(IntegerBase[V]):
    """A signed integer.

    Args:
        bits: how many bits PostgreSQL's column has.
    """

    native = int

    @overload
    def __init__(self: IntegerField[int], *, null: Literal[False] = ..., **options: Any) -> None: ...
    @overload
    def __init__(self: IntegerField[int | None], *, null: Literal[True], **options: Any) -> None: ...
    def __init__(self, *, bits: int = 64, **options: Any) -> None:
        super().__init__(**options)
        self._bits = bits

    def checked(self, value: object) -> int:
        return values.integer(value, self.place, bits=self._bits)


class FloatField(FloatBase[V]):
    """A finite float."""

    @overload
    def __init__(self: FloatField[float], *, null: Literal[False] = ..., **options: Any) -> None: ...
    @overload
    def __init__(self: FloatField[float | None], *, null: Literal[True], **options: Any) -> None: ...
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)

    def checked(self, value: object) -> float:
        return values.number(value, self.place)


class BooleanField(BooleanBase[V]):
    """True or False: 1 or 0 on SQLite, boolean on PostgreSQL."""

    @overload
    def __init__(self: BooleanField[bool], *, null: Literal[False] = ..., **options: Any) -> None: ...
    @overload
    def __init__(self: BooleanField[bool | None], *, null: Literal[True], **options: Any) -> None: ...
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)

    def checked(self, value: object) -> bool:
        return values.boolean(value, self.place)

    def to_parameter(self, value: Any) -> bool:
        return bool(value)


class JsonAccessor(peewee.FieldAccessor):
    """Keeps a fingerprint of each list or dict that it returns, so that `save` notices a change made in place."""

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        if instance is None:
            return self.field
        value = instance.__data__.get(self.name)
        if isinstance(value, list | dict):
            instance._fingerprints = fingerprints = instance._fingerprints or {}
            if self.name not in fingerprints:
                fingerprints[self.name] = fingerprint(value)
        return value


def fingerprint(value: object) -> str:
    """Return a text that changes when a list or dict is changed."""
    try:
        return repr(value)
    except RecursionError:
        return repr(type(value))


class JsonField(JsonBase[Any]):
    """JSON of one shape: lists and dicts in Python, text on SQLite, jsonb on PostgreSQL.

    Args:
        shape: checks the shape of a value; see `dispatch_state.json_values`.
        holds_null: whether None is JSON's null, and not the absence of a value.
    """

    accessor_class = JsonAccessor
    fast_read = staticmethod(json_values.parse_json)

    def __init__(self, shape: Shape = json_values.any_json, *, holds_null: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self._shape = shape
        self._holds_null = holds_null

    def check(self, value: object) -> Any:
        return None if value is None and self._holds_null else super().check(value)

    def parameter(self, value: Any) -> Any:
        return "null" if value is None and self._holds_null else super().parameter(value)

    def slot(self, index: int) -> Slot:
        return Slot(index, json_values.stored_json, converts_none=self._holds_null)

    def check_shape(self, value: object) -> None:
        """Check the shape of a value.

        Raises:
            InvalidValue: the value has another shape than this column's.
        """
        self._shape(value, self.place)

    def checked(self, value: object) -> Any:
        encoded = json_values.json_text(value, self.place)
        self.check_shape(value)
        return json_values.parse_json(encoded)  # a copy: the caller may change its own value later

    def to_parameter(self, value: Any) -> str:
        """Return the JSON text. A caller's value was checked for its length; what we add to it may exceed the limit."""
        return json_values.json_text(value, self.place, longest=None)

    def python_value(self, value: Any) -> Any:
        try:
            return json_values.parse_json(value) if isinstance(value, str | bytes) else value
        except (ValueError, RecursionError):
            raise self.unreadable_error() from None

    def to_value(self, value: Any) -> Any:
        return peewee.Value(value, converter=self.db_value, unpack=False)
