"""The lifecycles as grids, written by hand, and never from the code they judge.

A row is a trigger, a column the status it is fired from, a cell where that leads; `.` means that there is
no such move. Conveniences that are no transitions (reassign, place, remove, vote, heartbeat, log, comment,
record_review, record_checks) stand in no grid. Columns are named as in the schema (`assigned_agent_id`).
"""

from __future__ import annotations

EPICS = """
trigger     draft      ready        in_progress    awaiting_gate  completed  cancelled
mark_ready  ready      .            .              .              .          .
start       .          in_progress  .              .              .          .
reach_gate  .          .            awaiting_gate  .              .          .
clear_gate  .          .            .              in_progress    .          .
complete    .          .            completed      .              .          .
cancel      cancelled  cancelled    cancelled      cancelled      .          .
"""

STAGES = """
trigger  pending      in_progress    awaiting_gate  approved  skipped
start    in_progress  .              .              .         .
submit   .            awaiting_gate  .              .         .
finish   .            approved       .              .         .
approve  .            .              approved       .         .
rework   .            .              in_progress    .         .
skip     skipped      skipped        skipped        .         .
"""

GATES = """
trigger       pending   approved  rejected  skipped
approve       approved  .         .         .
reject        rejected  .         .         .
resubmit      .         .         pending   .
skip          skipped   .         skipped   .
auto_approve  approved  .         .         .
"""

ISSUES = """
trigger         unassigned queued     assigned    in_progress     awaiting_review in_review       done blocked     cancelled
queue           queued     .          .           .               .               .               .    .           .
dequeue         .          unassigned .           .               .               .               .    .           .
assign          assigned   assigned   .           .               .               .               .    .           .
start           .          .          in_progress .               .               .               .    .           .
unassign        .          .          unassigned  .               .               .               .    .           .
submit          .          .          .           awaiting_review .               .               .    .           .
review          .          .          .           .               in_review       .               .    .           .
return_review   .          .          .           .               .               awaiting_review .    .           .
request_changes .          .          .           .               in_progress     in_progress     .    .           .
complete        .          .          .           done            .               done            .    .           .
block           .          .          .           blocked         .               .               .    .           .
unblock         .          .          .           .               .               .               .    in_progress .
release         .          .          queued      queued          queued          queued          .    queued      .
cancel          cancelled  cancelled  cancelled   cancelled       cancelled       cancelled       .    cancelled   .
"""  # noqa: E501

PULL_REQUESTS = """
trigger           draft   open    merged  closed
mark_ready        open    .       .       .
convert_to_draft  .       draft   .       .
merge             merged  merged  .       .
close             closed  closed  .       .
reopen            .       .       .       open
"""

AGENTS = """
trigger       idle      starting  working           waiting_for_input waiting_for_vote paused    errored   completed
dispatch      starting  .         .                 .                 .                .         .         .
run           .         working   .                 .                 .                .         .         .
request_input .         .         waiting_for_input .                 .                .         .         .
receive_input .         .         .                 working           .                .         .         .
await_vote    .         .         waiting_for_vote  .                 .                .         .         .
vote_resolved .         .         .                 .                 working          .         .         .
pause         .         .         paused            paused            paused           .         .         .
resume        .         .         .                 .                 .                working   .         .
finish        .         idle      idle              idle              idle             idle      .         .
stop          completed completed completed         completed         completed        completed completed .
fail          .         errored   errored           errored           errored          errored   .         .
recover       .         .         .                 .                 .                .         idle      .
"""

PROPOSALS = """
trigger          open      voting    approved   rejected  executing    executed     rolled_back  vetoed
open_voting      voting    .         .          .         .            .            .            .
approve          .         approved  .          .         .            .            .            .
reject           .         rejected  .          .         .            .            .            .
force_approve    approved  approved  .          .         .            .            .            .
force_reject     rejected  rejected  .          .         .            .            .            .
veto             .         .         vetoed     .         vetoed       .            .            .
begin_execution  .         .         executing  .         .            .            .            .
finish_execution .         .         .          .         executed     .            .            .
fail_execution   .         .         .          .         approved     .            .            .
roll_back        .         .         .          .         rolled_back  rolled_back  .            .
"""


def parse(table: str) -> dict[tuple[str, str], str | None]:
    """A table as `(status, trigger) -> dest`, or None where there is no such move."""
    header, *rows = (line.split() for line in table.strip().splitlines())
    _, *statuses = header
    grid: dict[tuple[str, str], str | None] = {}
    for trigger, *cells in rows:
        for status, cell in zip(statuses, cells, strict=True):
            assert (status, trigger) not in grid, f"{trigger} from {status} stands twice"
            assert cell == "." or cell in statuses, f"{trigger} from {status} leads to an unknown {cell}"
            grid[status, trigger] = None if cell == "." else cell
    return grid


