"""The model of every table, in the order of the seed, the schema from which this library started."""

from __future__ import annotations

from dispatch_state.models.agent import Agent
from dispatch_state.models.agent_log import AgentLog
from dispatch_state.models.base import Stateful
from dispatch_state.models.decision import Decision
from dispatch_state.models.epic import Epic
from dispatch_state.models.gate import Gate, GateComment
from dispatch_state.models.issue import Issue
from dispatch_state.models.log import TransitionLog
from dispatch_state.models.proposal import Proposal
from dispatch_state.models.pull_request import PullRequest
from dispatch_state.models.row import Row
from dispatch_state.models.settings import ConfigEntry, SyncState
from dispatch_state.models.stage import Stage
from dispatch_state.models.vote import Vote

STATEFUL: tuple[type[Stateful], ...] = (Epic, Stage, Gate, Issue, PullRequest, Agent, Proposal)
"""The models with a lifecycle."""
PLAIN: tuple[type[Row], ...] = (GateComment, AgentLog, Vote, Decision, ConfigEntry, SyncState, TransitionLog)
"""The models without a lifecycle."""
EVERY: tuple[type[Row], ...] = (*STATEFUL, *PLAIN)
