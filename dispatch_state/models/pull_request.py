"""Pull requests for issues."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Self, Unpack
from uuid import UUID

from dispatch_state import values
from dispatch_state.actors import Actor
from dispatch_state.lifecycle.interface import NOW, Columns, Firing
from dispatch_state.lifecycle.locks import Lock
from dispatch_state.lifecycle.session import session
from dispatch_state.lifecycle.triggers import transition
from dispatch_state.models.base import Stateful
from dispatch_state.models.columns import PullRequestColumns
from dispatch_state.models.guards import owner
from dispatch_state.models.issue import REVIEWING, Issue
from dispatch_state.models.keys import ParentField
from dispatch_state.models.log import moves_of
from dispatch_state.models.queries import UNSETTLED, other_unsettled_request
from dispatch_state.storage.fields import BooleanField, IntegerField, StampField, TextField, WordField, word
from dispatch_state.vocabulary import IssueStatus, PullRequestStatus, ReviewStatus


def its_issue_is_live(request: PullRequest, firing: Firing) -> str | None:
    """The issue of the pull request is live."""
    issue = request.issue
    return f"{issue} is {issue.status}" if issue.status.final else None


def merger(request: PullRequest, firing: Firing) -> str | None:
    """An agent to which the issue was never assigned, any person, or the system."""
    if firing.agent is None or str(firing.agent.id) not in ever_assigned(request.issue):
        return None
    return f"{request.issue} is or was once assigned to {firing.agent}, which does not merge its own work"


class PullRequest(Stateful):
    """A pull request for an issue."""

    statuses = PullRequestStatus
    births = (PullRequestStatus.OPEN, PullRequestStatus.DRAFT)
    written_elsewhere = MappingProxyType({"checks_passing": "record_checks()", "review_status": "record_review()"})
    written_by = "PullRequest.create(), save(), its triggers, record_review(), record_checks() and remove()"
    create_locks = (Lock.ISSUE,)
    remove_locks = (Lock.ROW, Lock.ISSUE)
    parents = ("issue",)

    issue = ParentField(Issue, backref="pull_requests", column_name="issue_id", on_delete="CASCADE")
    github_number = IntegerField()
    github_url = TextField()
    branch = TextField()
    status: WordField[PullRequestStatus] = WordField(PullRequestStatus, default=PullRequestStatus.OPEN)
    checks_passing = BooleanField(null=True, default=False)
    review_status = WordField(ReviewStatus, null=True, default=ReviewStatus.PENDING)
    created_at = StampField()
    merged_at = StampField(null=True)

    if TYPE_CHECKING:
        issue_id: UUID

        @classmethod
        def create(cls, **columns: Unpack[PullRequestColumns]) -> Self: ...  # type: ignore[override]

    class Meta:
        table_name = "pull_requests"

    @transition(PullRequestStatus.DRAFT, to=PullRequestStatus.OPEN, allowed=owner, locks=(Lock.ISSUE,))
    def mark_ready(self, *, by: Actor, reason: str = "") -> Columns:
        """Offer the pull request for review; its issue is submitted."""
        return Columns()

    @transition(PullRequestStatus.OPEN, to=PullRequestStatus.DRAFT, allowed=owner, locks=(Lock.ISSUE,))
    def convert_to_draft(self, *, by: Actor, reason: str = "") -> Columns:
        """Take the pull request back from review."""
        return Columns()

    @transition(
        *UNSETTLED,
        to=PullRequestStatus.MERGED,
        allowed=merger,
        sets=("merged_at",),
        locks=(Lock.ISSUE, Lock.EPIC, Lock.NEXT_ISSUES),
    )
    def merge(self, *, by: Actor, reason: str = "") -> Columns:
        """Record that the pull request was merged; its issue goes to done, unless another one is draft or open."""
        columns, issue = Columns(merged_at=NOW), self.issue
        if issue.status not in (IssueStatus.IN_PROGRESS, *REVIEWING):
            columns.note(issue=f"stays {issue.status}")
        elif other := other_unsettled_request(self.issue_id, self.id):
            columns.note(issue=f"stays {issue.status}: {other} is {other.status}")
        return columns

    @transition(*UNSETTLED, to=PullRequestStatus.CLOSED, allowed=owner, locks=(Lock.ISSUE,))
    def close(self, *, by: Actor, reason: str = "") -> Columns:
        """Close the pull request unmerged; its issue goes back to its agent if that is idle, and no other is open."""
        return Columns()

    @transition(
        PullRequestStatus.CLOSED,
        to=PullRequestStatus.OPEN,
        guards=(its_issue_is_live,),
        allowed=owner,
        locks=(Lock.ISSUE,),
    )
    def reopen(self, *, by: Actor, reason: str = "") -> Columns:
        """Offer the pull request for review again; its issue is submitted."""
        return Columns()

    def on_create(self, firing: Firing) -> None:
        issue = self.issue
        if issue.status.final:
            firing.refusals.append(f"{issue} is {issue.status}")
        if firing.agent is not None and issue.assigned_agent_id != firing.agent.id:
            firing.refusals.append(f"{issue} is not assigned to {firing.agent}")

    def record_review(self, status: ReviewStatus | str, *, by: Actor) -> None:
        """Store the state of the reviews. This is not a transition.

        Args:
            status: pending, approved, changes_requested or dismissed.
            by: who reports it.

        Raises:
            InvalidValue: there is no such status, or `by` is not an actor.
            RowNotFound: the pull request was removed.
            GuardRefused: the acting agent is errored, completed or not in this store.
            StoreError: the store is not open, or the database failed. A subclass says which.
        """
        current = session()
        verdict = word(status, ReviewStatus, "pull_requests.review_status")
        current.work_on(
            self,
            "record_review",
            lambda unit, request: unit.set(request, review_status=verdict),
            locks=(Lock.ROW,),
            by=by,
        )

    def record_checks(self, passing: bool, *, by: Actor) -> None:
        """Store whether the checks pass. This is not a transition.

        Args:
            passing: whether they pass.
            by: who reports it.

        Raises:
            InvalidValue: `passing` is not a bool, or `by` is not an actor.
            RowNotFound: the pull request was removed.
            GuardRefused: the acting agent is errored, completed or not in this store.
            StoreError: the store is not open, or the database failed. A subclass says which.
        """
        current = session()
        checked = values.boolean(passing, "pull_requests.checks_passing")
        current.work_on(
            self,
            "record_checks",
            lambda unit, request: unit.set(request, checks_passing=checked),
            locks=(Lock.ROW,),
            by=by,
        )

    def owner_id(self) -> UUID | None:
        return self.issue.assigned_agent_id

    def decision_context(self) -> dict[str, UUID | None]:
        return {"pull_request": self.id, "issue": self.issue_id, "epic": self.issue.epic_id}

    def label(self) -> str:
        return f"#{self.github_number}"


def ever_assigned(issue: Issue) -> set[str]:
    """Return the ids, as text, of all agents to which an issue is or ever was assigned.

    They are in the issue's log. Its moves name the agent when it is assigned, and again when the issue is taken from
    it, because an adopted issue may have been assigned before its log began.

    Args:
        issue: the issue.
    """
    moves = [move for move in moves_of(issue.id) if move.trigger in ("assign", "unassign", "release")]
    agents = [issue.assigned_agent_id, *((move.details or {}).get("agent") for move in moves)]
    return {str(agent) for agent in agents if agent is not None}
