"""What the database itself refuses, whoever writes: conditions with their messages, derived from the models.

A move and its log row depend on each other. The database accepts a log row only for a transition that starts from the
row's present status, and it accepts a change of status only when this connection has just written the log row of that
change. So neither can be written alone, and the log says what was done. Guards are not checked here: they read other
rows, and the library asks them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dispatch_state.models.base import Stateful
from dispatch_state.models.decision import Decision
from dispatch_state.models.keys import ParentField
from dispatch_state.models.log import TransitionLog
from dispatch_state.models.row import Row
from dispatch_state.models.settings import ConfigEntry, SyncState
from dispatch_state.models.tables import STATEFUL
from dispatch_state.models.vote import Vote
from dispatch_state.schema.column_constraints import column_constraints
from dispatch_state.schema.dialects import Constraint, Dialect, sql_literals
from dispatch_state.storage.targets import SQLITE

INSERT, UPDATE, DELETE = "INSERT", "UPDATE", "DELETE"
INSERTED = "INSERTED"
"""After an insert: only then is it known whether SQLite chose the rowid or the statement did."""
REPLACEABLE = (ConfigEntry, SyncState)
"""The tables in which an insert may replace a row: they keep no history."""


def constraints(model: type[Row], dialect: Dialect) -> dict[str, list[Constraint]]:
    """Return the constraints of a table, by the statement that they refuse, in the order in which they are checked.

    Args:
        model: the model of the table.
        dialect: the SQL to write.
    """
    found: dict[str, list[Constraint]] = {INSERT: [], UPDATE: [], DELETE: [], INSERTED: []}
    found[INSERT] += _existing_key(model, dialect)
    found[INSERTED] += _chosen_rowid(model, dialect)
    found[UPDATE] += _changed_key(model, dialect)
    if issubclass(model, Stateful):
        found[INSERT].append(_creation(model, dialect))
        found[UPDATE].append(_move(model, dialect))
        found[DELETE] += _removal(model, dialect)
    if model is TransitionLog:
        found[INSERT] += _log_row(dialect)
        found[UPDATE].append(Constraint("TRUE", "transition_log: a move cannot be changed"))
        found[DELETE].append(Constraint("TRUE", "transition_log: a move cannot be deleted"))
    if model is Decision:
        found[UPDATE].append(_changed_decision(dialect))
        found[DELETE].append(Constraint("TRUE", "decisions: a decision cannot be deleted"))
    for column, (condition, message) in column_constraints(model, dialect):
        found[INSERT].append(Constraint(condition, message))
        found[UPDATE].append(Constraint(f"{dialect.changed(column)} AND ({condition})", message))
    return found


# ---- keys ----------------------------------------------------------------------------------------------


def _existing_key(model: type[Row], dialect: Dialect) -> Iterator[Constraint]:
    """Refuse INSERT OR REPLACE over a row: it deletes that row, and SQLite fires no trigger for the deletion."""
    table, key = model._meta.table_name, _key(model)
    if model in REPLACEABLE:
        return
    if key == "seq":
        if dialect.kind == SQLITE:
            condition = "NEW.seq <> -1"  # SQLite shows -1 where the statement gives no number
        else:
            given = f"NEW.seq < 1 OR NEW.seq > (SELECT last_value FROM {dialect.schema_prefix}{table}_seq_seq)"
            condition = f"{given} OR {dialect.exists(table, 'seq = NEW.seq')}"
        yield Constraint(condition, f"{table}.{key}: the database numbers the moves")
    else:
        yield Constraint(dialect.exists(table, f"{key} = NEW.{key}"), f"{table}.{key}: a row with this key exists")
        if dialect.kind == SQLITE:
            yield Constraint(dialect.exists(table, "rowid = NEW.rowid"), f"{table}: a row with this rowid exists")
    if model is Vote:
        pair = "proposal_id = NEW.proposal_id AND voter_id = NEW.voter_id"
        yield Constraint(dialect.exists(table, pair), "votes: this voter has already voted")


def _chosen_rowid(model: type[Row], dialect: Dialect) -> Iterator[Constraint]:
    """Refuse rowids below 1: before an insert -1 means that no rowid was given, so row -1 could be replaced."""
    if dialect.kind == SQLITE and model not in REPLACEABLE:
        yield Constraint("NEW.rowid < 1", f"{model._meta.table_name}: a rowid is at least 1")


def _key(model: type[Row]) -> str:
    key: Any = model._meta.primary_key
    return str(key.column_name)


def _changed_key(model: type[Row], dialect: Dialect) -> Iterator[Constraint]:
    table = model._meta.table_name
    keys = ["rowid"] if dialect.kind == SQLITE else []
    keys += [_key(model)] if model not in REPLACEABLE else []
    keys += ["proposal_id", "voter_id"] if model is Vote else []
    for key in keys:
        yield Constraint(dialect.changed(key), f"{table}.{key}: the key of a row cannot be changed")


# ---- lifecycles ----------------------------------------------------------------------------------------


def _logged(model: type[Row], dialect: Dialect, source: str, dest: str) -> str:
    """Return a condition that is true when the log row of this move is the last one that this connection wrote."""
    log_row = (
        f"seq = {dialect.last_log_seq} AND entity = '{model._meta.table_name}' AND entity_id = NEW.id "
        f"AND version = NEW.version AND {source} AND {dest}"
    )
    return dialect.exists("transition_log", log_row)


def _creation(model: type[Stateful], dialect: Dialect) -> Constraint:
    logged = _logged(model, dialect, "source IS NULL", "dest = NEW.status")
    existed = dialect.exists("transition_log", "entity_id = NEW.id AND version > 1")
    message = "the log row of a creation must be written just before the row"
    return Constraint(f"NOT {logged} OR {existed}", f"{model._meta.table_name}: {message}")


def _move(model: type[Stateful], dialect: Dialect) -> Constraint:
    logged = _logged(model, dialect, "source = OLD.status", "dest = NEW.status")
    moves = f"{dialect.changed('status')} OR {dialect.changed('version')}"
    return Constraint(
        f"({moves}) AND NOT (NEW.version = OLD.version + 1 AND {logged})",
        f"{model._meta.table_name}: status and version change together, and their log row must be written just before",
    )


def _removal(model: type[Stateful], dialect: Dialect) -> Iterator[Constraint]:
    table = model._meta.table_name
    log_row = (
        f"entity_id = OLD.id AND version = OLD.version + 1 AND entity = '{table}' "
        "AND source = OLD.status AND dest IS NULL"
    )
    logged = dialect.exists("transition_log", log_row)
    yield Constraint(f"NOT {logged}", f"{table}: the log row of a removal must be written before")
    for key in _owner_keys(model):
        owner = dialect.exists(key.rel_model._meta.table_name, f"id = OLD.{key.column_name}")
        live = f"OLD.status NOT IN ({sql_literals(model.machine.final)})"
        message = "a row whose status is not final can be removed only with its owner"
        yield Constraint(f"{live} AND {owner}", f"{table}: {message}")


def _log_row(dialect: Dialect) -> Iterator[Constraint]:
    tables = "".join(f" WHEN '{model._meta.table_name}' THEN {_next_move(model, dialect)}" for model in STATEFUL)
    yield Constraint(
        f"(CASE NEW.entity{tables} ELSE FALSE END) IS NOT TRUE",
        "transition_log: not a move that its row can make now",
    )
    unknown = f"NOT {dialect.exists('transition_log', 'seq = NEW.cause_seq')}"
    yield Constraint(f"NEW.cause_seq IS NOT NULL AND {unknown}", "transition_log.cause_seq: there is no such move")
    repeated = dialect.exists("transition_log", "entity_id = NEW.entity_id AND version = NEW.version")
    yield Constraint(repeated, "transition_log: this version of the row has its move already")


def _next_move(model: type[Stateful], dialect: Dialect) -> str:
    """Return a condition that is true when the row that a log row names can make that move from its present status."""
    table, machine = model._meta.table_name, model.machine
    stands = dialect.exists(table, "id = NEW.entity_id AND status = NEW.source AND version = NEW.version - 1")
    absent = f"NOT {dialect.exists(table, 'id = NEW.entity_id')}"
    removable = "TRUE" if _owner_keys(model) else f"NEW.source IN ({sql_literals(machine.final)})"
    edges = " ".join(f"WHEN '{name}' THEN {' OR '.join(_edges(trigger))}" for name, trigger in machine.triggers.items())
    created = f"NEW.source IS NULL AND NEW.dest IN ({sql_literals(machine.births)}) AND NEW.version = 1"
    return (
        "CASE NEW.trigger "
        f"WHEN 'create' THEN {created} AND {absent} "
        f"WHEN 'remove' THEN NEW.dest IS NULL AND {removable} AND {stands} "
        f"ELSE {stands} AND CASE NEW.trigger {edges} ELSE FALSE END END"
    )


def _edges(trigger: Any) -> Iterator[str]:
    """Yield a condition for each status that a trigger leads to: the source in the log row leads there."""
    sources: dict[str, list[str]] = {}
    for edge in trigger.edges.values():
        sources.setdefault(edge.dest, []).append(edge.source)
    for dest, starts in sources.items():
        yield f"NEW.dest = '{dest}' AND NEW.source IN ({sql_literals(starts)})"


def _owner_keys(model: type[Row]) -> list[Any]:
    """Return the foreign keys whose parent takes the row along when it is deleted, whatever the row's status."""
    keys: list[Any] = model._meta.refs
    return [key for key in keys if key.on_delete == "CASCADE"]


def _changed_decision(dialect: Dialect) -> Constraint:
    """Refuse every change, except that a key becomes NULL when the row that it names is gone."""
    changes = []
    for field in Decision._meta.sorted_fields:
        changed = dialect.changed(field.column_name)
        if isinstance(field, ParentField):
            parent_exists = dialect.exists(field.rel_model._meta.table_name, f"id = OLD.{field.column_name}")
            changed = f"{changed} AND (NEW.{field.column_name} IS NOT NULL OR {parent_exists})"
        changes.append(f"({changed})")
    return Constraint(" OR ".join(changes), "decisions: a decision cannot be changed")
