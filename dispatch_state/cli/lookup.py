"""Rows as they are named on a command line: by their id, or by the end of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any
from uuid import UUID

from dispatch_state.door import door
from dispatch_state.errors import InvalidValue, RowNotFound
from dispatch_state.fields import IdField
from dispatch_state.models.base import Row, Stateful
from dispatch_state.models.log import TransitionLog
from dispatch_state.models.tables import EVERY, STATEFUL
from dispatch_state.statements import find
from dispatch_state.values import listed, shown

NAMED: tuple[type[Row], ...] = tuple(model for model in EVERY if isinstance(model._meta.primary_key, IdField))
"""The models whose rows have ids."""
_END = re.compile(r"[0-9a-f-]{1,36}")
SHOWN = 4
"""How many rows a message names."""


def row_of(text: str, models: tuple[type[Row], ...] = NAMED) -> Any:
    """The row of these models that an id, or the end of one, names.

    Raises:
        InvalidValue: it is neither.
        RowNotFound: no row has it, or several do.
    """
    key = identifier(text)
    found = door().read(lambda: list(_matches(key, models)))
    if not found:
        kinds = models[0].__name__ if len(models) == 1 else "row"
        way = "the id" if isinstance(key, UUID) else "an id that ends in"
        raise RowNotFound(f"no {kinds} here has {way} {key}")
    if len(found) > 1:
        several = listed(f"{type(row).__name__} {row._pk}" for row in found[:SHOWN])
        raise RowNotFound(f"{key} is the end of more than one id: {several}; give more of it")
    return found[0]


def stateful_row_of(text: str) -> Stateful:
    """As `row_of`, of the models that have a lifecycle."""
    row: Stateful = row_of(text, STATEFUL)
    return row


def identifier(text: str) -> UUID | str:
    """A whole id, or the end of one; raises `InvalidValue` for what is neither."""
    try:
        return UUID(text)
    except ValueError:
        end = text.lower()
    if not _END.fullmatch(end):
        raise InvalidValue(f"{shown(text)} is no id, nor the end of one")
    return end


def _matches(key: UUID | str, models: Iterable[type[Row]]) -> Iterator[Row]:
    for model in models:
        if isinstance(key, UUID):
            row = find(model, key)
            yield from [] if row is None else [row]
        else:
            yield from model.select().where(_ends(model._meta.primary_key, key)).limit(SHOWN)


def _ends(column: Any, end: str) -> Any:
    return column.cast("TEXT").endswith(end)


def removed(text: str) -> list[TransitionLog]:
    """The moves of a row that is not there any more; none when the log knows no such row, or several."""
    key = identifier(text)
    entity: Any = TransitionLog.entity_id
    wanted = entity == key if isinstance(key, UUID) else _ends(entity, key)
    query = TransitionLog.select().where(wanted).order_by(TransitionLog.seq)
    moves: list[TransitionLog] = door().read(lambda: list(query))
    return moves if len({move.entity_id for move in moves}) == 1 else []
