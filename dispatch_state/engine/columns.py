"""The columns that a move sets: on its own row, and on rows beside it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from dispatch_state.ids import uuid_text
from dispatch_state.json_values import plain
from dispatch_state.lifecycle.interface import PRESENT, Columns
from dispatch_state.models.row import Row

Neighbours = list[tuple[Any, dict[str, Any]]]
"""Rows beside the one that moves, each with the columns that are set with the move."""


def resolved(columns: Mapping[str, Any], moment: datetime, now: datetime) -> dict[str, Any]:
    """Columns with their values: moments filled in, rows as their ids.

    Args:
        moment: the moment of the move, never before an earlier one of the row.
        now: the moment as the clock gives it.
    """

    def value_of(value: Any) -> Any:
        if callable(value):
            return value(now if value is PRESENT else moment)
        return value._pk if isinstance(value, Row) else value

    return {name: value_of(value) for name, value in columns.items()}


def log_details(columns: Columns, neighbours: Neighbours) -> dict[str, Any]:
    """What the log row of a move says of it: the facts that it notes, and the columns of neighbours."""
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
