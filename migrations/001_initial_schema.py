"""Issues, agents, pull requests, logs, configuration and sync state, as in the seed."""

from typing import Any

from dispatch_state import ddl

SCHEMA = """
CREATE TABLE issues (
    id TEXT PRIMARY KEY,                    -- UUID
    github_id INTEGER,                      -- GitHub issue number (nullable)
    github_url TEXT,

    -- Repository
    repo_path TEXT NOT NULL,
    repo_url TEXT,
    worktree_path TEXT,                     -- Created when assigned
    branch_name TEXT,

    -- Content
    title TEXT NOT NULL,
    prompt TEXT NOT NULL,                   -- Full description, serves as agent memory
    issue_type TEXT NOT NULL,               -- feature, bug, docs, refactor, test, security, chore
    priority TEXT NOT NULL DEFAULT 'medium', -- critical, high, medium, low
    labels TEXT,                            -- JSON array of strings

    -- Assignment
    status TEXT NOT NULL DEFAULT 'unassigned', -- unassigned, queued, assigned, in_progress, awaiting_review, in_review, done, blocked, cancelled
    assigned_agent_id TEXT,                 -- FK to agents
    agent_type TEXT,                        -- coder, reviewer, pm, security, docs, test, architect

    -- Timestamps
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    assigned_at TEXT,
    completed_at TEXT,

    FOREIGN KEY (assigned_agent_id) REFERENCES agents(id) ON DELETE SET NULL
);

CREATE INDEX idx_issues_status ON issues(status);
CREATE INDEX idx_issues_priority ON issues(priority);
CREATE INDEX idx_issues_agent ON issues(assigned_agent_id);
CREATE INDEX idx_issues_github ON issues(github_id);
CREATE INDEX idx_issues_repo ON issues(repo_path);

CREATE TABLE agents (
    id TEXT PRIMARY KEY,                    -- UUID

    agent_type TEXT NOT NULL,               -- coder, reviewer, pm, security, docs, test, architect
    status TEXT NOT NULL DEFAULT 'idle',    -- idle, starting, working, waiting_for_input, waiting_for_vote, paused, errored, completed

    -- Current work
    current_issue_id TEXT,                  -- FK to issues
    worktree_path TEXT,
    process_id INTEGER,                     -- OS PID
    claude_session_id TEXT,                 -- For resume capability

    -- Timestamps
    started_at TEXT NOT NULL,
    last_heartbeat TEXT NOT NULL,
    completed_at TEXT,

    -- Metrics (JSON for flexibility)
    metrics TEXT,                           -- JSON: {issues_completed, avg_completion_time, tokens_used, ...}

    FOREIGN KEY (current_issue_id) REFERENCES issues(id) ON DELETE SET NULL
);

CREATE INDEX idx_agents_type ON agents(agent_type);
CREATE INDEX idx_agents_status ON agents(status);
CREATE INDEX idx_agents_issue ON agents(current_issue_id);

CREATE TABLE pull_requests (
    id TEXT PRIMARY KEY,                    -- UUID
    issue_id TEXT NOT NULL,                 -- FK to issues

    github_number INTEGER NOT NULL,
    github_url TEXT NOT NULL,
    branch TEXT NOT NULL,

    status TEXT NOT NULL DEFAULT 'open',    -- draft, open, merged, closed
    checks_passing INTEGER DEFAULT 0,       -- boolean
    review_status TEXT DEFAULT 'pending',   -- pending, approved, changes_requested, dismissed

    created_at TEXT NOT NULL,
    merged_at TEXT,

    FOREIGN KEY (issue_id) REFERENCES issues(id) ON DELETE CASCADE
);

CREATE INDEX idx_prs_issue ON pull_requests(issue_id);
CREATE INDEX idx_prs_status ON pull_requests(status);

CREATE TABLE agent_logs (
    id TEXT PRIMARY KEY,                    -- UUID
    agent_id TEXT NOT NULL,                 -- FK to agents
    issue_id TEXT,                          -- FK to issues

    level TEXT NOT NULL,                    -- debug, info, warn, error
    message TEXT NOT NULL,
    context TEXT,                           -- JSON with additional context

    created_at TEXT NOT NULL,

    FOREIGN KEY (agent_id) REFERENCES agents(id) ON DELETE CASCADE,
    FOREIGN KEY (issue_id) REFERENCES issues(id) ON DELETE SET NULL
);

CREATE INDEX idx_logs_agent ON agent_logs(agent_id);
CREATE INDEX idx_logs_issue ON agent_logs(issue_id);
CREATE INDEX idx_logs_level ON agent_logs(level);
CREATE INDEX idx_logs_date ON agent_logs(created_at);

-- Key-value store for runtime configuration
CREATE TABLE config_store (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL,
    updated_at TEXT NOT NULL
);

-- Track GitHub sync state
CREATE TABLE sync_state (
    id TEXT PRIMARY KEY,                    -- Usually just "github"
    last_sync_at TEXT NOT NULL,
    last_issue_id INTEGER,                  -- Last processed GitHub issue ID
    last_pr_id INTEGER,                     -- Last processed GitHub PR ID
    etag TEXT,                              -- For conditional requests
    sync_errors TEXT                        -- JSON array of recent errors
);
"""


def up(migrator: Any, db: Any) -> None:
    ddl.run(db, SCHEMA)
