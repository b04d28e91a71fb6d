"""JSON from outside, of which every value is asked by its path and its type."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from dispatch_state import values
from dispatch_state.errors import InvalidValue


class Payload:
    """A JSON object from outside, or a part of one; each question raises `InvalidValue` that names the path.

    Args:
        value: the object.
        path: where it stands, for messages.
    """

    def __init__(self, value: object, path: str) -> None:
        if not isinstance(value, Mapping):
            raise InvalidValue(f"{path}: takes a JSON object, not a value of type {type(value).__name__}")
        self._value = value
        self._path = path

    def part(self, name: str) -> Payload:
        """The object under a key."""
        return Payload(self._value.get(name), f"{self._path}.{name}")

    def parts(self, name: str) -> list[Payload]:
        """The objects in the list under a key."""
        found = self._asked(name, list)
        return [Payload(item, f"{self._path}.{name}[{place}]") for place, item in enumerate(found)]

    def has(self, name: str) -> bool:
        """Whether anything but null stands under a key."""
        return self._value.get(name) is not None

    def text(self, name: str) -> str:
        """The text under a key."""
        return values.text(self._asked(name, str), f"{self._path}.{name}")

    def maybe_text(self, name: str) -> str:
        """The text under a key; empty when there is none."""
        return self.text(name) if self.has(name) else ""

    def address(self, name: str) -> str:
        """The text under a key, not blank and short enough to find rows by."""
        return values.key(self._asked(name, str), f"{self._path}.{name}")

    def number(self, name: str) -> int:
        """The integer under a key."""
        return values.integer(self._asked(name, int), f"{self._path}.{name}")

    def moment(self, name: str) -> datetime:
        """The moment under a key, in ISO 8601."""
        told = self.text(name)
        try:
            return values.parse_instant(told)
        except (ValueError, OverflowError):
            raise InvalidValue(f"{self._path}.{name}: takes a moment in ISO 8601") from None

    def flag(self, name: str) -> bool:
        """Whether True stands under a key; False when nothing does."""
        return self.has(name) and bool(self._asked(name, bool))

    def _asked(self, name: str, kind: type) -> Any:
        found = self._value.get(name)
        if type(found) is not kind:
            what = "missing" if found is None else f"a value of type {type(found).__name__}"
            raise InvalidValue(f"{self._path}.{name}: takes {kind.__name__}, is {what}")
        return found
