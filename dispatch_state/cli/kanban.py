"""What stands on a board: the issues by status, and the rows they hang on; as JSON and as text.

A column holds the most urgent issues, or the last ones where it is final, and counts the rest: a board of a
million issues is as small as one of a hundred.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from peewee import fn

from dispatch_state.cli.terminal import Terminal, cells, clipped, visible
from dispatch_state.door import door
from dispatch_state.models.agent import Agent, called
from dispatch_state.models.base import Row
from dispatch_state.models.epic import Epic, Stage
from dispatch_state.models.issue import Issue
from dispatch_state.models.keys import short
from dispatch_state.vocabulary import IssueStatus

STYLES = {
    IssueStatus.IN_PROGRESS: "cyan",
    IssueStatus.AWAITING_REVIEW: "yellow",
    IssueStatus.IN_REVIEW: "yellow",
    IssueStatus.DONE: "green",
    IssueStatus.BLOCKED: "red",
    IssueStatus.CANCELLED: "dim",
}
"""The colour of a column's head."""


@dataclass(frozen=True, slots=True)
class Column:
    """A status, how many issues stand in it, and those that are shown."""

    status: IssueStatus
    count: int
    issues: list[Issue]

    @property
    def more(self) -> int:
        """How many are not shown."""
        return max(self.count - len(self.issues), 0)


@dataclass(frozen=True, slots=True)
class Board:
    """The columns, and by their ids the agents, epics and stages that the shown issues name."""

    at: datetime
    columns: list[Column]
    agents: dict[UUID, Agent]
    epics: dict[UUID, Epic]
    stages: dict[UUID, Stage]

    def agent(self, issue: Issue) -> str:
        """Its assigned agent in two words, or nothing."""
        agent = self.agents.get(issue.assigned_agent_id) if issue.assigned_agent_id else None
        return called(agent) if agent else ""

    def shows(self, row: Row) -> bool:
        """Whether a row is one of its issues, or an epic or a stage of theirs."""
        return row in (*self.epics.values(), *self.stages.values()) or any(row in c.issues for c in self.columns)


def board_of(at: datetime, epic: Epic | None, limit: int) -> Board:
    """The board as it stands.

    Args:
        at: the present moment.
        epic: only the issues of this epic.
        limit: how many issues a column shows.
    """
    return door().read(lambda: _read(at, epic, limit))


def _read(at: datetime, epic: Epic | None, limit: int) -> Board:
    def narrowed(query: Any) -> Any:
        return query if epic is None else query.where(Issue.epic == epic.id)

    grouped = narrowed(Issue.select(Issue.status, fn.COUNT(Issue.id))).group_by(Issue.status)
    counts = dict(grouped.tuples())
    columns = []
    for status in IssueStatus:
        query = narrowed(Issue.by_status(status))
        if status.final:
            query = query.order_by(Issue.updated_at.desc(), Issue.id)
        columns.append(Column(status, counts.get(status, 0), list(query.limit(limit))))
    issues = [issue for column in columns for issue in column.issues]
    return Board(
        at,
        columns,
        _named(Agent, (issue.assigned_agent_id for issue in issues)),
        _named(Epic, (issue.epic_id for issue in issues)),
        _named(Stage, (issue.stage_id for issue in issues)),
    )


def _named(model: type[Row], keys: Iterable[UUID | None]) -> dict[UUID, Any]:
    wanted = sorted({key for key in keys if key is not None})
    id_: Any = model._meta.primary_key
    return {row._pk: row for row in model.select().where(id_.in_(wanted)).order_by(id_)} if wanted else {}


# ---- as JSON and as text -----------------------------------------------------------------------------


def board_data(board: Board) -> dict[str, Any]:
    """A board as JSON; no prompt is in it."""
    return {"at": board.at, "columns": [_column_data(column) for column in board.columns]}


def _column_data(column: Column) -> dict[str, Any]:
    names = ("id", "title", "issue_type", "priority", "epic_id", "stage_id", "assigned_agent_id", "updated_at")
    issues = [{name: getattr(issue, name) for name in names} for issue in column.issues]
    return {"status": column.status, "count": column.count, "issues": issues}


def say_board(out: Terminal, board: Board) -> None:
    """Write the columns one below the other, an issue to a line."""
    for column in board.columns:
        if not column.count:
            continue
        out.line(("bold", f"{column.status}"), ("dim", f"  {column.count:,}"))
        for issue in column.issues:
            _say_issue(out, board, issue)
        if column.more:
            out.line(("dim", f"  and {column.more:,} more"))
        out.line()
    say_empty(out, board)


def _say_issue(out: Terminal, board: Board, issue: Issue) -> None:
    agent = board.agent(issue)
    head = f"  {short(issue.id)}  {issue.priority:<8}  {issue.issue_type:<8}  "
    room = max(out.width - len(head) - (len(agent) + 2 if agent else 0), 20)
    title = clipped(visible(issue.title), room)
    gap = " " * (room - cells(title) + 2) if agent else ""
    out.line(("dim", head), title, gap, ("dim", agent))


def say_empty(out: Terminal, board: Board) -> None:
    """Write which statuses hold no issue."""
    if empty := [str(column.status) for column in board.columns if not column.count]:
        out.line(("dim", f"nothing in: {', '.join(empty)}"))
