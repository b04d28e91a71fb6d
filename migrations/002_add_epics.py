"""Epics, stages, gates and their comments, as in the seed; issues belong to epics and stages."""

from typing import Any

from dispatch_state import ddl

SCHEMA = """
CREATE TABLE epics (
    id TEXT PRIMARY KEY,                    -- UUID
    github_id INTEGER,                      -- GitHub issue number (nullable)
    github_url TEXT,                        -- Full GitHub URL

    -- Content
    title TEXT NOT NULL,
    description TEXT NOT NULL,
    acceptance_criteria TEXT,               -- JSON array of strings

    -- Repository
    repo_path TEXT NOT NULL,                -- Local path
    repo_url TEXT,                          -- GitHub URL

    -- Status
    status TEXT NOT NULL DEFAULT 'draft',   -- draft, ready, in_progress, awaiting_gate, completed, cancelled
    current_stage_id TEXT,                  -- FK to stages
    blocked_at_gate_id TEXT,                -- FK to gates (if waiting)

    -- Timestamps
    created_at TEXT NOT NULL,               -- ISO 8601
    updated_at TEXT NOT NULL,
    completed_at TEXT,

    FOREIGN KEY (current_stage_id) REFERENCES stages(id),
    FOREIGN KEY (blocked_at_gate_id) REFERENCES gates(id)
);

CREATE INDEX idx_epics_status ON epics(status);
CREATE INDEX idx_epics_repo ON epics(repo_path);
CREATE INDEX idx_epics_github ON epics(github_id);

CREATE TABLE stages (
    id TEXT PRIMARY KEY,                    -- UUID
    epic_id TEXT NOT NULL,                  -- FK to epics

    -- Content
    name TEXT NOT NULL,                     -- "Design", "Implementation", etc.
    description TEXT,
    stage_order INTEGER NOT NULL,           -- Order within epic (0, 1, 2, ...)

    -- Status
    status TEXT NOT NULL DEFAULT 'pending', -- pending, in_progress, awaiting_gate, approved, skipped

    -- Timestamps
    created_at TEXT NOT NULL,
    started_at TEXT,
    completed_at TEXT,

    FOREIGN KEY (epic_id) REFERENCES epics(id) ON DELETE CASCADE
);

CREATE INDEX idx_stages_epic ON stages(epic_id);
CREATE INDEX idx_stages_order ON stages(epic_id, stage_order);

CREATE TABLE gates (
    id TEXT PRIMARY KEY,                    -- UUID
    stage_id TEXT NOT NULL,                 -- FK to stages

    -- Content
    gate_type TEXT NOT NULL,                -- approval, review, checkpoint, decision
    description TEXT NOT NULL,
    required_approvers TEXT,                -- JSON array of GitHub usernames, or "any"

    -- Status
    status TEXT NOT NULL DEFAULT 'pending', -- pending, approved, rejected, skipped
    approved_by TEXT,                       -- GitHub username
    rejection_reason TEXT,

    -- Timestamps
    created_at TEXT NOT NULL,
    approved_at TEXT,

    FOREIGN KEY (stage_id) REFERENCES stages(id) ON DELETE CASCADE
);

CREATE INDEX idx_gates_stage ON gates(stage_id);
CREATE INDEX idx_gates_status ON gates(status);

CREATE TABLE gate_comments (
    id TEXT PRIMARY KEY,                    -- UUID
    gate_id TEXT NOT NULL,                  -- FK to gates

    author TEXT NOT NULL,                   -- GitHub username
    content TEXT NOT NULL,

    created_at TEXT NOT NULL,

    FOREIGN KEY (gate_id) REFERENCES gates(id) ON DELETE CASCADE
);

CREATE INDEX idx_gate_comments_gate ON gate_comments(gate_id);

-- The seed's sketch of this migration leaves out ON DELETE; its listing of the table has it.
ALTER TABLE issues ADD COLUMN epic_id TEXT REFERENCES epics(id) ON DELETE SET NULL;
ALTER TABLE issues ADD COLUMN stage_id TEXT REFERENCES stages(id) ON DELETE SET NULL;

CREATE INDEX idx_issues_epic ON issues(epic_id);
CREATE INDEX idx_issues_stage ON issues(stage_id);
"""


def up(migrator: Any, db: Any) -> None:
    ddl.run(db, SCHEMA)
