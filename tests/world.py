"""The kit's rows in any status, in a store that a test can ask, and what only our own tests say of them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from dispatch_state import Store
from dispatch_state.testing import factories
from dispatch_state.testing.factories import MAINTAINER, MODELS, RUNNER, TEXTS, WHY

__all__ = ["LATER", "MAINTAINER", "MODELS", "ONLY_FOLLOW", "RUNNER", "TEXTS", "WHY", "World", "snapshot"]

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
