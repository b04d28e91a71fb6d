"""Reads JSON from outside: every value is asked for by its path and its type."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from dispatch_state import values
from dispatch_state.errors import InvalidValue


class Payload:
    """A JSON object from outside, or a part of one. Each method raises `InvalidValue` with the path of a wrong value.

    Args:
        value: the object.
        path: where it is in the delivery, for messages.

    Raises:
        InvalidValue: `value` is not a JSON object.
    """

    def __init__(self, value: object, path: str) -> None:
        if not isinstance(value, Mapping):
            raise InvalidValue(f"{path}: takes a JSON object, not a value of type {type(value).__name__}")
        self._value = value
        self._path = path

    def part(self, name: str) -> Payload:
        """Return the object under a key."""
        return Payload(self._value.get(name), f"{self._path}.{name}")

    def parts(self, name: str) -> list[Payload]:
        """Return the objects in the list under a key."""
        found = self._typed(name, list)
        return [Payload(item, f"{self._path}.{name}[{place}]") for place, item in enumerate(found)]

    def has(self, name: str) -> bool:
        """Return whether a key has a value other than null."""
        return self._value.get(name) is not None

    def text(self, name: str) -> str:
        """Return the text under a key."""
        return values.text(self._typed(name, str), f"{self._path}.{name}")

    def text_or_empty(self, name: str) -> str:
        """Return the text under a key; empty when there is none."""
        return self.text(name) if self.has(name) else ""

    def url(self, name: str) -> str:
        """Return the text under a key, which is not blank and short enough to find rows by."""
        return values.key(self._typed(name, str), f"{self._path}.{name}")

    def number(self, name: str) -> int:
        """Return the integer under a key."""
        return values.integer(self._typed(name, int), f"{self._path}.{name}")

    def moment(self, name: str) -> datetime:
        """Return the time under a key, which is written in ISO 8601."""
        text = self.text(name)
        try:
            return values.parse_instant(text)
        except (ValueError, OverflowError):
            raise InvalidValue(f"{self._path}.{name}: takes a moment in ISO 8601") from None

    def flag(self, name: str) -> bool:
        """Return the boolean under a key; False when there is none."""
        return self.has(name) and bool(self._typed(name, bool))

    def _typed(self, name: str, kind: type) -> Any:
        found = self._value.get(name)
        if type(found) is not kind:
            what = "missing" if found is None else f"a value of type {type(found).__name__}"
            raise InvalidValue(f"{self._path}.{name}: takes {kind.__name__}, is {what}")
        return found
