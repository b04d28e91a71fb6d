"""One store, copied: the library works on one copy, and the tape of the same work is played on another.

Both begin with the same bytes, so what is played back is exact: the same ids, versions and numbers, under
the same triggers.
"""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.measure import WARM_UP, Call, Calls, Contender, Rounds, interleaved
from benchmarks.tape import Sent, bare, played, recording
from dispatch_state import Store, open_store

Build = Callable[[Store, int], Any]
"""Fills a store for so many operations; what it returns is given to `Operations`."""
Operations = Callable[[Store, Any], Iterator[Call]]
"""The operations, one after the other; what happens between them is not timed, and only reads."""
OURS, RAW = "dispatch_state", "raw"


@dataclass
class Session:
    """One run of the benchmarks.

    rounds: how many are counted.
    quick: whether to take less work and smaller stores, for a first look.
    folder: for files of this run; removed at its end.
    """

    rounds: int = 31
    quick: bool = False
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="dispatch-benchmarks-")))
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @property
    def many(self) -> int:
        """How many issues a large store has."""
        return 50_000 if self.quick else 1_000_000

    def scratch(self, name: str = "store") -> str:
        """The path of a file that is not there yet."""
        return str(self.folder / f"{name}-{next(self._numbers)}.db")

    def copy(self, path: str) -> str:
        """A copy of a store that is closed."""
        twin = self.scratch()
        shutil.copyfile(path, twin)
        return twin

    def close(self) -> None:
        """Close what is open and remove the run's files."""
        _Turnstile.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class _Turnstile:
    """One store is open per process: contenders that need another one take turns."""

    store: Store | None = None
    place = ("", "")

    @classmethod
    def enter(cls, path: str, durability: str) -> Store:
        if cls.store is None or cls.place != (path, durability):
            cls.close()
            cls.store, cls.place = open_store(path, durability=durability), (path, durability)
        return cls.store

    @classmethod
    def close(cls) -> None:
        if cls.store is not None:
            cls.store.close()
        cls.store = None


@contextmanager
def opened(path: str, durability: str = "normal") -> Iterator[Store]:
    """A store for this block alone."""
    _Turnstile.close()
    with open_store(path, durability=durability) as store:
        yield store


class Library:
    """The library as a contender, on a file of its own, which it opens when its turn comes."""

    def __init__(self, path: str, operations: Operations, made: Any, *, name: str = OURS, durability: str) -> None:
        self.name = name
        self._place = path, durability
        self._begin = operations, made
        self._calls: Calls | None = None

    def prepare(self, count: int) -> list[Call]:
        store = _Turnstile.enter(*self._place)
        if self._calls is None:
            operations, made = self._begin
            self._calls = Calls(self.name, operations(store, made))
        return self._calls.prepare(count)


def taped(path: str, operations: Operations, made: Any, count: int, durability: str = "normal") -> list[list[Sent]]:
    """What the library sends for each of so many operations on a file."""
    found = []
    _Turnstile.close()
    with recording() as tape, open_store(path, durability=durability) as store:
        tape.cut()
        for call in itertools.islice(operations(store, made), count):
            assert all(sent.reads for sent in tape.cut()), "what is written between operations is not on the tape"
            call()
            found.append(tape.cut())
    return found


def twins(
    session: Session, build: Build, operations: Operations, batch: int, *, durability: str = "normal"
) -> list[Contender]:
    """The library and its tape, on copies of one store."""
    path, count = session.scratch(), batch * (session.rounds + WARM_UP)
    with opened(path) as store:
        made = build(store, count)
    tape = taped(session.copy(path), operations, made, count, durability)
    raw = bare(session.copy(path), durability).cursor()
    return [
        Library(session.copy(path), operations, made, durability=durability),
        Calls(RAW, played(raw, tape)),
    ]


def race(session: Session, build: Build, operations: Operations, batch: int, *, durability: str = "normal") -> Rounds:
    """The times of the library and of its tape."""
    if session.quick:
        batch = max(3, batch // 4)
    return interleaved(twins(session, build, operations, batch, durability=durability), session.rounds, batch)
