"""A board side by side, drawn by rich, which is an extra: whoever has it not gets the plain one."""

from __future__ import annotations

import io
import math
from typing import Any

from dispatch_state.cli.kanban import STYLES, Board, Column, say_empty
from dispatch_state.cli.terminal import Terminal, clipped, visible
from dispatch_state.models.issue import Issue
from dispatch_state.models.keys import short
from dispatch_state.vocabulary import Priority

NARROWEST = 24
"""Characters that a column takes at least."""


def say_board_richly(out: Terminal, board: Board) -> bool:
    """Write the columns beside each other, as many as fit; whether rich is there to do it."""
    try:
        from rich.console import Console
        from rich.table import Table
    except ImportError:
        return False
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
        panels = [_panel(board, column, out.width // beside - 4) for column in filled[first : first + beside]]
        grid.add_row(*panels)
        console.print(grid)
    assert isinstance(console.file, io.StringIO)
    out.write(console.file.getvalue())
    say_empty(out, board)
    return True


def _beside(columns: int, width: int) -> int:
    """How many columns stand beside each other, so that all rows of them are about as long."""
    most = max(width // NARROWEST, 1)
    return max(math.ceil(columns / math.ceil(columns / most)), 1) if columns else 1


def _panel(board: Board, column: Column, width: int) -> Any:
    from rich.panel import Panel
    from rich.text import Text

    style = STYLES.get(column.status, "bold")
    cards = [_card(board, issue, width) for issue in column.issues]
    if column.more:
        cards.append(Text(f"and {column.more:,} more", style="dim"))
    title = Text(f"{column.status} {column.count:,}", style=style)
    return Panel(Text("\n\n").join(cards), title=title, title_align="left", border_style="dim", padding=(0, 1))


def _card(board: Board, issue: Issue, width: int) -> Any:
    from rich.text import Text

    urgent = "" if issue.priority == Priority.MEDIUM else f" {issue.priority}"
    agent = board.agent(issue)
    card = Text(clipped(visible(issue.title), 2 * width))
    card.append(f"\n{short(issue.id)} {issue.issue_type}", style="dim")
    card.append(urgent, style="red" if issue.priority == Priority.CRITICAL else "yellow")
    return card.append(f"\n{agent}", style="dim") if agent else card
