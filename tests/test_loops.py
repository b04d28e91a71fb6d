"""The worker loop of docs/runners.md, run as it is, while its work, its agent and its process meet trouble."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psycopg
import pytest

from dispatch_state import Agent, Issue, Store, StoreBusy, TransitionLog, open_store
from tests.invariants import broken
from tests.loops import HANG, PAUSE, looping, worker_loop
from tests.paths import ROOT
from tests.races.workers import crew, wait_for
from tests.world import MAINTAINER, RUNNER, WHY, World


@pytest.fixture
def timeout() -> float:
    """How long the store waits for a lock, in seconds."""
    return 30.0


@pytest.fixture
def store(target: str, timeout: float) -> Iterator[Store]:
    """A store by the wall clock."""
    with open_store(target, durability="normal", timeout=timeout) as opened:
        yield opened


class Once:
    """Work that does something the first time, and nothing after that; counts its attempts, and those that ended."""

    def __init__(self, first: Callable[[Issue], Iterator[object]]) -> None:
        self._first = first
        self.attempts: list[Issue] = []
        self.ended = 0

    def __call__(self, issue: Issue) -> Iterator[object]:
        self.attempts.append(issue)
        try:
            if len(self.attempts) == 1:
                yield from self._first(issue)
            yield "done"
        finally:
            self.ended += 1


def goes_on(issue: Issue) -> Iterator[object]:
    """Work without an end."""
    while True:
        time.sleep(PAUSE)
        yield


def in_an_epic(world: World) -> Issue:
    """An issue of an epic that ends with it; until then the loop goes on."""
    issue: Issue = world.running_epic(stages=1).current_stage.add_issue(**world.issue_columns())
    return issue.reload()


def moves(store: Store) -> list[str]:
    """What the loop's agents and their issues went through, in the order of the log."""
    kept = TransitionLog.select().where(
        TransitionLog.entity.in_(["agents", "issues"]), TransitionLog.source.is_null(False)
    )
    return [f"{move.entity[:-1]} {move.trigger}" for move in kept.order_by(TransitionLog.seq)]


STARTED = ["issue queue", "issue assign", "agent dispatch", "issue start", "agent run"]
ENDED = ["issue complete", "agent finish", "agent stop"]
AGAIN = ["agent dispatch", "agent run"]


def test_work_is_done_and_the_agent_stopped(world: World, store: Store) -> None:
    for _ in range(3):
        world.issues("queued")
    with looping(store, lambda issue: iter([1, 2])):
        pass
    assert store.counts()["issues"]["done"] == 3
    assert store.counts()["agents"]["completed"] == Agent.select().count() == 1
    assert broken(store) == []


def test_what_is_unblocked_is_taken_up_again(world: World, store: Store) -> None:
    """By the agent that had it, which waited meanwhile; nothing failed, and it was not started a second time."""
    issue, work = in_an_epic(world), Once(goes_on)
    with looping(store, work):
        wait_for(lambda: work.attempts, "it begins")
        issue.reload().block(by=MAINTAINER, reason=WHY)
        wait_for(lambda: work.ended, "it is noticed")
        assert work.attempts == [issue]
        issue.unblock(by=MAINTAINER)
    assert work.attempts == [issue] * 2
    assert moves(store) == [*STARTED, "issue block", "agent finish", "issue unblock", *AGAIN, *ENDED]
    assert broken(store) == []


def hands_in(issue: Issue) -> Iterator[object]:
    """Work that goes through a review."""
    Issue.get_by_id(issue.id).submit(by=issue.assigned_agent)
    yield


@pytest.mark.parametrize("by_a_person", [True, False])
def test_what_a_review_sends_back_is_taken_up_again(world: World, store: Store, by_a_person: bool) -> None:
    issue, work = in_an_epic(world), Once(hands_in)
    with looping(store, work):
        wait_for(lambda: work.ended, "it is handed in, and the loop has noticed")
        issue.reload()
        reviewer = MAINTAINER if by_a_person else world.agent("reviewer")
        issue.review(by=reviewer)
        issue.request_changes(by=reviewer, reason=WHY)
    assert work.attempts == [issue] * 2
    ours = [move for move in moves(store) if "review" not in move and "request" not in move]
    sent = ["issue submit", "agent finish", *([] if by_a_person else [*AGAIN, "agent finish"]), *AGAIN]
    assert ours == [*STARTED, *sent, *ENDED]
    assert broken(store) == []


def taken_and_given_back(issue: Issue) -> Iterator[object]:
    """Work during which somebody blocks the issue and thinks better of it: the agent still holds it, or again."""
    fresh = Issue.get_by_id(issue.id)
    fresh.block(by=MAINTAINER, reason=WHY)
    fresh.unblock(by=MAINTAINER)
    yield


def test_what_moved_under_the_work_is_done_again(world: World, store: Store) -> None:
    issue, work = world.issues("queued"), Once(taken_and_given_back)
    with looping(store, work):
        pass
    assert work.attempts == [issue] * 2
    assert issue.reload().status == "done"
    assert store.counts()["agents"]["errored"] == 0
    assert broken(store) == []


