"""One row: what it holds, what may be done with it, and why it is where it is."""

from __future__ import annotations

import argparse
from typing import Any

from dispatch_state.actors import Human
from dispatch_state.cli.format import key_told, move_data, names, row_data, say_move
from dispatch_state.cli.lookup import fate, gone, identifier, missing, stateful_row_of, the_only
from dispatch_state.cli.parsing import Call, Command, Exit
from dispatch_state.cli.terminal import Part, Terminal
from dispatch_state.cli.triggers import takes
from dispatch_state.json_values import json_text
from dispatch_state.lifecycle.interface import session
from dispatch_state.models.base import Stateful
from dispatch_state.models.gate import Gate, GateComment
from dispatch_state.models.keys import ParentField
from dispatch_state.models.log import TransitionLog
from dispatch_state.models.row import Row
from dispatch_state.views.explain import actor_refusals, causes, explanation, waits_for

PRIVATE = "prompt"
"""The column that is shown on demand only."""


# ---- what it holds ---------------------------------------------------------------------------------


def show(call: Call) -> Exit:
    """Show one row, of any table: its columns, what may be done with it, what was said at it, and its history."""
    store, out = call.open(), call.out
    without = () if call.chosen.prompt else (PRIVATE,)
    key = identifier(call.chosen.id)
    row = the_only(key)
    if row is None:
        if not (moves := gone(key)):
            raise missing(key)
        return _show_gone(out, moves)
    moves = store.history(row) if isinstance(row, Stateful) else []
    if out.as_json:
        further = _live_data(row) if isinstance(row, Stateful) else {"legal_triggers": ()}
        out.json({**row_data(row, without=without), **further, "history": list(map(move_data, moves))})
        return Exit.OK
    out.line(("bold", str(row)), "  " + (f"“{row.label()}”" if isinstance(row, Stateful) else ""))
    _say_columns(out, row, without)
    if isinstance(row, Stateful):
        _say_legal(out, row)
        _say_comments(out, _comments(row))
        out.line(("bold", "history"))
        _say_history(out, moves)
    return Exit.OK


def _show_gone(out: Terminal, moves: list[TransitionLog]) -> Exit:
    if out.as_json:
        out.json({"table": moves[0].entity, "id": moves[0].entity_id, "history": list(map(move_data, moves))})
        return Exit.OK
    out.line(("bold", fate(moves)))
    _say_history(out, moves)
    return Exit.OK


def _say_history(out: Terminal, moves: list[TransitionLog]) -> None:
    called = names()
    for move in moves:
        say_move(out, move, called)


def _say_columns(out: Terminal, row: Row, without: tuple[str, ...]) -> None:
    widest = max(len(field.column_name) for field in row._meta.sorted_fields)
    for field in row._meta.sorted_fields:
        value = row.__data__.get(field.name)
        if value is None:
            continue
        named = key_told(field, value) if isinstance(field, ParentField) else None
        first, *others = (named or _told(value, field.name in without)).split("\n")
        out.line(("dim", f"  {field.name if named else field.column_name:<{widest}}  "), first)
        if others:
            out.block("\n".join(others), " " * (widest + 4))


def _told(value: Any, hidden: bool) -> str:
    if hidden:
        return f"{len(value):,} characters; --prompt shows them"
    meaning = getattr(value, "meaning", None)
    if meaning:
        return f"{value} ({meaning})"
    return json_text(value, "", longest=None) if isinstance(value, list | dict) else str(value)


# ---- what may be done with it ----------------------------------------------------------------------


def _live_data(row: Stateful) -> dict[str, Any]:
    said = {"comments": list(map(row_data, _comments(row)))} if isinstance(row, Gate) else {}
    return {"legal_triggers": row.legal_triggers(), "not_now": _not_now(row), **said}


def _say_legal(out: Terminal, row: Stateful) -> None:
    legal, refused = row.legal_triggers(), _not_now(row)
    out.line(("bold", "what starts from here" if legal else "nothing starts from here: that is final"))
    for name in legal:
        mark: tuple[Part, ...] = (("dim", f"  (not now: {refused[name][0]})"),) if name in refused else ()
        out.line(f"  {name}", *takes(row.machine.triggers[name], row.status), *mark)


def _not_now(row: Stateful) -> dict[str, list[str]]:
    """By trigger, why it would be refused now, though it starts from here and the most entitled person fired it."""
    named = row.named_approvers() if isinstance(row, Gate) else ()
    person = Human(named[0] if named else "anybody")
    asked = session().read(lambda: {name: actor_refusals(row, name, person) for name in row.legal_triggers()})
    return {name: reasons for name, reasons in asked.items() if reasons}


def _comments(row: Stateful) -> list[GateComment]:
    """What was said at a gate, the oldest first."""
    if not isinstance(row, Gate):
        return []
    return session().read(lambda: list(row.comments.order_by(GateComment.created_at, GateComment.id)))


def _say_comments(out: Terminal, comments: list[GateComment]) -> None:
    if comments:
        out.line(("bold", "comments"))
    called = names()
    for comment in comments:
        at = comment.created_at.isoformat(sep=" ", timespec="seconds")
        first, *others = comment.content.split("\n")
        out.line(("dim", f"  {at}  "), f"{called(comment.author)}: {first}")
        if others:
            out.block("\n".join(others), "    ")


# ---- why it is where it is -------------------------------------------------------------------------


def explain(call: Call) -> Exit:
    """Say why a row is where it is: its last move, what that followed from, who acted; and what it waits for."""
    call.open()
    out = call.out
    row = stateful_row_of(call.chosen.id)
    if out.as_json:
        chain, waits = session().read(lambda: (causes(row), waits_for(row)))
        because = list(map(move_data, chain))
        out.json({**row_data(row, without=(PRIVATE,)), "because": because, "waits_for": waits})
    else:
        for line in session().read(lambda: explanation(row)):
            out.line(line)
    return Exit.OK


def _id(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID", help="an id, or as much of its end as no other id has")


def _show_options(parser: argparse.ArgumentParser) -> None:
    _id(parser)
    parser.add_argument("--prompt", action="store_true", help="show an issue's prompt too")


COMMANDS = (Command("show", show, _show_options), Command("explain", explain, _id))
