"""The order in which queued issues are claimed, so that a claim costs the same however many are waiting."""

from typing import Any

from dispatch_state import ddl

SCHEMA = """
CREATE INDEX idx_issues_claim ON issues(
    status, (COALESCE(agent_type, '')),
    (CASE priority WHEN 'critical' THEN 0 WHEN 'high' THEN 1 WHEN 'medium' THEN 2 WHEN 'low' THEN 3 END),
    created_at, id
) WHERE status = 'queued';
"""


def up(migrator: Any, db: Any) -> None:
    ddl.run(db, SCHEMA)
