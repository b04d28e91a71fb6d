"""Fixtures for the tests of snapshots."""

from __future__ import annotations

from pathlib import Path

import pytest

from dispatch_state.testing.scratch import Clock, scratch_store
from tests.golden import scene


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A snapshot of a store with a row of each table; it is made before any other store is open."""
    path = tmp_path_factory.mktemp("snapshot") / "snapshot.jsonl"
    with scratch_store("memory", clock=Clock()) as store:
        scene()
        store.export(path)
    return path
