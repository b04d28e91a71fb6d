"""Deliveries of GitHub's webhooks, as rows and moves."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import zlib
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any, NamedTuple, TypeVar

from peewee import ModelSelect

from dispatch_state.engine.locks import hold
from dispatch_state.errors import GuardRefused, IllegalTransition, InvalidValue, StaleRow
from dispatch_state.github.labels import meant
from dispatch_state.github.payloads import Payload
from dispatch_state.github.progress import (
    CLOSED,
    TEXTS,
    Marks,
    Suite,
    all_pass,
    digests,
    forget_need,
    moved_on,
    need,
    note_need,
)
from dispatch_state.github.strangers import GITHUB, by_insider, distrust, from_there, held_back, hold_still, taken_from
from dispatch_state.github.wanted import Wanted, is_closed, wanted_of_issue, wanted_of_request, wanted_when_completed
from dispatch_state.lifecycle.interface import Move, UnitOfWork, session
from dispatch_state.models.issue import Issue
from dispatch_state.models.pull_request import PullRequest
from dispatch_state.models.queries import unsettled_request
from dispatch_state.models.row import Row
from dispatch_state.models.settings import SyncState
from dispatch_state.storage.current import DATABASE
from dispatch_state.storage.statements import find, one
from dispatch_state.storage.targets import POSTGRESQL
from dispatch_state.values import listed, shown
from dispatch_state.vocabulary import IssueStatus, IssueType, PullRequestStatus, ReviewStatus

M = TypeVar("M", bound=Row)
CLOSING = Issue.machine.triggers["cancel"].locks
MERGING = PullRequest.machine.triggers["merge"].locks
"""What a delivery locks at once: an issue first and then its epic would deadlock with who goes the other way."""
SOURCE = "github"
"""Whose row of `sync_state` keeps what was refused."""
LONGEST = 25 * 1024 * 1024
"""Bytes of JSON that a delivery has at most."""
TRIES = 3
"""How often a delivery is applied anew when others moved its row meanwhile."""
_CLOSES = re.compile(r"\b(?:close[sd]?|fix(?:e[sd])?|resolve[sd]?):?\s+#(\d{1,9})\b", re.IGNORECASE)
MOST_CLOSED = 20
"""How many different issues a pull request's text may say that it closes; those behind are not looked for."""
PASSED = frozenset({"success", "neutral", "skipped"})
"""The conclusions of a check suite that let a pull request pass."""
VERDICTS = {
    "approved": ReviewStatus.APPROVED,
    "changes_requested": ReviewStatus.CHANGES_REQUESTED,
    "dismissed": ReviewStatus.DISMISSED,
}


class Applied(NamedTuple):
    """What a delivery did.

    row: the issue or pull request it was about; None when there is none, and none was to be made.
    made: whether the row is new; changed: whether columns of it were set.
    moves: the moves that were made.
    refused: what the lifecycles said no to, or which edit of a stranger was not taken; kept in
        `sync_state.sync_errors`. Else None.
    """

    row: Issue | PullRequest | None = None
    made: bool = False
    changed: bool = False
    moves: tuple[Move, ...] = ()
    refused: str | None = None


def signed(secret: str | bytes, body: bytes, signature: str | None) -> bool:
    """Whether a delivery bears the signature that GitHub makes of its body with this secret, compared in constant time.

    Args:
        secret: the webhook's.
        body: as it came, byte for byte.
        signature: the header `X-Hub-Signature-256`; None when there was none.

    Raises:
        InvalidValue: the secret is empty, or an argument is of another type.
    """
    if not isinstance(secret, str | bytes) or not secret:
        raise InvalidValue("signed(secret): takes text or bytes that are not empty")
    if not isinstance(body, bytes | bytearray) or not isinstance(signature, str | None):
        raise InvalidValue("signed: takes the body as bytes, and the header's text or None")
    try:
        key = secret.encode() if isinstance(secret, str) else secret
    except UnicodeEncodeError:
        raise InvalidValue("signed(secret): contains a lone surrogate, which is no character") from None
    wanted = "sha256=" + hmac.digest(key, body, "sha256").hex()
    return hmac.compare_digest(wanted.encode(), (signature or "").encode(errors="replace"))


# ---- rows from payloads ----------------------------------------------------------------------------------


