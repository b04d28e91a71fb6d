"""Ways around the library: SQL that the database must refuse, whoever runs it."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from dispatch_state import Decision, Store, TransitionLog
from dispatch_state.ids import new_id
from tests.world import WHY, World

NOW = "2026-01-31T09:30:00.000000+00:00"


def log_row(row: Any, trigger: str, dest: str | None, **other: Any) -> str:
    """The INSERT that logs a move of a row from where it stands."""
    told = {
        "entity": row._meta.table_name, "entity_id": row.id, "version": row.version + 1, "trigger": trigger,
        "source": row.status, "dest": dest, "actor": "human:maintainer", "created_at": NOW, **other,
    }  # fmt: skip
    values = ", ".join("NULL" if value is None else f"'{value}'" for value in told.values())
    return f"INSERT INTO transition_log ({', '.join(told)}) VALUES ({values})"


def moved(row: Any, dest: str, step: int = 1) -> str:
    return f"UPDATE {row._meta.table_name} SET status = '{dest}', version = version + {step} WHERE id = '{row.id}'"


def insert(table: str, columns: dict[str, Any]) -> str:
    values = ", ".join(literal(value) for value in columns.values())
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({values})"


def literal(value: Any) -> str:
    if isinstance(value, bool | int | float):
        return str(value)
    value = json.dumps(value) if isinstance(value, list | dict) else value
    text = value if isinstance(value, str) else str(value)
    return "'" + text.replace("'", "''") + "'"


def scene(store: Store) -> SimpleNamespace:
    """One row of each kind that the statements need."""
    world = World(store)
    gate = world.gates("approved")
    proposal = world.new_proposal(threshold="unanimous", required_voters=["coder", "pm"])
    proposal.vote(world.agent(), "approve", WHY, confidence=0.5)
    doing, running = world.issues("in_progress"), world.running_epic().stages.first()
    return SimpleNamespace(
        queued=world.issues("queued"), other=world.issues("queued"), done=world.issues("done"), doing=doing,
        free=world.issues("unassigned"), epic=gate.stage.epic, gate=gate, proposal=proposal.reload(),
        waiting=running.add_gate("approval", "a human looks"), vote=proposal.votes.get(),
        decision=Decision.select().where(Decision.epic.is_null(False)).get(),
        log=TransitionLog.select().order_by(TransitionLog.seq).first(), new=new_id(), now=NOW,
        agent=world.agents("working"),
    )  # fmt: skip


def issue_columns(found: SimpleNamespace, **other: Any) -> dict[str, Any]:
    return {
        "id": str(found.new), "repo_path": "/", "title": "t", "prompt": "p", "issue_type": "bug",
        "status": "unassigned", "version": 1, "created_at": NOW, "updated_at": NOW, **other,
    }  # fmt: skip


def creation(found: SimpleNamespace, verb: str = "INSERT", logged: bool = True, **other: Any) -> list[str]:
    columns = issue_columns(found, **other)
    log = log_row(found.queued, "create", columns["status"], entity_id=columns["id"], version=1, source=None)
    return [*([log] if logged else []), insert("issues", columns).replace("INSERT", verb, 1)]


Way = Callable[[SimpleNamespace], list[str]]
BOTH: dict[str, Way] = {
    "a status alone": lambda f: [f"UPDATE issues SET status = 'done' WHERE id = '{f.queued.id}'"],
    "a status and a version, unlogged": lambda f: [moved(f.queued, "unassigned")],
    "a version alone": lambda f: [f"UPDATE issues SET version = version + 1 WHERE id = '{f.queued.id}'"],
    "a version that goes back": lambda f: [f"UPDATE issues SET version = 1 WHERE id = '{f.queued.id}'"],
    "two versions at once": lambda f: [log_row(f.queued, "dequeue", "unassigned"), moved(f.queued, "unassigned", 2)],
    "every row at once": lambda f: ["UPDATE issues SET status = 'done', version = version + 1"],
    "from a subquery": lambda f: ["UPDATE issues SET status = (SELECT 'done'), version = version + 1"],
    "a log row of an illegal edge": lambda f: [log_row(f.queued, "complete", "done")],
    "a log row from elsewhere": lambda f: [log_row(f.queued, "complete", "done", source="in_progress")],
    "a log row of another version": lambda f: [log_row(f.queued, "dequeue", "unassigned", version=9)],
    "a log row of a version that was": lambda f: [log_row(f.queued, "dequeue", "unassigned", version=f.queued.version)],
    "a log row of no row": lambda f: [log_row(f.queued, "dequeue", "unassigned", entity_id=f.new)],
    "a log row of another table": lambda f: [log_row(f.queued, "dequeue", "unassigned", entity="epics")],
    "a log row of no table": lambda f: [log_row(f.queued, "dequeue", "unassigned", entity="rows")],
    "a log row of an unknown trigger": lambda f: [log_row(f.queued, "teleport", "done")],
    "a log row without a source": lambda f: [log_row(f.queued, "dequeue", "unassigned", source=None)],
    "a log row without a dest": lambda f: [log_row(f.queued, "dequeue", None)],
    "a log row without its cause": lambda f: [log_row(f.queued, "dequeue", "unassigned", cause_seq=10**9)],
    "a log row with a number": lambda f: [log_row(f.queued, "dequeue", "unassigned", seq=1)],
    "a log row numbered 0": lambda f: [log_row(f.queued, "dequeue", "unassigned", seq=0)],
    "a log row numbered before the first": lambda f: [log_row(f.queued, "dequeue", "unassigned", seq=-5)],
    "a log row with the last number there is": lambda f: [log_row(f.queued, "dequeue", "unassigned", seq=2**63 - 1)],
    "a log row of a second creation": lambda f: [log_row(f.queued, "create", "unassigned", version=1, source=None)],
    "a log row that adopts": lambda f: [log_row(f.queued, "adopt", "done", entity_id=f.new, version=1, source=None)],
    "another row's log row": lambda f: [log_row(f.other, "dequeue", "unassigned"), moved(f.queued, "unassigned")],
    "another move's log row": lambda f: [log_row(f.queued, "dequeue", "unassigned"), moved(f.queued, "done")],
    "the log row, then nothing but a version": lambda f: [
        log_row(f.queued, "dequeue", "unassigned"),
        f"UPDATE issues SET version = version + 1 WHERE id = '{f.queued.id}'",
    ],
    "two log rows, then two moves at once": lambda f: [
        log_row(f.queued, "dequeue", "unassigned"),
        log_row(f.other, "dequeue", "unassigned"),
        "UPDATE issues SET status = 'unassigned', version = version + 1 WHERE status = 'queued'",
    ],
    "an old log row": lambda f: [
        log_row(f.queued, "dequeue", "unassigned"),
        log_row(f.other, "dequeue", "unassigned"),
        moved(f.queued, "unassigned"),
    ],
    "a creation, unlogged": lambda f: creation(f, logged=False),
    "a creation in a later status": lambda f: creation(f, status="done"),
    "a creation with a later version": lambda f: creation(f, version=2),
    "a creation over a row": lambda f: creation(f, id=str(f.queued.id)),
    "a creation where a row is, updating it": lambda f: [
        creation(f, id=str(f.queued.id), logged=False)[0] + " ON CONFLICT (id) DO UPDATE SET status = 'done'"
    ],
    "a creation where a row is, doing nothing": lambda f: [
        creation(f, id=str(f.queued.id), logged=False)[0] + " ON CONFLICT DO NOTHING"
    ],
    "a copy of a row": lambda f: [
        f"INSERT INTO stages (id, epic_id, name, stage_order, created_at) SELECT '{f.new}', epic_id, name, 99,"
        f" created_at FROM stages WHERE id = '{f.gate.stage_id}'"
    ],
    "a deletion, unlogged": lambda f: [f"DELETE FROM issues WHERE id = '{f.done.id}'"],
    "a deletion of everything": lambda f: ["DELETE FROM pull_requests", "DELETE FROM issues"],
    "a deletion of a live row": lambda f: [
        log_row(f.queued, "remove", None),
        f"DELETE FROM issues WHERE id = '{f.queued.id}'",
    ],
    "a deletion of a live row without its owner": lambda f: [
        log_row(f.waiting, "remove", None),
        f"DELETE FROM gates WHERE id = '{f.waiting.id}'",
    ],
    "a deletion of a parent": lambda f: [f"DELETE FROM epics WHERE id = '{f.epic.id}'"],
    "another id": lambda f: [f"UPDATE issues SET id = '{f.new}' WHERE id = '{f.queued.id}'"],
    "another row's id": lambda f: [f"UPDATE issues SET id = '{f.other.id}' WHERE id = '{f.queued.id}'"],
    "an unknown priority": lambda f: [f"UPDATE issues SET priority = 'asap' WHERE id = '{f.queued.id}'"],
    "an unknown type at creation": lambda f: creation(f, issue_type="wish"),
    "an unknown status of another kind": lambda f: [f"UPDATE gates SET status = 'done' WHERE id = '{f.gate.id}'"],
    "an unknown vote": lambda f: [f"UPDATE votes SET decision = 'perhaps' WHERE id = '{f.vote.id}'"],
    "a confidence above 1": lambda f: [f"UPDATE votes SET confidence = 1.5 WHERE id = '{f.vote.id}'"],
    "a confidence below 0": lambda f: [f"UPDATE votes SET confidence = -0.1 WHERE id = '{f.vote.id}'"],
    "a vote with a confidence above 1": lambda f: [
        "INSERT INTO votes (id, proposal_id, voter_id, voter_type, decision, reasoning, confidence, created_at) SELECT "
        f"'{f.new}', proposal_id, '{f.agent.id}', voter_type, decision, reasoning, 1.5, created_at FROM votes"
    ],
    "a vote for another proposal": lambda f: [f"UPDATE votes SET proposal_id = '{f.new}' WHERE id = '{f.vote.id}'"],
    "a vote for somebody else": lambda f: [f"UPDATE votes SET voter_id = '{f.agent.id}' WHERE id = '{f.vote.id}'"],
    "a log row rewritten": lambda f: [f"UPDATE transition_log SET reason = 'x' WHERE seq = {f.log.seq}"],
    "a log row set to what it is": lambda f: [f"UPDATE transition_log SET seq = seq WHERE seq = {f.log.seq}"],
    "a log row deleted": lambda f: [f"DELETE FROM transition_log WHERE seq = {f.log.seq}"],
    "the log deleted": lambda f: ["DELETE FROM transition_log"],
    "a decision rewritten": lambda f: [f"UPDATE decisions SET decided_by = 'sangha' WHERE id = '{f.decision.id}'"],
    "a decision's outcome emptied": lambda f: [f"UPDATE decisions SET outcome = '{{}}' WHERE id = '{f.decision.id}'"],
    "a decision without its epic": lambda f: [f"UPDATE decisions SET epic_id = NULL WHERE id = '{f.decision.id}'"],
    "a decision of another issue": lambda f: [
        f"UPDATE decisions SET issue_id = '{f.done.id}' WHERE id = '{f.decision.id}'"
    ],
    "a decision deleted": lambda f: [f"DELETE FROM decisions WHERE id = '{f.decision.id}'"],
    "a vote forced": lambda f: [moved(f.proposal, "approved")],
    "an agent brought back": lambda f: [f"UPDATE agents SET status = 'idle' WHERE id = '{f.agent.id}'"],
}
ON_SQLITE: dict[str, Way] = {
    "UPDATE OR IGNORE": lambda f: [moved(f.queued, "done").replace("UPDATE", "UPDATE OR IGNORE", 1)],
    "UPDATE OR REPLACE": lambda f: [moved(f.queued, "done").replace("UPDATE", "UPDATE OR REPLACE", 1)],
    "UPDATE OR FAIL": lambda f: [moved(f.queued, "done").replace("UPDATE", "UPDATE OR FAIL", 1)],
    "INSERT OR REPLACE": lambda f: creation(f, "INSERT OR REPLACE", id=str(f.queued.id)),
    "INSERT OR REPLACE, unlogged": lambda f: creation(f, "INSERT OR REPLACE", logged=False, id=str(f.queued.id)),
    "REPLACE what was just created": lambda f: [
        *creation(f),
        "CREATE TEMPORARY TABLE place (x)",
        "INSERT INTO place (rowid) SELECT max(seq) FROM transition_log",  # which makes its log row the last again
        creation(f, "REPLACE", title="another")[1],
    ],
    "INSERT OR IGNORE": lambda f: creation(f, "INSERT OR IGNORE", status="done"),
    "REPLACE": lambda f: creation(f, "REPLACE", logged=False, id=str(f.queued.id)),
    "REPLACE a row in its place": lambda f: [
        *creation(f)[:1],
        insert("issues", issue_columns(f, rowid=1)).replace("INSERT", "INSERT OR REPLACE", 1),
    ],
    "a row in the place that stands for none": lambda f: [
        *creation(f)[:1],
        insert("issues", issue_columns(f, rowid=-1)),
    ],
    "a log row in the place that stands for none": lambda f: [log_row(f.queued, "dequeue", "unassigned", seq=-1)],
    "move a row to another's place": lambda f: [
        f"UPDATE OR REPLACE issues SET rowid = (SELECT rowid FROM issues WHERE id = '{f.other.id}')"
        f" WHERE id = '{f.queued.id}'"
    ],
    "REPLACE a log row": lambda f: [
        log_row(f.queued, "dequeue", "unassigned", version=f.queued.version).replace("INSERT", "INSERT OR REPLACE", 1)
    ],
    "REPLACE a log row by its number": lambda f: [
        log_row(f.queued, "dequeue", "unassigned", seq=f.log.seq).replace("INSERT", "REPLACE", 1)
    ],
    "REPLACE a decision": lambda f: [f"REPLACE INTO decisions SELECT * FROM decisions WHERE id = '{f.decision.id}'"],
    "REPLACE another's vote": lambda f: [
        "REPLACE INTO votes (id, proposal_id, voter_id, voter_type, decision, reasoning, created_at) SELECT "
        f"'{f.new}', proposal_id, voter_id, voter_type, 'reject', reasoning, created_at FROM votes"
    ],
    "without check constraints": lambda f: [
        "PRAGMA ignore_check_constraints = 1",
        f"UPDATE issues SET priority = 'asap' WHERE id = '{f.queued.id}'",
    ],
    "with recursive triggers off": lambda f: [
        "PRAGMA recursive_triggers = 0",
        f"DELETE FROM issues WHERE id = '{f.done.id}'",
    ],
    "foreign keys later": lambda f: ["PRAGMA defer_foreign_keys = 1", "DELETE FROM epics"],
    "a timestamp without a zone": lambda f: ["UPDATE issues SET created_at = '2026-01-31 09:30:00'"],
    "a timestamp in Zulu": lambda f: ["UPDATE issues SET updated_at = '2026-01-31T09:30:00.000000Z'"],
    "a day that is none": lambda f: ["UPDATE issues SET updated_at = '2026-02-30T09:30:00.000000+00:00'"],
    "a moment as a number": lambda f: ["UPDATE issues SET updated_at = 1769851800"],
    "a moment before time": lambda f: ["UPDATE issues SET updated_at = '0000-01-31T09:30:00.000000+00:00'"],
    "no JSON": lambda f: ["UPDATE issues SET labels = '[bug'"],
    "JSON before a NUL": lambda f: ["UPDATE issues SET labels = '[]' || char(0) || '['"],
    "a timestamp before a NUL": lambda f: ["UPDATE issues SET updated_at = updated_at || char(0) || 'x'"],
    "an id before a NUL": lambda f: [
        log_row(f.queued, "dequeue", "unassigned", decision_id=f.new).replace(f"'{f.new}'", f"'{f.new}' || char(0)")
    ],
    "text with a NUL": lambda f: ["UPDATE issues SET title = 'a' || char(0)"],
    "JSON as a blob": lambda f: ["UPDATE issues SET labels = x'5b5d'"],
    "text as a blob": lambda f: ["UPDATE issues SET title = x'00ff'"],
    "a number as text": lambda f: ["UPDATE issues SET github_id = '12abc'"],
    "a version as text": lambda f: ["UPDATE issues SET version = 'two'"],
    "a flag beyond 1": lambda f: [
        log_row(f.queued, "create", "open", entity="pull_requests", entity_id=f.new, version=1, source=None),
        "INSERT INTO pull_requests (id, issue_id, github_number, github_url, branch, created_at, checks_passing) "
        f"VALUES ('{f.new}', '{f.doing.id}', 1, 'u', 'b', '{NOW}', 7)",
    ],
    "a confidence in words": lambda f: ["UPDATE votes SET confidence = 'high'"],
    "an upper-case id": lambda f: creation(f, id=str(f.new).upper()),
    "an id without dashes": lambda f: creation(f, id=f.new.hex),
    "no id": lambda f: [creation(f, logged=False)[0].replace(f"'{f.new}'", "NULL", 1)],
}
ON_POSTGRESQL: dict[str, Way] = {
    "TRUNCATE": lambda f: ["TRUNCATE issues CASCADE"],
    "TRUNCATE the log": lambda f: ["TRUNCATE transition_log"],
    "TRUNCATE decisions": lambda f: ["TRUNCATE decisions"],
    "TRUNCATE votes": lambda f: ["TRUNCATE votes"],
    "TRUNCATE as a replica": lambda f: ["SET LOCAL session_replication_role = replica", "TRUNCATE transition_log"],
    "a move as a replica": lambda f: ["SET LOCAL session_replication_role = replica", moved(f.queued, "done")],
    "a deletion as a replica": lambda f: ["SET LOCAL session_replication_role = replica", "DELETE FROM transition_log"],
    "a word as a replica": lambda f: [
        "SET LOCAL session_replication_role = replica",
        "UPDATE issues SET priority = 'asap'",
    ],
    "constraints later": lambda f: ["SET CONSTRAINTS ALL DEFERRED", moved(f.queued, "done")],
    "MERGE": lambda f: [
        "MERGE INTO issues USING (SELECT 1) one ON TRUE"
        " WHEN MATCHED THEN UPDATE SET status = 'done', version = version + 1"
    ],
    "UPDATE … FROM": lambda f: [
        "UPDATE issues SET status = 'done', version = issues.version + 1 FROM agents WHERE agents.id IS NOT NULL"
    ],
    "WITH": lambda f: ["WITH gone AS (DELETE FROM decisions RETURNING id) SELECT count(*) FROM gone"],
    "with another search path": lambda f: [
        "CREATE TEMPORARY TABLE transition_log (LIKE transition_log)",
        log_row(f.queued, "complete", "done", seq=1),
        "SET LOCAL dispatch_state.written = 1",
        moved(f.queued, "done"),
    ],
    "with an equality of its own": lambda f: [
        "CREATE FUNCTION equal(text, text) RETURNS boolean LANGUAGE sql AS $$SELECT $1 OPERATOR(pg_catalog.=) $2"
        " OR $1 OPERATOR(pg_catalog.||) $2 OPERATOR(pg_catalog.~) '^(done|unassigned){2}$'$$",
        "CREATE OPERATOR = (LEFTARG = text, RIGHTARG = text, FUNCTION = equal)",
        "SELECT set_config('search_path', current_schema() || ', pg_catalog', TRUE)",
        log_row(f.queued, "dequeue", "done"),
    ],
    "a confidence that is no number": lambda f: ["UPDATE votes SET confidence = 'NaN'"],
    "a moment that never comes": lambda f: ["UPDATE issues SET updated_at = 'infinity'"],
    "a moment before the calendar": lambda f: ["UPDATE issues SET updated_at = '0044-03-15 12:00:00+00 BC'"],
    "a moment behind the calendar": lambda f: ["UPDATE votes SET created_at = '10000-01-01 00:00:00+00'"],
    "a number of its own": lambda f: [
        log_row(f.queued, "dequeue", "unassigned", seq=10**6),
    ],
}  # fmt: skip
