"""The kit's rows in any status, in a store that a test can ask, and what only our own tests say of them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from dispatch_state import Issue, Stage, Store
from dispatch_state.testing import factories
from dispatch_state.testing.factories import MAINTAINER, MODELS, RUNNER, TEXTS, WHY
from dispatch_state.testing.scratch import Clock

__all__ = [
    "LATER",
    "LONG_TEXT",
    "MAINTAINER",
    "MODELS",
    "ONLY_FOLLOW",
    "RUNNER",
    "TEXTS",
    "WHY",
    "World",
    "as_stored",
    "first_stage",
    "queued",
    "snapshot",
]

ONLY_FOLLOW = {
    ("epics", "reach_gate"),
    ("epics", "clear_gate"),
    ("epics", "complete"),
    ("stages", "start"),
    ("stages", "approve"),
    ("stages", "rework"),
    ("gates", "resubmit"),
    ("agents", "vote_resolved"),
}
"""What may be fired by hand, but whose guards let it only follow."""
LATER = timedelta(days=2)


class World(factories.World):
    """Makes rows of any kind in any status.

    Args:
        store: an open store whose clock can be moved.
    """

    def __init__(self, store: Store) -> None:
        self.store = store


def snapshot(row_id: UUID, model: Any) -> dict[str, Any]:
    """Every column of a row as it stands."""
    return dict(model.get_by_id(row_id).__data__)


def first_stage(epic: Any) -> Stage:
    """The stage that an epic begins with."""
    return epic.stages.order_by(Stage.stage_order).first()


def queued(world: World, clock: Clock, **columns: Any) -> Issue:
    """An issue in the queue, a second younger than what was there."""
    clock.forward(seconds=1)
    issue = world.new_issue(**columns)
    issue.queue(by=MAINTAINER)
    return issue


LONG_TEXT = "é" * 600_000


def as_stored(row: Any) -> None:
    """A row in memory is what the store holds."""
    assert dict(row.__data__) == dict(type(row).get_by_id(row.id).__data__)
