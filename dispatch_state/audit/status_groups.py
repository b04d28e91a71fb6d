"""The groups of statuses that the invariants name, written by hand.

Each status belongs to exactly one group of its lifecycle. A status that is forgotten here, or that does not exist,
stops the import with an error that names it.
"""

from __future__ import annotations

from collections import Counter

from dispatch_state.schema.dialects import sql_literals
from dispatch_state.values import listed
from dispatch_state.vocabulary import (
    AgentStatus,
    EpicStatus,
    GateStatus,
    IssueStatus,
    ProposalStatus,
    PullRequestStatus,
    StageStatus,
    Status,
)


class StatusGroups:
    """The statuses of one lifecycle, divided into groups.

    Args:
        statuses: the enum.
        groups: the statuses of each group, by the group's name.

    Raises:
        ValueError: a status is in no group or in several, or a group names an unknown status.
    """

    def __init__(self, statuses: type[Status], **groups: tuple[str, ...]) -> None:
        named = Counter(status for group in groups.values() for status in group)
        wrong = {word for word in {*statuses, *named} if named[word] != 1 or word not in list(statuses)}
        if wrong:
            raise ValueError(f"{statuses.__name__}: {listed(sorted(wrong))} must be in exactly one group")
        self._groups = groups

    def sql(self, *names: str) -> str:
        """Return the statuses of the named groups as a list in SQL, with its brackets."""
        return f"({sql_literals(status for name in names for status in self._groups[name])})"


EPICS = StatusGroups(
    EpicStatus,
    planned=("draft", "ready"),
    running=("in_progress", "awaiting_gate"),
    completed=("completed",),
    cancelled=("cancelled",),
)
STAGES = StatusGroups(
    StageStatus,
    pending=("pending",),
    running=("in_progress", "awaiting_gate"),
    approved=("approved",),
    skipped=("skipped",),
)
GATES = StatusGroups(GateStatus, open=("pending", "rejected"), approved=("approved",), skipped=("skipped",))
ISSUES = StatusGroups(
    IssueStatus,
    unclaimed=("unassigned", "queued"),
    under_way=("assigned", "in_progress"),
    held_up=("awaiting_review", "in_review", "blocked"),
    done=("done",),
    cancelled=("cancelled",),
)
AGENTS = StatusGroups(
    AgentStatus,
    free=("idle", "errored"),
    busy=("starting", "working", "waiting_for_input", "waiting_for_vote", "paused"),
    completed=("completed",),
)
PROPOSALS = StatusGroups(
    ProposalStatus,
    undecided=("open", "voting"),
    decided=("approved", "rejected", "executing", "executed", "rolled_back"),
    vetoed=("vetoed",),
)
PULL_REQUESTS = StatusGroups(PullRequestStatus, unmerged=("draft", "open", "closed"), merged=("merged",))
