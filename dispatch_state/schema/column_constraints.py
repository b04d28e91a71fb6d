"""The constraints on single values: what a column cannot hold, whatever the rest of the row says."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from peewee import AutoField

from dispatch_state.models.agent import Agent
from dispatch_state.models.keys import ParentField
from dispatch_state.models.metrics import COUNTERS, NO_METRICS
from dispatch_state.models.row import Row
from dispatch_state.models.vote import Vote
from dispatch_state.schema.dialects import Constraint, Dialect, sql_literals
from dispatch_state.storage.fields import (
    BooleanField,
    IdField,
    IntegerField,
    JsonField,
    StampField,
    TextField,
    WordField,
)
from dispatch_state.storage.targets import SQLITE
from dispatch_state.values import INTEGER_RANGE

_UUID_GLOB = "-".join("[0-9a-f]" * length for length in (8, 4, 4, 4, 12))
_LARGEST_FLOAT = repr(sys.float_info.max)
_DATE_GLOB, _TIME_GLOB = "-".join("[0-9]" * length for length in (4, 2, 2)), ":".join(["[0-9]" * 2] * 3)
_STAMP_GLOB = f"{_DATE_GLOB}T{_TIME_GLOB}.{'[0-9]' * 6}+00:00"


def column_constraints(model: type[Row], dialect: Dialect) -> Iterator[tuple[str, Constraint]]:
    """Yield the constraints on the values of a table's columns.

    Args:
        model: the model of the table.
        dialect: the SQL to write.

    Yields:
        The name of a column, and a constraint on NEW.
    """
    for field in model._meta.sorted_fields:
        column: str = field.column_name
        for constraint in _constraints_on(field, dialect):
            condition = f"NEW.{column} IS NOT NULL AND ({constraint.condition})" if field.null else constraint.condition
            yield column, Constraint(condition, f"{model._meta.table_name}.{column}: {constraint.message}")


def _constraints_on(field: Any, dialect: Dialect) -> Iterator[Constraint]:
    if field is Vote.confidence:
        yield Constraint("NOT (NEW.confidence BETWEEN 0 AND 1)", "not within 0 and 1")
    elif isinstance(field, WordField):
        yield Constraint(f"NEW.{field.column_name} NOT IN ({sql_literals(field.words)})", "not one of its words")
    elif dialect.kind == SQLITE:
        yield from _sqlite_type(field)
    elif isinstance(field, StampField):
        yield _postgresql_year(field)
    if field is Agent.metrics:
        yield _metrics(dialect)


def _sqlite_type(field: Any) -> Iterator[Constraint]:
    """Refuse what SQLite would store although it is not of the column's type.

    Raises:
        TypeError: this function does not know the type of the field.
    """
    new = f"NEW.{field.column_name}"
    not_text = f"typeof({new}) <> 'text' OR instr({new}, char(0))"  # GLOB, strftime and json_valid stop at a NUL
    if isinstance(field, IdField):
        yield Constraint(f"{not_text} OR {new} NOT GLOB '{_UUID_GLOB}'", "not a UUID in dashed lower case")
    elif isinstance(field, StampField):
        whole = f"substr({new}, 1, 19)"  # with the fraction, SQLite would round to the next second
        day = f"strftime('%d', {whole}, '+0 days') IS NOT substr({new}, 9, 2)"  # differs for 24:00 and for 31 April
        condition = f"{not_text} OR {new} NOT GLOB '{_STAMP_GLOB}' OR {day} OR {new} < '0001'"
        yield Constraint(condition, "not a timestamp such as 2026-01-31T09:30:00.000000+00:00")
    elif isinstance(field, JsonField):
        yield Constraint(f"{not_text} OR NOT json_valid({new})", "not JSON")
    elif isinstance(field, TextField):
        yield Constraint(not_text, "not text")
    elif isinstance(field, IntegerField):
        yield Constraint(f"typeof({new}) <> 'integer'", "not an integer")
    elif isinstance(field, BooleanField):
        yield Constraint(f"{new} NOT IN (0, 1)", "neither 0 nor 1")
    elif not isinstance(field, ParentField | AutoField):  # foreign keys and rowids are checked by SQLite itself
        raise TypeError(f"no constraint is known for the type of {field}")


def _postgresql_year(field: Any) -> Constraint:
    """Refuse the years that PostgreSQL can store and Python's datetime cannot."""
    new = f"NEW.{field.column_name}"
    within = f"{new} >= '0001-01-01 00:00:00+00' AND {new} < '9999-12-31 24:00:00+00'"
    return Constraint(f"NOT ({within})", "not within the years 1 to 9999")


def _metrics(dialect: Dialect) -> Constraint:
    """Refuse JSON that is not an object of numbers, or whose counters are not whole and positive."""
    if dialect.kind == SQLITE:
        json = "CASE WHEN typeof(NEW.metrics) = 'text' AND json_valid(NEW.metrics) THEN NEW.metrics END"
        not_object, pairs = f"json_type({json}) <> 'object'", f"json_each({json})"
        is_number, number, whole = "type IN ('integer', 'real')", "value", "CAST(value AS INTEGER)"
    else:
        not_object = "jsonb_typeof(NEW.metrics) <> 'object'"
        pairs = f"jsonb_each(CASE WHEN {not_object} THEN NULL ELSE NEW.metrics END)"
        is_number, number, whole = "jsonb_typeof(value) = 'number'", "value::numeric", "trunc(value::numeric)"
    finite = f"{number} BETWEEN -{_LARGEST_FLOAT} AND {_LARGEST_FLOAT}"
    count = f"{number} = {whole} AND {number} BETWEEN 0 AND {INTEGER_RANGE.stop - 1}"
    fits = f"{finite} AND (key NOT IN ({sql_literals(COUNTERS)}) OR {count})"
    misfit = f"SELECT 1 FROM {pairs} WHERE CASE WHEN {is_number} THEN NOT ({fits}) ELSE TRUE END"
    return Constraint(f"{not_object} OR EXISTS ({misfit})", NO_METRICS)
