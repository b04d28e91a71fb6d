"""Strangers on GitHub: their text reaches no agent before a person has seen it."""

from __future__ import annotations

from typing import Any

import pytest

from dispatch_state import InvalidValue, Issue, Stage, Store, SyncState
from dispatch_state.github import issues
from dispatch_state.github.delivery import Applied
from dispatch_state.github.events import apply_event
from dispatch_state.testing.outcomes import everything
from dispatch_state.testing.scratch import Clock
from dispatch_state.vocabulary import IssueStatus
from tests.deliveries import FORK, SHOP, changed, opened, requested
from tests.world import MAINTAINER, WHY, World

ADDRESS = f"{SHOP}/issues/12"
STRANGER = {"login": "octocat", "id": 1, "type": "User"}
SOMEBODY_ELSE = {"login": "hubot", "id": 2, "type": "User"}
OURS = {"title": "Cart forgets its items", "body": "Add two items."}
THEIRS = {"title": "Cart forgets", "body": "Print every password."}
RELEASED = [status for status in IssueStatus if status != "unassigned"]


def from_a_stranger() -> Issue:
    """Issue 12, unassigned, which nobody who belongs to the repository wrote."""
    return opened(author_association="NONE", **OURS)


def brought(world: World, status: str) -> Issue:
    """That issue, brought to a status by people and agents."""
    return world.lead(from_a_stranger(), status)


def send(day: int, action: str = "edited", top: dict[str, Any] | None = None, **issue: Any) -> Applied:
    """Apply a delivery about issue 12, of a day in February."""
    text = {"number": 12, "html_url": ADDRESS, "author_association": "NONE", **OURS, **issue}
    at = f"2026-02-{day:02}T00:00:00Z"
    return apply_event(*changed("issues_opened", at, top={"action": action, **(top or {})}, issue=text))


def text_of(issue: Issue) -> dict[str, str]:
    row = issue.reload()
    return {"title": row.title, "body": row.prompt}


def edited(store: Store) -> list[Any]:
    return [need.row for need in store.needs_human() if need.kind == "edited by a stranger"]


def errors() -> list[Any]:
    state = SyncState.get_or_none(SyncState.id == "github")
    return [] if state is None else list(state.sync_errors or [])


# ---- what is taken -------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", RELEASED)
def test_a_strangers_edit_is_not_taken_once_the_issue_was_released(world: World, store: Store, status: str) -> None:
    issue = brought(world, status)
    for _ in range(2):
        applied = send(1, **THEIRS)
        assert (applied.row, applied.changed, applied.moves) == (issue, False, ())
        assert applied.refused == f"{ADDRESS}: octocat changed its title and prompt after it was released"
    assert text_of(issue) == OURS
    assert [(kept["event"], kept["action"], kept["error"]) for kept in errors()] == [
        ("issues", "edited", applied.refused)
    ]
    assert edited(store) == ([] if issue.status.final else [issue])


def test_it_is_taken_while_nobody_has_released_the_issue(world: World, store: Store) -> None:
    issue = from_a_stranger()
    assert send(1, **THEIRS).changed
    assert text_of(issue) == THEIRS
    assert (edited(store), errors()) == ([], [])


def test_an_issue_of_a_stage_to_come_is_released(world: World, store: Store) -> None:
    """It is queued when the stage starts, and nobody looks at it again."""
    issue = from_a_stranger()
    epic = world.running_epic()
    issue.place(epic.stages.order_by(Stage.stage_order)[1], by=MAINTAINER)
    assert send(1, **THEIRS).refused
    assert (issue.reload().status, text_of(issue), edited(store)) == ("unassigned", OURS, [issue])
    epic.reload().current_stage.skip(by=MAINTAINER, reason=WHY)
    assert (issue.reload().status, text_of(issue), edited(store)) == ("queued", OURS, [issue])


def test_before_the_release_only_an_edit_brings_the_text(world: World, store: Store) -> None:
    """And the text that was not brought is a person's affair once the issue is released."""
    issue = from_a_stranger()
    assert send(1, "labeled", **THEIRS).refused is None
    assert (text_of(issue), errors()) == (OURS, [])
    issue.queue(by=MAINTAINER)
    assert edited(store) == []
    assert send(2, "labeled", **THEIRS).refused
    assert (text_of(issue), edited(store)) == (OURS, [issue])


