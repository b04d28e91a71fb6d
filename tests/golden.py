"""What the schemas make of one row of each table, kept in golden_dumps.json: `python -m tests.golden` renews it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from dispatch_state import ConfigEntry, SyncState
from dispatch_state.models.tables import EVERY
from dispatch_state.schemas import schema_for
from dispatch_state.testing.factories import MAINTAINER, WHY, World
from dispatch_state.testing.scratch import Clock, scratch_store

PAGE = Path(__file__).parent / "golden_dumps.json"
UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def scene() -> None:
    """A row of each table at least, most columns filled."""
    world = World()
    gate = world.gates("approved", gate_type="decision", options=["a", "b"], required_approvers=["maintainer"])
    gate.comment("As we said", by=MAINTAINER)
    agent = world.agent()
    issue = world.new_issue(labels=["one", "two"], github_id=7, agent_type="coder")
    issue.assign(agent, worktree_path="/tree", branch_name="topic", by=agent)
    agent.log("info", "begun", {"step": 1}, issue)
    world.pull_requests("merged")
    proposal = world.new_proposal(agent, related_issue=issue, affected_components=["db"])
    proposal.vote(agent, "approve", WHY, confidence=0.5, preferred_option="peewee")
    ConfigEntry.write("limits", {"agents": 3})
    SyncState.record("github", last_issue_id=7, etag='W/"1"', error="timed out")


def fullest(model: Any) -> Any:
    """The first of its rows that have the most to say."""
    rows = model.select().order_by(model._meta.primary_key)
    return max(rows, key=lambda row: sum(value is not None for value in row.__data__.values()))


def dumps(backend: str) -> dict[str, Any]:
    """The fullest row of each table, ids by the order in which they appear."""
    with scratch_store(backend, clock=Clock()):
        scene()
        found = {model._meta.table_name: schema_for(model)().dump(fullest(model)) for model in EVERY}
    seen: dict[str, str] = {}
    text = UUID.sub(lambda match: seen.setdefault(match[0], f"id {len(seen) + 1}"), json.dumps(found))
    named: dict[str, Any] = json.loads(text)
    return named


if __name__ == "__main__":
    PAGE.write_text(json.dumps(dumps("sqlite"), indent=2, ensure_ascii=False) + "\n")
