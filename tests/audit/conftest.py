"""What the tests of the audit share."""

from __future__ import annotations

import pytest

from dispatch_state import Store
from dispatch_state.schema import enforcement
from tests.world import World


@pytest.fixture
def world(store: Store) -> World:
    """A world without the database's triggers, so that SQL can do what it likes."""
    with store.database.atomic():
        enforcement.remove(store.database)
    return World(store)
