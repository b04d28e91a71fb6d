"""What GitHub tells, as rows: deliveries of webhooks are applied, each as if it came once.

    if github.signed(secret, body, headers.get("X-Hub-Signature-256")):
        told = github.apply_event(headers["X-GitHub-Event"], json.loads(body))

Rows are found by GitHub's numbers and addresses, made when they are new, and brought up to date; statuses move by
triggers alone, as `System("github")`. What the lifecycles refuse is kept in `sync_state.sync_errors` of the source
"github", never forced, and may be sent again. One that was applied, or is older than one that was, changes nothing:
how far each of GitHub's objects has come is kept in `config_store`. There is no network code here.

A title or prompt changed here stays until it is edited there, a type or priority until the labels change there.
A pull request from a fork counts once it is merged, unless an owner, member or collaborator opened it: a stranger would
move an issue by naming it. Of reviews the last verdict counts; checks pass when every suite of the last commit does.

What is read is documented at https://docs.github.com/webhooks/webhook-events-and-payloads.
"""

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

from dispatch_state.actors import System
from dispatch_state.door import door
from dispatch_state.errors import GuardRefused, IllegalTransition, InvalidValue, StaleRow
from dispatch_state.labels import meant
from dispatch_state.marks import Marks, Suite, all_pass, moved_on
from dispatch_state.models.base import Row
from dispatch_state.models.issue import Issue
from dispatch_state.models.pull_request import PullRequest
from dispatch_state.models.settings import SyncState
from dispatch_state.moves import Move
from dispatch_state.payloads import Payload
from dispatch_state.statements import DATABASE, find, one
from dispatch_state.targets import POSTGRESQL
from dispatch_state.values import listed, shown
from dispatch_state.vocabulary import IssueType, PullRequestStatus, ReviewStatus

M = TypeVar("M", bound=Row)
GITHUB = System("github")
SOURCE = "github"
"""Whose row of `sync_state` keeps what was refused."""
LONGEST = 25 * 1024 * 1024
"""Bytes of JSON that a delivery has at most."""
TRIES = 3
"""How often a delivery is applied anew when others moved its row meanwhile."""
_CLOSES = re.compile(r"\b(?:close[sd]?|fix(?:e[sd])?|resolve[sd]?):?\s+#(\d{1,9})\b", re.IGNORECASE)
MOST_CLOSED = 20
"""How many different issues a pull request's text may say that it closes; those behind are not looked for."""
INSIDERS = frozenset({"OWNER", "MEMBER", "COLLABORATOR"})
"""Who may open a pull request from a fork, as `author_association` says."""
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
    refused: what the lifecycles said no to, which is kept in `sync_state.sync_errors`; else None.
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
    here = door()
    handler = _HANDLERS.get(event) if isinstance(event, str) else None
    if handler is None:
        raise InvalidValue(f"event: {shown(event)} is not one of {listed(_HANDLERS)}")
    if repo_path is not None:
        Issue.repo_path.check(repo_path)
    whole = Payload(payload, "payload")
    action, address = whole.text("action"), whole.part("repository").address("html_url")
    digest = _digest(payload)

    def work(turn: Any) -> Applied:
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
        return Applied(row, made=True)
    changed = not row.status.final and _brought_up_to_date(row, _news_of(given, issue, row))
    return _fired(given, row, _wanted_of_issue(given, issue, row), changed=changed)


def _news_of(given: _Delivery, issue: Payload, row: Issue) -> dict[str, Any]:
    """What GitHub says anew; a title, prompt, type or priority that was changed here stays until it changes there."""
    columns = _of_issue(issue, given.whole.part("repository"))
    kept = set() if given.action == "edited" else {"title", "prompt"}
    kept |= {"issue_type", "priority"} if columns["labels"] == row.labels else set()
    return {name: value for name, value in columns.items() if name not in kept}


Wanted = tuple[str, dict[str, Any]] | None
"""A trigger that should be fired, and its arguments; None for none."""


def _wanted_of_issue(given: _Delivery, issue: Payload, row: Issue) -> Wanted:
    if given.action in ("deleted", "transferred"):
        return None if row.status.final else ("cancel", {"reason": f"{given.action} on GitHub"})
    if given.action == "closed" and not row.status.final:
        why = issue.maybe_text("state_reason") or "completed"
        if why == "completed":
            return "complete", {"reason": "closed on GitHub as completed"}
        return "cancel", {"reason": f"closed on GitHub: {why.replace('_', ' ')}"[:1000]}
    if given.action == "reopened" and row.status.final:
        return "queue", {"reason": "reopened on GitHub"}  # which is refused: rework is a new issue
    return None


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
            return _refused(given, None, f"{row.github_url}: closes no issue that is known here")
        if not (request.flag("merged") or _trusted(request, given.repository)):
            return _refused(given, None, f"{row.github_url}: comes from a fork of somebody who may not write there")
        row.issue = issue
        if (refusal := _born(row)) is not None:
            return _refused(given, None, refusal)
    changed = not made and not row.status.final and _request_up_to_date(row, request)
    return _fired(given, row, _wanted_of_request(request, row), made=made, changed=changed)


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


def _wanted_of_request(request: Payload, row: PullRequest) -> Wanted:
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


def _from_there(request: Payload, repository: str) -> bool:
    """Whether its branch is one of the repository's own; a fork that is gone is none."""
    head = request.part("head")
    return head.has("repo") and head.part("repo").address("html_url") == repository


def _trusted(request: Payload, repository: str) -> bool:
    """Whether who opened it may write to the repository: anybody else could move an issue by naming it."""
    return _from_there(request, repository) or request.maybe_text("author_association") in INSIDERS


def _closed_by(request: Payload, repository: str) -> Issue | None:
    """The issue that a pull request says it closes, or whose branch it comes from."""
    numbers = dict.fromkeys(map(int, _CLOSES.findall(request.maybe_text("body"))))
    for number in islice(numbers, MOST_CLOSED):
        if (issue := issue_by_number(repository, number)) is not None:
            return issue
    return issue_by_branch(repository, request.part("head").text("ref")) if _from_there(request, repository) else None


def _reviews(given: _Delivery) -> Applied:
    address, review = given.whole.part("pull_request").address("html_url"), given.whole.part("review")
    row, said, moment = request_by_address(address), review.text("state").lower(), review.moment("submitted_at")
    verdict = ReviewStatus.DISMISSED if given.action == "dismissed" else VERDICTS.get(said)
    if row is None or verdict is None or not given.marks.is_news(f"{address}/reviews", moment):
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
    for name, value in different.items():
        setattr(row, name, value)
    return bool(different and row.save())


def _fired(given: _Delivery, row: Any, wanted: Wanted, *, made: bool = False, changed: bool = False) -> Applied:
    if wanted is None:
        return Applied(row, made, changed)
    trigger, arguments = wanted
    try:
        moves = getattr(row, trigger)(by=GITHUB, **arguments)
    except (IllegalTransition, GuardRefused) as refusal:
        return _refused(given, row, str(refusal), made=made, changed=changed)
    return Applied(row, made, changed, tuple(moves))


def _refused(given: _Delivery, row: Any, why: str, *, made: bool = False, changed: bool = False) -> Applied:
    """Keep what was refused, once."""
    error = {"event": given.event, "error": why[:1000]}
    state = find(SyncState, SOURCE)
    kept = [] if state is None else state.sync_errors or []
    if not any(isinstance(one, dict) and error.items() <= one.items() for one in kept):
        SyncState.record(SOURCE, error={**error, "action": given.action[:100]})
    return Applied(row, made, changed, refused=why)


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
