"""The queue of writers: who may write next to a SQLite file, agreed through a file beside it.

SQLite gives its write lock to whoever asks at the right moment, and a writer that waits asks ever more rarely. With
eight writers, some of them starve until their timeout. So our writers lock the queue's file first, and wait in a queue
for it. A writer that writes without pause keeps its turn for a while, because a connection loses its cached pages when
another one has written. Then it goes to the end of the queue.

The file holds who is first in the queue, and until when the turn is reserved for the last writer. Times are of a clock
that all processes of a machine share. The file is empty until somebody has to wait.

SQLite's own lock stays the authority. A writer that does not get its turn in time goes on without it. So does the first
in the queue when the turn is taken though nobody writes: then another program holds the lock of the queue's file.
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

LONGEST_STREAK = 0.025
"""Seconds for which a writer may keep its turn while others wait."""
STREAK_GAP = 0.001
"""Seconds within which a writer must begin its next transaction to keep its turn. It is reserved for that long."""
FIRST_POLL, OTHER_POLL = 0.0005, 0.003
"""Seconds between two looks of the first in the queue, and of the others."""
LOST_AFTER = 0.05
"""The first in the queue counts as gone when it has not looked for this many seconds."""
PATIENCE = 0.1
"""Seconds after which the first in the queue asks whether anybody writes at all."""
NO_FILE, NOT_OPENED = -1, -2
"""In place of a file descriptor: there is no file, or it was not needed yet."""
_TRY_EXCLUSIVE = fcntl.LOCK_EX | fcntl.LOCK_NB


class _Queue(NamedTuple):
    """The content of the file; times are of the monotonic clock.

    reserved_until: until then the turn is reserved for the last writer.
    arrived: since when the first in the queue has been waiting.
    last_look: when the first in the queue looked last.
    """

    reserved_until: float = 0.0
    arrived: float = math.inf
    last_look: float = -math.inf

    def is_waited_in(self, now: float) -> bool:
        """Return whether anybody waits. Times of another machine, or from before a restart, do not count."""
        return abs(now - self.last_look) < LOST_AFTER

    def is_reserved(self, now: float) -> bool:
        """Return whether the turn is reserved. A time that is too far ahead is of another machine."""
        return 0 < self.reserved_until - now < 2 * STREAK_GAP


_EMPTY = _Queue()
_CONTENT, _RESERVATION = Struct("<3d"), Struct("<d")


class QueueState:
    """Shared by the connections of a store: whether another program held the queue's file at the last attempt."""

    held_by_another = False


