"""Which rows a unit of work locks, and in which order (PostgreSQL).

Each trigger and method declares what it locks (`locks=`). This module finds those rows and locks them before a guard is
asked. The order is epics, proposals, pull requests, issues, agents, each by id. The lock of an epic covers its stages
and gates. The locks are `FOR NO KEY UPDATE`, because plain `FOR UPDATE` collides with the checks of foreign keys.

The rows are found by reads without locks, and searched again under the locks. When the second search finds more rows,
the unit of work starts over. SQLite has one writer at a time, so nothing is locked there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import Any
from uuid import UUID

from dispatch_state.engine.rules import Followers
from dispatch_state.lifecycle.locks import Lock, Locks
from dispatch_state.lifecycle.triggers import Trigger
from dispatch_state.models.agent import Agent
from dispatch_state.models.base import Stateful
from dispatch_state.models.epic import Epic
from dispatch_state.models.gate import Gate
from dispatch_state.models.issue import Issue
from dispatch_state.models.proposal import Proposal
from dispatch_state.models.pull_request import PullRequest
from dispatch_state.models.queries import (
    agents_holding,
    first_live_issue_of_epic,
    issues_under_way,
    issues_waiting_for_their_stage,
    live_issues_of_epic,
    live_issues_of_stage,
    proposals_of,
)
from dispatch_state.models.row import Row
from dispatch_state.models.stage import Stage
from dispatch_state.models.tables import STATEFUL
from dispatch_state.storage.current import DATABASE
from dispatch_state.storage.field_base import Slot
from dispatch_state.storage.retries import Outdated
from dispatch_state.storage.statements import Statement, find
from dispatch_state.storage.targets import POSTGRESQL
from dispatch_state.values import listed

ORDER: tuple[type[Stateful], ...] = (Epic, Proposal, PullRequest, Issue, Agent)
BATCH = 1024
"""The greatest number of rows that one statement locks."""

Ids = Mapping[type[Stateful], set[UUID]]
Found = defaultdict[type[Stateful], set[UUID]]
"""The ids of rows, by model."""


def take_locks(row: Row, locks: Locks | None, others: Iterable[Row] = (), actor: object = None) -> None:
    """Lock what a trigger or method declares.

    Args:
        row: the row as last read; this function reads it again.
        locks: what is declared. None when the work takes its locks itself.
        others: the rows among the arguments; this function reads them again too.
        actor: who acts. An agent is locked, so that nobody removes it before the act commits.

    Raises:
        Outdated: after the locks were taken there were more rows to lock.
    """
    if locks is None or DATABASE.kind != POSTGRESQL:
        return
    found = rows_to_lock(row, locks, others, actor)
    lock(found)
    if not covers(found, rows_to_lock(row, locks, others, actor)):
        raise Outdated


def rows_to_lock(row: Row, locks: Locks, others: Iterable[Row], actor: object = None) -> Ids:
    """Find the rows to lock, without locking them.

    Args:
        row: the row as last read.
        locks: what is declared.
        others: the rows among the arguments.
        actor: who acts.

    Returns:
        The ids of the rows, by model.
    """
    found: Found = defaultdict(set)
    if isinstance(actor, Agent):
        found[Agent].add(actor.id)
    for named, declared in ((row, locks), *((other, ARGUMENTS[type(other)]) for other in others)):
        current = (find(type(named), named._pk) or named) if declared else named
        for each in declared:
            FINDERS[each](found, current)
    return found


def lock(found: Ids) -> None:
    """Lock rows in the order of `ORDER`. Waits while other transactions hold the locks.

    Args:
        found: the ids of the rows, by model.
    """
    for model in ORDER:
        keys = sorted(found.get(model, ()))
        for start in range(0, len(keys), BATCH):
            batch = keys[start : start + BATCH]
            size = 1 << (len(batch) - 1).bit_length()  # rounded up, so that few statements are cached
            _locking(model, size).rows(*batch, *batch[-1:] * (size - len(batch)))


def covers(wider: Ids, narrower: Ids) -> bool:
    """Whether `wider` contains every row of `narrower`."""
    return all(keys <= wider.get(model, set()) for model, keys in narrower.items())


@cache
def _locking(model: type[Stateful], count: int) -> Statement:
    def build(*keys: Slot) -> Any:
        query = model.select(model.id).where(model.id.in_(keys)).order_by(model.id)
        return query.for_update("FOR NO KEY UPDATE")  # type: ignore[arg-type]

    return Statement(build, count)


# ---- what each lock means, for a row -----------------------------------------------------------------


def _row(found: Found, row: Any) -> None:
    if isinstance(row, ORDER):
        found[type(row)].add(row.id)
    else:
        _epic(found, row)


def _epic(found: Found, row: Any) -> None:
    if (epic := _epic_of(row)) is not None:
        found[Epic].add(epic)


def _epic_of(row: Any) -> UUID | None:
    """The id of the epic that a row belongs to, by the row's columns."""
    if isinstance(row, Epic):
        return row.id
    if isinstance(row, PullRequest):
        return _epic_of(row.issue)
    if isinstance(row, Gate):
        return row.stage.epic_id
    epic: UUID | None = row.epic_id
    return row.stage.epic_id if epic is None and row.stage_id is not None else epic


