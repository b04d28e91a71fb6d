"""The released migrations, the seed, and what a database says of its schema."""

from __future__ import annotations

from typing import Any

from dispatch_state.schema import migrate as migrations
from dispatch_state.storage.connect import Database
from tests.paths import ROOT

RELEASED = ROOT / "migrations"
SEED = (ROOT / "tests" / "seed_schema.sql").read_text()
HASHES = {
    "001_initial_schema": "c08f8c68378461456fd7e26d432606ce07e328f426c0dad2371ec50e7c16b8c8",
    "002_add_epics": "bc5c5cc94bd9db46314b3dfd0febcfbe28eea099d0e80e32ba0a105a9e03bb55",
    "003_add_governance": "afb0f02ff8e1856545dfe9f88e3349e4d6c8de4ea9611a8227a6aa4155cead4f",
    "004_versions_and_log": "3ce17c4f74c240b937b61dc5b8fbb0bcd4bbd37665996eb5f25a00fc9503ef14",
    "005_gate_and_vote_columns": "a6f3e4d5d89fef6173247994aa24394d8378541d33cefb7dc2096942940d47fd",
    "006_claim_index": "1ffb39c8ef892756f27dada02988b4be45dda6941cdc1bec23bbe1459db7a961",
    "007_listing_index": "f670395377f058f468d259252c1494aa02a33c29f22342828580ad788d658f97",
    "008_under_way_index": "2b63df1e3050786e58ea57ca1faad38acfd8407072fa4c7d1d40ff6c5ff68826",
    "009_metrics_names": "61566abbbf7f86a25460170810cad6d8a0744e92e6bf3dcb48be34495eb7648c",
}

NAMES = list(HASHES)


def history(database: Database) -> list[str]:
    """The migrations that were made, by their names."""
    if migrations.HISTORY not in database.get_tables():
        return []
    return [name for (name,) in database.execute_sql(f"SELECT name FROM {migrations.HISTORY} ORDER BY name")]


def schema(database: Database) -> list[Any]:
    """Everything the database says of its schema, and the history."""
    if database.kind == "sqlite":
        told = database.execute_sql(
            "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' ORDER BY 1, 2"
        )
    else:
        told = database.execute_sql(
            "SELECT table_name, column_name, data_type, is_nullable, column_default, is_identity"
            " FROM information_schema.columns WHERE table_schema = current_schema()"
            f" AND NOT (table_name = '{migrations.HISTORY}' AND column_name = 'id')"
            " UNION ALL SELECT tablename, indexname, replace(indexdef, current_schema(), ''), '', '', ''"
            " FROM pg_indexes WHERE schemaname = current_schema()"
            " UNION ALL SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid), '', '', ''"
            " FROM pg_constraint WHERE connamespace = current_schema()::regnamespace ORDER BY 1, 2, 3"
        )
    return [*told.fetchall(), *history(database)]


NATIVE = {
    "epics": """id uuid, github_id bigint, acceptance_criteria jsonb, current_stage_id uuid, blocked_at_gate_id uuid,
        created_at timestamptz, updated_at timestamptz, completed_at timestamptz, version integer""",
    "stages": """id uuid, epic_id uuid, stage_order integer, created_at timestamptz, started_at timestamptz,
        completed_at timestamptz, version integer""",
    "gates": """id uuid, stage_id uuid, required_approvers jsonb, created_at timestamptz, approved_at timestamptz,
        version integer, options jsonb, auto_approve_at timestamptz""",
    "gate_comments": "id uuid, gate_id uuid, created_at timestamptz",
    "issues": """id uuid, github_id bigint, labels jsonb, epic_id uuid, stage_id uuid, assigned_agent_id uuid,
        created_at timestamptz, updated_at timestamptz, assigned_at timestamptz, completed_at timestamptz,
        version integer""",
    "pull_requests": """id uuid, issue_id uuid, github_number bigint, checks_passing boolean, created_at timestamptz,
        merged_at timestamptz, version integer""",
    "agents": """id uuid, current_issue_id uuid, process_id bigint, started_at timestamptz, last_heartbeat timestamptz,
        completed_at timestamptz, metrics jsonb, version integer""",
    "proposals": """id uuid, proposer_id uuid, related_issue_id uuid, affected_components jsonb, options jsonb,
        required_voters jsonb, execution_result jsonb, created_at timestamptz, voting_deadline timestamptz,
        resolved_at timestamptz, executed_at timestamptz, version integer""",
    "votes": "id uuid, proposal_id uuid, voter_id uuid, confidence double precision, created_at timestamptz",
    "decisions": "id uuid, proposal_id uuid, issue_id uuid, epic_id uuid, outcome jsonb, created_at timestamptz",
    "agent_logs": "id uuid, agent_id uuid, issue_id uuid, context jsonb, created_at timestamptz",
    "config_store": "value jsonb, updated_at timestamptz",
    "sync_state": "last_sync_at timestamptz, last_issue_id bigint, last_pr_id bigint, sync_errors jsonb",
    "transition_log": """seq bigint, entity_id uuid, version integer, details jsonb, cause_seq bigint,
        decision_id uuid, created_at timestamptz""",
}


ID, OTHER = "01890000-0000-7000-8000-000000000001", "01890000-0000-7000-8000-000000000002"
WHEN = "2026-01-31T09:30:00.000000+00:00"
