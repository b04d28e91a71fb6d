"""Turns at writing, taken through a file beside a SQLite database.

SQLite lets whoever asks at the right moment write next, and those who wait ask ever more rarely: with
eight writers some of them starve until their timeout. So writers of ours ask for the lock of this file
first, all of them equally often. It is a courtesy among us: SQLite's own lock stays the authority, and
whoever cannot have the file's lock goes on without it.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from random import SystemRandom

PAUSE = 0.002
"""The longest sleep between two attempts, in seconds."""
LONG = 0.001
"""A turn that took longer, in seconds, is followed by a pause when others were waiting lately."""
LATELY = 1.0
"""In seconds."""
NONE = -1
"""Stands for a file that there is not."""
_AT_ONCE = fcntl.LOCK_EX | fcntl.LOCK_NB
_random = SystemRandom()


class LockFile:
    """One writer's place in the queue; each connection has its own.

    Args:
        path: the file, made when the first turn is taken; None, or one that cannot be made, for no turns at all.
        timeout: how long to wait for a turn, in seconds.
    """

    def __init__(self, path: str | None, timeout: float) -> None:
        self._path = path
        self._timeout = timeout
        self._file: int | None = None
        self._mine = False
        self._closing = threading.RLock()
        self._taken = self._waited = self._next = 0.0

    def take(self) -> bool:
        """Take the turn, and have it still when it was taken; False when it is another's, or others are to go first."""
        if self._next:
            return False
        with self._closing:
            if self._file is None:
                self._file = NONE if self._path is None else _opened(self._path)
            if self._file == NONE:
                return True
            try:
                fcntl.flock(self._file, _AT_ONCE)
            except BlockingIOError:
                return False
            except OSError:  # a file system without locks
                self.close()
                return True
            self._mine = True
            if self._waited:
                self._taken = time.monotonic()
            return True

    def wait(self) -> bool:
        """Wait for the turn; False when it did not come in time."""
        now = time.monotonic()
        deadline = now + self._timeout
        if self._next:
            time.sleep(max(0, self._next - now))
            self._next = 0.0
        while not self.take():
            if (now := time.monotonic()) > deadline:
                return False
            self._waited = now
            time.sleep(_random.uniform(0, PAUSE))
        return True

    def give(self) -> None:
        """End the turn, if it was taken."""
        with self._closing:
            if not self._mine or self._file is None:
                return
            self._mine = False
            fcntl.flock(self._file, fcntl.LOCK_UN)
            if self._waited and (now := time.monotonic()) - self._taken > LONG and now - self._waited < LATELY:
                self._next = now + PAUSE

    def abandon(self) -> None:
        """Leave the place to the parent, in a forked child: a thread that is not here may hold the lock for ever."""
        self._closing = threading.RLock()
        self.close()

    def close(self) -> None:
        """Give up the place."""
        with self._closing:
            file, self._file, self._mine = self._file, NONE, False
            if file not in (None, NONE):
                os.close(file)


def _opened(path: str) -> int:
    try:
        return os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError:
        return NONE
