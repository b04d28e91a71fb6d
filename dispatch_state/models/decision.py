"""Decisions: what was decided, by whom, and the outcome."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from dispatch_state import json_values
from dispatch_state.ids import new_id
from dispatch_state.models.epic import Epic
from dispatch_state.models.issue import Issue
from dispatch_state.models.keys import ParentField
from dispatch_state.models.proposal import Proposal
from dispatch_state.models.row import Row
from dispatch_state.storage.fields import IdField, JsonField, StampField, TextField, WordField
from dispatch_state.vocabulary import DecisionType


class Decision(Row):
    """One decision. It never changes, except that a key becomes NULL when the row it names is removed."""

    written_by = "the triggers that decide"

    id = IdField(primary_key=True, default=new_id)
    proposal = ParentField(Proposal, null=True, backref="decisions", column_name="proposal_id", on_delete="SET NULL")
    issue = ParentField(Issue, null=True, backref="decisions", column_name="issue_id", on_delete="SET NULL")
    epic = ParentField(Epic, null=True, backref="decisions", column_name="epic_id", on_delete="SET NULL")
    decision_type = WordField(DecisionType)
    description = TextField()
    outcome = JsonField(json_values.json_object)
    decided_by = TextField()
    created_at = StampField()

    if TYPE_CHECKING:
        proposal_id: UUID | None
        issue_id: UUID | None
        epic_id: UUID | None

    class Meta:
        table_name = "decisions"
