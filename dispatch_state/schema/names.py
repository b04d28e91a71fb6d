"""The names that the schema takes in a database, so that our tables can stand beside those of other programs.

SQLite keeps tables, views and indexes in one list of names, and ignores their case. A schema of PostgreSQL also has
sequences and types in the same list.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from dispatch_state.schema.enforcement import STORE_NAMESPACE
from dispatch_state.storage.connect import Database
from dispatch_state.storage.targets import SQLITE

_CREATED = re.compile(r"CREATE (?:UNIQUE )?(?:TABLE|INDEX) (\w+)")
_NUMBERED = re.compile(r"CREATE TABLE (\w+) \(\s*(\w+) INTEGER PRIMARY KEY AUTOINCREMENT")
_SQLITE = "SELECT lower(name) FROM sqlite_master WHERE type <> 'trigger'"
_POSTGRESQL = f"""SELECT relname::text FROM pg_class WHERE relnamespace = {STORE_NAMESPACE}
    UNION SELECT typname::text FROM pg_type WHERE typnamespace = {STORE_NAMESPACE}
"""


def created_names(migrations: Iterable[str], kind: str) -> set[str]:
    """Return the names of the tables, indexes and (on PostgreSQL) sequences that migrations create.

    Args:
        migrations: the text of each migration.
        kind: "sqlite" or "postgresql".
    """
    text = "\n".join(migrations)
    sequences = () if kind == SQLITE else (f"{table}_{column}_seq" for table, column in _NUMBERED.findall(text))
    return {*_CREATED.findall(text), *sequences}


def existing_names(database: Database) -> set[str]:
    """Return every name that is taken in the file, or in the schema of PostgreSQL."""
    query = _SQLITE if database.kind == SQLITE else _POSTGRESQL
    return {name for (name,) in database.execute_sql(query).fetchall()}
