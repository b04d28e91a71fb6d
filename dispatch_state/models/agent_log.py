"""The lines that agents write."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from dispatch_state import json_values, values
from dispatch_state.ids import new_id
from dispatch_state.models.agent import Agent
from dispatch_state.models.keys import ParentField, PointerField
from dispatch_state.models.row import Row
from dispatch_state.storage.fields import IdField, JsonField, StampField, TextField, WordField
from dispatch_state.vocabulary import LogLevel

if TYPE_CHECKING:
    from dispatch_state.models.issue import Issue


class AgentLog(Row):
    """A line that an agent wrote, or that records its failure."""

    written_by = "Agent.log() and Agent.fail()"

    id = IdField(primary_key=True, default=new_id)
    agent = ParentField(Agent, backref="logs", column_name="agent_id", on_delete="CASCADE")
    issue = PointerField("Issue", null=True, column_name="issue_id", backref="logs", on_delete="SET NULL")
    level = WordField(LogLevel)
    message = TextField(holds=values.nonblank_text)
    context = JsonField(json_values.json_object, null=True)
    created_at = StampField()

    if TYPE_CHECKING:
        issue: Issue | None  # type: ignore[no-redef]
        agent_id: UUID
        issue_id: UUID | None

    class Meta:
        table_name = "agent_logs"
