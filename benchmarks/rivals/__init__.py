"""What one would write without the library, each with an update and a log row in one transaction."""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any

from benchmarks.measure import Calls, Contender
from benchmarks.twins import Session

RIVALS = {
    "peewee + transitions": "peewee_transitions",
    "django-fsm-2 + log": "django_fsm_log",
    "sqlalchemy + transitions": "sqlalchemy_transitions",
    "sqlalchemy + python-statemachine": "sqlalchemy_statemachine",
}
"""Each is a module with `to_and_fro(path)`: fifty issues queued and taken off the queue, for ever."""


def present(session: Session) -> list[Contender]:
    """Those that are installed, each with a store of its own."""
    names = [name for name in RIVALS if module(name) is not None]
    return [Calls(name, module(name).to_and_fro(session.scratch("rival"))) for name in names]


def absent() -> list[str]:
    """The names of those that are not installed."""
    return [name for name in RIVALS if module(name) is None]


@cache
def module(name: str) -> Any:
    """A rival's module; None when what it takes is not installed."""
    try:
        return importlib.import_module(f"benchmarks.rivals.{RIVALS[name]}")
    except ModuleNotFoundError:
        return None
