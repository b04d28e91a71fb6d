"""Reads a snapshot into an empty store."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, cast

from dispatch_state import json_values, values
from dispatch_state.errors import InvalidValue, StoreError
from dispatch_state.models.agent import Agent
from dispatch_state.models.keys import ParentField
from dispatch_state.models.metrics import MEAN_TIME
from dispatch_state.models.row import Row
from dispatch_state.schema import numbering
from dispatch_state.storage.connect import Database
from dispatch_state.storage.fields import JsonField, StampField
from dispatch_state.storage.paging import grouped
from dispatch_state.storage.statements import insert_statement, update
from dispatch_state.transfer.backups import enforcement_suspended
from dispatch_state.transfer.files import Target, opened_to_read
from dispatch_state.transfer.snapshot_format import (
    DEEPEST,
    FORMAT,
    FORMER_MEAN_TIME,
    LONGEST,
    ORDER,
    PAGE,
    TABLES,
    VERSION,
)
from dispatch_state.values import Progress, check_progress


def import_snapshot(database: Database, file: Target, progress: Progress | None = None) -> dict[str, int]:
    """Fill an empty store from a snapshot; see `Store.import_snapshot`.

    Args:
        database: the open database.
        file: a path, or a file opened to read bytes.
        progress: called with the number of rows that are read, and 0.

    Returns:
        The number of rows of each table.

    Raises:
        InvalidValue: the file is not a whole snapshot, or an argument is wrong.
        StoreError: the store is not empty, or the snapshot breaks an invariant.
    """
    check_progress(progress)
    with opened_to_read(file, "import_snapshot", LONGEST) as lines, enforcement_suspended(database):
        if taken := [table for table, model in TABLES.items() if model.select().exists()]:
            raise StoreError(f"the store is not empty: it has {values.listed(taken)}; import into a new one")
        return _fill(database, enumerate(lines, 1), progress)


def _fill(database: Database, lines: Iterator[tuple[int, bytes]], progress: Progress | None) -> dict[str, int]:
    _check_header(_parsed_line(*next(lines, (1, b""))))
    counts = dict.fromkeys(TABLES, 0)
    deferred: list[tuple[type[Row], Any, dict[str, Any]]] = []
    ended = False
    for batch in grouped(((line, len(line[1])) for line in lines), PAGE):
        new_rows: dict[type[Row], list[dict[str, Any]]] = {}
        for number, line in batch:
            table, content = _parsed_line(number, line)
            if ended:
                raise InvalidValue(f"line {number}: comes after the last line of the snapshot")
            if table == "end":
                _check_end(number, content, counts)
                ended = True
                continue
            model, columns = _checked_row(number, table, content)
            counts[table] += 1
            later = {name: columns.pop(name) for name in _deferred_keys(model) if columns[name] is not None}
            if later:
                deferred.append((model, columns["id"], later))
            new_rows.setdefault(model, []).append({**dict.fromkeys(_deferred_keys(model)), **columns})
        for model, together in new_rows.items():
            _insert(database, model, together)
        if progress:
            progress(sum(counts.values()), 0)
    if not ended:
        raise InvalidValue("the file was cut: its last line, which says how many rows there are, is missing")
    for model, key, columns in deferred:
        update(model, columns, key)
    if numbering.counter_is_wrong(database):
        numbering.reset_counter(database)
    return counts


@cache
def _deferred_keys(model: type[Row]) -> tuple[str, ...]:
    """Return the foreign keys to rows that come later in the file; they are set after all rows are inserted."""
    keys = [key for key in model._meta.refs if isinstance(key, ParentField)]
    return tuple(key.name for key in keys if ORDER.index(cast("Any", key.rel_model)) > ORDER.index(model))


def _insert(database: Database, model: type[Row], together: list[dict[str, Any]]) -> None:
    sql, bound = insert_statement(model, tuple(together[0])).prepared(database.kind)
    database.cursor().executemany(sql, [bound(*columns.values()) for columns in together])


# ---- lines ---------------------------------------------------------------------------------------------


def _parsed_line(number: int, line: bytes) -> tuple[str, Any]:
    """Return the table and the columns of a line; of the first line, "format" and the header."""
    found = json_values.parse_payload(line, f"line {number}", longest=LONGEST, deepest=DEEPEST)
    if not isinstance(found, dict) or not (len(found) == 1 or number == 1):
        raise InvalidValue(f"line {number}: takes a JSON object with a table's name")
    return ("format", found) if number == 1 else next(iter(found.items()))


def _check_header(parsed: tuple[str, Any]) -> None:
    header = parsed[1]
    if header.get("format") != FORMAT:
        raise InvalidValue("line 1: this is not a snapshot of a store")
    if header.get("version") != VERSION:
        raise InvalidValue(f"line 1: takes version {VERSION} of the format; upgrade the library")


def _check_end(number: int, stated: Any, counts: dict[str, int]) -> None:
    if stated != counts:
        raise InvalidValue(f"line {number}: its numbers of rows do not match the rows above it")


def _checked_row(number: int, table: str, content: Any) -> tuple[type[Row], dict[str, Any]]:
    """Return the model and the column values of a line, each checked."""
    model: Any = TABLES.get(table)
    if model is None or not isinstance(content, dict):
        raise InvalidValue(f"line {number}: {values.shown(table)} is not a table with columns")
    fields = {field.column_name: field for field in model._meta.sorted_fields}
    if wrong := sorted(fields.keys() ^ content.keys()):
        raise InvalidValue(
            f"line {number}: {table} has missing or unknown columns: {values.listed(map(values.shown, wrong))}"
        )
    if model is Agent:
        content = {**content, "metrics": _with_present_names(content["metrics"])}
    try:
        return model, {field.name: _checked_value(field, content[name]) for name, field in fields.items()}
    except InvalidValue as error:
        raise InvalidValue(f"line {number}: {error}") from None


def _with_present_names(metrics: Any) -> Any:
    """Return an agent's metrics with their present names; see migration 009."""
    if not isinstance(metrics, dict) or FORMER_MEAN_TIME not in metrics:
        return metrics
    others = {name: value for name, value in metrics.items() if name != FORMER_MEAN_TIME}
    return {MEAN_TIME: metrics[FORMER_MEAN_TIME], **others}


# ---- values --------------------------------------------------------------------------------------------


def _checked_value(field: Any, value: Any) -> Any:
    place = f"{field.model._meta.table_name}.{field.column_name}"
    if isinstance(field, JsonField):
        return _checked_json(field, value, place)
    if not hasattr(field, "check"):
        return _checked_seq(value, place)
    if isinstance(field, StampField) and isinstance(value, str):
        try:
            value = values.parse_instant(value)
        except (ValueError, OverflowError):
            raise InvalidValue(f"{place}: not a moment in ISO 8601") from None
    return field.check(value)


def _checked_seq(value: Any, place: str) -> int:
    """Return the number of a move."""
    number = values.positive(value, place)
    if number > numbering.HIGHEST_SEQ:
        raise InvalidValue(f"{place}: a move's number is at most 2**53")
    return number


def _checked_json(field: JsonField, value: Any, place: str) -> Any:
    """Check JSON without its usual limit of length: what the library gathers itself can be longer."""
    if value is None:
        return field.check(None)
    json_values.json_text(value, place, longest=None)
    field.check_shape(value)
    return value