class WriteQueue:
    """One writer's place in the queue; each connection has its own.

    Args:
        path: the queue's file, which is made for the first turn. Without a path, or when the file cannot be made, a
            writer always has its turn.
        timeout: how long to wait for a turn, in seconds.
        nobody_writes: asks SQLite whether its write lock is free; None when it cannot be asked.
        state: shared by all connections of a store.
    """

    def __init__(
        self,
        path: str | None,
        timeout: float,
        nobody_writes: Callable[[], bool] | None = None,
        state: QueueState | None = None,
    ) -> None:
        self._path = path
        self._timeout = timeout
        self._nobody_writes = nobody_writes
        self._state = state or QueueState()
        self._file = NOT_OPENED
        self._closing = threading.RLock()
        self._has_turn = False
        self._in_streak = False  # whether its last turn began within STREAK_GAP of the one before
        self._others_wait = False  # at its last look
        self._must_yield = False  # whether its streak has been too long, and others come first
        self._streak_began = self._last_end = self._last_look = -math.inf

    def take(self) -> bool:
        """Take the turn if it is free, or keep it if it was taken before.

        Returns:
            False when another writer has the turn, or others come first.
        """
        with self._closing:
            if self._file == NOT_OPENED:
                self._file = NO_FILE if self._path is None else _opened(self._path)
            if self._file == NO_FILE or self._has_turn:
                return True
            now = time.monotonic()
            self._in_streak = in_streak = now - self._last_end < STREAK_GAP
            if self._must_yield or not (in_streak or self._is_unreserved(now)):
                return False
            self._has_turn = True  # set first: a signal's exception may come here, and `give_back` must know
            try:
                fcntl.flock(self._file, _TRY_EXCLUSIVE)
            except BlockingIOError:
                self._has_turn = False
                return False
            except OSError:  # a file system without locks
                self.close()
                return True
            self._state.held_by_another = False
            if not in_streak:
                self._streak_began = now
            return True

    def wait(self) -> bool:
        """Wait in the queue for a turn that `take` did not get.

        Returns:
            Whether none of our writers has the turn now; False when the timeout has passed.
        """
        arrived = first_since = now = time.monotonic()
        in_streak, self._must_yield, first = self._in_streak, False, False
        try:
            while True:
                first = self._is_first(arrived, now)
                if first and self.take():
                    self._in_streak, self._streak_began = in_streak, now
                    return True
                first_since = first_since if first else now
                if first and self._is_held_by_another(now - first_since):
                    return True
                if now - arrived > self._timeout:
                    return False
                time.sleep(FIRST_POLL if first else OTHER_POLL)
                now = time.monotonic()
        finally:
            if first:
                self._write(_CONTENT.pack(*_EMPTY))  # the next one will write itself down

    def give_back(self) -> None:
        """End the turn, if it was taken. While others wait, it stays reserved for a writer that is in a streak."""
        with self._closing:
            if not self._has_turn:
                return
            try:
                self._last_end = now = time.monotonic()
                if self._in_streak:
                    if now - self._last_look > STREAK_GAP:
                        queue, self._last_look = self._read(), now
                        self._others_wait = queue is not None and queue.is_waited_in(now)
                    if self._others_wait:
                        self._must_yield = now - self._streak_began > LONGEST_STREAK
                        self._write(_RESERVATION.pack(0.0 if self._must_yield else now + STREAK_GAP))
            finally:
                fcntl.flock(self._file, fcntl.LOCK_UN)
                self._has_turn = False

    def _is_held_by_another(self, waited: float) -> bool:
        """Return whether the turn is taken though nobody writes.

        It asks after a while. If another program was found at the last attempt, it asks at once.
        """
        patience = 0 if self._state.held_by_another else min(PATIENCE, self._timeout / 2)
        if self._nobody_writes is None or waited < patience or not self._nobody_writes():
            return False
        self._state.held_by_another = True
        return True

    def _is_unreserved(self, now: float) -> bool:
        queue = self._read()
        return queue is None or not queue.is_reserved(now)

    def _is_first(self, arrived: float, now: float) -> bool:
        """Return whether nobody waits who arrived earlier; the first writes that into the file."""
        queue = self._read() or _EMPTY
        first = arrived <= queue.arrived or not queue.is_waited_in(now)
        if first:
            self._write(_CONTENT.pack(queue.reserved_until, arrived, now))
        return first

    def _read(self) -> _Queue | None:
        """Return the content of the file; None when nobody has ever waited, or it cannot be read."""
        try:
            found = os.pread(self._file, _CONTENT.size, 0)
        except OSError:
            return None
        return _Queue(*_CONTENT.unpack(found)) if len(found) == _CONTENT.size else None

    def _write(self, content: bytes) -> None:
        """Write to the file. When that fails, as on a full disk, all who wait ask for the lock without an order."""
        with self._closing, suppress(OSError):
            os.pwrite(self._file, content, 0)

    def abandon(self) -> None:
        """In a forked child: leave the queue to the parent. A thread that is not here may hold the lock for ever."""
        self._closing = threading.RLock()
        self.close()

    def close(self) -> None:
        """Leave the queue, and end the turn if it was taken."""
        with self._closing:
            file, self._file, self._has_turn = self._file, NO_FILE, False
            if file >= 0:
                os.close(file)


def _opened(path: str) -> int:
    try:
        return os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError:
        return NO_FILE
