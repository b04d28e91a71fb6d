"""Reading and writing a limited number of bytes at once, because a single text may have a million characters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from dispatch_state.storage.targets import SQLITE

T = TypeVar("T")
MAX_BYTES = 8 * 1024 * 1024
"""How many stored bytes are held at once. As Python's text they take up to four times as much memory."""


def grouped(sized: Iterable[tuple[T, int]], most: int) -> Iterator[list[T]]:
    """Yield items in groups, in their order. A group has at most `MAX_BYTES`, unless a single item has more.

    Args:
        sized: each item, with its size in bytes.
        most: how many items a group has at most.
    """
    group: list[T] = []
    held = 0
    for item, size in sized:
        if group and (len(group) == most or held + size > MAX_BYTES):
            yield group
            group, held = [], 0
        group.append(item)
        held += size
    if group:
        yield group


def size_sql(columns: Iterable[str], kind: str) -> str:
    """Return an SQL expression for how many bytes a row's columns of text and JSON take.

    Args:
        columns: the columns.
        kind: the kind of database.
    """
    one = "COALESCE(length(CAST({} AS BLOB)), 0)" if kind == SQLITE else "COALESCE(octet_length({}::text), 0)"
    return " + ".join(one.format(column) for column in columns) or "0"
