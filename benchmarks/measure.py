"""Contenders, interleaved round by round, and what comes of their times."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from statistics import median, quantiles
from typing import NamedTuple, Protocol

WARM_UP = 2
"""Rounds that are not counted."""

Call = Callable[[], object]
Rounds = dict[str, list[float]]
"""Each contender's median time of one operation, in seconds, by round."""


class Contender(Protocol):
    """One of those that are compared."""

    name: str

    def prepare(self, count: int) -> list[Call]:
        """The next operations, ready to be timed; what this does is not."""
        ...


class Calls:
    """A contender made of an iterator of operations; what happens between them is not timed."""

    def __init__(self, name: str, calls: Iterator[Call]) -> None:
        self.name = name
        self._calls = calls

    def prepare(self, count: int) -> list[Call]:
        found = list(islice(self._calls, count))
        assert len(found) == count, f"{self.name} has no more operations"
        return found


def interleaved(contenders: Sequence[Contender], rounds: int, batch: int) -> Rounds:
    """Let contenders take turns, each round beginning with another one.

    Args:
        rounds: how many are counted.
        batch: operations of each contender in a round; the round's figure is their median.
    """
    found: Rounds = {contender.name: [] for contender in contenders}
    for number in range(WARM_UP + rounds):
        first = number % len(contenders)
        for contender in (*contenders[first:], *contenders[:first]):
            took = median(_timed(contender.prepare(batch)))
            if number >= WARM_UP:
                found[contender.name].append(took)
    gc.unfreeze()
    return found


def _timed(calls: Sequence[Call]) -> list[float]:
    """The seconds each call took, while the collector sees what they leave behind, and nothing older."""
    gc.collect()
    gc.freeze()
    clock = time.perf_counter
    found = []
    for call in calls:
        start = clock()
        call()
        found.append(clock() - start)
    return found


# ---- ratios ------------------------------------------------------------------------------------------


class Limit(NamedTuple):
    """What a ratio, or another figure, is held against."""

    sign: str
    bound: float
    unit: str = "×"

    def holds(self, figure: float) -> bool:
        """Whether the figure keeps to it."""
        return figure <= self.bound if self.sign == "≤" else figure >= self.bound

    def __str__(self) -> str:
        return f"{self.sign} {self.bound:g} {self.unit}"


def at_most(bound: float, unit: str = "×") -> Limit:
    """A figure no greater than this."""
    return Limit("≤", bound, unit)


def at_least(bound: float, unit: str = "×") -> Limit:
    """A figure no smaller than this."""
    return Limit("≥", bound, unit)


class Ratio(NamedTuple):
    """The ratio of two medians, and the quartiles of the rounds' ratios."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} ({self.low:.2f}–{self.high:.2f})"


def ratio(rounds: Rounds, name: str, base: str) -> Ratio:
    """What one contender takes, in terms of another's time."""
    each = [one / other for one, other in zip(rounds[name], rounds[base], strict=True)]
    low, _, high = quantiles(each, n=4)
    return Ratio(median(rounds[name]) / median(rounds[base]), low, high)
