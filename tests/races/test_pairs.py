"""Every pair of composite acts on the same rows, from two sessions at once: no deadlock, and the store stays sound."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from peewee import Model

from dispatch_state import DispatchError, Issue, PullRequest, Store, StoreError
from tests.invariants import broken
from tests.long_forms import LONG
from tests.world import MAINTAINER, RUNNER, WHY, World

Act = Callable[[SimpleNamespace], object]


def running(world: World) -> SimpleNamespace:
    """An epic whose running stage has work in every state, a stage that follows, and idle agents."""
    epic = world.running_epic({})
    first, second = epic.stages.order_by(type(epic.current_stage).stage_order)
    second.add_issue(**world.issue_columns())
    busy, reviewed, queued, done = (first.add_issue(**world.issue_columns()).reload() for _ in range(4))
    agent, author = world.start(busy), world.start(reviewed)
    world.finish(done)
    request = PullRequest.create(issue=reviewed, **world.request_columns())
    proposal = world.new_proposal(agent)
    return SimpleNamespace(
        world=world, epic=epic, stage=first, second=second, gate=first.gates.get(), busy=busy, queued=queued, done=done,
        reviewed=reviewed, agent=agent, author=author, idle=world.agent(), request=request, proposal=proposal,
        free=world.new_issue(),
    )  # fmt: skip


def waiting(world: World) -> SimpleNamespace:
    """An epic that waits at two gates, with work in the stage that follows."""
    stage = world.waiting_stage({}, {})
    second = stage.epic.stages.order_by(type(stage).stage_order)[1]
    issues = [second.add_issue(**world.issue_columns()) for _ in range(2)]
    gates = list(stage.gates)
    return SimpleNamespace(world=world, epic=stage.epic, stage=stage, second=second, gates=gates, issues=issues)


RUNNING: dict[str, Act] = {
    "epic cancel": lambda f: f.epic.cancel(by=MAINTAINER, reason=WHY),
    "stage skip": lambda f: f.stage.skip(cancel_issues=True, by=MAINTAINER, reason=WHY),
    "second stage skip": lambda f: f.second.skip(cancel_issues=True, by=MAINTAINER, reason=WHY),
    "gate skip": lambda f: f.gate.skip(by=MAINTAINER, reason=WHY),
    "complete": lambda f: f.busy.complete(by=f.agent),
    "cancel queued": lambda f: f.queued.cancel(by=MAINTAINER, reason=WHY),
    "cancel busy": lambda f: f.busy.cancel(by=MAINTAINER, reason=WHY),
    "assign": lambda f: f.queued.assign(f.idle, by=f.idle),
    "claim": lambda f: f.world.store.claim(f.idle),
    "claim and start": lambda f: f.world.store.claim(f.idle, start=True),
    "claim again": lambda f: f.world.store.claim(f.agent, start=True),
    "submit": lambda f: f.busy.submit(by=f.agent),
    "release": lambda f: f.busy.release(by=MAINTAINER, reason=WHY),
    "reassign": lambda f: f.busy.reassign(f.idle, by=MAINTAINER, reason=WHY),
    "review": lambda f: f.reviewed.review(f.idle, by=MAINTAINER),
    "request changes": lambda f: f.reviewed.request_changes(by=MAINTAINER, reason=WHY),
    "agent fail": lambda f: f.agent.fail("it fell over", by=RUNNER),
    "agent stop": lambda f: f.agent.stop(by=RUNNER, reason=WHY),
    "await vote": lambda f: f.agent.await_vote(by=f.agent),
    "decide": lambda f: f.proposal.force_reject(by=MAINTAINER, reason=WHY),
    "merge": lambda f: f.request.merge(by=MAINTAINER),
    "close": lambda f: f.request.close(by=MAINTAINER),
    "new request": lambda f: PullRequest.create(issue=f.busy, **f.world.request_columns()),
    "new issue": lambda f: f.stage.add_issue(**f.world.issue_columns()),
    "new stage": lambda f: f.epic.add_stage("late"),
    "new gate": lambda f: f.stage.add_gate("approval", "late"),
    "place": lambda f: f.free.place(f.stage, by=MAINTAINER),
    "remove": lambda f: f.done.remove(by=MAINTAINER, reason=WHY),
}
WAITING: dict[str, Act] = {
    "approve": lambda f: f.gates[0].approve(by=MAINTAINER),
    "approve the other": lambda f: f.gates[1].approve(by=MAINTAINER),
    "reject": lambda f: f.gates[0].reject(by=MAINTAINER, reason=WHY),
    "reject the other": lambda f: f.gates[1].reject(by=MAINTAINER, reason=WHY),
    "skip": lambda f: f.gates[0].skip(by=MAINTAINER, reason=WHY),
    "stage skip": lambda f: f.stage.skip(by=MAINTAINER, reason=WHY),
    "epic cancel": lambda f: f.epic.cancel(by=MAINTAINER, reason=WHY),
    "cancel what follows": lambda f: f.issues[0].cancel(by=MAINTAINER, reason=WHY),
    "new stage": lambda f: f.epic.add_stage("late"),
    "new issue": lambda f: f.second.add_issue(**f.world.issue_columns()),
}


def race(store: Store, *calls: Callable[[], object]) -> list[Exception]:
    """Make the calls at once, each in a session of its own; return what was raised."""
    barrier = threading.Barrier(len(calls))
    raised: list[Exception] = []

    def run(call: Callable[[], object]) -> None:
        barrier.wait()
        try:
            call()
        except Exception as error:
            raised.append(error)
        finally:
            store.database.close()

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


def copies(rows: SimpleNamespace) -> SimpleNamespace:
    """The same rows, read afresh: a row object belongs to one thread."""
    return SimpleNamespace(**{name: _copied(value) for name, value in vars(rows).items()})


def _copied(value: Any) -> Any:
    if isinstance(value, list):
        return [_copied(item) for item in value]
    return type(value).get_by_id(value.id) if isinstance(value, Model) else value


def pairs(acts: dict[str, Act]) -> list[tuple[str, str]]:
    every = list(itertools.combinations_with_replacement(acts, 2))
    random.Random(7).shuffle(every)
    return every


@pytest.mark.parametrize("state", ["running", "waiting"])
def test_every_pair(store: Store, backend: str, state: str) -> None:
    """More than 200 rounds on PostgreSQL, which locks rows; a sample on SQLite, which has one writer.

    The long form makes every pair ten times on both databases.
    """
    acts, make = (RUNNING, running) if state == "running" else (WAITING, waiting)
    rounds = pairs(acts) * (10 if LONG else 1)
    world, before = World(store), deadlocks(store)
    sample = rounds if LONG else rounds[: 200 if backend == "postgresql" else 40]
    for number, (one, other) in enumerate(sample):
        rows = make(world)
        left, right = copies(rows), copies(rows)
        raised = race(store, lambda left=left, one=one: acts[one](left), lambda r=right, o=other: acts[o](r))
        for error in raised:
            assert isinstance(error, DispatchError), (one, other, error)
            assert not isinstance(error, StoreError), (one, other, error)
        if number % 20 == 0:
            assert broken(store) == [], sample[number - 19 : number + 1]
    assert broken(store) == []
    assert deadlocks(store) == before


def deadlocks(store: Store) -> int:
    """How many deadlocks PostgreSQL has counted, including those that a retry resolved."""
    if store.database.kind == "sqlite":
        return 0
    with store.database.connection_context():
        store.database.execute_sql("SELECT pg_stat_force_next_flush(), pg_stat_clear_snapshot()")
    time.sleep(1.1)
    query = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    return int(store.database.execute_sql(query).fetchone()[0])


def test_one_winner(store: Store, backend: str) -> None:
    """Eight sessions assign one issue; one of them succeeds."""
    world = World(store)
    for _ in range(5):
        issue = world.issues("queued")
        agents = [world.agent() for _ in range(8)]
        raised = race(store, *(lambda a=a, i=issue.id: Issue.get_by_id(i).assign(a, by=a) for a in agents))
        assert len(raised) == 7
        assert issue.reload().assigned_agent in agents
        assert broken(store) == []
