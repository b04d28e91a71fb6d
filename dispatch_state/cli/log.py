"""The log of all moves, and the decisions."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any
from uuid import UUID

from peewee import ModelSelect

from dispatch_state.cli.format import Names, move_data, names, row_data, say_move
from dispatch_state.cli.parsing import Call, Command, Exit, whole
from dispatch_state.cli.terminal import Terminal
from dispatch_state.lifecycle.session import session
from dispatch_state.models.decision import Decision
from dispatch_state.models.keys import short
from dispatch_state.models.log import TransitionLog
from dispatch_state.models.row import Row
from dispatch_state.storage.statements import rows
from dispatch_state.store import Store
from dispatch_state.values import positive

PAGE = 1000
"""How many rows are read at a time."""


def log(call: Call) -> Exit:
    """List the moves, the oldest first; with --follow, also new ones as any process commits them."""
    store, out, chosen = call.open(), call.out, call.chosen
    behind, called, move = chosen.after, names(), None
    if chosen.last is not None:
        behind = session().read(lambda: _before_the_last(positive(chosen.last, "--last")))
    follow = chosen.follow or chosen.timeout is not None
    for move in store.watch(behind, timeout=chosen.timeout) if follow else _moves(store, behind or 0):
        _show_move(out, move, called)
        if follow:
            out.flush()
    _note_when_empty(out, move, "no moves")
    return Exit.OK


def _note_when_empty(out: Terminal, last: Row | None, none: str) -> None:
    """Say on standard error that the list is empty, so that no output is not taken for a failure."""
    if last is None and not out.as_json:
        out.note(none)


def _moves(store: Store, behind: int) -> Iterator[TransitionLog]:
    while page := store.changes(behind, PAGE):
        yield from page
        behind = page[-1].seq


def _before_the_last(count: int) -> int:
    seq: Any = TransitionLog.seq
    oldest = TransitionLog.select(seq).order_by(seq.desc()).offset(count - 1).limit(1).scalar()
    return 0 if oldest is None else int(oldest) - 1


def _show_move(out: Terminal, move: TransitionLog, called: Names) -> None:
    if out.as_json:
        out.json(move_data(move))
    else:
        say_move(out, move, called)


def decisions(call: Call) -> Exit:
    """List the decisions, the oldest first: what was decided, by whom and why."""
    call.open()
    out, chosen = call.out, call.chosen
    left, decision = None if chosen.last is None else positive(chosen.last, "--last"), None
    for decision in _decisions() if left is None else reversed(_last_decisions(left)):
        if out.as_json:
            out.json(row_data(decision))
        else:
            _say_decision(out, decision)
    _note_when_empty(out, decision, "no decisions")
    return Exit.OK


def _say_decision(out: Terminal, decision: Decision) -> None:
    at = decision.created_at.isoformat(sep=" ", timespec="seconds")
    why = decision.outcome.get("reason") if isinstance(decision.outcome, dict) else None
    out.line(("dim", f"{short(decision.id)}  "), f"{at}  {decision.description}")
    out.line(f"          by {decision.decided_by}", f": {why}" if why else "")


def _decisions() -> Iterator[Decision]:
    """All decisions, read page by page in the order of their ids, which is the order of time."""
    page = session().read(lambda: _first_decisions(PAGE))
    while page:
        yield from page
        behind = page[-1].id
        page = session().read(lambda behind=behind: _decisions_behind(behind, PAGE))  # type: ignore[misc]


def _last_decisions(count: int) -> list[Decision]:
    newest: Any = Decision.id
    return session().read(lambda: list(Decision.select().order_by(newest.desc()).limit(count)))


@rows
def _first_decisions(limit: int) -> ModelSelect[Decision]:
    return Decision.select().order_by(Decision.id).limit(limit)


@rows
def _decisions_behind(behind: UUID, limit: int) -> ModelSelect[Decision]:
    return Decision.select().where(Decision.id > behind).order_by(Decision.id).limit(limit)


def _log_options(parser: argparse.ArgumentParser) -> None:
    begin = parser.add_mutually_exclusive_group()
    begin.add_argument("--after", type=whole, metavar="SEQ", help="begin after this move")
    begin.add_argument("--last", type=int, metavar="N", help="show the last N moves")
    parser.add_argument(
        "--follow", action="store_true", help="show new moves as they are made; without --after or --last, only those"
    )
    parser.add_argument(
        "--timeout", type=float, metavar="SECONDS", help="follow, and end after this time without a move"
    )


def _decisions_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--last", type=int, metavar="N", help="show the last N decisions")


COMMANDS = (Command("log", log, _log_options), Command("decisions", decisions, _decisions_options))