def issue_from(payload: Mapping[str, Any], *, repo_path: str | None = None) -> Issue:
    """An unsaved issue made of a delivery that has an `issue` and a `repository`.

    Args:
        payload: the delivery.
        repo_path: where the repository is here; its full name when None.

    Raises:
        InvalidValue: something is missing, or is no value of its column.
    """
    whole = Payload(payload, "payload")
    issue, repository = whole.part("issue"), whole.part("repository")
    return _checked(Issue(**_of_issue(issue, repository), repo_path=repo_path or repository.text("full_name")))


def pull_request_from(payload: Mapping[str, Any]) -> PullRequest:
    """An unsaved pull request made of a delivery that has a `pull_request` and a `repository`; its issue is not set.

    Raises:
        InvalidValue: something is missing, or is no value of its column.
    """
    request = Payload(payload, "payload").part("pull_request")
    status = PullRequestStatus.DRAFT if request.flag("draft") else PullRequestStatus.OPEN
    return _checked(PullRequest(**_of_request(request), status=status))


def _checked(row: M) -> M:
    for name in row._dirty:
        row.__data__[name] = row._meta.fields[name].check(row.__data__[name])
    return row


def _of_issue(issue: Payload, repository: Payload) -> dict[str, Any]:
    labels = [label.text("name") for label in issue.parts("labels")]
    return {
        "github_id": issue.number("number"),
        "github_url": issue.address("html_url"),
        "repo_url": repository.address("html_url"),
        "title": issue.text("title"),
        "prompt": issue.maybe_text("body") or issue.text("title"),
        "labels": labels,
        "issue_type": IssueType.FEATURE,
        **meant(labels),
    }


def _of_request(request: Payload) -> dict[str, Any]:
    return {
        "github_number": request.number("number"),
        "github_url": request.address("html_url"),
        "branch": request.part("head").text("ref"),
    }


# ---- deliveries ----------------------------------------------------------------------------------------


def apply_event(event: str, payload: Mapping[str, Any], *, repo_path: str | None = None) -> Applied:
    """Apply a delivery to the open store, in one transaction.

    Args:
        event: `issues`, `pull_request`, `pull_request_review` or `check_suite`, as `X-GitHub-Event` says.
        payload: the delivery, parsed.
        repo_path: where the repository is here, for issues that are new; its full name when None.

    Returns:
        What it did. An action that concerns no column and no status does nothing.

    Raises:
        InvalidValue: the event is none of these, the payload is no JSON or longer than 25 MiB, or something in it is
            missing or of another type.
        StaleRow: others move the row as often as it is read.
    """
    here = session()
    handler = _HANDLERS.get(event) if isinstance(event, str) else None
    if handler is None:
        raise InvalidValue(f"event: {shown(event)} is not one of {listed(_HANDLERS)}")
    if repo_path is not None:
        Issue.repo_path.check(repo_path)
    whole = Payload(payload, "payload")
    action, address = whole.text("action"), whole.part("repository").address("html_url")
    digest = _digest(payload)

    def work(unit: Any) -> Applied:
        _alone(address)
        given = _Delivery(event, action, whole, payload, repo_path, Marks(digest))
        applied = handler(given)
        given.marks.note(refused=applied.refused is not None)
        return applied

    for _ in range(TRIES):
        try:
            return here.write(work)
        except StaleRow:
            continue  # an agent moved the row between our reading and our move
    return here.write(work)


def _digest(payload: Mapping[str, Any]) -> str:
    """A text by which the same payload is known again; raises `InvalidValue` for what is no delivery of GitHub's."""
    try:
        told = json.dumps(payload, sort_keys=True)
    except (TypeError, ValueError, RecursionError):
        raise InvalidValue("payload: takes plain JSON, of no great depth") from None
    if len(told) > LONGEST:
        raise InvalidValue(f"payload: the JSON is longer than {LONGEST:,} bytes, which is all that GitHub sends")
    return hashlib.sha256(told.encode()).hexdigest()


class _Delivery(NamedTuple):
    event: str
    action: str
    whole: Payload
    payload: Mapping[str, Any]
    repo_path: str | None
    marks: Marks

    @property
    def repository(self) -> str:
        """The repository's address."""
        return self.whole.part("repository").address("html_url")


def _alone(address: str) -> None:
    """Let no other process apply a delivery of that repository meanwhile; SQLite has one writer anyway."""
    if DATABASE.kind == POSTGRESQL:
        DATABASE.execute_sql("SELECT pg_advisory_xact_lock(%s)", (zlib.crc32(address.encode(errors="replace")),))


