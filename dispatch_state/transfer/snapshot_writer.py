"""Writes a snapshot of the whole store."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

from peewee import SQL

from dispatch_state import values
from dispatch_state.audit.verify import consistent_read
from dispatch_state.errors import InvalidValue
from dispatch_state.models.log import TransitionLog
from dispatch_state.storage.connect import Database
from dispatch_state.storage.fields import IdField, JsonField, TextField
from dispatch_state.storage.paging import grouped, size_sql
from dispatch_state.storage.statements import rows, tuples
from dispatch_state.transfer.files import Target, opened_to_write
from dispatch_state.transfer.snapshot_format import FORMAT, PAGE, TABLES, VERSION
from dispatch_state.values import Progress, check_progress


def export(database: Database, file: Target, progress: Progress | None = None) -> dict[str, int]:
    """Write the store as it is at one moment; see `Store.export`.

    Args:
        database: the open database.
        file: the path of a file that does not exist, or a file opened to write bytes.
        progress: called with the number of rows that are written, and of all rows.

    Returns:
        The number of rows of each table.

    Raises:
        InvalidValue: a transaction is open in this thread, or an argument is wrong.
        StoreReadOnly, StoreFull, StoreError: the file cannot be written.
    """
    check_progress(progress)
    if database.transaction_depth():
        raise InvalidValue("export: a transaction is open in this thread; leave it first")
    with opened_to_write(file, "export") as out, consistent_read(database):
        counts = {table: int(model.select().count()) for table, model in TABLES.items()}
        out.write(_line({"format": FORMAT, "version": VERSION}))
        done, total = 0, sum(counts.values())
        for table, model in TABLES.items():
            for row in _rows(database, model):
                out.write(_line({table: _json_columns(model, row)}))
                done += 1
                if progress and not done % PAGE:
                    progress(done, total)
        out.write(_line({"end": counts}))
        if progress:
            progress(total, total)
    return counts


def _line(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode() + b"\n"


# ---- reading the rows ----------------------------------------------------------------------------------


def _rows(database: Database, model: Any) -> Iterator[Any]:
    """Yield every row in the order of its key. So many are read at once that they fit into memory."""
    key = model._meta.primary_key
    sized = ((key.python_value(stored), size) for stored, size in _keys_and_sizes(database.kind, model))
    if isinstance(key, IdField) or model is TransitionLog:
        for keys in grouped(sized, PAGE):
            yield from _rows_between(model)(keys[0], keys[-1])
    else:  # each database sorts text by its own rules; these tables are short
        for keys in grouped(sorted(sized), PAGE):
            yield from sorted(model.select().where(key.in_(keys)), key=lambda row: row._pk)


def _keys_and_sizes(kind: str, model: Any) -> Iterator[tuple[Any, int]]:
    """Yield the stored key of every row, and the size of its text in bytes."""
    page = _first_page(model, kind)()
    while page:
        yield from page
        page = _next_page(model, kind)(model._meta.primary_key.python_value(page[-1][0]))


@cache
def _first_page(model: Any, kind: str) -> Callable[[], list[Any]]:
    return tuples(lambda: _select_sizes(model, kind))


@cache
def _next_page(model: Any, kind: str) -> Callable[[Any], list[Any]]:
    return tuples(lambda last: _select_sizes(model, kind).where(model._meta.primary_key > last))


def _select_sizes(model: Any, kind: str) -> Any:
    long = [field.column_name for field in model._meta.sorted_fields if isinstance(field, TextField | JsonField)]
    key = model._meta.primary_key
    return model.select(key, SQL(size_sql(long, kind))).order_by(key).limit(PAGE)


@cache
def _rows_between(model: Any) -> Callable[[Any, Any], list[Any]]:
    key = model._meta.primary_key
    return rows(lambda first, last: model.select().where((key >= first) & (key <= last)).order_by(key))


# ---- writing a row -------------------------------------------------------------------------------------


def _json_columns(model: Any, row: Any) -> dict[str, Any]:
    return {field.column_name: _json_value(row.__data__.get(field.name)) for field in model._meta.sorted_fields}


def _json_value(value: Any) -> Any:
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, datetime):
        return values.stamp(value)
    return _same_on_both(value) if isinstance(value, dict | list) else value


def _same_on_both(value: Any) -> Any:
    """Return JSON as both databases give it: PostgreSQL does not distinguish 1.0 from 1."""
    if isinstance(value, dict):
        return {key: _same_on_both(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_same_on_both(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 1 << 63 else value
