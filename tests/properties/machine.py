"""What the state machines of the suite share: a store of their own, a clock, and how they are run."""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from dispatch_state import open_store
from tests import postgres
from tests.conftest import Clock
from tests.world import World

LONG = bool(os.environ.get("DISPATCH_LONG"))


class StoreMachine(RuleBasedStateMachine):
    """A state machine with an open store on the backend of its class."""

    backend = "sqlite"

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.clock = Clock()
        if self.backend == "sqlite":
            target = str(Path(self.stack.enter_context(tempfile.TemporaryDirectory())) / "walk.db")
        else:
            target = self.stack.enter_context(postgres.fresh_schema())
        self.store = self.stack.enter_context(open_store(target, durability="normal", clock=self.clock))
        self.world = World(self.store)

    def teardown(self) -> None:
        self.stack.close()


def on(machine: type[StoreMachine], backend: str) -> type[StoreMachine]:
    """The machine on one kind of database; where there is no PostgreSQL, its test is skipped."""
    if backend == "postgresql":
        postgres.server_or_skip()
    return type(f"{machine.__name__}On{backend}", (machine,), {"backend": backend})


def run(machine: type[StoreMachine], examples: int) -> None:
    """Run so many examples of up to 30 steps; in the long form 300 of up to 60."""
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=300 if LONG else examples,
            stateful_step_count=60 if LONG else 30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
