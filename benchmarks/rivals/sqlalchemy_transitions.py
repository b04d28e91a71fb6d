"""SQLAlchemy and transitions by hand: one machine for the class."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from transitions import Machine

from benchmarks.measure import Call
from benchmarks.rivals import sqlalchemy_rows

MACHINE: Any = Machine(
    model=None,
    states=["unassigned", "queued"],
    transitions=[["queue", "unassigned", "queued"], ["dequeue", "queued", "unassigned"]],
    auto_transitions=False,
    model_attribute="status",
)


def _fire(row: sqlalchemy_rows.Issue, trigger: str) -> None:
    MACHINE.events[trigger].trigger(row)


def to_and_fro(path: str) -> Iterator[Call]:
    """Issues that are queued and taken off the queue, for ever."""
    return sqlalchemy_rows.to_and_fro(path, _fire)
