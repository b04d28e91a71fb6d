"""What models, machine and engine share: moves, firings, the columns that a move sets, locks, and two protocols.

A model's methods, including its triggers, use the `Session` of the open store. A `UnitOfWork` makes several changes in
one transaction.
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


# ---- locks -------------------------------------------------------------------------------------------


class Lock(Enum):
    """Rows that a trigger or a method locks before it reads (PostgreSQL; SQLite has one writer at a time).

    The lock of an epic covers its stages and gates, so for a stage or a gate `ROW` means its epic. Rows among the
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
        """The names of the tables whose rows it locks, besides the row's own table."""
        tables: tuple[str, ...] = self.value[1]
        return tables


Locks = tuple[Lock, ...]


# ---- the open store ------------------------------------------------------------------------------------


class UnitOfWork(Protocol):
    """One write transaction, as the models' methods see it. Everything in it commits together, or nothing does."""

    now: datetime

    def act(self, row: Any, trigger: str, by: Actor, reason: str, **arguments: Any) -> list[Move]:
        """Fire one trigger as an act, and make every move that follows.

        Args:
            row: the row as read under its lock.
            trigger: the trigger's name.
            by, reason: who acts, and why; the reason may be empty.
            arguments: the trigger's arguments by name.

        Returns:
            The moves, the trigger's own first.

        Raises:
            IllegalTransition, GuardRefused: the trigger does not start there, or is refused.
        """
        ...

    def acts(
        self,
        action: str,
        acts: Iterable[tuple[Any, str, Mapping[str, Any]]],
        by: Actor,
        reason: str,
        *,
        passed_on: Mapping[str, Any] = ...,
        **details: Any,
    ) -> list[Move]:
        """Fire several triggers as acts, with at most one decision for all of them.

        Args:
            action: what was asked for, for messages and the decision.
            acts: rows, triggers and their arguments. Each is taken after everything that follows from the one before.
            by, reason: who acts, and why; the reason may be empty.
            passed_on: arguments for moves that follow, which the rules pass on.
            details: what the decision's outcome contains besides.

        Returns:
            The moves, in the order in which they were made.

        Raises:
            IllegalTransition: a trigger does not start from its row's status.
            GuardRefused: a guard refused, or `by` may not fire a trigger.
        """
        ...

    def actor_refusals(self, by: Actor, row: Any) -> list[str]:
        """Find out why an actor may do nothing to a row.

        Returns:
            The reasons: an agent is not in this store, errored or completed, or `by` is `SANGHA`, the agents as a
            body, which acts only when a vote has decided. Empty otherwise.
        """
        ...

    def refuse(self, row: Any, what: str, reasons: list[str]) -> None:
        """Refuse what was asked, if there are reasons.

        Args:
            row, what: the row and what was asked, for the message.
            reasons: why it is refused; nothing happens when the list is empty.

        Raises:
            GuardRefused: there are reasons.
        """
        ...

    def set(self, row: Any, **columns: Any) -> None:
        """Set columns of a row without a move.

        Args:
            row: the row as read under its lock; the object is brought up to date.
        """
        ...

    def insert(self, model: type[Any], **columns: Any) -> Any:
        """Insert a row of a table without a lifecycle, and return it.

        Args:
            model: the model of the table.
            columns: the values by name; `id` and `created_at` are filled in.
        """
        ...

    def remember(self, row: Any) -> None:
        """Keep the new state of a row, so that the caller's objects of it are updated after success."""
        ...


