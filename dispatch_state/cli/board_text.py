"""The data of a board, and its forms as JSON and as plain text.

A column lists the most urgent issues and counts the rest, so a board of a million issues is as small as a board of a
hundred. Columns of final statuses list the issues that were updated last.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from peewee import fn

from dispatch_state.cli.terminal import Terminal, cells, clipped, visible
from dispatch_state.lifecycle.session import session
from dispatch_state.models.agent import Agent
from dispatch_state.models.epic import Epic
from dispatch_state.models.issue import Issue
from dispatch_state.models.keys import short
from dispatch_state.models.row import Row
from dispatch_state.models.stage import Stage
from dispatch_state.views.explain import agent_name
from dispatch_state.vocabulary import IssueStatus

NARROWEST_TITLE = 20
"""A title beside an agent has at least so many places; when there are fewer, the agent is left out."""


@dataclass(frozen=True, slots=True)
class Column:
    """A status, the number of issues in it, and the issues that are shown."""

    status: IssueStatus
    count: int
    issues: list[Issue]

    @property
    def more(self) -> int:
        """The number of issues that are not shown."""
        return max(self.count - len(self.issues), 0)


@dataclass(frozen=True, slots=True)
class Board:
    """The columns, and the rows that the shown issues refer to.

    at: when the board was read.
    columns: one for each status.
    agents: the agents of the shown issues, by id.
    epics: the epics of the shown issues, by id.
    stages: all stages of those epics, by id.
    """

    at: datetime
    columns: list[Column]
    agents: dict[UUID, Agent]
    epics: dict[UUID, Epic]
    stages: dict[UUID, Stage]

    def cut(self, limit: int) -> Board:
        """The board with at most so many issues in a column, and a third of that in columns of final statuses."""
        few = math.ceil(limit / 3)
        columns = [replace(c, issues=c.issues[: few if c.status.final else limit]) for c in self.columns]
        return replace(self, columns=columns)

    def agent(self, issue: Issue) -> str:
        """The name of an issue's assigned agent; empty when it has none."""
        agent = self.agents.get(issue.assigned_agent_id) if issue.assigned_agent_id else None
        return agent_name(agent) if agent else ""

    def shows(self, row: Row) -> bool:
        """Whether a row is one of the shown issues, or an epic or a stage of theirs."""
        return row in (*self.epics.values(), *self.stages.values()) or any(row in c.issues for c in self.columns)


def board_of(at: datetime, epic: Epic | None, limit: int) -> Board:
    """Read the board from the open store.

    Args:
        at: the present moment.
        epic: take only the issues of this epic; those of all when None.
        limit: the most issues that a column shows.
    """
    return session().read(lambda: _read(at, epic, limit))


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
    epics = _rows_where(Epic, Epic.id, (issue.epic_id for issue in issues))
    agents = _rows_where(Agent, Agent.id, (issue.assigned_agent_id for issue in issues))
    return Board(at, columns, agents, epics, _rows_where(Stage, Stage.epic, epics))


def _rows_where(model: type[Row], key: Any, among: Iterable[UUID | None]) -> dict[UUID, Any]:
    """The rows whose key is among these, by id."""
    wanted = sorted({value for value in among if value is not None})
    id_: Any = model._meta.primary_key
    return {row._pk: row for row in model.select().where(key.in_(wanted)).order_by(id_)} if wanted else {}


# ---- as JSON and as text -----------------------------------------------------------------------------


def board_data(board: Board) -> dict[str, Any]:
    """The board as JSON, without prompts."""
    return {"at": board.at, "columns": [_column_data(column) for column in board.columns]}


def _column_data(column: Column) -> dict[str, Any]:
    names = ("id", "title", "issue_type", "priority", "epic_id", "stage_id", "assigned_agent_id", "updated_at")
    issues = [{name: getattr(issue, name) for name in names} for issue in column.issues]
    return {"status": column.status, "count": column.count, "issues": issues}


def plain_board(out: Terminal, board: Board) -> str:
    """The board as text: one column below the other, with a line for each issue."""
    filled = "".join(_plain_column(out, board, column) for column in board.columns if column.count)
    return filled + empty_columns(out, board)


def _plain_column(out: Terminal, board: Board, column: Column) -> str:
    lines = [out.joined(("bold", f"{column.status}"), ("dim", f"  {column.count:,}"))]
    lines += [_issue(out, board, issue) for issue in column.issues]
    if column.more:
        lines.append(out.styled(("dim", f"  and {column.more:,} more")))
    return "\n".join(lines) + "\n\n"


def _issue(out: Terminal, board: Board, issue: Issue) -> str:
    agent = board.agent(issue)
    head = f"  {short(issue.id)}  {issue.priority:<8}  {issue.issue_type:<8}  "
    if out.width < len(head) + NARROWEST_TITLE + 2 + len(agent):
        agent = ""
    room = max(out.width - len(head) - (len(agent) + 2 if agent else 0), 1)
    title = clipped(visible(issue.title), room)
    gap = " " * (room - cells(title) + 2) if agent else ""
    return out.joined(("dim", head), title, gap, ("dim", agent))


def empty_columns(out: Terminal, board: Board) -> str:
    """The line that names the statuses without issues; empty when there are none."""
    empty = [str(column.status) for column in board.columns if not column.count]
    lines = textwrap.wrap(f"nothing in: {', '.join(empty)}", out.width, subsequent_indent="  ") if empty else []
    return "".join(out.styled(("dim", line)) + "\n" for line in lines)
