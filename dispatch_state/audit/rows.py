"""Checks of the rows: the invariants of the lifecycles, the values of each column, and the foreign keys."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from dispatch_state import actors
from dispatch_state.audit.invariants import invariants
from dispatch_state.audit.violations import Violation, parsed_id, query_rows
from dispatch_state.errors import InvalidValue, StoreCorrupt
from dispatch_state.models.keys import ParentField
from dispatch_state.models.row import Row
from dispatch_state.schema import enforcement
from dispatch_state.schema.column_constraints import column_constraints
from dispatch_state.storage.connect import Database
from dispatch_state.storage.fields import JsonField
from dispatch_state.storage.paging import size_sql
from dispatch_state.storage.targets import SQLITE
from dispatch_state.values import shown

JSON_PAGE = 1_000
"""The number of JSON values that are read at a time."""
SHORT = 4096
"""The size in bytes up to which a JSON value is read together with its page."""
SIGNED_COLUMNS = [
    ("gates", "approved_by"),
    ("proposals", "forced_by"),
    ("proposals", "vetoed_by"),
    ("gate_comments", "author"),
]
"""The columns that hold the name of a person or an agent."""


def lifecycle_invariants(database: Database) -> Iterator[Violation]:
    """Check the invariants I1 to I10 and I21."""
    for number, table, query, message in invariants(database.kind):
        for row in query_rows(database, query):
            yield Violation(number, table, parsed_id(row[0]), message)


def column_values(database: Database, model: type[Row]) -> Iterator[Violation]:
    """Check I13: every column holds what it may. One query reads the table for all columns."""
    table = model._meta.table_name
    constraints = [constraint for _, constraint in column_constraints(model, enforcement.dialect_of(database))]
    conditions = [f"({constraint.condition.replace('NEW.', '')})" for constraint in constraints]
    query = f"SELECT {_key(model)}, {', '.join(conditions)} FROM {table} WHERE {' OR '.join(conditions)}"
    for row_id, *results in query_rows(database, query):
        for constraint, is_broken in zip(constraints, results, strict=True):
            if is_broken:
                yield Violation("I13", table, parsed_id(row_id), constraint.message)


def json_shapes(database: Database, model: type[Row]) -> Iterator[Violation]:
    """Check I13: the JSON in each column has the shape of that column."""
    for field in model._meta.sorted_fields:
        if isinstance(field, JsonField):
            yield from _misshapen(database, model, field)


def _misshapen(database: Database, model: type[Row], field: Any) -> Iterator[Violation]:
    table, key, column = model._meta.table_name, _key(model), field.column_name
    for page in _json_pages(database, table, key, column):
        if _all_have_their_shape(field, [value for _, value in page]):
            continue
        for row_id, value in page:
            try:
                field.check_shape(field.python_value(value))
            except InvalidValue as error:
                yield Violation("I13", table, parsed_id(row_id), str(error))
            except (StoreCorrupt, TypeError):
                yield Violation("I13", table, parsed_id(row_id), f"{table}.{column}: not JSON")


def _all_have_their_shape(field: Any, texts: list[Any]) -> bool:
    """Parse all texts at once, which is faster. That each of them alone is JSON is for `column_values` to check."""
    try:
        for value in json.loads(f"[{','.join(texts)}]"):
            field.check_shape(value)
    except (ValueError, TypeError, RecursionError):
        return False
    return True


def _json_pages(database: Database, table: str, key: str, column: str) -> Iterator[list[tuple[Any, Any]]]:
    """Yield the ids and values of a column where it is not NULL, a page at a time; a long value is its own page."""
    placeholder, same = ("?", "IS") if database.kind == SQLITE else ("%s", "=")
    short = f"CASE WHEN {size_sql([column], database.kind)} <= {SHORT} THEN {column} END"
    query = f"SELECT {key}, {short} FROM {table} WHERE {column} IS NOT NULL"
    one_value = f"SELECT {column} FROM {table} WHERE {key} {same} {placeholder} LIMIT 1"
    next_page = f"{query} AND {key} > {placeholder} ORDER BY {key} LIMIT {JSON_PAGE}"
    page = list(query_rows(database, f"{query} ORDER BY {key} LIMIT {JSON_PAGE}"))
    while page:
        yield [(row_id, value) for row_id, value in page if value is not None]
        for row_id in [row_id for row_id, value in page if value is None]:
            ((value,),) = query_rows(database, one_value, row_id)
            yield [(row_id, value)]
        page = list(query_rows(database, next_page, page[-1][0]))


def actor_names(database: Database) -> Iterator[Violation]:
    """Check I13: the names of actors are well formed."""
    for table, column in (("transition_log", "actor"), ("decisions", "decided_by")):
        yield from _malformed_names(database, table, column, actors.is_actor_text)
    for table, column in SIGNED_COLUMNS:
        yield from _malformed_names(database, table, column, actors.is_signature)


def _malformed_names(
    database: Database, table: str, column: str, is_well_formed: Callable[[Any], bool]
) -> Iterator[Violation]:
    key = "seq" if table == "transition_log" else "CAST(id AS TEXT)"
    query = f"SELECT {column}, min({key}) FROM {table} WHERE {column} IS NOT NULL GROUP BY {column}"
    for name, row_id in query_rows(database, query):
        if not is_well_formed(name):
            yield Violation("I13", table, parsed_id(row_id), f"{table}.{column}: {shown(name)} does not name an actor")


def foreign_keys(database: Database, model: type[Row]) -> Iterator[Violation]:
    """Check that every foreign key names a row that exists."""
    for field in model._meta.refs:
        assert isinstance(field, ParentField)
        table, column = model._meta.table_name, field.column_name
        parent = f"SELECT 1 FROM {field.rel_model._meta.table_name} p WHERE p.id = c.{column}"
        query = f"SELECT c.id FROM {table} c WHERE c.{column} IS NOT NULL AND NOT EXISTS ({parent})"
        for (row_id,) in query_rows(database, query):
            yield Violation("foreign key", table, parsed_id(row_id), f"{column} names a row that does not exist")


def _key(model: type[Row]) -> str:
    key: Any = model._meta.primary_key
    return str(key.column_name)
