"""A database that another program made from the seed's schema becomes one of ours.

Ids, times and words are rewritten to our form, in one transaction; what cannot be stops it, and the file is as it was.
Other tables, views and triggers in the file stay; their foreign keys to our rows go on naming the same ones.
Each row with a lifecycle gets version 1 and a log row `adopt`, which says where it was found. Rows that break an
invariant are taken as they are: `verify()` names them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
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
from dispatch_state.storage.fields import BooleanField, IdField, JsonField, StampField, WordField
from dispatch_state.storage.sqlite import SqliteStore

ADOPTION = System("adoption")
OURS = {"version", "votes.preferred_option", "gates.options", "gates.chosen_option", "gates.auto_approve_at"}
"""Columns that the seed has not."""
SEED: tuple[type[Row], ...] = tuple(model for model in EVERY if model is not TransitionLog)
SQLX, VERSIONS = "_sqlx_migrations", (1, 2, 3)
"""Where sqlx keeps which migrations were made, and those that make the seed."""
REFUSED = "this database cannot be adopted, and nothing was changed"
SHOWN = 20
"""How many of the values that stop it are named."""
_FRACTION = re.compile(r"(\.\d{6})\d+")


def has_the_seeds_tables(database: SqliteStore) -> bool:
    """Whether a database has the seed's tables, with just its columns."""
    if not {model._meta.table_name for model in SEED} <= set(database.get_tables()):
        return False
    return all(_there(database, model) == {field.column_name for field in _columns(model)} for model in SEED)


def refuse_unfinished(database: SqliteStore) -> None:
    """Raise `MigrationFailed` when sqlx, with which the seed's program makes its tables, says that they are others."""
    if not {"version", "success"} <= {column.name for column in database.get_columns(SQLX)}:
        return
    for version, success in database.execute_sql(f"SELECT version, success FROM {SQLX} ORDER BY version").fetchall():
        if success != 1:
            raise MigrationFailed(f"{REFUSED}: migration {version} of the program that made it failed ({SQLX})")
        if version not in VERSIONS:
            raise MigrationFailed(f"{REFUSED}: a newer version of that program has made migration {version} ({SQLX})")


def _there(database: SqliteStore, model: type[Row]) -> set[str]:
    return {name for _, name, *_ in database.execute_sql(f"PRAGMA table_info({model._meta.table_name})").fetchall()}


def _columns(model: Any) -> list[Any]:
    table = model._meta.table_name
    return [f for f in model._meta.sorted_fields if not {f.column_name, f"{table}.{f.column_name}"} & OURS]


# ---- rewriting -----------------------------------------------------------------------------------------


def rewrite(database: SqliteStore) -> None:
    """Bring every value to our form, in the open transaction.

    Raises:
        MigrationFailed: some cannot be; they are named by table, id and column.
    """
    database.execute_sql("PRAGMA defer_foreign_keys = ON")
    _follow(database)
    with database.undecodable_text_as_bytes():
        problems = [problem for model in SEED for problem in _rewritten(database, model)]
    problems = problems or list(_orphans(database))
    if problems:
        told = "; ".join(problems[:SHOWN])
        more = f"; and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        raise MigrationFailed(f"{REFUSED}: {told}{more}")


def _follow(database: SqliteStore) -> None:
    """Bring what other tables hold of our ids to our form too, where a foreign key says so."""
    parents = {model._meta.table_name for model in SEED if isinstance(model._meta.primary_key, IdField)}
    database.connection().create_function("dispatch_id", 1, _id_or_same, deterministic=True)
    for table in set(database.get_tables()) - {model._meta.table_name for model in SEED}:
        for _, _, parent, column, key, *_ in database.execute_sql(
            f"PRAGMA foreign_key_list({_quoted(table)})"
        ).fetchall():
            if parent.lower() in parents and (key or "id").lower() == "id":
                name = _quoted(column)
                database.execute_sql(
                    f"UPDATE {_quoted(table)} SET {name} = dispatch_id({name}) "
                    f"WHERE {name} <> dispatch_id({name}) AND {name} IN (SELECT id FROM {parent})"
                )


def _quoted(name: str) -> str:
    return '"{}"'.format(name.replace('"', '""'))


def _id_or_same(value: Any) -> Any:
    try:
        return str(_id(value))
    except InvalidValue:
        return value


