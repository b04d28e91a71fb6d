"""The decision that an act writes. Its id is drawn before the first move; its outcome is known after the last one."""

from __future__ import annotations

from typing import Any, NamedTuple
from uuid import UUID

from dispatch_state.actors import Actor, Human
from dispatch_state.ids import new_id, uuid_text
from dispatch_state.json_values import plain
from dispatch_state.lifecycle.interface import Firing, Move
from dispatch_state.vocabulary import DecisionType


class OpenDecision(NamedTuple):
    """A decision whose outcome is not known yet.

    context: the ids of the rows that it concerns, by name.
    details: what its outcome contains besides the action, the reason and those ids.
    """

    id: UUID
    kind: DecisionType
    context: dict[str, UUID | None]
    details: dict[str, Any]
    description: str

    def columns(self, action: str, by: Actor, reason: str, moves: list[Move]) -> dict[str, Any]:
        """Build the columns of its row, after the last move.

        Args:
            action: what was asked for: the trigger, or `reassign`.
            by: who decided.
            reason: why; empty when no reason was given.
            moves: the moves that were made, the act's own first.

        Returns:
            The columns by name, without `created_at`.
        """
        named = {f"{name}_id": key for name, key in self.context.items()}
        outcome: dict[str, Any] = {"action": action, "reason": reason or None, **plain(named), **self.details}
        if len(moves) > 1:
            outcome["moved"] = [
                {"entity": m.entity, "id": uuid_text(m.id), "trigger": m.trigger, "from": m.source, "to": m.dest}
                for m in moves
            ]
        return {
            "id": self.id,
            **{name: self.context.get(name) for name in ("proposal", "issue", "epic")},
            "decision_type": self.kind,
            "description": self.description,
            "outcome": outcome,
            "decided_by": by.actor,
        }


def open_decision(kind: DecisionType, firing: Firing) -> OpenDecision | None:
    """Begin the decision of an act.

    Args:
        kind: the type of decision that the trigger declares.
        firing: the act.

    Returns:
        The open decision, or None for a `human_override` that was not fired by a person.
    """
    if kind == DecisionType.HUMAN_OVERRIDE and not isinstance(firing.by, Human):
        return None
    row = firing.row
    what = f"{firing.trigger} {type(row).__name__.lower()} “{row.label()[:80]}”"
    description = f"{kind.replace('_', ' ')}: {what}"
    return OpenDecision(new_id(), kind, row.decision_context(), row.decision_details(firing), description)
