"""Deliveries of GitHub's webhooks: rows found or made, statuses moved by triggers, refusals kept, nothing twice."""

from __future__ import annotations

import copy
import hmac
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dispatch_state import ConfigEntry, InvalidValue, Issue, PullRequest, StaleRow, Store, SyncState, github
from dispatch_state.github import (
    apply_event,
    events,
    issue_from,
    issues,
    pull_request_from,
    pull_requests,
    signed,
)
from dispatch_state.testing import scratch_store
from dispatch_state.testing.outcomes import everything
from tests.conftest import Clock
from tests.invariants import broken
from tests.world import MAINTAINER, WHY, World

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "examples" / "deliveries"
DELIVERIES = {path.stem[3:]: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
SHOP = "https://github.com/octo/shop"


@pytest.fixture
def memory() -> Iterator[Store]:
    """An empty store, for what does not depend on the database."""
    with scratch_store("memory") as store:
        yield store
        assert broken(store) == []


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


# ---- issues --------------------------------------------------------------------------------------------


def test_an_opened_issue_is_made(store: Store) -> None:
    applied = apply_event(
        *changed("issues_opened", issue={"number": 12, "labels": [{"name": "Type: Bug"}, {"name": "P1"}]})
    )
    issue = applied.row
    assert isinstance(issue, Issue)
    assert (applied.made, applied.moves, applied.refused) == (True, (), None)
    assert (issue.status, issue.github_id, issue.repo_path) == ("unassigned", 12, "octo/shop")
    assert (issue.issue_type, issue.priority, issue.labels) == ("bug", "high", ["Type: Bug", "P1"])
    assert store.history(issue)[0].actor == "system:github"


def test_it_is_put_where_the_repository_is_here(memory: Store) -> None:
    assert apply_event(*changed("issues_opened"), repo_path="/src/shop").row.repo_path == "/src/shop"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("labels", "kind", "priority"),
    [
        ([], "feature", "medium"),
        (["enhancement"], "feature", "medium"),
        (["kind/documentation", "urgent"], "docs", "critical"),
        (["priority: low"], "feature", "low"),
        (["p0", "security"], "security", "critical"),
        (["highlight", "bugfix"], "feature", "medium"),
    ],
)
def test_labels_say_type_and_priority(memory: Store, labels: list[str], kind: str, priority: str) -> None:
    issue = opened(labels=[{"name": name} for name in labels])
    assert (issue.issue_type, issue.reload().priority) == (kind, priority)


def test_an_edited_issue_is_brought_up_to_date(store: Store) -> None:
    issue = opened()
    applied = apply_event(*changed("issues_opened", "2026-02-01T00:00:00Z", top={"action": "edited"}, issue={
        "number": 12, "title": "Better", "body": None, "labels": [{"name": "low"}]}))  # fmt: skip
    assert (applied.row, applied.changed, applied.made) == (issue, True, False)
    issue.reload()
    assert (issue.title, issue.prompt, issue.priority, issue.version) == ("Better", "Better", "low", 1)


def test_issues_of_two_repositories_are_two(store: Store) -> None:
    opened()
    other = {"full_name": "octo/other", "html_url": "https://github.com/octo/other"}
    apply_event(
        *changed("issues_opened", repository=other, issue={"number": 12, "html_url": f"{other['html_url']}/issues/12"})
    )
    assert Issue.select().count() == 2


def test_closed_as_completed_is_completed_where_that_is_legal(store: Store) -> None:
    issue = opened()
    World(store).start(issue)
    closed = changed("issues_closed", issue={"number": 12, "state_reason": "completed", "html_url": issue.github_url})
    assert apply_event(*closed).moves[0].trigger == "complete"
    assert issue.reload().status == "done"


def test_closed_as_not_planned_is_cancelled(store: Store) -> None:
    issue = opened()
    apply_event(*changed("issues_closed", issue={"number": 12, "html_url": issue.github_url}))
    assert (issue.reload().status, store.history(issue)[-1].reason) == ("cancelled", "closed on GitHub: not planned")


