"""The order in which the issues of a status are listed, so that the first of a million are found as fast as of ten."""

from typing import Any

from dispatch_state import ddl

SCHEMA = """
CREATE INDEX idx_issues_listing ON issues(
    status,
    (CASE priority WHEN 'critical' THEN 0 WHEN 'high' THEN 1 WHEN 'medium' THEN 2 WHEN 'low' THEN 3 END),
    created_at, id
);
"""


def up(migrator: Any, db: Any) -> None:
    ddl.run(db, SCHEMA)
