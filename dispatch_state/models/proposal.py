"""Proposals that agents vote on, and their votes."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import UUID

from peewee import ModelSelect

from dispatch_state import values
from dispatch_state.actors import Actor
from dispatch_state.errors import InvalidValue
from dispatch_state.fields import FloatField, IdField, JsonField, StampField, TextField, WordField, word
from dispatch_state.machine import NOW, Columns, Firing, transition
from dispatch_state.models.agent import Agent
from dispatch_state.models.base import ParentField, Row, Stateful
from dispatch_state.models.guards import human, sangha
from dispatch_state.models.issue import Issue
from dispatch_state.statements import rows
from dispatch_state.vocabulary import AgentType, DecisionType, ProposalStatus, ProposalType, Threshold, VoteDecision
from dispatch_state.voting import DEFAULTS, Ballot, Rules, Standing, Tally, tally

if TYPE_CHECKING:
    from dispatch_state.models.ledger import Decision

UNDECIDED = (ProposalStatus.OPEN, ProposalStatus.VOTING)
VOTING_TIME = timedelta(hours=24)
"""How long a vote lasts, unless the proposal says otherwise."""


def the_tally_approves(proposal: Proposal, firing: Firing) -> str | None:
    return _unless(proposal.counted(firing.now), Standing.APPROVED)


def the_tally_rejects(proposal: Proposal, firing: Firing) -> str | None:
    return _unless(proposal.counted(firing.now), Standing.REJECTED)


def _unless(count: Tally, wanted: Standing) -> str | None:
    if count.standing is wanted:
        return None
    if count.standing is not Standing.PENDING:
        return f"the tally says {count.standing}"
    return f"the tally is not final: missing {values.listed(count.missing)}; {len(count.requesters)} need more info"


def choice_is_an_option(proposal: Proposal, firing: Firing) -> str | None:
    choice, options = firing["choice"], proposal.option_names()
    return (
        None
        if choice is None or choice in options
        else f"the choice is not among its options: {values.listed(options)}"
    )


def agent_types(value: object, place: str) -> None:
    """A shape: a list of at least one agent type, none repeated."""
    if not isinstance(value, list) or not value:
        raise InvalidValue(f"{place}: takes a list of at least one agent type")
    values.refuse_repeats([str(word(item, AgentType, place)) for item in value], place)


class Proposal(Stateful):
    """Something agents propose, vote on, and carry out."""

    statuses = ProposalStatus
    written_by = "Proposal.create(), save(), vote(), its triggers and remove()"
    parents = ("proposer",)
    filled = ("threshold", "required_voters")
    UNDECIDED: ClassVar = UNDECIDED
    TERMS: ClassVar = ("threshold", "required_voters", "options", "voting_deadline")

    proposal_type = WordField(ProposalType)
    proposer = ParentField(Agent, backref="proposals", column_name="proposer_id")
    title = TextField()
    description = TextField()
    rationale = TextField()
    related_issue = ParentField(
        Issue, null=True, backref="proposals", column_name="related_issue_id", on_delete="SET NULL"
    )
    affected_components = JsonField(values.list_of_text, null=True)
    options = JsonField(values.names, null=True)
    chosen_option = TextField(null=True)
    status = WordField(ProposalStatus, default=ProposalStatus.OPEN)
    required_voters = JsonField(agent_types, null=True)
    threshold = WordField(Threshold)
    implementation_plan = TextField(null=True)
    rollback_plan = TextField(null=True)
    execution_result = JsonField(values.json_object, null=True)
    forced_by = TextField(null=True)
    force_reason = TextField(null=True)
    vetoed_by = TextField(null=True)
    veto_reason = TextField(null=True)
    created_at = StampField()
    voting_deadline = StampField(null=True)
    resolved_at = StampField(null=True)
    executed_at = StampField(null=True)

    if TYPE_CHECKING:
        proposer_id: UUID
        related_issue_id: UUID | None
        votes: ModelSelect[Vote]
        decisions: ModelSelect[Decision]

    class Meta:
        table_name = "proposals"

    # ---- triggers ------------------------------------------------------------------------------

    @transition(ProposalStatus.OPEN, to=ProposalStatus.VOTING)
    def open_voting(self, *, by: Actor, reason: str = "") -> Columns:
        """Begin the vote; it lasts 24 hours unless the proposal sets a deadline."""
        if self.voting_deadline is not None:
            return Columns()
        return Columns(voting_deadline=lambda now: now + VOTING_TIME)

    @transition(
        ProposalStatus.VOTING,
        to=ProposalStatus.APPROVED,
        guards=(the_tally_approves,),
        word=sangha,
        decision=DecisionType.PROPOSAL_APPROVED,
        sets=("resolved_at", "chosen_option"),
    )
    def approve(self, *, by: Actor, reason: str = "") -> Columns:
        """Decide for it, as the tally says; `vote` and `store.tick()` fire it."""
        return Columns(resolved_at=NOW, chosen_option=lambda now: self.counted(now).chosen_option)

    @transition(
        ProposalStatus.VOTING,
        to=ProposalStatus.REJECTED,
        guards=(the_tally_rejects,),
        word=sangha,
        decision=DecisionType.PROPOSAL_REJECTED,
        sets=("resolved_at",),
    )
    def reject(self, *, by: Actor, reason: str = "") -> Columns:
        """Decide against it, as the tally says; `vote` and `store.tick()` fire it."""
        return Columns(resolved_at=NOW)

    @transition(
        *UNDECIDED,
        to=ProposalStatus.APPROVED,
        guards=(choice_is_an_option,),
        word=human,
        decision=DecisionType.HUMAN_OVERRIDE,
        sets=("forced_by", "force_reason", "resolved_at", "chosen_option"),
    )
    def force_approve(self, choice: str | None = None, *, by: Actor, reason: str) -> Columns:
        """Decide for it over the heads of the voters; a person's word.

        Args:
            choice: one of the options.
        """
        return Columns(forced_by=by.signature, force_reason=reason, resolved_at=NOW, chosen_option=choice)

    @transition(
        *UNDECIDED,
        to=ProposalStatus.REJECTED,
        word=human,
        decision=DecisionType.HUMAN_OVERRIDE,
        sets=("forced_by", "force_reason", "resolved_at"),
    )
    def force_reject(self, *, by: Actor, reason: str) -> Columns:
        """Decide against it over the heads of the voters; a person's word."""
        return Columns(forced_by=by.signature, force_reason=reason, resolved_at=NOW)

    @transition(
        ProposalStatus.APPROVED,
        ProposalStatus.EXECUTING,
        to=ProposalStatus.VETOED,
        word=human,
        decision=DecisionType.HUMAN_VETO,
        sets=("vetoed_by", "veto_reason"),
    )
    def veto(self, *, by: Actor, reason: str) -> Columns:
        """Stop it after it was approved; a person's word."""
        return Columns(vetoed_by=by.signature, veto_reason=reason)

    @transition(ProposalStatus.APPROVED, to=ProposalStatus.EXECUTING)
    def begin_execution(self, *, by: Actor, reason: str = "") -> Columns:
        """Start to carry it out."""
        return Columns()

    @transition(ProposalStatus.EXECUTING, to=ProposalStatus.EXECUTED, sets=("execution_result", "executed_at"))
    def finish_execution(self, result: dict[str, Any], *, by: Actor, reason: str = "") -> Columns:
        """Record that it was carried out.

        Args:
            result: what came of it, as a JSON object.
        """
        return Columns(execution_result=result, executed_at=NOW)

    @transition(ProposalStatus.EXECUTING, to=ProposalStatus.APPROVED, sets=("execution_result",))
    def fail_execution(self, error: str, *, by: Actor, reason: str = "") -> Columns:
        """Record that carrying it out failed; it may be tried again.

        Args:
            error: what went wrong.
        """
        return Columns(execution_result={"success": False, "error": error})

    @transition(
        ProposalStatus.EXECUTING,
        ProposalStatus.EXECUTED,
        to=ProposalStatus.ROLLED_BACK,
        decision=DecisionType.HUMAN_OVERRIDE,
    )
    def roll_back(self, *, by: Actor, reason: str) -> Columns:
        """Record that it was undone."""
        return Columns()

    # ---- birth and terms -----------------------------------------------------------------------

    def birth(self, firing: Firing) -> None:
        default = DEFAULTS[self.proposal_type]
        self.threshold = self.threshold or default.threshold
        self.required_voters = self.required_voters or [str(kind) for kind in default.required]

    def frozen(self, columns: tuple[str, ...]) -> list[str]:
        terms = [name for name in columns if name in self.TERMS]
        if not terms or self.status == ProposalStatus.OPEN:
            return []
        return [f"{values.listed(terms)} may change only while it is open, and it is {self.status}"]

    def option_names(self) -> tuple[str, ...]:
        """The names of the options, in their order; none when it has none."""
        return values.names(self.options, "proposals.options") if self.options else ()

    def counted(self, now: Any) -> Tally:
        """What the votes say at a moment."""
        required = tuple(AgentType(kind) for kind in self.required_voters or ())
        rules = Rules(Threshold(self.threshold), required, self.option_names())
        expired = self.voting_deadline is not None and now >= self.voting_deadline
        return tally([vote.ballot() for vote in votes_on(self.id)], rules, expired=expired)

    def context(self) -> dict[str, UUID | None]:
        issue = self.related_issue
        return {
            "proposal": self.id,
            "issue": self.related_issue_id,
            "epic": issue.epic_id if issue else None,
            "agent": self.proposer_id,
        }

    def label(self) -> str:
        return self.title


