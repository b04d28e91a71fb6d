"""Rows and moves as output: with names for people, and with whole ids for programs."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

from dispatch_state.cli.terminal import Part, Terminal, cells, clipped, visible
from dispatch_state.lifecycle.session import session
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
CACHED_NAMES = 1000
"""The most names of actors that are kept while a log is shown."""
Names = Callable[[str], str]
"""Gives the name of an actor."""


class Place(NamedTuple):
    """The epic and the stage that a row belongs to; each may be None."""

    epic: Epic | None
    stage: Stage | None

    def say(self, width: int) -> str:
        """The place in one line, with titles cut to a width; empty when the row belongs to nothing."""
        epic = f"Epic “{clipped(visible(self.epic.title), width)}”" if self.epic else ""
        return " › ".join(filter(None, (epic, clipped(visible(self.stage.name), width) if self.stage else "")))


def place_of(row: Row) -> Place:
    """Read the epic and the stage that a gate, an issue or a stage belongs to."""
    stage = found(Stage, row.stage_id) if isinstance(row, Gate | Issue) else None
    within = stage or row
    return Place(found(Epic, within.epic_id) if isinstance(within, Stage | Issue) else None, stage)


def found(model: type[M], key: Any) -> M | None:
    """Read a row by its key; None when it does not exist, as may happen in a damaged store."""
    return None if key is None else session().read(lambda: find(model, key))


def row_data(row: Row, *, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """A row as JSON.

    Args:
        row: the row.
        without: columns to leave out.

    Returns:
        The row's table and its columns, by their names in the database.
    """
    columns = {f.column_name: row.__data__.get(f.name) for f in row._meta.sorted_fields if f.name not in without}
    return {"table": row._meta.table_name, **columns}


def move_data(move: TransitionLog) -> dict[str, Any]:
    """A move as JSON."""
    return {f.column_name: move.__data__.get(f.name) for f in move._meta.sorted_fields}


def key_label(field: ParentField[Any], key: Any) -> str | None:
    """The label of the row that a key names, and the end of its id; None when there is no such row."""
    named: Stateful | None = found(field.rel_model, key)
    return f"{visible(named.label())} ({short(key)})" if named is not None else None


def names() -> Names:
    """Make a function that gives the names of actors and looks up each of them once."""
    return lru_cache(CACHED_NAMES)(lambda actor: session().read(lambda: display_name(actor)))


def say_move(out: Terminal, move: TransitionLog, called: Names) -> None:
    """Write a move on one line: its number, time, trigger, statuses, actor and reason.

    Args:
        out: where to write.
        move: the move; one that follows from another is indented.
        called: gives the names of actors.
    """
    style = "dim" if move.cause_seq is not None else "yellow" if move.decision_id is not None else ""
    said = move.say(called(move.actor))
    part: Part = (style, said) if style else said
    out.line(("dim", f"{move.seq:>7} "), "" if move.cause_seq is None else "  ", part)


def say_flowing(out: Terminal, *parts: Part) -> None:
    """Write parts with two spaces between them; a part that does not fit begins a new, indented line."""
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
