"""Whose word a trigger takes, for every model.

A word, like a guard, answers None or why not. It is asked of the act only: moves that follow from a
legal act need nobody's leave.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dispatch_state.actors import CHECKPOINT, SANGHA, Human, System

if TYPE_CHECKING:
    from dispatch_state.lifecycle.interface import Firing
    from dispatch_state.models.base import Stateful


def owner(row: Stateful, firing: Firing) -> str | None:
    """An agent only when it is the row's own; any person, and the system."""
    if firing.agent is None or firing.agent.id == row.owner_id():
        return None
    return f"{firing.agent} is not the agent it belongs to; that agent, a person or the system may"


def human(row: Stateful, firing: Firing) -> str | None:
    """A person."""
    return None if isinstance(firing.by, Human) else f"it takes a person, not {firing.by.actor}"


def human_or_system(row: Stateful, firing: Firing) -> str | None:
    """A person, or the system; no agent."""
    return None if isinstance(firing.by, Human | System) else f"it takes a person or the system, not {firing.by.actor}"


def checkpoint(row: Stateful, firing: Firing) -> str | None:
    """The clock, as `System("checkpoint")`."""
    return None if firing.by == CHECKPOINT else f'it takes System("checkpoint"), not {firing.by.actor}'


def sangha(row: Stateful, firing: Firing) -> str | None:
    """The vote of the agents."""
    return None if firing.by is SANGHA else f"only the vote of the agents may, not {firing.by.actor}; a person forces"
