"""Every committed move, as it happens, whichever process makes it: each exactly once.

Moves are yielded in the order of their numbers. On SQLite that is the order of commits. PostgreSQL draws a number
before the commit, so a move with a higher number can be committed first. Therefore nothing is yielded while a
transaction is open that may hold a lower number (`PostgresStore.settled`). When the connection is lost, the watch
connects again and continues after the last move that it yielded, so no move is lost or repeated.
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
"""The maximum number of moves that are read at once."""
LOGGER = logging.getLogger("dispatch_state")
POLL_INTERVAL = 0.5
"""Seconds after which the log is read again, even without a notification of a commit."""

ErrorBoundary = Callable[[], AbstractContextManager[None]]
Read = Callable[[Callable[[], int]], int]


def watch(
    database: Database, read: Read, boundary: ErrorBoundary, after: int | None, timeout: float | None
) -> Iterator[TransitionLog]:
    """Yield the moves after a given one as they are committed; see `Store.watch`.

    Args:
        database: the open database.
        read: calls a function that reads, and turns foreign errors into ours.
        boundary: a block in which foreign errors become ours.
        after: the `seq` of the last move to leave out. None starts with the next commit.
        timeout: seconds without a move after which the watch ends. None watches forever.

    Raises:
        InvalidValue: `after` or `timeout` is wrong.
    """
    patience = math.inf if timeout is None else values.number(timeout, "timeout")
    if patience < 0:
        raise InvalidValue("timeout: takes seconds, 0 or more")
    last_seen = read(_newest_seq) if after is None else values.integer(after, "after")
    return _watched_moves(database, boundary, last_seen, patience)


def _watched_moves(
    database: Database, boundary: ErrorBoundary, last_seen: int, patience: float
) -> Iterator[TransitionLog]:
    until = time.monotonic() + patience
    while True:
        try:
            with boundary():
                found = _next_moves(database, last_seen, min(POLL_INTERVAL, until - time.monotonic()))
        except StoreUnreachable as error:
            _wait_for_the_server(error, until)
            continue
        for move in found:
            yield move
            last_seen = move.seq
        if found:
            until = time.monotonic() + patience
        elif time.monotonic() >= until:
            return


def _wait_for_the_server(error: StoreUnreachable, until: float) -> None:
    """Wait a moment before the next attempt, or raise the error when the watch has timed out."""
    if time.monotonic() >= until:
        raise error
    LOGGER.warning("watch: %s; it continues when the database is back", error)
    time.sleep(POLL_INTERVAL)


def _next_moves(database: Database, last_seen: int, patience: float) -> list[TransitionLog]:
    """Return the next moves in order, or an empty list when none was committed within `patience` seconds."""
    if database.transaction_depth():
        raise InvalidValue("watch: a transaction is open in this thread; end it before asking for the next move")
    with database.listening() as wait:  # listen before reading: a commit after the read is then heard
        found = _settled_moves(database, last_seen)
        if not found and patience > 0:
            wait(patience)
            found = _settled_moves(database, last_seen)
    return found


def _settled_moves(database: Database, last_seen: int) -> list[TransitionLog]:
    newest = _newest_seq()
    if newest <= last_seen or not database.wait_for_earlier_moves(POLL_INTERVAL):
        return []
    return _moves_between(last_seen, newest)


def _newest_seq() -> int:
    last = _newest_move()
    return 0 if last is None else last.seq


@one
def _newest_move() -> ModelSelect[TransitionLog]:
    return TransitionLog.select().order_by(TransitionLog.seq.desc())


@rows
def _moves_between(last_seen: int, newest: int) -> ModelSelect[TransitionLog]:
    seq = TransitionLog.seq
    return TransitionLog.select().where(seq > last_seen, seq <= newest).order_by(seq).limit(BATCH)
