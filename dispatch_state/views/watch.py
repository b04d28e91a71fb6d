"""Every committed move, as it comes, whoever makes it; none twice, none left out.

Moves are told in the order of their numbers. On SQLite that is the order of commits. On PostgreSQL a number is
drawn before the commit, so a later one can be committed first: nothing is told while a transaction is open that
may hold an earlier number (`PostgresStore.settled`). A connection that is lost is made anew: the next look begins
behind the last move that was told, so nothing is lost or told twice.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

from peewee import ModelSelect

from dispatch_state import values
from dispatch_state.errors import InvalidValue, StoreUnreachable
from dispatch_state.models.log import TransitionLog
from dispatch_state.storage.connect import Database
from dispatch_state.storage.statements import one, rows

BATCH = 1000
LOGGER = logging.getLogger("dispatch_state")
SLICE = 0.5
"""Seconds; so long is waited before one looks anyway, whether or not a commit was heard of."""

ErrorBoundary = Callable[[], AbstractContextManager[None]]
Read = Callable[[Callable[[], int]], int]


def watch(
    database: Database, read: Read, boundary: ErrorBoundary, after: int | None, timeout: float | None
) -> Iterator[TransitionLog]:
    """The moves behind one, as they are committed; `Store.watch` says more."""
    patience = math.inf if timeout is None else values.number(timeout, "timeout")
    if patience < 0:
        raise InvalidValue("timeout: takes seconds, 0 or more")
    behind = read(_newest) if after is None else values.integer(after, "after")
    return _told(database, boundary, behind, patience)


def _told(database: Database, boundary: ErrorBoundary, behind: int, patience: float) -> Iterator[TransitionLog]:
    until = time.monotonic() + patience
    while True:
        try:
            with boundary():
                found = _next(database, behind, min(SLICE, until - time.monotonic()))
        except StoreUnreachable as error:
            _wait_for_the_server(error, until)
            continue
        for move in found:
            yield move
            behind = move.seq
        if found:
            until = time.monotonic() + patience
        elif time.monotonic() >= until:
            return


def _wait_for_the_server(error: StoreUnreachable, until: float) -> None:
    """Wait a moment before asking again; raises the error when the watch ends first."""
    if time.monotonic() >= until:
        raise error
    LOGGER.warning("watch: %s; it goes on when the database is back", error)
    time.sleep(SLICE)


def _next(database: Database, behind: int, patience: float) -> list[TransitionLog]:
    """The next moves, in order; none when none was committed for so long."""
    if database.transaction_depth():
        raise InvalidValue("watch: a transaction is open in this thread; end it before asking for the next move")
    with database.listening() as wait:  # listening comes first: what is committed after the look is heard
        found = _settled(database, behind)
        if not found and patience > 0:
            wait(patience)
            found = _settled(database, behind)
    return found


def _settled(database: Database, behind: int) -> list[TransitionLog]:
    newest = _newest()
    if newest <= behind or not database.wait_for_earlier_moves(SLICE):
        return []
    return _between(behind, newest)


def _newest() -> int:
    last = _last()
    return 0 if last is None else last.seq


@one
def _last() -> ModelSelect[TransitionLog]:
    return TransitionLog.select().order_by(TransitionLog.seq.desc())


@rows
def _between(behind: int, newest: int) -> ModelSelect[TransitionLog]:
    seq = TransitionLog.seq
    return TransitionLog.select().where(seq > behind, seq <= newest).order_by(seq).limit(BATCH)
