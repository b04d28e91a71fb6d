"""When a unit of work that failed is begun again."""

from __future__ import annotations

import time
from random import SystemRandom

from dispatch_state.errors import StoreBusy, StoreUnreachable
from dispatch_state.storage.connect import Database
from dispatch_state.storage.targets import POSTGRESQL

TRIES = 3
"""How often a unit of work is begun, while others move its rows, before it is `StoreBusy`."""
SHORTEST, LONGEST = 0.02, 1.0
"""Seconds between two attempts to reach a server; they double from one to the other."""
_random = SystemRandom()


class Outdated(Exception):
    """What a unit of work read before it had its locks holds no longer: it is to be begun again."""


class Retries:
    """The attempts of one unit of work.

    One that lost to another transaction is begun `TRIES` times. One whose connection was lost before its commit was
    sent is begun again at once, on a fresh connection; while the server cannot be reached, for as long as the store's
    timeout. Nothing of a failed attempt is left, so another one does no harm.

    Args:
        database: where it works.
        what: the rows it is about, for the message.
    """

    def __init__(self, database: Database, what: str) -> None:
        self._database = database
        self._what = what
        self._begun = 1
        self._until: float | None = None
        self._pause = SHORTEST

    def require(self, error: Exception, depth: int) -> None:
        """Return when there is to be another attempt, having waited for it where that helps.

        Args:
            error: what the last one failed with.
            depth: of the caller's blocks; an attempt within one cannot be begun again alone.

        Raises:
            StoreBusy: it lost to others too often.
            Exception: the error, when another attempt would be of no use.
        """
        lost = isinstance(error, Outdated) or (not depth and self._database.should_retry(error))
        if lost:
            self._count(error)
        elif not depth and isinstance(error, StoreUnreachable):
            self._wait(error)
        else:
            raise error

    def _count(self, error: Exception) -> None:
        if self._begun == TRIES:
            raise StoreBusy(f"others kept moving {self._what}; try again") from error
        self._begun += 1

    def _wait(self, error: StoreUnreachable) -> None:
        assert self._database.kind == POSTGRESQL  # a file is not reached over a network
        now = time.monotonic()
        if self._until is None:
            self._until = now + self._database.lock_timeout
            return
        if now >= self._until:
            raise error
        time.sleep(min(self._pause * _random.uniform(0.5, 1), self._until - now))
        self._pause = min(self._pause * 2, LONGEST)