def test_deleted_is_cancelled(store: Store) -> None:
    issue = opened()
    apply_event(*changed("issues_opened", "2026-02-01T00:00:00Z", top={"action": "deleted"}, issue={"number": 12}))
    assert issue.reload().status == "cancelled"


def test_what_was_over_before_is_not_made(memory: Store) -> None:
    assert apply_event(*changed("issues_closed")) == github.Applied()
    assert not Issue.select().exists()


def test_what_the_machine_refuses_is_kept_once(store: Store) -> None:
    """Rework of what is over is a new issue."""
    issue = opened()
    apply_event(*closed())
    for _ in range(2):
        assert "queue does not start there" in str(apply_event(*closed(2, "reopened", state="open")).refused)
    (kept,) = SyncState.get_by_id("github").sync_errors
    assert (kept["event"], kept["action"]) == ("issues", "reopened")
    assert issue.reload().status == "cancelled"


# ---- issues that are closed ----------------------------------------------------------------------------


def closed(day: int = 1, action: str = "closed", **issue: Any) -> tuple[str, dict[str, Any]]:
    """A delivery about issue 12, which is closed as completed unless it says otherwise, of a day in February."""
    values = {"number": 12, "html_url": f"{SHOP}/issues/12", "state": "closed", "state_reason": "completed", **issue}
    return changed("issues_closed", f"2026-02-{day:02}T00:00:00Z", top={"action": action}, issue=values)


def in_status(store: Store, status: str, *requests: str) -> Issue:
    """Issue 12 in a status, with pull requests in these."""
    columns = {"github_id": 12, "github_url": f"{SHOP}/issues/12", "repo_url": SHOP}
    issue = World(store).issues(status, **columns)
    for number, born in enumerate(requests, 14):
        url = f"{SHOP}/pull/{number}"
        PullRequest.create(issue=issue, github_number=number, github_url=url, branch="b", status=born)
    return issue


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
    ("status", "born"),
    [("in_progress", "draft"), ("awaiting_review", "draft"), ("awaiting_review", "open"), ("in_review", "open")],
)
def test_closed_with_an_open_request_it_stays_and_a_person_is_asked(
    store: Store, clock: Clock, status: str, born: str
) -> None:
    issue = in_status(store, status, born)
    clock.forward(hours=1)
    came, moves = clock.now, len(store.changes())
    for day in (1, 2):
        applied = apply_event(*closed(day))
        assert (applied.moves, len(store.changes())) == ((), moves)
        assert f"is {born}; merge or close it" in str(applied.refused)
        clock.forward(hours=1)
    assert issue.reload().status == status
    (kept,) = SyncState.get_by_id("github").sync_errors
    assert (kept["event"], kept["action"]) == ("issues", "closed")
    assert [(need.kind, need.row, need.since) for need in store.needs_human()] == [("closed on GitHub", issue, came)]
    assert "a person (merge or close its pull request, or cancel it)" in store.explain(issue)


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


# ---- pull requests -------------------------------------------------------------------------------------


