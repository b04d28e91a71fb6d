"""Fixtures for the tests of GitHub."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dispatch_state import Store
from dispatch_state.testing.scratch import scratch_store
from tests.invariants import broken


@pytest.fixture
def memory() -> Iterator[Store]:
    """An empty store in memory, for tests that do not depend on the database."""
    with scratch_store("memory") as store:
        yield store
        assert broken(store) == []
