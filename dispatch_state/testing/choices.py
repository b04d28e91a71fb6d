"""What a trigger may plausibly be given: rows that are there, words that fit, and one that does not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from dispatch_state import SANGHA, Actor, Agent, Human, Proposal, System
from dispatch_state.models.base import Stateful
from dispatch_state.models.tables import STATEFUL
from dispatch_state.storage.statements import rows
from dispatch_state.testing.factories import CHECKPOINT, MAINTAINER, RUNNER, WHY

PEOPLE: tuple[Actor, ...] = (MAINTAINER, Human("ada"), RUNNER, CHECKPOINT, System("rescue"), SANGHA)
"""Who acts besides agents."""
MODELS = {model.__name__: model for model in STATEFUL}
VALUES: dict[str, tuple[Any, ...]] = {
    "bool": (False, True),
    "int": (1, 2, 3),
    "str": ("it fell over",),
    "dict[str, Any]": ({"success": True}, {}),
}
"""What is given for an argument that is no row, by its annotation."""


def present(*models: type[Stateful]) -> list[Any]:
    """The rows of these models that are in the open store, each kind by birth."""
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
    """What each argument of a trigger may be given, the row's own agent first among who acts.

    A list is empty where the store has no row to give.
    """
    owner = row.owner_id()
    actors = sorted(actors, key=lambda one: owner is None or getattr(one, "id", None) != owner)
    found = row.machine.triggers[trigger]
    given = {name: _values(row, name, str(parameter.annotation)) for name, parameter in found.parameters.items()}
    reason = {"reason": [WHY]} if found.needs_reason else {}
    return {"by": actors, **given, **reason}


def _values(row: Stateful, name: str, annotation: str) -> list[Any]:
    wanted = annotation.removesuffix(" | None")
    nothing = [] if wanted == annotation else [None]
    if wanted in MODELS:
        return [*nothing, *present(MODELS[wanted])]
    return [*nothing, *(_options(row) if name == "choice" else VALUES[wanted])]


def _options(row: Any) -> list[str]:
    names = row.option_names() if isinstance(row, Proposal) else row.options or ()
    return [*names, "none of them"]
