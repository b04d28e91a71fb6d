"""How the kit brings a row to each status of its lifecycle."""

from __future__ import annotations

from collections.abc import Mapping

from dispatch_state.models.tables import STATEFUL
from dispatch_state.vocabulary import (
    AgentStatus,
    EpicStatus,
    GateStatus,
    IssueStatus,
    ProposalStatus,
    PullRequestStatus,
    StageStatus,
    total,
)

WAYS: Mapping[str, Mapping[str, str]] = {
    "epics": {
        EpicStatus.DRAFT: "",
        EpicStatus.READY: "mark_ready",
        EpicStatus.IN_PROGRESS: "mark_ready start",
        EpicStatus.AWAITING_GATE: "mark_ready start hand_in",
        EpicStatus.COMPLETED: "mark_ready start skip_stages",
        EpicStatus.CANCELLED: "mark_ready start cancel",
    },
    "stages": {
        StageStatus.PENDING: "",
        StageStatus.IN_PROGRESS: "start_epic",
        StageStatus.AWAITING_GATE: "start_epic hand_in",
        StageStatus.APPROVED: "start_epic finish",
        StageStatus.SKIPPED: "start_epic skip",
    },
    "gates": {
        GateStatus.PENDING: "",
        GateStatus.APPROVED: "approve",
        GateStatus.REJECTED: "reject",
        GateStatus.SKIPPED: "skip",
    },
    "issues": {
        IssueStatus.UNASSIGNED: "",
        IssueStatus.QUEUED: "queue",
        IssueStatus.ASSIGNED: "assign",
        IssueStatus.IN_PROGRESS: "assign start",
        IssueStatus.AWAITING_REVIEW: "assign start submit",
        IssueStatus.IN_REVIEW: "assign start submit review",
        IssueStatus.DONE: "assign start complete",
        IssueStatus.BLOCKED: "assign start block",
        IssueStatus.CANCELLED: "cancel",
    },
    "pull_requests": {
        PullRequestStatus.DRAFT: "",
        PullRequestStatus.OPEN: "",
        PullRequestStatus.MERGED: "merge",
        PullRequestStatus.CLOSED: "close",
    },
    "agents": {
        AgentStatus.IDLE: "",
        AgentStatus.STARTING: "dispatch",
        AgentStatus.WORKING: "dispatch run",
        AgentStatus.WAITING_FOR_INPUT: "dispatch run request_input",
        AgentStatus.WAITING_FOR_VOTE: "dispatch run await_vote",
        AgentStatus.PAUSED: "dispatch run pause",
        AgentStatus.ERRORED: "dispatch run fail",
        AgentStatus.COMPLETED: "stop",
    },
    "proposals": {
        ProposalStatus.OPEN: "",
        ProposalStatus.VOTING: "open_voting",
        ProposalStatus.APPROVED: "force_approve",
        ProposalStatus.REJECTED: "force_reject",
        ProposalStatus.EXECUTING: "force_approve begin_execution",
        ProposalStatus.EXECUTED: "force_approve begin_execution finish_execution",
        ProposalStatus.ROLLED_BACK: "force_approve begin_execution roll_back",
        ProposalStatus.VETOED: "force_approve veto",
    },
}
"""What leads a new row of each table to a status: triggers of the row, and methods of `World` that move others.

A status without an entry is reached from the nearest one that has an entry; see `steps_to`.
"""
total(WAYS, [model._meta.table_name for model in STATEFUL], "testing.ways.WAYS")
