"""The kit's walk on both databases; where it leads is also held against invariants and grids written by hand."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from tests.backends import BACKENDS
from tests.grids import GRIDS
from tests.long_forms import LONG
from tests.properties.machine import Walk, on, run


@pytest.mark.parametrize("backend", BACKENDS)
def test_walk(backend: str) -> None:
    run(on(Walk, backend), examples=25 if backend == "sqlite" else 6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_far_walks(backend: str) -> None:
    """Many moves that are accepted, in one store: what short walks do not reach. Nearly every trigger is fired.

    The same numbers lead the same way on both databases, so that the short form takes fewer of them on PostgreSQL.
    """
    made: set[tuple[str, str]] = set()
    for seed in range(200 if LONG else 4 if backend == "sqlite" else 1):
        walk: Any = on(Walk, backend)()
        try:
            walk.wander(Random(seed), moves=400)
            made |= {(move.entity, move.trigger) for move in walk.store.changes(limit=100_000)}
        finally:
            walk.teardown()
    unreached = {(table, trigger) for table, grid in GRIDS.items() for _, trigger in grid} - made
    assert len(unreached) <= (8 if LONG or backend == "sqlite" else 20), unreached
