"""What is checked before any SQL: who acts, the row object, the columns of a new row."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from dispatch_state.actors import SANGHA, Human, System
from dispatch_state.errors import InvalidValue
from dispatch_state.models.agent import Agent
from dispatch_state.models.base import Stateful
from dispatch_state.models.keys import ParentField
from dispatch_state.models.row import Row
from dispatch_state.storage.statements import FENCE
from dispatch_state.values import listed

ACTORS = Human, System, Agent


def require_actor(by: object, what: str, argument: str = "by") -> None:
    """Raise `InvalidValue` unless `by` is an actor: free text is how an agent would forge a person."""
    if isinstance(by, Agent) and not isinstance(by.id, UUID):
        raise InvalidValue("by: the agent's id is not one; reload() the row")
    if isinstance(by, ACTORS) or by is SANGHA:
        return
    given = "nobody was named" if by is None else f"a value of type {type(by).__name__} is no actor"
    raise InvalidValue(
        f'{what}({argument}): {given}; say who acts: Human("login"), System("component"), an Agent row or SANGHA'
    )


def require_id(row: Row) -> None:
    """Raise `InvalidValue` for a row object whose id was replaced by what is none."""
    if not isinstance(row._pk, UUID):
        raise InvalidValue(f"{type(row).__name__}: the id of the object is none; read the row again")


FENCED = frozenset(FENCE)


def require_saved(row: Stateful) -> None:
    """Raise `InvalidValue` for a row object that a trigger cannot start from."""
    if row.is_new:
        raise InvalidValue(f"{row} was never saved; save() it first")
    if not row.__data__.keys() >= FENCED:
        missing = sorted(FENCED - row.__data__.keys())
        raise InvalidValue(f"{type(row).__name__} was read without {listed(missing)}; reload() it first")
    if changed := row.unsaved():
        way = "save() or reload()" if row.protected_columns().isdisjoint(changed) else "reload()"
        raise InvalidValue(f"{row} has unsaved changes to {listed(changed)}; {way} it first")


def new_row_columns(row: Stateful) -> dict[str, Any]:
    """The checked columns of a row to be born; raises `InvalidValue` for what is wrong or not set at birth."""
    columns = {}
    set_at_creation, given = row.set_at_creation(), row.__data__
    for field in row._meta.sorted_fields:
        value = given.get(field.name)
        if field.name in set_at_creation:
            columns[field.name] = (
                field.check(value) if value is not None or field.name not in row.filled_at_creation else None
            )
        elif value is not None and value != field.default:
            raise InvalidValue(f"{field.place}: is not set at birth; use {row.written_by}")
        else:
            columns[field.name] = None if value is field.default is None else field.check(value)
    if columns["status"] not in row.machine.births:
        raise InvalidValue(f"{row._meta.table_name}.status: born {listed(row.machine.births)} only")
    return columns


def require_parents(row: Stateful, columns: tuple[str, ...] | None = None) -> None:
    """Raise `RowNotFound` for a key that names nothing."""
    for field in row._meta.refs:
        if isinstance(field, ParentField) and (columns is None or field.name in columns):
            getattr(row, field.name)
