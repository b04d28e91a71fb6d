"""The board: the issues by status, on a terminal, as JSON, or as a page for a browser."""

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

MOST = 1000
"""How many issues a column shows at most, so that a page can still be looked at."""
USUAL = 20
"""How many it shows when nobody says."""
LULL = 0.2
"""Seconds; moves that come closer together than this are drawn together."""


def board(call: Call) -> Exit:
    """Show the issues by status, the most urgent first: beside each other where rich is installed."""
    store, chosen = call.open(), call.chosen
    limit = None if chosen.limit is None else min(positive(chosen.limit, "--limit"), MOST)
    epic = row_of(chosen.epic, (Epic,)) if chosen.epic is not None else None
    watched = chosen.watch or chosen.timeout is not None
    with call.out.screen() if chosen.watch and chosen.html is None else nullcontext():
        for _ in _changes(store, chosen.timeout) if watched else (None,):
            _draw(call, store, board_of(store.now(), epic, limit or call.out.height or USUAL))
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
        shown = _seen_at_once(out, drawn, head) if call.chosen.limit is None else drawn
        out.draw(head + _text(out, shown))
    out.flush()


def _head(call: Call, drawn: Board) -> str:
    at = drawn.at.strftime("%Y-%m-%d %H:%M:%S UTC")
    name = clipped(visible(call.name)[::-1], max(call.out.width - len(at) - 2, 1))[::-1]  # its end tells it apart
    return call.out.joined(("bold", name), "  ", ("dim", at)) + "\n"


def _text(out: Terminal, drawn: Board) -> str:
    told = rich_board(out, drawn)
    return plain_board(out, drawn) if told is None else told


def _seen_at_once(out: Terminal, drawn: Board, head: str) -> Board:
    """As much of a board as can be seen at once, where that is asked."""
    if (height := out.height) is None:
        return drawn
    fitting = bisect_right(range(height), height, key=lambda limit: (head + _text(out, drawn.cut(limit))).count("\n"))
    return drawn.cut(max(fitting - 1, 0))


def _changes(store: Store, timeout: float | None) -> Iterator[None]:
    """Once at first, then whenever something moved; moves that come together count once."""
    moves = store.watch(timeout=timeout)
    yield
    while (move := next(moves, None)) is not None:
        until = time.monotonic() + LULL
        for later in store.watch(move.seq, timeout=LULL):
            move = later
            if time.monotonic() > until:
                break
        yield
        moves = store.watch(move.seq, timeout=timeout)


def _board_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--epic", metavar="ID", help="only the issues of this epic")
    parser.add_argument(
        "--limit",
        type=int,
        metavar="N",
        help=f"issues in a column, at most {MOST} ({USUAL}; as many as fit when a terminal is watched)",
    )
    parser.add_argument("--watch", action="store_true", help="draw it again whenever something moves")
    parser.add_argument("--timeout", type=float, metavar="SECONDS", help="watch, and end after so long without a move")
    parser.add_argument("--html", metavar="FILE", help="write a page that stands by itself, for a browser")


COMMANDS = (Command("board", board, _board_options),)
