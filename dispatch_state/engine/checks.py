"""The checks that come before any SQL: of the actor, the row object and the columns of a new row."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from dispatch_state.actors import SANGHA, Actor, Human, System
from dispatch_state.errors import InvalidValue
from dispatch_state.models.agent import DEAD, Agent
from dispatch_state.models.base import Stateful
from dispatch_state.models.guards import sangha
from dispatch_state.models.keys import ParentField
from dispatch_state.models.row import Row
from dispatch_state.storage.statements import FENCE
from dispatch_state.values import listed

ACTORS = Human, System, Agent


def require_actor(by: object, what: str, argument: str = "by") -> None:
    """Check that a value is an actor. Free text is refused, because an agent could name a person with it.

    Args:
        by: the value to check.
        what: the method that was called, for the message.
        argument: the name of its argument, for the message.

    Raises:
        InvalidValue: the value is not an actor, or it is an agent without a valid id.
    """
    if isinstance(by, Agent) and not isinstance(by.id, UUID):
        raise InvalidValue("by: the agent's id is not a valid id; reload() the row")
    if isinstance(by, ACTORS) or by is SANGHA:
        return
    problem = "no actor was given" if by is None else f"a value of type {type(by).__name__} is not an actor"
    raise InvalidValue(
        f'{what}({argument}): {problem}; say who acts: Human("login"), System("component"), an Agent row or SANGHA'
    )


def require_id(row: Row) -> None:
    """Check that the id of a row object is still an id.

    Raises:
        InvalidValue: another value was assigned to it.
    """
    if not isinstance(row._pk, UUID):
        raise InvalidValue(f"{type(row).__name__}: the id of the object is not a valid id; read the row again")


FENCED = frozenset(FENCE)


def require_saved(row: Stateful) -> None:
    """Check that a row object is saved, complete and unchanged, so that a trigger may be fired on it.

    Raises:
        InvalidValue: it was never saved, was read without a column that is needed, or has unsaved changes.
    """
    if row.is_new:
        raise InvalidValue(f"{row} was never saved; save() it first")
    if not row.__data__.keys() >= FENCED:
        missing = sorted(FENCED - row.__data__.keys())
        raise InvalidValue(f"{type(row).__name__} was read without {listed(missing)}; reload() it first")
    if changed := row.unsaved():
        way = "save() or reload()" if row.protected_columns().isdisjoint(changed) else "reload()"
        raise InvalidValue(f"{row} has unsaved changes to {listed(changed)}; {way} it first")


def new_row_columns(row: Stateful) -> dict[str, Any]:
    """Check the columns of a new row.

    Args:
        row: the object that will be inserted.

    Returns:
        Every column with its checked value. Columns that are filled in later are None.

    Raises:
        InvalidValue: a value is wrong, or creation may not set its column.
    """
    columns = {}
    set_at_creation, data = row.set_at_creation(), row.__data__
    for field in row._meta.sorted_fields:
        value = data.get(field.name)
        if field.name in set_at_creation:
            columns[field.name] = (
                field.check(value) if value is not None or field.name not in row.filled_at_creation else None
            )
        elif value is not None and value != field.default:
            raise InvalidValue(f"{field.place}: cannot be set at creation; use {row.written_by}")
        else:
            columns[field.name] = None if value is field.default is None else field.check(value)
    if columns["status"] not in row.machine.births:
        raise InvalidValue(f"{row._meta.table_name}.status: a new row starts as {' or '.join(row.machine.births)}")
    return columns


def require_parents(row: Stateful, columns: tuple[str, ...] | None = None) -> None:
    """Check that the keys of a row name existing rows, which are read.

    Args:
        row: the row whose keys are checked.
        columns: the names of the keys to check. When None, all of them are checked.

    Raises:
        RowNotFound: a key names no row.
    """
    for field in row._meta.refs:
        if isinstance(field, ParentField) and (columns is None or field.name in columns):
            getattr(row, field.name)


def actor_refusal(by: Actor, agent: Agent | None, row: Any, trigger: str) -> str | None:
    """Find out why an actor may not act at all, whatever the row allows.

    Args:
        by: who acts.
        agent: the acting agent as read again; None when it is not in this store or no agent acts.
        row: the row that would move.
        trigger: the trigger's name; empty for a method that is not a trigger.

    Returns:
        The reason: an agent is not in this store, errored or completed; or `SANGHA` (the agents as a body, which
        acts when a vote has decided) fires what a vote does not decide. None when the actor may act.
    """
    found = row.machine.triggers.get(trigger) if isinstance(row, Stateful) else None
    if by is SANGHA:
        decides = found is not None and any(edge.allowed is sangha for edge in found.edges.values())
        return None if decides else "SANGHA, the vote of the agents, only approves and rejects proposals"
    if not isinstance(by, Agent):
        return None
    if agent is None:
        return f"the acting {by} is not in this store"
    if agent.status in DEAD and not (found is not None and found.ended_agent_may and agent == row):
        return f"the acting {agent} is {agent.status}"
    return None
