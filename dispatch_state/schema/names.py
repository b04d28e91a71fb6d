"""The names that the schema takes in a database, so that our tables may be made beside those of others.

SQLite keeps tables, views and indexes under one list of names, in capital letters or not; a schema of PostgreSQL keeps
sequences and types there, too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from dispatch_state.schema.enforcement import HERE
from dispatch_state.storage.connect import Database
from dispatch_state.storage.targets import SQLITE

_MADE = re.compile(r"CREATE (?:UNIQUE )?(?:TABLE|INDEX) (\w+)")
_NUMBERED = re.compile(r"CREATE TABLE (\w+) \(\s*(\w+) INTEGER PRIMARY KEY AUTOINCREMENT")
_SQLITE = "SELECT lower(name) FROM sqlite_master WHERE type <> 'trigger'"
_POSTGRESQL = f"""SELECT relname::text FROM pg_class WHERE relnamespace = {HERE}
    UNION SELECT typname::text FROM pg_type WHERE typnamespace = {HERE}
"""


def made(steps: Iterable[str], kind: str) -> set[str]:
    """What migrations make, by the text of each: tables, indexes, and on PostgreSQL what numbers rows."""
    text = "\n".join(steps)
    numbering = () if kind == SQLITE else (f"{table}_{column}_seq" for table, column in _NUMBERED.findall(text))
    return {*_MADE.findall(text), *numbering}


def present(database: Database) -> set[str]:
    """Every name that stands for something in the file, or in the schema."""
    query = _SQLITE if database.kind == SQLITE else _POSTGRESQL
    return {name for (name,) in database.execute_sql(query).fetchall()}
