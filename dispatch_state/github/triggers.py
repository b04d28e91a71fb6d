"""Which trigger moves a row to the status that its issue or pull request has on GitHub."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from dispatch_state.github.payloads import Payload
from dispatch_state.models.issue import Issue
from dispatch_state.models.pull_request import PullRequest
from dispatch_state.vocabulary import IssueStatus, PullRequestStatus


class WantedTrigger(NamedTuple):
    """A trigger to fire.

    name: the name of the trigger.
    arguments: its arguments, without the actor.
    """

    name: str
    arguments: Mapping[str, Any]


# ---- issues --------------------------------------------------------------------------------------------

CANCELLED_WHEN_COMPLETED = (IssueStatus.UNASSIGNED, IssueStatus.QUEUED, IssueStatus.ASSIGNED, IssueStatus.BLOCKED)
"""The statuses from which an issue is cancelled when it is closed as completed: nobody is at work on it.

From all others it is completed. Where that is illegal or refused, the issue stays, and a person is asked.
"""


def is_closed(action: str, issue: Payload) -> bool:
    """Return whether an issue is closed on GitHub.

    Args:
        action: the action of the delivery, which may be any.
        issue: the issue in the delivery.
    """
    return action == "closed" or issue.text("state") == "closed"


def trigger_for_issue(action: str, issue: Payload, row: Issue) -> WantedTrigger | None:
    """Return the trigger that moves a row to the status of its issue on GitHub; None when there is nothing to move.

    Args:
        action: the action of the delivery, which may be any.
        issue: the issue in the delivery.
        row: the row of the issue.
    """
    if row.status.final:  # a final row stays: firing `queue` gives the refusal that says so
        return WantedTrigger("queue", {"reason": "reopened on GitHub"}) if action == "reopened" else None
    if action in ("deleted", "transferred"):
        return WantedTrigger("cancel", {"reason": f"{action} on GitHub"})
    if not is_closed(action, issue):
        return None
    why = issue.text_or_empty("state_reason") or "completed"
    if why == "completed":
        return trigger_when_completed(row)
    return WantedTrigger("cancel", {"reason": f"closed on GitHub: {why.replace('_', ' ')}"[:1000]})


def trigger_when_completed(row: Issue) -> WantedTrigger:
    """Return the trigger for a live row whose issue is closed on GitHub as completed."""
    name = "cancel" if row.status in CANCELLED_WHEN_COMPLETED else "complete"
    return WantedTrigger(name, {"reason": "closed on GitHub as completed"})


# ---- pull requests -------------------------------------------------------------------------------------


class GitHubState(StrEnum):
    """What a pull request is on GitHub."""

    DRAFT = "draft"
    OPEN = "open"
    MERGED = "merged"
    CLOSED = "closed"


PULL_REQUEST_TRIGGERS: Mapping[GitHubState, Mapping[str, str | None]] = {
    GitHubState.DRAFT: {
        PullRequestStatus.DRAFT: None,
        PullRequestStatus.OPEN: "convert_to_draft",
        PullRequestStatus.MERGED: "reopen",
        PullRequestStatus.CLOSED: "reopen",
    },
    GitHubState.OPEN: {
        PullRequestStatus.DRAFT: "mark_ready",
        PullRequestStatus.OPEN: None,
        PullRequestStatus.MERGED: "reopen",
        PullRequestStatus.CLOSED: "reopen",
    },
    GitHubState.MERGED: {
        PullRequestStatus.DRAFT: "merge",
        PullRequestStatus.OPEN: "merge",
        PullRequestStatus.MERGED: None,
        PullRequestStatus.CLOSED: "merge",
    },
    GitHubState.CLOSED: {
        PullRequestStatus.DRAFT: "close",
        PullRequestStatus.OPEN: "close",
        PullRequestStatus.MERGED: None,
        PullRequestStatus.CLOSED: None,
    },
}
"""The trigger for each state on GitHub and each status here, whatever deliveries were missed in between.

A trigger that is illegal from the status is fired too: its refusal is recorded, so that a person sees the difference.
"""


def trigger_for_pull_request(request: Payload, row: PullRequest) -> WantedTrigger | None:
    """Return the trigger that moves a row to the status of its pull request on GitHub; None when it is there.

    Args:
        request: the pull request in the delivery.
        row: the row of the pull request.
    """
    name = PULL_REQUEST_TRIGGERS[_state(request)][row.status]
    return None if name is None else WantedTrigger(name, {})


def _state(request: Payload) -> GitHubState:
    merged, closed = request.flag("merged"), request.text("state") == "closed"
    if merged:
        return GitHubState.MERGED
    if closed:
        return GitHubState.CLOSED
    return GitHubState.DRAFT if request.flag("draft") else GitHubState.OPEN
