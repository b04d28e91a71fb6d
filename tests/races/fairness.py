"""How evenly processes share one store when they write without a pause; `python -m tests.races.fairness` prints it."""

from __future__ import annotations

import tempfile
import time
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

from dispatch_state import Issue, System, open_store
from tests.races.workers import SPAWN, crew

PROCESSES = 8
MEASURES = [(16_000, 0.0), (1600, 0.01)]
"""How many transactions, and how long each is held open, in seconds."""


def shares(target: str, processes: int, total: int, hold: float) -> tuple[list[int], float]:
    """Let so many processes make `total` transactions together, each as fast as it can.

    Args:
        target: a store.
        processes: how many.
        total: when a counter that they share reaches it, all of them stop.
        hold: how long each transaction is held open, in seconds.

    Returns:
        How many transactions each process made, and the longest that one waited for its turn, in seconds.

    Raises:
        EOFError: a process met an error, `StoreBusy` among them, and has printed it.
    """
    start, count = SPAWN.Barrier(processes), SPAWN.Value("i", 0)
    with crew(processes, write, target, total, hold, start, count) as writers:
        told = [writer.hear() for writer in writers]
    return [made for made, _ in told], max(waited for _, waited in told)


def write(target: str, line: Connection, total: int, hold: float, start: Barrier, count: Any) -> None:
    """Move one issue to and fro until all processes together have made enough moves; send the share and the wait."""
    made, longest = 0, 0.0
    with open_store(target, durability="normal") as store:
        issue = Issue.create(title="t", prompt="p", repo_path="/", issue_type="bug")
        start.wait()
        while one_more(count, total):
            asked = time.monotonic()
            with store.atomic():
                longest = max(longest, time.monotonic() - asked)
                (issue.queue if issue.status == "unassigned" else issue.dequeue)(by=System("test"))
                time.sleep(hold)
            made += 1
        line.send((made, longest))


def one_more(count: Any, total: int) -> bool:
    """Take one of the transactions that are left, if there is one."""
    with count.get_lock():
        count.value += 1
        return bool(count.value <= total)


def main() -> None:
    for total, hold in MEASURES:
        with tempfile.TemporaryDirectory() as folder:
            target = str(Path(folder, "dispatch.db"))
            open_store(target).close()
            began = time.monotonic()
            made, longest = shares(target, PROCESSES, total, hold)
            took = time.monotonic() - began
        print(f"{total} transactions of {hold * 1000:g} ms by {PROCESSES} processes in {took:.1f} s: shares {made}")
        print(f"  smallest/largest {min(made) / max(made):.2f}, longest wait {longest * 1000:.0f} ms")


if __name__ == "__main__":
    main()
