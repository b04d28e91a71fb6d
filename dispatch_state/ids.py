"""Ids: UUIDs that sort by time, and their texts.

An id is read and written with every statement, so what was converted lately is remembered.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

REMEMBERED = 4096
"""How many ids are remembered with their texts."""

_id_lock = threading.Lock()
_last_tick = 0


def new_id() -> UUID:
    """A UUID version 7 (RFC 9562): ids made later sort later, also within one millisecond.

    The sub-millisecond part is 12 bits of the clock, raised by one where two ids of this process
    would share it.
    """
    global _last_tick
    now = (time.time_ns() << 12) // 1_000_000
    with _id_lock:
        _last_tick = now = max(now, _last_tick + 1)
    high = (now >> 12) << 16 | 0x7000 | now & 0xFFF
    low = 2 << 62 | int.from_bytes(os.urandom(8)) >> 2
    return UUID(int=high << 64 | low)


class Remembered(dict[Any, Any]):
    """What was converted lately, found without calling anything; what was not is converted, and remembered.

    Args:
        convert: makes the value of a key.
    """

    def __init__(self, convert: Callable[[Any], Any]) -> None:
        super().__init__()
        self._convert = convert

    def __missing__(self, key: Any) -> Any:
        if len(self) >= REMEMBERED:
            self.clear()
        value = self[key] = self._convert(key)
        return value


parse_uuid: Callable[[str], UUID] = Remembered(UUID).__getitem__
"""The UUID that a stored text means."""
number_text: Callable[[int], str] = Remembered(lambda number: str(UUID(int=number))).__getitem__
"""The text of the UUID that has a number (its `int`), dashed and in lower case."""


def uuid_text(key: object) -> str:
    """The text of a UUID, dashed and in lower case; of anything else, which no row has for a key, its own."""
    return number_text(key.int) if isinstance(key, UUID) else str(key)
