"""Claims: the first queued issue that fits an agent, given to it atomically.

The order is the seed's: priority, then age, then id. Issues for the agent's own type and issues for
anybody are two ranges of one index, so a claim reads the first of each, however long the queue is. On
PostgreSQL an issue that another claim has locked is skipped; before saying that there is nothing, a claim
that skipped something asks again.
"""

from __future__ import annotations

import time
from functools import cache, partial
from random import SystemRandom
from typing import Any

from peewee import JOIN, SQL, Value, fn

from dispatch_state import values
from dispatch_state.door import Turn, door
from dispatch_state.errors import InvalidValue
from dispatch_state.families import lock
from dispatch_state.fields import Slot, word
from dispatch_state.models.agent import Agent, beat, issue_under_way
from dispatch_state.models.epic import Epic, Stage
from dispatch_state.models.issue import Issue, urgency
from dispatch_state.models.keys import present
from dispatch_state.statements import DATABASE, Statement, load
from dispatch_state.targets import POSTGRESQL
from dispatch_state.vocabulary import AgentStatus, EpicStatus, IssueType, Priority, StageStatus

TRIES = 10
"""How often a claim that skipped an issue asks again before it waits for the lock."""
SKIP, WAIT, LOOK = "FOR NO KEY UPDATE OF t1 SKIP LOCKED", "FOR NO KEY UPDATE OF t1", ""
ANYBODY = ""
"""What the index calls issues that name no type of agent: PostgreSQL keeps no order behind an IS NULL."""
RANK = {str(priority): rank for rank, priority in enumerate(Priority)}
_random = SystemRandom()


def claim(agent: Agent, repo_path: str | None = None, issue_type: IssueType | str | None = None) -> Issue | None:
    """Give an agent an issue; see `Store.claim`."""
    here = door()
    if not isinstance(agent, Agent):
        raise InvalidValue(f"claim: takes an Agent row, not a value of type {type(agent).__name__}")
    wanted = {
        "repo_path": None if repo_path is None else values.words(repo_path, "claim(repo_path)"),
        "issue_type": None if issue_type is None else str(word(issue_type, IssueType, "claim(issue_type)")),
    }
    filters = {name: value for name, value in wanted.items() if value is not None}
    for attempt in range(TRIES + 1):
        work = partial(_claim, filters=filters, locking=SKIP if attempt < TRIES else WAIT)
        issue, again = here.turn(agent, work, reach="claim", by=agent)
        if not again:
            return issue
        time.sleep(_random.uniform(0, 0.005))
    return None


def _claim(turn: Turn, agent: Agent, filters: dict[str, str], locking: str) -> tuple[Issue | None, bool]:
    """The issue, if any, and whether to ask again because another claim held what would have fitted."""
    if agent.status != AgentStatus.IDLE:
        return _held(turn, agent), False
    issue = _first(agent, filters, locking)
    if issue is None:
        return None, DATABASE.kind == POSTGRESQL and _first(agent, filters, LOOK) is not None
    if DATABASE.kind == POSTGRESQL:
        lock({Agent: {agent.id}})
        agent = present(Agent, agent.id)
    if agent.status != AgentStatus.IDLE:
        return _held(turn, agent), False
    turn.act(issue, "assign", agent, "", agent=agent)
    return issue, False


def _held(turn: Turn, agent: Agent) -> Issue | None:
    """What a busy agent holds as assignee; None when it reviews."""
    issue = issue_under_way(agent.id)
    if issue is not None:
        beat(turn, agent)
    return issue


def _first(agent: Agent, filters: dict[str, str], locking: str) -> Issue | None:
    """The first of the issues for the agent's type and of those for anybody."""
    statement = _candidates(tuple(filters), locking)
    found = [statement.first(*filters.values(), kind) for kind in (agent.agent_type, ANYBODY)]
    issues = [load(Issue, columns) for columns in found if columns is not None]
    return min(issues, key=lambda issue: (RANK[issue.priority], issue.created_at, issue.id), default=None)


@cache
def _candidates(filters: tuple[str, ...], locking: str) -> Statement:
    def build(*slots: Slot) -> Any:
        query = Issue.select().join(Epic, JOIN.LEFT_OUTER).switch(Issue).join(Stage, JOIN.LEFT_OUTER, on=Issue.stage)
        kind = fn.COALESCE(Issue.agent_type, SQL("''")) == Value(slots[-1], converter=False)
        query = query.where(Issue.status == SQL("'queued'"), kind)
        query = query.where(Issue.epic.is_null() | (Epic.status == EpicStatus.IN_PROGRESS))
        query = query.where(Issue.stage.is_null() | (Stage.status == StageStatus.IN_PROGRESS))
        for name, slot in zip(filters, slots, strict=False):
            query = query.where(Issue._meta.fields[name] == slot)
        query = query.order_by(urgency(), Issue.created_at, Issue.id).limit(1)
        if locking and DATABASE.for_update:
            query = query.for_update(locking)  # type: ignore[arg-type]
        return query

    return Statement(build, len(filters) + 1)
