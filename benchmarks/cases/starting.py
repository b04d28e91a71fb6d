"""What it takes to begin: the import, and opening a store."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import repeat
from statistics import median

from benchmarks.measure import Calls, Rounds, at_most, interleaved
from benchmarks.report import Line, compared
from benchmarks.tape import bare
from benchmarks.twins import OURS, Session, opened
from dispatch_state import open_store

_IMPORT = "from time import perf_counter as t; s = t(); import {}; print(t() - s)"


def importing(session: Session) -> Iterator[Line]:
    """`import dispatch_state`, beside its two main parts, each in a fresh interpreter."""
    parts = {"peewee, transitions": "peewee, transitions", OURS: OURS}
    rounds: Rounds = {name: [] for name in parts}
    compiled = str(session.scratch())
    for number in range(session.rounds + 1):
        for name, modules in parts.items():
            took = _import_time(modules, compiled)
            if number:
                rounds[name].append(took)
    yield from compared("import", rounds, (OURS, "peewee, transitions", at_most(1.25)))


def _import_time(modules: str, compiled: str) -> float:
    """In seconds, with all modules compiled, as pip leaves them."""
    command = [sys.executable, "-X", f"pycache_prefix={compiled}", "-c", _IMPORT.format(modules)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return float(subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout)


def opening(session: Session) -> Iterator[Line]:
    """`open_store` of an existing file, beside a connection that reads its schema."""
    path = session.scratch()
    with opened(path):
        pass

    def opening_and_closing() -> None:
        open_store(path).close()

    def connecting() -> None:
        connection = bare(path, "full")
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        connection.close()

    contenders = [Calls(OURS, repeat(opening_and_closing)), Calls("connecting", repeat(connecting))]
    rounds = interleaved(contenders, session.rounds, 10)
    yield from compared("open_store", rounds)
    more = (median(rounds[OURS]) - median(rounds["connecting"])) * 1e3
    yield Line("open_store", "on top of connecting", f"{more:.1f} ms", more, "", at_most(10, "ms"))
