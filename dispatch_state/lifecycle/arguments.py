"""The kinds of arguments that triggers take.

The annotation of a trigger's parameter says its kind, and the kind says how a value is checked. Two further tables have
an entry for each kind: how the command line reads it (`cli/triggers.py`) and what tests give for it
(`testing/choices.py`). Both are compared with `Kind` when they are imported.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from inspect import Parameter
from typing import Any, NamedTuple
from uuid import UUID

import peewee

from dispatch_state import json_values, values
from dispatch_state.errors import InvalidValue

OPTIONAL = " | None"
MODEL = "Model"
Check = Callable[[object, str], Any]
"""Given a value and its place for messages, returns the value as it is used, or raises `InvalidValue`."""


def _json_object(value: object, place: str) -> object:
    json_values.json_object(value, place)
    json_values.json_text(value, place)
    return value


class Kind(Enum):
    """A kind of argument.

    said_by: the annotation, or the name of a parameter, by which the kind is found.
    check: checks a value; None when the check depends on the model.
    """

    TEXT = "str", values.nonblank_text
    FAILURE = "error", values.storable
    """A parameter `error: str`: text that a machine wrote, which is always stored."""
    CHOICE = "choice", values.nonblank_text
    """A parameter `choice: str`: one of the options of the row."""
    NUMBER = "int", values.positive
    FLAG = "bool", values.boolean
    JSON = "dict[str, Any]", _json_object
    ROW = MODEL, None
    """A saved row. The annotation is the name of its model, on which the check depends."""

    def __init__(self, said_by: str, check: Check | None) -> None:
        self.said_by = said_by
        self.check = check


_BY_WORD = {kind.said_by: kind for kind in Kind}


class Argument(NamedTuple):
    """What a trigger takes under one name.

    name: the name of the parameter.
    kind: the kind of its values.
    model: the name of the model, when it takes a row; else empty.
    optional: whether it takes None.
    check: checks a value; returns it as it is used.
    """

    name: str
    kind: Kind
    model: str
    optional: bool
    check: Check


def argument(parameter: Parameter) -> Argument:
    """Find what a parameter of a trigger takes.

    Args:
        parameter: a parameter of the function that declares the trigger.

    Raises:
        TypeError: there is no kind with its annotation.
    """
    annotation = str(parameter.annotation)
    wanted = annotation.removesuffix(OPTIONAL)
    model = wanted if wanted.isidentifier() and wanted[0].isupper() else ""
    named = _BY_WORD.get(parameter.name) if wanted == Kind.TEXT.said_by else None
    kind = named or _BY_WORD.get(MODEL if model else wanted)
    if kind is None:
        known = values.listed(kind.said_by for kind in Kind)
        raise TypeError(f"{parameter.name}: {annotation} is not a kind of argument; the kinds are {known}")
    check, optional = kind.check or _saved_row(model), wanted != annotation
    return Argument(parameter.name, kind, model, optional, _or_none(check) if optional else check)


def _or_none(check: Check) -> Check:
    return lambda value, place: None if value is None else check(value, place)


def _saved_row(model: str) -> Check:
    def check(value: object, place: str) -> object:
        require_row(value, place, model)
        return value

    return check


def require_row(value: object, place: str, *models: str) -> None:
    """Check that an argument is a saved row of one of these models, with its id.

    Args:
        value: the argument.
        place: the method and the argument, for the message.
        models: the names of the models.

    Raises:
        InvalidValue: it is anything else.
    """
    is_row = isinstance(value, peewee.Model) and type(value).__name__ in models
    if not is_row or getattr(value, "is_new", True) or not isinstance(getattr(value, "id", None), UUID):
        wanted = " or ".join(models)
        raise InvalidValue(f"{place}: takes a saved {wanted} row, not a value of type {type(value).__name__}")
