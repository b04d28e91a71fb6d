"""Why a trigger would be refused, without firing it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from dispatch_state.actors import Actor
from dispatch_state.engine.checks import actor_refusal
from dispatch_state.errors import GuardRefused
from dispatch_state.lifecycle.interface import Firing
from dispatch_state.lifecycle.triggers import Trigger
from dispatch_state.models.agent import Agent
from dispatch_state.models.base import Stateful
from dispatch_state.models.keys import present
from dispatch_state.models.row import Row
from dispatch_state.storage.statements import find


def why_refused(row: Stateful, trigger: Trigger, by: Actor, arguments: dict[str, Any], now: datetime) -> list[str]:
    """Ask the machine about a row as it is in the database.

    Args:
        row: the row; it is read again.
        trigger: one of its triggers.
        by: who would act.
        arguments: the trigger's arguments, checked.
        now: the moment at which it would be fired.

    Returns:
        Every reason against it; empty when there is none.

    Raises:
        RowNotFound: the row, or one among the arguments, was removed.
    """
    fresh = present(type(row), row.id)
    if fresh.status not in trigger.edges:
        return [row.machine.illegal(fresh, trigger.name)]
    agent = find(Agent, by.id) if isinstance(by, Agent) else None
    read = {n: present(type(v), v._pk) if isinstance(v, Row) else v for n, v in arguments.items()}
    firing = Firing(fresh, trigger.name, read, by, "", now, agent=agent)
    if refusal := actor_refusal(by, agent, fresh, trigger.name):
        firing.refusals.append(refusal)
    try:
        fresh.machine.decide(firing)
    except GuardRefused as error:
        return list(error.reasons)
    return []
