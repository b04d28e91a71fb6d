"""Agents: each row is one session of one agent process."""

from __future__ import annotations

from functools import cache, partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self, Unpack
from uuid import UUID

from peewee import ModelSelect

from dispatch_state import values
from dispatch_state.actors import Actor
from dispatch_state.errors import InvalidValue, StoreCorrupt
from dispatch_state.ids import uuid_text
from dispatch_state.lifecycle.interface import NOW, PRESENT, Columns
from dispatch_state.lifecycle.locks import Lock
from dispatch_state.lifecycle.session import UnitOfWork, session
from dispatch_state.lifecycle.triggers import transition
from dispatch_state.models.agent_guards import (
    a_proposal_is_undecided,
    fits_the_issue,
    no_proposal_is_undecided,
    nothing_under_way,
)
from dispatch_state.models.base import Stateful
from dispatch_state.models.columns import AgentColumns
from dispatch_state.models.guards import owner
from dispatch_state.models.heartbeats import record_heartbeat
from dispatch_state.models.keys import PointerField, short
from dispatch_state.models.metrics import all_metrics, measurements, plus_one
from dispatch_state.models.queries import any_vote
from dispatch_state.models.row import MODELS
from dispatch_state.storage.fields import IntegerField, JsonField, StampField, TextField, WordField
from dispatch_state.vocabulary import AgentStatus, AgentType, DecisionType, LogLevel

if TYPE_CHECKING:
    from dispatch_state.models.agent_log import AgentLog
    from dispatch_state.models.issue import Issue
    from dispatch_state.models.proposal import Proposal
    from dispatch_state.models.vote import Vote

WAITING = (AgentStatus.WAITING_FOR_INPUT, AgentStatus.WAITING_FOR_VOTE)
BUSY = (AgentStatus.STARTING, AgentStatus.WORKING, *WAITING, AgentStatus.PAUSED)
DEAD = (AgentStatus.ERRORED, AgentStatus.COMPLETED)


