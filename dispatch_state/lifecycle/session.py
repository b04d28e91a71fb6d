"""What a model's methods ask of the open store: a session, and a unit of work in it.

The models know what they ask for, and nothing of how it is done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Protocol, TypeVar

from dispatch_state.actors import STORE, Actor
from dispatch_state.lifecycle.interface import Move
from dispatch_state.lifecycle.locks import Locks
from dispatch_state.storage.current import CURRENT

T = TypeVar("T")


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
