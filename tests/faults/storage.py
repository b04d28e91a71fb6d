"""Every public call that writes and every one that reads, for tests that break the storage under them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from dispatch_state import Agent, ConfigEntry, Epic, Issue, Store, SyncState, open_store
from dispatch_state.testing.scratch import Clock
from tests.world import MAINTAINER, WHY, World

Rows = SimpleNamespace
PAST = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)


class SlowClock(Clock):
    """A clock that advances one minute at each call, so that an agent without heartbeats soon counts as dead."""

    def __call__(self) -> datetime:
        self.forward(minutes=1)
        return super().__call__()


def ready(store: Store) -> Rows:
    """Make rows on which each of `WRITES` succeeds once, in any order."""
    world = World(store)
    rows = Rows(store=store, world=world, agent=world.agent(), epic=world.epics("draft"), free=world.new_issue())
    rows.stage = rows.epic.stages.get()
    rows.gate = rows.stage.add_gate("approval", "look")
    rows.placed, rows.changed, rows.cancelled = world.new_issue(), world.new_issue(), world.issues("cancelled")
    rows.reassigned, rows.other, rows.voter = world.issues("assigned"), world.agent(), world.agent()
    rows.proposal, rows.request = world.new_proposal(), world.pull_requests("open")
    rows.queued, rows.claimer = world.issues("queued"), world.agent()
    rows.dead = world.agents("working")
    rows.due = world.new_proposal(voting_deadline=PAST)
    ConfigEntry.write("forgotten", 1)
    return rows


def in_a_block(rows: Rows) -> None:
    with rows.store.atomic():
        rows.agent.log("info", "in a block")


WRITES: dict[str, Callable[[Rows], Any]] = {
    "create": lambda r: Agent.create(agent_type="coder"),
    "save a new row": lambda r: Epic(title="t", description="d", repo_path="/").save(),
    "save a change": lambda r: (setattr(r.changed, "title", f"{r.changed.title}!"), r.changed.save()),
    "trigger": lambda r: r.free.cancel(by=MAINTAINER, reason=WHY),
    "remove": lambda r: r.cancelled.remove(by=MAINTAINER, reason=WHY),
    "reassign": lambda r: r.reassigned.reassign(r.other, by=MAINTAINER, reason=WHY),
    "place": lambda r: r.placed.place(r.stage, by=MAINTAINER),
    "vote": lambda r: r.proposal.vote(r.voter, "approve", WHY),
    "heartbeat": lambda r: r.agent.heartbeat(),
    "log": lambda r: r.agent.log("info", "m"),
    "use_tokens": lambda r: r.agent.use_tokens(1),
    "comment": lambda r: r.gate.comment("Hm", by=MAINTAINER),
    "record_review": lambda r: r.request.record_review("approved", by=MAINTAINER),
    "record_checks": lambda r: r.request.record_checks(True, by=MAINTAINER),
    "add_stage": lambda r: r.epic.add_stage("Next"),
    "add_gate": lambda r: r.stage.add_gate("approval", "look again"),
    "add_issue": lambda r: r.epic.add_issue(title="t", prompt="p", issue_type="bug"),
    "claim": lambda r: r.store.claim(r.claimer),
    "rescue": lambda r: r.store.rescue(timeout=1),
    "tick": lambda r: r.store.tick(),
    "write a value": lambda r: ConfigEntry.write("key", 1),
    "forget a value": lambda r: ConfigEntry.forget("forgotten"),
    "record a sync": lambda r: SyncState.record("github"),
    "atomic": in_a_block,
}
"""Every kind of public call that writes."""

SMALL_WRITES = {name: WRITES[name] for name in ("heartbeat", "save a change", "use_tokens", "write a value")}
"""A few that want no more than a page."""

READS: dict[str, Callable[[Rows], Any]] = {
    "reload": lambda r: r.agent.reload(),
    "may": lambda r: r.free.may("queue", by=MAINTAINER),
    "why_not": lambda r: r.gate.why_not("approve", by=MAINTAINER),
    "tally": lambda r: r.proposal.tally(),
    "read a value": lambda r: ConfigEntry.read("key"),
    "history": lambda r: r.store.history(r.agent),
    "explain": lambda r: r.store.explain(r.agent),
    "changes": lambda r: r.store.changes(),
    "needs_human": lambda r: r.store.needs_human(),
    "counts": lambda r: r.store.counts(),
}
"""Every kind of public call that only reads rows."""


def ids(rows: Rows) -> set[Any]:
    """The ids of the issues that `rows.store` holds."""
    return {issue.id for issue in Issue.select(Issue.id)}


def new_issue() -> Issue:
    return Issue.create(title="t", prompt="p" * 3000, issue_type="bug", repo_path="/src")


def filled(file: Path) -> set[Any]:
    """Make a store with some rows in it; returns the ids of its issues."""
    with open_store(file, clock=SlowClock()) as store:
        rows = ready(store)
        for _ in range(30):
            new_issue()
        return ids(rows)


def refusals(rows: Rows, uses: dict[str, Callable[[Rows], Any]]) -> dict[str, type[Exception] | None]:
    """The error of each use, in order; None where it succeeds."""

    def outcome(use: Callable[[Rows], Any]) -> type[Exception] | None:
        try:
            use(rows)
        except Exception as error:
            return type(error)
        return None

    return {name: outcome(use) for name, use in uses.items()}
