"""What an agent works on, so that it is found as fast behind a million finished issues as behind ten."""

from typing import Any

from dispatch_state import ddl

SCHEMA = """
CREATE INDEX idx_issues_under_way ON issues(assigned_agent_id, id) WHERE status IN ('assigned', 'in_progress');
"""


def up(migrator: Any, db: Any) -> None:
    ddl.run(db, SCHEMA)
