"""Asyncio tasks share a thread but never a block."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest

from dispatch_state import InvalidValue, Issue, Store
from tests.world import MAINTAINER, World

INSIDE = {
    "a trigger": lambda store, issue: issue.queue(by=MAINTAINER),
    "a block": lambda store, issue: store.atomic().__enter__(),
    "a block of Peewee": lambda store, issue: store.database.atomic().__enter__(),
    "a save": lambda store, issue: issue.save(only=["title"]),
}


@pytest.mark.parametrize("inside", INSIDE)
@pytest.mark.parametrize("kind", ["store", "database"])
def test_a_task_cannot_enter_the_block_of_another(store: Store, kind: str, inside: str) -> None:
    """Moves, saves and blocks of another task are refused while the block is open."""
    world = World(store)
    mine, theirs = world.issues("unassigned"), world.issues("unassigned")
    if inside == "a save":
        theirs.title = "Another title"
    title = Issue.get_by_id(theirs.id).title

    async def holder(entered: asyncio.Event, leave: asyncio.Event) -> None:
        with (store if kind == "store" else store.database).atomic():
            mine.queue(by=MAINTAINER)
            entered.set()
            await leave.wait()
            mine.dequeue(by=MAINTAINER)

    async def both() -> None:
        entered, leave = asyncio.Event(), asyncio.Event()
        first = asyncio.create_task(holder(entered, leave))
        await entered.wait()
        with pytest.raises(InvalidValue, match="another asyncio task"):
            INSIDE[inside](store, theirs)
        leave.set()
        await first

    asyncio.run(both())
    assert mine.reload().version == 3
    stored = Issue.get_by_id(theirs.id)
    assert (stored.version, stored.title) == (1, title)


def test_a_task_cannot_leave_the_block_of_another(store: Store) -> None:
    issue = World(store).issues("unassigned")
    block = store.atomic()

    async def enters(entered: asyncio.Event, left: asyncio.Event) -> None:
        block.__enter__()
        issue.queue(by=MAINTAINER)
        entered.set()
        await left.wait()
        block.__exit__(None, None, None)

    async def both() -> None:
        entered, left = asyncio.Event(), asyncio.Event()
        first = asyncio.create_task(enters(entered, left))
        await entered.wait()
        for error in ((None, None, None), (KeyError, KeyError(), None)):
            with pytest.raises(InvalidValue, match="another asyncio task"):
                block.__exit__(*error)
        left.set()
        await first

    asyncio.run(both())
    assert issue.reload().status == "queued"


def test_two_tasks_that_each_open_a_block(store: Store) -> None:
    """The second task is refused; the first task's block is committed or rolled back as it ends."""
    world = World(store)
    issues = [world.issues("unassigned") for _ in range(2)]

    async def work(issue: Issue, fails: bool) -> None:
        with store.atomic():
            issue.queue(by=MAINTAINER)
            await asyncio.sleep(0.01)
            if fails:
                raise ZeroDivisionError

    async def both(fails: bool) -> list[Any]:
        return await asyncio.gather(work(issues[0], fails), work(issues[1], False), return_exceptions=True)

    assert [type(found) for found in asyncio.run(both(True))] == [ZeroDivisionError, InvalidValue]
    assert [issue.reload().version for issue in issues] == [1, 1]
    assert [type(found) for found in asyncio.run(both(False))] == [type(None), InvalidValue]
    assert [issue.reload().version for issue in issues] == [2, 1]


def test_a_task_may_not_use_a_block_that_was_opened_outside_the_loop(store: Store) -> None:
    issue = World(store).issues("unassigned")

    async def moves() -> None:
        issue.queue(by=MAINTAINER)

    with store.atomic(), pytest.raises(InvalidValue, match="another asyncio task"):
        asyncio.run(moves())
    assert issue.reload().version == 1


def test_each_move_outside_a_block_is_a_transaction_of_its_task(store: Store) -> None:
    world = World(store)
    issues = [world.issues("unassigned") for _ in range(5)]

    async def work(issue: Issue) -> None:
        issue.queue(by=MAINTAINER)
        await asyncio.sleep(0)
        with store.atomic():
            issue.dequeue(by=MAINTAINER)

    async def all_of_them() -> None:
        await asyncio.gather(*map(work, issues))

    asyncio.run(all_of_them())
    assert {issue.reload().version for issue in issues} == {3}


def test_a_forked_child_leaves_its_parents_block_alone(store: Store) -> None:
    """Even when the child drops the block as it ends."""
    issue = World(store).issues("unassigned")
    with store.atomic():
        issue.queue(by=MAINTAINER)
        child = os.fork()
        if not child:
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
    assert issue.reload().status == "queued"
