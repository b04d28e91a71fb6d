"""What the database itself refuses, whoever writes: a condition and a sentence each, derived from the models.

A move is held by its log row. The log takes a row only for an edge of the machine that starts where the
row stands now, and a status takes a change only when the log row of just that change is the last one that
its connection wrote. So neither can be written alone, and what the log says is what was done. Guards are not
asked here: they read other rows, and are the library's.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from dispatch_state.models.agent import Agent
from dispatch_state.models.base import Stateful
from dispatch_state.models.decision import Decision
from dispatch_state.models.keys import ParentField
from dispatch_state.models.log import TransitionLog
from dispatch_state.models.metrics import COUNTERS, NO_METRICS
from dispatch_state.models.row import Row
from dispatch_state.models.settings import ConfigEntry, SyncState
from dispatch_state.models.tables import STATEFUL
from dispatch_state.models.vote import Vote
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

INSERT, UPDATE, DELETE = "INSERT", "UPDATE", "DELETE"
PLACED = "INSERTED"
"""After an insert, when a place that SQLite chose can be told from one that was given."""
REPLACEABLE = (ConfigEntry, SyncState)
"""Tables of which one may insert over what is there: they keep no history."""


class Refusal(NamedTuple):
    """A condition on NEW and OLD under which a write is refused, and what is said then."""

    when: str
    says: str


class Dialect(NamedTuple):
    """Where the databases' words differ.

    kind: "sqlite" or "postgresql".
    place: what stands before a table's name.
    written: the `seq` of the log row that this connection wrote last, on PostgreSQL in this transaction.
    """

    kind: str
    place: str
    written: str

    def changed(self, column: str) -> str:
        """Whether an update changes a column."""
        differs = "IS NOT" if self.kind == SQLITE else "IS DISTINCT FROM"
        return f"NEW.{column} {differs} OLD.{column}"

    def exists(self, table: str, condition: str) -> str:
        """Whether a table has such a row."""
        return f"EXISTS (SELECT 1 FROM {self.place}{table} WHERE {condition})"


def refusals(model: type[Row], dialect: Dialect) -> dict[str, list[Refusal]]:
    """What is refused of a table, by the statement that would do it, in the order it is asked."""
    found: dict[str, list[Refusal]] = {INSERT: [], UPDATE: [], DELETE: [], PLACED: []}
    found[INSERT] += _insert_over(model, dialect)
    found[PLACED] += _chosen_place(model, dialect)
    found[UPDATE] += _another_key(model, dialect)
    if issubclass(model, Stateful):
        found[INSERT].append(_birth(model, dialect))
        found[UPDATE].append(_move(model, dialect))
        found[DELETE] += _removal(model, dialect)
    if model is TransitionLog:
        found[INSERT] += _log_row(dialect)
        found[UPDATE].append(Refusal("TRUE", "transition_log: a move that was made is not rewritten"))
        found[DELETE].append(Refusal("TRUE", "transition_log: a move that was made is not deleted"))
    if model is Decision:
        found[UPDATE].append(_rewritten_decision(dialect))
        found[DELETE].append(Refusal("TRUE", "decisions: a decision is not deleted"))
    for column, bad, says in malformed(model, dialect):
        found[INSERT].append(Refusal(bad, says))
        found[UPDATE].append(Refusal(f"{dialect.changed(column)} AND ({bad})", says))
    return found


# ---- keys ----------------------------------------------------------------------------------------------


def _insert_over(model: type[Row], dialect: Dialect) -> Iterator[Refusal]:
    """INSERT OR REPLACE deletes what is in its way, and SQLite fires no trigger for that."""
    table, key = model._meta.table_name, _key(model)
    if model in REPLACEABLE:
        return
    if key == "seq":
        if dialect.kind == SQLITE:
            when = "NEW.seq <> -1"  # which it is where none is given
        else:
            given = f"NEW.seq < 1 OR NEW.seq > (SELECT last_value FROM {dialect.place}{table}_seq_seq)"
            when = f"{given} OR {dialect.exists(table, 'seq = NEW.seq')}"
        yield Refusal(when, f"{table}.{key}: moves are numbered by the database")
    else:
        yield Refusal(dialect.exists(table, f"{key} = NEW.{key}"), f"{table}.{key}: there is such a row")
        if dialect.kind == SQLITE:
            yield Refusal(dialect.exists(table, "rowid = NEW.rowid"), f"{table}: there is a row in that place")
    if model is Vote:
        pair = "proposal_id = NEW.proposal_id AND voter_id = NEW.voter_id"
        yield Refusal(dialect.exists(table, pair), "votes: there is a vote of that voter")


def _chosen_place(model: type[Row], dialect: Dialect) -> Iterator[Refusal]:
    """Before an insert -1 stands for no place, so a row in that place could be written over."""
    if dialect.kind == SQLITE and model not in REPLACEABLE:
        yield Refusal("NEW.rowid < 1", f"{model._meta.table_name}: rows are placed by the database")


def _key(model: type[Row]) -> str:
    key: Any = model._meta.primary_key
    return str(key.column_name)


def _another_key(model: type[Row], dialect: Dialect) -> Iterator[Refusal]:
    table = model._meta.table_name
    keys = ["rowid"] if dialect.kind == SQLITE else []
    keys += [_key(model)] if model not in REPLACEABLE else []
    keys += ["proposal_id", "voter_id"] if model is Vote else []
    for key in keys:
        yield Refusal(dialect.changed(key), f"{table}.{key}: a row keeps its key")


# ---- lifecycles ----------------------------------------------------------------------------------------


def _its_log_row(model: type[Row], dialect: Dialect, source: str, dest: str) -> str:
    """Whether the log row of this very move is the last one this connection wrote."""
    told = (
        f"seq = {dialect.written} AND entity = '{model._meta.table_name}' AND entity_id = NEW.id "
        f"AND version = NEW.version AND {source} AND {dest}"
    )
    return dialect.exists("transition_log", told)


def _birth(model: type[Stateful], dialect: Dialect) -> Refusal:
    logged = _its_log_row(model, dialect, "source IS NULL", "dest = NEW.status")
    lived = dialect.exists("transition_log", "entity_id = NEW.id AND version > 1")
    return Refusal(
        f"NOT {logged} OR {lived}", f"{model._meta.table_name}: a row is born with its log row, written just before"
    )


def _move(model: type[Stateful], dialect: Dialect) -> Refusal:
    logged = _its_log_row(model, dialect, "source = OLD.status", "dest = NEW.status")
    moves = f"{dialect.changed('status')} OR {dialect.changed('version')}"
    return Refusal(
        f"({moves}) AND NOT (NEW.version = OLD.version + 1 AND {logged})",
        f"{model._meta.table_name}: status and version move together with their log row, written just before",
    )


def _removal(model: type[Stateful], dialect: Dialect) -> Iterator[Refusal]:
    told = (
        f"entity_id = OLD.id AND version = OLD.version + 1 AND entity = '{model._meta.table_name}' "
        "AND source = OLD.status AND dest IS NULL"
    )
    table, logged = model._meta.table_name, dialect.exists("transition_log", told)
    yield Refusal(f"NOT {logged}", f"{table}: a row goes with its log row, written before")
    for key in _owners(model):
        owner = dialect.exists(key.rel_model._meta.table_name, f"id = OLD.{key.column_name}")
        unsettled = f"OLD.status NOT IN ({quoted(model.machine.final)})"
        yield Refusal(f"{unsettled} AND {owner}", f"{table}: a row that is not final goes with its owner only")


def _log_row(dialect: Dialect) -> Iterator[Refusal]:
    tables = "".join(f" WHEN '{m._meta.table_name}' THEN {_next_move(m, dialect)}" for m in STATEFUL)
    yield Refusal(
        f"(CASE NEW.entity{tables} ELSE FALSE END) IS NOT TRUE",
        "transition_log: no move that its row can make now",
    )
    unknown = f"NOT {dialect.exists('transition_log', 'seq = NEW.cause_seq')}"
    yield Refusal(f"NEW.cause_seq IS NOT NULL AND {unknown}", "transition_log.cause_seq: there is no such move")
    repeated = dialect.exists("transition_log", "entity_id = NEW.entity_id AND version = NEW.version")
    yield Refusal(repeated, "transition_log: that version of that row has its move")


def _next_move(model: type[Stateful], dialect: Dialect) -> str:
    """Whether the log row tells of a move that the row it names can make from where it stands."""
    table, machine = model._meta.table_name, model.machine
    stands = dialect.exists(table, "id = NEW.entity_id AND status = NEW.source AND version = NEW.version - 1")
    absent = f"NOT {dialect.exists(table, 'id = NEW.entity_id')}"
    ends = "TRUE" if _owners(model) else f"NEW.source IN ({quoted(machine.final)})"
    edges = " ".join(f"WHEN '{name}' THEN {' OR '.join(_edges(trigger))}" for name, trigger in machine.triggers.items())
    born = f"NEW.source IS NULL AND NEW.dest IN ({quoted(machine.births)}) AND NEW.version = 1"
    return (
        "CASE NEW.trigger "
        f"WHEN 'create' THEN {born} AND {absent} "
        f"WHEN 'remove' THEN NEW.dest IS NULL AND {ends} AND {stands} "
        f"ELSE {stands} AND CASE NEW.trigger {edges} ELSE FALSE END END"
    )


def _edges(trigger: Any) -> Iterator[str]:
    sources: dict[str, list[str]] = {}
    for edge in trigger.edges.values():
        sources.setdefault(edge.dest, []).append(edge.source)
    for dest, starts in sources.items():
        yield f"NEW.dest = '{dest}' AND NEW.source IN ({quoted(starts)})"


def _owners(model: type[Row]) -> list[Any]:
    """The keys of the rows that take it along when they go; then it goes wherever it stands."""
    keys: list[Any] = model._meta.refs
    return [key for key in keys if key.on_delete == "CASCADE"]


def _rewritten_decision(dialect: Dialect) -> Refusal:
    """Anything but a key that becomes NULL when the row it named is gone."""
    changes = []
    for field in Decision._meta.sorted_fields:
        changed = dialect.changed(field.column_name)
        if isinstance(field, ParentField):
            still = dialect.exists(field.rel_model._meta.table_name, f"id = OLD.{field.column_name}")
            changed = f"{changed} AND (NEW.{field.column_name} IS NOT NULL OR {still})"
        changes.append(f"({changed})")
    return Refusal(" OR ".join(changes), "decisions: a decision is not rewritten")


# ---- values --------------------------------------------------------------------------------------------

_ID = "-".join("[0-9a-f]" * length for length in (8, 4, 4, 4, 12))
_GREATEST = repr(sys.float_info.max)
_STAMP = f"{'-'.join('[0-9]' * length for length in (4, 2, 2))}T{':'.join(['[0-9]' * 2] * 3)}.{'[0-9]' * 6}+00:00"


def malformed(model: type[Row], dialect: Dialect) -> Iterator[tuple[str, str, str]]:
    """Each column that can be wrong in itself: its name, the condition on NEW, and what is said."""
    for field in model._meta.sorted_fields:
        told = _word(field) or (_another_type(field) if dialect.kind == SQLITE else _beyond_the_calendar(field))
        if model is Vote and field.name == "confidence":
            told = "NOT (NEW.confidence BETWEEN 0 AND 1)", "not within 0 and 1"
        for bad, says in filter(None, (told, _no_metrics(dialect) if field is Agent.metrics else None)):
            column = field.column_name
            yield (
                column,
                f"NEW.{column} IS NOT NULL AND ({bad})" if field.null else bad,
                f"{model._meta.table_name}.{column}: {says}",
            )


def _word(field: Any) -> tuple[str, str] | None:
    if not isinstance(field, WordField):
        return None
    return f"NEW.{field.column_name} NOT IN ({quoted(field.words)})", "not one of its words"


def _another_type(field: Any) -> tuple[str, str] | None:
    """What SQLite would store although it is not of the column's type."""
    new = f"NEW.{field.column_name}"
    other = f"typeof({new}) <> 'text' OR instr({new}, char(0))"  # GLOB, strftime and json_valid read up to a NUL
    if isinstance(field, IdField):
        return f"{other} OR {new} NOT GLOB '{_ID}'", "not a UUID in dashed lower case"
    if isinstance(field, StampField):
        whole = f"substr({new}, 1, 19)"  # with its fraction SQLite would round to the next second
        day = f"strftime('%d', {whole}, '+0 days') IS NOT substr({new}, 9, 2)"  # another one for 24:00 and 31 April
        return (
            f"{other} OR {new} NOT GLOB '{_STAMP}' OR {day} OR {new} < '0001'",
            "not a timestamp such as 2026-01-31T09:30:00.000000+00:00",
        )
    if isinstance(field, JsonField):
        return f"{other} OR NOT json_valid({new})", "not JSON"
    if isinstance(field, TextField):
        return other, "not text"
    if isinstance(field, IntegerField):
        return f"typeof({new}) <> 'integer'", "not an integer"
    if isinstance(field, BooleanField):
        return f"{new} NOT IN (0, 1)", "neither 0 nor 1"
    return None


