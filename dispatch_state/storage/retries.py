"""Whether a unit of work that failed is begun again, and when."""

from __future__ import annotations

import time
from random import SystemRandom

from dispatch_state.errors import StoreBusy, StoreUnreachable
from dispatch_state.storage.connect import Database
from dispatch_state.storage.targets import POSTGRESQL

TRIES = 3
"""How often a unit of work is begun while others move its rows, before it fails with `StoreBusy`."""
SHORTEST, LONGEST = 0.02, 1.0
"""Seconds between two attempts to reach a server. The pause doubles from the first to the second."""
_random = SystemRandom()


class Outdated(Exception):
    """What a unit of work read before it had its locks is no longer true, so it must be begun again."""


class Retries:
    """The attempts of one unit of work.

    A unit of work that lost to another transaction is begun `TRIES` times. If the connection was lost before the commit
    was sent, it is begun again at once on a new connection, and while the server cannot be reached, until the store's
    timeout has passed. A failed attempt leaves nothing behind, so another one is safe.

    Args:
        database: the store's database.
        what: the rows it is about, for the message.
    """

    def __init__(self, database: Database, what: str) -> None:
        self._database = database
        self._what = what
        self._attempts = 1
        self._until: float | None = None
        self._pause = SHORTEST

    def wait_or_raise(self, error: Exception, depth: int) -> None:
        """Return when the next attempt should begin, after a wait if that helps.

        Args:
            error: the error of the last attempt.
            depth: how many blocks of the caller are open; an attempt within a block cannot be begun again alone.

        Raises:
            StoreBusy: it lost to others too often.
            Exception: the error, when another attempt would not help.
        """
        lost = isinstance(error, Outdated) or (not depth and self._database.should_retry(error))
        if lost:
            self._count_conflict(error)
        elif not depth and isinstance(error, StoreUnreachable):
            self._wait_for_server(error)
        else:
            raise error

    def _count_conflict(self, error: Exception) -> None:
        if self._attempts == TRIES:
            raise StoreBusy(f"others kept moving {self._what}; try again") from error
        self._attempts += 1

    def _wait_for_server(self, error: StoreUnreachable) -> None:
        assert self._database.kind == POSTGRESQL  # only a server is reached over a network
        now = time.monotonic()
        if self._until is None:
            self._until = now + self._database.lock_timeout
            return
        if now >= self._until:
            raise error
        time.sleep(min(self._pause * _random.uniform(0.5, 1), self._until - now))
        self._pause = min(self._pause * 2, LONGEST)
