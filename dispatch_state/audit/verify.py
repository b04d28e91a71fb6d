"""Whether a store is sound: every invariant asked, the log folded, and each row named that breaks one.

One moment of the store is read, while others may go on writing. The questions are queries that return only
what is wrong, so that a store of any size costs no memory; what a query cannot judge (actors, the shape of
JSON) is read page by page. Nothing of what is found is trusted: a column may hold anything.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID

from dispatch_state import actors
from dispatch_state.audit.invariants import invariants
from dispatch_state.errors import InvalidValue, SchemaTooNew, StoreCorrupt
from dispatch_state.models.keys import ParentField
from dispatch_state.models.row import Row
from dispatch_state.models.tables import EVERY, STATEFUL
from dispatch_state.schema import enforcement
from dispatch_state.schema.constraints import malformed, quoted
from dispatch_state.storage.connect import Database
from dispatch_state.storage.fields import JsonField
from dispatch_state.storage.paging import size_sql
from dispatch_state.storage.targets import SQLITE
from dispatch_state.values import Progress, check_progress, shown
from dispatch_state.vocabulary import DecisionType

PAGE, PAGE_OF_JSON = 5_000, 1_000
"""How many rows are read at a time where each must be looked at; of JSON fewer."""
SHORT = 4096
"""Bytes up to which a value is read with its whole page."""
SIGNED = [("gates", "approved_by"), ("proposals", "forced_by"), ("proposals", "vetoed_by"), ("gate_comments", "author")]
"""Columns that an actor signed."""


@dataclass(frozen=True, slots=True)
class Violation:
    """Something that does not hold.

    invariant: its number ("I1" to "I13", "I21"), or "foreign key", "integrity" or "enforcement".
    entity: the table.
    id: the row's, None where it is of no row.
    message: what is wrong, in a sentence.
    """

    invariant: str
    entity: str
    id: object
    message: str

    def __str__(self) -> str:
        row = "" if self.id is None else f" {self.id if isinstance(self.id, UUID | int) else shown(self.id)}"
        return f"{self.invariant} {self.entity}{row}: {self.message}"


Check = Callable[[Database], Iterator[Violation]]


def verify(database: Database, progress: Progress | None = None) -> list[Violation]:
    """What does not hold, in a fixed order; empty when the store is sound. See `Store.verify`."""
    check_progress(progress)
    checks, found = _checks(), set[Violation]()
    with one_moment(database), database.undecodable_text_as_bytes():
        for done, check in enumerate(checks):
            if progress:
                progress(done, len(checks))
            found.update(check(database))
    if progress:
        progress(len(checks), len(checks))
    return sorted(found, key=lambda v: (v.invariant, v.entity, str(v.id), v.message))


def _checks() -> list[Check]:
    """What is asked, in turn; some of it of one table at a time, so that `progress` hears of it often enough."""
    return [*OF_THE_STORE, *(partial(check, model=model) for check in OF_EACH_TABLE for model in EVERY)]


def one_moment(database: Database) -> AbstractContextManager[Any]:
    """A transaction that only reads, and sees nothing that is committed after it began; or the caller's own."""
    if database.transaction_depth():
        return database.savepoint()
    return database.transaction("DEFERRED" if database.kind == SQLITE else "REPEATABLE READ, READ ONLY")


def _ask(database: Database, query: str, *parameters: Any) -> Iterator[tuple[Any, ...]]:
    cursor = database.execute_sql(query, parameters)
    while rows := cursor.fetchmany(PAGE):
        yield from rows


def _id(found: Any) -> Any:
    try:
        return UUID(found) if isinstance(found, str) else found
    except ValueError:
        return found


# ---- the rows ------------------------------------------------------------------------------------------


def lifecycles(database: Database) -> Iterator[Violation]:
    """I1 to I10, and I21."""
    for number, table, query, says in invariants(database.kind):
        for row in _ask(database, query):
            yield Violation(number, table, _id(row[0]), says)