class Agent(Stateful):
    """One session of one agent process. An agent is also an actor."""

    statuses = AgentStatus
    creation_stamps = ("started_at", "last_heartbeat")
    written_elsewhere = MappingProxyType({"metrics": "the moves that it counts and use_tokens()"})
    editable_until = ("agent_type",)
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
    def moment_columns(cls) -> tuple[str, ...]:
        """The columns that say when something happened, without the heartbeat.

        A heartbeat of a clock that was ahead must not move the other stamps.
        """
        return tuple(name for name in super().moment_columns() if name != "last_heartbeat")

    @property
    def actor(self) -> str:
        """How the agent is stored as the actor of a move: `agent:<uuid>`."""
        return f"agent:{uuid_text(self.id)}"

    @property
    def signature(self) -> str:
        """How the agent is stored as the author of a comment: `agent:<uuid>`."""
        return self.actor

    # ---- triggers ------------------------------------------------------------------------------

    @transition(
        AgentStatus.IDLE,
        to=AgentStatus.STARTING,
        guards=(fits_the_issue,),
        sets=("current_issue", "worktree_path", "last_heartbeat"),
    )
    def dispatch(self, issue: Issue, *, by: Actor, reason: str = "") -> Columns:
        """Send the agent to an issue that is assigned to it, or that it will review.

        Args:
            issue: the issue.
        """
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
        """Report that the agent's process runs; the issue that is assigned to it starts.

        Args:
            process_id: the number of the process in the operating system. When None, the stored one stays.
            session_id: the identifier by which the agent's program can resume. When None, the stored one stays.
        """
        names = {"process_id": process_id, "claude_session_id": session_id}
        return Columns(last_heartbeat=PRESENT, **{name: value for name, value in names.items() if value is not None})

    @transition(AgentStatus.WORKING, to=AgentStatus.WAITING_FOR_INPUT, allowed=owner)
    def request_input(self, *, by: Actor, reason: str = "") -> Columns:
        """Ask a person a question, and wait for the answer."""
        return Columns()

    @transition(AgentStatus.WAITING_FOR_INPUT, to=AgentStatus.WORKING, allowed=owner, sets=("last_heartbeat",))
    def receive_input(self, *, by: Actor, reason: str = "") -> Columns:
        """Go on after the answer."""
        return Columns(last_heartbeat=PRESENT)

    @transition(
        AgentStatus.WORKING,
        to=AgentStatus.WAITING_FOR_VOTE,
        guards=(a_proposal_is_undecided,),
        allowed=owner,
        locks=(Lock.PROPOSALS,),
    )
    def await_vote(self, *, by: Actor, reason: str = "") -> Columns:
        """Wait until the agent's own proposals are decided; voting opens on those that are still open."""
        return Columns()

    @transition(
        AgentStatus.WAITING_FOR_VOTE,
        to=AgentStatus.WORKING,
        guards=(no_proposal_is_undecided,),
        sets=("last_heartbeat",),
        locks=(Lock.PROPOSALS,),
    )
    def vote_resolved(self, *, by: Actor, reason: str = "") -> Columns:
        """Go on after the vote; this follows from the decision."""
        return Columns(last_heartbeat=PRESENT)

    @transition(
        AgentStatus.WORKING,
        *WAITING,
        to=AgentStatus.PAUSED,
        allowed=owner,
        decision=DecisionType.HUMAN_OVERRIDE,
    )
    def pause(self, *, by: Actor, reason: str) -> Columns:
        """Pause the agent; it keeps its issue and need not send heartbeats."""
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
        """Free the agent; an issue that it reviews goes back to awaiting_review."""
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
        """End the session; its issues that are assigned or in_progress are released."""
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
        """Record that the session failed; its issue is released, or set aside after too many attempts.

        Args:
            error: what went wrong. It becomes the reason of this move and of those that follow. Text that cannot be
                stored is changed: NUL and lone surrogates become U+FFFD, text over 1,000,000 characters is cut and
                marked, and blank text becomes "(no message)".
            max_attempts: from how many attempts on the issue is blocked or unassigned instead of queued again.
        """
        counted = self.counters()
        counted["errors_encountered"] = plus_one(counted["errors_encountered"])
        held = self.current_issue_id
        return (
            Columns(process_id=None, current_issue=None, metrics=counted)
            .note(current_issue=held)
            .record(MODELS["agent_logs"], agent=self.id, issue=held, level=LogLevel.ERROR, message=error)
        )

    @transition(AgentStatus.ERRORED, to=AgentStatus.IDLE, allowed=owner, sets=("last_heartbeat",), ended_agent_may=True)
    def recover(self, *, by: Actor, reason: str = "") -> Columns:
        """Become idle again after a failure."""
        return Columns(last_heartbeat=PRESENT)

    # ---- conveniences --------------------------------------------------------------------------

    def counters(self) -> dict[str, Any]:
        """Return the agent's metrics, with 0 for what was never counted; reads memory only.

        Returns:
            issues_completed, errors_encountered and tokens_used as integers; avg_completion_time, the mean of
            completed_at - assigned_at in seconds; and the numbers that the caller added.

        Raises:
            StoreCorrupt: the stored value is not an object of numbers.
        """
        try:
            return all_metrics(self.metrics or {})
        except InvalidValue as error:
            raise StoreCorrupt(f"{self}: {error}; store.verify() names every such row") from None

    def heartbeat(self, *, holding: Issue | UUID | None = None) -> UUID | None:
        """Report that the agent is alive. This moves `last_heartbeat` forward, never back, and is not a transition.

        Args:
            holding: the issue that the agent works on. If it was taken from the agent, nothing is written.

        Returns:
            The id of the issue that the agent holds at this moment, or None.

        Raises:
            InvalidValue: `holding` is neither an issue nor the id of one.
            RowNotFound: the agent was removed.
            GuardRefused: the agent is errored or completed, or does not hold that issue.
            StoreError: the store is not open, or the database failed. A subclass says which.
        """
        current = session()
        named = holding.id if isinstance(holding, MODELS["issues"]) else holding
        wanted = None if holding is None else values.uuid(named, "heartbeat(holding)")

        def move_forward(unit: UnitOfWork, agent: Agent) -> UUID | None:
            held = agent.current_issue_id
            if wanted is not None and held != wanted:
                holds = f"Issue {short(held)}" if held else "no issue"
                unit.refuse(agent, "heartbeat", [f"it holds {holds}, not Issue {short(wanted)}"])
            record_heartbeat(unit, agent)
            return held

        return current.work_on(self, "heartbeat", move_forward, locks=(Lock.ROW,), by=self)

    def log(
        self,
        level: LogLevel | str,
        message: str,
        context: dict[str, Any] | None = None,
        issue: Issue | UUID | None = None,
    ) -> AgentLog:
        """Write a line to `agent_logs`. An errored or completed agent may do this too.

        Args:
            level: debug, info, warn or error.
            message: what happened. Text that cannot be stored is changed, as the error of `fail` is.
            context: further facts, as a JSON object.
            issue: the issue that the line is about. When None, it is the one that the agent holds, if any.

        Raises:
            InvalidValue: an argument is wrong.
            RowNotFound: the agent or the issue was removed.
            StoreError: the store is not open, or the database failed. A subclass says which.
        """
        current = session()
        line: type[AgentLog] = MODELS["agent_logs"]
        columns = line.checked_columns(level, message, context, issue)
        return current.work_on(self, "log", partial(line.insert_line, columns=columns), locks=(Lock.ROW,))

    def use_tokens(self, count: int) -> None:
        """Add to the agent's `tokens_used`. The sum is exact even when several processes add at the same time.

        Args:
            count: how many tokens to add.

        Raises:
            InvalidValue: the count is not a positive integer, or the sum is over 64 bits.
            RowNotFound: the agent was removed.
            GuardRefused: the agent is errored or completed.
            StoreError: the store is not open, or the database failed. A subclass says which.
        """
        current = session()
        used = values.positive(count, "tokens")

        def add(unit: UnitOfWork, agent: Agent) -> None:
            counted = agent.counters()
            counted["tokens_used"] = values.integer(counted["tokens_used"] + used, "agents.metrics")
            unit.set(agent, metrics=counted)

        current.work_on(self, "use_tokens", add, locks=(Lock.ROW,), by=self)

    def why_fixed(self, columns: tuple[str, ...]) -> list[str]:
        if "agent_type" not in columns or (self.status == AgentStatus.IDLE and not any_vote(self.id)):
            return []
        return ["agent_type, and so its weight, changes only while it is idle and has never voted"]

    def owner_id(self) -> UUID | None:
        return self.id

    def decision_context(self) -> dict[str, UUID | None]:
        held = self.current_issue
        return {"agent": self.id, "issue": held.id if held else None, "epic": held.epic_id if held else None}

    def label(self) -> str:
        return str(self.agent_type)