def _next_issues(found: Found, row: Any) -> None:
    issue = row.issue if isinstance(row, PullRequest) else row
    if isinstance(issue, Issue) and not _may_be_the_last(issue):
        return
    if (epic := _epic_of(issue)) is not None:
        found[Issue].update(waiting.id for waiting in issues_waiting_for_their_stage(epic))


def _may_be_the_last(issue: Any) -> bool:
    """Whether closing the issue may close its stage, and so start the next one."""
    if issue.stage_id is None:
        return issue.epic_id is None or first_live_issue_of_epic(issue.epic_id) in (None, issue)
    return all(other.id == issue.id for other in live_issues_of_stage(issue.stage_id))


def _live_issues(found: Found, row: Any) -> None:
    live = live_issues_of_epic if isinstance(row, Epic) else live_issues_of_stage
    _with_agents(found, live(row.id))


def _agents(found: Found, issue: Any) -> None:
    found[Agent].update(agent.id for agent in agents_holding(issue.id))
    if issue.assigned_agent_id is not None:
        found[Agent].add(issue.assigned_agent_id)


def _with_agents(found: Found, issues: Iterable[Any]) -> None:
    for issue in issues:
        found[Issue].add(issue.id)
        _agents(found, issue)


def _work(found: Found, agent: Any) -> None:
    held = [agent.current_issue] if agent.current_issue_id is not None else []
    _with_agents(found, [*held, *issues_under_way(agent.id)])


def _assigned(found: Found, agent: Any) -> None:
    found[Issue].update(issue.id for issue in agent.issues)


def _issue(found: Found, request: Any) -> None:
    _with_agents(found, [request.issue])


def _proposals(found: Found, agent: Any) -> None:
    found[Proposal].update(proposal.id for proposal in proposals_of(agent.id))


def _proposer(found: Found, proposal: Any) -> None:
    found[Agent].add(proposal.proposer_id)


FINDERS: dict[Lock, Callable[[Found, Any], None]] = {
    Lock.ROW: _row,
    Lock.EPIC: _epic,
    Lock.NEXT_ISSUES: _next_issues,
    Lock.LIVE_ISSUES: _live_issues,
    Lock.AGENTS: _agents,
    Lock.WORK: _work,
    Lock.ASSIGNED: _assigned,
    Lock.ISSUE: _issue,
    Lock.PROPOSALS: _proposals,
    Lock.PROPOSER: _proposer,
}
ARGUMENTS: dict[type[Any], Locks] = {
    Agent: (Lock.ROW,),
    Issue: (Lock.ROW, Lock.AGENTS),
    Epic: (Lock.ROW,),
    Stage: (Lock.ROW,),
}
"""What is locked for a row that is an argument."""


# ---- checked at import -------------------------------------------------------------------------------


def require_locks(followers: Followers) -> None:
    """Check that every trigger, and every creation, locks the tables whose rows its cascade may move.

    Args:
        followers: what may follow directly from each move.

    Raises:
        TypeError: a trigger may move rows of a table that it does not lock, or declares a lock that means nothing for
            its model. The message names both. Whether it locks enough rows of a table is not checked here.
    """
    owners = {trigger: model for model in STATEFUL for trigger in model.machine.triggers.values()}
    for model in STATEFUL:
        declared: dict[str, Locks] = {name: trigger.locks for name, trigger in model.machine.triggers.items()}
        declared["create"] = (Lock.ROW, *model.create_locks)  # nobody else knows the new row yet
        _require_fitting(model, {**declared, "remove": model.remove_locks})
        for name, locks in declared.items():
            locked = _tables(model, locks, model.machine.triggers.get(name))
            for trigger in _cascade(model, name, followers, owners):
                table = owners[trigger]._meta.table_name
                if table not in locked:
                    raise TypeError(
                        f"{model._meta.table_name}.{name} may move {table}.{trigger.name}, and does not lock {table}"
                    )


def _require_fitting(model: type[Stateful], declared: Mapping[str, Locks]) -> None:
    table = model._meta.table_name
    for name, locks in declared.items():
        if wrong := [each.name for each in locks if each.declared_by and table not in each.declared_by]:
            raise TypeError(f"{table}.{name} declares locks that {table} do not have: {listed(wrong)}")


def _tables(model: type[Stateful], locks: Locks, trigger: Trigger | None) -> set[str]:
    """The tables whose rows are locked for a row of this model and for the rows among the arguments."""
    held = {(model, each) for each in locks}
    for argument in trigger.arguments.values() if trigger else ():
        held |= {(row, each) for row, locked in ARGUMENTS.items() if row.__name__ == argument.model for each in locked}
    tables = {table for _, each in held for table in each.tables}
    own = {kind._meta.table_name for kind, each in held if each is Lock.ROW}
    under_epic = Lock.EPIC.tables if own.intersection(Lock.EPIC.tables) else ()
    return tables | own | {*under_epic}


def _cascade(
    model: type[Stateful], name: str, followers: Followers, owners: Mapping[Trigger, type[Stateful]]
) -> Iterator[Trigger]:
    """Every trigger that may follow from a move, directly or indirectly."""
    found: dict[Trigger, None] = {}
    waiting = list(followers.get((model, name), ()))
    while waiting:
        trigger = waiting.pop()
        if trigger not in found:
            found[trigger] = None
            waiting += followers.get((owners[trigger], trigger.name), ())
    yield from found
