"""Proposals on which agents vote."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Self, Unpack
from uuid import UUID

from peewee import ModelSelect

from dispatch_state import json_values, values
from dispatch_state.actors import Actor
from dispatch_state.errors import InvalidValue
from dispatch_state.lifecycle.arguments import require_row
from dispatch_state.lifecycle.interface import NOW, Columns, Firing, Move
from dispatch_state.lifecycle.locks import Lock
from dispatch_state.lifecycle.session import session
from dispatch_state.lifecycle.triggers import transition
from dispatch_state.models.agent import Agent
from dispatch_state.models.base import Stateful
from dispatch_state.models.casting import ballots_on, cast, checked_confidence
from dispatch_state.models.columns import ProposalColumns
from dispatch_state.models.guards import human, sangha
from dispatch_state.models.issue import Issue
from dispatch_state.models.keys import ParentField, present
from dispatch_state.models.proposal_guards import choice_is_an_option, the_tally_approves, the_tally_rejects
from dispatch_state.models.queries import UNDECIDED, votes_on
from dispatch_state.models.voting import DEFAULTS, KINDS, Rules, Tally, tally
from dispatch_state.storage.fields import JsonField, StampField, TextField, WordField, word
from dispatch_state.vocabulary import AgentType, DecisionType, ProposalStatus, ProposalType, Threshold, VoteDecision

if TYPE_CHECKING:
    from dispatch_state.models.decision import Decision
    from dispatch_state.models.vote import Vote

VOTING_TIME = timedelta(hours=24)
"""How long a vote lasts when the proposal sets no deadline."""


def agent_types(value: object, place: str) -> None:
    """A shape: a list of at least one agent type, none repeated.

    Args:
        value: the value to check.
        place: the table and the column, for the message.

    Raises:
        InvalidValue: it is anything else.
    """
    if not isinstance(value, list) or not value:
        raise InvalidValue(f"{place}: takes a list of at least one agent type")
    values.refuse_repeats([str(word(item, AgentType, place)) for item in value], place)


def default_voters(proposal_type: ProposalType) -> list[str]:
    """Return the types of agents that must vote when a proposal does not name them.

    Args:
        proposal_type: the type of the proposal.
    """
    return [str(kind) for kind in DEFAULTS[proposal_type].required]


class Proposal(Stateful):
    """A proposal of an agent, on which agents vote, and which is then carried out."""

    statuses = ProposalStatus
    written_by = "Proposal.create(), save(), vote(), its triggers and remove()"
    create_locks = (Lock.PROPOSER,)
    remove_locks = (Lock.ROW, Lock.PROPOSER)
    parents = ("proposer",)
    filled_at_creation = ("threshold", "required_voters")
    UNDECIDED: ClassVar = UNDECIDED
    editable_until = ("threshold", "required_voters", "options", "voting_deadline")

    proposal_type = WordField(ProposalType)
    proposer = ParentField(Agent, backref="proposals", column_name="proposer_id")
    title = TextField()
    description = TextField()
    rationale = TextField()
    related_issue = ParentField(
        Issue, null=True, backref="proposals", column_name="related_issue_id", on_delete="SET NULL"
    )
    affected_components = JsonField(json_values.list_of_text, null=True)
    options = JsonField(json_values.option_names, null=True)
    chosen_option = TextField(null=True)
    status: WordField[ProposalStatus] = WordField(ProposalStatus, default=ProposalStatus.OPEN)
    required_voters = JsonField(agent_types)
    threshold = WordField(Threshold)
    implementation_plan = TextField(null=True)
    rollback_plan = TextField(null=True)
    execution_result = JsonField(json_values.json_object, null=True)
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

        @classmethod
        def create(cls, **columns: Unpack[ProposalColumns]) -> Self: ...  # type: ignore[override]

    class Meta:
        table_name = "proposals"

    # ---- triggers ------------------------------------------------------------------------------

    @transition(ProposalStatus.OPEN, to=ProposalStatus.VOTING)
    def open_voting(self, *, by: Actor, reason: str = "") -> Columns:
        """Begin the vote, which lasts 24 hours unless the proposal has a deadline."""
        if self.voting_deadline is not None:
            return Columns()
        return Columns(voting_deadline=lambda now: values.later(now, VOTING_TIME))

    @transition(
        ProposalStatus.VOTING,
        to=ProposalStatus.APPROVED,
        guards=(the_tally_approves,),
        allowed=sangha,
        decision=DecisionType.PROPOSAL_APPROVED,
        sets=("resolved_at", "chosen_option"),
        locks=(Lock.PROPOSER,),
    )
    def approve(self, *, by: Actor, reason: str = "") -> Columns:
        """Approve the proposal when the tally says so; `vote` and `store.tick()` fire this."""
        return Columns(resolved_at=NOW, chosen_option=lambda now: self.counted(now).chosen_option)

    @transition(
        ProposalStatus.VOTING,
        to=ProposalStatus.REJECTED,
        guards=(the_tally_rejects,),
        allowed=sangha,
        decision=DecisionType.PROPOSAL_REJECTED,
        sets=("resolved_at",),
        locks=(Lock.PROPOSER,),
    )
    def reject(self, *, by: Actor, reason: str = "") -> Columns:
        """Reject the proposal when the tally says so; `vote` and `store.tick()` fire this."""
        return Columns(resolved_at=NOW)

    @transition(
        *UNDECIDED,
        to=ProposalStatus.APPROVED,
        guards=(choice_is_an_option,),
        allowed=human,
        decision=DecisionType.HUMAN_OVERRIDE,
        sets=("forced_by", "force_reason", "resolved_at", "chosen_option"),
        locks=(Lock.PROPOSER,),
    )
    def force_approve(self, choice: str | None = None, *, by: Actor, reason: str) -> Columns:
        """Approve the proposal whatever the votes say; only a person may do this.

        Args:
            choice: one of the options, or None.
        """
        return Columns(forced_by=by.signature, force_reason=reason, resolved_at=NOW, chosen_option=choice)

    @transition(
        *UNDECIDED,
        to=ProposalStatus.REJECTED,
        allowed=human,
        decision=DecisionType.HUMAN_OVERRIDE,
        sets=("forced_by", "force_reason", "resolved_at"),
        locks=(Lock.PROPOSER,),
    )
    def force_reject(self, *, by: Actor, reason: str) -> Columns:
        """Reject the proposal whatever the votes say; only a person may do this."""
        return Columns(forced_by=by.signature, force_reason=reason, resolved_at=NOW)

    @transition(
        ProposalStatus.APPROVED,
        ProposalStatus.EXECUTING,
        to=ProposalStatus.VETOED,
        allowed=human,
        decision=DecisionType.HUMAN_VETO,
        sets=("vetoed_by", "veto_reason"),
    )
    def veto(self, *, by: Actor, reason: str) -> Columns:
        """Stop the proposal after its approval; only a person may do this."""
        return Columns(vetoed_by=by.signature, veto_reason=reason)

    @transition(ProposalStatus.APPROVED, to=ProposalStatus.EXECUTING)
    def begin_execution(self, *, by: Actor, reason: str = "") -> Columns:
        """Begin to carry the proposal out."""
        return Columns()

    @transition(ProposalStatus.EXECUTING, to=ProposalStatus.EXECUTED, sets=("execution_result", "executed_at"))
    def finish_execution(self, result: dict[str, Any], *, by: Actor, reason: str = "") -> Columns:
        """Record that the proposal was carried out.

        Args:
            result: the result, as a JSON object.
        """
        return Columns(execution_result=result, executed_at=NOW)

    @transition(ProposalStatus.EXECUTING, to=ProposalStatus.APPROVED, sets=("execution_result",))
    def fail_execution(self, error: str, *, by: Actor, reason: str = "") -> Columns:
        """Record that carrying the proposal out failed; it may be tried again.

        Args:
            error: what went wrong. Text that cannot be stored is changed, as the error of `Agent.fail` is.
        """
        return Columns(execution_result={"success": False, "error": error})

    @transition(
        ProposalStatus.EXECUTING,
        ProposalStatus.EXECUTED,
        to=ProposalStatus.ROLLED_BACK,
        decision=DecisionType.HUMAN_OVERRIDE,
    )
    def roll_back(self, *, by: Actor, reason: str) -> Columns:
        """Record that what the proposal changed was undone."""
        return Columns()

    # ---- creation and content ------------------------------------------------------------------

    def on_create(self, firing: Firing) -> None:
        self.threshold = self.threshold or DEFAULTS[self.proposal_type].threshold
        self.required_voters = self.required_voters or default_voters(self.proposal_type)

    def why_fixed(self, columns: tuple[str, ...]) -> list[str]:
        fixed = [name for name in columns if name in self.editable_until]
        if not fixed or self.status == ProposalStatus.OPEN:
            return []
        return [f"{values.listed(fixed)} may change only while it is open, and it is {self.status}"]

    # ---- voting --------------------------------------------------------------------------------

    def vote(
        self,
        agent: Agent,
        decision: VoteDecision | str,
        reasoning: str,
        *,
        confidence: float | None = None,
        preferred_option: str | None = None,
    ) -> list[Move]:
        """Cast or change an agent's vote. The first vote opens the voting, and the deciding vote moves the proposal.

        When an agent changes its vote, the earlier one is kept in `agent_logs`.

        Args:
            agent: who votes. Its type must be among the required voters. The proposer may vote.
            decision: approve, reject, abstain or need_more_info.
            reasoning: why; not blank.
            confidence: from 0 to 1, or None.
            preferred_option: one of the options, or None.

        Returns:
            The moves of the proposal. There are none when the voting was open and the tally is not final yet.

        Raises:
            InvalidValue: an argument is wrong.
            RowNotFound: the proposal was removed.
            IllegalTransition: the proposal is neither open nor voting.
            GuardRefused: the agent is errored, completed, not in this store or of a type without a vote here, the
                deadline has passed, or there is no such option.
            StoreError: the store is not open, or the database failed. A subclass says which.
        """
        current = session()
        require_row(agent, "vote(agent)", "Agent")
        columns = {
            "decision": word(decision, VoteDecision, "votes.decision"),
            "reasoning": values.nonblank_text(reasoning, "votes.reasoning"),
            "confidence": None if confidence is None else checked_confidence(confidence),
            "preferred_option": None
            if preferred_option is None
            else values.nonblank_text(preferred_option, "votes.preferred_option"),
        }
        work = partial(cast, agent=agent, columns=columns)
        return current.work_on(self, "vote", work, locks=(Lock.ROW, Lock.PROPOSER), others=(agent,))

    def tally(self) -> Tally:
        """Count the votes at this moment, by the store's clock. Nothing changes.

        Returns:
            The tally.

        Raises:
            RowNotFound: the proposal was removed.
            StoreError: the store is not open, or the database failed. A subclass says which.
        """
        count: Tally = session().read(lambda: present(Proposal, self.id).counted(session().now()))
        return count

    def option_names(self) -> tuple[str, ...]:
        """Return the names of the options, in order; empty when the proposal has no options."""
        return json_values.option_names(self.options, "proposals.options") if self.options else ()

    def counted(self, now: Any) -> Tally:
        """Count the votes as of a moment, in the present transaction.

        Args:
            now: the moment, which decides whether the deadline has passed.

        Returns:
            The tally.
        """
        required = tuple([KINDS[kind] for kind in self.required_voters or ()])
        rules = Rules(Threshold(self.threshold), required, self.option_names())
        expired = self.voting_deadline is not None and now >= self.voting_deadline
        return tally(ballots_on(self.id), rules, expired=expired)

    def decision_details(self, firing: Firing) -> dict[str, Any]:
        if firing.trigger not in ("approve", "reject"):
            return {"chosen_option": firing.arguments.get("choice")} if "choice" in firing.arguments else {}
        count = self.counted(firing.now)
        return {
            "cause": count.cause,
            "quorum": count.quorum,
            "approve_weight": str(count.approve_weight),
            "reject_weight": str(count.reject_weight),
            "votes": [vote.said() for vote in votes_on(self.id)],
            "chosen_option": count.chosen_option,
            "tied": count.tied,
        }

    def decision_context(self) -> dict[str, UUID | None]:
        issue = self.related_issue
        return {
            "proposal": self.id,
            "issue": self.related_issue_id,
            "epic": issue.epic_id if issue else None,
            "agent": self.proposer_id,
        }

    def label(self) -> str:
        return self.title
