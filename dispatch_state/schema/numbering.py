"""The numbers of the log, which only grow, and the counter from which the database draws them.

Programs that watch the log ask for the moves after the last number they have seen. A counter that was set back would
hide moves from them, or make every write fail because its number is taken; a counter without room makes every write
fail, too. The last number is found through the index of the key, so the check takes the same time for every log.
"""

from __future__ import annotations

from dispatch_state.models.log import TransitionLog
from dispatch_state.storage.connect import Database
from dispatch_state.storage.targets import SQLITE

HIGHEST_SEQ = 2**53
"""The highest number that a move can have: JSON readers whose numbers are all floats represent it exactly."""
TABLE = TransitionLog._meta.table_name
SEQUENCE = f"{TABLE}_seq_seq"
"""The counter's name on PostgreSQL."""
_LOG = f"(SELECT COALESCE(max(seq), 0) AS last FROM {TABLE}) AS log"
_SQLITE = f"""SELECT NULL FROM {_LOG} WHERE EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = '{TABLE}'
        AND (typeof(seq) <> 'integer' OR seq NOT BETWEEN last AND max(last, {HIGHEST_SEQ})))
    OR (last <> 0 AND NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = '{TABLE}'))
"""
_POSTGRESQL = f"""SELECT NULL FROM {_LOG}, {SEQUENCE}
    WHERE last_value - CASE WHEN is_called THEN 0 ELSE 1 END NOT BETWEEN last AND GREATEST(last, {HIGHEST_SEQ})
"""  # in one statement: moves that are committed after it began have higher numbers


def wrong_counter_query(kind: str) -> str:
    """Return a query that has one row when the counter is behind the last number or has no room, and else none.

    Args:
        kind: "sqlite" or "postgresql".
    """
    return _SQLITE if kind == SQLITE else _POSTGRESQL


def counter_is_wrong(database: Database) -> bool:
    """Return whether the counter is behind the last number, or has no room."""
    return database.execute_sql(wrong_counter_query(database.kind)).fetchone() is not None


def reset_counter(database: Database) -> None:
    """Set the counter so that the next move gets the number after the last one, in the open transaction."""
    if database.kind == SQLITE:
        database.execute_sql(f"DELETE FROM sqlite_sequence WHERE name = '{TABLE}'")
        database.execute_sql(f"INSERT INTO sqlite_sequence SELECT '{TABLE}', COALESCE(max(seq), 0) FROM {TABLE}")
    else:
        database.execute_sql(f"LOCK TABLE {TABLE} IN SHARE ROW EXCLUSIVE MODE")  # nobody draws a number meanwhile
        last = "GREATEST(max(seq), 1), COALESCE(max(seq) >= 1, FALSE)"
        database.execute_sql(f"SELECT setval('{SEQUENCE}', {last}) FROM {TABLE}")
