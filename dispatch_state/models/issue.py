"""Issues: the pieces of work that agents do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Self, Unpack
from uuid import UUID

from peewee import SQL, Case, ModelSelect

from dispatch_state import json_values, values
from dispatch_state.actors import Actor, Human
from dispatch_state.lifecycle.arguments import require_row
from dispatch_state.lifecycle.interface import NOW, Columns, Firing, Move
from dispatch_state.lifecycle.locks import Lock
from dispatch_state.lifecycle.session import UnitOfWork, session
from dispatch_state.lifecycle.triggers import transition
from dispatch_state.models.agent import Agent
from dispatch_state.models.base import Stateful
from dispatch_state.models.columns import IssueColumns
from dispatch_state.models.epic import Epic
from dispatch_state.models.guards import human_or_system, owner
from dispatch_state.models.issue_guards import (
    its_agent_is_idle,
    its_epic_runs,
    its_pull_requests_are_settled,
    its_stage_runs,
    no_agent_reviews_it,
    reviewer,
    the_agent_fits,
    the_agent_is_free,
    the_reviewer_is_free,
)
from dispatch_state.models.keys import ParentField, present
from dispatch_state.models.metrics import with_one_completed
from dispatch_state.models.placing import join_parents, place
from dispatch_state.models.queries import UNDER_WAY
from dispatch_state.models.stage import Stage
from dispatch_state.storage.fields import IntegerField, JsonField, StampField, TextField, WordField, word
from dispatch_state.vocabulary import AgentType, DecisionType, IssueStatus, IssueType, Priority

if TYPE_CHECKING:
    from dispatch_state.models.agent_log import AgentLog
    from dispatch_state.models.decision import Decision
    from dispatch_state.models.proposal import Proposal
    from dispatch_state.models.pull_request import PullRequest

REVIEWING = (IssueStatus.AWAITING_REVIEW, IssueStatus.IN_REVIEW)


class Issue(Stateful):
    """A piece of work for one agent."""

    statuses = IssueStatus
    creation_stamps = ("created_at", "updated_at")
    written_by = "Issue.create(), add_issue(), save(), place(), its triggers and remove()"
    create_locks = (Lock.EPIC,)
    remove_locks = (Lock.ROW, Lock.EPIC, Lock.AGENTS)
    parents = ("epic", "stage")
    placed_by = "place()"
    filled_at_creation = ("repo_path",)

    github_id = IntegerField(null=True)
    github_url = TextField(null=True)
    epic = ParentField(Epic, null=True, backref="issues", column_name="epic_id", on_delete="SET NULL")
    stage = ParentField(Stage, null=True, backref="issues", column_name="stage_id", on_delete="SET NULL")
    repo_path = TextField(holds=values.indexed)
    repo_url = TextField(null=True)
    worktree_path = TextField(null=True)
    branch_name = TextField(null=True)
    title = TextField()
    prompt = TextField()
    issue_type = WordField(IssueType)
    priority = WordField(Priority, default=Priority.MEDIUM)
    labels = JsonField(json_values.list_of_text, null=True)
    status: WordField[IssueStatus] = WordField(IssueStatus, default=IssueStatus.UNASSIGNED)
    assigned_agent = ParentField(
        Agent, null=True, backref="issues", column_name="assigned_agent_id", on_delete="SET NULL"
    )
    agent_type = WordField(AgentType, null=True)
    created_at = StampField()
    updated_at = StampField()
    assigned_at = StampField(null=True)
    completed_at = StampField(null=True)

    if TYPE_CHECKING:
        epic_id: UUID | None
        stage_id: UUID | None
        assigned_agent_id: UUID | None
        pull_requests: ModelSelect[PullRequest]
        proposals: ModelSelect[Proposal]
        decisions: ModelSelect[Decision]
        logs: ModelSelect[AgentLog]

        @classmethod
        def create(cls, **columns: Unpack[IssueColumns]) -> Self: ...  # type: ignore[override]

    class Meta:
        table_name = "issues"

    # ---- triggers ------------------------------------------------------------------------------

    @transition(IssueStatus.UNASSIGNED, to=IssueStatus.QUEUED, guards=(its_epic_runs, its_stage_runs))
    def queue(self, *, by: Actor, reason: str = "") -> Columns:
        """Put the issue into the queue, where agents claim it."""
        return Columns()

    @transition(IssueStatus.QUEUED, to=IssueStatus.UNASSIGNED)
    def dequeue(self, *, by: Actor, reason: str = "") -> Columns:
        """Take the issue out of the queue."""
        return Columns()

    @transition(
        IssueStatus.UNASSIGNED,
        IssueStatus.QUEUED,
        to=IssueStatus.ASSIGNED,
        guards=(the_agent_is_free, the_agent_fits, its_epic_runs, its_stage_runs),
        sets=("assigned_agent", "assigned_at", "worktree_path", "branch_name"),
    )
    def assign(
        self,
        agent: Agent,
        *,
        worktree_path: str | None = None,
        branch_name: str | None = None,
        by: Actor,
        reason: str = "",
    ) -> Columns:
        """Assign the issue to an agent, which is dispatched to it.

        Args:
            agent: an idle agent of the type that the issue asks for.
            worktree_path, branch_name: where the agent works. When None, the stored values stay.
        """
        names = {"worktree_path": worktree_path, "branch_name": branch_name}
        places = {name: value for name, value in names.items() if value is not None}
        return Columns(assigned_agent=agent.id, assigned_at=NOW, **places).note(agent=agent.id)

    @transition(IssueStatus.ASSIGNED, to=IssueStatus.IN_PROGRESS, allowed=owner, locks=(Lock.AGENTS,))
    def start(self, *, by: Actor, reason: str = "") -> Columns:
        """Begin the work; the assigned agent runs."""
        return Columns()

    @transition(
        IssueStatus.ASSIGNED,
        to=IssueStatus.UNASSIGNED,
        allowed=owner,
        sets=("assigned_agent", "assigned_at"),
        locks=(Lock.AGENTS,),
    )
    def unassign(self, *, by: Actor, reason: str = "") -> Columns:
        """Take the issue from an agent that has not begun, without putting it into the queue."""
        return _free(self)

    @transition(IssueStatus.IN_PROGRESS, to=IssueStatus.AWAITING_REVIEW, allowed=owner, locks=(Lock.AGENTS,))
    def submit(self, *, by: Actor, reason: str = "") -> Columns:
        """Submit the work for review; the agent is free and stays assigned."""
        return Columns()

    @transition(IssueStatus.AWAITING_REVIEW, to=IssueStatus.IN_REVIEW, guards=(the_reviewer_is_free,))
    def review(self, reviewer: Agent | None = None, *, by: Actor, reason: str = "") -> Columns:
        """Begin the review.

        Args:
            reviewer: the agent that reviews. When None, the actor reviews.
        """
        return Columns()

    @transition(IssueStatus.IN_REVIEW, to=IssueStatus.AWAITING_REVIEW, guards=(no_agent_reviews_it,))
    def return_review(self, *, by: Actor, reason: str = "") -> Columns:
        """Stop the review without a result."""
        return Columns()

    @transition(*REVIEWING, to=IssueStatus.IN_PROGRESS, guards=(its_agent_is_idle,), locks=(Lock.AGENTS,))
    def request_changes(self, *, by: Actor, reason: str) -> Columns:
        """Send the issue back to its assigned agent, which is dispatched again."""
        return Columns()

    @transition(
        IssueStatus.IN_PROGRESS,
        to=IssueStatus.DONE,
        guards=(its_pull_requests_are_settled,),
        allowed=owner,
        sets=("completed_at",),
        locks=(Lock.EPIC, Lock.NEXT_ISSUES, Lock.AGENTS),
    )
    @transition(
        IssueStatus.IN_REVIEW,
        to=IssueStatus.DONE,
        guards=(its_pull_requests_are_settled,),
        allowed=reviewer,
        sets=("completed_at",),
        locks=(Lock.EPIC, Lock.NEXT_ISSUES, Lock.AGENTS),
    )
    def complete(self, *, by: Actor, reason: str = "") -> Columns:
        """Finish the issue; the metrics of its assigned agent count it."""
        columns = Columns(completed_at=NOW)
        if (agent := self.assigned_agent) is not None:
            columns.on(agent, metrics=lambda now: with_one_completed(agent.counters(), self.assigned_at, now))
        return columns

    @transition(IssueStatus.IN_PROGRESS, to=IssueStatus.BLOCKED, allowed=owner, locks=(Lock.AGENTS,))
    def block(self, *, by: Actor, reason: str) -> Columns:
        """Set the issue aside until an actor unblocks it; its agent is free."""
        return Columns()

    @transition(IssueStatus.BLOCKED, to=IssueStatus.IN_PROGRESS, guards=(its_agent_is_idle,), locks=(Lock.AGENTS,))
    def unblock(self, *, by: Actor, reason: str = "") -> Columns:
        """Go on with the issue; its assigned agent is dispatched again."""
        return Columns()

    @transition(
        *UNDER_WAY,
        IssueStatus.BLOCKED,
        *REVIEWING,
        to=IssueStatus.QUEUED,
        allowed=owner,
        decision=DecisionType.HUMAN_OVERRIDE,
        sets=("assigned_agent", "assigned_at"),
        locks=(Lock.AGENTS,),
    )
    def release(self, *, by: Actor, reason: str) -> Columns:
        """Take the issue from its agent and put it into the queue; worktree and branch stay."""
        return _free(self)

    @transition(
        *IssueStatus.live(),
        to=IssueStatus.CANCELLED,
        allowed=human_or_system,
        decision=DecisionType.HUMAN_OVERRIDE,
        locks=(Lock.EPIC, Lock.NEXT_ISSUES, Lock.AGENTS),
    )
    def cancel(self, *, by: Actor, reason: str) -> Columns:
        """Cancel the issue; the agents that hold it are free."""
        return Columns()

    # ---- creation and place --------------------------------------------------------------------

    def on_create(self, firing: Firing) -> None:
        join_parents(self, firing.refusals)

    def place(self, epic_or_stage: Epic | Stage, *, by: Actor) -> list[Move]:
        """Put an unassigned issue that has no epic into an epic or a stage, by the rules of creation.

        Args:
            epic_or_stage: where the issue belongs from now on.
            by: who places it.

        Returns:
            The moves. In a stage that is in_progress the issue is queued; elsewhere there are no moves.

        Raises:
            InvalidValue: `epic_or_stage` is not a saved epic or stage, or `by` is not an actor.
            RowNotFound: a row was removed.
            StaleRow: the issue moved since it was read.
            GuardRefused: the issue has an epic, is not unassigned, or could not be created there.
            StoreError: the store is not open, or the database failed. A subclass says which.
        """
        current = session()
        require_row(epic_or_stage, "place(epic_or_stage)", "Epic", "Stage")

        def work(unit: UnitOfWork, issue: Issue) -> list[Move]:
            return place(unit, issue, epic_or_stage, by)

        where = (epic_or_stage,)
        return current.work_on(self, "place", work, locks=(Lock.ROW,), by=by, others=where, fenced=True)

    def reassign(self, agent: Agent, *, by: Actor, reason: str) -> list[Move]:
        """Take the issue from its agent and assign it to another: `release`, then `assign`, with one decision.

        Nothing changes unless both are accepted.

        Args:
            agent: an agent of the type that the issue asks for. It must be idle after the release, so it may also be
                the issue's own agent or its reviewer.
            by: a person.
            reason: why; required.

        Returns:
            The moves, in the order in which they were made.

        Raises:
            InvalidValue: an argument is wrong, or the object has unsaved changes.
            RowNotFound: the issue or the agent was removed.
            StaleRow: the issue moved since it was read.
            IllegalTransition: `release` does not start from the issue's status.
            GuardRefused: `by` is not a person, or a guard of `release` or `assign` refused.
            StoreError: the store is not open, or the database failed. A subclass says which.
        """
        current = session()
        reason = values.nonblank_text(reason, "reason")
        require_row(agent, "reassign(agent)", "Agent")

        def both(issue: Issue) -> Iterator[tuple[Issue, str, dict[str, Any]]]:
            yield issue, "release", {}
            yield (
                issue,
                "assign",
                {"agent": present(Agent, agent.id)},
            )  # read after the release, which may have freed it

        def work(unit: UnitOfWork, issue: Issue) -> list[Move]:
            unit.refuse(issue, "reassign", [] if isinstance(by, Human) else [f"it takes a person, not {by.actor}"])
            return unit.acts("reassign", both(issue), by, reason, to_agent_id=str(agent.id))

        to = (agent,)
        return current.work_on(
            self, "reassign", work, locks=(Lock.ROW, Lock.AGENTS), by=by, others=to, fenced=True, legal="release"
        )

    @classmethod
    def by_status(cls, status: IssueStatus | str) -> ModelSelect[Issue]:
        """Select the issues with a status, the most urgent first, then the oldest.

        Args:
            status: the status.

        Returns:
            A Peewee query.

        Raises:
            InvalidValue: there is no such status.
        """
        wanted = word(status, IssueStatus, "issues.status")
        return cls.select().where(cls.status == wanted).order_by(urgency(), cls.created_at, cls.id)

    def owner_id(self) -> UUID | None:
        return self.assigned_agent_id

    def decision_context(self) -> dict[str, UUID | None]:
        return {"issue": self.id, "epic": self.epic_id, "stage": self.stage_id, "agent": self.assigned_agent_id}

    def label(self) -> str:
        return self.title


def urgency() -> Any:
    """Return the seed's order of priorities as an SQL expression without parameters."""
    return Case(Issue.priority, [(SQL(f"'{p}'"), SQL(str(rank))) for rank, p in enumerate(Priority)])


def _free(issue: Issue) -> Columns:
    return Columns(assigned_agent=None, assigned_at=None).note(agent=issue.assigned_agent_id)
