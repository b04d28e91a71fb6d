"""Pull requests, their reviews and their checks, as GitHub delivers them."""

from __future__ import annotations

from typing import Any

import pytest

from dispatch_state import PullRequest, Store, SyncState, github
from dispatch_state.github import pull_requests
from dispatch_state.github.events import apply_event
from tests.deliveries import FORK, SHOP, changed, opened, requested
from tests.world import MAINTAINER, WHY, World


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
    """Even if deliveries were missed on the way."""
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


@pytest.mark.parametrize("body", ["Fixes #12", None])
@pytest.mark.parametrize("head", [FORK, {**FORK, "repo": None}])
def test_a_stranger_moves_no_issue(memory: Store, head: dict[str, Any], body: str | None) -> None:
    """A stranger names the issue, or a branch like its agent's; it moves only when somebody merges that."""
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
    """Each workflow is a suite of its own; the order and number of its reports do not matter."""
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
    repaired = suite(3, "success", "2026-02-02T00:00:01Z", "b" * 40)
    pushed_again = requested_at("2026-02-03T00:00:00Z", "d" * 40)
    and_again = requested_at("2026-02-03T12:00:00Z", "f" * 40)
    early = suite(4, "failure", "2026-02-04T00:00:00Z", "e" * 40)
    pushed_late = requested_at("2026-02-03T23:59:59Z", "e" * 40)
    for delivery, passing, does in [
        (old, True, True), (before, True, False), (pushed, False, True), (old, False, False), (repaired, True, True),
        (pushed, True, False), (old, True, False), (pushed_again, False, True), (repaired, False, False),
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
