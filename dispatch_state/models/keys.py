"""Foreign keys: columns that name another row, and reading those rows."""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any, Generic, Literal, NoReturn, TypeVar, overload
from uuid import UUID

import peewee

from dispatch_state.ids import uuid_text
from dispatch_state.storage.field_base import CheckedField, UuidConversion
from dispatch_state.storage.fields import IdField
from dispatch_state.storage.statements import find
from dispatch_state.values import integer, shown, uuid

V = TypeVar("V")
M = TypeVar("M", bound=peewee.Model)


class RowAccessor(peewee.ForeignKeyAccessor):
    """Reads the row that a key names, with cached SQL, and keeps it on the object."""

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        if instance is None:
            return self.field
        if instance.__data__.get(self.name) is None and not instance.__rel__:
            return None
        return self.get_rel_instance(instance)

    def get_rel_instance(self, instance: Any) -> Any:
        key = instance.__data__.get(self.name)
        if key is None:
            return instance.__rel__.get(self.name)
        if self.name not in instance.__rel__:
            instance.__rel__[self.name] = present(self.rel_model, key)
        return instance.__rel__[self.name]


if TYPE_CHECKING:

    class _Key(CheckedField, peewee.Field[V]):
        rel_model: Any

        def db_value(self, value: Any) -> Any: ...
else:
    _Key = types.new_class("_Key", (CheckedField, peewee.ForeignKeyField, Generic[V]))


class ParentField(UuidConversion, _Key[V]):
    """A key to another row. It takes that row, its id, or the id as text."""

    accessor_class = RowAccessor

    @overload
    def __init__(self: ParentField[M], model: type[M], *, null: Literal[False] = ..., **options: Any) -> None: ...
    @overload
    def __init__(self: ParentField[M | None], model: type[M], *, null: Literal[True], **options: Any) -> None: ...
    def __init__(self, model: Any, **options: Any) -> None:
        super().__init__(model, **options)

    def checked(self, value: object) -> UUID:
        if isinstance(value, self.rel_model):
            value = value.__data__.get("id")
        return uuid(value, self.place)

    def to_parameter(self, value: Any) -> str:
        return uuid_text(value.__data__.get("id") if isinstance(value, self.rel_model) else value)


class PointerField(peewee.DeferredForeignKey):
    """A key to a row of a model that is declared later. Then it becomes a `ParentField`."""

    def set_model(self, rel_model: Any) -> None:
        field: ParentField[Any] = ParentField(rel_model, _deferred=True, **self.field_kwargs)
        self.model._meta.add_field(self.name, field)


def present(model: Any, key: Any) -> Any:
    """Read a row by its key.

    Args:
        model: the row's model.
        key: the value of its primary key.

    Returns:
        The row as it is in the database.

    Raises:
        InvalidValue: the key is not a valid value.
        RowNotFound: there is no such row; as the model's `DoesNotExist`.
    """
    if key.__class__ is not UUID or not isinstance(model._meta.primary_key, IdField):
        key = _checked(model, key)
    return find(model, key) or absent(model, key)


def _checked(model: Any, key: Any) -> Any:
    column = model._meta.primary_key
    if key is None:
        absent(model, key)
    return column.check(key) if isinstance(column, CheckedField) else integer(key, f"{model.__name__}.{column.name}")


def absent(model: Any, key: object) -> NoReturn:
    """Report that a row does not exist.

    Args:
        model: the row's model.
        key: the key that names no row.

    Raises:
        RowNotFound: always; as the model's `DoesNotExist`.
    """
    raise model.DoesNotExist(f"{model.__name__} {short(key)} is not in this store")


def short(key: object) -> str:
    """Return the last eight characters of an id, by which people distinguish rows, or another key as text."""
    return str(key)[-8:] if isinstance(key, UUID) else shown(key)
