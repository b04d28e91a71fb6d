"""The board as an HTML page.

The page loads nothing and runs no scripts, and all text of rows is escaped.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from html import escape
from itertools import groupby
from uuid import UUID

from dispatch_state.cli.board_colours import PRIORITY_COLOURS, STATUS_COLOURS, Colour
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

LISTED_NEEDS = 100
"""The most rows that a page lists under what waits for a person."""


def page(board: Board, needs: list[NeedsHuman], name: str) -> str:
    """Make the HTML document: the columns, what waits for a person, and the epics that the issues link to.

    Args:
        board: the board to show.
        needs: what waits for a person.
        name: the name of the store, without a password.
    """
    at, store = _moment(board.at), _text(name)
    columns = "".join(_column(board, column) for column in board.columns)
    count = sum(column.count for column in board.columns)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>Board of {store}, {at}</title>\n<style>{_css()}</style>\n</head>\n<body>\n"
        f"<header><h1>Board</h1><p>{store} · {count:,} issues · "
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
    """Links to the epic and the stage of an issue, which are further down on the page."""
    links = (_link(board.epics, issue.epic_id), _link(board.stages, issue.stage_id))
    shown = " › ".join(filter(None, links))
    return f'<p class="belongs">{shown}</p>\n' if shown else ""


def _link(rows: dict[UUID, Epic] | dict[UUID, Stage], key: UUID | None) -> str:
    row = rows.get(key) if key is not None else None
    return f'<a href="#{_anchor(row)}">{_text(row.label())}</a>' if row is not None else ""


def _anchor(row: Stateful) -> str:
    return f"{type(row).__name__.lower()}-{row.id}"


# ---- above and below the columns -------------------------------------------------------------------------


def _needs(board: Board, needs: list[NeedsHuman]) -> str:
    """What waits for a person, by kind, in a section that can be folded."""
    if not needs:
        return ""
    shown = groupby(needs[:LISTED_NEEDS], key=lambda need: (need.kind, need.why))
    kinds = "".join(
        f'<h3>{_text(kind)} <span class="why">{_text(why)}</span></h3>\n'
        f"<ul>\n{''.join(_need(board, need) for need in waiting)}</ul>\n"
        for (kind, why), waiting in shown
    )
    more = f'<p class="more">and {len(needs) - LISTED_NEEDS:,} more</p>\n' if len(needs) > LISTED_NEEDS else ""
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
    epics = "".join(_epic(epic, board.stages.values()) for epic in board.epics.values())
    return f'<section class="epics">\n<h2>Epics</h2>\n{epics}</section>\n'


def _epic(epic: Epic, stages: Iterable[Stage]) -> str:
    own = sorted((stage for stage in stages if stage.epic_id == epic.id), key=lambda stage: stage.stage_order)
    items = "".join(f'<li id="{_anchor(stage)}">{_text(stage.name)} {_badge(stage)}</li>\n' for stage in own)
    return (
        f'<article class="epic" id="{_anchor(epic)}">\n<h3>{_text(epic.title)} {_badge(epic)}</h3>\n'
        f"<p>{_text(epic.description)}</p>\n" + (f"<ol>\n{items}</ol>\n" if items else "") + "</article>\n"
    )


def _badge(row: Stateful) -> str:
    return f'<span class="badge">{_text(row.status)}</span>'


# ---- how it looks --------------------------------------------------------------------------------------

LIGHT = """--ground: #f6f7f9; --card: #ffffff; --ink: #1c2330; --faint: #5b6575; --line: #dde1e7; --link: #1558b0;
  --target: #fff3c4;"""
DARK = """--ground: #12161d; --card: #1c222c; --ink: #e6e9ee; --faint: #9aa5b4; --line: #2c3440; --link: #7db7ff;
  --target: #4a3f14;"""
