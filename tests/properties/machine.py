"""How the state machines of the suite are run: on either database, in a short and in a long form."""

from __future__ import annotations

import os

from dispatch_state.testing import StoreMachine
from dispatch_state.testing import run as run_walks
from tests import postgres

LONG = bool(os.environ.get("DISPATCH_LONG"))


def on(machine: type[StoreMachine], backend: str) -> type[StoreMachine]:
    """The machine on one kind of database; where there is no PostgreSQL, its test is skipped."""
    place = postgres.server_or_skip() if backend == "postgresql" else backend
    return type(f"{machine.__name__}On{backend}", (machine,), {"backend": place})


def run(machine: type[StoreMachine], examples: int) -> None:
    """Run so many examples of up to 30 steps; in the long form 300 of up to 60."""
    run_walks(machine, examples=300 if LONG else examples, steps=60 if LONG else 30)
