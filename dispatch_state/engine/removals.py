"""Removing a row that is final, with the rows that go with it."""

from __future__ import annotations

import peewee

from dispatch_state.actors import Actor
from dispatch_state.engine.unit_of_work import UnitOfWork
from dispatch_state.errors import IllegalTransition
from dispatch_state.lifecycle.interface import Firing
from dispatch_state.models.base import Stateful
from dispatch_state.models.guards import human_or_system
from dispatch_state.models.row import Row
from dispatch_state.storage.connections import is_foreign_key_error
from dispatch_state.storage.statements import delete

NAMED_ELSEWHERE = "a row of a table that is not ours still names it, or what goes with it"


def remove(unit: UnitOfWork, row: Stateful, by: Actor, reason: str) -> None:
    """Delete a row and what its keys take along; each row with a lifecycle is logged.

    Raises:
        IllegalTransition: the row is live.
        GuardRefused: an agent asks, or a key without ON DELETE names a row that would go, in tables of others too.
    """
    if row.status in row.statuses.live():
        raise IllegalTransition(f"{row} is {row.status}, which is live: only a final row is removed")
    removed, kept_by = removed_with(row)
    refusal = human_or_system(row, Firing(row, "remove", {}, by, reason, unit.now))
    named = [f"{holder} still names {holds}" for holder, holds in kept_by]
    unit.refuse(row, "remove", [*([refusal] if refusal else []), *named])
    cause: int | None = None
    for other in removed:
        seq = unit.log_removal(other, by, reason, cause)
        cause = cause or seq
    try:
        delete(type(row), row.id)
    except peewee.IntegrityError as error:
        unit.refuse(row, "remove", [NAMED_ELSEWHERE] if is_foreign_key_error(error) else [])
        raise


def removed_with(row: Stateful) -> tuple[list[Stateful], list[tuple[Row, Row]]]:
    """What goes when a row is deleted, itself first, and which rows outside would still name what goes."""
    removed: list[Stateful] = [row]
    holders: list[tuple[Row, Row]] = []
    for parent in removed:
        for key, model in parent._meta.backrefs.items():
            if key.on_delete == "SET NULL" or not issubclass(model, Row):
                continue  # the database asks the tables of others, which a model of theirs may not even be bound to
            children = model.select().where(key == parent.id).order_by(model._meta.primary_key)
            if key.on_delete is None:
                holders.extend((child, parent) for child in children)
            elif issubclass(model, Stateful):
                removed.extend(children)
    return removed, [(holder, named) for holder, named in holders if holder not in removed]
