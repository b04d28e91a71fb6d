"""Deliveries of GitHub's webhooks: they find or make rows and fire triggers; nothing happens twice."""

from __future__ import annotations

import hmac
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from dispatch_state import ConfigEntry, InvalidValue, Issue, StaleRow, Store, SyncState, github
from dispatch_state.github import events, issues
from dispatch_state.github.events import apply_event
from dispatch_state.github.issues import issue_from
from dispatch_state.github.pull_requests import pull_request_from
from dispatch_state.github.signatures import signed
from dispatch_state.testing.outcomes import everything
from tests.deliveries import DELIVERIES, FOLDER, changed, closed, opened, requested
from tests.invariants import broken
from tests.paths import ROOT
from tests.world import MAINTAINER, World

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
    """Reopening finished work takes a new issue."""
    issue = opened()
    apply_event(*closed())
    for _ in range(2):
        assert "queue does not start there" in str(apply_event(*closed(2, "reopened", state="open")).refused)
    (kept,) = SyncState.get_by_id("github").sync_errors
    assert (kept["event"], kept["action"]) == ("issues", "reopened")
    assert issue.reload().status == "cancelled"


# ---- again, late, wrong --------------------------------------------------------------------------------


def test_every_delivery_again_changes_nothing(store: Store) -> None:
    """Each delivery twice, and then all of them again in any order."""
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


def test_a_row_that_never_stands_still_is_reported(memory: Store, monkeypatch: pytest.MonkeyPatch) -> None:
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
