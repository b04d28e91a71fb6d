"""The board: issues in a column for each status, on a terminal, as JSON or as an HTML page."""

from __future__ import annotations

import argparse
import time
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

from dispatch_state.cli.board_html import page
from dispatch_state.cli.board_rich import rich_board
from dispatch_state.cli.board_text import Board, board_data, board_of, plain_board
from dispatch_state.cli.files import write_file
from dispatch_state.cli.lookup import row_of
from dispatch_state.cli.parsing import Call, Command, Exit
from dispatch_state.cli.terminal import Terminal, clipped, visible
from dispatch_state.models.epic import Epic
from dispatch_state.store import Store
from dispatch_state.values import positive

HIGHEST_LIMIT = 1000
"""The most issues that a column shows, so that a browser can still display the page."""
DEFAULT_LIMIT = 20
SETTLING_TIME = 0.2
"""Seconds without a move after which a watched board is drawn again."""


def board(call: Call) -> Exit:
    """Show the issues in a column for each status, the most urgent first.

    The columns are side by side when rich is installed, and one below the other when it is not.
    """
    store, chosen = call.open(), call.chosen
    limit = None if chosen.limit is None else min(positive(chosen.limit, "--limit"), HIGHEST_LIMIT)
    epic = row_of(chosen.epic, (Epic,)) if chosen.epic is not None else None
    watched = chosen.watch or chosen.timeout is not None
    with call.out.screen() if chosen.watch and chosen.html is None else nullcontext():
        for _ in _changes(store, chosen.timeout) if watched else (None,):
            _draw(call, store, board_of(store.now(), epic, limit or call.out.height or DEFAULT_LIMIT))
    return Exit.OK


def _draw(call: Call, store: Store, drawn: Board) -> None:
    out, file = call.out, call.chosen.html
    if file is not None:
        write_file(file, page(drawn, store.needs_human(), call.name).encode())
        if not out.as_json:
            out.note(f"wrote {file}")
    if out.as_json:
        out.json({"file": str(Path(file).absolute())} if file is not None else board_data(drawn))
    elif file is None:
        head = _head(call, drawn) if call.chosen.watch else ""
        shown = _fitted(out, drawn, head) if call.chosen.limit is None else drawn
        out.draw(head + _text(out, shown))
    out.flush()


def _head(call: Call, drawn: Board) -> str:
    at = drawn.at.strftime("%Y-%m-%d %H:%M:%S UTC")
    name = clipped(visible(call.name)[::-1], max(call.out.width - len(at) - 2, 1))[
        ::-1
    ]  # the end of a path says more than its beginning
    return call.out.joined(("bold", name), "  ", ("dim", at)) + "\n"


def _text(out: Terminal, drawn: Board) -> str:
    side_by_side = rich_board(out, drawn)
    return plain_board(out, drawn) if side_by_side is None else side_by_side


def _fitted(out: Terminal, drawn: Board, head: str) -> Board:
    """The board with as many issues as fit on the screen; the whole board when it does not take up the screen."""
    if (height := out.height) is None:
        return drawn
    fitting = bisect_right(range(height), height, key=lambda limit: (head + _text(out, drawn.cut(limit))).count("\n"))
    return drawn.cut(max(fitting - 1, 0))


def _changes(store: Store, timeout: float | None) -> Iterator[None]:
    """Yield at once, and then after each move; moves in quick succession count as one."""
    moves = store.watch(timeout=timeout)
    yield
    while (move := next(moves, None)) is not None:
        until = time.monotonic() + SETTLING_TIME
        for later in store.watch(move.seq, timeout=SETTLING_TIME):
            move = later
            if time.monotonic() > until:
                break
        yield
        moves = store.watch(move.seq, timeout=timeout)


def _board_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--epic", metavar="ID", help="show only the issues of this epic")
    parser.add_argument(
        "--limit",
        type=int,
        metavar="N",
        help=f"show at most N issues in a column, up to {HIGHEST_LIMIT} ({DEFAULT_LIMIT}; with --watch, what fits)",
    )
    parser.add_argument("--watch", action="store_true", help="draw the board again after each move")
    parser.add_argument(
        "--timeout", type=float, metavar="SECONDS", help="watch, and end after this time without a move"
    )
    parser.add_argument("--html", metavar="FILE", help="write the board to an HTML page that loads nothing else")


COMMANDS = (Command("board", board, _board_options),)
