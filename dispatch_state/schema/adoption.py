"""Adoption: turns a database that another program made from the seed's schema into one of ours.

Ids, times and words are rewritten to our form in one transaction. A value that cannot be rewritten stops the adoption,
and the file stays as it was. Other tables, views and triggers in the file stay; their foreign keys to our rows still
name the same rows. Each row with a lifecycle gets version 1 and a log row `adopt`, which records the status in which it
was found. Rows that break an invariant are adopted as they are: `verify()` reports them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any
from uuid import UUID

from dispatch_state import json_values, values
from dispatch_state.actors import System
from dispatch_state.errors import InvalidValue, MigrationFailed
from dispatch_state.models.agent import Agent
from dispatch_state.models.keys import ParentField
from dispatch_state.models.log import TransitionLog
from dispatch_state.models.proposal import Proposal, default_voters
from dispatch_state.models.row import Row
from dispatch_state.models.tables import EVERY, STATEFUL
from dispatch_state.schema.runner import migrations_folder
from dispatch_state.storage.fields import BooleanField, IdField, JsonField, StampField, WordField
from dispatch_state.storage.sqlite import SqliteStore

ADOPTION = System("adoption")
SEED_MODELS: tuple[type[Row], ...] = tuple(model for model in EVERY if model is not TransitionLog)
SQLX_HISTORY, SEED_VERSIONS = "_sqlx_migrations", (1, 2, 3)
"""The table in which sqlx lists the migrations that were applied, and the versions that make the seed's tables."""
REFUSED = "this database cannot be adopted, and nothing was changed"
MAX_SHOWN = 20
"""The maximum number of values that a message names."""
SEED_MIGRATIONS = ("001_initial_schema", "002_add_epics", "003_add_governance")
"""The migrations that make the seed's tables, word for word as the seed's program has them."""
_COLUMN = re.compile(r"^ +(\w+) (?:TEXT|INTEGER|REAL)", re.MULTILINE)
_ADDED = re.compile(r"ALTER TABLE (\w+) ADD COLUMN (\w+)")
_FRACTION = re.compile(r"(\.\d{6})\d+")


def has_seed_tables(database: SqliteStore) -> bool:
    """Return whether a database has all of the seed's tables, with exactly the seed's columns."""
    if not {model._meta.table_name for model in SEED_MODELS} <= set(database.get_tables()):
        return False
    return all(
        _existing_columns(database, model) == {field.column_name for field in _seed_columns(model)}
        for model in SEED_MODELS
    )


def check_sqlx_history(database: SqliteStore) -> None:
    """Check the migrations that the seed's program has applied; it makes its tables with sqlx.

    Raises:
        MigrationFailed: one of them failed, or is newer than the seed.
    """
    if not {"version", "success"} <= {column.name for column in database.get_columns(SQLX_HISTORY)}:
        return
    query = f"SELECT version, success FROM {SQLX_HISTORY} ORDER BY version"
    for version, success in database.execute_sql(query).fetchall():
        if success != 1:
            raise MigrationFailed(
                f"{REFUSED}: migration {version} of the program that made the database failed ({SQLX_HISTORY})"
            )
        if version not in SEED_VERSIONS:
            raise MigrationFailed(
                f"{REFUSED}: a newer version of that program has applied migration {version} ({SQLX_HISTORY})"
            )


def _existing_columns(database: SqliteStore, model: type[Row]) -> set[str]:
    return {name for _, name, *_ in database.execute_sql(f"PRAGMA table_info({model._meta.table_name})").fetchall()}


def _seed_columns(model: Any) -> list[Any]:
    seed = columns_of_the_seed()[model._meta.table_name]
    return [field for field in model._meta.sorted_fields if field.column_name in seed]


@cache
def columns_of_the_seed() -> Mapping[str, set[str]]:
    """Return the names of the seed's columns by table, as its migrations have them."""
    text = "\n".join((migrations_folder() / f"{name}.py").read_text() for name in SEED_MIGRATIONS)
    columns: dict[str, set[str]] = {}
    for statement in text.split("CREATE TABLE ")[1:]:
        table, _, body = statement.partition("\n)")[0].partition(" (")
        columns[table] = set(_COLUMN.findall(body))
    for table, column in _ADDED.findall(text):
        columns[table].add(column)
    return columns


# ---- rewriting -----------------------------------------------------------------------------------------


def convert_values(database: SqliteStore) -> None:
    """Rewrite every value to our form, in the open transaction.

    Raises:
        MigrationFailed: some values cannot be rewritten; the message names them by table, id and column.
    """
    database.execute_sql("PRAGMA defer_foreign_keys = ON")
    _convert_foreign_ids(database)
    with database.undecodable_text_as_bytes():
        problems = [problem for model in SEED_MODELS for problem in _convert_table(database, model)]
    problems = problems or list(_orphans(database))
    if problems:
        shown = "; ".join(problems[:MAX_SHOWN])
        more = f"; and {len(problems) - MAX_SHOWN} more" if len(problems) > MAX_SHOWN else ""
        raise MigrationFailed(f"{REFUSED}: {shown}{more}")


def _convert_foreign_ids(database: SqliteStore) -> None:
    """Rewrite our ids in the tables of other programs too, where a foreign key names one of our tables."""
    parents = {model._meta.table_name for model in SEED_MODELS if isinstance(model._meta.primary_key, IdField)}
    database.connection().create_function("dispatch_id", 1, _id_or_same, deterministic=True)
    for table in set(database.get_tables()) - {model._meta.table_name for model in SEED_MODELS}:
        for _, _, parent, column, key, *_ in database.execute_sql(
            f"PRAGMA foreign_key_list({_quoted_name(table)})"
        ).fetchall():
            if parent.lower() in parents and (key or "id").lower() == "id":
                name = _quoted_name(column)
                database.execute_sql(
                    f"UPDATE {_quoted_name(table)} SET {name} = dispatch_id({name}) "
                    f"WHERE {name} <> dispatch_id({name}) AND {name} IN (SELECT id FROM {parent})"
                )


