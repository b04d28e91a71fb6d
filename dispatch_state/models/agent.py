"""Agents: one row is one session of one agent process; and the lines they log."""

from __future__ import annotations

from datetime import timedelta
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self, Unpack
from uuid import UUID

from peewee import SQL, ModelSelect

from dispatch_state import json_values, values
from dispatch_state.actors import Actor
from dispatch_state.errors import InvalidValue, StoreCorrupt
from dispatch_state.ids import new_id, uuid_text
from dispatch_state.lifecycle.interface import NOW, PRESENT, Columns, Firing, Lock, UnitOfWork, session
from dispatch_state.lifecycle.triggers import transition
from dispatch_state.models.base import Row, Stateful
from dispatch_state.models.columns import AgentColumns
from dispatch_state.models.guards import owner
from dispatch_state.models.keys import ParentField, PointerField, present, short
from dispatch_state.models.metrics import measurements, more, with_every_one
from dispatch_state.storage.fields import IdField, IntegerField, JsonField, StampField, TextField, WordField
from dispatch_state.storage.statements import exists, one
from dispatch_state.vocabulary import AgentStatus, AgentType, DecisionType, IssueStatus, LogLevel

if TYPE_CHECKING:
    from dispatch_state.models.issue import Issue
    from dispatch_state.models.proposal import Proposal, Vote

WAITING = (AgentStatus.WAITING_FOR_INPUT, AgentStatus.WAITING_FOR_VOTE)
BUSY = (AgentStatus.STARTING, AgentStatus.WORKING, *WAITING, AgentStatus.PAUSED)
DEAD = (AgentStatus.ERRORED, AgentStatus.COMPLETED)
UNDER_WAY = (IssueStatus.ASSIGNED, IssueStatus.IN_PROGRESS)


def fits_the_issue(agent: Agent, firing: Firing) -> str | None:
    issue = firing["issue"]
    if issue.assigned_agent_id == agent.id:
        return None if issue.status in UNDER_WAY else f"{issue}, which is assigned to it, is {issue.status}"
    if issue.status != IssueStatus.IN_REVIEW:
        return f"{issue} is not assigned to it, and is {issue.status}, not in_review"
    reviewer = holder(issue.id)
    return f"{reviewer} reviews {issue}" if reviewer else None


def nothing_under_way(agent: Agent, firing: Firing) -> str | None:
    issue = issue_under_way(agent.id)
    return f"{issue}, which is assigned to it, is {issue.status}; submit, block or release it" if issue else None


def a_proposal_is_undecided(agent: Agent, firing: Firing) -> str | None:
    return None if any_undecided(agent.id) else "no proposal of it is open or voting"


def no_proposal_is_undecided(agent: Agent, firing: Firing) -> str | None:
    return "a proposal of it is still open or voting" if any_undecided(agent.id) else None


