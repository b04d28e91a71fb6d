"""Reading and writing so many bytes at once, whatever the rows are: a text may have a million characters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from dispatch_state.storage.targets import SQLITE

T = TypeVar("T")
BYTES = 8 * 1024 * 1024
"""How many are held at once, as they are stored; as Python's text they are up to four times as many."""


def groups(sized: Iterable[tuple[T, int]], most: int) -> Iterator[list[T]]:
    """Group items, in their order: no group is larger than `BYTES`, unless a single item is.

    Args:
        sized: each item, and its size in bytes.
        most: how many of them a group has at most.
    """
    group: list[T] = []
    held = 0
    for item, size in sized:
        if group and (len(group) == most or held + size > BYTES):
            yield group
            group, held = [], 0
        group.append(item)
        held += size
    if group:
        yield group


def size(columns: Iterable[str], kind: str) -> str:
    """An expression of SQL for how many bytes a row's columns of text and JSON take."""
    one = "COALESCE(length(CAST({} AS BLOB)), 0)" if kind == SQLITE else "COALESCE(octet_length({}::text), 0)"
    return " + ".join(one.format(column) for column in columns) or "0"
