"""The base of every column type: a check before SQL, the parameter that SQL gets, and slots for kept statements."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from uuid import UUID

import peewee

from dispatch_state.errors import InvalidValue, StoreCorrupt
from dispatch_state.ids import number_text, parse_uuid

V = TypeVar("V")


class Slot:
    """A place for a value in a statement whose text is generated once.

    Args:
        index: which argument of the statement goes there.
        convert: makes the parameter from the argument; None when the argument is the parameter.
        attribute: the attribute of the argument that is converted; the argument itself when empty. A UUID is looked up
            by its number, whose hash costs nothing.
        converts_none: whether None is converted too.
    """

    __slots__ = ("attribute", "convert", "converts_none", "index")

    def __init__(
        self,
        index: int,
        convert: Callable[[Any], Any] | None = None,
        *,
        attribute: str = "",
        converts_none: bool = False,
    ) -> None:
        self.index = index
        self.convert = convert
        self.attribute = attribute
        self.converts_none = converts_none


class CheckedField:
    """What each column type adds to Peewee's: `check`, and room for a `Slot`.

    A column type overrides `checked`, and `to_parameter` and `slot` where the parameter differs from the value.
    """

    null: bool
    name: str
    model: Any
    column_name: str
    native: type | None = None
    """A type whose values are used as the driver returns them, without conversion."""
    fast_read: Callable[[Any], Any]
    """Converts what is ordinarily stored. It may raise for anything else, and `python_value` converts that."""

    @property
    def place(self) -> str:
        """Table and column, as messages name them."""
        return f"{self.model._meta.table_name}.{self.column_name}"

    def check(self, value: object) -> Any:
        """Return the value as this column holds it.

        Raises:
            InvalidValue: the column does not take it.
        """
        if value is not None:
            return self.checked(value)
        if not self.null:
            raise InvalidValue(f"{self.place}: must not be empty")
        return None

    def checked(self, value: object) -> Any:
        """Return a value that is not None as this column holds it.

        Raises:
            InvalidValue: the column does not take it.
        """
        raise AssertionError("each column type defines what it holds")

    def db_value(self, value: Any) -> Any:
        """Return what goes into a query of Peewee: a slot, a node of the query, or a parameter."""
        if isinstance(value, Slot):
            return self.slot(value.index)
        return value if isinstance(value, peewee.Node) else self.parameter(value)

    def slot(self, index: int) -> Slot:
        """Return a slot for values of this column, which were checked already."""
        converts = type(self).to_parameter is not CheckedField.to_parameter
        return Slot(index, self.to_parameter if converts else None)

    def parameter(self, value: Any) -> Any:
        """Return a value, or None, as a parameter of SQL."""
        return None if value is None else self.to_parameter(value)

    def to_parameter(self, value: Any) -> Any:
        """Return a value that is not None as a parameter of SQL."""
        return value

    def unreadable_error(self) -> StoreCorrupt:
        """Return the error for a stored value that this column cannot hold."""
        return StoreCorrupt(f"{self.place}: the stored value is not one it can hold; store.verify() names the row")

    def not_bytes(self, value: Any) -> Any:
        """Return a stored value that is not text, as it is.

        Raises:
            StoreCorrupt: it is bytes, which none of our columns holds.
        """
        if isinstance(value, bytes):
            raise self.unreadable_error()
        return value


class UuidConversion(CheckedField):
    """Shared by the columns that hold a UUID: `uuid.UUID` in Python, text on SQLite, uuid on PostgreSQL."""

    native = UUID
    fast_read = staticmethod(parse_uuid)

    def slot(self, index: int) -> Slot:
        return Slot(index, number_text, attribute="int")

    def python_value(self, value: Any) -> Any:
        """Return a stored value as a UUID; raises `StoreCorrupt` for one that is not."""
        try:
            return parse_uuid(value) if isinstance(value, str) else self.not_bytes(value)
        except ValueError:
            raise self.unreadable_error() from None


if TYPE_CHECKING:

    class PlainBase(CheckedField, peewee.Field[V]):
        """What a type checker sees of each base below."""

        def db_value(self, value: Any) -> Any: ...

    TextBase = PlainBase
    IntegerBase = PlainBase
    FloatBase = PlainBase
    BooleanBase = PlainBase
    JsonBase = PlainBase
else:
    PlainBase = types.new_class("PlainBase", (CheckedField, peewee.Field, Generic[V]))
    TextBase = types.new_class("TextBase", (CheckedField, peewee.TextField, Generic[V]))
    IntegerBase = types.new_class("IntegerBase", (CheckedField, peewee.BigIntegerField, Generic[V]))
    FloatBase = types.new_class("FloatBase", (CheckedField, peewee.DoubleField, Generic[V]))
    BooleanBase = types.new_class("BooleanBase", (CheckedField, peewee.BooleanField, Generic[V]))
    JsonBase = types.new_class("JsonBase", (CheckedField, peewee.JSONField, Generic[V]))
