"""Empty stores for tests that do not ask how a store is made: the migrations run once, and not before every test.

On SQLite a test gets a copy of a migrated file. On PostgreSQL it gets a schema that an earlier test has used and whose
rows were deleted; a schema in which anything else was changed is dropped. Tests of migrations take `target` alone,
which is an empty database.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import psycopg

from dispatch_state import open_store
from dispatch_state.ids import new_id
from dispatch_state.models.tables import EVERY
from dispatch_state.schema.runner import HISTORY
from tests import postgres

TABLES = [model._meta.table_name for model in EVERY]
FINGERPRINT = f"""
    WITH place AS (SELECT current_schema()::regnamespace::oid AS id),
    ours AS (SELECT oid AS id FROM pg_class, place WHERE relnamespace = place.id),
    parts AS (
        SELECT concat('class ', c.oid, c.xmin, relfilenode, reltuples) AS part
        FROM pg_class c JOIN ours ON c.oid = ours.id
        UNION ALL SELECT concat('column ', attrelid, attnum, c.xmin) FROM pg_attribute c JOIN ours ON attrelid = ours.id
        UNION ALL SELECT concat('default ', c.oid, c.xmin) FROM pg_attrdef c JOIN ours ON adrelid = ours.id
        UNION ALL SELECT concat('trigger ', c.oid, c.xmin) FROM pg_trigger c JOIN ours ON tgrelid = ours.id
        UNION ALL SELECT concat('rule ', c.oid, c.xmin) FROM pg_rewrite c JOIN ours ON ev_class = ours.id
        UNION ALL SELECT concat('key ', c.oid, c.xmin) FROM pg_constraint c JOIN place ON connamespace = place.id
        UNION ALL SELECT concat('function ', c.oid, c.xmin) FROM pg_proc c JOIN place ON pronamespace = place.id
        UNION ALL SELECT concat('type ', c.oid, c.xmin) FROM pg_type c JOIN place ON typnamespace = place.id
        UNION ALL SELECT concat('schema ', c.oid, c.xmin) FROM pg_namespace c JOIN place ON c.oid = place.id
        UNION ALL SELECT concat('step ', ctid, xmin) FROM {HISTORY}
    )
    SELECT md5(string_agg(part, ',' ORDER BY part)) FROM parts
"""
"""What a schema is made of. PostgreSQL gives a row of its catalogue a new xmin whenever it is changed."""
_spare: list[tuple[str, str]] = []
"""Schemas that are free, each with its fingerprint."""


@cache
def _file() -> Path:
    """A migrated file, made once."""
    folder = Path(tempfile.mkdtemp(prefix="dispatch-prepared-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    file = folder / "dispatch.db"
    with open_store(file, durability="normal"):
        pass
    return file


def copy_to(place: str) -> None:
    """Put an empty store on SQLite at a place."""
    shutil.copy(_file(), place)


@contextmanager
def schema() -> Iterator[str]:
    """The URL of a schema that holds an empty store, for one test."""
    name, before = _spare.pop() if _spare else _made()
    try:
        yield postgres.in_schema(name)
    finally:
        if now := _emptied(name, before):
            _spare.append((name, now))
        else:
            _server().execute(f"DROP SCHEMA IF EXISTS {name} CASCADE")


@cache
def _server() -> psycopg.Connection[Any]:
    """One connection for all schemas of this process, which knows the catalogue already."""
    return psycopg.connect(postgres.server_or_skip(), autocommit=True)


def _made() -> tuple[str, str]:
    name = f"t{new_id().hex}"
    _server().execute(f"CREATE SCHEMA {name}")
    with open_store(postgres.in_schema(name), durability="normal"):
        pass
    with _server().transaction():
        return name, _fingerprint(name)


def _fingerprint(name: str) -> str:
    _server().execute(f"SET LOCAL search_path = {name}")
    found = _server().execute(FINGERPRINT).fetchone()
    return str(found[0]) if found else ""


def _emptied(name: str, before: str) -> str:
    """The fingerprint of a schema that is empty again; nothing, when a test changed more than rows in it."""
    filled = ", ".join(f"EXISTS (SELECT FROM {table})" for table in TABLES)
    try:
        with _server().transaction():
            _server().execute("SET LOCAL lock_timeout = '2s'; SET LOCAL session_replication_role = replica")
            if _fingerprint(name) != before:
                return ""
            if any(_server().execute(f"SELECT {filled}").fetchone() or ()):
                _server().execute(_truncation())
            _server().execute("SELECT setval(pg_get_serial_sequence('transition_log', 'seq'), 1, false)")
            return _fingerprint(name)
    except psycopg.Error:
        return ""


@cache
def _truncation() -> str:
    """The statements that empty every table while our triggers against TRUNCATE are off.

    Deleted rows would leave room in the tables, and later rows would be stored, and read, in another order than they
    were inserted.
    """
    off, on = [], []
    for table in TABLES:
        found = _server().execute(
            "SELECT tgname FROM pg_trigger WHERE tgrelid = %s::regclass AND tgtype & 32 <> 0", (table,)
        )
        for (trigger,) in found.fetchall():
            off.append(f"ALTER TABLE {table} DISABLE TRIGGER {trigger}")
            on.append(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {trigger}")
    return "; ".join([*off, f"TRUNCATE {', '.join(TABLES)}", *on])
