"""Issues: the pieces of work that agents do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Self, Unpack
from uuid import UUID

from peewee import SQL, Case, ModelSelect

from dispatch_state import values
from dispatch_state.actors import Actor, Human
from dispatch_state.lifecycle.interface import NOW, Columns, Firing, Lock, Move, UnitOfWork, session
from dispatch_state.lifecycle.triggers import transition
from dispatch_state.models.agent import UNDER_WAY, Agent, under_way
from dispatch_state.models.base import Stateful, a_saved
from dispatch_state.models.columns import IssueColumns
from dispatch_state.models.epic import Epic, Stage
from dispatch_state.models.guards import human_or_system, owner
from dispatch_state.models.issue_guards import (
    its_agent_is_idle,
    its_epic_runs,
    its_stage_runs,
    no_agent_reviews_it,
    reviewer,
    the_agent_fits,
    the_agent_is_free,
    the_reviewer_is_free,
)
from dispatch_state.models.keys import ParentField, present
from dispatch_state.models.metrics import with_one_more
from dispatch_state.storage.fields import IntegerField, JsonField, StampField, TextField, WordField, word
from dispatch_state.storage.statements import one, rows
from dispatch_state.vocabulary import (
    AgentType,
    DecisionType,
    IssueStatus,
    IssueType,
    Priority,
    PullRequestStatus,
    StageStatus,
)

if TYPE_CHECKING:
    from dispatch_state.models.agent import AgentLog
    from dispatch_state.models.decision import Decision
    from dispatch_state.models.proposal import Proposal
    from dispatch_state.models.pull_request import PullRequest

REVIEWING = (IssueStatus.AWAITING_REVIEW, IssueStatus.IN_REVIEW)
UNSETTLED = (PullRequestStatus.DRAFT, PullRequestStatus.OPEN)
CLOSED_TO_BIRTHS = (StageStatus.AWAITING_GATE, StageStatus.APPROVED, StageStatus.SKIPPED)


# ---- issues ----------------------------------------------------------------------------------------


def its_pull_requests_are_settled(issue: Issue, firing: Firing) -> str | None:
    request = unsettled_request(issue.id)
    return f"{request} of it is {request.status}; merge or close it" if request else None


class Issue(Stateful):
    """A piece of work that one agent does."""

    statuses = IssueStatus
    stamps = ("created_at", "updated_at")
    written_by = "Issue.create(), add_issue(), save(), place(), its triggers and remove()"
    create_locks = (Lock.EPIC,)
    remove_locks = (Lock.ROW, Lock.EPIC, Lock.AGENTS)
    parents = ("epic", "stage")
    placed_by = "place()"
    filled = ("repo_path",)

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
    labels = JsonField(values.list_of_text, null=True)
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
        """Offer the issue to agents."""
        return Columns()

    @transition(IssueStatus.QUEUED, to=IssueStatus.UNASSIGNED)
    def dequeue(self, *, by: Actor, reason: str = "") -> Columns:
        """Take the issue off the queue."""
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
        """Give the issue to an agent, which is dispatched to it.

        Args:
            agent: an idle agent of the type the issue asks for.
            worktree_path, branch_name: where the work happens; kept when given.
        """
        given = {"worktree_path": worktree_path, "branch_name": branch_name}
        kept = {name: value for name, value in given.items() if value is not None}
        return Columns(assigned_agent=agent.id, assigned_at=NOW, **kept).note(agent=agent.id)

    @transition(IssueStatus.ASSIGNED, to=IssueStatus.IN_PROGRESS, allowed=owner, locks=(Lock.AGENTS,))
    def start(self, *, by: Actor, reason: str = "") -> Columns:
        """Begin the work; the assigned agent is working."""
        return Columns()

    @transition(
        IssueStatus.ASSIGNED,
        to=IssueStatus.UNASSIGNED,
        allowed=owner,
        sets=("assigned_agent", "assigned_at"),
        locks=(Lock.AGENTS,),
    )
    def unassign(self, *, by: Actor, reason: str = "") -> Columns:
        """Take the issue back from an agent that has not begun, without queueing it."""
        return _free(self)

    @transition(IssueStatus.IN_PROGRESS, to=IssueStatus.AWAITING_REVIEW, allowed=owner, locks=(Lock.AGENTS,))
    def submit(self, *, by: Actor, reason: str = "") -> Columns:
        """Hand the work in; the agent is free and stays the assigned one."""
        return Columns()

    @transition(IssueStatus.AWAITING_REVIEW, to=IssueStatus.IN_REVIEW, guards=(the_reviewer_is_free,))
    def review(self, reviewer: Agent | None = None, *, by: Actor, reason: str = "") -> Columns:
        """Begin the review.

        Args:
            reviewer: the agent that reviews; when left out, the acting agent, or the person who acts.
        """
        return Columns()

    @transition(IssueStatus.IN_REVIEW, to=IssueStatus.AWAITING_REVIEW, guards=(no_agent_reviews_it,))
    def return_review(self, *, by: Actor, reason: str = "") -> Columns:
        """Stop a review without a verdict."""
        return Columns()

    @transition(*REVIEWING, to=IssueStatus.IN_PROGRESS, guards=(its_agent_is_idle,), locks=(Lock.AGENTS,))
    def request_changes(self, *, by: Actor, reason: str) -> Columns:
        """Send the work back to its agent, which is dispatched again."""
        return Columns()

    @transition(
        IssueStatus.IN_PROGRESS,
        to=IssueStatus.DONE,
        guards=(its_pull_requests_are_settled,),
        allowed=owner,
        sets=("completed_at",),
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
        """Finish the issue; it counts for its assigned agent."""
        columns = Columns(completed_at=NOW)
        if (agent := self.assigned_agent) is not None:
            columns.on(agent, metrics=lambda now: with_one_more(agent.counters(), self.assigned_at, now))
        return columns

    @transition(IssueStatus.IN_PROGRESS, to=IssueStatus.BLOCKED, allowed=owner, locks=(Lock.AGENTS,))
    def block(self, *, by: Actor, reason: str) -> Columns:
        """Set the issue aside until somebody unblocks it; its agent is free."""
        return Columns()

    @transition(IssueStatus.BLOCKED, to=IssueStatus.IN_PROGRESS, guards=(its_agent_is_idle,), locks=(Lock.AGENTS,))
    def unblock(self, *, by: Actor, reason: str = "") -> Columns:
        """Go on with the agent it is assigned to, which is dispatched again."""
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
        """Take the issue from its agent and offer it again; worktree and branch stay."""
        return _free(self)

    @transition(
        *IssueStatus.live(),
        to=IssueStatus.CANCELLED,
        allowed=human_or_system,
        decision=DecisionType.HUMAN_OVERRIDE,
        locks=(Lock.EPIC, Lock.NEXT_ISSUES, Lock.AGENTS),
    )
    def cancel(self, *, by: Actor, reason: str) -> Columns:
        """Give the issue up; agents that hold it are free."""
        return Columns()

    # ---- birth and place -----------------------------------------------------------------------

    def birth(self, firing: Firing) -> None:
        self.settle_in(firing.refusals)

    def settle_in(self, refusals: list[str]) -> None:
        """Fill in what the stage and the epic give, and add why the issue may not live there."""
        epic, stage = self.epic, self.stage
        if stage is not None:
            epic = epic or stage.epic
            self.epic = epic
            if stage.epic_id != epic.id:
                refusals.append(f"{stage} belongs to another epic than {epic}")
            if stage.status in CLOSED_TO_BIRTHS:
                refusals.append(f"{stage} is {stage.status}")
        if epic is not None:
            self.repo_path = self.repo_path or epic.repo_path
            self.repo_url = self.repo_url or epic.repo_url
            if epic.status.final:
                refusals.append(f"{epic} is {epic.status}")

    def place(self, epic_or_stage: Epic | Stage, *, by: Actor) -> list[Move]:
        """Give an unassigned issue without an epic one, by the rules of birth.

        In a stage that is in_progress it is queued at once: that move is returned.

        Args:
            epic_or_stage: where it belongs from now on.
            by: who places it.

        Raises:
            InvalidValue: it is neither an epic nor a stage.
            RowNotFound: a row is gone.
            StaleRow: the issue moved since it was read.
            GuardRefused: it has an epic, is not unassigned, or may not be born there.
        """
        here = session()
        a_saved(epic_or_stage, "place(epic_or_stage)", Epic, Stage)

        def work(unit: UnitOfWork, issue: Issue) -> list[Move]:
            return _place(unit, issue, epic_or_stage, by)

        where = (epic_or_stage,)
        return here.work_on(self, "place", work, locks=(Lock.ROW,), by=by, others=where, fenced=True)

    def reassign(self, agent: Agent, *, by: Actor, reason: str) -> list[Move]:
        """Take the issue from its agent and give it to another: `release`, then `assign`, with one decision.

        Args:
            agent: of the type the issue asks for, and idle once it is released: its own, or its reviewer, will do.
            by: a person.
            reason: why; required.

        Raises:
            As `release` and `assign`; nothing changes unless both are accepted.
        """
        here = session()
        reason = values.words(reason, "reason")
        a_saved(agent, "reassign(agent)", Agent)

        def both(issue: Issue) -> Iterator[tuple[Issue, str, dict[str, Any]]]:
            yield issue, "release", {}
            yield issue, "assign", {"agent": present(Agent, agent.id)}  # read now: the release may have freed it

        def work(unit: UnitOfWork, issue: Issue) -> list[Move]:
            unit.refuse(issue, "reassign", [] if isinstance(by, Human) else [f"it takes a person, not {by.actor}"])
            return unit.acts("reassign", both(issue), by, reason, to_agent_id=str(agent.id))

        to = (agent,)
        return here.work_on(
            self, "reassign", work, locks=(Lock.ROW, Lock.AGENTS), by=by, others=to, fenced=True, legal="release"
        )

    @classmethod
    def by_status(cls, status: IssueStatus | str) -> ModelSelect[Issue]:
        """The issues of a status, the most urgent first, then the oldest: a Peewee query.

        Raises:
            InvalidValue: there is no such status.
        """
        wanted = word(status, IssueStatus, "issues.status")
        return cls.select().where(cls.status == wanted).order_by(urgency(), cls.created_at, cls.id)

    def owner_id(self) -> UUID | None:
        return self.assigned_agent_id

    def context(self) -> dict[str, UUID | None]:
        return {"issue": self.id, "epic": self.epic_id, "stage": self.stage_id, "agent": self.assigned_agent_id}

    def label(self) -> str:
        return self.title


def urgency() -> Any:
    """The seed's order of priorities, as an SQL expression without parameters."""
    return Case(Issue.priority, [(SQL(f"'{p}'"), SQL(str(rank))) for rank, p in enumerate(Priority)])


