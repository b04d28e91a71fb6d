"""One row: its columns, the triggers that start from its status, and why it has that status."""

from __future__ import annotations

import argparse
from typing import Any

from dispatch_state.actors import Human
from dispatch_state.cli.format import key_label, move_data, names, row_data, say_move
from dispatch_state.cli.lookup import fate, gone, identifier, not_found, stateful_row_of, the_only
from dispatch_state.cli.parsing import Call, Command, Exit
from dispatch_state.cli.terminal import Part, Terminal
from dispatch_state.cli.triggers import takes
from dispatch_state.json_values import json_text
from dispatch_state.lifecycle.session import session
from dispatch_state.models.base import Stateful
from dispatch_state.models.gate import Gate, GateComment
from dispatch_state.models.keys import ParentField
from dispatch_state.models.log import TransitionLog
from dispatch_state.models.row import Row
from dispatch_state.views.explain import actor_refusals, causes, explanation, waits_for

PRIVATE = "prompt"
"""The column that is shown only when asked for."""


# ---- its columns and history ---------------------------------------------------------------------------------


def show(call: Call) -> Exit:
    """Show a row of any table: its columns, the triggers that start from its status, its comments and its history."""
    store, out = call.open(), call.out
    without = () if call.chosen.prompt else (PRIVATE,)
    key = identifier(call.chosen.id)
    row = the_only(key)
    if row is None:
        if not (moves := gone(key)):
            raise not_found(key)
        return _show_gone(out, moves)
    moves = store.history(row) if isinstance(row, Stateful) else []
    if out.as_json:
        further = _live_data(row) if isinstance(row, Stateful) else {"legal_triggers": ()}
        out.json({**row_data(row, without=without), **further, "history": list(map(move_data, moves))})
        return Exit.OK
    out.line(("bold", str(row)), "  " + (f"“{row.label()}”" if isinstance(row, Stateful) else ""))
    _show_columns(out, row, without)
    if isinstance(row, Stateful):
        _show_triggers(out, row)
        _show_comments(out, _comments(row))
        out.line(("bold", "history"))
        _show_history(out, moves)
    return Exit.OK


def _show_gone(out: Terminal, moves: list[TransitionLog]) -> Exit:
    if out.as_json:
        out.json({"table": moves[0].entity, "id": moves[0].entity_id, "history": list(map(move_data, moves))})
        return Exit.OK
    out.line(("bold", fate(moves)))
    _show_history(out, moves)
    return Exit.OK


def _show_history(out: Terminal, moves: list[TransitionLog]) -> None:
    called = names()
    for move in moves:
        say_move(out, move, called)


def _show_columns(out: Terminal, row: Row, without: tuple[str, ...]) -> None:
    widest = max(len(field.column_name) for field in row._meta.sorted_fields)
    for field in row._meta.sorted_fields:
        value = row.__data__.get(field.name)
        if value is None:
            continue
        named = key_label(field, value) if isinstance(field, ParentField) else None
        first, *others = (named or _value_shown(value, field.name in without)).split("\n")
        out.line(("dim", f"  {field.name if named else field.column_name:<{widest}}  "), first)
        if others:
            out.block("\n".join(others), " " * (widest + 4))


def _value_shown(value: Any, hidden: bool) -> str:
    if hidden:
        return f"{len(value):,} characters; --prompt shows them"
    meaning = getattr(value, "meaning", None)
    if meaning:
        return f"{value} ({meaning})"
    return json_text(value, "", longest=None) if isinstance(value, list | dict) else str(value)


# ---- its triggers ----------------------------------------------------------------------


def _live_data(row: Stateful) -> dict[str, Any]:
    said = {"comments": list(map(row_data, _comments(row)))} if isinstance(row, Gate) else {}
    return {"legal_triggers": row.legal_triggers(), "not_now": _not_now(row), **said}


def _show_triggers(out: Terminal, row: Stateful) -> None:
    legal, refused = row.legal_triggers(), _not_now(row)
    out.line(("bold", "triggers that start here" if legal else "no trigger starts here: the status is final"))
    for name in legal:
        mark: tuple[Part, ...] = (("dim", f"  (not now: {refused[name][0]})"),) if name in refused else ()
        out.line(f"  {name}", *takes(row.machine.triggers[name], row.status), *mark)


def _not_now(row: Stateful) -> dict[str, list[str]]:
    """Why triggers that start from this status would be refused now, even to a person entitled to fire them."""
    named = row.named_approvers() if isinstance(row, Gate) else ()
    person = Human(named[0] if named else "anybody")
    asked = session().read(lambda: {name: actor_refusals(row, name, person) for name in row.legal_triggers()})
    return {name: reasons for name, reasons in asked.items() if reasons}


def _comments(row: Stateful) -> list[GateComment]:
    """The comments on a gate, the oldest first."""
    if not isinstance(row, Gate):
        return []
    return session().read(lambda: list(row.comments.order_by(GateComment.created_at, GateComment.id)))


def _show_comments(out: Terminal, comments: list[GateComment]) -> None:
    if comments:
        out.line(("bold", "comments"))
    called = names()
    for comment in comments:
        at = comment.created_at.isoformat(sep=" ", timespec="seconds")
        first, *others = comment.content.split("\n")
        out.line(("dim", f"  {at}  "), f"{called(comment.author)}: {first}")
        if others:
            out.block("\n".join(others), "    ")


# ---- why it has its status -------------------------------------------------------------------------


def explain(call: Call) -> Exit:
    """Explain why a row has its status: its last move, what that followed from and who acted; and what it waits for."""
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
    parser.add_argument("id", metavar="ID", help="the id of the row, or enough of its end to be unique")


def _show_options(parser: argparse.ArgumentParser) -> None:
    _id(parser)
    parser.add_argument("--prompt", action="store_true", help="show the prompt of an issue too")


COMMANDS = (Command("show", show, _show_options), Command("explain", explain, _id))
