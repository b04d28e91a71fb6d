"""Issues that are closed on GitHub, and how long a person is asked about them."""

from __future__ import annotations

from typing import Any

import pytest

from dispatch_state import Issue, PullRequest, Store, SyncState, github
from dispatch_state.github import triggers
from dispatch_state.github.events import apply_event
from dispatch_state.testing.scratch import Clock
from tests.deliveries import changed, closed, in_status
from tests.world import MAINTAINER, WHY, World


def left_closed(store: Store) -> list[Any]:
    return [need.row for need in store.needs_human() if need.kind == "closed on GitHub"]


@pytest.mark.parametrize("reason", ["completed", None, ""])
@pytest.mark.parametrize(
    ("status", "comes"),
    [("unassigned", "cancelled"), ("queued", "cancelled"), ("assigned", "cancelled"), ("blocked", "cancelled"),
     ("in_progress", "done"), ("awaiting_review", "done"), ("in_review", "done")],
)  # fmt: skip
def test_closed_as_completed(store: Store, status: str, comes: str, reason: str | None) -> None:
    issue = in_status(store, status)
    applied = apply_event(*closed(state_reason=reason))
    assert (issue.reload().status, applied.refused) == (comes, None)
    made = store.changes(after=applied.moves[0].seq - 1)
    assert {(move.reason, move.actor) for move in made} == {("closed on GitHub as completed", "system:github")}
    agent = World(store).agent() if issue.assigned_agent is None else issue.assigned_agent
    assert (agent.status, store.claim(agent)) == ("idle", None)
    assert left_closed(store) == []


@pytest.mark.parametrize("reason", ["not_planned", "duplicate", "a reason of next year"])
@pytest.mark.parametrize("status", [str(status) for status in Issue.statuses.live()])
def test_closed_for_another_reason_is_cancelled(store: Store, status: str, reason: str) -> None:
    issue = in_status(store, status)
    apply_event(*closed(state_reason=reason))
    assert issue.reload().status == "cancelled"
    last = next(move for move in reversed(store.history(issue)) if move.trigger == "cancel")
    assert last.reason == f"closed on GitHub: {reason.replace('_', ' ')}"
    assert issue.assigned_agent is None or issue.assigned_agent.status == "idle"


@pytest.mark.parametrize(
    ("status", "first"),
    [("in_progress", "draft"), ("awaiting_review", "draft"), ("awaiting_review", "open"), ("in_review", "open")],
)
def test_closed_with_an_open_request_it_stays_and_a_person_is_asked(
    store: Store, clock: Clock, status: str, first: str
) -> None:
    issue = in_status(store, status, first)
    clock.forward(hours=1)
    came, moves = clock.now, len(store.changes())
    for day in (1, 2):
        applied = apply_event(*closed(day))
        assert (applied.moves, len(store.changes())) == ((), moves)
        assert f"is {first}; merge or close it" in str(applied.refused)
        clock.forward(hours=1)
    assert issue.reload().status == status
    (kept,) = SyncState.get_by_id("github").sync_errors
    assert (kept["event"], kept["action"]) == ("issues", "closed")
    assert [(need.kind, need.row, need.since) for need in store.needs_human()] == [("closed on GitHub", issue, came)]
    assert "a person (merge or close its pull request, or cancel it)" in store.explain(issue)


def test_closed_in_a_status_of_which_nothing_is_said_it_stays_and_a_person_is_asked(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an issue in a new status would, which is neither cancelled nor can be completed."""
    monkeypatch.setattr(triggers, "CANCELLED_WHEN_COMPLETED", ())
    issue = in_status(store, "blocked")
    applied = apply_event(*closed())
    assert (issue.reload().status, applied.moves, left_closed(store)) == ("blocked", (), [issue])
    assert "complete" in str(applied.refused)


def test_a_queued_issue_with_an_open_request_is_not_offered_any_more(store: Store) -> None:
    issue = in_status(store, "queued", "open")
    apply_event(*closed())
    assert (issue.reload().status, left_closed(store)) == ("cancelled", [])


@pytest.mark.parametrize("end", ["merged", "closed", "reopened", "cancelled"])
def test_until_when_a_person_is_asked(store: Store, end: str) -> None:
    issue = in_status(store, "awaiting_review", "draft", "draft")
    apply_event(*closed())
    first, second = issue.pull_requests.order_by(PullRequest.github_number)
    gone = {"number": 14, "html_url": first.github_url, "state": "closed", "merged": False}
    assert apply_event(*changed("pull_request_merged", "2026-02-02T00:00:00Z", pull_request=gone)).refused is None
    assert left_closed(store) == [issue]
    if end == "reopened":
        apply_event(*closed(2, "reopened", state="open", state_reason="reopened"))
    elif end == "cancelled":
        issue.reload().cancel(by=MAINTAINER, reason=WHY)
    else:
        gone.update(number=15, html_url=second.github_url, merged=end == "merged")
        applied = apply_event(*changed("pull_request_merged", "2026-02-03T00:00:00Z", pull_request=gone))
        assert applied.refused is None
        assert ("issues", "complete") in [(move.entity, move.trigger) for move in applied.moves]
    wanted = {"reopened": "awaiting_review", "cancelled": "cancelled"}.get(end, "done")
    assert (issue.reload().status, left_closed(store)) == (wanted, [])
    assert issue.assigned_agent.status == "idle"


def test_any_later_delivery_says_that_it_is_closed(store: Store) -> None:
    """The delivery that closed it may be lost, or come too late."""
    issue = in_status(store, "queued")
    assert [move.trigger for move in apply_event(*closed(2, "labeled")).moves] == ["cancel"]
    assert apply_event(*closed(1)) == github.Applied()
    assert issue.reload().status == "cancelled"
