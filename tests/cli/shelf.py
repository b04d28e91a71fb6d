"""Filled stores for the command line: one of each kind for the tests that only read, and copies for the others."""

from __future__ import annotations

import re
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from dispatch_state import Agent, Gate, open_store
from tests import postgres
from tests.world import MAINTAINER, WHY, World

EVIL = "Evil \x1b[31mred\x1b[0m \x07bell \u202edlrow \u2028 line\nfeed \x9b2J"
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\u2028]")
PROMPT = "Do as I say: the whole of it"
SOMEBODY = "00000000-0000-7000-8000-00000000dead"


def long_ago() -> datetime:
    return datetime(2020, 1, 31, 9, 30, tzinfo=UTC)


Ids = dict[str, str]


def fill(target: str) -> Ids:
    """A row of each kind; the ids of those that the tests ask for."""
    with open_store(target, durability="normal", clock=long_ago) as store:
        world = World(store)
        stage = world.waiting_stage({"required_approvers": ["maintainer"]})
        issue = world.new_issue(title=EVIL, prompt=PROMPT, labels=["a", EVIL])
        issue.queue(by=MAINTAINER, reason=EVIL)
        at_work = world.start(world.new_issue(title="At work"))
        gone = world.issues("cancelled")
        gone.remove(by=MAINTAINER, reason=WHY)
        world.proposals("voting")
        world.pull_requests("open")
        world.agents("errored")
        world.issues("blocked")
        Gate.get(Gate.stage == stage).comment("Looks fine", by=MAINTAINER)
        proposal = world.new_proposal(required_voters=["coder", "pm"])
        proposal.vote(Agent.create(agent_type="pm"), "abstain", "No view")
        world.proposals("vetoed")
        named = {"stage": stage, "gate": Gate.get(), "issue": issue, "agent": at_work, "gone": gone, "epic": stage.epic}
        named |= {"proposal": proposal, "idle": world.agent(), "at_work": at_work.current_issue}
        return {name: str(row.id) for name, row in named.items()}


class Shelf:
    """One filled store of each kind, for the tests that only read, and to copy from."""

    def __init__(self, folder: Path, schemas: ExitStack) -> None:
        self._folder = folder
        self._schemas = schemas
        self._filled: dict[str, tuple[str, Ids]] = {}

    def take(self, backend: str) -> tuple[str, Ids]:
        if backend not in self._filled:
            file = str(self._folder / "dispatch.db")
            target = file if backend == "sqlite" else self._schemas.enter_context(postgres.fresh_schema())
            self._filled[backend] = target, fill(target)
        return self._filled[backend]


reads = pytest.mark.usefixtures("from_the_shelf")


def moves(inside: Any) -> list[int]:
    return inside(lambda store: [move.seq for move in store.changes(limit=10_000)])  # type: ignore[no-any-return]
