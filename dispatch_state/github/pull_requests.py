"""Applies deliveries about pull requests."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import islice
from typing import Any

from dispatch_state.engine.locks import take_locks
from dispatch_state.errors import GuardRefused
from dispatch_state.github.delivery import (
    GITHUB,
    ISSUE_LOCKS,
    Applied,
    Delivery,
    fire,
    refuse,
    update_row,
    with_checked_values,
)
from dispatch_state.github.lookups import issue_by_branch, issue_by_number, pull_request_by_url
from dispatch_state.github.needs import CLOSED, recorded_need
from dispatch_state.github.payloads import Payload
from dispatch_state.github.progress import set_last_commit
from dispatch_state.github.strangers import has_own_branch, why_untrusted
from dispatch_state.github.triggers import trigger_for_pull_request, trigger_when_completed
from dispatch_state.models.issue import Issue
from dispatch_state.models.pull_request import PullRequest
from dispatch_state.models.queries import unsettled_request
from dispatch_state.vocabulary import PullRequestStatus

PULL_REQUEST_LOCKS = PullRequest.machine.triggers["merge"].locks
"""All locks that a delivery about a pull request may need; see `ISSUE_LOCKS`."""
_CLOSES = re.compile(r"\b(?:close[sd]?|fix(?:e[sd])?|resolve[sd]?):?\s+#(\d{1,9})\b", re.IGNORECASE)
MAX_CLOSED = 20
"""The maximum number of issues that are looked up because the text of a pull request says that it closes them."""


def pull_request_from(payload: Mapping[str, Any]) -> PullRequest:
    """Return an unsaved pull request, made from a delivery with a `pull_request`; its issue is not set.

    Args:
        payload: the delivery.

    Raises:
        InvalidValue: something is missing, or a column cannot hold its value.
    """
    request = Payload(payload, "payload").part("pull_request")
    status = PullRequestStatus.DRAFT if request.flag("draft") else PullRequestStatus.OPEN
    return with_checked_values(PullRequest(**_columns(request), status=status))


def _columns(request: Payload) -> dict[str, Any]:
    return {
        "github_number": request.number("number"),
        "github_url": request.url("html_url"),
        "branch": request.part("head").text("ref"),
    }


def apply_pull_request(delivery: Delivery) -> Applied:
    """Apply a delivery of the event `pull_request`: create or update the row, and move it to its status on GitHub.

    Raises:
        InvalidValue: something in the payload is missing or has another type.
        StaleRow: somebody moved the pull request meanwhile.
    """
    request = delivery.whole.part("pull_request")
    if not delivery.progress.is_news(request.url("html_url"), request.moment("updated_at")):
        return Applied()
    row = pull_request_by_url(request.url("html_url"))
    if row is None:
        created = _create(delivery, request)
        if not created.made:
            return created
        assert isinstance(created.row, PullRequest)
        row, changed = created.row, False
    else:
        created = Applied()
        take_locks(row, PULL_REQUEST_LOCKS)
        changed = not row.status.final and _update(row, request)
    wanted = trigger_for_pull_request(request, row)
    applied = fire(delivery, row, wanted, made=created.made, changed=changed)
    return _with_its_issue(delivery, row, applied) if applied.moves else applied


def _create(delivery: Delivery, request: Payload) -> Applied:
    """Create the pull request if it may move an issue here; one that was closed without a merge is not created."""
    row = pull_request_from(delivery.payload)
    if request.text("state") == "closed" and not request.flag("merged"):
        return Applied()
    issue = _closed_issue(request, delivery.repository)
    if issue is None:
        return refuse(delivery, Applied(), f"{row.github_url}: closes no issue that is known here")
    if (untrusted := why_untrusted(delivery.action, request, delivery.repository)) is not None:
        return refuse(delivery, Applied(), f"{row.github_url}: {untrusted}")
    row.issue = issue
    take_locks(issue, ISSUE_LOCKS)
    try:
        row.save(by=GITHUB, reason=f"opened on GitHub: {row.github_url}"[:1000])
    except GuardRefused as refusal:
        return refuse(delivery, Applied(), str(refusal))
    return Applied(row, made=True)


def _closed_issue(request: Payload, repository: str) -> Issue | None:
    """Return the issue that a pull request says it closes, or whose branch it comes from."""
    numbers = dict.fromkeys(map(int, _CLOSES.findall(request.text_or_empty("body"))))
    for number in islice(numbers, MAX_CLOSED):
        if (issue := issue_by_number(repository, number)) is not None:
            return issue
    return (
        issue_by_branch(repository, request.part("head").text("ref")) if has_own_branch(request, repository) else None
    )


def _update(row: PullRequest, request: Payload) -> bool:
    """Set the columns that differ. When the last commit is new, the checks of the earlier one no longer count."""
    changed = update_row(row, _columns(request))
    commit = request.part("head").text("sha")
    has_new_commit = set_last_commit(request.url("html_url"), commit, request.moment("updated_at"))
    if not has_new_commit or not row.checks_passing:
        return changed
    row.record_checks(False, by=GITHUB)
    return True


def _with_its_issue(delivery: Delivery, row: PullRequest, applied: Applied) -> Applied:
    """Close the issue too, if it is closed on GitHub and waited only for this pull request."""
    issue = Issue.get_by_id(row.issue_id)
    if issue.status.final or unsettled_request(issue.id) is not None or recorded_need(CLOSED, issue) is None:
        return applied
    closed = fire(delivery, issue, trigger_when_completed(issue))
    return applied._replace(moves=applied.moves + closed.moves, refused=closed.refused)
