"""What models, machine and engine share: moves, firings, guards, and the columns that a move sets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import UUID

from dispatch_state.actors import Actor
from dispatch_state.vocabulary import Status


class Move(NamedTuple):
    """What one firing did.

    entity: the table's name; id: the row's; trigger: what was fired, or create, adopt, remove.
    source: the status before, None when the row was created; dest: the status after, None when it was removed.
    seq: the number of its row in `transition_log`.
    """

    entity: str
    id: UUID
    trigger: str
    source: str | None
    dest: str | None
    seq: int

    def say(self) -> str:
        """Return the move in one line: the row, the trigger, and from where to where. `TransitionLog.say` says more."""
        way = " -> ".join(str(end) for end in (self.source, self.dest) if end is not None)
        return f"{self.entity} {str(self.id)[-8:]}  {self.trigger} ({way})"


class Transition(NamedTuple):
    """One arrow of a lifecycle."""

    trigger: str
    source: Status
    dest: Status


class Firing:
    """One use of a trigger: who fires it, when, why, and from which earlier move it follows.

    An act is a firing that a caller asked for. The other firings follow from it. Permission and a required reason are
    checked for acts only.

    row: the row as read under its lock, not the caller's object.
    trigger: the name of the trigger; create or remove for the creation or the removal of a row.
    arguments: the trigger's arguments by name.
    by, reason, now: who acts, why, and when.
    agent: the acting agent as read again; None when a person or the system acts.
    act: whether it is an act.
    cause: the log row from which it follows; None for an act.
    status: the row's status; the machine sets it to the new one.
    before: the row's columns before the move; the move sets it.
    passed_on: arguments that the rules pass on to the moves that follow.
    refusals: why it is refused; guards add to it.
    """

    status: str
    before: Mapping[str, Any]

    def __init__(
        self,
        row: Any,
        trigger: str,
        arguments: Mapping[str, Any],
        by: Actor,
        reason: str,
        now: datetime,
        *,
        agent: Any = None,
        act: bool = True,
        cause: int | None = None,
        passed_on: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        self.row = row
        self.trigger = trigger
        self.arguments = arguments
        self.by = by
        self.reason = reason
        self.now = now
        self.agent = agent
        self.act = act
        self.cause = cause
        self.passed_on = passed_on
        self.refusals: list[str] = []

    def __getitem__(self, argument: str) -> Any:
        return self.arguments[argument]


Guard = Callable[[Any, Firing], str | None]
"""A claim that must be true: called with the row and the firing, it returns None, or why it is not true."""


class Columns(dict[str, Any]):
    """The columns that a transition sets on its own row. A value may be a function of the moment.

    `on` adds columns of a neighbouring row, `record` adds a row of another table, and `note` adds facts to the details
    of the log row. Each of them returns this object.
    """

    more = False
    """Whether there is anything besides columns of the own row."""
    neighbours: tuple[tuple[Any, dict[str, Any]], ...] = ()
    records: tuple[tuple[type[Any], dict[str, Any]], ...] = ()
    details: Mapping[str, Any] = MappingProxyType({})

    def on(self, neighbour: Any, **columns: Any) -> Columns:
        """Also set columns of a neighbouring row, which does not move."""
        self.more = True
        self.neighbours = (*self.neighbours, (neighbour, columns))
        return self

    def record(self, model: type[Any], **columns: Any) -> Columns:
        """Also insert a row of a table without a lifecycle.

        Args:
            model: the model of the table.
        """
        self.more = True
        self.records = (*self.records, (model, columns))
        return self

    def note(self, **details: Any) -> Columns:
        """Also store facts in the details of the log row.

        Args:
            details: the facts by name; None is left out.
        """
        self.more = True
        self.details = {**self.details, **details}
        return self


def NOW(now: datetime) -> datetime:  # noqa: N802 - reads as the value it stands for
    """As the value of a column: the moment of the firing, or a later one that the row already has."""
    return now


def PRESENT(now: datetime) -> datetime:  # noqa: N802 - reads as the value it stands for
    """As the value of a column: the moment of the firing by the clock, even if the row has a later one."""
    return now
