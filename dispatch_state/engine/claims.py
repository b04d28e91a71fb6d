"""Claims: an agent gets the first queued issue that fits it, in one transaction.

The order is the seed's: priority, then age, then id. Issues for the agent's own type and issues for any type are two
ranges of one index, so a claim reads one issue of each, however long the queue is.

On PostgreSQL a claim skips the issues that other claims have locked. When it skipped one and found nothing else, it
tries again. The search locks the issue, but only reads its stage and its epic, so the issue may become unfit before it
is assigned. The claim then rolls back the attempt, which also frees its locks, and the next attempt leaves that issue
out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import cache, partial
from random import SystemRandom
from typing import Any, NamedTuple
from uuid import UUID

from peewee import JOIN, SQL, Value, fn

from dispatch_state import values
from dispatch_state.engine.locks import lock
from dispatch_state.errors import GuardRefused, IllegalTransition, InvalidValue, RowNotFound, StaleRow
from dispatch_state.lifecycle.session import UnitOfWork, session
from dispatch_state.models.agent import Agent
from dispatch_state.models.epic import Epic
from dispatch_state.models.heartbeats import record_heartbeat
from dispatch_state.models.issue import Issue, urgency
from dispatch_state.models.keys import present
from dispatch_state.models.queries import issue_under_way
from dispatch_state.models.stage import Stage
from dispatch_state.storage.current import DATABASE
from dispatch_state.storage.field_base import Slot
from dispatch_state.storage.fields import word
from dispatch_state.storage.statements import Statement, load
from dispatch_state.storage.targets import POSTGRESQL
from dispatch_state.vocabulary import AgentStatus, EpicStatus, IssueStatus, IssueType, Priority, StageStatus

TRIES = 10
"""How often a claim that skipped an issue tries again before it waits for the lock."""
SKIP, WAIT, LOOK = "FOR NO KEY UPDATE OF t1 SKIP LOCKED", "FOR NO KEY UPDATE OF t1", ""
ANYBODY = ""
"""How the index stores the type of issues for any type: PostgreSQL keeps no order behind an IS NULL."""
IDLE_HEARTBEAT_INTERVAL = timedelta(seconds=30)
"""The shortest time between two heartbeats that claims without an issue write."""
RANK = {str(priority): rank for rank, priority in enumerate(Priority)}
_random = SystemRandom()


class Wanted(NamedTuple):
    """What a claim asks for.

    filters: columns of the issue, and the values that they must have.
    start: whether the claim also starts the issue.
    run: the arguments for the agent's `run`.
    """

    filters: dict[str, Any]
    start: bool
    run: dict[str, Any]


class _TryAgain(Exception):
    """Rows moved during an attempt, which is rolled back.

    passed: the issue that became unfit, or None when another claim was faster.
    """

    def __init__(self, passed: UUID | None = None) -> None:
        self.passed = passed


def claim(
    agent: Agent,
    *,
    repo_path: str | None = None,
    issue_type: IssueType | str | None = None,
    start: bool = False,
    process_id: int | None = None,
    session_id: str | None = None,
) -> Issue | None:
    """Give an agent the first queued issue that fits it; see `Store.claim` for the arguments and conditions.

    Raises:
        InvalidValue: an argument is wrong, or `process_id` or `session_id` is given without `start`.
        RowNotFound: the agent is not in this store.
        GuardRefused: the agent is errored or completed.
    """
    current = session()
    if not isinstance(agent, Agent):
        raise InvalidValue(f"claim: takes an Agent row, not a value of type {type(agent).__name__}")
    wanted = Wanted(
        filters=_checked_arguments(repo_path=repo_path, issue_type=issue_type),
        start=values.boolean(start, "claim(start)"),
        run=_checked_arguments(process_id=process_id, session_id=session_id),
    )
    if wanted.run and not start:
        raise InvalidValue(
            f"claim({next(iter(wanted.run))}): is used only when the claim starts the issue; add start=True"
        )
    passed: set[UUID] = set()
    attempt = 0
    while attempt <= TRIES:
        locking = SKIP if attempt < TRIES else WAIT
        work = partial(_claim, wanted=wanted, locking=locking, passed=tuple(passed))
        try:
            return current.work_on(agent, "claim", work, locks=None, by=agent)
        except _TryAgain as again:
            if again.passed is not None:  # each repetition leaves out one more issue, so the loop ends
                passed.add(again.passed)
                continue
        attempt += 1
        time.sleep(_random.uniform(0, 0.005))
    return None


_CHECKS: Mapping[str, Callable[[Any, str], Any]] = {
    "repo_path": values.nonblank_text,
    "issue_type": lambda value, place: str(word(value, IssueType, place)),
    "process_id": values.positive,
    "session_id": values.nonblank_text,
}


def _checked_arguments(**arguments: Any) -> dict[str, Any]:
    """Check the arguments of a claim that are not None, and return them by name."""
    return {name: _CHECKS[name](value, f"claim({name})") for name, value in arguments.items() if value is not None}


def _claim(unit: UnitOfWork, agent: Agent, wanted: Wanted, locking: str, passed: tuple[UUID, ...]) -> Issue | None:
    """Make one attempt at a claim, in its own transaction.

    Raises:
        _TryAgain: the issue that it found was taken by another claim, or became unfit.
    """
    if agent.status != AgentStatus.IDLE:
        return _issue_already_assigned(unit, agent, wanted)
    issue = _first(agent, wanted.filters, locking, passed)
    if issue is not None:
        _assign(unit, _locked(unit, agent), issue, wanted)
        return issue
    if locking == SKIP and DATABASE.kind == POSTGRESQL and _first(agent, wanted.filters, LOOK, passed) is not None:
        raise _TryAgain
    _record_idle_heartbeat(unit, agent)
    return None


def _assign(unit: UnitOfWork, agent: Agent, issue: Issue, wanted: Wanted) -> None:
    if agent.status != AgentStatus.IDLE:
        raise _TryAgain
    acts: list[tuple[Any, str, dict[str, Any]]] = [(issue, "assign", {"agent": agent})]
    if wanted.start:
        acts.append((issue, "start", {}))
    try:
        unit.acts("claim", acts, agent, "", passed_on=wanted.run)
    except (GuardRefused, IllegalTransition, StaleRow, RowNotFound) as refusal:
        if issue_under_way(agent.id) not in (None, issue):  # an invariant is broken, and no other issue would help
            raise
        raise _TryAgain(issue.id) from refusal


def _issue_already_assigned(unit: UnitOfWork, agent: Agent, wanted: Wanted) -> Issue | None:
    """Return the issue that is assigned to a busy agent, and start it if asked; None when the agent reviews."""
    issue = issue_under_way(agent.id)
    if issue is None:
        _record_idle_heartbeat(unit, agent)
        return None
    if DATABASE.kind == POSTGRESQL:
        agent = _locked(unit, agent, issue)
        issue, before = issue_under_way(agent.id), issue
        if issue is None or issue != before:
            raise _TryAgain
    if wanted.start and issue.status == IssueStatus.ASSIGNED:
        unit.acts("claim", [(issue, "start", {})], agent, "", passed_on=wanted.run)
    else:
        record_heartbeat(unit, agent)
    return issue


def _record_idle_heartbeat(unit: UnitOfWork, agent: Agent) -> None:
    """Write a heartbeat for a claim that found no issue, but not at every claim, so that polling writes little."""
    if unit.now - agent.last_heartbeat >= IDLE_HEARTBEAT_INTERVAL:
        record_heartbeat(unit, _locked(unit, agent))


def _locked(unit: UnitOfWork, agent: Agent, issue: Issue | None = None) -> Agent:
    """Lock the agent and read it again (PostgreSQL). The lock of the issue it holds comes first, as `ORDER` says.

    Raises:
        RowNotFound: the agent was removed.
        GuardRefused: the agent is errored or completed.
    """
    if DATABASE.kind == POSTGRESQL:
        lock({Issue: {issue.id} if issue else set(), Agent: {agent.id}})
        agent = present(Agent, agent.id)
        unit.remember(agent)
        unit.refuse(agent, "claim", unit.actor_refusals(agent, agent))
    return agent


def _first(agent: Agent, filters: dict[str, Any], locking: str, passed: tuple[UUID, ...]) -> Issue | None:
    """Find the first issue among those for the agent's type and those for any type."""
    size = 1 << (len(passed) - 1).bit_length() if passed else 0  # rounded up, so that few statements are cached
    statement = _candidates(tuple(filters), locking, size)
    left_out = passed + passed[-1:] * (size - len(passed))
    found = [statement.first(*filters.values(), kind, *left_out) for kind in (agent.agent_type, ANYBODY)]
    issues = [load(Issue, columns) for columns in found if columns is not None]
    return min(issues, key=lambda issue: (RANK[issue.priority], issue.created_at, issue.id), default=None)


@cache
def _candidates(filters: tuple[str, ...], locking: str, left_out: int = 0) -> Statement:
    def build(*slots: Slot) -> Any:
        wanted, (agent_type, *passed) = slots[: len(filters)], slots[len(filters) :]
        query = Issue.select().join(Epic, JOIN.LEFT_OUTER).switch(Issue).join(Stage, JOIN.LEFT_OUTER, on=Issue.stage)
        kind = fn.COALESCE(Issue.agent_type, SQL("''")) == Value(agent_type, converter=False)
        query = query.where(Issue.status == SQL("'queued'"), kind)
        query = query.where(Issue.epic.is_null() | (Epic.status == EpicStatus.IN_PROGRESS))
        query = query.where(Issue.stage.is_null() | (Stage.status == StageStatus.IN_PROGRESS))
        for name, slot in zip(filters, wanted, strict=True):
            query = query.where(Issue._meta.fields[name] == slot)
        if passed:
            query = query.where(Issue.id.not_in(passed))
        query = query.order_by(urgency(), Issue.created_at, Issue.id).limit(1)
        if locking and DATABASE.for_update:
            query = query.for_update(locking)  # type: ignore[arg-type]
        return query

    return Statement(build, len(filters) + 1 + left_out)