def columns(database: Database, model: type[Row]) -> Iterator[Violation]:
    """I13: every column holds what it may; the table is read once for all of them."""
    table = model._meta.table_name
    wrong = list(malformed(model, enforcement.dialect_of(database)))
    conditions = [f"({bad.replace('NEW.', '')})" for _, bad, _ in wrong]
    query = f"SELECT {_key(model)}, {', '.join(conditions)} FROM {table} WHERE {' OR '.join(conditions)}"
    for found, *bad in _ask(database, query):
        for (_, _, says), is_bad in zip(wrong, bad, strict=True):
            if is_bad:
                yield Violation("I13", table, _id(found), says)


def shapes(database: Database, model: type[Row]) -> Iterator[Violation]:
    """I13: the JSON of each column has its shape."""
    for field in model._meta.sorted_fields:
        if isinstance(field, JsonField):
            yield from _misshapen(database, model, field)


def _misshapen(database: Database, model: type[Row], field: Any) -> Iterator[Violation]:
    table, key, column = model._meta.table_name, _key(model), field.column_name
    for page in _pages(database, table, key, column):
        if _all_shaped(field, [value for _, value in page]):
            continue
        for found, value in page:
            try:
                field.check_shape(field.python_value(value))
            except InvalidValue as error:
                yield Violation("I13", table, _id(found), str(error))
            except (StoreCorrupt, TypeError):
                yield Violation("I13", table, _id(found), f"{table}.{column}: not JSON")


def _all_shaped(field: Any, texts: list[Any]) -> bool:
    """Whether all have their shape, read at once, which is faster; that each is JSON by itself `columns` asks."""
    try:
        for value in json.loads(f"[{','.join(texts)}]"):
            field.check_shape(value)
    except (ValueError, TypeError, RecursionError):
        return False
    return True


def _pages(database: Database, table: str, key: str, column: str) -> Iterator[list[tuple[Any, Any]]]:
    """The keys and the values of a column that are there, a page at a time; a long value is a page by itself."""
    mark, same = ("?", "IS") if database.kind == SQLITE else ("%s", "=")
    short = f"CASE WHEN {size_sql([column], database.kind)} <= {SHORT} THEN {column} END"
    query = f"SELECT {key}, {short} FROM {table} WHERE {column} IS NOT NULL"
    page = list(_ask(database, f"{query} ORDER BY {key} LIMIT {PAGE_OF_JSON}"))
    while page:
        yield [(found, value) for found, value in page if value is not None]
        for found in [found for found, value in page if value is None]:
            ((value,),) = _ask(database, f"SELECT {column} FROM {table} WHERE {key} {same} {mark} LIMIT 1", found)
            yield [(found, value)]
        page = list(_ask(database, f"{query} AND {key} > {mark} ORDER BY {key} LIMIT {PAGE_OF_JSON}", page[-1][0]))


def signatures(database: Database) -> Iterator[Violation]:
    """I13: who acted is well formed."""
    for table, column in (("transition_log", "actor"), ("decisions", "decided_by")):
        yield from _forged(database, table, column, actors.is_actor_text)
    for table, column in SIGNED:
        yield from _forged(database, table, column, actors.is_signature)


def _forged(database: Database, table: str, column: str, well: Any) -> Iterator[Violation]:
    key = "seq" if table == "transition_log" else "CAST(id AS TEXT)"
    query = f"SELECT {column}, min({key}) FROM {table} WHERE {column} IS NOT NULL GROUP BY {column}"
    for name, row in _ask(database, query):
        if not well(name):
            yield Violation("I13", table, _id(row), f"{table}.{column}: {shown(name)} is no actor")


def keys(database: Database, model: type[Row]) -> Iterator[Violation]:
    """Every key names a row that is there."""
    for field in model._meta.refs:
        assert isinstance(field, ParentField)
        table, column = model._meta.table_name, field.column_name
        there = f"SELECT 1 FROM {field.rel_model._meta.table_name} p WHERE p.id = c.{column}"
        query = f"SELECT c.id FROM {table} c WHERE c.{column} IS NOT NULL AND NOT EXISTS ({there})"
        for (found,) in _ask(database, query):
            yield Violation("foreign key", table, _id(found), f"{column} names a row that is not there")


def _key(model: type[Row]) -> str:
    key: Any = model._meta.primary_key
    return str(key.column_name)


# ---- the log -------------------------------------------------------------------------------------------


