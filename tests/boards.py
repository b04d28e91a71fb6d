"""Boards as they are drawn, kept in boards/ as text: `python -m tests.boards` renews them."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest import mock
from uuid import UUID

from dispatch_state import Agent, Epic, Issue, IssueStatus, Stage
from dispatch_state.cli.board_rich import rich_board
from dispatch_state.cli.board_text import Board, Column, plain_board
from dispatch_state.cli.terminal import Terminal

FOLDER = Path(__file__).parent / "boards"
WIDTHS = (80, 200)
WAYS = ("rich", "plain")
AT = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)
LONG = "Choose the token format and write down why it is the one to keep for the next ten years, at least"
TITLES: dict[IssueStatus, list[tuple[str, str]]] = {
    IssueStatus.UNASSIGNED: [("Ask for a name", "medium")],
    IssueStatus.QUEUED: [
        ("日本語のタイトルは空白を含まないので一行では足りない" * 3, "critical"),
        (LONG, "low"),
    ],
    IssueStatus.IN_PROGRESS: [("Refuse a login after five wrong passwords", "high"), ("Log out", "medium")],
    IssueStatus.IN_REVIEW: [("fix/a_branch_for_a_title_that_has_no_space_in_it_at_all_and_goes_on", "medium")],
    IssueStatus.DONE: [("Log in", "medium"), ("Evil \x1b[31mred", "medium")],
}
FRAME = re.compile(r"[\u2500-\u257f]+")
"""Characters that boxes are drawn with."""
MORE = {IssueStatus.DONE: 1234}
"""How many there are beside those that are shown."""


def board() -> Board:
    """The same one always: its moment and its ids are fixed."""
    epic = Epic(id=key("e", 1), title="Login", description="About logins", status="in_progress")
    stages = [Stage(id=key("5", n), epic=epic, name=f"stage {n}", stage_order=n, status="pending") for n in (1, 2)]
    agents = [Agent(id=key("a", n), agent_type=kind) for n, kind in enumerate(("coder", "architect"))]
    issues = {
        status: [
            issue(status, number, title, priority, agents, stages[0])
            for number, (title, priority) in enumerate(TITLES.get(status, ()))
        ]
        for status in IssueStatus
    }
    columns = [Column(status, len(found) + MORE.get(status, 0), found) for status, found in issues.items()]
    return Board(AT, columns, *({row.id: row for row in rows} for rows in (agents, [epic], stages)))


def issue(status: Any, number: int, title: str, priority: str, agents: list[Agent], stage: Stage) -> Issue:
    place = list(IssueStatus).index(status)
    columns: dict[str, Any] = {"title": title, "priority": priority, "issue_type": "feature", "updated_at": AT}
    if place > 1:
        columns["assigned_agent_id"] = agents[number].id
    return Issue(id=key("1", 16 * place + number), epic_id=stage.epic_id, stage_id=stage.id, **columns)


def key(kind: str, number: int) -> UUID:
    return UUID(f"01900000-0000-7000-8000-0000{kind}{number:07x}")


@contextmanager
def without_rich() -> Iterator[None]:
    """A block in which rich is not installed."""
    names = ("rich", "rich.console", "rich.table", "rich.text")
    kept = {name: sys.modules[name] for name in names if name in sys.modules}
    sys.modules.update(dict.fromkeys(names))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]
        sys.modules.update(kept)


def drawn(way: str, columns: int) -> str:
    """A board as one way draws it on so many columns, without colours."""
    with mock.patch.dict("os.environ", COLUMNS=str(columns), NO_COLOR="1"):
        told = rich_board(Terminal(as_json=False), board()) if way == "rich" else None
        return plain_board(Terminal(as_json=False), board()) if told is None else told


def composed(board: str) -> list[list[str]]:
    """What stands in each line of a board, cell by cell; frames and the room within them are rich's own to draw."""
    cells = [FRAME.split(line) for line in board.splitlines()]
    return [[" ".join(cell.split()) for cell in line if cell.strip()] for line in cells]


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for way in WAYS:
        for columns in WIDTHS:
            (FOLDER / f"{way}-{columns}.txt").write_text(drawn(way, columns))
