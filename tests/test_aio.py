"""The store from asyncio: whole calls in threads, one winner, and nothing awaited inside a transaction."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from dispatch_state import DispatchError, GuardRefused, InvalidValue, Issue, Store, StoreNotOpen, TransitionLog, aio
from tests.invariants import broken
from tests.world import MAINTAINER, WHY, World


async def gathered(*calls: Any) -> list[Any]:
    return await asyncio.gather(*calls, return_exceptions=True)


def test_a_life_of_an_issue(world: World, store: Store) -> None:
    issue, coder = world.issues("queued"), world.agent()

    async def live() -> None:
        claimed = await aio.claim(coder, repo_path=issue.repo_path, issue_type=issue.issue_type)
        assert claimed == issue
        started = await aio.run(claimed.start, by=coder)
        assert started[0].trigger == "start"
        moves = await aio.run(claimed.complete, by=coder, reason=WHY)
        assert moves[0].dest == "done"
        assert claimed.status == "done"

    asyncio.run(live())
    assert broken(store) == []


def test_ten_tasks_race_one_trigger(world: World, store: Store) -> None:
    """Each with a copy of its own, and all with the same object: one of them wins."""
    for copies in (True, False):
        issue = world.issues("queued")
        rows = [Issue.get_by_id(issue.id) if copies else issue for _ in range(10)]

        async def race(rows: list[Issue] = rows) -> list[Any]:
            return await gathered(*(aio.run(row.dequeue, by=MAINTAINER) for row in rows))

        outcomes = asyncio.run(race())
        refused = [outcome for outcome in outcomes if isinstance(outcome, DispatchError)]
        assert len(refused) == 9, outcomes
        dequeued = TransitionLog.select().where(TransitionLog.entity_id == issue.id, TransitionLog.trigger == "dequeue")
        assert dequeued.count() == 1
        assert issue.reload().status == "unassigned"
    assert broken(store) == []


def test_ten_tasks_claim_ten_issues(world: World, store: Store) -> None:
    made = {world.issues("queued").id for _ in range(10)}
    agents = [world.agent() for _ in range(11)]

    async def claims() -> list[Any]:
        return await gathered(*(aio.claim(agent) for agent in agents))

    claimed = asyncio.run(claims())
    assert {issue.id for issue in claimed if issue is not None} == made
    assert claimed.count(None) == 1
    assert broken(store) == []


def test_a_function_is_one_transaction(world: World, store: Store) -> None:
    issue = world.issues("queued")

    def fails() -> None:
        with store.atomic():
            issue.dequeue(by=MAINTAINER)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        asyncio.run(aio.run(fails))
    assert issue.status == issue.reload().status == "queued"


def test_it_runs_in_another_thread(world: World) -> None:
    assert asyncio.run(aio.run(threading.get_ident)) != threading.get_ident()
    assert asyncio.run(aio.run(lambda: Issue.select().count())) == 0


def test_a_refusal_is_the_callers(world: World) -> None:
    coder = world.agent()
    coder.stop(by=MAINTAINER, reason=WHY)
    with pytest.raises(GuardRefused):
        asyncio.run(aio.claim(coder))


@pytest.mark.parametrize("call", [None, "start", 3])
def test_what_cannot_be_called_is_refused(store: Store, call: Any) -> None:
    with pytest.raises(InvalidValue, match="takes a function"):
        asyncio.run(aio.run(call))


def test_a_block_of_the_loops_thread_is_refused(world: World, store: Store) -> None:
    """On SQLite the call would wait for the block that waits for it."""
    issue = world.issues("queued")

    async def inside(block: Callable[[], Any]) -> None:
        with block():
            await aio.run(issue.dequeue, by=MAINTAINER)

    for block in (store.atomic, store.database.atomic):
        with pytest.raises(InvalidValue, match="one function"):
            asyncio.run(inside(block))
    assert issue.reload().status == "queued"


def test_a_cancelled_call_may_still_commit(world: World, store: Store) -> None:
    """This is the documented limit: the thread goes on, its row object is up to date, and the log has the move."""
    issue = world.issues("queued")
    begun, go_on = threading.Event(), threading.Event()

    def slow() -> None:
        begun.set()
        go_on.wait()
        issue.dequeue(by=MAINTAINER)

    async def cancelled() -> None:
        task = asyncio.create_task(aio.run(slow))
        while not begun.is_set():
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        go_on.set()

    asyncio.run(cancelled())  # which waits for its threads
    assert issue.reload().status == "unassigned"
    assert broken(store) == []


def test_without_a_store_it_says_so() -> None:
    with pytest.raises(StoreNotOpen):
        asyncio.run(aio.run(Issue.select().count))
