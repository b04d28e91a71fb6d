"""The SQL in which constraints are written, and where SQLite and PostgreSQL differ in it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from dispatch_state.storage.targets import SQLITE


class Constraint(NamedTuple):
    """A write that the database refuses.

    condition: an SQL condition on NEW and OLD; the write is refused where it is true.
    message: what the error says. It holds no quotes, braces or percent signs.
    """

    condition: str
    message: str


class Dialect(NamedTuple):
    """How one kind of database writes what differs.

    kind: "sqlite" or "postgresql".
    schema_prefix: what stands before a table's name.
    last_log_seq: an expression for the `seq` of the log row that this connection wrote last; on PostgreSQL, in this
        transaction.
    """

    kind: str
    schema_prefix: str
    last_log_seq: str

    def changed(self, column: str) -> str:
        """Return a condition that is true when an update changes the column."""
        differs = "IS NOT" if self.kind == SQLITE else "IS DISTINCT FROM"
        return f"NEW.{column} {differs} OLD.{column}"

    def exists(self, table: str, condition: str) -> str:
        """Return a condition that is true when the table has a row for which `condition` holds."""
        return f"EXISTS (SELECT 1 FROM {self.schema_prefix}{table} WHERE {condition})"


def sql_literals(words: Iterable[str]) -> str:
    """Return words as SQL literals, separated by commas. The words are the library's own and hold no quotes."""
    return ", ".join(f"'{word}'" for word in words)
