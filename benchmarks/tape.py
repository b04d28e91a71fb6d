"""What the library sends to the database, recorded statement by statement, and played back by a bare driver.

The recorder stands where the driver is called, below everything of the library and of Peewee, so that
it does not matter by which way a statement gets there.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import Any, NamedTuple
from unittest.mock import patch

import peewee
import psycopg


class Sent(NamedTuple):
    """One statement, its parameters, and whether it gave rows."""

    sql: str
    parameters: tuple[Any, ...]
    reads: bool


class Tape:
    """What was sent, in order, until it is cut."""

    def __init__(self) -> None:
        self._sent: list[Sent] = []

    def add(self, sql: str, parameters: Iterable[Any] = (), reads: bool = False) -> None:
        """Note one statement."""
        self._sent.append(Sent(sql, tuple(parameters), reads))

    def cut(self) -> list[Sent]:
        """What was sent since the tape was cut last."""
        sent, self._sent = self._sent, []
        return sent


# ---- SQLite --------------------------------------------------------------------------------------------


@contextmanager
def recording() -> Iterator[Tape]:
    """Record what is sent through SQLite connections that are made in this block."""
    tape = Tape()
    driver: Any = vars(peewee)["sqlite3"]
    connect = driver.connect

    def recorded(*place: Any, factory: Any = sqlite3.Connection, **options: Any) -> Any:
        return connect(*place, factory=_recorded_connection(factory, tape), **options)

    with patch.object(driver, "connect", recorded):
        yield tape


def _recorded_connection(factory: Any, tape: Tape) -> Any:
    class Connection(factory):
        def cursor(self, *kind: Any) -> Any:
            made = super().cursor(*kind)
            if type(made) is sqlite3.Cursor:
                return super().cursor(_recorded_cursor(made.__class__, tape))
            made.__class__ = _recorded_cursor(made.__class__, tape)
            return made

        def execute(self, *statement: Any) -> Any:
            return self.cursor().execute(*statement)

        def commit(self) -> None:
            if self.in_transaction:
                tape.add("COMMIT")
            super().commit()

        def rollback(self) -> None:
            if self.in_transaction:
                tape.add("ROLLBACK")
            super().rollback()

    return Connection


@cache
def _recorded_cursor(kind: Any, tape: Tape) -> Any:
    class Cursor(kind):
        def execute(self, sql: str, parameters: Any = ()) -> Any:
            found = super().execute(sql, parameters)
            tape.add(sql, parameters, self.description is not None)
            return found

    return Cursor


def bare(path: str, durability: str) -> sqlite3.Connection:
    """A connection of the standard library alone, with the pragmas and the statement cache that a store uses."""
    connection = sqlite3.connect(path, isolation_level=None, cached_statements=512)
    connection.execute("PRAGMA foreign_keys = 1")
    connection.execute(f"PRAGMA synchronous = {durability}")
    return connection


# ---- PostgreSQL ----------------------------------------------------------------------------------------


@contextmanager
def recording_psycopg() -> Iterator[Tape]:
    """Record what is sent through psycopg in this block."""
    tape = Tape()
    execute, commit, rollback = psycopg.Cursor.execute, psycopg.Connection.commit, psycopg.Connection.rollback

    def recorded(self: Any, query: Any, params: Any = None, **options: Any) -> Any:
        found = execute(self, query, params, **options)
        tape.add(str(query), params or (), self.description is not None)
        return found

    def ended(word: str, end: Callable[[Any], None]) -> Callable[[Any], None]:
        def at_end(self: Any) -> None:
            if self.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
                tape.add(word)
            end(self)

        return at_end

    with (
        patch.object(psycopg.Cursor, "execute", recorded),
        patch.object(psycopg.Connection, "commit", ended("COMMIT", commit)),
        patch.object(psycopg.Connection, "rollback", ended("ROLLBACK", rollback)),
    ):
        yield tape


# ---- playing back --------------------------------------------------------------------------------------


def played(cursor: Any, operations: Iterable[list[Sent]]) -> Iterator[Callable[[], None]]:
    """Each operation of a tape as a call that plays it through a cursor."""
    execute, fetch = cursor.execute, cursor.fetchall

    def play(sent: list[Sent]) -> None:
        for sql, parameters, reads in sent:
            execute(sql, parameters)
            if reads:
                fetch()

    for sent in operations:
        yield partial(play, sent)