def test_a_text_closes_at_most_twenty_different_issues(memory: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each number is looked for once, and no more than twenty, however long the text is."""
    issue = opened()
    looked_for: list[int] = []
    by_number = pull_requests.issue_by_number

    def counted(repository: str, number: int) -> Any:
        looked_for.append(number)
        return by_number(repository, number)

    monkeypatch.setattr(pull_requests, "issue_by_number", counted)
    others = " ".join(f"fix #{number}" for number in range(1_000, 80_000))
    branch = {"head": {"ref": "elsewhere", "sha": "1" * 40, "repo": {"html_url": SHOP}}}
    for before, found in ((19, True), (20, False)):
        looked_for.clear()
        first = " ".join(f"fix #{number}" for number in range(100, 100 + before))
        text = f"{'fix #100 ' * 10_000}{first} fix #12 {others}"
        assert 900_000 < len(text) <= 1_000_000
        applied = apply_event(*changed("pull_request_opened", pull_request={
            "body": text, "number": 500 + before, "html_url": f"{SHOP}/pull/{500 + before}", **branch}))  # fmt: skip
        assert (applied.made, getattr(applied.row, "issue_id", None)) == (found, issue.id if found else None)
        assert looked_for == [*range(100, 100 + before), *([12] if found else [])]


def test_a_request_is_made_for_the_issue_it_closes(store: Store) -> None:
    issue = opened()
    request = requested()
    assert (request.issue, request.status, request.github_number, request.branch) == (issue, "draft", 14, "keep-cart")


def test_a_request_from_an_issues_branch_is_its(store: Store) -> None:
    issue = opened()
    issue.assign(World(store).agent(), branch_name="keep-cart", by=MAINTAINER)
    assert requested(body="No word of it").issue == issue


def test_a_request_for_nothing_known_is_kept_as_an_error(store: Store) -> None:
    for _ in range(2):
        applied = apply_event(*changed("pull_request_opened", pull_request={"body": None}))
        assert (applied.row, applied.made) == (None, False)
    assert len(SyncState.get_by_id("github").sync_errors) == 1
    assert not PullRequest.select().exists()


def test_a_request_for_an_issue_that_is_over_is_kept_as_an_error(store: Store) -> None:
    opened().cancel(by=MAINTAINER, reason=WHY)
    assert "is cancelled" in str(apply_event(*changed("pull_request_opened")).refused)
    assert not PullRequest.select().exists()


def test_the_life_of_a_request(store: Store) -> None:
    issue = opened()
    agent = World(store).start(issue)
    request = requested()
    for name in ("pull_request_ready", "check_suite_completed", "review_submitted"):
        apply_event(*changed(name))
    request.reload()
    assert (request.status, request.checks_passing, request.review_status) == ("open", True, "approved")
    assert issue.reload().status == "awaiting_review"
    moves = apply_event(*changed("pull_request_merged")).moves
    assert moves[0].trigger == "merge"
    assert ("issues", "complete") in [(move.entity, move.trigger) for move in moves]
    assert agent.reload().status == "idle"


@pytest.mark.parametrize(("draft", "state", "merged", "status"), [
    (True, "open", False, "draft"), (False, "open", False, "open"), (False, "closed", False, "closed"),
    (False, "closed", True, "merged"),
])  # fmt: skip
def test_the_newest_state_wins(store: Store, draft: bool, state: str, merged: bool, status: str) -> None:
    """Whatever was missed on the way there."""
    opened()
    request = requested()
    values = {"draft": draft, "state": state, "merged": merged}
    for _ in range(2):
        apply_event(*changed("pull_request_opened", "2026-02-01T00:00:00Z", pull_request=values))
        assert request.reload().status == status


def test_a_closed_request_is_reopened(store: Store) -> None:
    opened()
    request = requested(draft=False)
    for moment, state in (("01", "closed"), ("02", "open")):
        at = f"2026-02-{moment}T00:00:00Z"
        apply_event(*changed("pull_request_opened", at, pull_request={"state": state, "draft": False}))
    assert [move.trigger for move in store.history(request)] == ["create", "close", "reopen"]


@pytest.mark.parametrize(
    ("conclusion", "passing"), [("success", True), ("neutral", True), ("failure", False), ("timed_out", False)]
)
def test_checks(memory: Store, conclusion: str, passing: bool) -> None:
    opened()
    request = requested()
    apply_event(*changed("check_suite_completed", check_suite={"conclusion": conclusion}))
    assert request.reload().checks_passing is passing


@pytest.mark.parametrize(
    ("action", "state", "status"),
    [("submitted", "changes_requested", "changes_requested"), ("submitted", "commented", "pending"),
     ("submitted", "APPROVED", "approved"), ("dismissed", "approved", "dismissed")],
)  # fmt: skip
def test_reviews(memory: Store, action: str, state: str, status: str) -> None:
    opened()
    request = requested()
    apply_event(*changed("review_submitted", top={"action": action}, review={"state": state}))
    assert request.reload().review_status == status


# ---- again, late, wrong --------------------------------------------------------------------------------


def test_every_delivery_again_changes_nothing(store: Store) -> None:
    """Each at once, and all of them once more afterwards, in any order."""
    sent = [(one["event"], one["payload"]) for one in DELIVERIES.values()]
    for event, payload in sent:
        apply_event(event, payload)
        before = everything()
        apply_event(event, payload)
        assert everything() == before
    before = everything()
    for event, payload in [*sent, *reversed(sent)]:
        apply_event(event, payload)
    assert everything() == before
    assert broken(store) == []


def test_a_late_delivery_does_not_turn_back_time(store: Store) -> None:
    opened()
    request = requested()
    apply_event(*changed("pull_request_opened", "2026-02-02T00:00:00Z", pull_request={"state": "closed"}))
    late = apply_event(*changed("pull_request_ready", "2026-02-01T00:00:00Z"))
    assert late == github.Applied()
    assert request.reload().status == "closed"


def test_a_delivery_again_does_not_undo_another_of_the_same_second(memory: Store) -> None:
    """GitHub counts whole seconds, and a dismissed review keeps the moment of its verdict."""
    issue = opened()
    at = "2026-02-01T00:00:00Z"
    sent = [
        changed("issues_opened", at, top={"action": "edited"}, issue={"number": 12, "title": title})
        for title in ("One", "Two")
    ]
    for delivery in (*sent, sent[0]):
        apply_event(*delivery)
    assert issue.reload().title == "Two"
    request = requested()
    verdicts = [
        changed("review_submitted", at, top={"action": action}, review={"state": state})
        for action, state in (("submitted", "changes_requested"), ("dismissed", "dismissed"))
    ]
    for delivery in (*verdicts, verdicts[0]):
        apply_event(*delivery)
    assert request.reload().review_status == "dismissed"


def test_what_was_refused_may_be_sent_again(memory: Store) -> None:
    """GitHub can redeliver: once the issue is known, the pull request finds it."""
    delivery = changed("pull_request_opened")
    assert apply_event(*delivery).refused
    opened()
    assert apply_event(*delivery).made


def test_a_row_that_moves_meanwhile_is_read_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    issue = opened()
    copies = [Issue.get_by_id(issue.id)]
    issue.queue(by=MAINTAINER)
    read = issues.issue_by_number
    monkeypatch.setattr(issues, "issue_by_number", lambda *where: copies.pop() if copies else read(*where))
    applied = apply_event(*changed("issues_closed", issue={"number": 12, "html_url": issue.github_url}))
    assert [(move.trigger, move.source) for move in applied.moves] == [("cancel", "queued")]
    assert not copies


def test_a_row_that_never_stands_still_is_told(memory: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    issue = opened()
    copies = [Issue.get_by_id(issue.id) for _ in range(events.TRIES + 1)]
    issue.queue(by=MAINTAINER)
    monkeypatch.setattr(issues, "issue_by_number", lambda *where: copies.pop())
    before = everything()
    with pytest.raises(StaleRow):
        apply_event(*changed("issues_closed", issue={"number": 12, "html_url": issue.github_url}))
    assert everything() == before
    assert not copies


def test_what_was_changed_here_stays_until_it_changes_there(memory: Store) -> None:
    issue = opened(labels=[{"name": "low"}])
    issue.prompt, issue.issue_type, issue.priority = "Our plan", "security", "high"
    issue.save()
    later = {"number": 12, "labels": [{"name": "low"}], "body": "Theirs"}
    apply_event(*changed("issues_opened", "2026-02-01T00:00:00Z", top={"action": "assigned"}, issue=later))
    issue.reload()
    assert (issue.prompt, issue.issue_type, issue.priority) == ("Our plan", "security", "high")
    later["labels"] = [{"name": "bug"}]
    apply_event(*changed("issues_opened", "2026-02-02T00:00:00Z", top={"action": "labeled"}, issue=later))
    apply_event(*changed("issues_opened", "2026-02-03T00:00:00Z", top={"action": "edited"}, issue=later))
    issue.reload()
    assert (issue.prompt, issue.issue_type, issue.priority) == ("Theirs", "bug", "high")


FORK = {"ref": "keep-cart", "sha": "a" * 40, "repo": {"html_url": "https://github.com/stranger/shop"}}


@pytest.mark.parametrize("body", ["Fixes #12", None])
@pytest.mark.parametrize("head", [FORK, {**FORK, "repo": None}])
def test_a_stranger_moves_no_issue(memory: Store, head: dict[str, Any], body: str | None) -> None:
    """Neither by naming it, nor by naming a branch as its agent did, until somebody merges that."""
    issue = opened()
    agent = World(memory).agent()
    issue.assign(agent, branch_name="keep-cart", by=MAINTAINER)
    issue.start(by=agent)
    values = {"head": head, "body": body, "author_association": "CONTRIBUTOR", "draft": False}
    assert apply_event(*changed("pull_request_opened", pull_request=values)).refused
    assert issue.reload().status == "in_progress"
    merged = {**values, "body": None, "state": "closed", "merged": True}
    assert apply_event(*changed("pull_request_opened", "2026-02-01T00:00:00Z", pull_request=merged)).refused
    merged["body"] = "Fixes #12"
    apply_event(*changed("pull_request_opened", "2026-02-01T00:00:00Z", pull_request=merged))
    assert issue.reload().status == "done"


def test_a_collaborators_fork_is_welcome(memory: Store) -> None:
    issue = opened()
    assert requested(head=FORK, author_association="COLLABORATOR").issue == issue


def test_requests_for_nothing_known_leave_room_for_other_errors(memory: Store) -> None:
    for action in ("opened", "synchronize", "labeled"):
        apply_event(*changed("pull_request_opened", top={"action": action}))
    assert len(SyncState.get_by_id("github").sync_errors) == 1


def test_checks_of_commits_that_are_not_the_last(memory: Store) -> None:
    opened()
    request = requested()
    apply_event(*changed("check_suite_completed", check_suite={"head_sha": "c" * 40}))
    assert request.reload().checks_passing is False


def suite(number: int, conclusion: str, at: str, commit: str = "a" * 40, **parts: Any) -> tuple[str, dict[str, Any]]:
    """A check suite of a commit, which is the last one of pull request 14."""
    event, payload = changed("check_suite_completed", at, **parts)
    told = payload["check_suite"]
    told.update(id=number, conclusion=conclusion, head_sha=commit)
    told["pull_requests"][0]["head"]["sha"] = commit
    return event, payload


def test_checks_pass_when_every_suite_does(store: Store) -> None:
    """Each workflow is a suite of its own; whichever tells last, and however often."""
    opened()
    request = requested()
    tests = suite(1, "failure", "2026-02-01T00:00:01Z")
    docs = suite(2, "success", "2026-02-01T00:00:02Z")
    again = suite(1, "success", "2026-02-01T00:00:03Z")
    for delivery, passing in [(tests, False), (docs, False), (docs, False), (again, True), (tests, True), (docs, True)]:
        apply_event(*delivery)
        assert request.reload().checks_passing is passing


def test_checks_of_an_earlier_commit_count_no_more(store: Store) -> None:
    opened()
    request = requested()
    old = suite(1, "success", "2026-02-01T00:00:01Z")
    before = requested_at("2026-02-01T00:00:00Z", "c" * 40)
    pushed = requested_at("2026-02-02T00:00:00Z", "b" * 40)
    mended = suite(3, "success", "2026-02-02T00:00:01Z", "b" * 40)
    pushed_again = requested_at("2026-02-03T00:00:00Z", "d" * 40)
    and_again = requested_at("2026-02-03T12:00:00Z", "f" * 40)
    early = suite(4, "failure", "2026-02-04T00:00:00Z", "e" * 40)
    pushed_late = requested_at("2026-02-03T23:59:59Z", "e" * 40)
    for delivery, passing, does in [
        (old, True, True), (before, True, False), (pushed, False, True), (old, False, False), (mended, True, True),
        (pushed, True, False), (old, True, False), (pushed_again, False, True), (mended, False, False),
        (and_again, False, False), (early, False, False), (pushed_late, False, False),
    ]:  # fmt: skip
        assert apply_event(*delivery).changed is does
        assert request.reload().checks_passing is passing
    assert apply_event(*suite(5, "success", "2026-02-04T00:00:01Z", "e" * 40)).changed is False  # one of them failed
    assert apply_event(*suite(4, "success", "2026-02-04T00:00:02Z", "e" * 40)).changed is True


def requested_at(moment: str, commit: str) -> tuple[str, dict[str, Any]]:
    """Pull request 14, of which a commit is the last one at a moment."""
    event, payload = changed("pull_request_opened", moment, top={"action": "synchronize"})
    payload["pull_request"]["head"]["sha"] = commit
    return event, payload


def test_a_forks_suite_says_nothing_of_another_repositorys_request(memory: Store) -> None:
    opened()
    request = requested()
    event, payload = suite(1, "success", "2026-02-01T00:00:01Z")
    payload["check_suite"]["pull_requests"][0]["base"]["repo"]["id"] += 1
    assert apply_event(event, payload) == github.Applied()
    assert request.reload().checks_passing is False


def test_a_verdict_is_dismissed_after_somebodys_comment(memory: Store) -> None:
    """A dismissed review keeps the moment at which it was submitted."""
    opened()
    request = requested()
    for second, action, state in [(1, "submitted", "changes_requested"), (2, "submitted", "commented"),
                                  (1, "dismissed", "dismissed")]:  # fmt: skip
        at = f"2026-02-01T00:00:0{second}Z"
        apply_event(*changed("review_submitted", at, top={"action": action}, review={"state": state}))
    assert request.reload().review_status == "dismissed"


def test_a_review_of_a_request_that_was_not_known_yet_may_be_sent_again(memory: Store) -> None:
    review = changed("review_submitted")
    assert apply_event(*review) == github.Applied()
    opened()
    request = requested()
    apply_event(*review)
    assert request.reload().review_status == "approved"


EVENTS = ["issues_opened", "pull_request_opened", "review_submitted", "check_suite_completed"]
NEEDED = {
    "issues_opened": [
        *("issue.number", "issue.html_url", "issue.title", "issue.labels", "issue.updated_at", "issue.state"),
        *("repository.html_url", "repository.full_name"),
    ],
    "pull_request_opened": [f"pull_request.{name}" for name in ("number", "html_url", "head", "state", "updated_at")],
    "review_submitted": ["review.state", "review.submitted_at", "pull_request.html_url"],
    "check_suite_completed": [f"check_suite.{name}" for name in ("conclusion", "pull_requests", "id", "updated_at")],
}
BAD = [None, 7, "text", {}, [1], True]


@pytest.mark.parametrize(("event", "path"), [(event, path) for event, paths in NEEDED.items() for path in paths])
def test_what_is_missing_or_wrong_is_named_and_changes_nothing(memory: Store, event: str, path: str) -> None:
    part, key = path.split(".")
    refused = 0
    for value in BAD:
        before = everything()
        name, payload = changed(event, **{part: {key: value}})
        try:
            apply_event(name, payload)
        except InvalidValue as error:
            refused += 1
            assert key in str(error)
            assert everything() == before
    assert refused >= 2


NO_DELIVERIES = [None, 7, "text", [], [{}], {}, {"action": "opened"}, {"action": 1, "repository": {}}]


@pytest.mark.parametrize("wrong", NO_DELIVERIES)
def test_what_is_no_delivery(memory: Store, wrong: Any) -> None:
    for event in ("issues", "pull_request", "pull_request_review", "check_suite"):
        with pytest.raises(InvalidValue):
            apply_event(event, wrong)
    with pytest.raises(InvalidValue):
        issue_from(wrong)
    with pytest.raises(InvalidValue):
        pull_request_from(wrong)


@pytest.mark.parametrize("event", ["push", "", None, 7, "Issues"])
def test_events_that_are_not_known(memory: Store, event: Any) -> None:
    with pytest.raises(InvalidValue, match="issues, pull_request, pull_request_review, check_suite"):
        apply_event(event, changed("issues_opened")[1])


def test_values_that_no_column_holds(memory: Store) -> None:
    for values in ({"title": "a\0b"}, {"title": "\ud800"}, {"number": 2**63}, {"body": "x" * 1_000_001}):
        with pytest.raises(InvalidValue):
            apply_event(*changed("issues_opened", issue=values))
    assert not Issue.select().exists()
    assert not ConfigEntry.select().exists()


@pytest.mark.parametrize("value", ["a\0b", "\ud800", "x" * 3000, " "], ids=["NUL", "surrogate", "long", "blank"])
@pytest.mark.parametrize("name", EVENTS)
def test_addresses_that_no_row_is_found_by(store: Store, name: str, value: str) -> None:
    before = everything()
    with pytest.raises(InvalidValue, match=r"^payload\.repository\.html_url: "):
        apply_event(*changed(name, repository={"html_url": value}))
    assert everything() == before


def nested(depth: int) -> Any:
    found: Any = []
    for _ in range(depth):
        found = [found]
    return found


@pytest.mark.parametrize(
    "wrong", [{(1, 2): 3}, {1: 2, "x": 3}, object(), "y" * github.LONGEST, nested(100_000)], ids=type
)
def test_what_is_no_json_of_githubs(memory: Store, wrong: Any) -> None:
    event, payload = changed("issues_opened")
    with pytest.raises(InvalidValue, match=r"^payload: "):
        apply_event(event, {**payload, "more": wrong})
    assert not Issue.select().exists()


@pytest.mark.parametrize("wrong", [5, b"/src", "a\0b", "x" * 3000])
def test_a_repo_path_that_is_none(memory: Store, wrong: Any) -> None:
    opened()
    with pytest.raises(InvalidValue, match="repo_path"):
        apply_event(*changed("issues_opened", "2026-02-01T00:00:00Z", issue={"number": 12}), repo_path=wrong)


def test_rows_are_unsaved() -> None:
    issue = issue_from(changed("issues_opened")[1], repo_path="/src")
    request = pull_request_from(changed("pull_request_opened")[1])
    assert issue.is_new
    assert request.is_new
    assert (issue.repo_path, request.github_number) == ("/src", 14)


# ---- signatures ----------------------------------------------------------------------------------------


def test_signatures() -> None:
    """GitHub's own example."""
    body, secret = b"Hello, World!", "It's a Secret to Everybody"
    header = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    assert signed(secret, body, header)
    assert signed(secret.encode(), body, header)
    for wrong in (None, "", header.upper(), header[:-1], header.replace("sha256", "sha1"), "\ud800", "é"):
        assert not signed(secret, body, wrong)
    assert not signed(secret, body + b" ", header)


def test_signatures_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    compare: Callable[..., bool] = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda *pair: seen.append(pair) or compare(*pair))
    signed("secret", b"", None)
    assert len(seen) == 1


@pytest.mark.parametrize(
    "wrong", [("", b"", None), (None, b"", None), ("s", "text", None), ("s", b"", 7), ("\ud800", b"", "")]
)
def test_what_cannot_be_signed(wrong: tuple[Any, Any, Any]) -> None:
    with pytest.raises(InvalidValue):
        signed(*wrong)


# ---- the example ---------------------------------------------------------------------------------------


def test_the_example_applies_its_deliveries_and_again_nothing(store: Store, target: str) -> None:
    store.close()
    first, again = told(target), told(target)
    assert "pull_requests.merge -> merged" in first
    assert "issues.cancel -> cancelled" in first
    assert again.count("nothing new") + again.count("refused: ") == len(list(FOLDER.glob("*.json")))


def told(target: str) -> str:
    command = [sys.executable, str(ROOT / "examples" / "from_github.py"), str(FOLDER), target]
    finished = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert (finished.returncode, finished.stderr) == (0, "")
    return finished.stdout
