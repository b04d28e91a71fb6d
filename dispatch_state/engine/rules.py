"""The rules of cascades: what follows from a move.

A rule reads and yields steps. It is resumed at each step's turn, so what it asks of the database is asked then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from dispatch_state.lifecycle.interface import Firing
from dispatch_state.lifecycle.triggers import Trigger
from dispatch_state.models.base import Stateful

R = TypeVar("R", bound=Stateful)


class Step:
    """A move that follows: a row, a trigger of it, and that trigger's arguments."""

    __slots__ = ("arguments", "row", "trigger")

    def __init__(self, row: Stateful, trigger: str, **arguments: Any) -> None:
        self.row = row
        self.trigger = trigger
        self.arguments = arguments


Rule = Callable[[Any, Firing], Iterator[Step]]
RULES: dict[tuple[type[Stateful], str], Rule] = {}
Followers = Mapping[tuple[type[Stateful], str], tuple[Trigger, ...]]
FOLLOWERS: dict[tuple[type[Stateful], str], tuple[Trigger, ...]] = {}
"""What a rule may yield after each move that has one, as it was declared."""


def after(
    model: type[R], *triggers: str, then: tuple[Callable[..., object], ...]
) -> Callable[[Callable[[R, Firing], Iterator[Step]]], Rule]:
    """Register the rule that says what follows from these triggers of a model (`create`: its creation).

    Args:
        then: every trigger that the rule may yield, in its order; tables and diagrams are made of it.
    """
    followers = tuple(_declared(follower) for follower in then)

    def register(rule: Callable[[R, Firing], Iterator[Step]]) -> Rule:
        for trigger in triggers:
            if trigger != "create" and trigger not in model.machine.triggers:
                raise TypeError(f"{model.__name__} has no trigger {trigger}")
            if RULES.setdefault((model, trigger), rule) is not rule:
                raise TypeError(f"two rules say what follows {model.__name__}.{trigger}")
            FOLLOWERS[model, trigger] = followers
        return rule

    return register


def _declared(follower: Callable[..., object]) -> Trigger:
    trigger = getattr(follower, "trigger", None)
    if not isinstance(trigger, Trigger):
        raise TypeError(f"{follower} is no trigger of a model")
    return trigger
