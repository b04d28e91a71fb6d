"""Every word a column may hold, with its meaning: statuses, types, priorities, thresholds.

A member is its stored value (`IssueStatus.QUEUED == "queued"`), carries its `meaning` in one
sentence, and, when it is a status, says whether it is `final`. The lifecycles themselves are
in `models/`: this module knows the words, not the ways between them.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Self


class Word(StrEnum):
    """A word that a column may hold; `meaning` says in one sentence what it stands for."""

    meaning: str

    if not TYPE_CHECKING:  # a call looks a word up; only the members below are made here

        def __new__(cls, value: str, meaning: str) -> Self:
            member = str.__new__(cls, value)
            member._value_ = value
            member.meaning = meaning
            return member


class Status(StrEnum):
    """A status of a lifecycle; `final` ones have no way out, all others are live."""

    meaning: str
    final: bool

    if not TYPE_CHECKING:

        def __new__(cls, value: str, meaning: str, final: bool = False) -> Self:
            member = str.__new__(cls, value)
            member._value_ = value
            member.meaning = meaning
            member.final = final
            return member

    @classmethod
    def live(cls) -> tuple[Self, ...]:
        """Every status of this lifecycle that is not final, in its own order."""
        return tuple(member for member in cls if not member.final)


FINAL = True


class EpicStatus(Status):
    """Where an epic stands."""

    DRAFT = "draft", "Being written; stages may still be added and reordered."
    READY = "ready", "Written and waiting for somebody to start it."
    IN_PROGRESS = "in_progress", "One of its stages is being worked on, or a word of a person is due."
    AWAITING_GATE = "awaiting_gate", "A stage is finished and its gates wait for people."
    COMPLETED = "completed", "Every stage is approved or skipped and no issue is live.", FINAL
    CANCELLED = "cancelled", "Given up by a person, with everything in it.", FINAL


class StageStatus(Status):
    """Where a stage stands."""

    PENDING = "pending", "Waits for the stages before it."
    IN_PROGRESS = "in_progress", "Its issues are queued and worked on."
    AWAITING_GATE = "awaiting_gate", "Its issues are closed; its gates wait for people."
    APPROVED = "approved", "Its issues are closed and every gate let it through.", FINAL
    SKIPPED = "skipped", "Passed over by a person.", FINAL


class GateStatus(Status):
    """Where a gate stands."""

    PENDING = "pending", "Nobody has decided yet."
    APPROVED = "approved", "Somebody entitled to it said yes.", FINAL
    REJECTED = "rejected", "Somebody entitled to it said no; the stage is being reworked."
    SKIPPED = "skipped", "Taken out of the way by a person.", FINAL


class GateType(Word):
    """What a gate asks of a person."""

    APPROVAL = "approval", "A person says yes or no."
    REVIEW = "review", "A person has looked at the work."
    CHECKPOINT = "checkpoint", "Opens by itself at a set time, unless a person is faster."
    DECISION = "decision", "A person chooses one of the gate's options."


class IssueStatus(Status):
    """Where an issue stands."""

    UNASSIGNED = "unassigned", "Known, but not offered to agents yet."
    QUEUED = "queued", "Offered: the next fitting agent that claims gets it."
    ASSIGNED = "assigned", "Given to an agent that has not begun."
    IN_PROGRESS = "in_progress", "The assigned agent works on it."
    AWAITING_REVIEW = "awaiting_review", "Handed in; nobody reviews it yet."
    IN_REVIEW = "in_review", "An agent or a person reviews it."
    DONE = "done", "Finished; rework is a new issue.", FINAL
    BLOCKED = "blocked", "Cannot go on until somebody unblocks, releases or cancels it."
    CANCELLED = "cancelled", "Given up.", FINAL


class IssueType(Word):
    """What kind of work an issue is."""

    FEATURE = "feature", "Something new for users."
    BUG = "bug", "Something that does not work as it should."
    DOCS = "docs", "Words for readers."
    REFACTOR = "refactor", "A better shape, the same behaviour."
    TEST = "test", "Proof that something works."
    SECURITY = "security", "Something an attacker could use."
    CHORE = "chore", "Housekeeping."


class Priority(Word):
    """How urgent an issue is, most urgent first."""

    CRITICAL = "critical", "Before everything else."
    HIGH = "high", "Before ordinary work."
    MEDIUM = "medium", "Ordinary work."
    LOW = "low", "When nothing else is waiting."


class AgentType(Word):
    """What an agent is good at."""

    CODER = "coder", "Writes code."
    REVIEWER = "reviewer", "Reads and judges code."
    PM = "pm", "Plans and prioritises."
    SECURITY = "security", "Looks for what an attacker would."
    DOCS = "docs", "Writes for readers."
    TEST = "test", "Writes tests."
    ARCHITECT = "architect", "Decides structure."


class AgentStatus(Status):
    """Where one session of one agent process stands."""

    IDLE = "idle", "Free: may be given an issue."
    STARTING = "starting", "Given an issue; its process is coming up."
    WORKING = "working", "At work on its issue."
    WAITING_FOR_INPUT = "waiting_for_input", "Asked a person something; does not beat meanwhile."
    WAITING_FOR_VOTE = "waiting_for_vote", "Waits for a proposal of its own to be decided."
    PAUSED = "paused", "Held still on purpose; does not beat meanwhile."
    ERRORED = "errored", "Failed, or was given up for dead; may recover."
    COMPLETED = "completed", "The session is over.", FINAL


class PullRequestStatus(Status):
    """Where a pull request stands."""

    DRAFT = "draft", "Not offered for review yet."
    OPEN = "open", "Offered for review."
    MERGED = "merged", "In the main line.", FINAL
    CLOSED = "closed", "Withdrawn; may be reopened while its issue is live."


class ReviewStatus(Word):
    """What the reviews of a pull request say; a column, not a status."""

    PENDING = "pending", "No verdict yet."
    APPROVED = "approved", "A reviewer approved."
    CHANGES_REQUESTED = "changes_requested", "A reviewer asked for changes."
    DISMISSED = "dismissed", "The verdict was withdrawn."


class ProposalStatus(Status):
    """Where a proposal stands."""

    OPEN = "open", "Proposed; nobody has voted."
    VOTING = "voting", "Votes are being cast, until the tally is final or the deadline passes."
    APPROVED = "approved", "Decided for; waits to be executed."
    REJECTED = "rejected", "Decided against.", FINAL
    EXECUTING = "executing", "Being carried out."
    EXECUTED = "executed", "Carried out; may still be rolled back."
    ROLLED_BACK = "rolled_back", "Carried out, at least in part, and undone.", FINAL
    VETOED = "vetoed", "Stopped by a person after it was approved.", FINAL


class ProposalType(Word):
    """What a proposal is about; sets its default threshold and required voters."""

    IMPLEMENTATION_APPROACH = "implementation_approach", "How to build something."
    TECH_STACK_CHOICE = "tech_stack_choice", "What to build it with."
    ARCHITECTURE_DECISION = "architecture_decision", "How the whole is divided."
    NEW_AGENT_TYPE = "new_agent_type", "A new kind of agent."
    WORKFLOW_CHANGE = "workflow_change", "How work moves."
    GOVERNANCE_RULE = "governance_rule", "How decisions are made."
    TOOL_INTEGRATION = "tool_integration", "A tool to connect."
    PROMPT_IMPROVEMENT = "prompt_improvement", "Better words for agents."


class Threshold(Word):
    """How much approval a proposal needs."""

    UNANIMOUS = "unanimous", "Somebody approves and nobody rejects."
    SUPER_MAJORITY = "super_majority", "At least two thirds of the weight cast for or against."
    SIMPLE_MAJORITY = "simple_majority", "More than half of the weight cast for or against."
    SINGLE_APPROVAL = "single_approval", "One approval is enough."


class VoteDecision(Word):
    """What a voter says."""

    APPROVE = "approve", "For it."
    REJECT = "reject", "Against it."
    ABSTAIN = "abstain", "Heard, neither for nor against."
    NEED_MORE_INFO = "need_more_info", "Cannot say yet; holds the tally open until the deadline."


class DecisionType(Word):
    """What kind of decision a row of `decisions` records."""

    PROPOSAL_APPROVED = "proposal_approved", "The tally, or the deadline, approved a proposal."
    PROPOSAL_REJECTED = "proposal_rejected", "The tally, or the deadline, rejected a proposal."
    HUMAN_OVERRIDE = "human_override", "A person overrode the ordinary course."
    HUMAN_VETO = "human_veto", "A person stopped an approved proposal."
    GATE_APPROVED = "gate_approved", "A gate let its stage through."
    GATE_REJECTED = "gate_rejected", "A gate sent its stage back."


class LogLevel(Word):
    """How much a line of an agent's log matters."""

    DEBUG = "debug", "Of use when looking for a fault."
    INFO = "info", "What happened."
    WARN = "warn", "Worth a look."
    ERROR = "error", "Something failed."
