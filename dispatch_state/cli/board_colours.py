"""The colours of the board: of each status in a terminal and on a page, and of each priority on a page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from dispatch_state.vocabulary import IssueStatus, Priority, total


class Colour(NamedTuple):
    """A colour.

    light: on a light page.
    dark: on a dark page.
    terminal: the style of a heading in a terminal.
    """

    light: str
    dark: str
    terminal: str = ""


STATUS_COLOURS: Mapping[IssueStatus, Colour] = total(
    {
        IssueStatus.UNASSIGNED: Colour("#98a2b3", "#98a2b3", "bold"),
        IssueStatus.QUEUED: Colour("#6172f3", "#8098f9", "bold"),
        IssueStatus.ASSIGNED: Colour("#0e9384", "#2ed3b7", "bold"),
        IssueStatus.IN_PROGRESS: Colour("#0086c9", "#36bffa", "cyan"),
        IssueStatus.AWAITING_REVIEW: Colour("#b54708", "#fdb022", "yellow"),
        IssueStatus.IN_REVIEW: Colour("#b54708", "#fdb022", "yellow"),
        IssueStatus.DONE: Colour("#099250", "#3ccb7f", "green"),
        IssueStatus.BLOCKED: Colour("#c0262d", "#ff7a7f", "red"),
        IssueStatus.CANCELLED: Colour("#98a2b3", "#98a2b3", "dim"),
    },
    IssueStatus,
    "cli.board_colours.STATUS_COLOURS",
)
"""The colour of each column."""
PRIORITY_COLOURS: Mapping[Priority, Colour] = total(
    {
        Priority.CRITICAL: Colour("#c0262d", "#ff7a7f"),
        Priority.HIGH: Colour("#b35900", "#ffb057"),
        Priority.MEDIUM: Colour("#8a94a3", "#6b7686"),
        Priority.LOW: Colour("#c3c9d2", "#434d5b"),
    },
    Priority,
    "cli.board_colours.PRIORITY_COLOURS",
)
"""The colour of a card's edge, by the priority of its issue."""
