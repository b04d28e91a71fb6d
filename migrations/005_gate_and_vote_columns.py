"""What gates and votes hold beyond the seed."""

from typing import Any

from dispatch_state import ddl

SCHEMA = """
ALTER TABLE votes ADD COLUMN preferred_option TEXT;
ALTER TABLE gates ADD COLUMN options TEXT;
ALTER TABLE gates ADD COLUMN chosen_option TEXT;
ALTER TABLE gates ADD COLUMN auto_approve_at TEXT;
"""


def up(migrator: Any, db: Any) -> None:
    ddl.run(db, SCHEMA)
