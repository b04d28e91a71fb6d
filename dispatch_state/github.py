"""What GitHub tells, as rows: deliveries of webhooks are applied, each as if it came once.

    if github.signed(secret, body, headers.get("X-Hub-Signature-256")):
        told = github.apply_event(headers["X-GitHub-Event"], json.loads(body))

Rows are found by GitHub's numbers and addresses, made when they are new, and brought up to date; statuses move by
triggers alone, as `System("github")`. What the lifecycles refuse is kept in `sync_state.sync_errors` of the source
"github", never forced. A delivery that is applied again, or that is older than one that was applied, changes nothing:
how far each of GitHub's objects has come is kept in `config_store`. There is no network code here.

What is read is documented at https://docs.github.com/webhooks/webhook-events-and-payloads.
"""

from __future__ import annotations

import hmac
import re
import zlib
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

from peewee import ModelSelect

from dispatch_state import values
from dispatch_state.actors import System
from dispatch_state.door import door
from dispatch_state.errors import GuardRefused, IllegalTransition, InvalidValue
from dispatch_state.models.base import Row
from dispatch_state.models.issue import Issue
from dispatch_state.models.pull_request import PullRequest
from dispatch_state.models.settings import ConfigEntry, SyncState
from dispatch_state.moves import Move
from dispatch_state.statements import DATABASE, find, one
from dispatch_state.targets import POSTGRESQL
from dispatch_state.values import listed, parse_instant, shown
from dispatch_state.vocabulary import IssueType, Priority, PullRequestStatus, ReviewStatus

M = TypeVar("M", bound=Row)
GITHUB = System("github")
SOURCE = "github"
"""Whose row of `sync_state` keeps what was refused."""
TYPES: Mapping[str, IssueType] = {
    **{str(word): word for word in IssueType},
    "enhancement": IssueType.FEATURE,
    "documentation": IssueType.DOCS,
    "refactoring": IssueType.REFACTOR,
    "tests": IssueType.TEST,
    "testing": IssueType.TEST,
    "dependencies": IssueType.CHORE,
}
"""What a label says of an issue's type, with or without a prefix such as `type: ` or `kind/`."""
PRIORITIES: Mapping[str, Priority] = {
    **{str(word): word for word in Priority},
    "p0": Priority.CRITICAL,
    "p1": Priority.HIGH,
    "p2": Priority.MEDIUM,
    "p3": Priority.LOW,
    "urgent": Priority.CRITICAL,
}
"""What a label says of an issue's priority, with or without a prefix such as `priority: `."""
_PREFIX = re.compile(r"^(?:type|kind|priority|prio|severity)\s*[:/=-]\s*", re.IGNORECASE)
_CLOSES = re.compile(r"\b(?:close[sd]?|fix(?:e[sd])?|resolve[sd]?):?\s+#(\d{1,9})\b", re.IGNORECASE)
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


# ---- what a payload holds ------------------------------------------------------------------------------


class _Payload:
    """A part of a delivery, of which every value is asked by its path and its type."""

    def __init__(self, value: object, path: str) -> None:
        if not isinstance(value, Mapping):
            raise InvalidValue(f"{path}: takes a JSON object, not a value of type {type(value).__name__}")
        self._value = value
        self._path = path

    def part(self, name: str) -> _Payload:
        return _Payload(self._value.get(name), f"{self._path}.{name}")

    def parts(self, name: str) -> list[_Payload]:
        found = self._asked(name, list)
        return [_Payload(item, f"{self._path}.{name}[{place}]") for place, item in enumerate(found)]

    def text(self, name: str) -> str:
        return values.text(self._asked(name, str), f"{self._path}.{name}")

    def maybe_text(self, name: str) -> str:
        return "" if self._value.get(name) is None else self.text(name)

    def number(self, name: str) -> int:
        return values.integer(self._asked(name, int), f"{self._path}.{name}")

    def moment(self, name: str) -> datetime:
        try:
            return parse_instant(self.text(name))
        except (ValueError, OverflowError):
            raise InvalidValue(f"{self._path}.{name}: takes a moment in ISO 8601") from None

    def flag(self, name: str) -> bool:
        return self._value.get(name) is not None and bool(self._asked(name, bool))

    def _asked(self, name: str, kind: type) -> Any:
        found = self._value.get(name)
        if type(found) is not kind:
            what = "missing" if found is None else f"a value of type {type(found).__name__}"
            raise InvalidValue(f"{self._path}.{name}: takes {kind.__name__}, is {what}")
        return found


