"""Threads that share a store: each has its own connection and its own transactions, and gives them back."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest

from dispatch_state import Agent, Issue, Store, StoreAlreadyOpen, StoreNotOpen, open_store
from tests import postgres
from tests.invariants import broken
from tests.paths import ROOT
from tests.threads import HANG, in_thread, in_threads, workers
from tests.world import MAINTAINER, WHY, World


@pytest.fixture(params=["memory", "file", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where an empty database of each kind is that threads may share."""
    if request.param == "postgresql":
        with postgres.fresh_schema() as url:
            yield url
    else:
        yield ":memory:" if request.param == "memory" else str(tmp_path / "dispatch.db")


@pytest.fixture
def shared(place: str) -> Iterator[Store]:
    with open_store(place, durability="normal") as opened:
        yield opened


# ---- at once -----------------------------------------------------------------------------------------


def test_of_many_threads_that_open_one_wins(target: str) -> None:
    """The others get `StoreAlreadyOpen`, and can use the store that is open."""

    def opens(_: int) -> Store | None:
        try:
            return open_store(target)
        except StoreAlreadyOpen:
            Agent.create(agent_type="coder")
            return None

    (store,) = filter(None, in_threads(8, opens))
    with store:
        assert Agent.select().count() == 7


def a_life(world: World) -> Issue:
    """An issue that is queued, claimed by nobody else, blocked, taken up again and done."""
    agent, issue = world.agent(), world.new_issue()
    issue.queue(by=MAINTAINER)
    issue.assign(agent, by=agent)
    issue.start(by=agent)
    issue.block(by=agent, reason=WHY)
    issue.unblock(by=agent)
    issue.complete(by=agent)
    agent.stop(by=agent, reason=WHY)
    return issue


LIFE = ["create", "queue", "assign", "start", "block", "unblock", "complete"]


def test_sixteen_threads_fire_triggers_on_rows_of_their_own(shared: Store) -> None:
    """No thread is refused, each row's log has only its own thread's moves, and no `seq` occurs twice."""
    issues = in_threads(16, lambda _: [a_life(World(shared)) for _ in range(3)])
    for issue in [one for found in issues for one in found]:
        assert (issue.status, issue.version) == ("done", len(LIFE))
        assert [move.trigger for move in shared.history(issue)] == LIFE
    seqs = [move.seq for move in shared.changes(limit=10_000)]
    assert seqs == sorted(set(seqs))
    counted = shared.counts()
    assert (counted["issues"]["done"], counted["agents"]["completed"]) == (48, 48)
    assert broken(shared) == []


def test_sixteen_threads_claim_sixteen_issues(shared: Store) -> None:
    """Each gets one, and no two the same."""
    world = World(shared)
    wanted = {world.issues("queued").id for _ in range(16)}
    claimed = in_threads(16, lambda _: shared.claim(world.agent()))
    assert {issue.id for issue in claimed} == wanted
    assert broken(shared) == []


def test_a_transaction_is_its_threads_own(target: str) -> None:
    """A thread does not see what another has not committed, and its writes are not part of that transaction."""
    with open_store(target) as store, workers(1) as (other,):
        with pytest.raises(KeyError), store.atomic():
            Agent.create(agent_type="coder")
            assert Agent.select().count() == 1
            assert other.does(Agent.select().count) == 0
            raise KeyError
        kept = other.does(lambda: Agent.create(agent_type="coder"))
        assert list(Agent.select()) == [kept]


def test_a_block_puts_back_only_what_its_own_thread_moved(target: str) -> None:
    """Objects that another thread brought up to date meanwhile stay as they are."""
    with open_store(target) as store, workers(1) as (other,):
        mine, others = Agent.create(agent_type="coder"), Agent.create(agent_type="coder")
        Agent.get_by_id(others.id).stop(by=MAINTAINER, reason=WHY)
        with pytest.raises(KeyError), store.atomic():
            mine.stop(by=MAINTAINER, reason=WHY)
            other.does(others.reload)
            raise KeyError
        assert (mine.status, mine.version) == ("idle", 1)
        assert (others.status, others.version) == ("completed", 2)