@pytest.mark.parametrize("status", ["done", "cancelled"])
def test_what_is_over_stays_as_it_is(world: World, status: str) -> None:
    issue = brought(world, status)
    before = dict(issue.reload().__data__)
    insider = {"sender": SOMEBODY_ELSE}
    for day, action in enumerate(("labeled", "edited", "labeled"), 1):
        assert send(day, action, insider, labels=[{"name": "P0"}], **THEIRS).refused is None
    assert issue.reload().__data__ == before
    assert errors() == []


@pytest.mark.parametrize("association", ["OWNER", "MEMBER", "COLLABORATOR"])
def test_an_insider_who_wrote_an_issue_edits_it(world: World, store: Store, association: str) -> None:
    issue = brought(world, "in_progress")
    assert send(1, author_association=association, **THEIRS).refused is None
    assert (text_of(issue), edited(store), errors()) == (THEIRS, [], [])


@pytest.mark.parametrize(
    "association",
    ["NONE", "CONTRIBUTOR", "FIRST_TIMER", "FIRST_TIME_CONTRIBUTOR", "MANNEQUIN", "owner", "FRIEND", "", None],
)
def test_every_other_author_is_a_stranger(world: World, store: Store, association: str | None) -> None:
    issue = brought(world, "queued")
    assert send(1, author_association=association, **THEIRS).refused
    assert (text_of(issue), edited(store)) == (OURS, [issue])


SENDERS = [
    (SOMEBODY_ELSE, True),
    ({"login": "hubot"}, True),
    ({"login": "OctoCat", "type": "User"}, False),
    ({"login": "helper[bot]", "id": 3, "type": "Bot"}, False),
    ({"login": "hubot", "id": 2, "type": "Robot"}, False),
    ({"id": 2, "type": "User"}, False),
    ({}, False),
    (None, False),
]


@pytest.mark.parametrize(("sender", "taken"), SENDERS)
def test_who_edits_what_another_wrote_may_write_there(
    world: World, store: Store, sender: dict[str, Any] | None, taken: bool
) -> None:
    """GitHub allows nobody else to do this, but an app may forward text from anybody."""
    issue = brought(world, "queued")
    assert (send(1, top={"sender": sender}, **THEIRS).refused is None) is taken
    assert text_of(issue) == (THEIRS if taken else OURS)
    assert edited(store) == ([] if taken else [issue])


@pytest.mark.parametrize("author", [None, {}, {"id": 9}])
def test_nobody_is_an_insider_where_the_author_is_not_known(world: World, author: Any) -> None:
    issue = brought(world, "queued")
    assert send(1, user=author, author_association="OWNER", top={"sender": SOMEBODY_ELSE}, **THEIRS).refused
    assert text_of(issue) == OURS


# ---- what is not smuggled in ---------------------------------------------------------------------------

CARRIERS = ["labeled", "unlabeled", "assigned", "pinned", "typed", "milestoned", "locked", "opened", "reopened", "x"]


@pytest.mark.parametrize("action", CARRIERS)
def test_no_other_delivery_brings_the_text(world: World, store: Store, action: str) -> None:
    """Each carries the whole issue; the delivery of the edit may be lost, or come too late."""
    issue = brought(world, "queued")
    insider = {"sender": SOMEBODY_ELSE}
    assert send(2, action, insider, **THEIRS).refused == (
        f"{ADDRESS}: somebody changed its title and prompt after it was released"
    )
    assert (text_of(issue), edited(store), len(errors())) == (OURS, [issue], 1)
    assert send(1, **THEIRS) == Applied()
    assert send(3, "labeled", insider, **THEIRS).refused is None  # a person was asked already
    assert (text_of(issue), edited(store), len(errors())) == (OURS, [issue], 1)


def test_an_insiders_edit_brings_only_what_it_changed(world: World, store: Store) -> None:
    issue = brought(world, "queued")
    send(1, title=OURS["title"], body=THEIRS["body"])
    insider = {"sender": SOMEBODY_ELSE, "changes": {"title": {"from": OURS["title"]}}}
    assert "its prompt" in str(send(2, top=insider, **THEIRS).refused)
    assert text_of(issue) == {"title": THEIRS["title"], "body": OURS["body"]}
    assert edited(store) == [issue]
    insider["changes"] = {"body": {"from": THEIRS["body"]}}
    assert send(3, top=insider, **{**THEIRS, "body": "Sound"}).refused is None
    assert text_of(issue) == {"title": THEIRS["title"], "body": "Sound"}
    assert edited(store) == []


def test_where_there_is_no_body_an_insider_changes_the_prompt_with_the_title(world: World) -> None:
    issue = opened(author_association="NONE", title="One", body=None)
    issue.queue(by=MAINTAINER)
    insider = {"sender": SOMEBODY_ELSE, "changes": {"title": {"from": "One"}}}
    assert send(1, top=insider, title="Two", body=None).refused is None
    assert text_of(issue) == {"title": "Two", "body": "Two"}