def _free(issue: Issue) -> Columns:
    return Columns(assigned_agent=None, assigned_at=None).note(agent=issue.assigned_agent_id)


def _place(unit: UnitOfWork, issue: Issue, where: Epic | Stage, by: Actor) -> list[Move]:
    refusals = []
    if issue.epic_id is not None or issue.stage_id is not None:
        refusals.append("it has an epic already, and a row's parent never changes")
    if issue.status != IssueStatus.UNASSIGNED:
        refusals.append(f"it is {issue.status}, not unassigned")
    if not refusals:
        setattr(issue, "stage" if isinstance(where, Stage) else "epic", where.id)
        issue.settle_in(refusals)
    unit.refuse(issue, "place", refusals)
    unit.set(issue, epic=issue.epic_id, stage=issue.stage_id, repo_url=issue.repo_url)
    unit.touch(present(type(where), where.id))
    stage = issue.stage
    return unit.act(issue, "queue", by, "") if stage and stage.status == StageStatus.IN_PROGRESS else []


# ---- what guards and rules ask ---------------------------------------------------------------------


@one
def unsettled_request(issue: UUID) -> ModelSelect[PullRequest]:
    requests: Any = Issue.pull_requests
    request = requests.rel_model
    query = request.select().where(requests.field == issue, request.status.in_(UNSETTLED))
    return query.order_by(request.id)  # type: ignore[no-any-return]


@rows
def agents_holding(issue: UUID) -> ModelSelect[Agent]:
    return Agent.select().where(Agent.current_issue == issue).order_by(Agent.started_at, Agent.id)


@rows
def issues_under_way(agent: UUID) -> ModelSelect[Issue]:
    return _by_birth(Issue.assigned_agent == agent, under_way())


@rows
def live_issues_of_epic(epic: UUID) -> ModelSelect[Issue]:
    return _by_birth(Issue.epic == epic, Issue.status.in_(IssueStatus.live()))


@rows
def live_issues_of_stage(stage: UUID) -> ModelSelect[Issue]:
    return _by_birth(Issue.stage == stage, Issue.status.in_(IssueStatus.live()))


@rows
def unassigned_issues_of_stage(stage: UUID) -> ModelSelect[Issue]:
    return _by_birth(Issue.stage == stage, Issue.status == IssueStatus.UNASSIGNED)


def _by_birth(*where: Any) -> ModelSelect[Issue]:
    return Issue.select().where(*where).order_by(Issue.created_at, Issue.id)


@one
def first_done_issue_of_stage(stage: UUID) -> ModelSelect[Issue]:
    return Issue.select().where(Issue.stage == stage, Issue.status == IssueStatus.DONE)
