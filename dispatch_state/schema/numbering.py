"""The numbers of the log, which only grow, and the counter from which the database draws them.

Whoever watches asks for what is behind the last number seen: a counter that is set back hides moves, or makes every
write fail because its number is taken; one without room makes them fail too. The last number is found by the key's
index, so asking costs the same however long the log is.
"""

from __future__ import annotations

from dispatch_state.models.log import TransitionLog
from dispatch_state.storage.connect import Database
from dispatch_state.storage.targets import SQLITE

LAST = 2**53
"""The highest number that a move may have: readers of JSON whose numbers are all floats can tell it from the next."""
TABLE = TransitionLog._meta.table_name
COUNTER = f"{TABLE}_seq_seq"
"""The sequence, on PostgreSQL."""
_LOG = f"(SELECT COALESCE(max(seq), 0) AS last FROM {TABLE}) AS log"
_SQLITE = f"""SELECT NULL FROM {_LOG} WHERE EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = '{TABLE}'
        AND (typeof(seq) <> 'integer' OR seq NOT BETWEEN last AND max(last, {LAST})))
    OR (last <> 0 AND NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = '{TABLE}'))
"""
_POSTGRESQL = f"""SELECT NULL FROM {_LOG}, {COUNTER}
    WHERE last_value - CASE WHEN is_called THEN 0 ELSE 1 END NOT BETWEEN last AND GREATEST(last, {LAST})
"""  # one statement: what is committed after it began has drawn a higher number


def wrong_counter(kind: str) -> str:
    """A query with one row when the counter is behind the last number, or has no room; else with none."""
    return _SQLITE if kind == SQLITE else _POSTGRESQL


def is_wrong(database: Database) -> bool:
    """Whether the counter is behind the last number, or has no room."""
    return database.execute_sql(wrong_counter(database.kind)).fetchone() is not None


def put_right(database: Database) -> None:
    """Let the next move's number follow the last one's, in the open transaction."""
    if database.kind == SQLITE:
        database.execute_sql(f"DELETE FROM sqlite_sequence WHERE name = '{TABLE}'")
        database.execute_sql(f"INSERT INTO sqlite_sequence SELECT '{TABLE}', COALESCE(max(seq), 0) FROM {TABLE}")
    else:
        database.execute_sql(f"LOCK TABLE {TABLE} IN SHARE ROW EXCLUSIVE MODE")  # nobody draws a number meanwhile
        last = "GREATEST(max(seq), 1), COALESCE(max(seq) >= 1, FALSE)"
        database.execute_sql(f"SELECT setval('{COUNTER}', {last}) FROM {TABLE}")
