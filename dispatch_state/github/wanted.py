"""Which trigger takes a row to where its issue or its pull request stands on GitHub."""

from __future__ import annotations

from typing import Any

from dispatch_state.github.payloads import Payload
from dispatch_state.models.issue import REVIEWING, Issue
from dispatch_state.models.pull_request import PullRequest
from dispatch_state.vocabulary import IssueStatus, PullRequestStatus

Wanted = tuple[str, dict[str, Any]] | None
"""A trigger that should be fired, and its arguments; None for none."""


def is_closed(action: str, issue: Payload) -> bool:
    """Whether an issue is closed on GitHub, as a delivery of any action says."""
    return action == "closed" or issue.text("state") == "closed"


def wanted_of_issue(action: str, issue: Payload, row: Issue) -> Wanted:
    """What takes a row to where its issue stands, as a delivery of any action says; no row goes back to life."""
    if row.status.final:  # reopened: rework is a new issue, and that is what the refusal says
        return ("queue", {"reason": "reopened on GitHub"}) if action == "reopened" else None
    if action in ("deleted", "transferred"):
        return "cancel", {"reason": f"{action} on GitHub"}
    if not is_closed(action, issue):
        return None
    why = issue.maybe_text("state_reason") or "completed"
    if why == "completed":
        return wanted_when_completed(row)
    return "cancel", {"reason": f"closed on GitHub: {why.replace('_', ' ')}"[:1000]}


def wanted_when_completed(row: Issue) -> Wanted:
    """What takes a live row to the end, when its issue is closed as completed: nobody need begin it any more."""
    begun = row.status in (IssueStatus.IN_PROGRESS, *REVIEWING)
    return "complete" if begun else "cancel", {"reason": "closed on GitHub as completed"}


def wanted_of_request(request: Payload, row: PullRequest) -> Wanted:
    """What takes a row to where its pull request stands, whatever was missed on the way there."""
    status, merged, over = row.status, request.flag("merged"), request.text("state") == "closed"
    if merged:
        return None if status == PullRequestStatus.MERGED else ("merge", {})
    if over:
        return None if status in (PullRequestStatus.CLOSED, PullRequestStatus.MERGED) else ("close", {})
    if status in (PullRequestStatus.CLOSED, PullRequestStatus.MERGED):
        return "reopen", {}
    draft = request.flag("draft")
    if draft == (status == PullRequestStatus.DRAFT):
        return None
    return ("convert_to_draft" if draft else "mark_ready"), {}
