"""What a trigger or a method may lock."""

from __future__ import annotations

from enum import Enum


class Lock(Enum):
    """Rows that a trigger or a method locks before it reads (PostgreSQL; SQLite has one writer at a time).

    The lock of an epic covers its stages and gates, so for a stage or a gate `ROW` means its epic. Rows among the
    arguments and the acting agent are locked too.

    Each has its meaning, the tables whose rows it locks besides the row's own, and the tables that may declare it (all
    when empty).
    """

    ROW = "the row itself", (), ()
    EPIC = (
        "its epic, with stages and gates",
        ("epics", "stages", "gates"),
        ("stages", "gates", "issues", "pull_requests"),
    )
    NEXT_ISSUES = (
        "the unassigned issues of the epic's pending stages, which are queued when a stage starts",
        ("issues",),
        ("epics", "stages", "gates", "issues", "pull_requests"),
    )
    LIVE_ISSUES = "the live issues in it, with their agents", ("issues", "agents"), ("epics", "stages")
    AGENTS = "the agents that it is assigned to or that hold it", ("agents",), ("issues",)
    WORK = "the issues that the agent holds or works on, with their agents", ("issues", "agents"), ("agents",)
    ASSIGNED = "every issue that is assigned to the agent", ("issues",), ("agents",)
    ISSUE = "its issue, with the issue's agents", ("issues", "agents"), ("pull_requests",)
    PROPOSALS = "the agent's proposals that are open or voting", ("proposals",), ("agents",)
    PROPOSER = "the agent that made the proposal", ("agents",), ("proposals",)

    def __init__(self, meaning: str, tables: tuple[str, ...], declared_by: tuple[str, ...]) -> None:
        self.meaning = meaning
        self.tables = tables
        self.declared_by = declared_by


Locks = tuple[Lock, ...]
