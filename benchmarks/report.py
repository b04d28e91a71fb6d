"""Lines of the table, and where they are written."""

from __future__ import annotations

import os
import platform
import sqlite3
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks.measure import Limit, Ratio, Rounds, ratio

RESULTS = Path(__file__).parent / "RESULTS.md"
PARTS = (
    "peewee", "transitions", "marshmallow", "psycopg", "django", "django-fsm-2", "django-fsm-log", "sqlalchemy",
    "python-statemachine",
)  # fmt: skip
HEAD = ("case", "contender", "one operation", "ratio (quartiles)", "to", "limit", "")


class Line(NamedTuple):
    """One line of the table: what was measured, in terms of what, and what it is held against."""

    case: str
    name: str
    figure: str
    ratio: Ratio | float | None = None
    base: str = ""
    limit: Limit | None = None

    @property
    def ok(self) -> bool | None:
        """Whether the limit holds; None without one."""
        if self.limit is None or self.ratio is None:
            return None
        return self.limit.holds(self.ratio.value if isinstance(self.ratio, Ratio) else self.ratio)

    def cells(self) -> tuple[str, ...]:
        """The line as texts, one for each of `HEAD`."""
        told = "" if self.ratio is None else str(self.ratio) if isinstance(self.ratio, Ratio) else f"{self.ratio:.2f}"
        verdict = {None: "", True: "ok", False: "OVER"}[self.ok]
        return self.case, self.name, self.figure, told, self.base, str(self.limit or ""), verdict


def compared(case: str, rounds: Rounds, *pairs: tuple[str, str, Limit | None]) -> Iterator[Line]:
    """The lines of one comparison: every contender's time, and the ratio of each pair (name, base, limit)."""
    bases: dict[str, tuple[str, Limit | None]] = {name: (base, limit) for name, base, limit in pairs}
    for name, times in rounds.items():
        took = microseconds(median(times))
        if name in bases:
            base, limit = bases[name]
            yield Line(case, name, took, ratio(rounds, name, base), base, limit)
        else:
            yield Line(case, name, took)


def microseconds(seconds: float) -> str:
    """A time, as the table shows it."""
    return f"{seconds * 1e6:,.1f} µs" if seconds < 0.1 else f"{seconds:,.2f} s"


def rows(lines: Sequence[Line]) -> str:
    """Lines as the rows of a Markdown table."""
    return "".join(f"| {' | '.join(line.cells())} |\n" for line in lines)


def header() -> str:
    """The head of the table."""
    return f"| {' | '.join(HEAD)} |\n|{'---|' * len(HEAD)}\n"


def write(lines: Sequence[Line], how: str) -> None:
    """Write the table, the machine described, to `RESULTS.md`."""
    over = sum(line.ok is False for line in lines)
    held = sum(line.ok is True for line in lines)
    RESULTS.write_text(
        "# Results\n\n"
        f"Written by `python -m benchmarks`{how}. {machine()}\n\n"
        "A ratio is that of the medians; in brackets are the quartiles of the rounds' own ratios. Times are of one\n"
        "operation and not promised. *raw* plays back the statements that the library sent. What is written by hand\n"
        "updates a row and logs it, in tables without triggers, and does not read the row again before.\n\n"
        f"{held} limits hold, {over} are broken.\n\n{header()}{rows(lines)}"
    )


def machine() -> str:
    """The machine and the versions of what took part."""
    cores, (load, *_) = os.cpu_count(), os.getloadavg()
    parts = ", ".join(f"{part} {found}" for part in PARTS if (found := _version(part)))
    return (
        f"{_processor()}, {cores} cores, load {load:.1f}, {platform.system()} {platform.release()}; "
        f"{platform.python_implementation()} {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {parts}."
    )


def _processor() -> str:
    try:
        told = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in told.splitlines() if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _version(part: str) -> str | None:
    try:
        return version(part)
    except PackageNotFoundError:
        return None
