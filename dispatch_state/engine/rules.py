"""The rules of cascades: what follows from a move.

A rule reads and yields steps. It is resumed only after the step before has been made, so it sees the database as it is
then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from dispatch_state.lifecycle.interface import Firing
from dispatch_state.lifecycle.triggers import Trigger
from dispatch_state.models.base import Stateful

R = TypeVar("R", bound=Stateful)


class Step:
    """A move that follows from another.

    Args:
        row: the row to move.
        trigger: the name of its trigger.
        arguments: the trigger's arguments by name.
    """

    __slots__ = ("arguments", "row", "trigger")

    def __init__(self, row: Stateful, trigger: str, **arguments: Any) -> None:
        self.row = row
        self.trigger = trigger
        self.arguments = arguments


Rule = Callable[[Any, Firing], Iterator[Step]]
RULES: dict[tuple[type[Stateful], str], Rule] = {}
Followers = Mapping[tuple[type[Stateful], str], tuple[Trigger, ...]]
FOLLOWERS: dict[tuple[type[Stateful], str], tuple[Trigger, ...]] = {}
"""What may follow directly from each move that has a rule, as the rule declares it."""


def after(
    model: type[R], *triggers: str, then: tuple[Callable[..., object], ...]
) -> Callable[[Callable[[R, Firing], Iterator[Step]]], Rule]:
    """Register the rule for what follows from triggers of a model.

    Args:
        model: the model whose moves have the rule.
        triggers: the names of its triggers; `create` means the creation of a row.
        then: every trigger that the rule may yield, in order. Tables and diagrams show it.

    Returns:
        A decorator that registers the rule and returns it.

    Raises:
        TypeError: the model has no such trigger, another rule exists for it, or `then` contains something else.
    """
    followers = tuple(_declared(follower) for follower in then)

    def register(rule: Callable[[R, Firing], Iterator[Step]]) -> Rule:
        for trigger in triggers:
            if trigger != "create" and trigger not in model.machine.triggers:
                raise TypeError(f"{model.__name__} has no trigger {trigger}")
            if RULES.setdefault((model, trigger), rule) is not rule:
                raise TypeError(f"two rules exist for what follows from {model.__name__}.{trigger}")
            FOLLOWERS[model, trigger] = followers
        return rule

    return register


def _declared(follower: Callable[..., object]) -> Trigger:
    trigger = getattr(follower, "trigger", None)
    if not isinstance(trigger, Trigger):
        raise TypeError(f"{follower} is not a trigger of a model")
    return trigger
