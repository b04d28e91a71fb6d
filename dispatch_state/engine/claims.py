"""Claims: the first queued issue that fits an agent, given to it atomically.

The order is the seed's: priority, then age, then id. Issues for the agent's own type and issues for
anybody are two ranges of one index, so a claim reads the first of each, however long the queue is. On
PostgreSQL an issue that another claim has locked is skipped; before saying that there is nothing, a claim
that skipped something asks again. Its search locks the issue and only reads its stage and epic, so what it
found may have become unfit before it is assigned: then that attempt is rolled back as a whole, its locks with
it, and the next one passes the issue over.
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
from dispatch_state.lifecycle.interface import UnitOfWork, session
from dispatch_state.models.agent import Agent, record_heartbeat
from dispatch_state.models.epic import Epic
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
"""How often a claim that skipped an issue asks again before it waits for the lock."""
SKIP, WAIT, LOOK = "FOR NO KEY UPDATE OF t1 SKIP LOCKED", "FOR NO KEY UPDATE OF t1", ""
ANYBODY = ""
"""What the index calls issues that name no type of agent: PostgreSQL keeps no order behind an IS NULL."""
NOW_AND_THEN = timedelta(seconds=30)
"""How often a claim that gives nothing writes a heartbeat at most."""
RANK = {str(priority): rank for rank, priority in enumerate(Priority)}
_random = SystemRandom()


class Wanted(NamedTuple):
    """What a claim asks for.

    filters: columns of the issue and what they must hold.
    start: whether the issue is to be in_progress.
    run: what the agent's `run` is given.
    """

    filters: dict[str, Any]
    start: bool
    run: dict[str, Any]


class _LookAgain(Exception):
    """The rows moved during an attempt; nothing of it is kept.

    passed: the issue that became unfit, if that is why.
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
    """Give an agent an issue; see `Store.claim`."""
    here = session()
    if not isinstance(agent, Agent):
        raise InvalidValue(f"claim: takes an Agent row, not a value of type {type(agent).__name__}")
    wanted = Wanted(
        filters=_given(repo_path=repo_path, issue_type=issue_type),
        start=values.boolean(start, "claim(start)"),
        run=_given(process_id=process_id, session_id=session_id),
    )
    if wanted.run and not start:
        raise InvalidValue(f"claim({next(iter(wanted.run))}): is kept when the agent runs; claim with start=True")
    passed: set[UUID] = set()
    attempt = 0
    while attempt <= TRIES:
        locking = SKIP if attempt < TRIES else WAIT
        work = partial(_claim, wanted=wanted, locking=locking, passed=tuple(passed))
        try:
            return here.work_on(agent, "claim", work, locks=None, by=agent)
        except _LookAgain as again:
            if again.passed is not None:  # one issue less each time, so this ends
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


def _given(**arguments: Any) -> dict[str, Any]:
    """The arguments of a claim that are not None, checked."""
    return {name: _CHECKS[name](value, f"claim({name})") for name, value in arguments.items() if value is not None}


def _claim(unit: UnitOfWork, agent: Agent, wanted: Wanted, locking: str, passed: tuple[UUID, ...]) -> Issue | None:
    """One attempt at a claim, in a transaction of its own.

    Raises:
        _LookAgain: what it found was taken, or became unfit, meanwhile.
    """
    if agent.status != AgentStatus.IDLE:
        return _held(unit, agent, wanted)
    issue = _first(agent, wanted.filters, locking, passed)
    if issue is not None:
        _assign(unit, _locked(unit, agent), issue, wanted)
        return issue
    if locking == SKIP and DATABASE.kind == POSTGRESQL and _first(agent, wanted.filters, LOOK, passed) is not None:
        raise _LookAgain
    _give_nothing(unit, agent)
    return None


def _assign(unit: UnitOfWork, agent: Agent, issue: Issue, wanted: Wanted) -> None:
    if agent.status != AgentStatus.IDLE:
        raise _LookAgain
    acts: list[tuple[Any, str, dict[str, Any]]] = [(issue, "assign", {"agent": agent})]
    if wanted.start:
        acts.append((issue, "start", {}))
    try:
        unit.acts("claim", acts, agent, "", onward=wanted.run)
    except (GuardRefused, IllegalTransition, StaleRow, RowNotFound) as refusal:
        if issue_under_way(agent.id) not in (None, issue):  # the store is not sound, and no other issue would do
            raise
        raise _LookAgain(issue.id) from refusal


def _held(unit: UnitOfWork, agent: Agent, wanted: Wanted) -> Issue | None:
    """What a busy agent holds as assignee, started if that is wanted; None when it reviews."""
    issue = issue_under_way(agent.id)
    if issue is None:
        _give_nothing(unit, agent)
        return None
    if DATABASE.kind == POSTGRESQL:
        agent = _locked(unit, agent, issue)
        issue, before = issue_under_way(agent.id), issue
        if issue is None or issue != before:
            raise _LookAgain
    if wanted.start and issue.status == IssueStatus.ASSIGNED:
        unit.acts("claim", [(issue, "start", {})], agent, "", onward=wanted.run)
    else:
        record_heartbeat(unit, agent)
    return issue


def _give_nothing(unit: UnitOfWork, agent: Agent) -> None:
    """Now and then a claim without an issue is a heartbeat: an agent that asks again and again writes little."""
    if unit.now - agent.last_heartbeat >= NOW_AND_THEN:
        record_heartbeat(unit, _locked(unit, agent))


def _locked(unit: UnitOfWork, agent: Agent, issue: Issue | None = None) -> Agent:
    """The agent as it stands under its lock, which is taken behind that of the issue it holds (PostgreSQL).

    Raises:
        RowNotFound: it is gone.
        GuardRefused: it is errored or completed.
    """
    if DATABASE.kind == POSTGRESQL:
        lock({Issue: {issue.id} if issue else set(), Agent: {agent.id}})
        agent = present(Agent, agent.id)
        unit.remember(agent)
        unit.refuse(agent, "claim", unit.actor_refusals(agent, agent))
    return agent


def _first(agent: Agent, filters: dict[str, Any], locking: str, passed: tuple[UUID, ...]) -> Issue | None:
    """The first of the issues for the agent's type and of those for anybody."""
    size = 1 << (len(passed) - 1).bit_length() if passed else 0  # a statement is kept for each, so there are few
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
