"""Proposals, votes and decisions, as in the seed."""

from typing import Any

from dispatch_state import ddl

SCHEMA = """
CREATE TABLE proposals (
    id TEXT PRIMARY KEY,                    -- UUID

    proposal_type TEXT NOT NULL,            -- implementation_approach, tech_stack_choice, architecture_decision, new_agent_type, workflow_change, governance_rule, tool_integration, prompt_improvement
    proposer_id TEXT NOT NULL,              -- FK to agents

    -- Content
    title TEXT NOT NULL,
    description TEXT NOT NULL,
    rationale TEXT NOT NULL,

    -- Context
    related_issue_id TEXT,                  -- FK to issues (if implementation proposal)
    affected_components TEXT,               -- JSON array of component names

    -- Options (for decisions)
    options TEXT,                           -- JSON array of options
    chosen_option TEXT,                     -- Selected option after vote

    -- Voting
    status TEXT NOT NULL DEFAULT 'open',    -- open, voting, approved, rejected, executing, executed, rolled_back, vetoed
    required_voters TEXT,                   -- JSON array of agent types
    threshold TEXT NOT NULL,                -- unanimous, super_majority, simple_majority, single_approval

    -- Execution
    implementation_plan TEXT,
    rollback_plan TEXT,
    execution_result TEXT,                  -- JSON with outcome details

    -- Human override
    forced_by TEXT,                         -- Human who forced decision (nullable)
    force_reason TEXT,
    vetoed_by TEXT,                         -- Human who vetoed (nullable)
    veto_reason TEXT,

    -- Timestamps
    created_at TEXT NOT NULL,
    voting_deadline TEXT,
    resolved_at TEXT,
    executed_at TEXT,

    FOREIGN KEY (proposer_id) REFERENCES agents(id),
    FOREIGN KEY (related_issue_id) REFERENCES issues(id) ON DELETE SET NULL
);

CREATE INDEX idx_proposals_status ON proposals(status);
CREATE INDEX idx_proposals_type ON proposals(proposal_type);
CREATE INDEX idx_proposals_issue ON proposals(related_issue_id);

CREATE TABLE votes (
    id TEXT PRIMARY KEY,                    -- UUID
    proposal_id TEXT NOT NULL,              -- FK to proposals

    voter_id TEXT NOT NULL,                 -- FK to agents
    voter_type TEXT NOT NULL,               -- Agent type at time of vote

    decision TEXT NOT NULL,                 -- approve, reject, abstain, need_more_info
    reasoning TEXT NOT NULL,
    confidence REAL,                        -- 0.0 - 1.0

    created_at TEXT NOT NULL,

    FOREIGN KEY (proposal_id) REFERENCES proposals(id) ON DELETE CASCADE,
    FOREIGN KEY (voter_id) REFERENCES agents(id)
);

CREATE INDEX idx_votes_proposal ON votes(proposal_id);
CREATE INDEX idx_votes_voter ON votes(voter_id);
CREATE UNIQUE INDEX idx_votes_unique ON votes(proposal_id, voter_id);

CREATE TABLE decisions (
    id TEXT PRIMARY KEY,                    -- UUID

    -- What was decided
    proposal_id TEXT,                       -- FK to proposals (nullable for non-proposal decisions)
    issue_id TEXT,                          -- FK to issues (nullable)
    epic_id TEXT,                           -- FK to epics (nullable)

    decision_type TEXT NOT NULL,            -- proposal_approved, proposal_rejected, human_override, human_veto, gate_approved, gate_rejected
    description TEXT NOT NULL,

    -- Outcome
    outcome TEXT NOT NULL,                  -- JSON with decision details

    -- Who made it
    decided_by TEXT NOT NULL,               -- "sangha", "human:username", "agent:id"

    created_at TEXT NOT NULL,

    FOREIGN KEY (proposal_id) REFERENCES proposals(id) ON DELETE SET NULL,
    FOREIGN KEY (issue_id) REFERENCES issues(id) ON DELETE SET NULL,
    FOREIGN KEY (epic_id) REFERENCES epics(id) ON DELETE SET NULL
);

CREATE INDEX idx_decisions_proposal ON decisions(proposal_id);
CREATE INDEX idx_decisions_issue ON decisions(issue_id);
CREATE INDEX idx_decisions_epic ON decisions(epic_id);
CREATE INDEX idx_decisions_type ON decisions(decision_type);
CREATE INDEX idx_decisions_date ON decisions(created_at);
"""


def up(migrator: Any, db: Any) -> None:
    ddl.run(db, SCHEMA)
