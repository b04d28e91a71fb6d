"""What a trigger may plausibly be given: rows of the store, words that fit, and one that does not."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from dispatch_state import SANGHA, Actor, Agent, Human, Proposal, System
from dispatch_state.lifecycle.arguments import Argument, Kind
from dispatch_state.models.base import Stateful
from dispatch_state.models.tables import STATEFUL
from dispatch_state.storage.statements import rows
from dispatch_state.testing.factories import CHECKPOINT, MAINTAINER, RUNNER, WHY
from dispatch_state.vocabulary import total

PEOPLE: tuple[Actor, ...] = (MAINTAINER, Human("ada"), RUNNER, CHECKPOINT, System("rescue"), SANGHA)
"""Who acts besides agents."""
MODELS = {model.__name__: model for model in STATEFUL}


def present(*models: type[Stateful]) -> list[Any]:
    """The rows of these models in the open store, the rows of each model in the order of their creation."""
    return [row for model in models for row in _all(model)()]


@cache
def _all(model: Any) -> Callable[[], list[Any]]:
    def build() -> Any:
        return model.select().order_by(model.id)

    return rows(build)


def everybody() -> list[Actor]:
    """People, components, the agents as a body, and every agent of the open store."""
    return [*PEOPLE, *present(Agent)]


def choices(row: Stateful, trigger: str, actors: Sequence[Actor]) -> dict[str, list[Any]]:
    """What each argument of a trigger may be given.

    Args:
        row: a saved row.
        trigger: the name of a trigger of it.
        actors: who may act; the agent that owns the row comes first in what is returned.

    Returns:
        The choices by argument, `by` among them. A list is empty when the store has no row to give.
    """
    owner = row.owner_id()
    actors = sorted(actors, key=lambda one: owner is None or getattr(one, "id", None) != owner)
    found = row.machine.triggers[trigger]
    given = {
        name: [*([None] if argument.optional else []), *VALUES[argument.kind](row, argument)]
        for name, argument in found.arguments.items()
    }
    reason = {"reason": [WHY]} if found.needs_reason else {}
    return {"by": actors, **given, **reason}


def _options(row: Any, argument: Argument) -> list[str]:
    names = row.option_names() if isinstance(row, Proposal) else row.options or ()
    return [*names, "none of them"]


Values = Callable[[Any, Argument], list[Any]]
VALUES: Mapping[Kind, Values] = total(
    {
        Kind.TEXT: lambda row, argument: ["it says so"],
        Kind.FAILURE: lambda row, argument: ["it fell over"],
        Kind.CHOICE: _options,
        Kind.NUMBER: lambda row, argument: [1, 2, 3],
        Kind.FLAG: lambda row, argument: [False, True],
        Kind.JSON: lambda row, argument: [{"success": True}, {}],
        Kind.ROW: lambda row, argument: present(MODELS[argument.model]),
    },
    Kind,
    "testing.choices.VALUES",
)
"""What is given for each kind of argument, on a row."""
