"""Checks whether a store is sound, and names each row that breaks an invariant.

All checks read one moment of the store, while other processes can go on writing. They are queries that return only
what is wrong, so a store of any size needs little memory. What a query cannot check (names of actors, the shape of
JSON) is read page by page. The checks rely on nothing that they read: a column may hold anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from dispatch_state.audit.log import decisions, legal_moves, move_chains, statuses_match_log
from dispatch_state.audit.rows import actor_names, column_values, foreign_keys, json_shapes, lifecycle_invariants
from dispatch_state.audit.violations import Check, Violation, query_rows
from dispatch_state.errors import SchemaTooNew
from dispatch_state.models.tables import EVERY
from dispatch_state.schema import enforcement
from dispatch_state.storage.connect import Database
from dispatch_state.storage.targets import SQLITE
from dispatch_state.values import Progress, check_progress


def verify(database: Database, progress: Progress | None = None) -> list[Violation]:
    """Return everything that is wrong in a store, in a fixed order; an empty list when it is sound.

    Args:
        database: the open database.
        progress: called with the number of checks that are done, and of all checks.

    Raises:
        InvalidValue: `progress` cannot be called.
    """
    check_progress(progress)
    checks, found = _checks(), set[Violation]()
    with consistent_read(database), database.undecodable_text_as_bytes():
        for done, check in enumerate(checks):
            if progress:
                progress(done, len(checks))
            found.update(check(database))
    if progress:
        progress(len(checks), len(checks))
    return sorted(found, key=lambda v: (v.invariant, v.entity, str(v.id), v.message))


def _checks() -> list[Check]:
    """Return all checks. Some are made table by table, so that `progress` is called often enough."""
    return [*CHECKS, *(partial(check, model=model) for check in CHECKS_OF_A_TABLE for model in EVERY)]


def consistent_read(database: Database) -> AbstractContextManager[Any]:
    """A transaction that reads the store as it was when the block began; within a transaction, that transaction."""
    if database.transaction_depth():
        return database.savepoint()
    return database.transaction("DEFERRED" if database.kind == SQLITE else "REPEATABLE READ, READ ONLY")


_ABOUT_A_ROW = re.compile(r"(?:(?<!\S)\S+ value|CHECK constraint failed) in (\w+)")


def sqlite_integrity(database: Database) -> Iterator[Violation]:
    """Check what SQLite reports of its own file, without the rows in tables of other programs."""
    ours = {model._meta.table_name for model in EVERY}
    if database.kind == SQLITE:
        for (report,) in query_rows(database, "PRAGMA integrity_check"):
            row = _ABOUT_A_ROW.match(report)
            if report != "ok" and (row is None or row[1] in ours):
                yield Violation("integrity", "sqlite", None, str(report))


def enforcement_installed(database: Database) -> Iterator[Violation]:
    """Check that the database's own triggers are those of this version."""
    try:
        for name in enforcement.differences(database):
            yield Violation("enforcement", name, None, "is missing, changed or not ours")
    except SchemaTooNew as error:
        yield Violation("enforcement", database.kind, None, str(error))


CHECKS: tuple[Check, ...] = (
    lifecycle_invariants,
    actor_names,
    move_chains,
    legal_moves,
    statuses_match_log,
    decisions,
    sqlite_integrity,
    enforcement_installed,
)
"""The checks of the whole store."""
CHECKS_OF_A_TABLE = (column_values, json_shapes, foreign_keys)
"""The checks of one table at a time."""
