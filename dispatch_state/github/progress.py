"""What is remembered of GitHub, in `config_store`: how far each object has come, and which issues need a person."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from peewee import ModelSelect, Value

from dispatch_state.lifecycle.interface import session
from dispatch_state.models.issue import Issue
from dispatch_state.models.log import is_a_persons_act, moves_of
from dispatch_state.models.settings import ConfigEntry
from dispatch_state.values import parse_instant, stamp
from dispatch_state.vocabulary import IssueStatus

TEXTS = ("title", "prompt")
"""The columns of an issue that tell an agent what to do."""
EDITED = "edited by a stranger"
CLOSED = "closed on GitHub"


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
        self._reached[key] = {**(known or {}), "at": at, "seen": seen}
        return True

    def text(self, address: str) -> dict[str, str] | None:
        """The digests of the text that the issue of that address last took; None when nothing is known of it."""
        return self._reached[_key(address)].get("text")

    def keep_text(self, address: str, text: Mapping[str, str]) -> None:
        """Remember the digests of the text that the issue of that address has taken."""
        self._reached[_key(address)]["text"] = dict(text)

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


# ---- issues that need a person -------------------------------------------------------------------------


def digests(columns: Mapping[str, Any]) -> dict[str, str]:
    """A digest of each column that tells an agent what to do."""
    return {name: hashlib.blake2b(columns[name].encode(), digest_size=16).hexdigest() for name in TEXTS}


def released(issue: Issue) -> bool:
    """Whether somebody has said that the issue is to be worked on; one in a stage is queued when the stage starts."""
    return issue.status != IssueStatus.UNASSIGNED or issue.stage_id is not None


def need(kind: str, issue: Issue) -> dict[str, Any] | None:
    """What is remembered of an issue that needs a person; None when nothing is."""
    return ConfigEntry.read(_need_key(kind, issue))  # type: ignore[no-any-return]


def note_need(kind: str, issue: Issue, **facts: Any) -> None:
    """Remember that an issue needs a person, since now unless it is known to need one already."""
    known = need(kind, issue) or {"since": stamp(session().now()), "version": issue.version}
    ConfigEntry.write(_need_key(kind, issue), {**known, **facts})


def forget_need(kind: str, issue: Issue) -> None:
    """Forget that an issue needs a person."""
    ConfigEntry.forget(_need_key(kind, issue))


def needed_since(kind: str, issue: Issue) -> datetime | None:
    """Since when an issue needs a person; None when it does not."""
    known = need(kind, issue)
    return None if known is None else parse_instant(known["since"])


def edited_issues() -> ModelSelect[Issue]:
    """The released, live issues whose text a stranger changed on GitHub, where nobody has dealt with that yet."""
    waiting = [issue.id for issue in _needing(EDITED) if released(issue) and is_unread(issue)]
    return Issue.select().where(Issue.id.in_(waiting))


def closed_issues() -> ModelSelect[Issue]:
    """The live issues that are closed on GitHub, and could not be closed here."""
    return Issue.select().where(Issue.id.in_([issue.id for issue in _needing(CLOSED)]))


def is_unread(issue: Issue) -> bool:
    """Whether an edit stands that nobody has dealt with: nobody changed the text here or offered the issue again."""
    known = need(EDITED, issue)
    if known is None or known["here"] != digests(issue.__data__):
        return False
    later = (move for move in moves_of(issue.id) if move.version > known["version"])
    return not any(move.source == IssueStatus.UNASSIGNED and is_a_persons_act(move) for move in later)


def _needing(kind: str) -> Iterator[Issue]:
    key: Any = Value(_need_key(kind)).concat(Issue.id.cast("TEXT"))
    live = Issue.status.in_(IssueStatus.live())
    yield from Issue.select().join(ConfigEntry, on=(ConfigEntry.key == key)).where(live)


def _need_key(kind: str, issue: Issue | None = None) -> str:
    return f"github, {kind}: {issue.id if issue else ''}"