class Agent(Stateful):
    """One session of one agent process; also an actor."""

    statuses = AgentStatus
    stamps = ("started_at", "last_heartbeat")
    kept = MappingProxyType({"metrics": "the moves that it counts and use_tokens()"})
    terms = ("agent_type",)
    written_by = "Agent.create(), save(), its triggers, heartbeat(), use_tokens() and remove()"
    create_locks = ()
    remove_locks = (Lock.ROW, Lock.WORK, Lock.ASSIGNED)

    agent_type = WordField(AgentType)
    status: WordField[AgentStatus] = WordField(AgentStatus, default=AgentStatus.IDLE)
    current_issue = PointerField("Issue", null=True, column_name="current_issue_id", backref="+", on_delete="SET NULL")
    worktree_path = TextField(null=True)
    process_id = IntegerField(null=True)
    claude_session_id = TextField(null=True)
    started_at = StampField()
    last_heartbeat = StampField()
    completed_at = StampField(null=True)
    metrics = JsonField(measurements, null=True)

    if TYPE_CHECKING:
        current_issue: Issue | None  # type: ignore[no-redef]
        current_issue_id: UUID | None
        issues: ModelSelect[Issue]
        logs: ModelSelect[AgentLog]
        proposals: ModelSelect[Proposal]
        votes: ModelSelect[Vote]

        @classmethod
        def create(cls, **columns: Unpack[AgentColumns]) -> Self: ...  # type: ignore[override]

    class Meta:
        table_name = "agents"

    @classmethod
    @cache
    def moments(cls) -> tuple[str, ...]:
        """As of any row, but for heartbeats: one of a clock that was ahead must not take other stamps along."""
        return tuple(name for name in super().moments() if name != "last_heartbeat")

    @property
    def actor(self) -> str:
        """As stored in the log: `agent:<uuid>`."""
        return f"agent:{uuid_text(self.id)}"

    @property
    def signature(self) -> str:
        """As stored in a comment's author: `agent:<uuid>`."""
        return self.actor

    # ---- triggers ------------------------------------------------------------------------------

    @transition(
        AgentStatus.IDLE,
        to=AgentStatus.STARTING,
        guards=(fits_the_issue,),
        sets=("current_issue", "worktree_path", "last_heartbeat"),
    )
    def dispatch(self, issue: Issue, *, by: Actor, reason: str = "") -> Columns:
        """Send the agent to an issue that is assigned to it, or to one that it will review."""
        return Columns(current_issue=issue.id, worktree_path=issue.worktree_path, last_heartbeat=PRESENT)

    @transition(
        AgentStatus.STARTING,
        to=AgentStatus.WORKING,
        allowed=owner,
        sets=("process_id", "claude_session_id", "last_heartbeat"),
        locks=(Lock.WORK,),
    )
    def run(
        self, process_id: int | None = None, session_id: str | None = None, *, by: Actor, reason: str = ""
    ) -> Columns:
        """Say that the process is up; its assigned issue starts.

        Args:
            process_id: of the operating system; kept when given.
            session_id: by which the session can be resumed; kept when given.
        """
        given = {"process_id": process_id, "claude_session_id": session_id}
        return Columns(last_heartbeat=PRESENT, **{name: value for name, value in given.items() if value is not None})

    @transition(AgentStatus.WORKING, to=AgentStatus.WAITING_FOR_INPUT, allowed=owner)
    def request_input(self, *, by: Actor, reason: str = "") -> Columns:
        """Ask a person something and wait."""
        return Columns()

    @transition(AgentStatus.WAITING_FOR_INPUT, to=AgentStatus.WORKING, allowed=owner, sets=("last_heartbeat",))
    def receive_input(self, *, by: Actor, reason: str = "") -> Columns:
        """Go on with the answer."""
        return Columns(last_heartbeat=PRESENT)

    @transition(
        AgentStatus.WORKING,
        to=AgentStatus.WAITING_FOR_VOTE,
        guards=(a_proposal_is_undecided,),
        allowed=owner,
        locks=(Lock.PROPOSALS,),
    )
    def await_vote(self, *, by: Actor, reason: str = "") -> Columns:
        """Wait until the agent's own proposals are decided; those still open go to the vote."""
        return Columns()

    @transition(
        AgentStatus.WAITING_FOR_VOTE,
        to=AgentStatus.WORKING,
        guards=(no_proposal_is_undecided,),
        sets=("last_heartbeat",),
        locks=(Lock.PROPOSALS,),
    )
    def vote_resolved(self, *, by: Actor, reason: str = "") -> Columns:
        """Go on after the vote; follows from the decision."""
        return Columns(last_heartbeat=PRESENT)

    @transition(
        AgentStatus.WORKING,
        *WAITING,
        to=AgentStatus.PAUSED,
        allowed=owner,
        decision=DecisionType.HUMAN_OVERRIDE,
    )
    def pause(self, *, by: Actor, reason: str) -> Columns:
        """Hold the agent still; it keeps its issue and is not expected to send heartbeats."""
        return Columns()

    @transition(AgentStatus.PAUSED, to=AgentStatus.WORKING, allowed=owner, sets=("last_heartbeat",))
    def resume(self, *, by: Actor, reason: str = "") -> Columns:
        """Go on after a pause."""
        return Columns(last_heartbeat=PRESENT)

    @transition(
        *BUSY,
        to=AgentStatus.IDLE,
        guards=(nothing_under_way,),
        allowed=owner,
        sets=("current_issue", "worktree_path", "last_heartbeat"),
        locks=(Lock.WORK,),
    )
    def finish(self, *, by: Actor, reason: str = "") -> Columns:
        """Become free; a review it leaves open goes back to awaiting_review."""
        return Columns(current_issue=None, worktree_path=None, last_heartbeat=PRESENT)

    @transition(
        *AgentStatus.live(),
        to=AgentStatus.COMPLETED,
        allowed=owner,
        decision=DecisionType.HUMAN_OVERRIDE,
        sets=("completed_at", "process_id", "current_issue"),
        ended_agent_may=True,
        locks=(Lock.WORK,),
    )
    def stop(self, *, by: Actor, reason: str) -> Columns:
        """End the session; its work under way is released."""
        held = self.current_issue_id
        return Columns(completed_at=NOW, process_id=None, current_issue=None).note(current_issue=held)

    @transition(
        *BUSY,
        to=AgentStatus.ERRORED,
        allowed=owner,
        sets=("process_id", "current_issue"),
        locks=(Lock.WORK,),
    )
    def fail(self, error: str, *, max_attempts: int = 3, by: Actor, reason: str = "") -> Columns:
        """Record that the session failed; its work under way is released, or set aside after too many attempts.

        Args:
            error: what went wrong; the reason of this move and of those that follow. What no column takes is made
                storable: NUL and lone surrogates become U+FFFD, more than 1,000,000 characters are cut with a mark,
                and blank text becomes "(no message)".
            max_attempts: from how many attempts on the issue is blocked or unassigned instead of queued again.
        """
        counted = self.counters()
        counted["errors_encountered"] = more(counted["errors_encountered"])
        held = self.current_issue_id
        return (
            Columns(process_id=None, current_issue=None, metrics=counted)
            .note(current_issue=held)
            .record(AgentLog, agent=self.id, issue=held, level=LogLevel.ERROR, message=error)
        )

    @transition(AgentStatus.ERRORED, to=AgentStatus.IDLE, allowed=owner, sets=("last_heartbeat",), ended_agent_may=True)
    def recover(self, *, by: Actor, reason: str = "") -> Columns:
        """Come back after a failure, free for work."""
        return Columns(last_heartbeat=PRESENT)

    # ---- conveniences --------------------------------------------------------------------------

    def counters(self) -> dict[str, Any]:
        """The metrics with every one present: issues_completed, errors_encountered, tokens_used, and
        avg_completion_time (mean of completed_at - assigned_at, in seconds).

        Raises:
            StoreCorrupt: what is stored is no object of numbers.
        """
        try:
            return with_every_one(self.metrics or {})
        except InvalidValue as error:
            raise StoreCorrupt(f"{self}: {error}; store.verify() names every such row") from None

    def heartbeat(self, *, holding: Issue | UUID | None = None) -> UUID | None:
        """Say that the agent lives: moves `last_heartbeat` forward, never back; no transition.

        Args:
            holding: the issue that the agent is working on. When it holds another one by now, or none, nothing is
                written: its work was taken from it.

        Returns:
            The id of the issue that the agent holds at this moment, None when it holds none.

        Raises:
            InvalidValue: `holding` is neither an issue nor the id of one.
            RowNotFound: the agent is gone.
            GuardRefused: it is errored or completed, or does not hold that issue.
        """
        here = session()
        named = holding.id if isinstance(holding, _issues().rel_model) else holding
        wanted = None if holding is None else values.uuid(named, "heartbeat(holding)")

        def move_forward(unit: UnitOfWork, agent: Agent) -> UUID | None:
            held = agent.current_issue_id
            if wanted is not None and held != wanted:
                holds = f"Issue {short(held)}" if held else "no issue"
                unit.refuse(agent, "heartbeat", [f"it holds {holds}, not Issue {short(wanted)}"])
            record_heartbeat(unit, agent)
            return held

        return here.work_on(self, "heartbeat", move_forward, locks=(Lock.ROW,), by=self)

    def log(
        self,
        level: LogLevel | str,
        message: str,
        context: dict[str, Any] | None = None,
        issue: Issue | UUID | None = None,
    ) -> AgentLog:
        """Keep a line in `agent_logs`; also a dead agent may.

        Args:
            level: debug, info, warn or error.
            message: what happened; made storable as the error of `fail` is.
            context: further facts, as a JSON object.
            issue: what it was about; when left out, the issue that the agent holds, if it holds one.

        Raises:
            InvalidValue: a value is wrong.
            RowNotFound: the agent or the issue is gone.
        """
        here = session()
        told = values.storable(message, AgentLog.message.place)
        columns = {"level": level, "message": told, "context": context, "issue": issue}
        checked = {name: AgentLog._meta.fields[name].check(value) for name, value in columns.items()}

        def write(unit: UnitOfWork, agent: Agent) -> AgentLog:
            if checked["issue"] is not None:
                present(_issues().rel_model, checked["issue"])
            about = checked["issue"] or agent.current_issue_id
            line: AgentLog = unit.insert(AgentLog, agent=agent.id, **{**checked, "issue": about})
            return line

        return here.work_on(self, "log", write, locks=(Lock.ROW,))

    def use_tokens(self, count: int) -> None:
        """Add to the agent's `tokens_used`, exactly also when several processes do at once.

        Raises:
            InvalidValue: the count is no positive integer.
            RowNotFound: the agent is gone.
            GuardRefused: it is errored or completed.
        """
        here = session()
        used = values.positive(count, "tokens")

        def add(unit: UnitOfWork, agent: Agent) -> None:
            counted = agent.counters()
            counted["tokens_used"] = values.integer(counted["tokens_used"] + used, "agents.metrics")
            unit.set(agent, metrics=counted)

        here.work_on(self, "use_tokens", add, locks=(Lock.ROW,), by=self)

    def frozen(self, columns: tuple[str, ...]) -> list[str]:
        if "agent_type" not in columns or (self.status == AgentStatus.IDLE and not any_vote(self.id)):
            return []
        return ["agent_type, and so its weight, changes only while it is idle and has never voted"]

    def owner_id(self) -> UUID | None:
        return self.id

    def context(self) -> dict[str, UUID | None]:
        held = self.current_issue
        return {"agent": self.id, "issue": held.id if held else None, "epic": held.epic_id if held else None}

    def label(self) -> str:
        return str(self.agent_type)


