"""Applies deliveries about issues."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dispatch_state.engine.locks import take_locks
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
from dispatch_state.github.labels import columns_from_labels
from dispatch_state.github.lookups import issue_by_number
from dispatch_state.github.needs import CLOSED, TEXTS, forget_need, text_digests
from dispatch_state.github.payloads import Payload
from dispatch_state.github.strangers import columns_to_take, withhold_text
from dispatch_state.github.triggers import is_closed, trigger_for_issue
from dispatch_state.models.issue import Issue
from dispatch_state.vocabulary import IssueType


def issue_from(payload: Mapping[str, Any], *, repo_path: str | None = None) -> Issue:
    """Return an unsaved issue, made from a delivery with an `issue` and a `repository`.

    Args:
        payload: the delivery.
        repo_path: where the repository is here; its full name when None.

    Raises:
        InvalidValue: something is missing, or a column cannot hold its value.
    """
    whole = Payload(payload, "payload")
    issue, repository = whole.part("issue"), whole.part("repository")
    columns = _columns(issue, repository)
    return with_checked_values(Issue(**columns, repo_path=repo_path or repository.text("full_name")))


def _columns(issue: Payload, repository: Payload) -> dict[str, Any]:
    labels = [label.text("name") for label in issue.parts("labels")]
    return {
        "github_id": issue.number("number"),
        "github_url": issue.url("html_url"),
        "repo_url": repository.url("html_url"),
        "title": issue.text("title"),
        "prompt": issue.text_or_empty("body") or issue.text("title"),
        "labels": labels,
        "issue_type": IssueType.FEATURE,
        **columns_from_labels(labels),
    }


def apply_issue(delivery: Delivery) -> Applied:
    """Apply a delivery of the event `issues`: create or update the issue, and move it to its status on GitHub.

    Raises:
        InvalidValue: something in the payload is missing or has another type.
        StaleRow: somebody moved the issue meanwhile.
    """
    issue = delivery.whole.part("issue")
    if not delivery.progress.is_news(issue.url("html_url"), issue.moment("updated_at")):
        return Applied()
    row = issue_by_number(delivery.repository, issue.number("number"))
    if row is None:
        return _create(delivery, issue)
    take_locks(row, ISSUE_LOCKS)
    columns, taken = _columns(issue, delivery.whole.part("repository")), columns_to_take(delivery.whole, row)
    withheld = withhold_text(delivery.whole, row, columns, taken, delivery.progress)
    changed = not row.status.final and update_row(row, _columns_to_update(columns, row, taken))
    if not is_closed(delivery.action, issue):
        forget_need(CLOSED, row)
    applied = fire(delivery, row, trigger_for_issue(delivery.action, issue, row), changed=changed)
    return applied if withheld is None else refuse(delivery, applied, withheld)


def _create(delivery: Delivery, issue: Payload) -> Applied:
    """Create the issue; one that was over before the first delivery of it is not created."""
    if delivery.action in ("deleted", "transferred") or issue.text("state") == "closed":
        return Applied()
    row = issue_from(delivery.payload, repo_path=delivery.repo_path)
    row.save(by=GITHUB, reason=f"opened on GitHub: {row.github_url}"[:1000])
    delivery.progress.set_applied_text(issue.url("html_url"), text_digests(row.__data__))
    return Applied(row, made=True)


def _columns_to_update(columns: dict[str, Any], row: Issue, taken: set[str]) -> dict[str, Any]:
    """Return the columns that follow GitHub.

    A text that was changed here stays until it changes on GitHub, and a type or priority until the labels change.
    """
    unchanged = set(TEXTS) - taken
    unchanged |= {"issue_type", "priority"} if columns["labels"] == row.labels else set()
    return {name: value for name, value in columns.items() if name not in unchanged}