LAYOUT = """
* { box-sizing: border-box; }
body { margin: 0; padding: 1.25rem; background: var(--ground); color: var(--ink);
  font: 15px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
header { display: flex; align-items: baseline; gap: 1rem; flex-wrap: wrap; margin-bottom: .75rem; }
h1 { font-size: 1.4rem; margin: 0; } h2 { font-size: 1rem; } h3 { font-size: .95rem; margin: 0; font-weight: 600; }
header p, .meta, .why, .more, .agent, .belongs { color: var(--faint); }
header p { margin: 0; }
a { color: var(--link); text-decoration: none; } a:hover, a:focus { text-decoration: underline; }
code { font-size: .85em; } h1, h2, h3, p, li { overflow-wrap: anywhere; }
.needs, .epic { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: .7rem 1rem; }
.needs { margin-bottom: 1rem; max-height: 13rem; overflow: auto; border-left: 4px solid var(--awaiting_review); }
.needs summary { font-weight: 600; cursor: pointer; } .needs h3 { margin: .9rem 0 .2rem; }
.needs ul { margin: 0; padding: 0; list-style: none; columns: 22rem; column-gap: 2rem; }
.needs li { break-inside: avoid; padding: .1rem 0; }
.why { font-size: .85rem; font-weight: 400; }
.board { overflow: auto; max-height: calc(100vh - 10rem); min-height: 20rem; }
.needs[open] + .board { max-height: calc(100vh - 20rem); }
.columns { display: flex; gap: .5rem; }
.column { flex: 1 0 8.75rem; min-width: 0; }
.column.empty { flex: 0 0 6rem; opacity: .65; }
.column h2 { position: sticky; top: 0; z-index: 1; margin: 0 0 .5rem; padding: .1rem 0 .35rem;
  background: var(--ground); border-bottom: 3px solid var(--line); font-size: .8rem; }
.count { color: var(--faint); font-weight: 400; }
.card { background: var(--card); border: 1px solid var(--line); border-left: 4px solid var(--medium);
  border-radius: .5rem; padding: .45rem .55rem; margin-bottom: .5rem; scroll-margin-top: 3rem; }
.card h3 { font-size: .88rem; line-height: 1.3; } .card p { margin: .25rem 0 0; font-size: .8rem; line-height: 1.35; }
.critical .priority { color: var(--critical); font-weight: 600; } .high .priority { color: var(--high); }
.meta { display: flex; align-items: baseline; flex-wrap: wrap; gap: .15rem .45rem; }
.card .belongs { display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 2; overflow: hidden; }
.label, .badge { border: 1px solid var(--line); border-radius: 1rem; padding: 0 .5rem; font-size: .78rem; }
.badge { color: var(--faint); font-weight: 400; }
.agent::before { content: "● "; color: var(--in_progress); }
.epics { margin-top: 1.25rem; } .epic { margin-bottom: .75rem; } .epic p { margin: .3rem 0; color: var(--faint); }
.epic ol { margin: .3rem 0 0; padding-left: 1.3rem; }
:target { background: var(--target); }
@media (max-width: 40rem) { .board, .needs[open] + .board { overflow: visible; max-height: none; }
  .columns { flex-direction: column; }
  .column { flex: none; } .column.empty { display: none; } }
@media print { body { background: none; } .needs, .board, .needs[open] + .board { overflow: visible; max-height: none; }
  .columns { flex-wrap: wrap; } }
"""


def _css() -> str:
    named: dict[str, Colour] = {
        str(name): colour for name, colour in (*STATUS_COLOURS.items(), *PRIORITY_COLOURS.items())
    }
    light = " ".join(f"--{name}: {colour.light};" for name, colour in named.items())
    dark = " ".join(f"--{name}: {colour.dark};" for name, colour in named.items())
    columns = "\n".join(f".column.{status} h2 {{ border-color: var(--{status}); }}" for status in STATUS_COLOURS)
    cards = "\n".join(f".card.{name} {{ border-left-color: var(--{name}); }}" for name in PRIORITY_COLOURS)
    return (
        f"\n:root {{ {LIGHT}\n  {light} }}\n"
        f"@media (prefers-color-scheme: dark) {{ :root {{ {DARK}\n  {dark} }} }}"
        f"{LAYOUT}{columns}\n{cards}\n"
    )
