"""Applies deliveries about the reviews and the checks of pull requests."""

from __future__ import annotations

from collections.abc import Mapping

from dispatch_state.github.delivery import GITHUB, Applied, Delivery
from dispatch_state.github.lookups import pull_request_by_url
from dispatch_state.github.payloads import Payload
from dispatch_state.github.progress import CheckSuite, record_suite
from dispatch_state.github.strangers import by_insider
from dispatch_state.vocabulary import ReviewStatus

VERDICTS: Mapping[str, ReviewStatus] = {
    "approved": ReviewStatus.APPROVED,
    "changes_requested": ReviewStatus.CHANGES_REQUESTED,
    "dismissed": ReviewStatus.DISMISSED,
}
"""The states of a review that are a verdict. Other states, such as "commented", change nothing."""
PASSED = frozenset({"success", "neutral", "skipped"})
"""The conclusions of a check suite that count as passed. Every other conclusion counts as failed."""


def apply_review(delivery: Delivery) -> Applied:
    """Apply a delivery of the event `pull_request_review`: record the verdict of an insider.

    Raises:
        InvalidValue: something in the payload is missing or has another type.
    """
    url, review = delivery.whole.part("pull_request").url("html_url"), delivery.whole.part("review")
    row, state, moment = pull_request_by_url(url), review.text("state").lower(), review.moment("submitted_at")
    verdict = ReviewStatus.DISMISSED if delivery.action == "dismissed" else VERDICTS.get(state)
    if row is None or verdict is None or not by_insider(review):
        return Applied()
    if not delivery.progress.is_news(f"{url}/reviews", moment):
        return Applied()
    if row.review_status == verdict:
        return Applied(row)
    row.record_review(verdict, by=GITHUB)
    return Applied(row, changed=True)


def apply_check_suite(delivery: Delivery) -> Applied:
    """Apply a delivery of the event `check_suite`: record whether the checks of its pull requests pass.

    Raises:
        InvalidValue: something in the payload is missing or has another type.
    """
    checked = delivery.whole.part("check_suite")
    if delivery.action != "completed":
        return Applied()
    passed, last = checked.text("conclusion") in PASSED, Applied()
    suite = CheckSuite(checked.number("id"), checked.text("head_sha"), checked.moment("updated_at"), passed)
    for request in checked.parts("pull_requests"):
        if not _is_about(delivery, suite, request):
            continue
        url = f"{delivery.repository}/pull/{request.number('number')}"
        row = pull_request_by_url(url)
        passing = None if row is None else record_suite(url, suite)
        if row is not None and passing is not None:
            changed = row.checks_passing is not passing
            if changed:
                row.record_checks(passing, by=GITHUB)
            last = Applied(row, changed=changed or last.changed)
    return last


def _is_about(delivery: Delivery, suite: CheckSuite, request: Payload) -> bool:
    """Return whether the suite checked the last commit of a pull request to this repository, not to a fork of it."""
    if request.part("head").text("sha") != suite.commit:
        return False
    base = request.part("base").part("repo")
    return base.number("id") == delivery.whole.part("repository").number("id")