def chains(database: Database) -> Iterator[Violation]:
    """I12: the moves of each row follow each other, from its birth to where it stands."""
    query = """
        SELECT l.seq, l.entity, l.entity_id FROM transition_log l
        LEFT JOIN transition_log b ON b.entity_id = l.entity_id AND b.version = l.version - 1
        WHERE (CASE WHEN b.seq IS NULL
               THEN l.version = 1 AND l.source IS NULL AND l."trigger" IN ('create', 'adopt')
               ELSE l.source = b.dest AND l.seq > b.seq AND l.entity = b.entity END) IS NOT TRUE
        OR l.seq IN (SELECT max(seq) FROM transition_log GROUP BY entity_id, version HAVING count(*) > 1)
    """  # the unique index, by which each row finds the one before it, may have been dropped
    for seq, entity, row in _ask(database, query):
        yield Violation("I12", "transition_log", seq, f"does not follow on the move before it of {entity} {row}")
    query = """SELECT seq FROM transition_log l WHERE cause_seq IS NOT NULL
               AND (cause_seq >= seq OR NOT EXISTS (SELECT 1 FROM transition_log c WHERE c.seq = l.cause_seq))"""
    for (seq,) in _ask(database, query):
        yield Violation("I12", "transition_log", seq, "follows from a move that was not made before it")


def edges(database: Database) -> Iterator[Violation]:
    """I12: every move is one of a lifecycle; what is not final is removed with its owner only, which is its cause."""
    legal = {
        (machine.entity, name, source, dest)
        for machine in (model.machine for model in STATEFUL)
        for name, sources, dests in _ways(machine)
        for source in sources
        for dest in dests
    }
    known = quoted("\n".join(word or "" for word in move) for move in sorted(legal, key=str))
    move = """entity || '\n' || "trigger" || '\n' || COALESCE(source, '') || '\n' || COALESCE(dest, '')"""
    query = f"""SELECT min(seq) FROM transition_log WHERE (({move}) NOT IN ({known})) IS NOT FALSE
                OR source = '' OR dest = '' GROUP BY entity, "trigger", source, dest"""
    for (seq,) in _ask(database, query):
        yield Violation("I12", "transition_log", seq, "is no move of a lifecycle")
    ends = [(model._meta.table_name, quoted(model.machine.final)) for model in STATEFUL]
    final = " OR ".join(f"(entity = '{table}' AND source IN ({statuses}))" for table, statuses in ends)
    query = f"""SELECT seq FROM transition_log WHERE "trigger" = 'remove' AND cause_seq IS NULL AND NOT ({final})"""
    for (seq,) in _ask(database, query):
        yield Violation("I12", "transition_log", seq, "removes a row that is not final, without its owner")


def _ways(machine: Any) -> Iterator[tuple[str, tuple[Any, ...], tuple[Any, ...]]]:
    yield "create", (None,), machine.births
    yield "adopt", (None,), machine.states
    yield "remove", machine.states, (None,)
    for name, source, dest in machine.transitions:
        yield name, (source,), (dest,)


def fold(database: Database) -> Iterator[Violation]:
    """I12: every row stands where its last move left it, and every row that is gone was removed."""
    later = "SELECT 1 FROM transition_log n WHERE n.entity_id = l.entity_id AND n.version > l.version"
    kept = []
    for model in STATEFUL:
        table = model._meta.table_name
        query = f"""SELECT r.id FROM {table} r
            LEFT JOIN transition_log l ON l.entity_id = r.id AND l.version = r.version AND l.entity = '{table}'
            WHERE (l.dest = r.status AND NOT EXISTS ({later})) IS NOT TRUE"""
        for (found,) in _ask(database, query):
            yield Violation("I12", table, _id(found), "does not stand where its last move in the log left it")
        kept.append(f"(l.entity = '{table}' AND EXISTS (SELECT 1 FROM {table} WHERE id = l.entity_id))")
    last = "SELECT entity_id AS id, max(version) AS version FROM transition_log GROUP BY entity_id"
    query = f"""SELECT l.entity, l.entity_id FROM ({last}) r
                JOIN transition_log l ON l.entity_id = r.id AND l.version = r.version
                WHERE l.dest IS NOT NULL AND NOT ({" OR ".join(kept)})"""
    for entity, row in _ask(database, query):
        yield Violation("I12", str(entity), _id(row), "is gone, and no move in the log removed it")


