"""What may follow from what, directly, written by hand and never from the code it judges.

`FOLLOWS[table, trigger]` lists every `(table, trigger)` that may follow directly from a move, in the order in
which they settle, whatever must be true for it. `create` is a creation. What follows from a follower stands in the
follower's own entry. A move that is missing here is followed by nothing: every move has an entry.
"""

from __future__ import annotations

Step = tuple[str, str]

STAGE_CHECK: list[Step] = [("stages", "submit"), ("stages", "finish")]
NEXT: list[Step] = [("stages", "start"), ("epics", "complete")]

FINISH: list[Step] = [("agents", "finish")]
SEND_BACK: list[Step] = [("agents", "dispatch"), ("agents", "run")]
CLOSE_ISSUE: list[Step] = [*FINISH, *STAGE_CHECK, *NEXT]
PASS_STAGE: list[Step] = [("stages", "approve")]
WAKE_PROPOSER: list[Step] = [("agents", "vote_resolved")]
HAND_IN: list[Step] = [("issues", "submit")]

FOLLOWS: dict[Step, list[Step]] = {
    # 2. Issue
    ("issues", "create"): [("issues", "queue")],
    ("issues", "queue"): [],
    ("issues", "dequeue"): [],
    ("issues", "assign"): [("agents", "dispatch")],
    ("issues", "start"): [("agents", "run")],
    ("issues", "unassign"): FINISH,
    ("issues", "submit"): FINISH,
    ("issues", "review"): SEND_BACK,
    ("issues", "return_review"): [],
    ("issues", "request_changes"): [*FINISH, *SEND_BACK],
    ("issues", "complete"): CLOSE_ISSUE,
    ("issues", "block"): FINISH,
    ("issues", "unblock"): SEND_BACK,
    ("issues", "release"): FINISH,
    ("issues", "cancel"): CLOSE_ISSUE,
    # 3. Agent
    ("agents", "create"): [],
    ("agents", "dispatch"): [],
    ("agents", "run"): [("issues", "start")],
    ("agents", "request_input"): [],
    ("agents", "receive_input"): [],
    ("agents", "await_vote"): [("proposals", "open_voting")],
    ("agents", "vote_resolved"): [],
    ("agents", "pause"): [],
    ("agents", "resume"): [],
    ("agents", "finish"): [("issues", "return_review")],
    ("agents", "stop"): [("issues", "release"), ("issues", "return_review")],
    ("agents", "fail"): [
        ("issues", "release"),
        ("issues", "block"),
        ("issues", "unassign"),
        ("issues", "return_review"),
    ],
    ("agents", "recover"): [],
    # 4. Epic
    ("epics", "create"): [],
    ("epics", "mark_ready"): [],
    ("epics", "start"): NEXT,
    ("epics", "reach_gate"): [],
    ("epics", "clear_gate"): NEXT,
    ("epics", "complete"): [],
    ("epics", "cancel"): [("issues", "cancel"), ("stages", "skip"), ("gates", "skip")],
    # 5. Stage
    ("stages", "create"): NEXT,
    ("stages", "start"): [("issues", "queue")],
    ("stages", "submit"): [("gates", "resubmit"), ("epics", "reach_gate")],
    ("stages", "finish"): NEXT,
    ("stages", "approve"): [("epics", "clear_gate")],
    ("stages", "rework"): [("epics", "clear_gate")],
    ("stages", "skip"): [("issues", "cancel"), ("gates", "skip"), ("epics", "clear_gate"), *NEXT],
    # 6. Gate
    ("gates", "create"): [],
    ("gates", "approve"): PASS_STAGE,
    ("gates", "reject"): [("stages", "rework")],
    ("gates", "resubmit"): [],
    ("gates", "skip"): [*PASS_STAGE, *STAGE_CHECK],
    ("gates", "auto_approve"): PASS_STAGE,
    # 7. Proposal
    ("proposals", "create"): [],
    ("proposals", "open_voting"): [],
    ("proposals", "approve"): WAKE_PROPOSER,
    ("proposals", "reject"): WAKE_PROPOSER,
    ("proposals", "force_approve"): WAKE_PROPOSER,
    ("proposals", "force_reject"): WAKE_PROPOSER,
    ("proposals", "veto"): [],
    ("proposals", "begin_execution"): [],
    ("proposals", "finish_execution"): [],
    ("proposals", "fail_execution"): [],
    ("proposals", "roll_back"): [],
    # 8. Pull request
    ("pull_requests", "create"): HAND_IN,
    ("pull_requests", "mark_ready"): HAND_IN,
    ("pull_requests", "convert_to_draft"): [],
    ("pull_requests", "merge"): [("issues", "review"), ("issues", "complete")],
    ("pull_requests", "close"): [("issues", "request_changes")],
    ("pull_requests", "reopen"): HAND_IN,
}
