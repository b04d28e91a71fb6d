"""Who may fire a trigger, for every model.

Each of these returns None, or why the actor may not fire the trigger, as guards do. They are asked for acts only. An
act is the firing that the caller asked for; the moves that follow from it need no permission.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dispatch_state.actors import CHECKPOINT, SANGHA, Human, System

if TYPE_CHECKING:
    from dispatch_state.lifecycle.interface import Firing
    from dispatch_state.models.base import Stateful


def owner(row: Stateful, firing: Firing) -> str | None:
    """The agent that owns the row, any person, or the system."""
    if firing.agent is None or firing.agent.id == row.owner_id():
        return None
    return f"{firing.agent} is not the agent it belongs to; only that agent, a person or the system may fire this"


def human(row: Stateful, firing: Firing) -> str | None:
    """A person only."""
    return None if isinstance(firing.by, Human) else f"it takes a person, not {firing.by.actor}"


def human_or_system(row: Stateful, firing: Firing) -> str | None:
    """A person or the system, but no agent."""
    return None if isinstance(firing.by, Human | System) else f"it takes a person or the system, not {firing.by.actor}"


def checkpoint(row: Stateful, firing: Firing) -> str | None:
    """The component `System("checkpoint")`, for which `store.tick()` acts."""
    return None if firing.by == CHECKPOINT else f'it takes System("checkpoint"), not {firing.by.actor}'


def sangha(row: Stateful, firing: Firing) -> str | None:
    """`SANGHA`, the agents as a body, when a vote has decided."""
    return (
        None
        if firing.by is SANGHA
        else f"only the vote of the agents may, not {firing.by.actor}; a person can force it"
    )