# ---- decisions -----------------------------------------------------------------------------------------


def decisions(database: Database) -> Iterator[Violation]:
    """I11, I12: every act that decides has its one decision, which is of its kind and by who acted."""
    ways = [(model._meta.table_name, *way) for model in STATEFUL for way in _deciding(model.machine)]
    deciding = quoted(sorted({trigger for _, trigger, *_ in ways}))
    wanted = f"""CASE WHEN l."trigger" IN ({deciding}) THEN CASE {" ".join(_due(*way) for way in ways)} END END"""
    query = f"""SELECT l.seq, l.entity, l."trigger", l.decision_id, d.id FROM transition_log l
        LEFT JOIN decisions d ON d.id = l.decision_id AND d.decided_by = l.actor AND d.decision_type = {wanted}
        WHERE (l.decision_id IS NULL AND {wanted} IS NOT NULL) OR (l.decision_id IS NOT NULL AND d.id IS NULL)"""
    query = query if database.kind != SQLITE else query.replace("%%", "%")
    for seq, entity, trigger, named, _ in _ask(database, query):
        gate = entity == "gates" and trigger in ("approve", "auto_approve", "reject")
        says = "lacks its decision" if named is None else "names no decision of its kind by who acted"
        yield Violation("I11" if gate else "I12", "transition_log", seq, says)
    query = """SELECT d.id, d.decision_type FROM decisions d LEFT JOIN transition_log l ON l.decision_id = d.id
               GROUP BY d.id, d.decision_type, d.created_at HAVING count(l.seq) > 1 OR count(l.seq) = 0 AND NOT EXISTS (
                   SELECT 1 FROM transition_log a WHERE a."trigger" = 'adopt' AND a.created_at >= d.created_at)
            """  # what was decided before a store was adopted has no move here
    for found, kind in _ask(database, query):
        gate = kind in (DecisionType.GATE_APPROVED, DecisionType.GATE_REJECTED)
        yield Violation("I11" if gate else "I12", "decisions", _id(found), "was not written by exactly one move")


def _due(table: str, trigger: str, kind: str, sources: list[str]) -> str:
    """When a decision is due: what is no override never follows from another move, and always decides."""
    who = " AND l.actor LIKE 'human:%%' AND l.cause_seq IS NULL" if kind == DecisionType.HUMAN_OVERRIDE else ""
    move = f"""l.entity = '{table}' AND l."trigger" = '{trigger}' AND l.source IN ({quoted(sources)})"""
    return f"WHEN {move}{who} THEN '{kind}'"


def _deciding(machine: Any) -> Iterator[tuple[str, str, list[str]]]:
    """Each trigger that decides: its name, the kind of decision, and the statuses it starts from."""
    for name, trigger in machine.triggers.items():
        kinds: dict[str, list[str]] = {}
        for edge in trigger.edges.values():
            if edge.decision is not None:
                kinds.setdefault(edge.decision, []).append(edge.source)
        yield from ((name, kind, sources) for kind, sources in kinds.items())


# ---- the database --------------------------------------------------------------------------------------


_OF_A_ROW = re.compile(r"(?:(?<!\S)\S+ value|CHECK constraint failed) in (\w+)")


def integrity(database: Database) -> Iterator[Violation]:
    """What SQLite says of its own file; what a row of another program's table holds is that program's."""
    ours = {model._meta.table_name for model in EVERY}
    if database.kind == SQLITE:
        for (told,) in _ask(database, "PRAGMA integrity_check"):
            row = _OF_A_ROW.match(told)
            if told != "ok" and (row is None or row[1] in ours):
                yield Violation("integrity", "sqlite", None, str(told))


def in_place(database: Database) -> Iterator[Violation]:
    """The database's own triggers stand as this version wants them."""
    try:
        for name in enforcement.differences(database):
            yield Violation("enforcement", name, None, "is missing, changed or not ours")
    except SchemaTooNew as error:
        yield Violation("enforcement", database.kind, None, str(error))


OF_THE_STORE: tuple[Check, ...] = (lifecycles, signatures, chains, edges, fold, decisions, integrity, in_place)
OF_EACH_TABLE = (columns, shapes, keys)
"""What is asked, each an iterator of what it finds; the latter of one table at a time."""
