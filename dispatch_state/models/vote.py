"""The votes of agents on proposals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from dispatch_state import json_values, values
from dispatch_state.ids import new_id
from dispatch_state.models.agent import Agent
from dispatch_state.models.keys import ParentField
from dispatch_state.models.proposal import Proposal
from dispatch_state.models.row import Row
from dispatch_state.storage.fields import FloatField, IdField, StampField, TextField, WordField
from dispatch_state.vocabulary import AgentType, VoteDecision


class Vote(Row):
    """The vote of one agent on one proposal. An agent that votes again changes its row."""

    written_by = "Proposal.vote()"

    id = IdField(primary_key=True, default=new_id)
    proposal = ParentField(Proposal, backref="votes", column_name="proposal_id", on_delete="CASCADE")
    voter = ParentField(Agent, backref="votes", column_name="voter_id")
    voter_type = WordField(AgentType)
    decision = WordField(VoteDecision)
    reasoning = TextField(holds=values.nonblank_text)
    confidence = FloatField(null=True)
    created_at = StampField()
    preferred_option = TextField(null=True)

    if TYPE_CHECKING:
        proposal_id: UUID
        voter_id: UUID

    class Meta:
        table_name = "votes"

    def said(self) -> dict[str, Any]:
        """Return the vote as JSON values, for a decision's outcome or an agent's log."""
        return json_values.plain(
            {
                "voter": self.voter_id,
                "voter_type": self.voter_type,
                "decision": self.decision,
                "reasoning": self.reasoning,
                "confidence": self.confidence,
                "preferred_option": self.preferred_option,
                "at": self.created_at,
            }
        )
