"""Turns at writing, taken through a file beside a SQLite database.

SQLite lets whoever asks at the right moment write next, and those who wait ask ever more rarely: with eight writers
some of them starve until their timeout. So writers of ours ask for the lock of this file first, and queue for it.
Who writes without pause goes on for a while, because what a connection has read is forgotten when another one has
written; then it goes to the end of the queue.

The file holds who is first in the queue and until when the turn is kept for the last one, by a clock that all
processes of a machine share. It is empty until somebody has to wait. All this is a courtesy among us: SQLite's own
lock stays the authority, and whoever does not get the turn in time goes on without it. So does the first in the queue
when the turn is taken and yet nobody writes: then another program holds the lock of the file.
"""

from __future__ import annotations

import fcntl
import math
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from struct import Struct
from typing import NamedTuple

WHILE = 0.025
"""For how long one goes on while others wait, in seconds."""
GAP = 0.001
"""Who begins a transaction within so many seconds of its last one goes on; so long the turn is kept for it."""
SOON, LATER = 0.0005, 0.003
"""Seconds between two looks of the first in the queue, and of the others."""
GONE = 0.05
"""A first in the queue that has not looked for so many seconds waits no more."""
PATIENCE = 0.1
"""After so many seconds the first in the queue asks whether anybody writes at all."""
NONE, UNOPENED = -1, -2
"""Stand for a file that there is not, and for one that was not needed yet."""
_AT_ONCE = fcntl.LOCK_EX | fcntl.LOCK_NB


class _Queue(NamedTuple):
    """What the file says; moments are of the monotonic clock.

    kept: until then the turn is kept for who had it last.
    arrived: since when the first in the queue has been waiting.
    seen: when that one looked last.
    """

    kept: float = 0.0
    arrived: float = math.inf
    seen: float = -math.inf

    def waits(self, now: float) -> bool:
        """Whether anybody waits; what is of another machine, or from before it was started, is nobody."""
        return abs(now - self.seen) < GONE

    def is_kept(self, now: float) -> bool:
        """Whether the turn is kept for who had it last; for longer nobody keeps it, and it is of another machine."""
        return 0 < self.kept - now < 2 * GAP


_NOBODY = _Queue()
_FORM, _KEPT = Struct("<3d"), Struct("<d")


class Known:
    """What the connections of one store know together: whether another program held the file's lock at the last try."""

    held_by_another = False


class WriteQueue:
    """One writer's place in the queue; each connection has its own.

    Args:
        path: the file, made when the first turn is taken; None, or one that cannot be made, for no turns at all.
        timeout: how long to wait for a turn, in seconds.
        nobody_writes: asks SQLite whether its lock is free, which it is not while one of ours has the turn; or None.
        known: shared by all connections of a store.
    """

    def __init__(
        self,
        path: str | None,
        timeout: float,
        nobody_writes: Callable[[], bool] | None = None,
        known: Known | None = None,
    ) -> None:
        self._path = path
        self._timeout = timeout
        self._nobody_writes = nobody_writes
        self._known = known or Known()
        self._file = UNOPENED
        self._closing = threading.RLock()
        self._mine = False
        self._goes_on = False  # whether its last turn began within GAP of the one before
        self._wanted = False  # whether others waited when it looked last
        self._yields = False  # whether it has had its while, and others are to go first
        self._since = self._given = (
            self._looked
        ) = -math.inf  # when its while began, its last turn ended, it looked last

    def take(self) -> bool:
        """Take the turn, and have it still when it was taken; False when it is another's, or others are to go first."""
        with self._closing:
            if self._file == UNOPENED:
                self._file = NONE if self._path is None else _opened(self._path)
            if self._file == NONE or self._mine:
                return True
            now = time.monotonic()
            self._goes_on = goes_on = now - self._given < GAP
            if self._yields or not (goes_on or self._is_free(now)):
                return False
            self._mine = True  # before it is: a signal's exception may come in between, and `give` must know
            try:
                fcntl.flock(self._file, _AT_ONCE)
            except BlockingIOError:
                self._mine = False
                return False
            except OSError:  # a file system without locks
                self.close()
                return True
            self._known.held_by_another = False
            if not goes_on:
                self._since = now
            return True

    def wait(self) -> bool:
        """Queue for the turn that `take` did not get, until nobody of ours has it; False when that takes too long."""
        arrived = first_since = now = time.monotonic()
        goes_on, self._yields, first = self._goes_on, False, False
        try:
            while True:
                first = self._is_first(arrived, now)
                if first and self.take():
                    self._goes_on, self._since = goes_on, now
                    return True
                first_since = first_since if first else now
                if first and self._is_held_by_another(now - first_since):
                    return True
                if now - arrived > self._timeout:
                    return False
                time.sleep(SOON if first else LATER)
                now = time.monotonic()
        finally:
            if first:
                self._write(_FORM.pack(*_NOBODY))  # whoever is next will say so

    def give(self) -> None:
        """End the turn, if it was taken; while others wait it is kept for one that goes on, for its while."""
        with self._closing:
            if not self._mine:
                return
            try:
                self._given = now = time.monotonic()
                if self._goes_on:
                    if now - self._looked > GAP:
                        queue, self._looked = self._read(), now
                        self._wanted = queue is not None and queue.waits(now)
                    if self._wanted:
                        self._yields = now - self._since > WHILE
                        self._write(_KEPT.pack(0.0 if self._yields else now + GAP))
            finally:
                fcntl.flock(self._file, fcntl.LOCK_UN)
                self._mine = False

    def _is_held_by_another(self, waited: float) -> bool:
        """Whether the turn is taken and nobody writes; asked after a while, or at once when it was so before."""
        patience = 0 if self._known.held_by_another else min(PATIENCE, self._timeout / 2)
        if self._nobody_writes is None or waited < patience or not self._nobody_writes():
            return False
        self._known.held_by_another = True
        return True

    def _is_free(self, now: float) -> bool:
        queue = self._read()
        return queue is None or not queue.is_kept(now)

    def _is_first(self, arrived: float, now: float) -> bool:
        """Whether nobody waits who came earlier; who is first says so."""
        queue = self._read() or _NOBODY
        first = arrived <= queue.arrived or not queue.waits(now)
        if first:
            self._write(_FORM.pack(queue.kept, arrived, now))
        return first

    def _read(self) -> _Queue | None:
        """What the file says; None when nobody has ever waited, or it cannot be read."""
        try:
            found = os.pread(self._file, _FORM.size, 0)
        except OSError:
            return None
        return _Queue(*_FORM.unpack(found)) if len(found) == _FORM.size else None

    def _write(self, said: bytes) -> None:
        """Say it; where that is impossible, as on a full disk, those who wait all ask alike."""
        with self._closing, suppress(OSError):
            os.pwrite(self._file, said, 0)

    def abandon(self) -> None:
        """Leave the place to the parent, in a forked child: a thread that is not here may hold the lock for ever."""
        self._closing = threading.RLock()
        self.close()

    def close(self) -> None:
        """Give up the place."""
        with self._closing:
            file, self._file, self._mine = self._file, NONE, False
            if file >= 0:
                os.close(file)


def _opened(path: str) -> int:
    try:
        return os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError:
        return NONE
