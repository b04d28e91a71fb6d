"""Eight processes write to one store without a pause: each gets its share, and nobody is told that it is locked."""

from __future__ import annotations

import time
from typing import Any

import pytest

from dispatch_state import Store, System, open_store
from tests.races.crew import SERVER, answers, crew
from tests.world import World

PROCESSES = 8


def write(target: str, total: int, hold: float, count: Any, start: Any, told: Any) -> None:
    """Move a row of one's own to and fro until all together have done so many; tell how many were one's own."""
    with open_store(target, durability="normal") as store:
        issue = World(store).new_issue()
        mine = 0
        start.wait()
        while True:
            with count.get_lock():
                if count.value >= total:
                    break
                count.value += 1
            with store.atomic():
                (issue.queue if issue.status == "unassigned" else issue.dequeue)(by=System("test"))
                time.sleep(hold)
            mine += 1
        told.put(mine)


@pytest.mark.parametrize(("total", "hold"), [(8000, 0), (800, 0.01)], ids=["short", "long"])
def test_each_gets_its_share(store: Store, target: str, backend: str, total: int, hold: float) -> None:
    """On PostgreSQL nobody waits for another's rows; a shorter run shows that it is so."""
    total = total if backend == "sqlite" else 800
    count, start, told = SERVER.Value("i", 0), SERVER.Barrier(PROCESSES), SERVER.Queue()
    with crew(PROCESSES, write, target, total, hold, count, start, told) as members:
        shares = answers(told, members)
    assert sum(shares) == total
    assert min(shares) / max(shares) >= 0.5, shares
    assert store.verify() == []
