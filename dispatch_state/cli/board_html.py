"""The board as one page for a browser: nothing is loaded, nothing runs, every word of a row is escaped."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from html import escape
from itertools import groupby
from uuid import UUID

from dispatch_state.cli.board_style import CSS
from dispatch_state.cli.board_text import Board, Column
from dispatch_state.cli.format import place_of
from dispatch_state.cli.terminal import visible
from dispatch_state.models.base import Stateful
from dispatch_state.models.epic import Epic
from dispatch_state.models.gate import Gate
from dispatch_state.models.issue import Issue
from dispatch_state.models.keys import short
from dispatch_state.models.stage import Stage
from dispatch_state.views.needs_human import NeedsHuman, who_may_approve
from dispatch_state.vocabulary import Priority

NEEDS = 100
"""How many waits a page lists."""


def page(board: Board, needs: list[NeedsHuman], name: str) -> str:
    """A whole HTML document: the columns, who is waited for, and the epics that the issues link to.

    Args:
        board: what stands on it.
        needs: who is waited for.
        name: what the store is called; no password is in it.
    """
    at, told = _moment(board.at), _text(name)
    columns = "".join(_column(board, column) for column in board.columns)
    total = sum(column.count for column in board.columns)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>Board of {told}, {at}</title>\n<style>{CSS}</style>\n</head>\n<body>\n"
        f"<header><h1>Board</h1><p>{told} · {total:,} issues · "
        f'<time datetime="{board.at.isoformat()}">{at}</time></p></header>\n'
        f"{_needs(board, needs)}"
        f'<main class="board"><div class="columns">\n{columns}</div></main>\n'
        f"{_epics(board)}</body>\n</html>\n"
    )


def _text(value: object) -> str:
    return escape(visible(value))


# ---- columns -----------------------------------------------------------------------------------------


def _column(board: Board, column: Column) -> str:
    cards = "".join(_card(board, issue) for issue in column.issues)
    more = f'<p class="more">and {column.more:,} more</p>\n' if column.more else ""
    empty = '<p class="more">none</p>\n' if not column.count else ""
    words = column.status.replace("_", " ")
    return (
        f'<section class="column {column.status}{"" if column.count else " empty"}">\n'
        f'<h2 title="{_text(column.status.meaning)}">{words} <span class="count">{column.count:,}</span></h2>\n'
        f"{cards}{more}{empty}</section>\n"
    )


def _card(board: Board, issue: Issue) -> str:
    agent = board.agent(issue)
    urgent = f'<span class="priority">{_text(issue.priority)}</span>' if issue.priority != Priority.MEDIUM else ""
    worker = f'<p class="agent">{_text(agent)}</p>\n' if agent else ""
    labels = "".join(
        f'<span class="label">{_text(label)}</span>'
        for label in (issue.labels if isinstance(issue.labels, list) else ())
    )
    return (
        f'<article class="card {_text(issue.priority)}" id="{_anchor(issue)}">\n<h3>{_text(issue.title)}</h3>\n'
        f'<p class="meta">{urgent}<span>{_text(issue.issue_type)}</span>'
        f'<code title="{issue.id}">{short(issue.id)}</code>{labels}</p>\n{_belongs(board, issue)}{worker}</article>\n'
    )


def _belongs(board: Board, issue: Issue) -> str:
    """Links to the epic and the stage of an issue, further down on the page."""
    ways = [_link(board.epics, issue.epic_id), _link(board.stages, issue.stage_id)]
    told = " › ".join(way for way in ways if way)
    return f'<p class="belongs">{told}</p>\n' if told else ""


def _link(rows: dict[UUID, Epic] | dict[UUID, Stage], key: UUID | None) -> str:
    row = rows.get(key) if key is not None else None
    return f'<a href="#{_anchor(row)}">{_text(row.label())}</a>' if row is not None else ""


def _anchor(row: Stateful) -> str:
    return f"{type(row).__name__.lower()}-{row.id}"


# ---- what stands around them -------------------------------------------------------------------------


def _needs(board: Board, needs: list[NeedsHuman]) -> str:
    """Who is waited for, by kind; it can be folded away."""
    if not needs:
        return ""
    shown = groupby(needs[:NEEDS], key=lambda need: (need.kind, need.why))
    kinds = "".join(
        f'<h3>{_text(kind)} <span class="why">{_text(why)}</span></h3>\n'
        f"<ul>\n{''.join(_need(board, need) for need in waiting)}</ul>\n"
        for (kind, why), waiting in shown
    )
    more = f'<p class="more">and {len(needs) - NEEDS:,} more</p>\n' if len(needs) > NEEDS else ""
    head = f"{len(needs):,} for a person to decide"
    return f'<details class="needs" open><summary>{head}</summary>\n{kinds}{more}</details>\n'


def _need(board: Board, need: NeedsHuman) -> str:
    row = need.row
    who = who_may_approve(row) if isinstance(row, Gate) else ""
    within = " › ".join(parent.label() for parent in place_of(row) if parent)
    facts = " · ".join(filter(None, (within, who, f"since {_moment(need.since)}")))
    label = f'<a href="#{_anchor(row)}">{_text(row.label())}</a>' if board.shows(row) else _text(row.label())
    return f'<li><code title="{row.id}">{short(row.id)}</code> {label} <span class="why">{_text(facts)}</span></li>\n'


def _moment(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M UTC")


def _epics(board: Board) -> str:
    if not board.epics:
        return ""
    told = "".join(_epic(epic, board.stages.values()) for epic in board.epics.values())
    return f'<section class="epics">\n<h2>Epics</h2>\n{told}</section>\n'


def _epic(epic: Epic, stages: Iterable[Stage]) -> str:
    own = sorted((stage for stage in stages if stage.epic_id == epic.id), key=lambda stage: stage.stage_order)
    items = "".join(f'<li id="{_anchor(stage)}">{_text(stage.name)} {_badge(stage)}</li>\n' for stage in own)
    return (
        f'<article class="epic" id="{_anchor(epic)}">\n<h3>{_text(epic.title)} {_badge(epic)}</h3>\n'
        f"<p>{_text(epic.description)}</p>\n" + (f"<ol>\n{items}</ol>\n" if items else "") + "</article>\n"
    )


def _badge(row: Stateful) -> str:
    return f'<span class="badge">{_text(row.status)}</span>'
