"""What a trigger or a method may lock."""

from __future__ import annotations

from enum import Enum


class Lock(Enum):
    """Rows that a trigger or a method locks before it reads (PostgreSQL; SQLite has one writer at a time).

    The lock of an epic covers its stages and gates, so for a stage or a gate `ROW` means its epic. Rows among the
    arguments and the acting agent are locked too.
    """

    ROW = "the row itself", ()
    EPIC = "its epic, with stages and gates", ("epics", "stages", "gates")
    NEXT_ISSUES = (
        "the unassigned issues of the epic's pending stages, which are queued when a stage starts",
        ("issues",),
    )
    LIVE_ISSUES = "the live issues in it, with their agents", ("issues", "agents")
    AGENTS = "the agents that it is assigned to or that hold it", ("agents",)
    WORK = "the issues that the agent holds or works on, with their agents", ("issues", "agents")
    ASSIGNED = "every issue that is assigned to the agent", ("issues",)
    ISSUE = "its issue, with the issue's agents", ("issues", "agents")
    PROPOSALS = "the agent's proposals that are open or voting", ("proposals",)
    PROPOSER = "the agent that made the proposal", ("agents",)

    @property
    def tables(self) -> tuple[str, ...]:
        """The names of the tables whose rows it locks, besides the row's own table."""
        tables: tuple[str, ...] = self.value[1]
        return tables


Locks = tuple[Lock, ...]
