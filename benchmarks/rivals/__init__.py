"""What one would write without the library, each with an update and a log row in one transaction."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
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
    return [Calls(name, module.to_and_fro(session.scratch("rival"))) for name, module in _modules() if module]


def absent() -> list[str]:
    """The names of those that are not installed."""
    return [name for name, module in _modules() if module is None]


def _modules() -> Iterator[tuple[str, Any]]:
    for name, module in RIVALS.items():
        try:
            yield name, importlib.import_module(f"benchmarks.rivals.{module}")
        except ModuleNotFoundError:
            yield name, None
