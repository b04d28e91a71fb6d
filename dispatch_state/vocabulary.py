"""Every word a column may hold, with its meaning: statuses, types, priorities, thresholds.

A member is its stored value (`IssueStatus.QUEUED == "queued"`) and has its `meaning` in one sentence. A status also
says whether it is `final`, a type of agent what its vote weighs, and a type of proposal what it asks for by default.
The lifecycles themselves are in `models/`: this module knows the words, not the ways between them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import StrEnum
from fractions import Fraction
from typing import TYPE_CHECKING, Any, LiteralString, Self, TypeVar

L = TypeVar("L", bound=LiteralString)
W = TypeVar("W", bound=StrEnum)
T = TypeVar("T")
FINAL = True
HALF, ONE, ONE_AND_A_HALF, TWO = Fraction(1, 2), Fraction(1), Fraction(3, 2), Fraction(2)


def member(value: L, meaning: str, *more: object) -> L:
    """What the classes below make a member of, which a type checker takes for the stored value alone."""
    made: Any = (value, meaning, *more)
    return made  # type: ignore[no-any-return]


def total(name: str, words: type[W] | Collection[W], table: Mapping[W, T]) -> Mapping[W, T]:
    """The table, which has an entry for each of the words.

    Args:
        name: what the error calls the table.

    Raises:
        TypeError: an entry is missing, or one too many; names them.
    """
    missing, unknown = set(words) - set(table), set(table) - set(words)
    for what, found in (("has no entry for", missing), ("has an entry for something else:", unknown)):
        if found:
            raise TypeError(
                f"{name} {what} {', '.join(sorted(f'{type(word).__name__}.{word.name}' for word in found))}"
            )
    return table


def _named(kind: Any, value: str, meaning: str) -> Any:
    """A member of an enumeration, which is its stored value."""
    member = str.__new__(kind, value)
    member._value_ = value
    member.meaning = meaning
    return member


class Word(StrEnum):
    """A word that a column may hold; `meaning` says in one sentence what it stands for."""

    meaning: str

    if not TYPE_CHECKING:  # a call looks a word up; only the members below are made here

        def __new__(cls, value: str, meaning: str) -> Self:
            return _named(cls, value, meaning)


class Status(StrEnum):
    """A status of a lifecycle; `final` ones have no way out, all others are live."""

    meaning: str
    final: bool

    if not TYPE_CHECKING:

        def __new__(cls, value: str, meaning: str, final: bool = False) -> Self:
            member = _named(cls, value, meaning)
            member.final = final
            return member

    @classmethod
    def live(cls) -> tuple[Self, ...]:
        """Every status of this lifecycle that is not final, in its own order."""
        return tuple(status for status in cls if not status.final)


class EpicStatus(Status):
    """Where an epic stands."""

    DRAFT = member("draft", "Being written; stages may still be added and reordered.")
    READY = member("ready", "Written and waiting for somebody to start it.")
    IN_PROGRESS = member("in_progress", "One of its stages is being worked on, or a person has to decide.")
    AWAITING_GATE = member("awaiting_gate", "A stage is finished and its gates wait for people.")
    COMPLETED = member("completed", "Every stage is approved or skipped and no issue is live.", FINAL)
    CANCELLED = member("cancelled", "Given up by a person, with everything in it.", FINAL)


class StageStatus(Status):
    """Where a stage stands."""

    PENDING = member("pending", "Waits for the stages before it.")
    IN_PROGRESS = member("in_progress", "Its issues are queued and worked on.")
    AWAITING_GATE = member("awaiting_gate", "Its issues are closed; its gates wait for people.")
    APPROVED = member("approved", "Its issues are closed and every gate let it through.", FINAL)
    SKIPPED = member("skipped", "Passed over by a person.", FINAL)


class GateStatus(Status):
    """Where a gate stands."""

    PENDING = member("pending", "Nobody has decided yet.")
    APPROVED = member("approved", "Somebody entitled to it said yes.", FINAL)
    REJECTED = member("rejected", "Somebody entitled to it said no; the stage is being reworked.")
    SKIPPED = member("skipped", "Taken out of the way by a person.", FINAL)


class GateType(Word):
    """What a gate asks of a person."""

    APPROVAL = member("approval", "A person says yes or no.")
    REVIEW = member("review", "A person has looked at the work.")
    CHECKPOINT = member("checkpoint", "Opens by itself at a set time, unless a person is faster.")
    DECISION = member("decision", "A person chooses one of the gate's options.")


class IssueStatus(Status):
    """Where an issue stands."""

    UNASSIGNED = member("unassigned", "Known, but not offered to agents yet.")
    QUEUED = member("queued", "Offered: the next fitting agent that claims gets it.")
    ASSIGNED = member("assigned", "Given to an agent that has not begun.")
    IN_PROGRESS = member("in_progress", "The assigned agent works on it.")
    AWAITING_REVIEW = member("awaiting_review", "Handed in; nobody reviews it yet.")
    IN_REVIEW = member("in_review", "An agent or a person reviews it.")
    DONE = member("done", "Finished; rework is a new issue.", FINAL)
    BLOCKED = member("blocked", "Cannot go on until somebody unblocks, releases or cancels it.")
    CANCELLED = member("cancelled", "Given up.", FINAL)


class IssueType(Word):
    """What kind of work an issue is."""

    FEATURE = member("feature", "Something new for users.")
    BUG = member("bug", "Something that does not work as it should.")
    DOCS = member("docs", "Words for readers.")
    REFACTOR = member("refactor", "A better shape, the same behaviour.")
    TEST = member("test", "Proof that something works.")
    SECURITY = member("security", "Something an attacker could use.")
    CHORE = member("chore", "Housekeeping.")


class Priority(Word):
    """How urgent an issue is, most urgent first."""

    CRITICAL = member("critical", "Before everything else.")
    HIGH = member("high", "Before ordinary work.")
    MEDIUM = member("medium", "Ordinary work.")
    LOW = member("low", "When nothing else is waiting.")


class AgentType(Word):
    """What an agent is good at; `weight` is what its vote weighs."""

    weight: Fraction

    if not TYPE_CHECKING:

        def __new__(cls, value: str, meaning: str, weight: Fraction) -> Self:
            member = _named(cls, value, meaning)
            member.weight = weight
            return member

    CODER = member("coder", "Writes code.", ONE)
    REVIEWER = member("reviewer", "Reads and judges code.", ONE_AND_A_HALF)
    PM = member("pm", "Plans and prioritises.", ONE)
    SECURITY = member("security", "Looks for what an attacker would.", TWO)
    DOCS = member("docs", "Writes for readers.", HALF)
    TEST = member("test", "Writes tests.", ONE)
    ARCHITECT = member("architect", "Decides structure.", ONE_AND_A_HALF)


class AgentStatus(Status):
    """Where one session of one agent process stands."""

    IDLE = member("idle", "Free: may be given an issue.")
    STARTING = member("starting", "Given an issue; its process is coming up.")
    WORKING = member("working", "At work on its issue.")
    WAITING_FOR_INPUT = member("waiting_for_input", "Asked a person something; sends no heartbeat meanwhile.")
    WAITING_FOR_VOTE = member("waiting_for_vote", "Waits for a proposal of its own to be decided.")
    PAUSED = member("paused", "Held still on purpose; sends no heartbeat meanwhile.")
    ERRORED = member("errored", "Failed, or was given up for dead; may recover.")
    COMPLETED = member("completed", "The session is over.", FINAL)


class PullRequestStatus(Status):
    """Where a pull request stands."""

    DRAFT = member("draft", "Not offered for review yet.")
    OPEN = member("open", "Offered for review.")
    MERGED = member("merged", "In the main line.", FINAL)
    CLOSED = member("closed", "Withdrawn; may be reopened while its issue is live.")


class ReviewStatus(Word):
    """What the reviews of a pull request say; a column, not a status."""

    PENDING = member("pending", "No verdict yet.")
    APPROVED = member("approved", "A reviewer approved.")
    CHANGES_REQUESTED = member("changes_requested", "A reviewer asked for changes.")
    DISMISSED = member("dismissed", "The verdict was withdrawn.")


class ProposalStatus(Status):
    """Where a proposal stands."""

    OPEN = member("open", "Proposed; nobody has voted.")
    VOTING = member("voting", "Votes are being cast, until the tally is final or the deadline passes.")
    APPROVED = member("approved", "Decided for; waits to be executed.")
    REJECTED = member("rejected", "Decided against.", FINAL)
    EXECUTING = member("executing", "Being carried out.")
    EXECUTED = member("executed", "Carried out; may still be rolled back.")
    ROLLED_BACK = member("rolled_back", "Carried out, at least in part, and undone.", FINAL)
    VETOED = member("vetoed", "Stopped by a person after it was approved.", FINAL)


class Threshold(Word):
    """How much approval a proposal needs."""

    UNANIMOUS = member("unanimous", "Somebody approves and nobody rejects.")
    SUPER_MAJORITY = member("super_majority", "At least two thirds of the weight cast for or against.")
    SIMPLE_MAJORITY = member("simple_majority", "More than half of the weight cast for or against.")
    SINGLE_APPROVAL = member("single_approval", "One approval is enough.")


class ProposalType(Word):
    """What a proposal is about; says what is asked for when it is created without a threshold or required voters."""

    threshold: Threshold
    required: tuple[AgentType, ...]

    if not TYPE_CHECKING:

        def __new__(cls, value: str, meaning: str, threshold: Threshold, *required: AgentType) -> Self:
            member = _named(cls, value, meaning)
            member.threshold = threshold
            member.required = required
            return member

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
        "How the whole is divided.",
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
        "prompt_improvement", "Better words for agents.", Threshold.SIMPLE_MAJORITY, AgentType.PM, AgentType.ARCHITECT
    )


class VoteDecision(Word):
    """What a voter says."""

    APPROVE = member("approve", "For it.")
    REJECT = member("reject", "Against it.")
    ABSTAIN = member("abstain", "Heard, neither for nor against.")
    NEED_MORE_INFO = member("need_more_info", "Cannot say yet; holds the tally open until the deadline.")


class DecisionType(Word):
    """What kind of decision a row of `decisions` records."""

    PROPOSAL_APPROVED = member("proposal_approved", "The tally, or the deadline, approved a proposal.")
    PROPOSAL_REJECTED = member("proposal_rejected", "The tally, or the deadline, rejected a proposal.")
    HUMAN_OVERRIDE = member("human_override", "A person overrode the ordinary course.")
    HUMAN_VETO = member("human_veto", "A person stopped an approved proposal.")
    GATE_APPROVED = member("gate_approved", "A gate let its stage through.")
    GATE_REJECTED = member("gate_rejected", "A gate sent its stage back.")


class LogLevel(Word):
    """How much a line of an agent's log matters."""

    DEBUG = member("debug", "Of use when looking for a fault.")
    INFO = member("info", "What happened.")
    WARN = member("warn", "Worth a look.")
    ERROR = member("error", "Something failed.")
