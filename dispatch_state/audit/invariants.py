"""The invariants of the lifecycles, each as a query for the rows that break it.

A query selects the id of each such row, and perhaps what to say beside; it reads the same on both
databases. What it asks was written by hand: nothing here is derived from the guards.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from dispatch_state.schema.numbering import LAST, wrong_counter
from dispatch_state.storage.targets import SQLITE

RUNNING = "('in_progress', 'awaiting_gate')"
CLOSED = "('approved', 'skipped')"
OPEN_GATE = "('pending', 'rejected')"
LIVE = "NOT IN ('done', 'cancelled')"
UNDER_WAY = "('assigned', 'in_progress')"
BUSY = "('starting', 'working', 'waiting_for_input', 'waiting_for_vote', 'paused')"


class Invariant(NamedTuple):
    """What must hold: its number, the table it is of, the rows that break it, and what is said of one."""

    number: str
    table: str
    query: str
    says: str


def invariants(kind: str) -> Iterator[Invariant]:
    """I1 to I10, and I21, for one kind of database."""
    yield from _EVERYWHERE
    yield from _stamped()
    for column, decision, actions, says in _OVERRULED:
        yield _overruled(kind, column, decision, actions, says)
    yield Invariant("I10", "votes", _votes_of_others(kind), "a vote of a type that is not required")
    beyond = f"SELECT seq FROM transition_log WHERE seq < 1 UNION ALL SELECT seq FROM transition_log WHERE seq > {LAST}"
    yield Invariant("I21", "transition_log", beyond, "has a number that is not between 1 and 2**53")
    yield Invariant("I21", "transition_log", wrong_counter(kind), "the counter of its numbers is not where it ends")


_EVERYWHERE = [
    Invariant(
        "I1", "epics", "SELECT id FROM epics WHERE (status = 'awaiting_gate') <> (blocked_at_gate_id IS NOT NULL)",
        "is awaiting_gate without a gate that blocks it, or the other way round",
    ),
    Invariant(
        "I1", "epics",
        """SELECT id FROM epics e WHERE (e.status = 'awaiting_gate')
           <> EXISTS (SELECT 1 FROM stages WHERE epic_id = e.id AND status = 'awaiting_gate')""",
        "is awaiting_gate without such a stage, or the other way round",
    ),
    Invariant(
        "I1", "epics",
        """SELECT e.id FROM epics e WHERE e.blocked_at_gate_id IS NOT NULL AND NOT EXISTS (
               SELECT 1 FROM gates g JOIN stages s ON s.id = g.stage_id WHERE g.id = e.blocked_at_gate_id
               AND g.status = 'pending' AND s.id = e.current_stage_id AND s.epic_id = e.id
               AND s.status = 'awaiting_gate')""",
        "is blocked at what is no pending gate of its current stage",
    ),
    Invariant(
        "I2", "stages",
        f"""SELECT s.id FROM stages s JOIN epics e ON e.id = s.epic_id
            WHERE s.status IN {RUNNING} AND e.status NOT IN {RUNNING}""",
        "runs in an epic that does not",
    ),
    Invariant(
        "I2", "epics",
        f"SELECT epic_id FROM stages WHERE status IN {RUNNING} GROUP BY epic_id HAVING count(*) > 1",
        "has several running stages",
    ),
    Invariant(
        "I2", "epics",
        f"""SELECT e.id FROM stages s JOIN epics e ON e.id = s.epic_id
            WHERE s.status IN {RUNNING} AND (e.current_stage_id = s.id) IS NOT TRUE""",
        "has a running stage that is not its current one",
    ),
    Invariant(
        "I2", "stages",
        f"""SELECT o.id FROM stages s JOIN stages o ON o.epic_id = s.epic_id WHERE s.status IN {RUNNING}
            AND o.stage_order < s.stage_order AND o.status NOT IN {CLOSED}""",
        "is open, and a later stage runs",
    ),
    Invariant(
        "I2", "stages",
        f"""SELECT o.id FROM stages s JOIN stages o ON o.epic_id = s.epic_id WHERE s.status IN {RUNNING}
            AND o.stage_order > s.stage_order AND o.status NOT IN ('pending', 'skipped')""",
        "was begun, and an earlier stage runs",
    ),
    Invariant(
        "I2", "epics", "SELECT epic_id FROM stages GROUP BY epic_id, stage_order HAVING count(*) > 1",
        "has two stages of one stage_order",
    ),
    Invariant(
        "I3", "epics",
        f"""SELECT e.id FROM epics e WHERE e.status IN ('completed', 'cancelled') AND (
               EXISTS (SELECT 1 FROM stages WHERE epic_id = e.id AND status NOT IN {CLOSED})
               OR EXISTS (SELECT 1 FROM issues WHERE epic_id = e.id AND status {LIVE}))""",
        "is over, with an open stage or a live issue",
    ),
    Invariant(
        "I3", "epics",
        f"""SELECT e.id FROM epics e WHERE e.status = 'cancelled' AND EXISTS (
               SELECT 1 FROM gates g JOIN stages s ON s.id = g.stage_id WHERE s.epic_id = e.id
               AND g.status IN {OPEN_GATE})""",
        "is cancelled, with an open gate",
    ),
    Invariant(
        "I3", "epics",
        f"""SELECT e.id FROM epics e WHERE e.status = 'in_progress'
            AND NOT EXISTS (SELECT 1 FROM stages WHERE epic_id = e.id AND status NOT IN {CLOSED})
            AND NOT EXISTS (SELECT 1 FROM issues WHERE epic_id = e.id AND status {LIVE})""",
        "is in_progress with nothing left to do",
    ),
    Invariant(
        "I5", "stages",
        f"""SELECT s.id FROM stages s WHERE s.status IN {CLOSED} AND (
               EXISTS (SELECT 1 FROM gates WHERE stage_id = s.id AND status IN {OPEN_GATE})
               OR EXISTS (SELECT 1 FROM issues WHERE stage_id = s.id AND status {LIVE}))""",
        "is closed, with an open gate or a live issue",
    ),
    Invariant(
        "I5", "stages",
        """SELECT s.id FROM stages s WHERE s.status = 'awaiting_gate' AND (
               EXISTS (SELECT 1 FROM gates WHERE stage_id = s.id AND status = 'rejected')
               OR NOT EXISTS (SELECT 1 FROM gates WHERE stage_id = s.id AND status = 'pending'))""",
        "awaits its gates, with a rejected one or without a pending one",
    ),
    Invariant(
        "I5", "issues",
        f"""SELECT i.id FROM issues i JOIN stages s ON s.id = i.stage_id
            WHERE s.status = 'pending' AND i.status IN {UNDER_WAY}""",
        "is under way in a pending stage",
    ),
    Invariant(
        "I6", "issues",
        f"""SELECT i.id FROM issues i WHERE i.status IN {UNDER_WAY} AND NOT EXISTS (
               SELECT 1 FROM agents WHERE id = i.assigned_agent_id AND current_issue_id = i.id AND status IN {BUSY})""",
        "is under way, and no busy agent that it is assigned to holds it",
    ),
    Invariant(
        "I6", "issues",
        "SELECT id FROM issues WHERE status IN ('unassigned', 'queued') AND assigned_agent_id IS NOT NULL",
        "is nobody's, and names an agent",
    ),
    Invariant(
        "I6", "issues",
        """SELECT i.id FROM issues i JOIN stages s ON s.id = i.stage_id WHERE (s.epic_id = i.epic_id) IS NOT TRUE""",
        "is in a stage of another epic",
    ),
    Invariant(
        "I7", "agents", f"SELECT id FROM agents WHERE (status IN {BUSY}) <> (current_issue_id IS NOT NULL)",
        "is busy without an issue, or the other way round",
    ),
    Invariant(
        "I7", "agents",
        f"""SELECT a.id FROM agents a JOIN issues i ON i.id = a.current_issue_id WHERE NOT (i.status {LIVE})
            OR ((i.assigned_agent_id = a.id) IS NOT TRUE AND i.status <> 'in_review')""",
        "holds an issue that it neither does nor reviews",
    ),
    Invariant(
        "I8", "agents",
        f"""SELECT assigned_agent_id FROM issues WHERE status IN {UNDER_WAY} AND assigned_agent_id IS NOT NULL
            GROUP BY assigned_agent_id HAVING count(*) > 1""",
        "has several issues under way",
    ),
    Invariant(
        "I9", "proposals",
        "SELECT id FROM proposals WHERE (status NOT IN ('open', 'voting')) <> (resolved_at IS NOT NULL)",
        "is past its voting without resolved_at, or the other way round",
    ),
    Invariant(
        "I9", "proposals", "SELECT id FROM proposals WHERE (status = 'vetoed') <> (vetoed_by IS NOT NULL)",
        "is vetoed by nobody, or the other way round",
    ),
    Invariant(
        "I10", "votes", "SELECT min(CAST(id AS TEXT)) FROM votes GROUP BY proposal_id, voter_id HAVING count(*) > 1",
        "is not the only vote of its voter",
    ),
]  # fmt: skip

_ENDS = [
    ("epics", "completed_at", "('completed')"),
    ("issues", "completed_at", "('done')"),
    ("agents", "completed_at", "('completed')"),
    ("stages", "completed_at", CLOSED),
    ("pull_requests", "merged_at", "('merged')"),
    ("gates", "approved_at", "('approved')"),
]
_OVERRULED = [
    ("forced_by", "human_override", "('force_approve', 'force_reject')", "was forced"),
    ("vetoed_by", "human_veto", "('veto')", "was vetoed"),
]


def _stamped() -> Iterator[Invariant]:
    for table, column, statuses in _ENDS:
        query = f"SELECT id FROM {table} WHERE (status IN {statuses}) <> ({column} IS NOT NULL)"
        yield Invariant("I4", table, query, f"stands elsewhere than its {column} says")


def _overruled(kind: str, column: str, decision: str, actions: str, says: str) -> Invariant:
    """A person's word over a proposal stands in exactly one decision."""
    action = "CASE WHEN json_valid(outcome) THEN json_extract(outcome, '$.action') END"
    action = action if kind == SQLITE else "outcome ->> 'action'"
    counted = f"""(SELECT count(*) FROM decisions WHERE proposal_id = p.id AND decision_type = '{decision}'
                   AND {action} IN {actions})"""
    query = f"SELECT id FROM proposals p WHERE {counted} <> CASE WHEN {column} IS NULL THEN 0 ELSE 1 END"
    return Invariant("I9", "proposals", query, f"{says} by as many people as decisions say otherwise")


def _votes_of_others(kind: str) -> str:
    required = "SELECT value FROM json_each(CASE WHEN json_valid(p.required_voters) THEN p.required_voters END)"
    if kind != SQLITE:
        array = "CASE WHEN jsonb_typeof(p.required_voters) = 'array' THEN p.required_voters ELSE '[]' END"
        required = f"SELECT jsonb_array_elements_text({array})"
    return f"""SELECT v.id FROM votes v JOIN proposals p ON p.id = v.proposal_id
               WHERE (v.voter_type IN ({required})) IS NOT TRUE"""
