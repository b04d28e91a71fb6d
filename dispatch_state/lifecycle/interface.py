"""What passes between a model, its machine and the engine: moves, firings, and the columns a move sets."""

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
    source: the status before, None at a birth; dest: the status after, None at a removal.
    seq: its row in `transition_log`.
    """

    entity: str
    id: UUID
    trigger: str
    source: str | None
    dest: str | None
    seq: int

    def say(self) -> str:
        """The move in one line, as `TransitionLog.say` has it, of what is known here: what, and from where to where."""
        way = " -> ".join(str(end) for end in (self.source, self.dest) if end is not None)
        return f"{self.entity} {str(self.id)[-8:]}  {self.trigger} ({way})"


class Transition(NamedTuple):
    """One arrow of a lifecycle."""

    trigger: str
    source: Status
    dest: Status


class Firing:
    """One use of a trigger: who, when, why, from which cause.

    row: the row as read under lock, not the caller's object.
    agent: the acting agent, read afresh; None when a person or the system acts.
    act: whether a caller asked for it; False for a move that follows from another.
    cause: the log row it follows from.
    status: where the row is; the machine sets it to where it goes.
    before: the row's columns as they were; set by the move.
    onward: what the caller gives to the move that follows from it, for rules to hand on.
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
        onward: Mapping[str, Any] = MappingProxyType({}),
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
        self.onward = onward
        self.refusals: list[str] = []

    def __getitem__(self, argument: str) -> Any:
        return self.arguments[argument]


Guard = Callable[[Any, Firing], str | None]
"""A claim that must be true: asked of the row and the firing, it answers None, or why it is not true."""


class Columns(dict[str, Any]):
    """The columns a transition sets on its own row; a value may be a function of the moment.

    `on` adds columns of a neighbouring row, `record` a row of another table that belongs to the move,
    `note` what the log row's details should keep.
    """

    more = False
    """Whether there is anything besides columns of its own row."""
    neighbours: tuple[tuple[Any, dict[str, Any]], ...] = ()
    records: tuple[tuple[type[Any], dict[str, Any]], ...] = ()
    details: Mapping[str, Any] = MappingProxyType({})

    def on(self, neighbour: Any, **columns: Any) -> Columns:
        """Also set columns of a neighbouring row, which makes no move by it."""
        self.more = True
        self.neighbours = (*self.neighbours, (neighbour, columns))
        return self

    def record(self, model: type[Any], **columns: Any) -> Columns:
        """Also insert a row that belongs to this move."""
        self.more = True
        self.records = (*self.records, (model, columns))
        return self

    def note(self, **details: Any) -> Columns:
        """Also keep these facts in the log row's details; None is left out."""
        self.more = True
        self.details = {**self.details, **details}
        return self


def NOW(now: datetime) -> datetime:  # noqa: N802 - reads as the value it stands for
    """The moment of the firing, never before an earlier one of the row, as the value of a column."""
    return now


def PRESENT(now: datetime) -> datetime:  # noqa: N802 - reads as the value it stands for
    """The moment of the firing as the clock gives it, even if the row has seen a later one."""
    return now
