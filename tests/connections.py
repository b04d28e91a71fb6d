"""Connections to a database that nothing has been made in, as the library makes them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dispatch_state.storage import connect as databases
from dispatch_state.storage.connect import Database
from dispatch_state.storage.targets import resolve


def reach(target: object, *, create: bool = True, **options: Any) -> Database:
    """A connection through which nothing is made but an empty file; whoever asks for it closes it."""
    chosen = {"timeout": 10.0, "pool_size": 5, "durability": "normal"} | options
    return databases.connect(resolve(target), create=create, **chosen)  # type: ignore[arg-type]


@contextmanager
def reached(target: object, **options: Any) -> Iterator[Database]:
    """The same as a block, which closes it."""
    database = reach(target, **options)
    try:
        yield database
    finally:
        database.close_all()


def one(database: Database, sql: str) -> Any:
    """The one value that a query finds."""
    return database.execute_sql(sql).fetchone()[0]
