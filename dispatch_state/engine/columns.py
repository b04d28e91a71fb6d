"""The columns that a move sets: on its own row, and on neighbouring rows."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from dispatch_state.ids import uuid_text
from dispatch_state.json_values import plain
from dispatch_state.lifecycle.interface import PRESENT, Columns
from dispatch_state.models.row import Row

Neighbours = list[tuple[Any, dict[str, Any]]]
"""Neighbouring rows, each with the columns that the move sets on it."""


def resolved(columns: Mapping[str, Any], moment: datetime, now: datetime) -> dict[str, Any]:
    """Replace what stands for a value: a function by the moment that it returns, a row by its id.

    Args:
        columns: columns by name.
        moment: the moment of the move. It is never earlier than a moment that the row already has.
        now: the present moment by the clock, which may be earlier.

    Returns:
        The columns with their final values.
    """

    def value_of(value: Any) -> Any:
        if callable(value):
            return value(now if value is PRESENT else moment)
        return value._pk if isinstance(value, Row) else value

    return {name: value_of(value) for name, value in columns.items()}


def log_details(columns: Columns, neighbours: Neighbours) -> dict[str, Any]:
    """Collect the details for the log row of a move.

    Args:
        columns: what the trigger returned, with the facts that it noted.
        neighbours: the neighbouring rows that change, with their columns.

    Returns:
        The noted facts, and under `neighbours` the columns that change there, as JSON values.
    """
    details = plain(columns.details)
    if neighbours:
        details["neighbours"] = [
            {
                "entity": row._meta.table_name,
                "id": uuid_text(row.id),
                "columns": {k: _json(v) for k, v in theirs.items()},
            }
            for row, theirs in neighbours
        ]
    return details


def _json(value: Any) -> Any:
    return plain({"": value}).get("")
