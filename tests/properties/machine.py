"""How the state machines of the suite are run: on either database, in a short and in a long form."""

from __future__ import annotations

from random import Random

from dispatch_state import testing
from dispatch_state.testing.scratch import assert_sound
from dispatch_state.testing.walks import StoreMachine
from dispatch_state.testing.walks import run as run_walks
from tests import postgres
from tests.invariants import broken
from tests.long_forms import LONG


def on(machine: type[StoreMachine], backend: str) -> type[StoreMachine]:
    """The machine on one kind of database; where there is no PostgreSQL, its test is skipped."""
    return type(f"{machine.__name__}On{backend}", (machine,), {"backend": postgres.place(backend)})


def run(machine: type[StoreMachine], examples: int) -> None:
    """Run so many examples of up to 30 steps; in the long form 300 of up to 60."""
    run_walks(machine, examples=300 if LONG else examples, steps=60 if LONG else 30)


class Walk(testing.Walk):
    """The kit's walk, with a second opinion, and a way to go on without Hypothesis."""

    def teardown(self) -> None:
        """Ask once more at the end what `verify` was asked after each step, by other means."""
        try:
            assert broken(self.store) == []
        finally:
            super().teardown()

    def wander(self, random: Random, moves: int) -> None:
        """Take that many steps, whichever the random numbers say."""
        self.begin()
        for number in range(moves):
            self.player.step(random)
            if number % 20 == 19:
                assert_sound(self.store)
        assert_sound(self.store)
