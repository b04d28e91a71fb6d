"""Checks of the log: its moves follow each other and the lifecycles, and they explain every row and decision."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dispatch_state.audit.violations import Violation, parsed_id, query_rows
from dispatch_state.models.tables import STATEFUL
from dispatch_state.schema.dialects import sql_literals
from dispatch_state.storage.connect import Database
from dispatch_state.storage.targets import SQLITE
from dispatch_state.vocabulary import DecisionType

DECISION_INVARIANTS: Mapping[str, str] = {
    DecisionType.PROPOSAL_APPROVED: "I12",
    DecisionType.PROPOSAL_REJECTED: "I12",
    DecisionType.HUMAN_OVERRIDE: "I12",
    DecisionType.HUMAN_VETO: "I12",
    DecisionType.GATE_APPROVED: "I11",
    DecisionType.GATE_REJECTED: "I11",
}
"""The number of the invariant that asks for a decision of each type."""


def move_chains(database: Database) -> Iterator[Violation]:
    """Check I12: the moves of each row follow each other, from its creation to its present status."""
    query = """
        SELECT l.seq, l.entity, l.entity_id FROM transition_log l
        LEFT JOIN transition_log b ON b.entity_id = l.entity_id AND b.version = l.version - 1
        WHERE (CASE WHEN b.seq IS NULL
               THEN l.version = 1 AND l.source IS NULL AND l."trigger" IN ('create', 'adopt')
               ELSE l.source = b.dest AND l.seq > b.seq AND l.entity = b.entity END) IS NOT TRUE
        OR l.seq IN (SELECT max(seq) FROM transition_log GROUP BY entity_id, version HAVING count(*) > 1)
    """  # the unique index, by which each row finds the one before it, may have been dropped
    for seq, entity, row_id in query_rows(database, query):
        message = f"does not follow from the previous move of {entity} {row_id}"
        yield Violation("I12", "transition_log", seq, message)
    query = """SELECT seq FROM transition_log l WHERE cause_seq IS NOT NULL
               AND (cause_seq >= seq OR NOT EXISTS (SELECT 1 FROM transition_log c WHERE c.seq = l.cause_seq))"""
    for (seq,) in query_rows(database, query):
        yield Violation("I12", "transition_log", seq, "names a cause that is not an earlier move")


def legal_moves(database: Database) -> Iterator[Violation]:
    """Check I12: every move is legal in its lifecycle, and a row that is not final is removed only with its owner."""
    legal = {
        (machine.entity, name, source, dest)
        for machine in (model.machine for model in STATEFUL)
        for name, sources, dests in _arrows(machine)
        for source in sources
        for dest in dests
    }
    known = sql_literals("\n".join(word or "" for word in move) for move in sorted(legal, key=str))
    move = """entity || '\n' || "trigger" || '\n' || COALESCE(source, '') || '\n' || COALESCE(dest, '')"""
    query = f"""SELECT min(seq) FROM transition_log WHERE (({move}) NOT IN ({known})) IS NOT FALSE
                OR source = '' OR dest = '' GROUP BY entity, "trigger", source, dest"""
    for (seq,) in query_rows(database, query):
        yield Violation("I12", "transition_log", seq, "is not a move of any lifecycle")
    finals = [(model._meta.table_name, sql_literals(model.machine.final)) for model in STATEFUL]
    final = " OR ".join(f"(entity = '{table}' AND source IN ({statuses}))" for table, statuses in finals)
    query = f"""SELECT seq FROM transition_log WHERE "trigger" = 'remove' AND cause_seq IS NULL AND NOT ({final})"""
    for (seq,) in query_rows(database, query):
        yield Violation("I12", "transition_log", seq, "removes a row that is not final, without its owner")


def _arrows(machine: Any) -> Iterator[tuple[str, tuple[Any, ...], tuple[Any, ...]]]:
    """Yield each trigger with the statuses that it starts from and leads to; None stands for no row."""
    yield "create", (None,), machine.births
    yield "adopt", (None,), machine.states
    yield "remove", machine.states, (None,)
    for name, source, dest in machine.transitions:
        yield name, (source,), (dest,)


def statuses_match_log(database: Database) -> Iterator[Violation]:
    """Check I12: every row has the status of its last move, and every row that is gone was removed by a move."""
    later = "SELECT 1 FROM transition_log n WHERE n.entity_id = l.entity_id AND n.version > l.version"
    existing = []
    for model in STATEFUL:
        table = model._meta.table_name
        query = f"""SELECT r.id FROM {table} r
            LEFT JOIN transition_log l ON l.entity_id = r.id AND l.version = r.version AND l.entity = '{table}'
            WHERE (l.dest = r.status AND NOT EXISTS ({later})) IS NOT TRUE"""
        for (row_id,) in query_rows(database, query):
            yield Violation("I12", table, parsed_id(row_id), "does not have the status of its last move in the log")
        existing.append(f"(l.entity = '{table}' AND EXISTS (SELECT 1 FROM {table} WHERE id = l.entity_id))")
    last = "SELECT entity_id AS id, max(version) AS version FROM transition_log GROUP BY entity_id"
    query = f"""SELECT l.entity, l.entity_id FROM ({last}) r
                JOIN transition_log l ON l.entity_id = r.id AND l.version = r.version
                WHERE l.dest IS NOT NULL AND NOT ({" OR ".join(existing)})"""
    for entity, row_id in query_rows(database, query):
        yield Violation("I12", str(entity), parsed_id(row_id), "is gone, but no move in the log removed it")


# ---- decisions -----------------------------------------------------------------------------------------


def decisions(database: Database) -> Iterator[Violation]:
    """Check I11 and I12: each move that decides has one decision, of the right type and by the actor of the move."""
    deciding = [(model._meta.table_name, *found) for model in STATEFUL for found in _deciding(model.machine)]
    triggers = sql_literals(sorted({trigger for _, trigger, *_ in deciding}))
    cases = " ".join(_decision_case(*found) for found in deciding)
    wanted = f"""CASE WHEN l."trigger" IN ({triggers}) THEN CASE {cases} END END"""
    query = f"""SELECT l.seq, l.entity, l."trigger", l.decision_id, d.id FROM transition_log l
        LEFT JOIN decisions d ON d.id = l.decision_id AND d.decided_by = l.actor AND d.decision_type = {wanted}
        WHERE (l.decision_id IS NULL AND {wanted} IS NOT NULL) OR (l.decision_id IS NOT NULL AND d.id IS NULL)"""
    query = query if database.kind != SQLITE else query.replace("%%", "%")
    numbers = {(table, trigger): DECISION_INVARIANTS[kind] for table, trigger, kind, _ in deciding}
    for seq, entity, trigger, decision_id, _ in query_rows(database, query):
        message = (
            "has no decision" if decision_id is None else "names something other than its own decision by its own actor"
        )
        yield Violation(numbers.get((entity, trigger), "I12"), "transition_log", seq, message)
    yield from _decisions_without_one_move(database)


def _decisions_without_one_move(database: Database) -> Iterator[Violation]:
    query = """SELECT d.id, d.decision_type FROM decisions d LEFT JOIN transition_log l ON l.decision_id = d.id
               GROUP BY d.id, d.decision_type, d.created_at HAVING count(l.seq) > 1 OR count(l.seq) = 0 AND NOT EXISTS (
                   SELECT 1 FROM transition_log a WHERE a."trigger" = 'adopt' AND a.created_at >= d.created_at)
            """  # a decision that is older than the adoption of its store has no move here
    for row_id, kind in query_rows(database, query):
        number = DECISION_INVARIANTS.get(kind, "I12")  # a store that was tampered with can hold any text
        yield Violation(number, "decisions", parsed_id(row_id), "does not belong to exactly one move")


def _decision_case(table: str, trigger: str, kind: str, sources: list[str]) -> str:
    """Return the WHEN that gives a move its type of decision.

    An override is one only when a person fires the trigger as an act; the other types are decided in any case.
    """
    act = " AND l.actor LIKE 'human:%%' AND l.cause_seq IS NULL" if kind == DecisionType.HUMAN_OVERRIDE else ""
    move = f"""l.entity = '{table}' AND l."trigger" = '{trigger}' AND l.source IN ({sql_literals(sources)})"""
    return f"WHEN {move}{act} THEN '{kind}'"


def _deciding(machine: Any) -> Iterator[tuple[str, str, list[str]]]:
    """Yield each trigger that decides: its name, the type of decision, and the statuses that it starts from."""
    for name, trigger in machine.triggers.items():
        kinds: dict[str, list[str]] = {}
        for edge in trigger.edges.values():
            if edge.decision is not None:
                kinds.setdefault(edge.decision, []).append(edge.source)
        yield from ((name, kind, sources) for kind, sources in kinds.items())
