"""What models, machine and engine have in common: moves, firings, the columns a move sets, locks, and two protocols.

A model's methods, triggers among them, ask the `Session` of the open store, and do several things in one `UnitOfWork`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from enum import Enum
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol, TypeVar
from uuid import UUID

from dispatch_state.actors import STORE, Actor
from dispatch_state.storage.current import CURRENT
from dispatch_state.vocabulary import Status

T = TypeVar("T")


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


# ---- locks -------------------------------------------------------------------------------------------


class Lock(Enum):
    """Rows that a trigger or a method locks before it reads anything (PostgreSQL; SQLite has one writer).

    The lock of an epic covers its stages and gates, so a stage or gate as the row itself means its epic. Rows among the
    arguments and the acting agent are locked too.
    """

    ROW = "the row itself", ()
    EPIC = "its epic, with stages and gates", ("epics", "stages", "gates")
    NEXT_ISSUES = (
        "the unassigned issues of the epic's pending stages, which are queued when a stage starts",
        ("issues",),
    )
    LIVE_ISSUES = "the live issues in it, with their agents", ("issues", "agents")
    AGENTS = "the agents that it is assigned to or that hold it", ("agents",)
    WORK = "the issues that the agent holds or works on, with their agents", ("issues", "agents")
    ASSIGNED = "every issue that is assigned to the agent", ("issues",)
    ISSUE = "its issue, with the issue's agents", ("issues", "agents")
    PROPOSALS = "the agent's proposals that are open or voting", ("proposals",)
    PROPOSER = "the agent that made the proposal", ("agents",)

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables whose rows it locks, beside the row's own."""
        tables: tuple[str, ...] = self.value[1]
        return tables


Locks = tuple[Lock, ...]


# ---- the open store ------------------------------------------------------------------------------------


class UnitOfWork(Protocol):
    """One write transaction, as a model's own methods see it; everything in it commits together or none does."""

    now: datetime

    def act(self, row: Any, trigger: str, by: Actor, reason: str, **arguments: Any) -> list[Move]:
        """Fire a trigger as an act, and settle what follows; its own move first."""
        ...

    def acts(
        self,
        action: str,
        acts: Iterable[tuple[Any, str, Mapping[str, Any]]],
        by: Actor,
        reason: str,
        *,
        onward: Mapping[str, Any] = ...,
        **details: Any,
    ) -> list[Move]:
        """Fire several triggers as acts, one after the other has settled, with at most one decision for all.

        Args:
            acts: rows, triggers and their arguments; each is taken when the one before has settled.
            onward: arguments that the rules hand on to the moves that follow.
            details: what the decision's outcome says besides.
        """
        ...

    def actor_refusals(self, by: Actor, row: Any) -> list[str]:
        """Why an actor may do nothing to a row: an agent that is not in this store, errored or completed; or SANGHA."""
        ...

    def refuse(self, row: Any, what: str, reasons: list[str]) -> None:
        """Raise `GuardRefused` when there are reasons."""
        ...

    def set(self, row: Any, **columns: Any) -> None:
        """Set columns that make no move."""
        ...

    def insert(self, model: type[Any], **columns: Any) -> Any:
        """Insert a row of a table without a lifecycle, its id and created_at filled in; returns it."""
        ...

    def remember(self, row: Any) -> None:
        """Remember what a row has become, for the objects the caller handed in."""
        ...


class Session(Protocol):
    """What stands behind `open_store`, as the models see it: what they ask for, and nothing of how it is done."""

    def now(self) -> datetime:
        """The store's present moment."""
        ...

    def fire(
        self, row: Any, trigger: Any, by: Any, reason: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> list[Move]:
        """Fire a trigger on a row object, which must stand where it did when it was read."""
        ...

    def refusals(self, row: Any, trigger: str, by: Actor, arguments: dict[str, Any]) -> list[str]:
        """Why a trigger would be refused on the row as it stands in the database."""
        ...

    def work_on(
        self,
        row: Any,
        action: str,
        work: Callable[[UnitOfWork, Any], T],
        *,
        locks: Locks | None,
        by: Actor = STORE,
        others: tuple[Any, ...] = (),
        fenced: bool = False,
        legal: str | None = None,
    ) -> T:
        """Do `work` in one write transaction, given the row as read afresh under lock.

        Args:
            action: what is asked, as messages name it.
            locks: what is locked before the row is read (PostgreSQL); None when the work takes its locks itself.
            by: who acts; an errored or completed agent is refused.
            others: further row objects: their rows are locked too, and the objects are brought up to date.
            fenced: whether a row moved since it was read is `StaleRow`.
            legal: a trigger that must start from where the row is, else `IllegalTransition`, whoever acts.
        """
        ...

    def insert(self, row: Any, by: Actor, reason: str) -> None:
        """Insert a new row."""
        ...

    def save(self, row: Any, columns: tuple[str, ...]) -> None:
        """Write changed columns of a row object."""
        ...

    def remove(self, row: Any, by: Actor, reason: str) -> None:
        """Delete a row that is final, and log what goes with it."""
        ...

    def read(self, ask: Callable[[], T]) -> T:
        """Run a query, its errors translated."""
        ...

    def write(self, work: Callable[[UnitOfWork], T]) -> T:
        """Do `work` in one write transaction that locks no row beforehand."""
        ...

    def reload(self, row: Any) -> None:
        """Read a row object afresh, in place."""
        ...


def session() -> Session:
    """The session of the open store.

    Raises:
        StoreNotOpen: no store is open in this process.
        WrongProcess: the store was opened before this process was forked.
    """
    found: Session | None = CURRENT.session
    if found is None:
        raise CURRENT.no_session_error()
    return found
