"""The moves of a row, the moves of the whole store, and how many rows are in each status."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from peewee import ModelSelect, fn

from dispatch_state import values
from dispatch_state.errors import InvalidValue
from dispatch_state.models.base import Stateful
from dispatch_state.models.log import TransitionLog, moves_of
from dispatch_state.models.tables import STATEFUL
from dispatch_state.storage.statements import one, rows


def history(row: Stateful) -> list[TransitionLog]:
    """Return every move of a row, oldest first.

    Args:
        row: a row with a lifecycle. It may have been removed.

    Raises:
        InvalidValue: `row` has no lifecycle.
    """
    if not isinstance(row, Stateful):
        raise InvalidValue("history: takes a row with a lifecycle")
    return moves_of(values.uuid(row.id, "history"))


def changes(after: int, limit: int) -> list[TransitionLog]:
    """Return the moves recorded after a given one, in order.

    Args:
        after: the `seq` of the last move to leave out.
        limit: the maximum number of moves.

    Raises:
        InvalidValue: `after` is not an integer, or `limit` is not a positive one.
    """
    return _moves_after(values.integer(after, "after"), values.positive(limit, "limit"))


@rows
def _moves_after(after: int, limit: int) -> ModelSelect[TransitionLog]:
    return TransitionLog.select().where(TransitionLog.seq > after).order_by(TransitionLog.seq).limit(limit)


def counts() -> dict[str, dict[str, int]]:
    """Return the number of rows in each status, by table. Every status is listed, also those without rows."""
    found = {}
    for model in STATEFUL:
        tally = {str(status): 0 for status in model.statuses}
        status: Any = model.status
        grouped: Any = model.select(status, fn.COUNT(model.id)).group_by(status).tuples()
        tally.update(grouped)
        found[model._meta.table_name] = {str(word): count for word, count in tally.items()}
    return found


@one
def last_move(row_id: UUID) -> ModelSelect[TransitionLog]:
    """Return the latest move of the row with this id, or None."""
    return TransitionLog.select().where(TransitionLog.entity_id == row_id).order_by(TransitionLog.version.desc())