GRIDS: dict[str, dict[tuple[str, str], str | None]] = {
    "epics": parse(EPICS),
    "stages": parse(STAGES),
    "gates": parse(GATES),
    "issues": parse(ISSUES),
    "pull_requests": parse(PULL_REQUESTS),
    "agents": parse(AGENTS),
    "proposals": parse(PROPOSALS),
}

INITIAL: dict[str, set[str]] = {
    "epics": {"draft"},
    "stages": {"pending"},
    "gates": {"pending"},
    "issues": {"unassigned"},
    "pull_requests": {"open", "draft"},
    "agents": {"idle"},
    "proposals": {"open"},
}
"""Where a row may be created (rule 7)."""

FINAL: dict[str, set[str]] = {
    "epics": {"completed", "cancelled"},
    "stages": {"approved", "skipped"},
    "gates": {"approved", "skipped"},
    "issues": {"done", "cancelled"},
    "pull_requests": {"merged"},
    "agents": {"completed"},
    "proposals": {"rejected", "vetoed", "rolled_back"},
}
"""What has no way out (rule 8)."""

REASON_REQUIRED: dict[str, set[str]] = {
    "epics": {"cancel"},
    "stages": {"skip"},
    "gates": {"reject", "skip"},
    "issues": {"request_changes", "block", "release", "cancel"},
    "pull_requests": set(),
    "agents": {"pause", "stop"},
    "proposals": {"force_approve", "force_reject", "veto", "roll_back"},
}
"""Triggers whose `reason` may not be blank. `fail` and `fail_execution` take an `error` instead."""

REASON_REQUIRED_ELSEWHERE: set[str] = {"reassign", "remove"}
"""Conveniences, no transitions, whose `reason` may not be blank either."""

DECIDES: dict[tuple[str, str], tuple[str, str]] = {
    ("epics", "cancel"): ("human_override", "always"),
    ("stages", "skip"): ("human_override", "always"),
    ("gates", "approve"): ("gate_approved", "always"),
    ("gates", "auto_approve"): ("gate_approved", "always"),
    ("gates", "reject"): ("gate_rejected", "always"),
    ("gates", "skip"): ("human_override", "always"),
    ("issues", "release"): ("human_override", "human"),
    ("issues", "cancel"): ("human_override", "human"),
    ("agents", "pause"): ("human_override", "human"),
    ("agents", "stop"): ("human_override", "human"),
    ("proposals", "approve"): ("proposal_approved", "always"),
    ("proposals", "reject"): ("proposal_rejected", "always"),
    ("proposals", "force_approve"): ("human_override", "always"),
    ("proposals", "force_reject"): ("human_override", "always"),
    ("proposals", "veto"): ("human_veto", "always"),
    ("proposals", "roll_back"): ("human_override", "human"),
}
"""Which acts write a decision, and whether always or only when a person acts; what follows never does."""

SIGNS_OF_LIFE: set[str] = {"dispatch", "run", "receive_input", "vote_resolved", "resume", "finish", "recover"}
"""The moves of an agent that set its `last_heartbeat` to the present moment, even if a later one stands there."""

REASSIGN_DECIDES: tuple[str, str] = ("human_override", "always")
"""`reassign` is a person's; its one decision stands for its `release` and its `assign`, action `reassign`."""

OWNED: dict[str, set[str]] = {
    "epics": {"status", "version", "current_stage_id", "blocked_at_gate_id", "completed_at"},
    "stages": {"status", "version", "started_at", "completed_at"},
    "gates": {"status", "version", "approved_by", "approved_at", "rejection_reason", "chosen_option"},
    "issues": {
        "status",
        "version",
        "assigned_agent_id",
        "assigned_at",
        "completed_at",
        "worktree_path",
        "branch_name",
    },
    "pull_requests": {"status", "version", "merged_at"},
    "agents": {
        "status",
        "version",
        "current_issue_id",
        "worktree_path",
        "process_id",
        "claude_session_id",
        "last_heartbeat",
        "completed_at",
        "metrics",
    },
    "proposals": {
        "status",
        "version",
        "chosen_option",
        "resolved_at",
        "executed_at",
        "execution_result",
        "forced_by",
        "force_reason",
        "vetoed_by",
        "veto_reason",
    },
}
"""Columns that `save` never changes, because a transition sets them by the contract.

`last_heartbeat` and `metrics` also move by `heartbeat`, `use_tokens` and a neighbour's move. A proposal's
`voting_deadline` is not among them: it may be preset, and changed by `save` while the proposal is open.
"""

STATUSES = list(dict.fromkeys((table, status) for table, grid in GRIDS.items() for status, _ in grid))
"""Every table with each of its statuses."""
