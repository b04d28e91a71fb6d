"""Triggers as they are fired from a command line: what one takes, and what a text means for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dispatch_state import json_values
from dispatch_state.cli.lookup import row_of
from dispatch_state.cli.terminal import Part
from dispatch_state.errors import InvalidValue
from dispatch_state.lifecycle.triggers import Trigger
from dispatch_state.models.base import Stateful
from dispatch_state.models.gate import Gate
from dispatch_state.models.tables import STATEFUL
from dispatch_state.values import closest, listed, shown
from dispatch_state.vocabulary import DecisionType

OVERRIDES = (DecisionType.HUMAN_OVERRIDE, DecisionType.HUMAN_VETO)
"""The decisions by which a person goes over the heads of others."""


def trigger_of(row: Stateful, name: str) -> Trigger:
    """A trigger of a row by its name; raises `InvalidValue` that lists them when there is none."""
    triggers = row.machine.triggers
    if name not in triggers:
        meant = closest(name, triggers) or f"; it has {listed(triggers)}"
        raise InvalidValue(f"{type(row).__name__} has no trigger {shown(name)}{meant}")
    return triggers[name]


def overrides(trigger: Trigger, status: str) -> bool:
    """Whether a person who fires it from a status overrides the ordinary course."""
    edge = trigger.edges.get(status)
    return edge is not None and edge.decision in OVERRIDES


def takes(trigger: Trigger, status: str) -> tuple[Part, ...]:
    """What a trigger takes on the command line, as the parts of a line."""
    words = [f"[{word}]" if name in trigger.defaults else word for name, word in _given(trigger).items()]
    words.append("--reason TEXT" if trigger.needs_reason else "[--reason TEXT]")
    override: tuple[Part, ...] = (("yellow", " (an override)"),) if overrides(trigger, status) else ()
    return (("dim", "".join(f" {word}" for word in words)), *override)


def needed(row: Stateful, name: str) -> list[str]:
    """What stands at least behind `fire ID` to fire a trigger, with the values left open."""
    trigger = row.machine.triggers[name]
    words = [word for name, word in _given(trigger).items() if name not in trigger.defaults]
    words += ["choice=TEXT"] if isinstance(row, Gate) and row.options and name == "approve" else []
    return [name, *words, "--as LOGIN", *(["--reason TEXT"] if trigger.needs_reason else [])]


def _given(trigger: Trigger) -> dict[str, str]:
    """Its arguments by their names, as they are written."""
    return {name: f"{name}={_kind(str(p.annotation)).upper()}" for name, p in trigger.parameters.items()}


def arguments(trigger: Trigger, given: list[str]) -> dict[str, Any]:
    """A trigger's arguments from texts of the form NAME=VALUE, each read by its annotation.

    Raises:
        InvalidValue: one has another form, is unknown, repeated or missing, or cannot be read.
        RowNotFound: one names a row that is not there.
    """
    read: dict[str, Any] = {}
    for text in given:
        name, separator, value = text.partition("=")
        if not separator or name not in trigger.parameters:
            known = listed(trigger.parameters)
            raise InvalidValue(
                f"{shown(text)}: {trigger.name} takes {known} as NAME=VALUE{closest(name, trigger.parameters)}"
            )
        if name in read:
            raise InvalidValue(f"{name}: given twice")
        read[name] = _READ[_kind(str(trigger.parameters[name].annotation))](value, name)
    if missing := trigger.parameters.keys() - trigger.defaults.keys() - read.keys():
        raise InvalidValue(f"{trigger.name} takes {listed(f'{name}=VALUE' for name in sorted(missing))}")
    return read


def _kind(annotation: str) -> str:
    """A word for what an annotation asks: `text`, `number`, `true|false`, `json`, or the name of a model."""
    wanted = annotation.removesuffix(" | None")
    return {"str": "text", "int": "number", "bool": "true|false", "dict[str, Any]": "json"}.get(wanted, wanted)


def _number(text: str, name: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise InvalidValue(f"{name}: takes a whole number, not {shown(text)}") from None


def _boolean(text: str, name: str) -> bool:
    if text not in ("true", "false"):
        raise InvalidValue(f"{name}: takes true or false, not {shown(text)}")
    return text == "true"


def _json(text: str, name: str) -> Any:
    try:
        return json_values.parse_json(text)
    except (ValueError, RecursionError):
        raise InvalidValue(f"{name}: takes JSON") from None


def _a_row(model: type[Stateful]) -> Callable[[str, str], Any]:
    return lambda text, name: row_of(text, (model,), to_change=True)


_READ: dict[str, Callable[[str, str], Any]] = {
    "text": lambda text, name: text,
    "number": _number,
    "true|false": _boolean,
    "json": _json,
    **{model.__name__: _a_row(model) for model in STATEFUL},
}
