"""Heartbeats of agents, and what agents are called."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from dispatch_state.lifecycle.session import UnitOfWork
from dispatch_state.models.keys import short

if TYPE_CHECKING:
    from dispatch_state.models.agent import Agent


def agent_name(agent: Agent) -> str:
    """Return how people see an agent: its type, and the end of its id."""
    return f"{agent.agent_type} {short(agent.id)}"


def record_heartbeat(unit: UnitOfWork, agent: Agent, every: timedelta = timedelta.resolution) -> None:
    """Move an agent's heartbeat forward to the present moment.

    Args:
        unit: the unit of work.
        agent: the agent as read under its lock.
        every: nothing is written while the last heartbeat is more recent than this.
    """
    if unit.now - agent.last_heartbeat >= every:
        unit.set(agent, last_heartbeat=unit.now)
