"""Ids: UUIDs that sort by time, and their texts.

Every statement reads or writes ids, so the latest conversions are cached.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

CACHE_SIZE = 4096
"""How many conversions a cache holds."""

_id_lock = threading.Lock()
_last_tick = 0


def new_id() -> UUID:
    """Return a UUID version 7 (RFC 9562). Ids made later sort later, also within one millisecond.

    The part below a millisecond is 12 bits of the clock. It is raised by one when two ids of this process would share
    it.
    """
    global _last_tick
    now = (time.time_ns() << 12) // 1_000_000
    with _id_lock:
        _last_tick = now = max(now, _last_tick + 1)
    high = (now >> 12) << 16 | 0x7000 | now & 0xFFF
    low = 2 << 62 | int.from_bytes(os.urandom(8)) >> 2
    return UUID(int=high << 64 | low)


class ConversionCache(dict[Any, Any]):
    """A dictionary of the latest conversions; a missing key is converted and added. A full cache is emptied.

    Args:
        convert: makes the value for a key.
    """

    def __init__(self, convert: Callable[[Any], Any]) -> None:
        super().__init__()
        self._convert = convert

    def __missing__(self, key: Any) -> Any:
        if len(self) >= CACHE_SIZE:
            self.clear()
        value = self[key] = self._convert(key)
        return value


parse_uuid: Callable[[str], UUID] = ConversionCache(UUID).__getitem__
"""Return the UUID of a stored text; raises `ValueError` for other text."""
number_text: Callable[[int], str] = ConversionCache(lambda number: str(UUID(int=number))).__getitem__
"""Return the text of the UUID with a number (its `int`), dashed and in lower case."""


def uuid_text(key: object) -> str:
    """Return the text of a UUID, dashed and in lower case; `str` of anything else, which cannot be a row's id."""
    return number_text(key.int) if isinstance(key, UUID) else str(key)
