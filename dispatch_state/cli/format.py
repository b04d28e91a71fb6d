"""Rows and moves as people and programs are told of them: people by names, programs by whole ids."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

from dispatch_state.cli.terminal import Part, Terminal, cells, clipped, visible
from dispatch_state.lifecycle.interface import session
from dispatch_state.models.base import Stateful
from dispatch_state.models.epic import Epic
from dispatch_state.models.gate import Gate
from dispatch_state.models.issue import Issue
from dispatch_state.models.keys import ParentField, short
from dispatch_state.models.log import TransitionLog
from dispatch_state.models.row import Row
from dispatch_state.models.stage import Stage
from dispatch_state.storage.statements import find
from dispatch_state.views.explain import display_name

M = TypeVar("M", bound=Row)
REMEMBERED = 1000
"""How many actors' names are kept while a log is told."""
Names = Callable[[str], str]
"""What an actor is called."""


class Place(NamedTuple):
    """What a row belongs to, as far as it does."""

    epic: Epic | None
    stage: Stage | None

    def say(self, width: int) -> str:
        """In one line, an epic's title cut to a width; empty when it belongs to nothing."""
        epic = f"Epic “{clipped(visible(self.epic.title), width)}”" if self.epic else ""
        return " › ".join(filter(None, (epic, clipped(visible(self.stage.name), width) if self.stage else "")))


def place_of(row: Row) -> Place:
    """The epic and the stage that a gate, an issue or a stage belongs to."""
    stage = there(Stage, row.stage_id) if isinstance(row, Gate | Issue) else None
    within = stage or row
    return Place(there(Epic, within.epic_id) if isinstance(within, Stage | Issue) else None, stage)


def there(model: type[M], key: Any) -> M | None:
    """The row of that key, or None: also where a damaged store names a row that it does not hold."""
    return None if key is None else session().read(lambda: find(model, key))


def row_data(row: Row, *, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """A row as JSON: its table, and its columns by their names in the database."""
    columns = {f.column_name: row.__data__.get(f.name) for f in row._meta.sorted_fields if f.name not in without}
    return {"table": row._meta.table_name, **columns}


def move_data(move: TransitionLog) -> dict[str, Any]:
    """A move as JSON."""
    return {f.column_name: move.__data__.get(f.name) for f in move._meta.sorted_fields}


def key_told(field: ParentField[Any], key: Any) -> str | None:
    """The row that a key names: what it is called, and the end of its id; None when it is not there."""
    named: Stateful | None = there(field.rel_model, key)
    return f"{visible(named.label())} ({short(key)})" if named is not None else None


def names() -> Names:
    """What actors are called, each looked up once."""
    return lru_cache(REMEMBERED)(lambda actor: session().read(lambda: display_name(actor)))


def say_move(out: Terminal, move: TransitionLog, called: Names) -> None:
    """A move on a line: its number, when, what, from where to where, by whom and why; what follows is set in."""
    style = "dim" if move.cause_seq is not None else "yellow" if move.decision_id is not None else ""
    told = move.say(called(move.actor))
    part: Part = (style, told) if style else told
    out.line(("dim", f"{move.seq:>7} "), "" if move.cause_seq is None else "  ", part)


def say_flowing(out: Terminal, *parts: Part) -> None:
    """Parts two spaces apart; one that does not fit on the line any more begins the next, which is set in."""
    line: list[Part] = []
    used = 0
    for part in parts:
        style, text = part if isinstance(part, tuple) else ("", part)
        text, gap = clipped(visible(text), max(out.width - 4, 20)), "  "
        if line and used + len(gap) + cells(text) > out.width:
            out.line(*line)
            line, used, gap = [], 0, "    "
        line += [gap, (style, text) if style else text]
        used += len(gap) + cells(text)
    out.line(*line)
