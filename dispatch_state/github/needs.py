"""Issues that need a person because of what happened to them on GitHub, recorded in `config_store`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from peewee import ModelSelect, Value

from dispatch_state.lifecycle.session import session
from dispatch_state.models.issue import Issue
from dispatch_state.models.log import is_a_persons_act, moves_of
from dispatch_state.models.settings import ConfigEntry
from dispatch_state.values import parse_instant, stamp
from dispatch_state.vocabulary import IssueStatus

TEXTS = ("title", "prompt")
"""The columns of an issue that instruct an agent."""
EDITED = "edited by a stranger"
CLOSED = "closed on GitHub"
"""The kinds of need, as in `NeedsHuman.kind`."""


def text_digests(columns: Mapping[str, Any]) -> dict[str, str]:
    """Return a digest of each column that instructs an agent.

    Args:
        columns: the columns of an issue by name.
    """
    return {name: hashlib.blake2b(columns[name].encode(), digest_size=16).hexdigest() for name in TEXTS}


def is_released(issue: Issue) -> bool:
    """Return whether somebody has released an issue for work. One in a stage is queued when the stage starts."""
    return issue.status != IssueStatus.UNASSIGNED or issue.stage_id is not None


def recorded_need(kind: str, issue: Issue) -> dict[str, Any] | None:
    """Return what is recorded of an issue that needs a person; None when it needs none.

    Args:
        kind: `EDITED` or `CLOSED`.
        issue: the issue.
    """
    return ConfigEntry.read(_key(kind, issue))  # type: ignore[no-any-return]


def record_need(kind: str, issue: Issue, **facts: Any) -> None:
    """Record that an issue needs a person, from now on unless it was recorded before.

    Args:
        kind: `EDITED` or `CLOSED`.
        issue: the issue.
        facts: what else to record.
    """
    known = recorded_need(kind, issue) or {"since": stamp(session().now()), "version": issue.version}
    ConfigEntry.write(_key(kind, issue), {**known, **facts})


def forget_need(kind: str, issue: Issue) -> None:
    """Forget that an issue needs a person.

    Args:
        kind: `EDITED` or `CLOSED`.
        issue: the issue.
    """
    ConfigEntry.forget(_key(kind, issue))


def needed_since(kind: str, issue: Issue) -> datetime | None:
    """Return since when an issue needs a person; None when it does not.

    Args:
        kind: `EDITED` or `CLOSED`.
        issue: the issue.
    """
    known = recorded_need(kind, issue)
    return None if known is None else parse_instant(known["since"])


def edited_issues() -> ModelSelect[Issue]:
    """Select the released, live issues with an edit of a stranger that nobody has dealt with."""
    waiting = [issue.id for issue in _recorded_issues(EDITED) if is_released(issue) and has_unread_edit(issue)]
    return Issue.select().where(Issue.id.in_(waiting))


def closed_issues() -> ModelSelect[Issue]:
    """Select the live issues that are closed on GitHub and could not be closed here."""
    return Issue.select().where(Issue.id.in_([issue.id for issue in _recorded_issues(CLOSED)]))


def has_unread_edit(issue: Issue) -> bool:
    """Return whether nobody has dealt with a stranger's edit: changed the text here, or queued the issue again."""
    known = recorded_need(EDITED, issue)
    if known is None or known["here"] != text_digests(issue.__data__):
        return False
    later = (move for move in moves_of(issue.id) if move.version > known["version"])
    return not any(move.source == IssueStatus.UNASSIGNED and is_a_persons_act(move) for move in later)


def _recorded_issues(kind: str) -> Iterator[Issue]:
    key: Any = Value(_key(kind)).concat(Issue.id.cast("TEXT"))
    live = Issue.status.in_(IssueStatus.live())
    yield from Issue.select().join(ConfigEntry, on=(ConfigEntry.key == key)).where(live)


def _key(kind: str, issue: Issue | None = None) -> str:
    return f"github, {kind}: {issue.id if issue else ''}"
