"""Power cuts: of the data that was written and not synced, the disk holds any part, in any order, some of it torn.

With `durability="full"` every acknowledged move is there. With `"normal"` the last moves may be lost, but the store
is sound and has no gap. The short form cuts the power 60 times for each, the long form (`DISPATCH_LONG=1`) 3,000
times.
"""

from __future__ import annotations

import os
import random
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from dispatch_state import Issue, Store, StoreError, TransitionLog, open_store
from tests.faults.disk import SYNC, Change, Disk, means, record
from tests.long_forms import LONG
from tests.world import MAINTAINER, World

CUTS = 3000 if LONG else 60
LIVES = 40 if LONG else 8
ACKNOWLEDGED = "acknowledged"
DATABASE = ("dispatch.db", "dispatch.db-wal", "dispatch.db-journal")


def write(target: str, acknowledged: str, durability: str, lives: int) -> None:
    """Move issues through whole lives, one after the other; write the last acknowledged move to a file."""
    file = os.open(acknowledged, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    with open_store(target, durability="full" if durability == "off" else durability) as store:
        if durability == "off":
            store.database.execute_sql("PRAGMA synchronous = off")
        store.database.execute_sql("PRAGMA wal_autocheckpoint = 60")  # so that the log is written back now and then
        world = World(store)
        for number in range(lives):
            acknowledge(file, store)
            issue, agent = world.new_issue(prompt="p" * 2000), world.agent()
            issue.queue(by=MAINTAINER)
            acknowledge(file, store)
            issue.assign(agent, by=agent)
            acknowledge(file, store)
            issue.start(by=agent)
            acknowledge(file, store)
            issue.complete(by=agent)
            acknowledge(file, store)
            if number % 5 == 4:
                with store.atomic():
                    issue.remove(by=MAINTAINER, reason="it is done")
                    Issue.create(**world.issue_columns(), repo_path="/src")
                acknowledge(file, store)
        acknowledge(file, store)


def acknowledge(file: int, store: Store) -> None:
    """Write to the file how many moves have been acknowledged; `seq` counts them."""
    (last,) = store.database.execute_sql("SELECT max(seq) FROM transition_log").fetchone()
    os.write(file, f"{last or 0}\n".encode())


@pytest.fixture(scope="module")
def recorder(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    work = tmp_path_factory.mktemp("recorder")
    by = means(work)
    if not by and not LONG:
        pytest.skip("NEITHER A C COMPILER NOR STRACE IS HERE: power cuts are not tested; the long form fails")
    assert by, "recording what a process writes takes a C compiler or strace"
    return by, work


def recorded(durability: str, recorder: tuple[str, Path], folder: Path) -> list[Change]:
    code = f"import sys; from {__name__} import write; write(*sys.argv[1:4], int(sys.argv[4]))"
    store, acknowledged = folder / DATABASE[0], folder / ACKNOWLEDGED
    command = [sys.executable, "-c", code, str(store), str(acknowledged), durability, str(LIVES)]
    return record(command, folder, [*DATABASE, ACKNOWLEDGED], *recorder)


def cuts(changes: list[Change], count: int, chance: random.Random) -> Any:
    """Yield, for `count` moments, what the disk holds after a cut and how many moves were acknowledged by then."""
    moments = Counter(chance.randrange(len(changes) + 1) for _ in range(count))
    disk, acknowledged = Disk(), 0
    for number, change in enumerate([*changes, None]):
        for _ in range(moments[number]):
            yield disk.cut(chance), acknowledged
        if change is not None and change.name == ACKNOWLEDGED:
            acknowledged = int(change.data)
        elif change is not None:
            disk.take(change)


def after(held: dict[str, bytes], folder: Path) -> tuple[list[int], list[Any]]:
    """Open a store of these files; return its moves and its violations."""
    folder.mkdir(exist_ok=True)
    for path in folder.iterdir():
        path.unlink()
    for name, content in held.items():
        (folder / name).write_bytes(content)
    with open_store(folder / DATABASE[0]) as store:
        found = [move.seq for move in TransitionLog.select(TransitionLog.seq).order_by(TransitionLog.seq)]
        return found, store.verify()


def lost_after_cuts(durability: str, recorder: tuple[str, Path], folder: Path) -> tuple[int, Counter[str]]:
    """Assert that the store is sound after each cut; return the most moves that one cut lost, and counts."""
    (folder / "written").mkdir()
    changes = recorded(durability, recorder, folder / "written")
    counted: Counter[str] = Counter(f"{change.call} {change.name}" for change in changes if change.name != ACKNOWLEDGED)
    most = 0
    for held, acknowledged in cuts(changes, CUTS, random.Random(durability)):
        found, wrong = after(held, folder / "found")
        assert wrong == []
        assert found == list(range(1, len(found) + 1)), "a move is missing in the middle"
        counted["cuts"] += 1
        counted["cuts that lost something"] += len(found) < acknowledged
        most = max(most, acknowledged - len(found))
    print(f"{durability}, recorded by {recorder[0]}: {dict(counted)}; at most {most} acknowledged moves were lost")
    assert counted[f"{SYNC} dispatch.db-wal"] or durability == "off"
    return most, counted


def test_full_durability_loses_nothing(recorder: tuple[str, Path], tmp_path: Path) -> None:
    most, counted = lost_after_cuts("full", recorder, tmp_path)
    assert (most, counted["cuts"]) == (0, CUTS)


def test_normal_durability_loses_the_last_moves_at_most(recorder: tuple[str, Path], tmp_path: Path) -> None:
    """Some cuts do lose moves here, which shows that the test loses data that was not synced."""
    most, counted = lost_after_cuts("normal", recorder, tmp_path)
    assert most > 0
    assert counted["cuts"] == CUTS


def test_without_syncing_the_store_breaks(recorder: tuple[str, Path], tmp_path: Path) -> None:
    """This shows that the cuts find errors: a store that never syncs is corrupt, or has lost acknowledged moves."""
    (tmp_path / "written").mkdir()
    changes = recorded("off", recorder, tmp_path / "written")
    outcomes: Counter[str] = Counter()
    for held, acknowledged in cuts(changes, min(CUTS, 60), random.Random("off")):
        try:
            found, wrong = after(held, tmp_path / "found")
            outcomes["unsound" if wrong else "moves lost" if len(found) < acknowledged else "whole"] += 1
        except StoreError as error:
            outcomes[type(error).__name__] += 1
    print(f"off: {dict(outcomes)}")
    assert outcomes["moves lost"] > 0
    assert outcomes["StoreCorrupt"] > 0
