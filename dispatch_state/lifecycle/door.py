"""The seam between the models and the engine of the open store.

A model's methods, triggers among them, ask the `Door`; `open_store` puts the engine behind it. So the
models know what they ask for, and nothing of how it is done.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Protocol, TypeVar

from dispatch_state.actors import STORE, Actor
from dispatch_state.errors import StoreError, StoreNotOpen, WrongProcess
from dispatch_state.lifecycle.interface import Move

T = TypeVar("T")


class Turn(Protocol):
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

    def objections(self, by: Actor, row: Any) -> list[str]:
        """Why an actor may do nothing to a row: an agent that is not in this store or dead, or the sangha."""
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

    def touch(self, row: Any) -> None:
        """Remember what a row has become, for the objects the caller handed in."""
        ...


class Door(Protocol):
    """What a model asks of the open store; `open_store` puts the engine behind it."""

    def now(self) -> datetime:
        """The store's present moment."""
        ...

    def fire(
        self, row: Any, trigger: Any, by: Any, reason: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> list[Move]:
        """Fire a trigger on a row object, fenced."""
        ...

    def refusals(self, row: Any, trigger: str, by: Actor, arguments: dict[str, Any]) -> list[str]:
        """Why a trigger would be refused on the row as it stands in the database."""
        ...

    def turn(
        self,
        row: Any,
        work: Callable[[Turn, Any], T],
        *,
        reach: str,
        by: Actor = STORE,
        handed: tuple[Any, ...] = (),
        touches: tuple[Any, ...] = (),
        fenced: bool = False,
        legal: str | None = None,
    ) -> T:
        """Do `work` in one write transaction, given the row as read afresh under lock.

        Args:
            reach: the name of the method or trigger, which says how far it reaches.
            by: who acts; a dead agent is refused.
            handed: further row objects to bring up to date.
            touches: further rows to lock.
            fenced: whether a row moved since it was read is `StaleRow`.
            legal: a trigger that must start from where the row is, else `IllegalTransition`, whoever acts.
        """
        ...

    def insert(self, row: Any, by: Actor, reason: str) -> None:
        """Give birth to a row object."""
        ...

    def save(self, row: Any, columns: tuple[str, ...]) -> None:
        """Write changed columns of a row object."""
        ...

    def remove(self, row: Any, by: Actor, reason: str) -> None:
        """Delete a row that is final, and log what goes with it."""
        ...

    def read(self, ask: Callable[[], T]) -> T:
        """Ask something of the database."""
        ...

    def write(self, work: Callable[[Turn], T]) -> T:
        """Do `work` in one write transaction that concerns no row with a lifecycle."""
        ...

    def reload(self, row: Any) -> None:
        """Read a row object afresh, in place."""
        ...


class _Threshold:
    """Where the door stands: None, and why, when no store is open here."""

    door: Door | None = None
    shut: type[StoreError] = StoreNotOpen


def door() -> Door:
    """The door of the open store; raises `StoreNotOpen` when there is none, `WrongProcess` in a forked child."""
    behind = _Threshold.door
    if behind is None:
        raise _Threshold.shut()
    return behind


def bind(behind: Door | None) -> None:
    """Put the engine of a store behind the door, or take it away; the work of `open_store` and `close`."""
    _Threshold.door, _Threshold.shut = behind, StoreNotOpen


def _shut_in_child() -> None:
    """In a forked child: the store is the parent's."""
    if _Threshold.door is not None:
        _Threshold.door, _Threshold.shut = None, WrongProcess


os.register_at_fork(after_in_child=_shut_in_child)
