"""One delivery of a webhook, what it did, and how a delivery changes rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar

from dispatch_state.actors import System
from dispatch_state.errors import GuardRefused, IllegalTransition
from dispatch_state.github.needs import CLOSED, TEXTS, record_need
from dispatch_state.github.payloads import Payload
from dispatch_state.github.progress import SyncProgress
from dispatch_state.github.triggers import WantedTrigger
from dispatch_state.lifecycle.interface import Move
from dispatch_state.lifecycle.locks import Lock
from dispatch_state.lifecycle.session import UnitOfWork, session
from dispatch_state.models.issue import Issue
from dispatch_state.models.pull_request import PullRequest
from dispatch_state.models.row import Row
from dispatch_state.models.settings import SyncState
from dispatch_state.storage.statements import find
from dispatch_state.vocabulary import IssueStatus

M = TypeVar("M", bound=Row)
GITHUB = System("github")
"""The actor of all moves that deliveries make."""
SOURCE = "github"
"""The row of `sync_state` that records what was refused."""
ISSUE_LOCKS = Issue.machine.triggers["cancel"].locks
"""All locks that a delivery about an issue may need. They are taken together: an issue and then its epic would
deadlock with a transaction that locks them in the usual order."""


class Applied(NamedTuple):
    """What a delivery did.

    row: the issue or pull request of the delivery; None when there is none and none was to be made.
    made: whether the row is new; changed: whether columns of it were set.
    moves: the moves that were made.
    refused: what the lifecycles refused, or which edit of a stranger was not taken, as it is recorded in
        `sync_state.sync_errors`; None when everything was applied.
    """

    row: Issue | PullRequest | None = None
    made: bool = False
    changed: bool = False
    moves: tuple[Move, ...] = ()
    refused: str | None = None


class Delivery(NamedTuple):
    """One delivery, as the handlers read it.

    event: the event, such as "issues".
    action: what happened, such as "opened".
    whole: the payload, for reading values from it.
    payload: the payload as it was given.
    repo_path: where the repository is here; None when the caller has not said.
    progress: how far the objects of the delivery were applied.
    """

    event: str
    action: str
    whole: Payload
    payload: Mapping[str, Any]
    repo_path: str | None
    progress: SyncProgress

    @property
    def repository(self) -> str:
        """The URL of the repository."""
        return self.whole.part("repository").url("html_url")


def with_checked_values(row: M) -> M:
    """Check the values of an unsaved row.

    Raises:
        InvalidValue: a column cannot hold its value.
    """
    for name in row._dirty:
        row.__data__[name] = row._meta.fields[name].check(row.__data__[name])
    return row


def update_row(row: Any, columns: Mapping[str, Any]) -> bool:
    """Set the columns of a row that differ, and save it.

    Returns:
        Whether anything was different.

    Raises:
        InvalidValue: a column cannot hold its value.
        StaleRow: the row has moved since it was read, and its text would change.
    """
    fields = row._meta.fields
    checked = {name: fields[name].check(value) for name, value in columns.items()}
    different = {name: value for name, value in checked.items() if getattr(row, name) != value}
    if not different.keys().isdisjoint(TEXTS):
        _lock_unmoved(row)
    for name, value in different.items():
        setattr(row, name, value)
    return bool(different and row.save())


def _lock_unmoved(row: Issue) -> None:
    """Lock a row in its present status, so that nobody releases it before its text is written.

    Raises:
        StaleRow: the row has moved since it was read.
    """
    session().work_on(row, "save", lambda unit, fresh: None, locks=(Lock.ROW,), by=GITHUB, fenced=True)


def fire(
    delivery: Delivery, row: Any, wanted: WantedTrigger | None, *, made: bool = False, changed: bool = False
) -> Applied:
    """Fire a trigger on a row, and record a refusal.

    Args:
        delivery: the delivery.
        row: an issue or a pull request.
        wanted: the trigger; None fires none.
        made: whether the row is new.
        changed: whether columns of it were set.
    """
    applied = Applied(row, made, changed)
    if wanted is None:
        return applied
    try:
        if wanted.name == "complete":
            return applied._replace(moves=tuple(_complete(row, **wanted.arguments)))
        return applied._replace(moves=tuple(getattr(row, wanted.name)(by=GITHUB, **wanted.arguments)))
    except (IllegalTransition, GuardRefused) as refusal:
        if wanted.name == "complete":
            record_need(CLOSED, row)
        return refuse(delivery, applied, str(refusal))


def _complete(row: Issue, reason: str) -> list[Move]:
    """Complete an issue. One that awaits review counts as reviewed by a person: both moves are made, or neither."""
    reviewed = ["review"] if row.status == IssueStatus.AWAITING_REVIEW else []

    def work(unit: UnitOfWork, issue: Issue) -> list[Move]:
        return unit.acts("complete", [(issue, name, {}) for name in (*reviewed, "complete")], GITHUB, reason)

    return session().work_on(row, "complete", work, locks=ISSUE_LOCKS, by=GITHUB, fenced=True)


def refuse(delivery: Delivery, applied: Applied, why: str) -> Applied:
    """Record what was refused, unless the same is recorded already.

    Args:
        delivery: the delivery.
        applied: what it did so far.
        why: what was refused.

    Returns:
        What the delivery did, with the refusal.
    """
    error = {"event": delivery.event, "error": why[:1000]}
    state = find(SyncState, SOURCE)
    recorded = [] if state is None else state.sync_errors or []
    if not any(isinstance(one, dict) and error.items() <= one.items() for one in recorded):
        SyncState.record(SOURCE, error={**error, "action": delivery.action[:100]})
    return applied._replace(refused="; ".join(filter(None, (applied.refused, why))))
