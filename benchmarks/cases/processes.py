"""Eight processes that claim from one file."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from benchmarks.cases.claims import claims
from benchmarks.cases.memory import ROOT
from benchmarks.measure import Rounds, at_least, at_most, ratio
from benchmarks.report import Line
from benchmarks.scenes import large
from benchmarks.twins import Session, taped

EIGHT = 8
ROUNDS = 11
PLENTY = 120_000
"""Issues and agents: no worker runs out of them."""


class Result(NamedTuple):
    """What the workers of one side did in a round."""

    made: list[int]
    failed: int
    longest: float


class Team:
    """Processes that do the same work on one file, in rounds."""

    def __init__(self, count: int, *work: object) -> None:
        self._workers = [_worker(*work, number, count) for number in range(count)]
        for worker in self._workers:
            assert _line(worker) == "ready"

    def round(self, seconds: float) -> Result:
        """Let them work for so long."""
        for worker in self._workers:
            assert worker.stdin is not None
            worker.stdin.write(f"{seconds}\n")
            worker.stdin.flush()
        told = [_line(worker) for worker in self._workers]
        return Result(
            [one["made"] for one in told], sum(one["failed"] for one in told), max(one["longest"] for one in told)
        )

    def close(self) -> None:
        """Let them end."""
        for worker in self._workers:
            worker.communicate()


def _worker(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.workers", *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _line(worker: subprocess.Popen[str]) -> Any:
    assert worker.stdout is not None
    return json.loads(worker.stdout.readline())


def claiming(session: Session) -> Iterator[Line]:
    """Eight processes and one, through the library, and by raw statements."""
    path = large(session, queued=PLENTY, idle=PLENTY)
    tape = Path(session.scratch("tape"))
    tape.write_text(json.dumps(taped(session.copy(path), claims, None, 1)[0]))
    teams = {
        "one process": Team(1, "library", session.copy(path)),
        "eight processes": Team(EIGHT, "library", session.copy(path)),
        "one process, raw": Team(1, "raw", session.copy(path), tape),
        "eight processes, raw": Team(EIGHT, "raw", path, tape),
    }
    seconds = 0.3 if session.quick else 1.0
    found: dict[str, list[Result]] = {name: [] for name in teams}
    try:
        for number in range(ROUNDS + 1):
            for name, team in teams.items():
                result = team.round(seconds)
                if number:
                    found[name].append(result)
    finally:
        for team in teams.values():
            team.close()
    yield from _told(found, seconds)


def _told(found: dict[str, list[Result]], seconds: float) -> Iterator[Line]:
    one, eight, one_raw, raw = found
    rates: Rounds = {name: [sum(r.made) / seconds for r in results] for name, results in found.items()}
    for name in found:
        line = Line("claiming", name, f"{median(rates[name]):,.0f} claims/s")
        if name == eight:
            line = line._replace(ratio=ratio(rates, name, one), base=one, limit=at_least(1))
        elif name == raw:
            line = line._replace(ratio=ratio(rates, name, one_raw), base=one_raw)
        yield line
    shares = [sum(r.made[k] for r in found[eight]) for k in range(EIGHT)]
    waits = {name: max(r.longest for r in found[name]) for name in found}
    failed = sum(r.failed for r in found[eight])
    yield Line("claiming", eight, f"{failed} failed attempts", failed, "", at_most(0, "failed"))
    yield Line("claiming", eight, "largest share", max(shares) / min(shares), "smallest share", at_most(2))
    figure = f"longest wait {waits[eight] * 1e3:,.0f} ms"
    yield Line("claiming", raw, f"longest wait {waits[raw] * 1e3:,.0f} ms")
    yield Line("claiming", eight, figure, waits[eight] / waits[raw], raw, at_most(2))
