"""Writers that are killed at random moments: every acknowledged move is there, and no move is half done.

The short form kills 100 times, the long form (`DISPATCH_LONG=1`) 600 times, on each database.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import time
from multiprocessing.process import BaseProcess
from pathlib import Path
from uuid import UUID

import pytest

from dispatch_state import Agent, Issue, Store, TransitionLog, open_store
from tests.invariants import broken
from tests.long_forms import LONG
from tests.world import MAINTAINER, WHY

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["dispatch_state"])
WRITERS = 3
KILLS = 600 if LONG else 100


def write(target: str, record: str) -> None:
    """Move issues through whole lives, one after the other; write each acknowledged move to a file."""
    file = os.open(record, os.O_WRONLY | os.O_APPEND)
    with open_store(target, durability="normal") as store:
        agent = Agent.create(agent_type="coder")
        while True:
            issue = Issue.create(title="t", prompt="p", repo_path="/", issue_type="bug")
            issue.queue(by=MAINTAINER)
            with store.atomic():
                issue.assign(agent, by=agent)
                issue.start(by=agent)
            issue.submit(by=agent)
            issue.review(by=MAINTAINER)
            moves = issue.complete(by=MAINTAINER)
            acknowledge(file, moves[0].seq, issue)
            other = Issue.create(title="t", prompt="p", repo_path="/", issue_type="bug")
            moves = other.cancel(by=MAINTAINER, reason=WHY)
            acknowledge(file, moves[0].seq, None)


def acknowledge(file: int, seq: int, done: Issue | None) -> None:
    os.write(file, f"{seq} {done.id if done else '-'}\n".encode())


@pytest.fixture
def record(tmp_path: Path) -> Path:
    path = tmp_path / "acknowledged"
    path.touch()
    return path


def start(target: str, record: Path) -> BaseProcess:
    process = SERVER.Process(target=write, args=(target, str(record)), daemon=True)
    process.start()
    return process


def test_killed_writers(store: Store, target: str, record: Path) -> None:
    """Every move that a writer saw committed is in the log afterwards, and the store is sound."""
    chance = random.Random(3)
    writers = [start(target, record) for _ in range(WRITERS)]
    for _ in range(KILLS):
        time.sleep(chance.uniform(0.01, 0.15))
        victim = chance.randrange(WRITERS)
        writers[victim].kill()
        writers[victim].join()
        writers[victim].close()
        writers[victim] = start(target, record)
    while len(record.read_text().splitlines()) < KILLS:  # the last writers are still at work
        time.sleep(0.05)
    for writer in writers:
        writer.kill()
        writer.join()
    acknowledged = [line.split() for line in record.read_text().splitlines()]
    seqs = {int(seq) for seq, _ in acknowledged}
    found = {move.seq for move in TransitionLog.select(TransitionLog.seq)}
    assert seqs <= found, f"{len(seqs - found)} acknowledged moves are lost"
    done = {UUID(issue) for _, issue in acknowledged if issue != "-"}
    assert {issue.id for issue in Issue.select().where(Issue.status == "done")} >= done
    assert broken(store) == []
    if store.database.kind == "sqlite":
        assert store.database.execute_sql("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert store.database.execute_sql("PRAGMA foreign_key_check").fetchall() == []
