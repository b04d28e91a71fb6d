"""A version on every stateful row, and the log of every move."""

from typing import Any

from dispatch_state import ddl

SCHEMA = """
ALTER TABLE epics ADD COLUMN version INTEGER NOT NULL DEFAULT 1;
ALTER TABLE stages ADD COLUMN version INTEGER NOT NULL DEFAULT 1;
ALTER TABLE gates ADD COLUMN version INTEGER NOT NULL DEFAULT 1;
ALTER TABLE issues ADD COLUMN version INTEGER NOT NULL DEFAULT 1;
ALTER TABLE pull_requests ADD COLUMN version INTEGER NOT NULL DEFAULT 1;
ALTER TABLE agents ADD COLUMN version INTEGER NOT NULL DEFAULT 1;
ALTER TABLE proposals ADD COLUMN version INTEGER NOT NULL DEFAULT 1;

CREATE TABLE transition_log (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    entity TEXT NOT NULL,                   -- table name
    entity_id TEXT NOT NULL,                -- UUID of the row that moved; no key: rows may go, their log stays
    version INTEGER NOT NULL,               -- the row's version after the move
    trigger TEXT NOT NULL,
    source TEXT,                            -- NULL at birth
    dest TEXT,                              -- NULL at removal
    actor TEXT NOT NULL,                    -- "human:login", "agent:id", "system:component", "sangha"
    reason TEXT,
    details TEXT,                           -- JSON object
    cause_seq INTEGER,                      -- the move this one followed from
    decision_id TEXT,                       -- UUID of the decision this move wrote
    created_at TEXT NOT NULL
);

CREATE UNIQUE INDEX idx_log_row ON transition_log(entity_id, version);
"""


def up(migrator: Any, db: Any) -> None:
    ddl.run(db, SCHEMA)
