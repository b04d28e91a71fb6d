"""The invariants of the lifecycles, each as a query for the rows that break it.

A query selects the id of each such row and reads the same on both databases. The queries are written by hand. None
of them is derived from the guards, so that a wrong guard does not hide its own error.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from dispatch_state.audit.status_groups import AGENTS, EPICS, GATES, ISSUES, PROPOSALS, PULL_REQUESTS, STAGES
from dispatch_state.schema.numbering import HIGHEST_SEQ, wrong_counter_query
from dispatch_state.storage.targets import SQLITE

_RUNNING_STAGE, _CLOSED_STAGE = STAGES.sql("running"), STAGES.sql("approved", "skipped")
_LIVE_ISSUE = f"NOT IN {ISSUES.sql('done', 'cancelled')}"
_UNDER_WAY, _BUSY = ISSUES.sql("under_way"), AGENTS.sql("busy")


class Invariant(NamedTuple):
    """Something that must always be true.

    number: its number in the contract, such as "I6".
    table: the table whose rows it is about.
    query: a SELECT of the ids of the rows that break it.
    message: what is wrong with such a row, without a subject.
    """

    number: str
    table: str
    query: str
    message: str


def invariants(kind: str) -> Iterator[Invariant]:
    """Yield the invariants I1 to I10 and I21 for one kind of database.

    Args:
        kind: "sqlite" or "postgresql".
    """
    yield from _BOTH_DATABASES
    yield from _completion_times()
    for column, decision, actions in _OVERRIDES:
        yield _override(kind, column, decision, actions)
    yield Invariant("I10", "votes", _unexpected_votes(kind), "is a vote of an agent type that is not required")
    seqs = "SELECT seq FROM transition_log WHERE seq"
    out_of_range = f"{seqs} < 1 UNION ALL {seqs} > {HIGHEST_SEQ}"
    yield Invariant("I21", "transition_log", out_of_range, "has a number that is not between 1 and 2**53")
    counter = "the counter of its numbers does not match its last number"
    yield Invariant("I21", "transition_log", wrong_counter_query(kind), counter)


_BOTH_DATABASES = [
    Invariant(
        "I1", "epics", "SELECT id FROM epics WHERE (status = 'awaiting_gate') <> (blocked_at_gate_id IS NOT NULL)",
        "is awaiting_gate but blocked at no gate, or blocked but not awaiting_gate",
    ),
    Invariant(
        "I1", "epics",
        """SELECT id FROM epics e WHERE (e.status = 'awaiting_gate')
           <> EXISTS (SELECT 1 FROM stages WHERE epic_id = e.id AND status = 'awaiting_gate')""",
        "is awaiting_gate but none of its stages is, or a stage is but the epic is not",
    ),
    Invariant(
        "I1", "epics",
        """SELECT e.id FROM epics e WHERE e.blocked_at_gate_id IS NOT NULL AND NOT EXISTS (
               SELECT 1 FROM gates g JOIN stages s ON s.id = g.stage_id WHERE g.id = e.blocked_at_gate_id
               AND g.status = 'pending' AND s.id = e.current_stage_id AND s.epic_id = e.id
               AND s.status = 'awaiting_gate')""",
        "is blocked at something other than a pending gate of its current stage",
    ),
    Invariant(
        "I2", "stages",
        f"""SELECT s.id FROM stages s JOIN epics e ON e.id = s.epic_id
            WHERE s.status IN {_RUNNING_STAGE} AND e.status NOT IN {EPICS.sql('running')}""",
        "is running in an epic that is not",
    ),
    Invariant(
        "I2", "epics",
        f"SELECT epic_id FROM stages WHERE status IN {_RUNNING_STAGE} GROUP BY epic_id HAVING count(*) > 1",
        "has several running stages",
    ),
    Invariant(
        "I2", "epics",
        f"""SELECT e.id FROM stages s JOIN epics e ON e.id = s.epic_id
            WHERE s.status IN {_RUNNING_STAGE} AND (e.current_stage_id = s.id) IS NOT TRUE""",
        "has a running stage that is not its current one",
    ),
    Invariant(
        "I2", "stages",
        f"""SELECT o.id FROM stages s JOIN stages o ON o.epic_id = s.epic_id WHERE s.status IN {_RUNNING_STAGE}
            AND o.stage_order < s.stage_order AND o.status NOT IN {_CLOSED_STAGE}""",
        "is not closed, but a later stage is running",
    ),
    Invariant(
        "I2", "stages",
        f"""SELECT o.id FROM stages s JOIN stages o ON o.epic_id = s.epic_id WHERE s.status IN {_RUNNING_STAGE}
            AND o.stage_order > s.stage_order AND o.status NOT IN {STAGES.sql('pending', 'skipped')}""",
        "was started, but an earlier stage is running",
    ),
    Invariant(
        "I2", "epics", "SELECT epic_id FROM stages GROUP BY epic_id, stage_order HAVING count(*) > 1",
        "has two stages with the same stage_order",
    ),
    Invariant(
        "I3", "epics",
        f"""SELECT e.id FROM epics e WHERE e.status IN {EPICS.sql('completed', 'cancelled')} AND (
               EXISTS (SELECT 1 FROM stages WHERE epic_id = e.id AND status NOT IN {_CLOSED_STAGE})
               OR EXISTS (SELECT 1 FROM issues WHERE epic_id = e.id AND status {_LIVE_ISSUE}))""",
        "is completed or cancelled, but has an open stage or a live issue",
    ),
    Invariant(
        "I3", "epics",
        f"""SELECT e.id FROM epics e WHERE e.status = 'cancelled' AND EXISTS (
               SELECT 1 FROM gates g JOIN stages s ON s.id = g.stage_id WHERE s.epic_id = e.id
               AND g.status IN {GATES.sql('open')})""",
        "is cancelled, but has an open gate",
    ),
    Invariant(
        "I3", "epics",
        f"""SELECT e.id FROM epics e WHERE e.status = 'in_progress'
            AND NOT EXISTS (SELECT 1 FROM stages WHERE epic_id = e.id AND status NOT IN {_CLOSED_STAGE})
            AND NOT EXISTS (SELECT 1 FROM issues WHERE epic_id = e.id AND status {_LIVE_ISSUE})""",
        "is in_progress with nothing left to do",
    ),
    Invariant(
        "I5", "stages",
        f"""SELECT s.id FROM stages s WHERE s.status IN {_CLOSED_STAGE} AND (
               EXISTS (SELECT 1 FROM gates WHERE stage_id = s.id AND status IN {GATES.sql('open')})
               OR EXISTS (SELECT 1 FROM issues WHERE stage_id = s.id AND status {_LIVE_ISSUE}))""",
        "is closed, but has an open gate or a live issue",
    ),
    Invariant(
        "I5", "stages",
        """SELECT s.id FROM stages s WHERE s.status = 'awaiting_gate' AND (
               EXISTS (SELECT 1 FROM gates WHERE stage_id = s.id AND status = 'rejected')
               OR NOT EXISTS (SELECT 1 FROM gates WHERE stage_id = s.id AND status = 'pending'))""",
        "is awaiting_gate, but a gate is rejected or none is pending",
    ),
    Invariant(
        "I5", "issues",
        f"""SELECT i.id FROM issues i JOIN stages s ON s.id = i.stage_id
            WHERE s.status = 'pending' AND i.status IN {_UNDER_WAY}""",
        "is under way in a pending stage",
    ),
    Invariant(
        "I6", "issues",
        f"""SELECT i.id FROM issues i WHERE i.status IN {_UNDER_WAY} AND NOT EXISTS (
               SELECT 1 FROM agents a WHERE a.id = i.assigned_agent_id AND a.current_issue_id = i.id
               AND a.status IN {_BUSY})""",
        "is under way, but its assigned agent is not busy with it",
    ),
    Invariant(
        "I6", "issues",
        f"SELECT id FROM issues WHERE status IN {ISSUES.sql('unclaimed')} AND assigned_agent_id IS NOT NULL",
        "is unassigned or queued, but has an assigned agent",
    ),
    Invariant(
        "I6", "issues",
        """SELECT i.id FROM issues i JOIN stages s ON s.id = i.stage_id WHERE (s.epic_id = i.epic_id) IS NOT TRUE""",
        "is in a stage of another epic",
    ),
    Invariant(
        "I7", "agents", f"SELECT id FROM agents WHERE (status IN {_BUSY}) <> (current_issue_id IS NOT NULL)",
        "is busy without an issue, or has an issue without being busy",
    ),
    Invariant(
        "I7", "agents",
        f"""SELECT a.id FROM agents a JOIN issues i ON i.id = a.current_issue_id WHERE NOT (i.status {_LIVE_ISSUE})
            OR ((i.assigned_agent_id = a.id) IS NOT TRUE AND i.status <> 'in_review')""",
        "holds an issue that it neither works on nor reviews",
    ),
    Invariant(
        "I8", "agents",
        f"""SELECT assigned_agent_id FROM issues WHERE status IN {_UNDER_WAY} AND assigned_agent_id IS NOT NULL
            GROUP BY assigned_agent_id HAVING count(*) > 1""",
        "has several issues under way",
    ),
    Invariant(
        "I9", "proposals",
        f"SELECT id FROM proposals WHERE (status NOT IN {PROPOSALS.sql('undecided')}) <> (resolved_at IS NOT NULL)",
        "is decided without resolved_at, or has resolved_at without being decided",
    ),
    Invariant(
        "I9", "proposals", "SELECT id FROM proposals WHERE (status = 'vetoed') <> (vetoed_by IS NOT NULL)",
        "is vetoed without vetoed_by, or has vetoed_by without being vetoed",
    ),
    Invariant(
        "I10", "votes", "SELECT min(CAST(id AS TEXT)) FROM votes GROUP BY proposal_id, voter_id HAVING count(*) > 1",
        "is not the only vote of its voter",
    ),
]  # fmt: skip

_COMPLETION_COLUMNS = [
    ("epics", "completed_at", EPICS.sql("completed")),
    ("issues", "completed_at", ISSUES.sql("done")),
    ("agents", "completed_at", AGENTS.sql("completed")),
    ("stages", "completed_at", STAGES.sql("approved", "skipped")),
    ("pull_requests", "merged_at", PULL_REQUESTS.sql("merged")),
    ("gates", "approved_at", GATES.sql("approved")),
]
"""Each table with a completion time: the column, and the statuses in which it is set."""
_OVERRIDES = [
    ("forced_by", "human_override", "('force_approve', 'force_reject')"),
    ("vetoed_by", "human_veto", "('veto')"),
]
"""Each column that names the person who overrode a vote, with the type and the actions of the decision."""


def _completion_times() -> Iterator[Invariant]:
    for table, column, statuses in _COMPLETION_COLUMNS:
        query = f"SELECT id FROM {table} WHERE (status IN {statuses}) <> ({column} IS NOT NULL)"
        yield Invariant("I4", table, query, f"has a status that does not match its {column}")


def _override(kind: str, column: str, decision: str, actions: str) -> Invariant:
    """When a person overrode the vote on a proposal, exactly one decision says so."""
    action = "CASE WHEN json_valid(outcome) THEN json_extract(outcome, '$.action') END"
    action = action if kind == SQLITE else "outcome ->> 'action'"
    counted = f"""(SELECT count(*) FROM decisions WHERE proposal_id = p.id AND decision_type = '{decision}'
                   AND {action} IN {actions})"""
    query = f"SELECT id FROM proposals p WHERE {counted} <> CASE WHEN {column} IS NULL THEN 0 ELSE 1 END"
    return Invariant("I9", "proposals", query, f"has a {column} that does not match its decisions")


def _unexpected_votes(kind: str) -> str:
    """Return a query for the votes whose agent type the proposal does not require."""
    required = "SELECT value FROM json_each(CASE WHEN json_valid(p.required_voters) THEN p.required_voters END)"
    if kind != SQLITE:
        array = "CASE WHEN jsonb_typeof(p.required_voters) = 'array' THEN p.required_voters ELSE '[]' END"
        required = f"SELECT jsonb_array_elements_text({array})"
    return f"""SELECT v.id FROM votes v JOIN proposals p ON p.id = v.proposal_id
               WHERE (v.voter_type IN ({required})) IS NOT TRUE"""
