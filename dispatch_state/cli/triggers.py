"""Triggers on a command line: what they take, and how the text of an argument is read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from dispatch_state import json_values
from dispatch_state.cli.lookup import row_of
from dispatch_state.cli.terminal import Part
from dispatch_state.errors import InvalidValue
from dispatch_state.lifecycle.arguments import Argument, Kind
from dispatch_state.lifecycle.triggers import Trigger
from dispatch_state.models.base import Stateful
from dispatch_state.models.gate import Gate
from dispatch_state.models.tables import STATEFUL
from dispatch_state.values import closest, listed, shown
from dispatch_state.vocabulary import DecisionType, total

MODELS = {model.__name__: model for model in STATEFUL}
OVERRIDES = (DecisionType.HUMAN_OVERRIDE, DecisionType.HUMAN_VETO)
"""The decisions of a person who overrides the ordinary course."""


def trigger_of(row: Stateful, name: str) -> Trigger:
    """Return the trigger of a row that has this name.

    Raises:
        InvalidValue: the row has no such trigger; the message lists those that it has.
    """
    triggers = row.machine.triggers
    if name not in triggers:
        meant = closest(name, triggers) or f"; it has {listed(triggers)}"
        raise InvalidValue(f"{type(row).__name__} has no trigger {shown(name)}{meant}")
    return triggers[name]


def overrides(trigger: Trigger, status: str) -> bool:
    """Whether a person who fires the trigger from this status overrides the ordinary course."""
    edge = trigger.edges.get(status)
    return edge is not None and edge.decision in OVERRIDES


def takes(trigger: Trigger, status: str) -> tuple[Part, ...]:
    """What a trigger takes on the command line, as the parts of a line; optional arguments are in brackets."""
    words = [f"[{word}]" if name in trigger.defaults else word for name, word in _placeholders(trigger).items()]
    words.append("--reason TEXT" if trigger.needs_reason else "[--reason TEXT]")
    override: tuple[Part, ...] = (("yellow", " (an override)"),) if overrides(trigger, status) else ()
    return (("dim", "".join(f" {word}" for word in words)), *override)


def needed(row: Stateful, name: str) -> list[str]:
    """The words that must follow `fire ID` to fire a trigger, with placeholders for the values."""
    trigger = row.machine.triggers[name]
    words = [word for name, word in _placeholders(trigger).items() if name not in trigger.defaults]
    words += ["choice=TEXT"] if isinstance(row, Gate) and row.options and name == "approve" else []
    return [name, *words, "--as LOGIN", *(["--reason TEXT"] if trigger.needs_reason else [])]


def _placeholders(trigger: Trigger) -> dict[str, str]:
    """The arguments of a trigger by name, each as `name=PLACEHOLDER`."""
    return {
        name: f"{name}={argument.model.upper() or READERS[argument.kind].placeholder}"
        for name, argument in trigger.arguments.items()
    }


def arguments(trigger: Trigger, given: list[str]) -> dict[str, Any]:
    """Read the arguments of a trigger from texts of the form NAME=VALUE.

    Args:
        trigger: the trigger.
        given: the texts.

    Raises:
        InvalidValue: a text has another form; an argument is unknown, repeated, missing or cannot be read.
        RowNotFound: an argument names a row that does not exist.
    """
    read: dict[str, Any] = {}
    for text in given:
        name, separator, value = text.partition("=")
        if not separator or name not in trigger.arguments:
            known = listed(trigger.arguments)
            raise InvalidValue(
                f"{shown(text)}: {trigger.name} takes {known} as NAME=VALUE{closest(name, trigger.arguments)}"
            )
        if name in read:
            raise InvalidValue(f"{name}: given twice")
        argument = trigger.arguments[name]
        read[name] = READERS[argument.kind].read(value, argument)
    if missing := trigger.required - read.keys():
        raise InvalidValue(f"{trigger.name} takes {listed(f'{name}=VALUE' for name in sorted(missing))}")
    return read


# ---- readers -------------------------------------------------------------------------------------------


class Reader(NamedTuple):
    """How the command line takes a kind of argument.

    placeholder: what help texts show in place of a value.
    read: makes a value of the text that was typed; raises `InvalidValue` when it cannot.
    """

    placeholder: str
    read: Callable[[str, Argument], Any]


def _text(text: str, argument: Argument) -> str:
    return text


def _number(text: str, argument: Argument) -> int:
    try:
        return int(text)
    except ValueError:
        raise InvalidValue(f"{argument.name}: takes a whole number, not {shown(text)}") from None


def _flag(text: str, argument: Argument) -> bool:
    if text not in ("true", "false"):
        raise InvalidValue(f"{argument.name}: takes true or false, not {shown(text)}")
    return text == "true"


def _json(text: str, argument: Argument) -> Any:
    try:
        return json_values.parse_json(text)
    except (ValueError, RecursionError):
        raise InvalidValue(f"{argument.name}: takes JSON") from None


def _row(text: str, argument: Argument) -> Any:
    return row_of(text, (MODELS[argument.model],), to_change=True)


READERS = total(
    {
        Kind.TEXT: Reader("TEXT", _text),
        Kind.FAILURE: Reader("TEXT", _text),
        Kind.CHOICE: Reader("TEXT", _text),
        Kind.NUMBER: Reader("NUMBER", _number),
        Kind.FLAG: Reader("TRUE|FALSE", _flag),
        Kind.JSON: Reader("JSON", _json),
        Kind.ROW: Reader("ID", _row),
    },
    Kind,
    "cli.triggers.READERS",
)
"""How each kind of argument is read; the placeholder of a row is the name of its model."""
