"""Every way to use a store."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from dispatch_state import Agent, ConfigEntry, Issue, Store, SyncState
from tests.world import MAINTAINER, WHY


class Opened(NamedTuple):
    """A store, and rows of it."""

    store: Store
    agent: Agent
    issue: Issue


USES: dict[str, Callable[[Opened], object]] = {
    "create": lambda here: Agent.create(agent_type="coder"),
    "save a new row": lambda here: Agent(agent_type="coder").save(),
    "save a change": lambda here: here.issue.save(),
    "trigger": lambda here: here.agent.stop(by=MAINTAINER, reason=WHY),
    "reload": lambda here: here.agent.reload(),
    "remove": lambda here: here.agent.remove(by=MAINTAINER, reason=WHY),
    "may": lambda here: here.agent.may("stop", by=MAINTAINER),
    "why_not": lambda here: here.agent.why_not("stop", by=MAINTAINER),
    "heartbeat": lambda here: here.agent.heartbeat(),
    "log": lambda here: here.agent.log("info", "still here"),
    "reassign": lambda here: here.issue.reassign(here.agent, by=MAINTAINER, reason=WHY),
    "read a value": lambda here: ConfigEntry.read("key"),
    "write a value": lambda here: ConfigEntry.write("key", 1),
    "forget a value": lambda here: ConfigEntry.forget("key"),
    "record a sync": lambda here: SyncState.record("github"),
    "query": lambda here: list(Agent.select()),
    "get": lambda here: Agent.get_by_id(here.agent.id),
    "backref": lambda here: list(here.agent.logs),
    "count": lambda here: Issue.select().count(),
    "update": lambda here: Issue.update(title="another").execute(),
    "by_status": lambda here: list(Issue.by_status("queued")),
    "SQL": lambda here: here.store.database.execute_sql("SELECT 1"),
    "Peewee's atomic": lambda here: here.store.database.atomic().__enter__(),
    "atomic": lambda here: here.store.atomic().__enter__(),
    "now": lambda here: here.store.now(),
    "claim": lambda here: here.store.claim(here.agent),
    "rescue": lambda here: here.store.rescue(),
    "tick": lambda here: here.store.tick(),
    "history": lambda here: here.store.history(here.agent),
    "explain": lambda here: here.store.explain(here.agent),
    "changes": lambda here: here.store.changes(),
    "needs_human": lambda here: here.store.needs_human(),
    "counts": lambda here: here.store.counts(),
}
"""Every way to ask something of a store, or to change it."""