def test_memory_is_shared_by_threads_and_gone_when_it_is_closed() -> None:
    with open_store(":memory:"):
        assert [in_thread(lambda: Agent.create(agent_type="coder").status) for _ in range(3)] == ["idle"] * 3
        assert in_threads(3, lambda _: Agent.select().count()) == [3, 3, 3]
    with open_store(":memory:"):
        assert Agent.select().count() == 0


# ---- giving back -------------------------------------------------------------------------------------


def is_closed(connection: Any) -> bool:
    if not isinstance(connection, sqlite3.Connection):
        return bool(connection.closed)
    try:
        connection.execute("SELECT 1")
    except sqlite3.ProgrammingError:
        return True
    return False


def test_a_thread_that_ends_gives_back_its_connection(shared: Store) -> None:
    """The next that comes closes it, or takes it over: thirty threads after each other leave one or two open."""
    with workers(1) as (first,):
        connection = first.does(shared.database.connection)
        assert not is_closed(connection)
        found = [in_thread(shared.database.connection) for _ in range(30)]
        assert not is_closed(connection), "its thread is alive"
    assert len({id(one) for one in found if not is_closed(one)}) <= 2
    in_thread(shared.counts)
    assert in_thread(shared.database.connection) is connection or is_closed(connection)


def test_threads_that_ended_leave_no_more_than_the_pool() -> None:
    """The server has at most `pool_size` of our connections and the one in use; after closing, none.

    The server notices a closed connection a little later, so the test asks until the number is right.
    """
    with postgres.fresh_schema() as url, psycopg.connect(url, autocommit=True) as server:
        with open_store(f"{url}&application_name=pooled", pool_size=3) as store:
            together = threading.Barrier(20)

            def work(_: int) -> None:
                with store.atomic():
                    assert Agent.select().count() == 0
                    together.wait(HANG)

            in_threads(20, work)
            Agent.create(agent_type="coder")
            assert settles(lambda: 1 <= sessions(server) <= 4)
        assert settles(lambda: sessions(server) == 0)


def sessions(server: psycopg.Connection[Any]) -> int:
    found = server.execute("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pooled'").fetchone()
    assert found is not None
    return int(found[0])


def settles(agrees: Callable[[], bool]) -> bool:
    """Whether the condition becomes true; the deadline only ends a hang."""
    deadline = time.monotonic() + HANG
    while not agrees():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


# ---- closing -----------------------------------------------------------------------------------------


def test_closing_closes_the_connections_of_idle_threads_and_refuses_them(place: str) -> None:
    """Eight threads have written before; after closing, every use in them is refused."""
    with workers(8) as idle:
        with open_store(place) as store:
            agents = [worker.does(lambda: Agent.create(agent_type="coder")) for worker in idle]
            connections = [worker.does(store.database.connection) for worker in idle]
            assert len({id(connection) for connection in connections}) == 8
        assert [is_closed(connection) for connection in connections] == [True] * 8
        for use in (
            lambda agent: Agent.create(agent_type="coder"),
            lambda agent: agent.stop(by=MAINTAINER, reason=WHY),
            lambda agent: Agent.select().count(),
            lambda agent: store.counts(),
            lambda agent: store.atomic().__enter__(),
        ):
            for worker, agent in zip(idle, agents, strict=True):
                assert type(worker.does(partial(use, agent))) is StoreNotOpen


def test_a_thread_goes_on_with_the_store_that_is_opened_next(target: str, tmp_path: Path) -> None:
    """Its connection to the store that was closed does not come back."""
    with workers(1) as (worker,):
        with open_store(":memory:"):
            worker.does(lambda: Agent.create(agent_type="coder"))
        assert type(worker.does(lambda: Agent.create(agent_type="coder"))) is StoreNotOpen
        with open_store(target) as store:
            found = worker.does(lambda: Agent.create(agent_type="coder"))
            assert list(Agent.select()) == [found]
            assert worker.does(store.changes) == store.changes()


