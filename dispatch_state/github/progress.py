"""How far each of GitHub's objects was applied, recorded in `config_store`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from dispatch_state.models.settings import ConfigEntry
from dispatch_state.values import stamp


class SyncProgress:
    """How far the objects of one delivery were applied, before it and with it.

    Args:
        digest: a text that is the same for the same delivery, and only for that.
    """

    def __init__(self, digest: str) -> None:
        self._digest = digest
        self._entries: dict[str, dict[str, Any]] = {}

    def is_news(self, url: str, moment: datetime) -> bool:
        """Return whether the delivery is new for an object: not applied yet, and not older than what was applied.

        Args:
            url: the URL of the object.
            moment: when the object was in the state that the delivery shows.
        """
        key, at = _key(url), stamp(moment)
        known = ConfigEntry.read(key)
        seen = known["seen"] if known and known["at"] == at else []
        if known and (at < known["at"] or self._digest in seen):
            return False
        self._entries[key] = {**(known or {}), "at": at, "seen": seen}
        return True

    def applied_text(self, url: str) -> dict[str, str] | None:
        """Return the digests of the text that an issue took last; None when none is recorded.

        Args:
            url: the URL of the issue, about which `is_news` was asked before.
        """
        return self._entries[_key(url)].get("text")

    def set_applied_text(self, url: str, digests: Mapping[str, str]) -> None:
        """Record the digests of the text that an issue has taken.

        Args:
            url: the URL of the issue, about which `is_news` was asked before.
            digests: a digest by the name of each column.
        """
        self._entries[_key(url)]["text"] = dict(digests)

    def save(self, *, refused: bool) -> None:
        """Write the progress to the store.

        Args:
            refused: whether the lifecycles refused the delivery. Then it counts as not applied, and may come again.
        """
        for key, entry in self._entries.items():
            saved = entry if refused else {**entry, "seen": [*entry["seen"], self._digest]}
            if ConfigEntry.read(key) != saved:
                ConfigEntry.write(key, saved)


class CheckSuite(NamedTuple):
    """A completed check suite. Each workflow makes one suite for each commit.

    number: GitHub's id of the suite.
    commit: the hash of the commit that was checked.
    moment: when the suite was completed.
    passed: whether the checks passed.
    """

    number: int
    commit: str
    moment: datetime
    passed: bool


def set_last_commit(url: str, commit: str, moment: datetime) -> bool:
    """Forget the recorded checks of a pull request if they belong to an earlier commit.

    Args:
        url: the URL of the pull request.
        commit: the hash of its last commit.
        moment: when that was its last commit.

    Returns:
        Whether checks were forgotten.
    """
    key, at = _key(f"{url}/checks"), stamp(moment)
    known = ConfigEntry.read(key)
    if known is None or known["commit"] == commit or at <= known["at"]:
        return False
    ConfigEntry.write(key, {"commit": commit, "at": at, "suites": {}})
    return True


def record_suite(url: str, suite: CheckSuite) -> bool | None:
    """Record a check suite of a pull request.

    Args:
        url: the URL of the pull request.
        suite: the check suite.

    Returns:
        Whether all recorded suites of the last commit passed. None when this one says nothing new: it was recorded
        before, or belongs to an earlier commit.
    """
    set_last_commit(url, suite.commit, suite.moment)
    key, number, at = _key(f"{url}/checks"), str(suite.number), stamp(suite.moment)
    known = ConfigEntry.read(key) or {"commit": suite.commit, "at": at, "suites": {}}
    suites = known["suites"]
    if known["commit"] != suite.commit or (number in suites and at <= suites[number][0]):
        return None
    suites[number] = [at, suite.passed]
    ConfigEntry.write(key, known)
    return all(passed for _, passed in suites.values())


def _key(url: str) -> str:
    return f"github: {url}"
