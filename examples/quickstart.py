"""One epic from draft to completed, and the record of its moves.

    python examples/quickstart.py [DATABASE]

DATABASE is a path or a postgresql:// URL; without it, a temporary file is used.
"""

import sys
import tempfile

from dispatch_state import Agent, Epic, Human, open_store

maintainer = Human("maintainer")

with tempfile.TemporaryDirectory() as folder, open_store((sys.argv[1:] or [f"{folder}/dispatch.db"])[0]) as store:
    epic = Epic.create(title="User authentication", description="Log in with a passkey.", repo_path="/src/app")
    design = epic.add_stage("Design")
    gate = design.add_gate("approval", "A human reads the design", required_approvers=["maintainer"])
    issue = design.add_issue(
        title="Choose the token format", prompt="Compare JWT with opaque tokens.", issue_type="docs", priority="high"
    )
    epic.mark_ready(by=maintainer)
    epic.start(by=maintainer)  # the stage starts, and its issue is queued

    coder = Agent.create(agent_type="coder")
    issue.reload().assign(coder, by=coder)
    issue.start(by=coder)
    issue.complete(by=coder)  # the stage is submitted, and the epic waits at the gate
    gate.reload().approve(by=maintainer, reason="Good")  # the stage is approved, and with it the epic is complete
    coder.stop(by=coder, reason="nothing left to do")

    created = store.history(epic)[0]
    for move in [created, *store.changes(after=created.seq)]:
        print(f"{move.entity:<7} {move.trigger:<10} {move.source or '-':>13} -> {move.dest:<13} {move.actor}")
    print(store.explain(epic))
