"""The state of AI agents' work in a database: rows that change only in legal ways, and a log of every move.

Begin with `open_store`. The rows are Peewee models: `Epic`, `Stage`, `Gate`, `Issue`, `PullRequest`, `Agent` and
`Proposal` have a status, which only their triggers change, such as `issue.start(by=agent)`. An actor fires a trigger: a
`Human`, a `System`, an `Agent`, or `SANGHA`, which stands for the agents as a body when they have voted.
"""

from dispatch_state._version import __version__
from dispatch_state.actors import SANGHA, Actor, Human, System
from dispatch_state.audit.violations import Violation
from dispatch_state.errors import (
    CommitUnknown,
    DispatchError,
    GuardRefused,
    IllegalTransition,
    InvalidValue,
    MigrationFailed,
    RowNotFound,
    SchemaTooNew,
    SchemaTooOld,
    StaleRow,
    StoreAlreadyOpen,
    StoreBusy,
    StoreCorrupt,
    StoreError,
    StoreFull,
    StoreNotFound,
    StoreNotOpen,
    StoreReadOnly,
    StoreUnreachable,
    WrongProcess,
)
from dispatch_state.lifecycle.interface import Move
from dispatch_state.models.agent import Agent
from dispatch_state.models.agent_log import AgentLog
from dispatch_state.models.decision import Decision
from dispatch_state.models.epic import Epic
from dispatch_state.models.gate import Gate, GateComment
from dispatch_state.models.issue import Issue
from dispatch_state.models.log import TransitionLog
from dispatch_state.models.proposal import Proposal
from dispatch_state.models.pull_request import PullRequest
from dispatch_state.models.settings import ConfigEntry, SyncState
from dispatch_state.models.stage import Stage
from dispatch_state.models.vote import Vote
from dispatch_state.store import Store, open_store
from dispatch_state.views.needs_human import NeedsHuman
from dispatch_state.vocabulary import (
    AgentStatus,
    AgentType,
    DecisionType,
    EpicStatus,
    GateStatus,
    GateType,
    IssueStatus,
    IssueType,
    LogLevel,
    Priority,
    ProposalStatus,
    ProposalType,
    PullRequestStatus,
    ReviewStatus,
    StageStatus,
    Threshold,
    VoteDecision,
)

__all__ = [
    "SANGHA",
    "Actor",
    "Agent",
    "AgentLog",
    "AgentStatus",
    "AgentType",
    "CommitUnknown",
    "ConfigEntry",
    "Decision",
    "DecisionType",
    "DispatchError",
    "Epic",
    "EpicStatus",
    "Gate",
    "GateComment",
    "GateStatus",
    "GateType",
    "GuardRefused",
    "Human",
    "IllegalTransition",
    "InvalidValue",
    "Issue",
    "IssueStatus",
    "IssueType",
    "LogLevel",
    "MigrationFailed",
    "Move",
    "NeedsHuman",
    "Priority",
    "Proposal",
    "ProposalStatus",
    "ProposalType",
    "PullRequest",
    "PullRequestStatus",
    "ReviewStatus",
    "RowNotFound",
    "SchemaTooNew",
    "SchemaTooOld",
    "Stage",
    "StageStatus",
    "StaleRow",
    "Store",
    "StoreAlreadyOpen",
    "StoreBusy",
    "StoreCorrupt",
    "StoreError",
    "StoreFull",
    "StoreNotFound",
    "StoreNotOpen",
    "StoreReadOnly",
    "StoreUnreachable",
    "SyncState",
    "System",
    "Threshold",
    "TransitionLog",
    "Violation",
    "Vote",
    "VoteDecision",
    "WrongProcess",
    "__version__",
    "open_store",
]
