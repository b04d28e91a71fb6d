"""Memory: a process that goes on for long, and a store that is large."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.measure import at_most
from benchmarks.report import Line
from benchmarks.scenes import large
from benchmarks.twins import Session

ROOT = Path(__file__).parent.parent.parent


def _answer(*arguments: object) -> Any:
    """What a worker in a process of its own answers."""
    command = [sys.executable, "-m", "benchmarks.workers", *map(str, arguments)]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return json.loads(told.splitlines()[-1])


def moves(session: Session) -> Iterator[Line]:
    """Many moves in one process."""
    count = 50_000 if session.quick else 1_000_000
    risen = _answer("moves", session.scratch(), count, count // 20) / 1024
    yield Line("memory", f"{count:,} moves", f"{risen:+.1f} MiB", risen, "after warm-up", at_most(5, "MiB"))


def stores(session: Session) -> Iterator[Line]:
    """A large store, beside a small one."""
    few, many = (_answer("uses", large(session, queued=count)) for count in (10_000, session.many))
    more = (many - few) / 1024
    yield Line("memory", "a store of 10,000 issues in use", f"{few / 1024:.1f} MiB")
    figure = f"{many / 1024:.1f} MiB"
    yield Line("memory", f"a store of {session.many:,} issues in use", figure, more, "more", at_most(5, "MiB"))
