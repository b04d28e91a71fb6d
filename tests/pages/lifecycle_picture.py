"""docs/images/issue_lifecycle.svg: the lifecycle of issues, drawn from `Issue.machine`.

Where each status stands is chosen below. Every arrow and every label comes from the machine. A trigger that leads from
many statuses to one would make a tangle, so it is drawn once, from a note that lists the statuses.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from dispatch_state import Issue
from dispatch_state.lifecycle.interface import Transition
from dispatch_state.values import listed
from tests.pages.svg import STATUS, arrow, box, picture, text

Point = tuple[float, float]
WIDTH, HEIGHT = 880, 352
BOX, TALL = 118, 34
COLUMNS = (38, 206, 370, 534, 742)
"""The left edge of each column."""
ROWS = (52, 142, 244, 318)
"""The middle of each row."""
PLACES = {
    "unassigned": (0, 1),
    "queued": (1, 1),
    "assigned": (2, 1),
    "in_progress": (3, 1),
    "done": (4, 1),
    "blocked": (3, 0),
    "awaiting_review": (3, 2),
    "in_review": (4, 2),
    "cancelled": (3, 3),
}
"""The column and the row of each status; others are put in the free places of the first row."""
NOTES: Mapping[str, Point] = {"release": (COLUMNS[0], ROWS[2]), "cancel": (COLUMNS[0], ROWS[3])}
"""Where the note of a trigger that leads from many statuses begins, and its middle."""
NOTE = 284
MANY = 4
"""From so many statuses on, a trigger has a note."""
ASIDE = 9
"""How far two arrows between the same statuses keep from the middle."""


class Route(NamedTuple):
    """How an arrow runs, which side of its status it ends at, and where its label stands."""

    points: list[Point]
    side: str
    label: Point
    anchor: str


def page() -> str:
    """The whole picture."""
    machine = Issue.machine
    many = {key: found for key, found in _sources().items() if len(found) >= MANY}
    if NOTES.keys() != {trigger for trigger, _ in many}:
        raise ValueError("NOTES takes every trigger of issues that leads from many of their statuses")
    edges = [edge for edge in machine.transitions if (edge.trigger, edge.dest) not in many]
    x, y = _middle(machine.initial)
    head = text(20, 34, "The lifecycle of an issue", "ink h b")
    start = [head, f'<circle cx="16" cy="{y}" r="5" class="ink"/>', arrow([(16, y), (x - BOX / 2, y)])]
    live = {status for status in machine.states if not status.final}
    notes = [
        line
        for (trigger, dest), found in many.items()
        for line in _note(trigger, dest, "every status that is not final" if set(found) == live else listed(found))
    ]
    parts = [*start, *_arrows(edges), *notes, *(part for status in machine.states for part in _status(status))]
    return picture(WIDTH, HEIGHT, "The lifecycle of an issue: its statuses, and the triggers between them", parts)


def _sources() -> Mapping[tuple[str, str], list[str]]:
    """The statuses that a trigger leads from, by the trigger and the status it leads to."""
    found: dict[tuple[str, str], list[str]] = {}
    for edge in Issue.machine.transitions:
        found.setdefault((edge.trigger, edge.dest), []).append(edge.source)
    return found


def _place(status: str) -> tuple[int, int]:
    """The column and the row of a status."""
    free = [(column, 0) for column in range(len(COLUMNS)) if (column, 0) not in PLACES.values()]
    others = [other for other in Issue.machine.states if other not in PLACES]
    return {**PLACES, **dict(zip(others, free, strict=False))}[status]


def _middle(status: str) -> Point:
    column, row = _place(status)
    return COLUMNS[column] + BOX / 2, ROWS[row]


def _status(status: str) -> Iterator[str]:
    x, y = _middle(status)
    left, top = x - BOX / 2, y - TALL / 2
    if Issue.statuses(status).final:
        yield box(left - 3.5, top - 3.5, BOX + 7, TALL + 7, f"ground {STATUS[status]}-line", 10)
    yield box(left, top, BOX, TALL, f"card {STATUS[status]}-line", 7)
    yield text(x, y + 4, status, "ink b", "middle")


def _note(trigger: str, dest: str, words: str) -> Iterator[str]:
    """The statuses that a trigger leads from, in a frame with an arrow to the status it leads to."""
    (left, y), (x, to) = NOTES[trigger], _middle(dest)
    points: list[Point] = [(left + NOTE, y), (x - BOX / 2 - 3.5, y)]
    label_x, label_y = left + NOTE + 10, y - 6
    if left < x < left + NOTE:  # the status is above the note
        points = [(x, y - 19), (x, to + TALL / 2)]
        label_x, label_y = x + 6, y - 28
    lines = _halves(f"from {words}")
    yield box(left, y - 19, NOTE, 38, "ground line-line", 7)
    for number, line in enumerate(lines):
        yield text(left + 12, y + 4 - 7.5 * (len(lines) - 1) + 15 * number, line, "faint s")
    yield arrow(points)
    yield text(label_x, label_y, trigger, "ink s")


def _halves(words: str) -> list[str]:
    """A note on one line, or on two of about the same length."""
    if len(words) < NOTE / 7:
        return [words]
    cut = words.index(" ", len(words) // 2)
    return [words[:cut], words[cut + 1 :]]


# ---- arrows ------------------------------------------------------------------------------------------


def _arrows(edges: list[Transition]) -> Iterator[str]:
    pairs = {(edge.source, edge.dest) for edge in edges}
    labelled = set()
    for edge in edges:
        route = _route(edge.source, edge.dest, ASIDE if (edge.dest, edge.source) in pairs else 0)
        yield arrow(route.points)
        if (edge.trigger, edge.dest, route.side) not in labelled:  # arrows that meet share a label
            yield text(*route.label, edge.trigger, "ink s", route.anchor)
        labelled.add((edge.trigger, edge.dest, route.side))


def _route(source: str, dest: str, aside: float) -> Route:
    (column, row), (to_column, to_row) = _place(source), _place(dest)
    if row != to_row:
        return _between_rows(source, dest, aside)
    if abs(column - to_column) > 1:
        return _over(source, dest)
    (x, y), (to_x, _) = _middle(source), _middle(dest)
    way = 1 if to_x > x else -1
    end = BOX / 2 + (3.5 if Issue.statuses(dest).final else 0)
    y -= way * aside
    label = (x + to_x) / 2, y - 6 if way > 0 else y + 14
    return Route([(x + way * BOX / 2, y), (to_x - way * end, y)], "side", label, "middle")


def _over(source: str, dest: str) -> Route:
    """Over the statuses between: the way forward outside, the way back inside."""
    (x, y), (to_x, _) = _middle(source), _middle(dest)
    way = 1 if to_x > x else -1
    aside = 14 if way > 0 else -14
    high = y - TALL / 2 - (52 if way > 0 else 26)
    x, to_x = x - way * aside, to_x + way * aside
    top = y - TALL / 2
    points = [(x, top), (x, high), (to_x, high), (to_x, top)]
    return Route(points, "top", ((x + to_x) / 2, high - 6), "middle")


def _between_rows(source: str, dest: str, aside: float) -> Route:
    (x, y), (to_x, to_y) = _middle(source), _middle(dest)
    down = 1 if to_y > y else -1
    end = TALL / 2 + (3.5 if Issue.statuses(dest).final else 0)
    begin, tip = y + down * TALL / 2, to_y - down * end
    side = "top" if down > 0 else "bottom"
    if x != to_x:
        way = 1 if to_x > x else -1
        start, stop = x + way * BOX / 4, to_x - way * BOX / 4
        return Route([(start, begin), (stop, tip)], side, ((start + stop) / 2, (begin + tip) / 2), "middle")
    x -= down * aside
    label = x - down * 6, begin + (16 if down > 0 else -20)
    return Route([(x, begin), (x, tip)], side, label, "end" if down > 0 else "start")