def issue_from(payload: Mapping[str, Any], *, repo_path: str | None = None) -> Issue:
    """An unsaved issue made of a delivery that has an `issue` and a `repository`.

    Args:
        payload: the delivery.
        repo_path: where the repository is here; its full name when None.

    Raises:
        InvalidValue: something is missing, or is no value of its column.
    """
    whole = _Payload(payload, "payload")
    issue, repository = whole.part("issue"), whole.part("repository")
    return _checked(Issue(**_of_issue(issue, repository), repo_path=repo_path or repository.text("full_name")))


def pull_request_from(payload: Mapping[str, Any]) -> PullRequest:
    """An unsaved pull request made of a delivery that has a `pull_request` and a `repository`; its issue is not set.

    Raises:
        InvalidValue: something is missing, or is no value of its column.
    """
    request = _Payload(payload, "payload").part("pull_request")
    status = PullRequestStatus.DRAFT if request.flag("draft") else PullRequestStatus.OPEN
    return _checked(PullRequest(**_of_request(request), status=status))


def _checked(row: M) -> M:
    for name in row._dirty:
        row.__data__[name] = row._meta.fields[name].check(row.__data__[name])
    return row


def _of_issue(issue: _Payload, repository: _Payload) -> dict[str, Any]:
    labels = [label.text("name") for label in issue.parts("labels")]
    said = {_PREFIX.sub("", label).strip().lower() for label in labels}
    columns: dict[str, Any] = {
        "github_id": issue.number("number"),
        "github_url": issue.text("html_url"),
        "repo_url": repository.text("html_url"),
        "title": issue.text("title"),
        "prompt": issue.maybe_text("body") or issue.text("title"),
        "labels": labels,
        "issue_type": _first(TYPES, said) or IssueType.FEATURE,
    }
    priority = _first(PRIORITIES, said)
    return columns if priority is None else {**columns, "priority": priority}


def _first(meanings: Mapping[str, Any], said: Iterable[str]) -> Any:
    return next((meaning for word, meaning in meanings.items() if word in said), None)


