"""Every word that a column may hold, with its meaning: statuses, types, priorities, thresholds.

A member is its stored value (`IssueStatus.QUEUED == "queued"`) and has a `meaning` of one sentence. A status also has
`final`, a type of agent a `weight`, and a type of proposal its defaults. The transitions between statuses are in
`models/`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from fractions import Fraction
from typing import TYPE_CHECKING, Any, LiteralString, Self, TypeVar

K = TypeVar("K")
V = TypeVar("V")
L = TypeVar("L", bound=LiteralString)
FINAL = True
HALF, ONE, ONE_AND_A_HALF, TWO = Fraction(1, 2), Fraction(1), Fraction(3, 2), Fraction(2)


def member(value: L, meaning: str, *more: object) -> L:
    """Return what a member is made from. A type checker sees the stored value alone.

    Args:
        value: the stored value.
        meaning: one sentence.
        more: what else the class asks for: whether a status is final, the weight of a type of agent, and so on.
    """
    made: Any = (value, meaning, *more)
    return made  # type: ignore[no-any-return]


def _named(kind: Any, value: str, meaning: str) -> Any:
    """A member of an enumeration, which is its stored value."""
    made = str.__new__(kind, value)
    made._value_ = value
    made.meaning = meaning
    return made


class Word(StrEnum):
    """A word that a column may hold; `meaning` explains it in one sentence."""

    meaning: str

    if not TYPE_CHECKING:  # for a type checker, a call looks a word up; only members call this

        def __new__(cls, value: str, meaning: str) -> Self:
            return _named(cls, value, meaning)


class Status(StrEnum):
    """A status of a lifecycle. A `final` status has no way out; all others are live."""

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
        """Return the statuses that are not final, in the order of the lifecycle."""
        return tuple(status for status in cls if not status.final)


class EpicStatus(Status):
    """The status of an epic."""

    DRAFT = member("draft", "It is being written: stages may still be added and reordered.")
    READY = member("ready", "It is written, and waits for somebody to start it.")
    IN_PROGRESS = member("in_progress", "One of its stages is being worked on, or a person has to decide what follows.")
    AWAITING_GATE = member("awaiting_gate", "The work of a stage is finished, and its gates wait for people.")
    COMPLETED = member("completed", "Every stage is approved or skipped, and no issue is live.", FINAL)
    CANCELLED = member("cancelled", "A person cancelled it, with everything in it.", FINAL)


class StageStatus(Status):
    """The status of a stage."""

    PENDING = member("pending", "It waits for the stages before it.")
    IN_PROGRESS = member("in_progress", "Its issues are queued and worked on.")
    AWAITING_GATE = member("awaiting_gate", "Its issues are closed, and its gates wait for people.")
    APPROVED = member("approved", "Its issues are closed, and every gate is approved or skipped.", FINAL)
    SKIPPED = member("skipped", "A person skipped it.", FINAL)


class GateStatus(Status):
    """The status of a gate."""

    PENDING = member("pending", "Nobody has decided yet.")
    APPROVED = member("approved", "Somebody who may decide approved it.", FINAL)
    REJECTED = member("rejected", "Somebody who may decide rejected it, and the stage is being reworked.")
    SKIPPED = member("skipped", "A person skipped it.", FINAL)


class GateType(Word):
    """What a gate asks of a person."""

    APPROVAL = member("approval", "A person says yes or no.")
    REVIEW = member("review", "A person has looked at the work.")
    CHECKPOINT = member("checkpoint", "It opens by itself at a set time, unless a person decides earlier.")
    DECISION = member("decision", "A person chooses one of the gate's options.")


class IssueStatus(Status):
    """The status of an issue."""

    UNASSIGNED = member("unassigned", "It exists, but is not offered to agents yet.")
    QUEUED = member("queued", "It is offered: the next agent that claims work and fits gets it.")
    ASSIGNED = member("assigned", "It was given to an agent that has not begun.")
    IN_PROGRESS = member("in_progress", "The assigned agent works on it.")
    AWAITING_REVIEW = member("awaiting_review", "The work is submitted; nobody reviews it yet.")
    IN_REVIEW = member("in_review", "An agent or a person reviews it.")
    DONE = member("done", "It is finished; rework is a new issue.", FINAL)
    BLOCKED = member("blocked", "It cannot go on until somebody unblocks, releases or cancels it.")
    CANCELLED = member("cancelled", "It was cancelled.", FINAL)


class IssueType(Word):
    """What kind of work an issue is."""

    FEATURE = member("feature", "Something new for users.")
    BUG = member("bug", "Something that does not work as it should.")
    DOCS = member("docs", "Documentation.")
    REFACTOR = member("refactor", "Better structure, with the same behaviour.")
    TEST = member("test", "A test that something works.")
    SECURITY = member("security", "Something an attacker could use.")
    CHORE = member("chore", "Housekeeping.")


class Priority(Word):
    """How urgent an issue is, most urgent first."""

    CRITICAL = member("critical", "Comes before everything else.")
    HIGH = member("high", "Comes before ordinary work.")
    MEDIUM = member("medium", "Ordinary work.")
    LOW = member("low", "Comes when nothing else waits.")


class AgentType(Word):
    """What an agent is good at; `weight` is the weight of its vote."""

    weight: Fraction

    if not TYPE_CHECKING:

        def __new__(cls, value: str, meaning: str, weight: Fraction) -> Self:
            made = _named(cls, value, meaning)
            made.weight = weight
            return made

    CODER = member("coder", "Writes code.", ONE)
    REVIEWER = member("reviewer", "Reads and judges code.", ONE_AND_A_HALF)
    PM = member("pm", "Plans and prioritises.", ONE)
    SECURITY = member("security", "Looks for what an attacker would look for.", TWO)
    DOCS = member("docs", "Writes for readers.", HALF)
    TEST = member("test", "Writes tests.", ONE)
    ARCHITECT = member("architect", "Decides on structure.", ONE_AND_A_HALF)


class AgentStatus(Status):
    """The status of an agent, which is one session of one process."""

    IDLE = member("idle", "It is free, and may be given an issue.")
    STARTING = member("starting", "It has an issue, and its process is starting.")
    WORKING = member("working", "It works on its issue.")
    WAITING_FOR_INPUT = member("waiting_for_input", "It asked a person something, and sends no heartbeats meanwhile.")
    WAITING_FOR_VOTE = member("waiting_for_vote", "It waits until its own proposal is decided.")
    PAUSED = member("paused", "It was paused on purpose, and sends no heartbeats meanwhile.")
    ERRORED = member("errored", "It failed, or was declared dead; it may recover.")
    COMPLETED = member("completed", "The session is over.", FINAL)


class PullRequestStatus(Status):
    """The status of a pull request."""

    DRAFT = member("draft", "It is not offered for review yet.")
    OPEN = member("open", "It is offered for review.")
    MERGED = member("merged", "It is merged.", FINAL)
    CLOSED = member("closed", "It is closed, and may be reopened while its issue is live.")


class ReviewStatus(Word):
    """What the reviews of a pull request say; a column, not a status."""

    PENDING = member("pending", "No verdict yet.")
    APPROVED = member("approved", "A reviewer approved.")
    CHANGES_REQUESTED = member("changes_requested", "A reviewer asked for changes.")
    DISMISSED = member("dismissed", "The verdict was withdrawn.")


class ProposalStatus(Status):
    """The status of a proposal."""

    OPEN = member("open", "It was proposed, and nobody has voted.")
    VOTING = member("voting", "Agents vote, until the tally is final or the deadline passes.")
    APPROVED = member("approved", "The vote approved it, and it waits to be executed.")
    REJECTED = member("rejected", "The vote rejected it.", FINAL)
    EXECUTING = member("executing", "It is being executed.")
    EXECUTED = member("executed", "It was executed, and may still be rolled back.")
    ROLLED_BACK = member("rolled_back", "It was executed, at least in part, and undone.", FINAL)
    VETOED = member("vetoed", "A person stopped it after it was approved.", FINAL)


class Threshold(Word):
    """How much approval a proposal needs."""

    UNANIMOUS = member("unanimous", "Somebody approves and nobody rejects.")
    SUPER_MAJORITY = member("super_majority", "At least two thirds of the weight cast for or against.")
    SIMPLE_MAJORITY = member("simple_majority", "More than half of the weight cast for or against.")
    SINGLE_APPROVAL = member("single_approval", "One approval is enough.")


class ProposalType(Word):
    """What a proposal is about. It determines the default threshold and the default required voters."""

    threshold: Threshold
    required: tuple[AgentType, ...]

    if not TYPE_CHECKING:

        def __new__(cls, value: str, meaning: str, threshold: Threshold, *required: AgentType) -> Self:
            made = _named(cls, value, meaning)
            made.threshold = threshold
            made.required = required
            return made

    IMPLEMENTATION_APPROACH = member(
        "implementation_approach",
        "How to build something.",
        Threshold.SIMPLE_MAJORITY,
        AgentType.CODER,
        AgentType.REVIEWER,
        AgentType.ARCHITECT,
    )
    TECH_STACK_CHOICE = member(
        "tech_stack_choice", "What to build it with.", Threshold.SIMPLE_MAJORITY, AgentType.CODER, AgentType.ARCHITECT
    )
    ARCHITECTURE_DECISION = member(
        "architecture_decision",
        "How the system is divided into parts.",
        Threshold.SUPER_MAJORITY,
        AgentType.ARCHITECT,
        AgentType.CODER,
        AgentType.SECURITY,
    )
    NEW_AGENT_TYPE = member(
        "new_agent_type", "A new kind of agent.", Threshold.SUPER_MAJORITY, AgentType.PM, AgentType.ARCHITECT
    )
    WORKFLOW_CHANGE = member(
        "workflow_change", "How work moves.", Threshold.SUPER_MAJORITY, AgentType.PM, AgentType.ARCHITECT
    )
    GOVERNANCE_RULE = member(
        "governance_rule",
        "How decisions are made.",
        Threshold.UNANIMOUS,
        AgentType.PM,
        AgentType.ARCHITECT,
        AgentType.SECURITY,
    )
    TOOL_INTEGRATION = member(
        "tool_integration", "A tool to connect.", Threshold.SIMPLE_MAJORITY, AgentType.CODER, AgentType.SECURITY
    )
    PROMPT_IMPROVEMENT = member(
        "prompt_improvement",
        "A better prompt for agents.",
        Threshold.SIMPLE_MAJORITY,
        AgentType.PM,
        AgentType.ARCHITECT,
    )


class VoteDecision(Word):
    """What a voter says."""

    APPROVE = member("approve", "For it.")
    REJECT = member("reject", "Against it.")
    ABSTAIN = member("abstain", "Neither for nor against; it still counts as a vote.")
    NEED_MORE_INFO = member("need_more_info", "Cannot decide yet; keeps the tally open until the deadline.")


class DecisionType(Word):
    """What kind of decision a row of `decisions` records."""

    PROPOSAL_APPROVED = member("proposal_approved", "The tally, or the deadline, approved a proposal.")
    PROPOSAL_REJECTED = member("proposal_rejected", "The tally, or the deadline, rejected a proposal.")
    HUMAN_OVERRIDE = member("human_override", "A person overrode the ordinary course.")
    HUMAN_VETO = member("human_veto", "A person stopped an approved proposal.")
    GATE_APPROVED = member("gate_approved", "A gate was approved.")
    GATE_REJECTED = member("gate_rejected", "A gate was rejected, and its stage goes back to work.")


class LogLevel(Word):
    """How much a line of an agent's log matters."""

    DEBUG = member("debug", "Useful when looking for a fault.")
    INFO = member("info", "What happened.")
    WARN = member("warn", "Worth a look.")
    ERROR = member("error", "Something failed.")


def total(table: Mapping[K, V], keys: Iterable[K], name: str) -> Mapping[K, V]:
    """Return a table that has an entry for each key, and no other.

    Args:
        table: the table.
        keys: what it must have entries for, such as the statuses of a lifecycle.
        name: what messages call it.

    Raises:
        TypeError: a key has no entry, or an entry has no key; the message names them.
    """
    wanted = list(keys)
    if missing := [str(key) for key in wanted if key not in table]:
        raise TypeError(f"{name}: no entry for {', '.join(missing)}")
    if unknown := [str(key) for key in table if key not in wanted]:
        raise TypeError(f"{name}: no use for the entry {', '.join(unknown)}")
    return table