class Vote(Row):
    """What one agent says to one proposal; the last word counts."""

    written_by = "Proposal.vote()"

    id = IdField(primary_key=True, default=values.new_id)
    proposal = ParentField(Proposal, backref="votes", column_name="proposal_id", on_delete="CASCADE")
    voter = ParentField(Agent, backref="votes", column_name="voter_id")
    voter_type = WordField(AgentType)
    decision = WordField(VoteDecision)
    reasoning = TextField(holds=values.words)
    confidence = FloatField(null=True)
    created_at = StampField()
    preferred_option = TextField(null=True)

    if TYPE_CHECKING:
        proposal_id: UUID
        voter_id: UUID

    class Meta:
        table_name = "votes"

    def ballot(self) -> Ballot:
        """The vote as the tally takes it."""
        return Ballot(str(self.voter_id), self.voter_type, self.decision, self.preferred_option)


@rows
def votes_on(proposal: UUID) -> ModelSelect[Vote]:
    return Vote.select().where(Vote.proposal == proposal).order_by(Vote.created_at, Vote.id)


@rows
def proposals_of(agent: UUID) -> ModelSelect[Proposal]:
    undecided = Proposal.status.in_(UNDECIDED)
    return Proposal.select().where(Proposal.proposer == agent, undecided).order_by(Proposal.created_at, Proposal.id)