def _issues(given: _Delivery) -> Applied:
    issue = given.whole.part("issue")
    if not given.marks.is_news(issue.address("html_url"), issue.moment("updated_at")):
        return Applied()
    row = issue_by_number(given.repository, issue.number("number"))
    if row is None:
        if given.action in ("deleted", "transferred") or issue.text("state") == "closed":
            return Applied()  # what is over before we heard of it is no work for anybody
        row = issue_from(given.payload, repo_path=given.repo_path)
        row.save(by=GITHUB, reason=f"opened on GitHub: {row.github_url}"[:1000])
        given.marks.keep_text(issue.address("html_url"), digests(row.__data__))
        return Applied(row, made=True)
    hold(
        row, Issue.machine.triggers["cancel"].locks
    )  # all at once: an issue and then its epic would deadlock with who goes the other way
    columns, taken = _of_issue(issue, given.whole.part("repository")), taken_from(given.whole, row)
    held = held_back(given.whole, row, columns, taken, given.marks)
    changed = not row.status.final and _brought_up_to_date(row, _news_of(columns, row, taken))
    if not is_closed(given.action, issue):
        forget_need(CLOSED, row)
    applied = _fired(given, row, wanted_of_issue(given.action, issue, row), changed=changed)
    return applied if held is None else _refused(given, applied, held)


def _news_of(columns: dict[str, Any], row: Issue, taken: set[str]) -> dict[str, Any]:
    """What GitHub says anew; a title, prompt, type or priority that was changed here stays until it changes there."""
    kept = set(TEXTS) - taken
    kept |= {"issue_type", "priority"} if columns["labels"] == row.labels else set()
    return {name: value for name, value in columns.items() if name not in kept}


def _pull_requests(given: _Delivery) -> Applied:
    request = given.whole.part("pull_request")
    if not given.marks.is_news(request.address("html_url"), request.moment("updated_at")):
        return Applied()
    row = request_by_address(request.address("html_url"))
    made = row is None
    if row is None:
        row = pull_request_from(given.payload)
        if request.text("state") == "closed" and not request.flag("merged"):
            return Applied()
        issue = _closed_by(request, given.repository)
        if issue is None:
            return _refused(given, Applied(), f"{row.github_url}: closes no issue that is known here")
        if (refusal := distrust(given.action, request, given.repository)) is not None:
            return _refused(given, Applied(), f"{row.github_url}: {refusal}")
        row.issue = issue
        hold(issue, CLOSING)
        if (refusal := _born(row)) is not None:
            return _refused(given, Applied(), refusal)
    else:
        hold(row, MERGING)
    changed = not made and not row.status.final and _request_up_to_date(row, request)
    applied = _fired(given, row, wanted_of_request(request, row), made=made, changed=changed)
    return _with_its_issue(given, row, applied) if applied.moves else applied


def _with_its_issue(given: _Delivery, row: PullRequest, applied: Applied) -> Applied:
    """Close its issue too, if that is closed on GitHub and waited only for this pull request."""
    issue = Issue.get_by_id(row.issue_id)
    if issue.status.final or unsettled_request(issue.id) is not None or need(CLOSED, issue) is None:
        return applied
    closed = _fired(given, issue, wanted_when_completed(issue))
    return applied._replace(moves=applied.moves + closed.moves, refused=closed.refused)


def _request_up_to_date(row: PullRequest, request: Payload) -> bool:
    """Set what is different; checks of commits that are not the last any more do not count."""
    changed = _brought_up_to_date(row, _of_request(request))
    commit = request.part("head").text("sha")
    if not moved_on(request.address("html_url"), commit, request.moment("updated_at")) or not row.checks_passing:
        return changed
    row.record_checks(False, by=GITHUB)
    return True


def _born(row: PullRequest) -> str | None:
    try:
        row.save(by=GITHUB, reason=f"opened on GitHub: {row.github_url}"[:1000])
    except GuardRefused as refusal:
        return str(refusal)
    return None


def _closed_by(request: Payload, repository: str) -> Issue | None:
    """The issue that a pull request says it closes, or whose branch it comes from."""
    numbers = dict.fromkeys(map(int, _CLOSES.findall(request.maybe_text("body"))))
    for number in islice(numbers, MOST_CLOSED):
        if (issue := issue_by_number(repository, number)) is not None:
            return issue
    return issue_by_branch(repository, request.part("head").text("ref")) if from_there(request, repository) else None