def _beyond_the_calendar(field: Any) -> tuple[str, str] | None:
    """What PostgreSQL takes for a moment although Python has no such year."""
    if not isinstance(field, StampField):
        return None
    new = f"NEW.{field.column_name}"
    within = f"{new} >= '0001-01-01 00:00:00+00' AND {new} < '9999-12-31 24:00:00+00'"
    return f"NOT ({within})", "not within the years 1 to 9999"


def _no_metrics(dialect: Dialect) -> tuple[str, str]:
    """What is JSON, and no object of numbers."""
    if dialect.kind == SQLITE:
        held = "CASE WHEN typeof(NEW.metrics) = 'text' AND json_valid(NEW.metrics) THEN NEW.metrics END"
        another, pairs = f"json_type({held}) <> 'object'", f"json_each({held})"
        is_number, number, whole = "type IN ('integer', 'real')", "value", "CAST(value AS INTEGER)"
    else:
        another = "jsonb_typeof(NEW.metrics) <> 'object'"
        pairs = f"jsonb_each(CASE WHEN {another} THEN NULL ELSE NEW.metrics END)"
        is_number, number, whole = "jsonb_typeof(value) = 'number'", "value::numeric", "trunc(value::numeric)"
    finite = f"{number} BETWEEN -{_GREATEST} AND {_GREATEST}"
    count = f"{number} = {whole} AND {number} BETWEEN 0 AND {INTEGER_RANGE.stop - 1}"
    fits = f"{finite} AND (key NOT IN ({quoted(COUNTERS)}) OR {count})"
    odd = f"SELECT 1 FROM {pairs} WHERE CASE WHEN {is_number} THEN NOT ({fits}) ELSE TRUE END"
    return f"{another} OR EXISTS ({odd})", NO_METRICS


def quoted(words: Iterable[str]) -> str:
    """Words as SQL's literals; none of ours has a quote in it."""
    return ", ".join(f"'{word}'" for word in words)
