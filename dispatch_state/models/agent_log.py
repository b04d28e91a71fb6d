"""The lines that agents write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from dispatch_state import json_values, values
from dispatch_state.ids import new_id
from dispatch_state.lifecycle.session import UnitOfWork
from dispatch_state.models.agent import Agent
from dispatch_state.models.keys import ParentField, PointerField, present
from dispatch_state.models.row import MODELS, Row
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

    @classmethod
    def checked_columns(cls, level: object, message: object, context: object, issue: object) -> dict[str, Any]:
        """Check the columns of a line before any SQL; see `Agent.log`."""
        text = values.storable(message, "agent_logs.message")
        columns = {"level": level, "message": text, "context": context, "issue": issue}
        return {name: cls._meta.fields[name].check(value) for name, value in columns.items()}

    @classmethod
    def insert_line(cls, unit: UnitOfWork, agent: Agent, columns: dict[str, Any]) -> AgentLog:
        """Insert a line in a unit of work, about the issue that the agent holds unless another one is named."""
        if columns["issue"] is not None:
            present(MODELS["issues"], columns["issue"])
        about = columns["issue"] or agent.current_issue_id
        line: AgentLog = unit.insert(cls, agent=agent.id, **{**columns, "issue": about})
        return line
