"""SQLAlchemy and python-statemachine by hand: a machine for each row, as its documentation does it."""

from __future__ import annotations

from collections.abc import Iterator

from statemachine import State, StateMachine

from benchmarks.measure import Call
from benchmarks.rivals import sqlalchemy_rows


class IssueMachine(StateMachine):
    """The two moves."""

    unassigned = State(initial=True, value="unassigned")
    queued = State(value="queued")
    queue = unassigned.to(queued)
    dequeue = queued.to(unassigned)


def _fire(row: sqlalchemy_rows.Issue, trigger: str) -> None:
    IssueMachine(row, state_field="status").send(trigger)


def to_and_fro(path: str) -> Iterator[Call]:
    """Issues that are queued and taken off the queue, for ever."""
    return sqlalchemy_rows.to_and_fro(path, _fire)
