"""The board with its columns side by side, drawn by rich, which is an optional dependency."""

from __future__ import annotations

import io
import math
from typing import Any

from dispatch_state.cli.board_colours import STATUS_COLOURS
from dispatch_state.cli.board_text import Board, Column, empty_columns
from dispatch_state.cli.terminal import Terminal, visible
from dispatch_state.models.issue import Issue
from dispatch_state.models.keys import short
from dispatch_state.vocabulary import Priority

NARROWEST_COLUMN = 24
"""The least width of a column, in characters."""
TITLE_LINES = 2
"""The most lines that a title takes."""


def rich_board(out: Terminal, board: Board) -> str | None:
    """Draw the board with as many columns side by side as fit.

    Args:
        out: the terminal to draw for.
        board: the board.

    Returns:
        The text to write, or None when rich is not installed.
    """
    try:
        from rich.console import Console
        from rich.table import Table
    except ImportError:
        return None
    filled = [column for column in board.columns if column.count]
    beside = _beside(len(filled), out.width)
    console = Console(
        file=io.StringIO(),
        width=out.width,
        force_terminal=out.coloured,
        color_system="standard" if out.coloured else None,
        legacy_windows=False,
    )
    for first in range(0, len(filled), beside):
        grid = Table.grid(expand=True)
        for _ in range(beside):
            grid.add_column(ratio=1)
        inner = max(out.width // beside - 4, 1)
        grid.add_row(*(_panel(console, board, column, inner) for column in filled[first : first + beside]))
        console.print(grid)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue() + empty_columns(out, board)


def _beside(columns: int, width: int) -> int:
    """How many columns to put side by side, so that all rows of columns are about as long."""
    most = max(width // NARROWEST_COLUMN, 1)
    return max(math.ceil(columns / math.ceil(columns / most)), 1) if columns else 1


def _panel(console: Any, board: Board, column: Column, width: int) -> Any:
    from rich.panel import Panel
    from rich.text import Text

    style = STATUS_COLOURS[column.status].terminal
    cards = [_card(console, board, issue, width) for issue in column.issues]
    if column.more:
        cards.append(Text(f"and {column.more:,} more", style="dim"))
    title = Text(f"{column.status} {column.count:,}", style=style)
    return Panel(Text("\n\n").join(cards), title=title, title_align="left", border_style="dim", padding=(0, 1))


def _card(console: Any, board: Board, issue: Issue, width: int) -> Any:
    urgent = "" if issue.priority == Priority.MEDIUM else f" {issue.priority}"
    agent = board.agent(issue)
    card = _title(console, visible(issue.title), width)
    card.append(f"\n{short(issue.id)} {issue.issue_type}", style="dim")
    card.append(urgent, style="red" if issue.priority == Priority.CRITICAL else "yellow")
    return card.append(f"\n{agent}", style="dim") if agent else card


def _title(console: Any, title: str, width: int) -> Any:
    """A title on at most `TITLE_LINES` lines, even if it has no spaces; a cut title ends with an ellipsis."""
    from rich.cells import cell_len
    from rich.text import Text

    lines = [line.plain.rstrip() for line in Text(title).wrap(console, width, overflow="fold")]
    if len(lines) > TITLE_LINES:
        last = lines[TITLE_LINES - 1]
        while cell_len(last) >= width:
            last = last[:-1]
        lines[TITLE_LINES - 1] = f"{last}…"
    return Text("\n".join(lines[:TITLE_LINES]))
