"""Heartbeats of agents."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from dispatch_state.lifecycle.session import UnitOfWork

if TYPE_CHECKING:
    from dispatch_state.models.agent import Agent


def record_heartbeat(unit: UnitOfWork, agent: Agent, every: timedelta = timedelta.resolution) -> None:
    """Move an agent's heartbeat forward to the present moment.

    Args:
        unit: the unit of work.
        agent: the agent as read under its lock.
        every: nothing is written while the last heartbeat is more recent than this.
    """
    if unit.now - agent.last_heartbeat >= every:
        unit.set(agent, last_heartbeat=unit.now)
