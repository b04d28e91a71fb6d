"""The store that the pictures show: two epics under way, made by triggers alone, and the same on every run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from dispatch_state import Agent, Epic, Human, Issue, Store, open_store

ADA = Human("ada")
PASSKEYS = (
    ("Add tables for credentials", "feature", "critical"),
    ("Sign in through GitHub", "feature", "critical"),
    ("Recover a lost account", "security", "critical"),
    ("Register a passkey", "feature", "high"),
    ("Move sessions into one middleware", "refactor", "high"),
    ("Log in with a passkey", "feature", "high"),
    ("Write the help page on passkeys", "docs", "low"),
)
"""The issues of the epic that is being built: title, type, priority."""


class _Clock:
    """A clock that a scene sets."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 31, 9, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def forward(self, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)


@contextmanager
def a_morning() -> Iterator[Store]:
    """A store as it is at half past nine: one epic waits for a decision, another is being built."""
    clock = _Clock()
    with open_store(":memory:", clock=clock) as store:
        _payments(store, clock)
        _passkeys(store, clock)
        clock.forward(minutes=5)
        yield store


def _payments(store: Store, clock: _Clock) -> None:
    """The issue of its first stage is done, so its gate waits for Ada."""
    epic = Epic.create(title="Pay by card", description="Cards, not invoices", repo_path="/src/shop")
    choose, _ = epic.add_stage("Choose"), epic.add_stage("Build")
    choose.add_gate("decision", "Which payment provider?", options=["stripe", "adyen"], required_approvers=["ada"])
    choose.add_issue(title="Compare payment providers", prompt="…", issue_type="docs")
    epic.mark_ready(by=ADA)
    epic.start(by=ADA)
    issue, agent = _taken(store, "docs")
    clock.forward(minutes=9)
    issue.complete(by=agent)


def _passkeys(store: Store, clock: _Clock) -> None:
    """Its issues are queued, in progress, in review, blocked and done."""
    epic = Epic.create(title="Log in with passkeys", description="No passwords", repo_path="/src/shop")
    build, _ = epic.add_stage("Build"), epic.add_stage("Harden")
    for title, kind, priority in PASSKEYS:
        columns: dict[str, Any] = {"issue_type": kind, "priority": priority}
        build.add_issue(title=title, prompt="…", **columns)
        clock.forward(minutes=1)
    epic.mark_ready(by=ADA)
    epic.start(by=ADA)
    done, reviewed, stuck, *_ = [_taken(store, "coder") for _ in range(5)]
    clock.forward(minutes=4)
    done[0].complete(by=done[1])
    clock.forward(minutes=2)
    stuck[0].block(by=stuck[1], reason="Who may see the recovery codes?")
    reviewed[0].submit(by=reviewed[1])
    reviewed[0].review(by=Agent.create(agent_type="reviewer"))
    clock.forward(minutes=3)


def _taken(store: Store, kind: str) -> tuple[Issue, Agent]:
    """The most urgent queued issue, in progress with a new agent."""
    agent = Agent.create(agent_type=kind)
    issue = store.claim(agent, start=True)
    assert issue is not None
    return issue, agent
