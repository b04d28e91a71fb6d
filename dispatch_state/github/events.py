"""Applies a delivery: finds the handler of its event, and runs it in one transaction."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable, Mapping
from typing import Any

from dispatch_state.errors import InvalidValue, StaleRow
from dispatch_state.github.delivery import Applied, Delivery
from dispatch_state.github.issues import apply_issue
from dispatch_state.github.payloads import Payload
from dispatch_state.github.progress import SyncProgress
from dispatch_state.github.pull_requests import apply_pull_request
from dispatch_state.github.reviews import apply_check_suite, apply_review
from dispatch_state.lifecycle.session import session
from dispatch_state.models.issue import Issue
from dispatch_state.storage.current import DATABASE
from dispatch_state.storage.targets import POSTGRESQL
from dispatch_state.values import listed, shown

LONGEST = 25 * 1024 * 1024
"""The maximum length of a delivery's JSON in bytes."""
TRIES = 3
"""The number of times that a delivery is applied again when others have moved its row meanwhile."""

HANDLERS: Mapping[str, Callable[[Delivery], Applied]] = {
    "issues": apply_issue,
    "pull_request": apply_pull_request,
    "pull_request_review": apply_review,
    "check_suite": apply_check_suite,
}


def apply_event(event: str, payload: Mapping[str, Any], *, repo_path: str | None = None) -> Applied:
    """Apply a delivery to the open store, in one transaction.

    Args:
        event: `issues`, `pull_request`, `pull_request_review` or `check_suite`, as the header `X-GitHub-Event` says.
        payload: the delivery, parsed.
        repo_path: where the repository is here, for issues that are new; its full name when None.

    Returns:
        What the delivery did. An action that concerns no column and no status does nothing.

    Raises:
        InvalidValue: the event is not one of these, the payload is not JSON or is longer than 25 MiB, or something in
            it is missing or has another type.
        StaleRow: others moved the row each time that the delivery was applied.
    """
    opened = session()
    handler = HANDLERS.get(event) if isinstance(event, str) else None
    if handler is None:
        raise InvalidValue(f"event: {shown(event)} is not one of {listed(HANDLERS)}")
    if repo_path is not None:
        Issue.repo_path.check(repo_path)
    whole = Payload(payload, "payload")
    action, repository = whole.text("action"), whole.part("repository").url("html_url")
    digest = _digest(payload)

    def work(unit: Any) -> Applied:
        _lock_repository(repository)
        delivery = Delivery(event, action, whole, payload, repo_path, SyncProgress(digest))
        applied = handler(delivery)
        delivery.progress.save(refused=applied.refused is not None)
        return applied

    for _ in range(TRIES):
        try:
            return opened.write(work)
        except StaleRow:
            continue  # somebody moved the row after it was read
    return opened.write(work)


def _digest(payload: Mapping[str, Any]) -> str:
    """Return a text that is the same for the same payload, and only for that.

    Raises:
        InvalidValue: the payload is not JSON, or longer than what GitHub sends.
    """
    try:
        text = json.dumps(payload, sort_keys=True)
    except (TypeError, ValueError, RecursionError):
        raise InvalidValue("payload: takes plain JSON that is not nested too deeply") from None
    if len(text) > LONGEST:
        raise InvalidValue(f"payload: the JSON is longer than {LONGEST:,} bytes, the most that GitHub sends")
    return hashlib.sha256(text.encode()).hexdigest()


def _lock_repository(url: str) -> None:
    """Let no other process apply a delivery of the repository meanwhile; SQLite has one writer in any case."""
    if DATABASE.kind == POSTGRESQL:
        DATABASE.execute_sql("SELECT pg_advisory_xact_lock(%s)", (zlib.crc32(url.encode(errors="replace")),))
