"""docs/images/board.svg: the board of a real store, with what `dispatch-state board --html` shows."""

from __future__ import annotations

import textwrap
from typing import Any

from dispatch_state import Epic, Gate, Issue, Store
from dispatch_state.cli.board_text import Board, Column, board_of
from dispatch_state.views.needs_human import NeedsHuman, who_may_approve
from tests.pages.scene import a_morning
from tests.pages.svg import STATUS, box, picture, text

WIDTH = 880
EDGE = 20
"""Between the picture's edge and what is on it."""
GAP = 12
LINE = 16
CHARACTERS = 20
"""Of a title, on a line of a card. Few enough for the widest of the fonts."""
PRIORITY = {"critical": "red", "high": "amber", "medium": "grey", "low": "line"}


def page() -> str:
    """The whole picture, drawn from the rows of a store that triggers have made."""
    with a_morning() as store:
        return _picture(store)


def _picture(store: Store) -> str:
    board, needs = board_of(store.now(), None, 10), store.needs_human()
    full = [column for column in board.columns if column.count]
    needed, top = _needs(needs)
    width = (WIDTH - 2 * EDGE - GAP * (len(full) - 1)) / len(full)
    parts, bottom = [*_head(board), *needed], top
    for number, column in enumerate(full):
        drawn, end = _column(board, column, EDGE + number * (width + GAP), top, width)
        parts, bottom = parts + drawn, max(bottom, end)
    empty = ", ".join(column.status for column in board.columns if not column.count)
    parts.append(text(EDGE, bottom + 14, f"nothing in: {empty}", "faint s"))
    title = "A board: issues by status, and above them what waits for a person"
    return picture(WIDTH, int(bottom + 32), title, parts)


def _head(board: Board) -> list[str]:
    told = f"{sum(column.count for column in board.columns)} issues · {board.at:%Y-%m-%d %H:%M} UTC"
    return [text(EDGE, 36, "Board", "ink h b"), text(WIDTH - EDGE, 36, told, "faint", "end")]


def _needs(needs: list[NeedsHuman]) -> tuple[list[str], float]:
    """Who is waited for, and where it ends."""
    height = 34 + len(needs) * 20
    parts = [box(EDGE, 52, WIDTH - 2 * EDGE, height, "card line-line", 6), box(EDGE, 58, 4, height - 12, "amber")]
    parts.append(text(EDGE + 16, 74, f"{len(needs)} for a person to decide", "ink b"))
    for number, need in enumerate(needs):
        y = 96 + number * 20
        parts.append(text(EDGE + 16, y, need.kind, "amber b"))
        parts.append(text(EDGE + 120, y, need.row.label(), "ink"))
        who = f"{who_may_approve(need.row)} · " if isinstance(need.row, Gate) else ""
        parts.append(text(EDGE + 300, y, f"{need.why} · {who}since {need.since:%H:%M}", "faint"))
    return parts, 52 + height + 16


def _column(board: Board, column: Column, x: float, y: float, width: float) -> tuple[list[str], float]:
    """A status with its issues below it, and where they end."""
    parts = [
        text(x, y + 14, column.status.replace("_", " "), "ink b"),
        text(x + width, y + 14, column.count, "faint", "end"),
        box(x, y + 22, width, 3, STATUS[column.status], 1.5),
    ]
    y += 34
    for issue in column.issues:
        drawn, height = _card(board, issue, x, y, width)
        parts, y = parts + drawn, y + height + 10
    return parts, y


def _card(board: Board, issue: Issue, x: float, y: float, width: float) -> tuple[list[str], float]:
    """An issue, and how tall its card is."""
    epic = board.epics[_known(issue.epic_id)]
    lines: list[tuple[str, str]] = [(line, "ink b") for line in textwrap.wrap(issue.title, CHARACTERS)]
    lines += [(f"{issue.priority} · {issue.issue_type}", "faint s"), (_cut(epic), "faint s")]
    if issue.assigned_agent_id is not None:
        lines.append((f"● {board.agents[issue.assigned_agent_id].agent_type}", f"{STATUS[issue.status]} s"))
    height = 14 + LINE * len(lines)
    parts = [box(x, y, width, height, "card line-line", 5), box(x, y + 5, 3, height - 10, PRIORITY[issue.priority])]
    parts += [text(x + 13, y + 20 + LINE * number, words, look) for number, (words, look) in enumerate(lines)]
    return parts, height


def _cut(epic: Epic) -> str:
    return textwrap.shorten(epic.title, CHARACTERS + 3, placeholder="…")


def _known(key: Any) -> Any:
    assert key is not None
    return key