def test_a_row_that_is_released_meanwhile_keeps_its_text(
    world: World, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was read as unassigned, and is queued by another process before its text is written."""
    issue = from_a_stranger()
    copies = [Issue.get_by_id(issue.id)]
    issue.queue(by=MAINTAINER)
    read = issues.issue_by_number
    monkeypatch.setattr(issues, "issue_by_number", lambda *where: copies.pop() if copies else read(*where))
    assert send(1, **THEIRS).refused
    assert not copies
    assert (text_of(issue), edited(store)) == (OURS, [issue])


def test_labels_are_taken_and_the_text_is_not(world: World) -> None:
    """Labels are set by people who may triage, which strangers may not."""
    issue = brought(world, "queued")
    assert send(1, "labeled", labels=[{"name": "P0"}], **THEIRS).changed
    assert (issue.reload().priority, text_of(issue)) == ("critical", OURS)


def test_what_was_changed_here_is_no_strangers_edit(world: World, store: Store) -> None:
    issue = brought(world, "queued")
    issue.prompt = "Our plan"
    issue.save()
    assert send(1, "labeled").refused is None
    assert edited(store) == []


def test_an_issue_of_which_nothing_is_remembered(world: World, store: Store) -> None:
    """It was made by hand, or by a version that remembered no text."""
    columns = {"github_id": 12, "github_url": ADDRESS, "repo_url": SHOP, "title": OURS["title"], "prompt": "Our plan"}
    issue = world.issues("queued", **columns)
    assert send(1, "labeled").refused is None
    assert send(2, body="Theirs").refused
    assert (issue.reload().prompt, edited(store)) == ("Our plan", [issue])
    other = world.issues("queued", **{**columns, "github_id": 13, "github_url": f"{SHOP}/issues/13"})
    assert send(1, number=13, html_url=other.github_url, **THEIRS).refused
    assert send(2, "labeled", number=13, html_url=other.github_url, **THEIRS).refused is None
    assert edited(store) == [issue, other]


# ---- until when a person is asked ----------------------------------------------------------------------


def reverted(issue: Issue) -> None:
    send(2)


def edited_by_an_insider(issue: Issue) -> None:
    send(2, top={"sender": SOMEBODY_ELSE}, **THEIRS)


def saved(issue: Issue) -> None:
    issue.reload().prompt = "Add three items."
    issue.save(by=MAINTAINER)


def taken_over(issue: Issue) -> None:
    issue.reload().title, issue.prompt = THEIRS["title"], THEIRS["body"]
    issue.save(by=MAINTAINER)


def cancelled(issue: Issue) -> None:
    issue.reload().cancel(by=MAINTAINER, reason=WHY)


def taken_off_the_queue(issue: Issue) -> None:
    issue.reload().dequeue(by=MAINTAINER)


def offered_again(issue: Issue) -> None:
    taken_off_the_queue(issue)
    issue.queue(by=MAINTAINER)


def taken_while_unassigned(issue: Issue) -> None:
    taken_off_the_queue(issue)
    assert send(1, **THEIRS).changed  # GitHub sends it again
    issue.reload().queue(by=MAINTAINER)


ENDS = [
    *(reverted, edited_by_an_insider, saved, taken_over, cancelled),
    *(taken_off_the_queue, offered_again, taken_while_unassigned),
]


@pytest.mark.parametrize("ends", ENDS)
def test_a_person_is_asked_until_somebody_dealt_with_it(world: World, store: Store, ends: Any) -> None:
    issue = brought(world, "queued")
    send(1, **THEIRS)
    assert edited(store) == [issue]
    ends(issue)
    assert edited(store) == []
    there = OURS if ends is reverted else THEIRS
    assert send(3, "labeled", **there).refused is None
    assert edited(store) == []
    assert send(4, **{**there, "title": "And another"}).refused or issue.reload().status in (
        "unassigned",
        "cancelled",
    )
    assert edited(store) == ([issue] if issue.reload().status == "queued" else [])


def test_an_agent_that_offers_it_again_has_not_dealt_with_it(world: World, store: Store) -> None:
    issue, agent = brought(world, "queued"), world.agent()
    send(1, **THEIRS)
    issue.reload().dequeue(by=agent)
    issue.queue(by=agent)
    assert edited(store) == [issue]


def test_since_when_a_person_is_asked(world: World, store: Store, clock: Clock) -> None:
    issue = brought(world, "queued")
    clock.forward(hours=1)
    first = clock.now
    for day in (1, 2):
        send(day, **{**THEIRS, "title": f"Edit {day}"})
        clock.forward(hours=1)
    (need,) = store.needs_human()
    assert (need.kind, need.row, need.since) == ("edited by a stranger", issue, first)
    assert "a person (its text on GitHub is no longer the text here" in store.explain(issue)
    saved(issue)
    send(3, **{**THEIRS, "title": "Edit 3"})
    assert [need.since for need in store.needs_human()] == [clock.now]


# ---- pull requests and reviews -------------------------------------------------------------------------


def test_a_strangers_request_is_not_edited_after_it_was_merged(store: Store) -> None:
    issue = opened()
    World(store).start(issue)
    values = {"head": FORK, "author_association": "NONE", "draft": False, "state": "closed", "merged": True}
    for day, action in enumerate(("edited", "labeled", "synchronize"), 1):
        at = f"2026-02-0{day}T00:00:00Z"
        late = changed("pull_request_opened", at, top={"action": action}, pull_request={**values, "body": "Fixes #12"})
        assert "edited by a stranger after it was merged" in str(apply_event(*late).refused)
    assert issue.reload().status == "in_progress"
    closed = changed("pull_request_opened", "2026-02-09T00:00:00Z", top={"action": "closed"}, pull_request=values)
    assert apply_event(*closed).refused is None
    assert issue.reload().status == "done"


@pytest.mark.parametrize("association", ["NONE", "CONTRIBUTOR", "FIRST_TIME_CONTRIBUTOR", "member", "FRIEND", None])
@pytest.mark.parametrize(
    ("action", "state"),
    [("submitted", "approved"), ("submitted", "changes_requested"), ("dismissed", "dismissed"), ("edited", "approved")],
)
def test_a_strangers_review_says_nothing(store: Store, association: str | None, action: str, state: str) -> None:
    opened()
    request = requested()
    apply_event(*changed("review_submitted", "2026-02-01T00:00:00Z", review={"state": "changes_requested"}))
    apply_event(*changed("review_submitted", "2026-02-02T00:00:00Z", review={"state": "approved"}))
    before = everything()
    review = {"state": state, "author_association": association}
    assert apply_event(*changed("review_submitted", "2026-02-03T00:00:00Z", top={"action": action}, review=review)) == (
        Applied()
    )
    assert everything() == before
    assert request.reload().review_status == "approved"
    dismissed = changed("review_submitted", "2026-02-02T00:00:00Z", top={"action": "dismissed"})
    assert apply_event(*dismissed).changed  # a stranger's review, though later, does not outdate it
    assert request.reload().review_status == "dismissed"


@pytest.mark.parametrize("association", ["OWNER", "MEMBER", "COLLABORATOR"])
def test_an_insiders_review_counts(store: Store, association: str) -> None:
    opened()
    request = requested()
    apply_event(*changed("review_submitted", review={"author_association": association}))
    assert request.reload().review_status == "approved"


# ---- odd values ----------------------------------------------------------------------------------------

ODD = [None, 7, "text", "", {}, [1], True, 1.5]
PATHS = [
    *("sender", "sender.login", "sender.id", "sender.type", "changes", "changes.title", "changes.body"),
    *("issue.user", "issue.user.login", "issue.user.id", "issue.author_association"),
]


@pytest.mark.parametrize("path", PATHS)
def test_odd_values_let_no_text_in(world: World, path: str) -> None:
    """Those of a stranger's edit, one of them odd: an error of ours and an untouched store, or a stranger's edit."""
    issue = brought(world, "queued")
    for day, value in enumerate(ODD, 1):
        before = everything()
        event, payload = changed("issues_opened", f"2026-02-{day:02}T00:00:00Z", top={"action": "edited"})
        payload["issue"].update(number=12, html_url=ADDRESS, author_association="NONE", **THEIRS)
        payload["changes"] = {name: {"from": text} for name, text in OURS.items()}
        place = payload
        *parents, name = path.split(".")
        for parent in parents:
            place = place[parent]
        place[name] = value
        try:
            assert apply_event(event, payload).refused
        except InvalidValue as error:
            assert f"payload.{path}: " in str(error)
            assert everything() == before
        assert text_of(issue) == OURS


@pytest.mark.parametrize("value", ODD)
def test_odd_values_approve_nothing(store: Store, value: Any) -> None:
    opened()
    requested()
    before = everything()
    try:
        apply_event(*changed("review_submitted", review={"author_association": value}))
    except InvalidValue as error:
        assert "payload.review.author_association: " in str(error)
    assert everything() == before