def _rewritten(database: SqliteStore, model: type[Row]) -> Iterator[str]:
    """What of a table cannot be brought to our form; what can be, is."""
    table, columns = model._meta.table_name, _columns(model)
    names = [column.column_name for column in columns]
    key: Any = model._meta.primary_key
    seen: set[Any] = set()
    changes: list[tuple[dict[str, Any], int]] = []
    for rowid, *held in database.execute_sql(f"SELECT rowid, {', '.join(names)} FROM {table}").fetchall():
        row = dict(zip(names, held, strict=True))
        where = f"{table} {values.shown(row[key.column_name])}"
        meant = {}
        for column in columns:
            try:
                meant[column.column_name] = _meant(model, column, row)
            except InvalidValue as error:
                yield f"{where}: {column.column_name}: {str(error).removeprefix(f'{column.place}: ')}"
        if meant.get(key.column_name) in seen:
            yield f"{where}: {key.column_name}: another row has that id"
            return
        seen.add(meant.get(key.column_name))
        if changed := {name: value for name, value in meant.items() if value != row[name]}:
            changes.append((changed, rowid))
    for changed, rowid in changes:
        assigned = ", ".join(f"{name} = ?" for name in changed)
        database.execute_sql(f"UPDATE {table} SET {assigned} WHERE rowid = ?", (*changed.values(), rowid))


def _meant(model: type[Row], column: Any, row: dict[str, Any]) -> Any:
    """A stored value in our form."""
    value = row[column.column_name]
    if value is None and model is Proposal and column.name == "required_voters":
        return json_values.json_text(
            default_voters(Proposal.proposal_type.check(_word(row["proposal_type"]))), column.place
        )
    if value is None or isinstance(value, bytes):
        return column.parameter(column.check(None)) if value is None else _refuse("not text in UTF-8")
    if isinstance(column, IdField | ParentField):
        return str(_id(value))
    if isinstance(column, StampField):
        return values.stamp(_moment(value))
    if isinstance(column, JsonField):
        return _json(column, value)
    if isinstance(column, BooleanField):
        return value if value in (0, 1) else _refuse("neither 0 nor 1")
    return column.parameter(column.check(_word(value) if isinstance(column, WordField) else value))


def _refuse(why: str) -> Any:
    raise InvalidValue(why)


def _id(value: Any) -> UUID:
    try:
        return UUID(value.strip())
    except (ValueError, AttributeError):
        raise InvalidValue("not a UUID") from None


def _moment(value: Any) -> Any:
    """RFC 3339 with any offset, and fractions of a second that may be finer than ours."""
    try:
        return values.parse_instant(_FRACTION.sub(r"\1", value.strip()))
    except (ValueError, AttributeError, TypeError, OverflowError):
        raise InvalidValue("not a moment in ISO 8601") from None


def _word(value: Any) -> Any:
    return value.strip().lower().replace("-", "_").replace(" ", "_") if isinstance(value, str) else value


def _json(column: JsonField, value: Any) -> Any:
    try:
        held = json_values.parse_json(value)
    except (ValueError, TypeError, RecursionError):
        raise InvalidValue("not JSON") from None
    if column is Agent.metrics and isinstance(held, dict) and None in held.values():  # what was never measured
        held = {name: number for name, number in held.items() if number is not None}
        value = json_values.stored_json(held)
    json_values.json_text(held, column.place, longest=None)
    if held is not None or not column.null:
        column.check_shape(held)
    return value if held is not None or not column.null else None


def _orphans(database: SqliteStore) -> Iterator[str]:
    for model in SEED:
        yield from _orphans_of(database, model._meta.table_name)


def _orphans_of(database: SqliteStore, table: str) -> Iterator[str]:
    for _, rowid, parent, number in database.execute_sql(f"PRAGMA foreign_key_check({table})").fetchall():
        keys = {key[0]: key[3] for key in database.execute_sql(f"PRAGMA foreign_key_list({table})").fetchall()}
        (key,) = database.execute_sql(f"SELECT id FROM {table} WHERE rowid = ?", (rowid,)).fetchone()
        yield f"{table} {values.shown(key)}: {keys[number]}: names a row that is not in {parent}"


# ---- the log -------------------------------------------------------------------------------------------


def log(database: SqliteStore) -> None:
    """Write where each row with a lifecycle was found, in the open transaction; no trigger stands then."""
    now = values.stamp(values.utc_now())
    for model in STATEFUL:
        table = model._meta.table_name
        database.execute_sql(
            'INSERT INTO transition_log (entity, entity_id, version, "trigger", dest, actor, created_at) '
            f"SELECT ?, id, 1, 'adopt', status, ?, ? FROM {table} ORDER BY {model.creation_stamps[0]}, id",
            (table, ADOPTION.actor, now),
        )