@pytest.mark.parametrize("trigger", ["release", "cancel"])
def test_work_that_is_taken_away_is_left(world: World, store: Store, trigger: str) -> None:
    """And the agent goes on: with the same issue where that was queued again."""
    issue, work = world.issues("queued"), Once(goes_on)
    with looping(store, work):
        wait_for(lambda: work.attempts, "it begins")
        getattr(issue.reload(), trigger)(by=MAINTAINER, reason=WHY)
    assert issue.reload().status == ("done" if trigger == "release" else "cancelled")
    assert Agent.select().count() == 1
    assert "agent fail" not in moves(store)
    assert broken(store) == []


@pytest.mark.parametrize("trigger", ["fail", "stop"])
def test_an_agent_that_was_declared_dead_comes_back_as_another(world: World, store: Store, trigger: str) -> None:
    issue, work = world.issues("queued"), Once(goes_on)
    with looping(store, work):
        wait_for(lambda: work.attempts, "it begins")
        agent = Agent.get()
        agent.fail("no heartbeat", by=RUNNER) if trigger == "fail" else agent.stop(by=RUNNER, reason=WHY)
    assert issue.reload().status == "done"
    assert issue.assigned_agent != agent
    assert Agent.select().count() == 2
    assert broken(store) == []


def test_work_that_fails_three_times_is_blocked(world: World, store: Store) -> None:
    issue = world.issues("queued")
    attempts = []

    def work(issue: Issue) -> Iterator[object]:
        attempts.append(issue)
        yield
        raise OSError("the disk is full")

    with looping(store, work):
        pass
    assert attempts == [issue] * 3
    assert issue.reload().status == "blocked"
    assert store.history(issue)[-1].reason == "OSError('the disk is full')"
    assert store.counts()["agents"]["completed"] == Agent.select().count() == 1


def test_the_workers_of_the_gated_epic_take_up_what_came_back(
    world: World, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That example has a loop of its own, because it works on one epic only."""
    monkeypatch.syspath_prepend(ROOT / "examples")
    import gated_epic

    issue, agent = in_an_epic(world), world.agent()
    assert gated_epic.claim(agent, issue.epic_id) == issue
    issue.reload().start(by=agent)
    issue.block(by=MAINTAINER, reason=WHY)
    issue.unblock(by=MAINTAINER)
    again = gated_epic.claim(agent.reload(), issue.epic_id)
    assert again == issue
    gated_epic.do(again, agent, tmp_path)
    assert issue.reload().status == "done"


# ---- a database that is busy, a process that is killed -----------------------------------------------


@contextmanager
def locked(target: str) -> Iterator[None]:
    """A session of somebody else's that lets nobody write to the agents."""
    if "://" in target:
        with psycopg.connect(target) as session:
            session.execute("LOCK TABLE agents IN EXCLUSIVE MODE")
            yield
        return
    with closing(sqlite3.connect(target, isolation_level=None, check_same_thread=False)) as file:
        file.execute("BEGIN IMMEDIATE")
        yield
        file.execute("ROLLBACK")


@pytest.mark.parametrize("timeout", [0.2])
@pytest.mark.parametrize("call", ["fail", "heartbeat"])
def test_a_database_that_is_busy_ends_no_loop(
    world: World, store: Store, target: str, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """Whether it is a heartbeat that cannot be written or a failure: it waits, and goes on; the lock is no failure."""
    issue = world.issues("queued")
    begun, shut, refused, made = threading.Event(), threading.Event(), threading.Event(), getattr(Agent, call)

    def told(*arguments: Any, **named: Any) -> Any:
        try:
            return made(*arguments, **named)
        except StoreBusy:
            refused.set()
            raise

    def meets_a_lock(issue: Issue) -> Iterator[object]:
        begun.set()
        assert shut.wait(HANG)
        if call == "fail":
            raise OSError("the network is down")
        yield

    monkeypatch.setattr(Agent, call, told)
    work = Once(meets_a_lock)
    with looping(store, work):
        assert begun.wait(HANG)
        with locked(target):
            shut.set()
            assert refused.wait(HANG)
    assert work.attempts == [issue] * 2
    assert moves(store) == [*STARTED, *ENDED]
    assert broken(store) == []


def hang_at_work(target: str, line: Connection) -> None:
    """Run the loop in a process of its own; its work sends the id of its issue, and never ends."""

    def work(issue: Issue) -> Iterator[object]:
        line.send(issue.id)
        yield from goes_on(issue)

    with open_store(target, durability="normal") as store:
        worker_loop()(store, "coder", work, PAUSE)


def test_the_work_of_a_process_that_was_killed_is_done_by_another(world: World, store: Store, target: str) -> None:
    issue = world.issues("queued")
    with crew(1, hang_at_work, target) as [worker]:
        assert worker.hear() == issue.id
        worker.kill()
        wait_for(lambda: store.rescue(timeout=PAUSE), "it is given up for dead")
        with looping(store, lambda issue: iter([1])):
            pass
    assert issue.reload().status == "done"
    assert sorted(agent.status for agent in Agent.select()) == ["completed", "errored"]
    assert [move.trigger for move in store.rescue(idle_timeout=1e-6)] == ["stop"]
    assert broken(store) == []
    assert store.verify() == []