def _of_request(request: _Payload) -> dict[str, Any]:
    return {
        "github_number": request.number("number"),
        "github_url": request.text("html_url"),
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
        InvalidValue: the event is none of these, or something in the payload is missing or of another type.
    """
    here = door()
    handler = _HANDLERS.get(event) if isinstance(event, str) else None
    if handler is None:
        raise InvalidValue(f"event: {shown(event)} is not one of {listed(_HANDLERS)}")
    whole = _Payload(payload, "payload")
    action, address = whole.text("action"), whole.part("repository").text("html_url")
    given = _Delivery(event, action, whole, payload, repo_path)

    def work(turn: Any) -> Applied:
        _alone(address)
        return handler(given)

    return here.write(work)


class _Delivery(NamedTuple):
    event: str
    action: str
    whole: _Payload
    payload: Mapping[str, Any]
    repo_path: str | None

    @property
    def repository(self) -> str:
        """The repository's address."""
        return self.whole.part("repository").text("html_url")


def _alone(address: str) -> None:
    """Let no other process apply a delivery of that repository meanwhile; SQLite has one writer anyway."""
    if DATABASE.kind == POSTGRESQL:
        DATABASE.execute_sql("SELECT pg_advisory_xact_lock(%s)", (zlib.crc32(address.encode(errors="replace")),))


def _is_news(address: str, moment: datetime) -> bool:
    """Whether nothing newer was applied of what has this address; notes how far that has come."""
    key = f"github: {address}"
    known = ConfigEntry.read(key)
    if known is not None and moment < parse_instant(known):
        return False
    if known != (told := moment.isoformat()):
        ConfigEntry.write(key, told)
    return True


def _issues(given: _Delivery) -> Applied:
    issue = given.whole.part("issue")
    if not _is_news(issue.text("html_url"), issue.moment("updated_at")):
        return Applied()
    row = issue_by_number(given.repository, issue.number("number"))
    if row is None:
        if given.action in ("deleted", "transferred") or issue.text("state") == "closed":
            return Applied()  # what is over before we heard of it is no work for anybody
        row = issue_from(given.payload, repo_path=given.repo_path)
        row.save(by=GITHUB, reason=f"opened on GitHub: {row.github_url}"[:1000])
        return Applied(row, made=True)
    changed = not row.status.final and _brought_up_to_date(row, _of_issue(issue, given.whole.part("repository")))
    return _fired(given, row, _wanted_of_issue(given, issue, row), changed=changed)


Wanted = tuple[str, dict[str, Any]] | None
"""A trigger that should be fired, and its arguments; None for none."""


def _wanted_of_issue(given: _Delivery, issue: _Payload, row: Issue) -> Wanted:
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
    if not _is_news(request.text("html_url"), request.moment("updated_at")):
        return Applied()
    row = request_by_address(request.text("html_url"))
    made = row is None
    if row is None:
        row = pull_request_from(given.payload)
        if request.text("state") == "closed" and not request.flag("merged"):
            return Applied()
        issue = _closed_by(request, given.repository)
        if issue is None:
            return _refused(given, None, f"{row.github_url}: closes no issue that is known here")
        row.issue = issue
        if (refusal := _born(row)) is not None:
            return _refused(given, None, refusal)
    changed = not made and not row.status.final and _brought_up_to_date(row, _of_request(request))
    return _fired(given, row, _wanted_of_request(request, row), made=made, changed=changed)


def _born(row: PullRequest) -> str | None:
    try:
        row.save(by=GITHUB, reason=f"opened on GitHub: {row.github_url}"[:1000])
    except GuardRefused as refusal:
        return str(refusal)
    return None


def _wanted_of_request(request: _Payload, row: PullRequest) -> Wanted:
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


def _closed_by(request: _Payload, repository: str) -> Issue | None:
    """The issue that a pull request says it closes, or whose branch it comes from."""
    for number in _CLOSES.findall(request.maybe_text("body")):
        if (issue := issue_by_number(repository, int(number))) is not None:
            return issue
    return issue_by_branch(repository, request.part("head").text("ref"))


def _reviews(given: _Delivery) -> Applied:
    address, review = given.whole.part("pull_request").text("html_url"), given.whole.part("review")
    if not _is_news(f"{address}/reviews", review.moment("submitted_at")):
        return Applied()
    row, said = request_by_address(address), review.text("state").lower()
    verdict = ReviewStatus.DISMISSED if given.action == "dismissed" else VERDICTS.get(said)
    if row is None or verdict is None or row.review_status == verdict:
        return Applied(row)
    row.record_review(verdict, by=GITHUB)
    return Applied(row, changed=True)


def _checks(given: _Delivery) -> Applied:
    suite = given.whole.part("check_suite")
    if given.action != "completed":
        return Applied()
    passing, last = suite.text("conclusion") in PASSED, Applied()
    for request in suite.parts("pull_requests"):
        address = f"{given.repository}/pull/{request.number('number')}"
        row = request_by_address(address)
        if row is not None and _is_news(f"{address}/checks", suite.moment("updated_at")):
            changed = row.checks_passing is not passing
            if changed:
                row.record_checks(passing, by=GITHUB)
            last = Applied(row, changed=changed or last.changed)
    return last


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
    error = {"event": given.event, "action": given.action[:100], "error": why[:1000]}
    state = find(SyncState, SOURCE)
    if state is None or error not in (state.sync_errors or []):
        SyncState.record(SOURCE, error=error)
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
