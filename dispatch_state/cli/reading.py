"""What only reads: counts and who is waited for, one row, why it is there, the log, the decisions."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Iterator
from itertools import groupby
from typing import Any
from uuid import UUID

from peewee import ModelSelect

from dispatch_state.cli.lookup import removed, row_of, stateful_row_of
from dispatch_state.cli.parsing import Call, Command, Exit, whole
from dispatch_state.cli.terminal import Part, Terminal, clipped, visible
from dispatch_state.cli.triggers import takes
from dispatch_state.door import door
from dispatch_state.errors import RowNotFound
from dispatch_state.models.base import Row, Stateful
from dispatch_state.models.keys import short
from dispatch_state.models.ledger import Decision
from dispatch_state.models.log import TransitionLog
from dispatch_state.overview import NeedsHuman, causes, explained
from dispatch_state.statements import rows
from dispatch_state.store import Store
from dispatch_state.values import json_text, positive

PAGE = 1000
"""How many rows are held at a time."""
PRIVATE = "prompt"
"""The column that is shown on demand only."""


def row_data(row: Row, *, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """A row as JSON: its table, and its columns by their names in the database."""
    columns = {f.column_name: row.__data__.get(f.name) for f in row._meta.sorted_fields if f.name not in without}
    return {"table": row._meta.table_name, **columns}


# ---- status ----------------------------------------------------------------------------------------


def status(call: Call) -> Exit:
    """Count the rows in each status, and list what goes on only when a person says so."""
    store, out = call.open(), call.out
    most = positive(call.chosen.limit, "--limit")
    counts, needs = store.counts(), store.needs_human()
    if out.as_json:
        out.json({"counts": counts, "needs_human": [_need_data(need) for need in needs]})
        return Exit.OK
    for table, by_status in counts.items():
        _say_counts(out, table.replace("_", " "), by_status)
    out.line()
    out.line(("bold", f"{len(needs):,} for a person to decide") if needs else "Nothing waits for a person.")
    for (kind, why), waiting in groupby(needs, key=lambda need: (need.kind, need.why)):
        _say_needs(out, kind, why, list(waiting), most)
    return Exit.OK


def _say_counts(out: Terminal, name: str, by_status: dict[str, int]) -> None:
    told = "  ".join(f"{count:,}\u00a0{word}" for word, count in by_status.items() if count) or "none"
    first, *others = textwrap.wrap(told, max(out.width - 15, 20))
    out.line(("bold", f"{name:<14} "), first.replace("\u00a0", " "))
    for line in others:
        out.line(" " * 15, line.replace("\u00a0", " "))


def _say_needs(out: Terminal, kind: str, why: str, waiting: list[NeedsHuman], most: int) -> None:
    out.line(("yellow", f"{kind}"), f": {why}")
    for need in waiting[:most]:
        since = need.since.isoformat(sep=" ", timespec="minutes")
        room = out.width - len(f"  {need.row}  since {since}") - 4
        label = clipped(visible(need.row.label()), max(room, 20))
        out.line(f"  {need.row}  “{label}”", ("dim", f"  since {since}"))
    if len(waiting) > most:
        out.line(("dim", f"  and {len(waiting) - most:,} more; --limit shows them"))


def _need_data(need: NeedsHuman) -> dict[str, Any]:
    named = {"table": need.row._meta.table_name, "id": need.row.id, "status": need.row.status}
    return {"kind": need.kind, **named, "label": need.row.label(), "since": need.since, "why": need.why}


# ---- one row ---------------------------------------------------------------------------------------


def show(call: Call) -> Exit:
    """Show one row, of any table: its columns, what may be done with it, and its history."""
    store, out = call.open(), call.out
    without = () if call.chosen.prompt else (PRIVATE,)
    try:
        row = row_of(call.chosen.id)
    except RowNotFound:
        if not (moves := removed(call.chosen.id)):
            raise
        return _show_removed(out, moves)
    moves = store.history(row) if isinstance(row, Stateful) else []
    if out.as_json:
        legal = row.legal_triggers() if isinstance(row, Stateful) else ()
        out.json({**row_data(row, without=without), "legal_triggers": legal, "history": list(map(move_data, moves))})
        return Exit.OK
    out.line(("bold", str(row)), "  " + (f"“{row.label()}”" if isinstance(row, Stateful) else ""))
    _say_columns(out, row, without)
    if isinstance(row, Stateful):
        _say_legal(out, row)
        out.line(("bold", "history"))
        for move in moves:
            say_move(out, move)
    return Exit.OK


def _show_removed(out: Terminal, moves: list[TransitionLog]) -> Exit:
    if out.as_json:
        out.json({"table": moves[0].entity, "id": moves[0].entity_id, "history": list(map(move_data, moves))})
        return Exit.OK
    out.line(("bold", f"{moves[0].entity} {moves[0].entity_id}"), " is not there any more")
    for move in moves:
        say_move(out, move)
    return Exit.OK


def _say_columns(out: Terminal, row: Row, without: tuple[str, ...]) -> None:
    widest = max(len(field.column_name) for field in row._meta.sorted_fields)
    for field in row._meta.sorted_fields:
        value = row.__data__.get(field.name)
        if value is not None:
            first, *others = _told(value, field.name in without).split("\n")
            out.line(("dim", f"  {field.column_name:<{widest}}  "), first)
            out.block("\n".join(others), " " * (widest + 4)) if others else None


def _told(value: Any, hidden: bool) -> str:
    if hidden:
        return f"{len(value):,} characters; --prompt shows them"
    meaning = getattr(value, "meaning", None)
    if meaning:
        return f"{value} ({meaning})"
    return json_text(value, "", longest=None) if isinstance(value, list | dict) else str(value)


def _say_legal(out: Terminal, row: Stateful) -> None:
    legal = row.legal_triggers()
    out.line(("bold", "what starts from here" if legal else "nothing starts from here: that is final"))
    for name in legal:
        out.line(f"  {name}", *takes(row.machine.triggers[name], row.status))


def explain(call: Call) -> Exit:
    """Say why a row is where it is: its last move, and what that followed from, up to who acted."""
    call.open()
    out = call.out
    row = stateful_row_of(call.chosen.id)
    if out.as_json:
        chain = door().read(lambda: causes(row))
        out.json({**row_data(row, without=(PRIVATE,)), "because": list(map(move_data, chain))})
    else:
        for line in door().read(lambda: explained(row)):
            out.line(line)
    return Exit.OK


# ---- what happened ---------------------------------------------------------------------------------


def log(call: Call) -> Exit:
    """Tell every move, the oldest first; with --follow, also those of all processes as they are committed."""
    store, out, chosen = call.open(), call.out, call.chosen
    behind = chosen.after
    if chosen.last is not None:
        behind = door().read(lambda: _before_the_last(positive(chosen.last, "--last")))
    if chosen.follow or chosen.timeout is not None:
        for move in store.watch(behind, timeout=chosen.timeout):
            _tell_move(out, move)
            out.flush()
        return Exit.OK
    for move in _moves(store, behind or 0):
        _tell_move(out, move)
    return Exit.OK


def _moves(store: Store, behind: int) -> Iterator[TransitionLog]:
    while page := store.changes(behind, PAGE):
        yield from page
        behind = page[-1].seq


def _before_the_last(count: int) -> int:
    seq: Any = TransitionLog.seq
    oldest = TransitionLog.select(seq).order_by(seq.desc()).offset(count - 1).limit(1).scalar()
    return 0 if oldest is None else int(oldest) - 1


def move_data(move: TransitionLog) -> dict[str, Any]:
    """A move as JSON."""
    return {f.column_name: move.__data__.get(f.name) for f in move._meta.sorted_fields}


def _tell_move(out: Terminal, move: TransitionLog) -> None:
    if out.as_json:
        out.json(move_data(move))
    else:
        say_move(out, move)


def say_move(out: Terminal, move: TransitionLog) -> None:
    """A move on a line: its number, when, what, from where to where, by whom and why; what follows is set in."""
    style = "dim" if move.cause_seq is not None else "yellow" if move.decision_id is not None else ""
    part: Part = (style, move.say()) if style else move.say()
    out.line(("dim", f"{move.seq:>7} "), "" if move.cause_seq is None else "  ", part)


def decisions(call: Call) -> Exit:
    """Tell every decision, the oldest first: what, by whom, and why."""
    call.open()
    out, chosen = call.out, call.chosen
    left = None if chosen.last is None else positive(chosen.last, "--last")
    for decision in _decisions() if left is None else reversed(_last_decisions(left)):
        if out.as_json:
            out.json(row_data(decision))
        else:
            _say_decision(out, decision)
    return Exit.OK


def _say_decision(out: Terminal, decision: Decision) -> None:
    at = decision.created_at.isoformat(sep=" ", timespec="seconds")
    why = decision.outcome.get("reason") if isinstance(decision.outcome, dict) else None
    out.line(("dim", f"{short(decision.id)}  "), f"{at}  {decision.description}")
    out.line(f"          by {decision.decided_by}", f": {why}" if why else "")


def _decisions() -> Iterator[Decision]:
    """Page by page, in the order of their ids, which is that of time."""
    page = door().read(lambda: _first_decisions(PAGE))
    while page:
        yield from page
        behind = page[-1].id
        page = door().read(lambda behind=behind: _decisions_behind(behind, PAGE))  # type: ignore[misc]


def _last_decisions(count: int) -> list[Decision]:
    newest: Any = Decision.id
    return door().read(lambda: list(Decision.select().order_by(newest.desc()).limit(count)))


@rows
def _first_decisions(limit: int) -> ModelSelect[Decision]:
    return Decision.select().order_by(Decision.id).limit(limit)


@rows
def _decisions_behind(behind: UUID, limit: int) -> ModelSelect[Decision]:
    return Decision.select().where(Decision.id > behind).order_by(Decision.id).limit(limit)


# ---- what they take --------------------------------------------------------------------------------


def _status_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--limit", type=int, default=10, metavar="N", help="rows to list of each kind (10)")


def _id(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID", help="an id, or as much of its end as no other id has")


def _show_options(parser: argparse.ArgumentParser) -> None:
    _id(parser)
    parser.add_argument("--prompt", action="store_true", help="show an issue's prompt too")


def _log_options(parser: argparse.ArgumentParser) -> None:
    begin = parser.add_mutually_exclusive_group()
    begin.add_argument("--after", type=whole, metavar="SEQ", help="begin behind this move")
    begin.add_argument("--last", type=int, metavar="N", help="begin with the last N moves")
    parser.add_argument("--follow", action="store_true", help="go on; without --after or --last, from now on")
    parser.add_argument("--timeout", type=float, metavar="SECONDS", help="follow, and end after so long without a move")


def _decisions_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--last", type=int, metavar="N", help="only the last N")


COMMANDS = (
    Command("status", status, _status_options),
    Command("show", show, _show_options),
    Command("explain", explain, _id),
    Command("log", log, _log_options),
    Command("decisions", decisions, _decisions_options),
)