class Session(Protocol):
    """What an open store does for the models, without how it does it."""

    def now(self) -> datetime:
        """Return the store's present moment, in UTC."""
        ...

    def fire(
        self, row: Any, trigger: Any, by: Any, reason: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> list[Move]:
        """Fire a trigger on a row object, which must not have moved since it was read.

        Args:
            row: the caller's object.
            trigger: a trigger of its model.
            by, reason: who acts, and why.
            args, kwargs: the trigger's arguments that were given by position and by name.

        Returns:
            The moves that were made, the trigger's own first.

        Raises:
            InvalidValue: an argument is wrong, or the object has unsaved changes.
            RowNotFound, StaleRow: a row was removed, or this one moved since it was read.
            IllegalTransition: the trigger does not start from the row's status.
            GuardRefused: a guard refused, or `by` may not fire the trigger.
            StoreError: the store is not open, or the database failed. A subclass says which.
        """
        ...

    def refusals(self, row: Any, trigger: str, by: Actor, arguments: dict[str, Any]) -> list[str]:
        """Find out why a trigger would be refused on the row as it is in the database.

        Args:
            row: the row, which is read again.
            trigger, by: the trigger's name, and who would act.
            arguments: the trigger's arguments by name. A reason is ignored.

        Returns:
            Every reason; empty when the trigger would be accepted.

        Raises:
            InvalidValue: there is no such trigger, or an argument is wrong.
            RowNotFound: a row was removed.
        """
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
        """Do `work` on a row in one write transaction.

        Args:
            row: the caller's object, which is brought up to date.
            action: what is asked, for messages.
            work: gets the unit of work and the row as read again under its lock.
            locks: what is locked before the row is read (PostgreSQL). None when the work takes its locks itself.
            by: who acts; an errored or completed agent is refused.
            others: further row objects. Their rows are locked too, and the objects are brought up to date.
            fenced: whether `StaleRow` is raised when the row moved since it was read.
            legal: a trigger that must start from the row's status; checked before who acts.

        Returns:
            What `work` returns.

        Raises:
            InvalidValue: `by` is not an actor, or the object cannot be used.
            RowNotFound, StaleRow: the row was removed, or `fenced` and it moved.
            IllegalTransition: the trigger `legal` does not start from the row's status.
            GuardRefused: the actor may not act.
            StoreError: the store is not open, or the database failed. A subclass says which.
        """
        ...

    def insert(self, row: Any, by: Actor, reason: str) -> None:
        """Insert a new row, and bring the object up to date.

        Args:
            row: the object with the columns.
            by, reason: who creates it, and why; the reason may be empty.

        Raises:
            InvalidValue: a column or an argument is wrong, or the id was used before.
            RowNotFound: a key names no row.
            GuardRefused: the row cannot be created in the present state of other rows.
            StoreError: the store is not open, or the database failed. A subclass says which.
        """
        ...

    def save(self, row: Any, columns: tuple[str, ...]) -> None:
        """Write changed columns of a row object.

        Args:
            row: the object.
            columns: the names of the columns to write.

        Raises:
            InvalidValue: a value is wrong, or `save` may not change a column.
            RowNotFound: the row was removed, or a key names no row.
            GuardRefused: a column cannot change any more.
        """
        ...

    def remove(self, row: Any, by: Actor, reason: str) -> None:
        """Delete a final row with the rows that belong to it, and log each removal.

        Args:
            row: the object of the row.
            by, reason: a person or the system, and why; the reason may not be blank.

        Raises:
            InvalidValue: an argument is wrong, or the object has unsaved changes.
            RowNotFound, StaleRow: the row was removed before, or moved since it was read.
            IllegalTransition: the row is live.
            GuardRefused: `by` may not remove rows, or another row still refers to it.
        """
        ...

    def read(self, ask: Callable[[], T]) -> T:
        """Read from the database, with its errors translated.

        Args:
            ask: runs the queries; what it returns is returned.

        Raises:
            StoreError: the store is not open, or the database failed. A subclass says which.
        """
        ...

    def write(self, work: Callable[[UnitOfWork], T]) -> T:
        """Do `work` in one write transaction.

        Args:
            work: gets the unit of work, and may fire triggers in it. No row is locked beforehand. What it returns is
                returned.

        Raises:
            StoreError: the store is not open, or the database failed. A subclass says which.
        """
        ...

    def reload(self, row: Any) -> None:
        """Read a row again into its object.

        Raises:
            RowNotFound: the row was removed.
        """
        ...


def session() -> Session:
    """Return the session of the open store.

    Raises:
        StoreNotOpen: no store is open in this process.
        WrongProcess: the store was opened before this process was forked.
    """
    found: Session | None = CURRENT.session
    if found is None:
        raise CURRENT.no_session_error()
    return found
