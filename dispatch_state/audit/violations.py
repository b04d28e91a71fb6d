"""What a check reports, and how it reads the store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from dispatch_state.storage.connect import Database
from dispatch_state.values import shown

PAGE = 5_000
"""The number of rows that are fetched at a time."""


@dataclass(frozen=True, slots=True)
class Violation:
    """Something in a store that is not as it must be.

    invariant: the number of the invariant ("I1" to "I13", "I21"), or "foreign key", "integrity" or "enforcement".
    entity: the table.
    id: the id of the row; None where the violation is not about a row.
    message: what is wrong, in a sentence.
    """

    invariant: str
    entity: str
    id: object
    message: str

    def __str__(self) -> str:
        row = "" if self.id is None else f" {self.id if isinstance(self.id, UUID | int) else shown(self.id)}"
        return f"{self.invariant} {self.entity}{row}: {self.message}"


Check = Callable[[Database], Iterator[Violation]]
"""Reads the store and yields what is wrong."""


def query_rows(database: Database, query: str, *parameters: Any) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a query, fetched a page at a time.

    Args:
        database: the open database.
        query: SQL with the placeholders of the database's driver.
        parameters: the values of the placeholders.
    """
    cursor = database.execute_sql(query, parameters)
    while rows := cursor.fetchmany(PAGE):
        yield from rows


def parsed_id(stored: Any) -> Any:
    """Return a stored id as a UUID; return it unchanged when it is not one."""
    try:
        return UUID(stored) if isinstance(stored, str) else stored
    except ValueError:
        return stored
