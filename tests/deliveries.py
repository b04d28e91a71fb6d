"""Deliveries of GitHub: the samples of the examples, changed as a test needs them, and the rows they make."""

from __future__ import annotations

import copy
import json
from typing import Any

from dispatch_state import Issue, PullRequest, Store
from dispatch_state.github.events import apply_event
from tests.paths import ROOT
from tests.world import World

FOLDER = ROOT / "examples" / "deliveries"
DELIVERIES = {path.stem[3:]: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
SHOP = "https://github.com/octo/shop"


def changed(name: str, at: str | None = None, **parts: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """A sample delivery, with other values in its parts, sent at another moment."""
    delivery = copy.deepcopy(DELIVERIES[name])
    payload = delivery["payload"]
    for part, values in parts.items():
        if part == "top":
            payload.update(values)
        else:
            payload[part].update(values)
    for part in ("issue", "pull_request", "check_suite"):
        if at and part in payload:
            payload[part]["updated_at"] = at
    if at and "review" in payload:
        payload["review"]["submitted_at"] = at
    return delivery["event"], payload


def opened(**values: Any) -> Issue:
    """Issue 12, made by its delivery."""
    row = apply_event(*changed("issues_opened", issue={"number": 12, "html_url": f"{SHOP}/issues/12", **values})).row
    assert isinstance(row, Issue)
    return row


def requested(**values: Any) -> PullRequest:
    """Pull request 14, which closes issue 12, made by its delivery."""
    row = apply_event(*changed("pull_request_opened", pull_request=values)).row
    assert isinstance(row, PullRequest)
    return row


def closed(day: int = 1, action: str = "closed", **issue: Any) -> tuple[str, dict[str, Any]]:
    """A delivery about issue 12, which is closed as completed unless it says otherwise, of a day in February."""
    values = {"number": 12, "html_url": f"{SHOP}/issues/12", "state": "closed", "state_reason": "completed", **issue}
    return changed("issues_closed", f"2026-02-{day:02}T00:00:00Z", top={"action": action}, issue=values)


def in_status(store: Store, status: str, *requests: str) -> Issue:
    """Issue 12 in a status, with pull requests in these."""
    columns = {"github_id": 12, "github_url": f"{SHOP}/issues/12", "repo_url": SHOP}
    issue = World(store).issues(status, **columns)
    for number, state in enumerate(requests, 14):
        url = f"{SHOP}/pull/{number}"
        PullRequest.create(issue=issue, github_number=number, github_url=url, branch="b", status=state)
    return issue


FORK = {"ref": "keep-cart", "sha": "a" * 40, "repo": {"html_url": "https://github.com/stranger/shop"}}
