"""What happened, as it was recorded: the log, and the decisions."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any
from uuid import UUID

from peewee import ModelSelect

from dispatch_state.cli.format import Names, move_data, names, row_data, say_move
from dispatch_state.cli.parsing import Call, Command, Exit, whole
from dispatch_state.cli.terminal import Terminal
from dispatch_state.lifecycle.interface import session
from dispatch_state.models.decision import Decision
from dispatch_state.models.keys import short
from dispatch_state.models.log import TransitionLog
from dispatch_state.models.row import Row
from dispatch_state.storage.statements import rows
from dispatch_state.store import Store
from dispatch_state.values import positive

PAGE = 1000
"""How many rows are held at a time."""


def log(call: Call) -> Exit:
    """Tell every move, the oldest first; with --follow, also those of all processes as they are committed."""
    store, out, chosen = call.open(), call.out, call.chosen
    behind, called, move = chosen.after, names(), None
    if chosen.last is not None:
        behind = session().read(lambda: _before_the_last(positive(chosen.last, "--last")))
    follow = chosen.follow or chosen.timeout is not None
    for move in store.watch(behind, timeout=chosen.timeout) if follow else _moves(store, behind or 0):
        _tell_move(out, move, called)
        if follow:
            out.flush()
    _say_when_empty(out, move, "no moves")
    return Exit.OK


def _say_when_empty(out: Terminal, last: Row | None, none: str) -> None:
    """Say beside the output that there was nothing to tell, so that silence is not taken for a fault."""
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


def _tell_move(out: Terminal, move: TransitionLog, called: Names) -> None:
    if out.as_json:
        out.json(move_data(move))
    else:
        say_move(out, move, called)


def decisions(call: Call) -> Exit:
    """Tell every decision, the oldest first: what, by whom, and why."""
    call.open()
    out, chosen = call.out, call.chosen
    left, decision = None if chosen.last is None else positive(chosen.last, "--last"), None
    for decision in _decisions() if left is None else reversed(_last_decisions(left)):
        if out.as_json:
            out.json(row_data(decision))
        else:
            _say_decision(out, decision)
    _say_when_empty(out, decision, "no decisions")
    return Exit.OK


def _say_decision(out: Terminal, decision: Decision) -> None:
    at = decision.created_at.isoformat(sep=" ", timespec="seconds")
    why = decision.outcome.get("reason") if isinstance(decision.outcome, dict) else None
    out.line(("dim", f"{short(decision.id)}  "), f"{at}  {decision.description}")
    out.line(f"          by {decision.decided_by}", f": {why}" if why else "")


def _decisions() -> Iterator[Decision]:
    """Page by page, in the order of their ids, which is that of time."""
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
    begin.add_argument("--after", type=whole, metavar="SEQ", help="begin behind this move")
    begin.add_argument("--last", type=int, metavar="N", help="begin with the last N moves")
    parser.add_argument("--follow", action="store_true", help="go on; without --after or --last, from now on")
    parser.add_argument("--timeout", type=float, metavar="SECONDS", help="follow, and end after so long without a move")


def _decisions_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--last", type=int, metavar="N", help="only the last N")


COMMANDS = (Command("log", log, _log_options), Command("decisions", decisions, _decisions_options))
