"""Rows by what names them on a command line: the id, or its end."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any
from uuid import UUID

from dispatch_state.errors import InvalidValue, RowNotFound
from dispatch_state.lifecycle.session import session
from dispatch_state.models.base import Stateful
from dispatch_state.models.log import TransitionLog, moves_of
from dispatch_state.models.row import Row
from dispatch_state.models.tables import EVERY, STATEFUL
from dispatch_state.storage.fields import IdField
from dispatch_state.storage.statements import find
from dispatch_state.values import listed, shown

NAMED: tuple[type[Row], ...] = tuple(model for model in EVERY if isinstance(model._meta.primary_key, IdField))
"""The models whose rows have ids."""
_END = re.compile(r"[0-9a-f-]{1,36}")
LISTED = 4
"""The most rows that a message names."""
SHORTEST = 4
"""The fewest characters of an id that name a row to be changed."""


def row_of(text: str, models: tuple[type[Row], ...] = NAMED, *, to_change: bool = False) -> Any:
    """Find the row that an id or the end of one names; rows with a lifecycle come before others.

    Args:
        text: an id, or the end of one.
        models: the models to look in.
        to_change: whether the row, or what refers to it, is about to change; then a short end is refused.

    Raises:
        InvalidValue: the text is neither, or too short.
        RowNotFound: no row or more than one row has it, or the row was removed.
    """
    key = identifier(text)
    if to_change:
        _require_length(key)
    row = the_only(key, models)
    if row is None:
        raise not_found(key, models)
    return row


def the_only(key: UUID | str, models: tuple[type[Row], ...] = NAMED) -> Any:
    """Find the only row that a key names.

    Rows with a lifecycle come before others: log lines, votes and decisions are many, and nobody acts on them.

    Args:
        key: an id, or the end of one.
        models: the models to look in.

    Returns:
        The row, or None.

    Raises:
        RowNotFound: the key names more than one row; the message lists them.
    """
    groups = [[m for m in models if issubclass(m, Stateful) is wanted] for wanted in (True, False)]
    found = session().read(lambda: next(filter(None, (list(_matches(key, group)) for group in groups)), []))
    if len(found) > 1:
        raise _ambiguous(key, [f"{type(row).__name__} {row._pk}" for row in found])
    return found[0] if found else None


def not_found(key: UUID | str, models: tuple[type[Row], ...] = NAMED) -> RowNotFound:
    """The error to raise when no row of these models has a key; it says so when the row was removed."""
    if moves := gone(key, models):
        return RowNotFound(f"{fate(moves)}; show lists its history")
    kinds = models[0].__name__ if len(models) == 1 else "row"
    way = "the id" if isinstance(key, UUID) else "an id that ends in"
    return RowNotFound(f"no {kinds} here has {way} {key}")


def _ambiguous(key: UUID | str, found: list[str]) -> RowNotFound:
    named = listed(found[:LISTED]) + (", and others" if len(found) > LISTED else "")
    return RowNotFound(f"{key} is the end of more than one id: {named}; give more of it")


def _require_length(key: UUID | str) -> None:
    """Raise `InvalidValue` for an end so short that a mistyped one could name another row."""
    if isinstance(key, str) and len(key) < SHORTEST:
        raise InvalidValue(f"{key}: to change a row, give at least {SHORTEST} characters of its id")


def stateful_row_of(text: str, *, to_change: bool = False) -> Stateful:
    """Find a row that has a lifecycle; arguments and errors as in `row_of`."""
    row: Stateful = row_of(text, STATEFUL, to_change=to_change)
    return row


def identifier(text: str) -> UUID | str:
    """Read a whole id, or the end of one.

    Raises:
        InvalidValue: the text is neither.
    """
    try:
        return UUID(text)
    except ValueError:
        end = text.lower()
    if not _END.fullmatch(end):
        raise InvalidValue(f"{shown(text)} is neither an id nor the end of one")
    return end


def _matches(key: UUID | str, models: Iterable[type[Row]]) -> Iterator[Row]:
    for model in models:
        if isinstance(key, UUID):
            row = find(model, key)
            yield from [] if row is None else [row]
        else:
            yield from model.select().where(_ends(model._meta.primary_key, key)).limit(LISTED + 1)


def _ends(column: Any, end: str) -> Any:
    return column.cast("TEXT").endswith(end)


def gone(key: UUID | str, models: tuple[type[Row], ...] = NAMED) -> list[TransitionLog]:
    """Read the moves of a row that was deleted, by its key.

    Args:
        key: an id, or the end of one, that no row has.
        models: the models whose rows are meant.

    Returns:
        The moves, the oldest first; an empty list when the log knows no such row.

    Raises:
        RowNotFound: the key names more than one deleted row.
    """
    entity: Any = TransitionLog.entity_id
    tables = [model._meta.table_name for model in models]
    first = TransitionLog.select().where(TransitionLog.version == 1, TransitionLog.entity.in_(tables))
    wanted = first.where(entity == key if isinstance(key, UUID) else _ends(entity, key)).limit(LISTED + 1)
    found: list[TransitionLog] = session().read(lambda: list(wanted))
    if len(found) > 1:
        raise _ambiguous(key, [f"{move.entity} {move.entity_id} (deleted)" for move in found])
    return session().read(lambda: moves_of(found[0].entity_id)) if found else []


def fate(moves: list[TransitionLog]) -> str:
    """What became of a row of which only the moves are left, in a sentence."""
    last = moves[-1]
    how = "it was removed" if last.trigger == "remove" else "its log does not say that it was removed; verify the store"
    return f"{last.entity} {last.entity_id} no longer exists: {how}"
