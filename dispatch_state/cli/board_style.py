"""How a board looks: the colour of each status, and the style sheet of its page, in light and in dark."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from dispatch_state.vocabulary import IssueStatus, total


class Colour(NamedTuple):
    """A colour on a light page, on a dark one, and how a terminal shows it."""

    light: str
    dark: str
    terminal: str


COLOURS = {
    "grey": Colour("#98a2b3", "#98a2b3", "bold"),
    "violet": Colour("#6172f3", "#8098f9", "bold"),
    "teal": Colour("#0e9384", "#2ed3b7", "bold"),
    "blue": Colour("#0086c9", "#36bffa", "cyan"),
    "amber": Colour("#b54708", "#fdb022", "yellow"),
    "green": Colour("#099250", "#3ccb7f", "green"),
    "red": Colour("#c0262d", "#ff7a7f", "red"),
    "pale": Colour("#98a2b3", "#98a2b3", "dim"),
}
STATUSES: Mapping[IssueStatus, str] = total(
    "the board's colours",
    IssueStatus,
    {
        IssueStatus.UNASSIGNED: "grey",
        IssueStatus.QUEUED: "violet",
        IssueStatus.ASSIGNED: "teal",
        IssueStatus.IN_PROGRESS: "blue",
        IssueStatus.AWAITING_REVIEW: "amber",
        IssueStatus.IN_REVIEW: "amber",
        IssueStatus.DONE: "green",
        IssueStatus.BLOCKED: "red",
        IssueStatus.CANCELLED: "pale",
    },
)
"""The colour of each status, by its name above."""
LIGHT = " ".join(f"--{status}: {COLOURS[name].light};" for status, name in STATUSES.items())
DARK = " ".join(f"--{status}: {COLOURS[name].dark};" for status, name in STATUSES.items())
HEADS = "\n".join(f".column.{status} h2 {{ border-color: var(--{status}); }}" for status in STATUSES)

CSS = (
    """
:root { --ground: #f6f7f9; --card: #ffffff; --ink: #1c2330; --faint: #5b6575; --line: #dde1e7; --link: #1558b0;
  --critical: #c0262d; --high: #b35900; --medium: #8a94a3; --low: #c3c9d2; --target: #fff3c4;
  @LIGHT@ }
@media (prefers-color-scheme: dark) { :root { --ground: #12161d; --card: #1c222c; --ink: #e6e9ee; --faint: #9aa5b4;
  --line: #2c3440; --link: #7db7ff; --critical: #ff7a7f; --high: #ffb057; --medium: #6b7686; --low: #434d5b;
  --target: #4a3f14;
  @DARK@ } }
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
@HEADS@
.card { background: var(--card); border: 1px solid var(--line); border-left: 4px solid var(--medium);
  border-radius: .5rem; padding: .45rem .55rem; margin-bottom: .5rem; scroll-margin-top: 3rem; }
.card h3 { font-size: .88rem; line-height: 1.3; } .card p { margin: .25rem 0 0; font-size: .8rem; line-height: 1.35; }
.card.critical { border-left-color: var(--critical); } .card.high { border-left-color: var(--high); }
.card.low { border-left-color: var(--low); }
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
""".replace("@LIGHT@", LIGHT)
    .replace("@DARK@", DARK)
    .replace("@HEADS@", HEADS)
)