def _quoted_name(name: str) -> str:
    return '"{}"'.format(name.replace('"', '""'))


def _id_or_same(value: Any) -> Any:
    try:
        return str(_parsed_id(value))
    except InvalidValue:
        return value


def _convert_table(database: SqliteStore, model: type[Row]) -> Iterator[str]:
    """Rewrite the values of a table, and yield a sentence about each value that cannot be rewritten."""
    table, columns = model._meta.table_name, _seed_columns(model)
    names = [column.column_name for column in columns]
    key: Any = model._meta.primary_key
    seen: set[Any] = set()
    changes: list[tuple[dict[str, Any], int]] = []
    for rowid, *held in database.execute_sql(f"SELECT rowid, {', '.join(names)} FROM {table}").fetchall():
        row = dict(zip(names, held, strict=True))
        where = f"{table} {values.shown(row[key.column_name])}"
        converted = {}
        for column in columns:
            try:
                converted[column.column_name] = _converted(model, column, row)
            except InvalidValue as error:
                yield f"{where}: {column.column_name}: {str(error).removeprefix(f'{column.place}: ')}"
        if converted.get(key.column_name) in seen:
            yield f"{where}: {key.column_name}: another row has the same id"
            return
        seen.add(converted.get(key.column_name))
        if changed := {name: value for name, value in converted.items() if value != row[name]}:
            changes.append((changed, rowid))
    for changed, rowid in changes:
        assigned = ", ".join(f"{name} = ?" for name in changed)
        database.execute_sql(f"UPDATE {table} SET {assigned} WHERE rowid = ?", (*changed.values(), rowid))


def _converted(model: type[Row], column: Any, row: dict[str, Any]) -> Any:
    """Return a stored value in our form.

    Raises:
        InvalidValue: the value cannot be rewritten.
    """
    value = row[column.column_name]
    if value is None and model is Proposal and column.name == "required_voters":
        proposal_type = Proposal.proposal_type.check(_normalized_word(row["proposal_type"]))
        return json_values.json_text(default_voters(proposal_type), column.place)
    if value is None or isinstance(value, bytes):
        return column.parameter(column.check(None)) if value is None else _reject("not text in UTF-8")
    if isinstance(column, IdField | ParentField):
        return str(_parsed_id(value))
    if isinstance(column, StampField):
        return values.stamp(_parsed_instant(value))
    if isinstance(column, JsonField):
        return _checked_json(column, value)
    if isinstance(column, BooleanField):
        return value if value in (0, 1) else _reject("neither 0 nor 1")
    return column.parameter(column.check(_normalized_word(value) if isinstance(column, WordField) else value))


def _reject(why: str) -> Any:
    raise InvalidValue(why)


def _parsed_id(value: Any) -> UUID:
    try:
        return UUID(value.strip())
    except (ValueError, AttributeError):
        raise InvalidValue("not a UUID") from None


def _parsed_instant(value: Any) -> Any:
    """Parse a timestamp of RFC 3339 with any offset; fractions of a second are cut to microseconds."""
    try:
        return values.parse_instant(_FRACTION.sub(r"\1", value.strip()))
    except (ValueError, AttributeError, TypeError, OverflowError):
        raise InvalidValue("not a moment in ISO 8601") from None


def _normalized_word(value: Any) -> Any:
    return value.strip().lower().replace("-", "_").replace(" ", "_") if isinstance(value, str) else value


def _checked_json(column: JsonField, value: Any) -> Any:
    try:
        held = json_values.parse_json(value)
    except (ValueError, TypeError, RecursionError):
        raise InvalidValue("not JSON") from None
    if column is Agent.metrics and isinstance(held, dict) and None in held.values():  # null: it was never measured
        held = {name: number for name, number in held.items() if number is not None}
        value = json_values.stored_json(held)
    json_values.json_text(held, column.place, longest=None)
    if held is not None or not column.null:
        column.check_shape(held)
    return value if held is not None or not column.null else None


def _orphans(database: SqliteStore) -> Iterator[str]:
    """Yield a sentence about each foreign key that names a row that does not exist."""
    for model in SEED_MODELS:
        yield from _orphans_in(database, model._meta.table_name)


def _orphans_in(database: SqliteStore, table: str) -> Iterator[str]:
    for _, rowid, parent, number in database.execute_sql(f"PRAGMA foreign_key_check({table})").fetchall():
        keys = {key[0]: key[3] for key in database.execute_sql(f"PRAGMA foreign_key_list({table})").fetchall()}
        (key,) = database.execute_sql(f"SELECT id FROM {table} WHERE rowid = ?", (rowid,)).fetchone()
        yield f"{table} {values.shown(key)}: {keys[number]}: names a row that is not in {parent}"


# ---- the log -------------------------------------------------------------------------------------------


def log_adoption(database: SqliteStore) -> None:
    """Write the log row `adopt` of each row with a lifecycle, in the open transaction, without triggers."""
    now = values.stamp(values.utc_now())
    for model in STATEFUL:
        table = model._meta.table_name
        database.execute_sql(
            'INSERT INTO transition_log (entity, entity_id, version, "trigger", dest, actor, created_at) '
            f"SELECT ?, id, 1, 'adopt', status, ?, ? FROM {table} ORDER BY {model.creation_stamps[0]}, id",
            (table, ADOPTION.actor, now),
        )