def called(agent: Agent) -> str:
    """What an agent is called where people read: its type, and the end of its id."""
    return f"{agent.agent_type} {short(agent.id)}"


def record_heartbeat(unit: UnitOfWork, agent: Agent, every: timedelta = timedelta.resolution) -> None:
    """Move an agent's heartbeat forward, when the last one is at least so long ago."""
    if unit.now - agent.last_heartbeat >= every:
        unit.set(agent, last_heartbeat=unit.now)


class AgentLog(Row):
    """A line that an agent logged, or that its failure did."""

    written_by = "Agent.log() and Agent.fail()"

    id = IdField(primary_key=True, default=new_id)
    agent = ParentField(Agent, backref="logs", column_name="agent_id", on_delete="CASCADE")
    issue = PointerField("Issue", null=True, column_name="issue_id", backref="logs", on_delete="SET NULL")
    level = WordField(LogLevel)
    message = TextField(holds=values.nonblank_text)
    context = JsonField(json_values.json_object, null=True)
    created_at = StampField()

    if TYPE_CHECKING:
        issue: Issue | None  # type: ignore[no-redef]
        agent_id: UUID
        issue_id: UUID | None

    class Meta:
        table_name = "agent_logs"


def _issues() -> Any:
    accessor: Any = Agent.issues
    return accessor


@one
def issue_under_way(agent: UUID) -> ModelSelect[Issue]:
    issue = _issues().rel_model
    return issue.select().where(_issues().field == agent, under_way()).order_by(issue.id)  # type: ignore[no-any-return]


def under_way() -> SQL:
    """The condition of an issue that is under way, as its index has it: with words in place of slots."""
    return SQL("status IN ('assigned', 'in_progress')")


@one
def holder(issue: UUID) -> ModelSelect[Agent]:
    return Agent.select().where(Agent.current_issue == issue).order_by(Agent.id)


@exists
def any_vote(agent: UUID) -> ModelSelect[Any]:
    votes: Any = Agent.votes
    return votes.rel_model.select().where(votes.field == agent)  # type: ignore[no-any-return]


@exists
def any_undecided(agent: UUID) -> ModelSelect[Any]:
    proposals: Any = Agent.proposals
    proposal = proposals.rel_model
    return proposal.select().where(proposals.field == agent, proposal.status.in_(proposal.UNDECIDED))  # type: ignore[no-any-return]
