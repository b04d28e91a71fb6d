"""How far each of GitHub's objects has come, kept in `config_store` by its address: nothing is applied twice."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from dispatch_state.models.settings import ConfigEntry
from dispatch_state.values import stamp


class Marks:
    """What was applied of the things that one delivery is about.

    Args:
        digest: by which the same delivery is known again.
    """

    def __init__(self, digest: str) -> None:
        self._digest = digest
        self._reached: dict[str, dict[str, Any]] = {}

    def is_news(self, address: str, moment: datetime) -> bool:
        """Whether the delivery is neither older than what was applied of that address, nor applied already."""
        key, at = _key(address), stamp(moment)
        known = ConfigEntry.read(key)
        seen = known["seen"] if known and known["at"] == at else []
        if known and (at < known["at"] or self._digest in seen):
            return False
        self._reached[key] = {"at": at, "seen": seen}
        return True

    def note(self, *, refused: bool) -> None:
        """Keep how far it has come, and that this delivery was applied; one that was refused may be tried again."""
        for key, mark in self._reached.items():
            kept = mark if refused else {**mark, "seen": [*mark["seen"], self._digest]}
            if ConfigEntry.read(key) != kept:
                ConfigEntry.write(key, kept)


def moved_on(address: str, commit: str, moment: datetime) -> bool:
    """Whether what is known of a pull request's checks is of an earlier commit; if so it is forgotten."""
    key, at = _key(f"{address}/checks"), stamp(moment)
    known = ConfigEntry.read(key)
    if known is None or known["commit"] == commit or at <= known["at"]:
        return False
    ConfigEntry.write(key, {"commit": commit, "at": at, "suites": {}})
    return True


class Suite(NamedTuple):
    """A check suite that is completed, by GitHub's number; a workflow is one suite of each commit."""

    number: int
    commit: str
    moment: datetime
    passed: bool


def all_pass(address: str, suite: Suite) -> bool | None:
    """Whether every check suite of a pull request's last commit passed, as far as they told; this one is kept too.

    Returns:
        None when it says nothing new: it came before, or is of an earlier commit.
    """
    moved_on(address, suite.commit, suite.moment)
    key, number, at = _key(f"{address}/checks"), str(suite.number), stamp(suite.moment)
    known = ConfigEntry.read(key) or {"commit": suite.commit, "at": at, "suites": {}}
    suites = known["suites"]
    if known["commit"] != suite.commit or (number in suites and at <= suites[number][0]):
        return None
    suites[number] = [at, suite.passed]
    ConfigEntry.write(key, known)
    return all(passed for _, passed in suites.values())


def _key(address: str) -> str:
    return f"github: {address}"
