"""The log of moves, with one row for each move. It is written before the row's status changes."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from peewee import BigAutoField, ModelSelect

from dispatch_state import json_values
from dispatch_state.models.row import Row
from dispatch_state.storage.fields import IdField, IntegerField, JsonField, StampField, TextField
from dispatch_state.storage.statements import rows


class TransitionLog(Row):
    """One move: who, when, why, from where to where, and the earlier move from which it followed."""

    written_by = "triggers, create() and remove()"

    seq = BigAutoField()
    entity = TextField()
    entity_id = IdField()
    version = IntegerField()
    trigger = TextField()
    source = TextField(null=True)
    dest = TextField(null=True)
    actor = TextField()
    reason = TextField(null=True)
    details = JsonField(json_values.json_object, null=True)
    cause_seq = IntegerField(null=True)
    decision_id = IdField(null=True)
    created_at = StampField()

    class Meta:
        table_name = "transition_log"

    def __str__(self) -> str:
        return f"move {self.seq}"

    def say(self, actor: str | None = None) -> str:
        """Return the move in one line: when, what, from where to where, by whom, and why.

        Args:
            actor: the name to show for the actor. When None, the stored text is shown.
        """
        way = " -> ".join(str(end) for end in (self.source, self.dest) if end is not None)
        why = f": {self.reason}" if self.reason else ""
        at = self.created_at.isoformat(sep=" ", timespec="seconds")
        return f"{at}  {self.entity} {str(self.entity_id)[-8:]}  {self.trigger} ({way}) by {actor or self.actor}{why}"


@rows
def moves_of(row: UUID) -> ModelSelect[TransitionLog]:
    """Every move of a row, the oldest first."""
    return TransitionLog.select().where(TransitionLog.entity_id == row).order_by(TransitionLog.version)


def is_a_persons_act(move: Any) -> bool:
    """Whether a move is an act of a person, and does not follow from another move.

    Args:
        move: a row of the log.
    """
    return move.cause_seq is None and move.actor.startswith("human:")


def attempts(issue: Any) -> int:
    """Count how often the issue was assigned since its creation, or since a person last put it back to work.

    A person does that with `queue`, `release` (alone or in a `reassign`) or `unblock`.

    Args:
        issue: the issue whose log is read.
    """
    count = 0
    for move in reversed(moves_of(issue.id)):
        if move.trigger == "assign":
            count += 1
        elif move.trigger in ("queue", "release", "unblock") and is_a_persons_act(move):
            break
    return count