def test_a_block_of_one_thread_that_another_thread_ends_by_closing_commits_nothing(target: str) -> None:
    with open_store(target) as store, workers(1) as (closer,):
        agent = Agent.create(agent_type="coder")
        with pytest.raises(StoreNotOpen), store.atomic():
            agent.stop(by=MAINTAINER, reason=WHY)
            closer.does(store.close)
            Agent.create(agent_type="coder")
        assert (agent.status, agent.version) == ("idle", 1)
    with open_store(target):
        assert [agent.status for agent in Agent.select()] == ["idle"]


CLOSES_UNDER_WAY = """
import sys, threading
from dispatch_state import Agent, open_store

def writes():
    Agent.create(agent_type="coder")

def reads():
    store.counts()

def both():
    with store.atomic():
        writes()
        reads()

def goes_on(use):
    try:
        use()
        under_way.wait(60)
        while True:
            use()
    except Exception as error:
        ended.append(type(error).__name__)

for _ in range(10):
    ended, under_way = [], threading.Barrier(7)
    store = open_store(sys.argv[1], durability="normal")
    threads = [threading.Thread(target=goes_on, args=(use,)) for use in (writes, reads, both) * 2]
    for thread in threads:
        thread.start()
    under_way.wait(60)
    store.close()
    for thread in threads:
        thread.join(60)
    print(ended)
"""


def test_closing_stops_threads_that_are_under_way(place: str) -> None:
    """At any statement: each thread gets `StoreNotOpen`, and the process goes on."""
    command = [sys.executable, "-c", CLOSES_UNDER_WAY, place]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines() == [str(["StoreNotOpen"] * 6)] * 10


def test_closing_does_not_wait_for_who_waits_for_a_lock() -> None:
    """One connection holds SQLite's lock, another waits for it in a statement: the first is closed first."""
    connected, holds, told = threading.Event(), threading.Event(), []

    def waits() -> None:
        store.counts()
        connected.set()
        holds.wait(HANG)
        try:
            Agent.create(agent_type="coder")
        except StoreNotOpen as error:
            told.append(type(error))

    store = open_store(":memory:", timeout=10 * HANG)
    thread = threading.Thread(target=waits)
    thread.start()
    connected.wait(HANG)
    began = time.monotonic()
    with pytest.raises(StoreNotOpen), store.atomic():
        Agent.create(agent_type="coder")
        holds.set()
        time.sleep(0.1)  # long enough to be waiting; when it is not, it gets the same error
        store.close()
        Agent.create(agent_type="coder")
    thread.join(HANG)
    assert told == [StoreNotOpen]
    assert time.monotonic() - began < HANG


def test_a_move_whose_store_is_closed_and_opened_again_leaves_nothing(target: str) -> None:
    """Its remaining statements find no transaction in the new store, where each would commit by itself."""
    armed, stores = threading.Event(), []

    def reopen() -> None:
        stores.pop().close()
        stores.append(open_store(target, clock=clock))

    def clock() -> datetime:
        if armed.is_set():
            armed.clear()
            other = threading.Thread(target=reopen)
            other.start()
            other.join(HANG)
        return datetime.now(UTC)

    stores.append(open_store(target, clock=clock))
    issue = World(stores[0]).new_issue()
    armed.set()
    with pytest.raises(StoreNotOpen):
        issue.queue(by=MAINTAINER)
    assert (issue.status, Issue.get_by_id(issue.id).status) == ("unassigned", "unassigned")
    assert [move.trigger for move in stores[0].history(issue)] == ["create"]
    assert stores[0].verify() == []
    issue.queue(by=MAINTAINER)
    stores[0].close()