def _reviews(given: _Delivery) -> Applied:
    address, review = given.whole.part("pull_request").address("html_url"), given.whole.part("review")
    row, said, moment = request_by_address(address), review.text("state").lower(), review.moment("submitted_at")
    verdict = ReviewStatus.DISMISSED if given.action == "dismissed" else VERDICTS.get(said)
    if row is None or verdict is None or not by_insider(review):
        return Applied()
    if not given.marks.is_news(f"{address}/reviews", moment):
        return Applied()
    if row.review_status == verdict:
        return Applied(row)
    row.record_review(verdict, by=GITHUB)
    return Applied(row, changed=True)


def _checks(given: _Delivery) -> Applied:
    told = given.whole.part("check_suite")
    if given.action != "completed":
        return Applied()
    passed, last = told.text("conclusion") in PASSED, Applied()
    suite = Suite(told.number("id"), told.text("head_sha"), told.moment("updated_at"), passed)
    for request in told.parts("pull_requests"):
        if not _is_about(given, suite, request):
            continue
        address = f"{given.repository}/pull/{request.number('number')}"
        row = request_by_address(address)
        passing = None if row is None else all_pass(address, suite)
        if row is not None and passing is not None:
            changed = row.checks_passing is not passing
            if changed:
                row.record_checks(passing, by=GITHUB)
            last = Applied(row, changed=changed or last.changed)
    return last


def _is_about(given: _Delivery, suite: Suite, request: Payload) -> bool:
    """Whether the last commit of a request to this repository was checked; a fork's suites name requests elsewhere."""
    if request.part("head").text("sha") != suite.commit:
        return False
    base = request.part("base").part("repo")
    return base.number("id") == given.whole.part("repository").number("id")


_HANDLERS: Mapping[str, Callable[[_Delivery], Applied]] = {
    "issues": _issues,
    "pull_request": _pull_requests,
    "pull_request_review": _reviews,
    "check_suite": _checks,
}


# ---- rows ----------------------------------------------------------------------------------------------


def _brought_up_to_date(row: Any, columns: Mapping[str, Any]) -> bool:
    """Set what is different; whether anything was."""
    fields = row._meta.fields
    checked = {name: fields[name].check(value) for name, value in columns.items()}
    different = {name: value for name, value in checked.items() if getattr(row, name) != value}
    if not different.keys().isdisjoint(TEXTS):
        hold_still(row)
    for name, value in different.items():
        setattr(row, name, value)
    return bool(different and row.save())


def _fired(given: _Delivery, row: Any, wanted: Wanted, *, made: bool = False, changed: bool = False) -> Applied:
    applied = Applied(row, made, changed)
    if wanted is None:
        return applied
    trigger, arguments = wanted
    try:
        if trigger == "complete":
            return applied._replace(moves=tuple(_completed(row, **arguments)))
        return applied._replace(moves=tuple(getattr(row, trigger)(by=GITHUB, **arguments)))
    except (IllegalTransition, GuardRefused) as refusal:
        if trigger == "complete":
            note_need(CLOSED, row)
        return _refused(given, applied, str(refusal))


def _completed(row: Issue, reason: str) -> list[Move]:
    """Finish an issue; one that awaits review was reviewed by a person, and both moves are made or none is."""
    reviewed = ["review"] if row.status == IssueStatus.AWAITING_REVIEW else []

    def work(unit: UnitOfWork, issue: Issue) -> list[Move]:
        return unit.acts("complete", [(issue, name, {}) for name in (*reviewed, "complete")], GITHUB, reason)

    return session().work_on(row, "complete", work, locks=CLOSING, by=GITHUB, fenced=True)


def _refused(given: _Delivery, applied: Applied, why: str) -> Applied:
    """Keep what was refused, once."""
    error = {"event": given.event, "error": why[:1000]}
    state = find(SyncState, SOURCE)
    kept = [] if state is None else state.sync_errors or []
    if not any(isinstance(one, dict) and error.items() <= one.items() for one in kept):
        SyncState.record(SOURCE, error={**error, "action": given.action[:100]})
    return applied._replace(refused="; ".join(filter(None, (applied.refused, why))))


@one
def issue_by_number(repository: str, number: int) -> ModelSelect[Issue]:
    return Issue.select().where(Issue.github_id == number, Issue.repo_url == repository).order_by(Issue.id)


@one
def issue_by_branch(repository: str, branch: str) -> ModelSelect[Issue]:
    query = Issue.select().where(Issue.repo_url == repository, Issue.branch_name == branch)
    return query.order_by(Issue.id.desc())


@one
def request_by_address(address: str) -> ModelSelect[PullRequest]:
    return PullRequest.select().where(PullRequest.github_url == address).order_by(PullRequest.id)
