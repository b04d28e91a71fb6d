"""Many processes work on one store and some are killed: each issue is done once, and nothing is lost.

The short form is quick enough for CI; `DISPATCH_LONG=1` runs 8 processes on 2,000 issues.
"""

from __future__ import annotations

import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from dispatch_state import Agent, Issue, Store, System, TransitionLog, open_store
from tests.backends import on_sqlite
from tests.invariants import broken
from tests.long_forms import LONG
from tests.races import fairness, workers
from tests.races.workers import ATTEMPTS, DEADLY, DEADLY_TO_TOUCH, SPAWN, Worker, crew, offer, wait_for

PROCESSES, ISSUES, KILLS = (8, 2000, 200) if LONG else (4, 200, 10)
TIMEOUT = 2.0
"""The heartbeat timeout of the rescuers, in seconds."""
SET_ASIDE = ("blocked", "unassigned")
"""Where an issue ends when its attempts are used up: blocked if it was started, unassigned if only claimed."""


@pytest.fixture
def busy(target: str) -> Iterator[Store]:
    """A store with the workers' own clock."""
    with open_store(target, durability="normal") as store:
        yield store


def moves_of_issues() -> dict[UUID, list[TransitionLog]]:
    moves = defaultdict(list)
    for move in TransitionLog.select().where(TransitionLog.entity == "issues").order_by(TransitionLog.seq):
        moves[move.entity_id].append(move)
    return moves


# ---- claims ------------------------------------------------------------------------------------------


def test_each_issue_is_claimed_once(busy: Store, target: str) -> None:
    with busy.atomic():
        issues = [offer(str(number)).id for number in range(ISSUES)]
    with crew(PROCESSES, workers.claim_until_none, target, SPAWN.Barrier(PROCESSES)) as claimers:
        claims = dict(claimer.hear() for claimer in claimers)
    assert sorted(issue for claimed in claims.values() for issue in claimed) == issues
    for agent, claimed in claims.items():
        assert {issue.id for issue in Issue.select().where(Issue.assigned_agent == agent)} == set(claimed)
        assert Agent.get_by_id(agent).metrics["issues_completed"] == len(claimed)
    for moves in moves_of_issues().values():
        assert [move.trigger for move in moves] == ["create", "queue", "assign", "start", "complete"]
    assert broken(busy) == []
    assert busy.verify() == []


# ---- deaths ------------------------------------------------------------------------------------------


def test_killed_workers_lose_nothing(busy: Store, target: str, tmp_path: Path) -> None:
    """Workers and rescuers are killed at random moments, and some issues kill each worker that starts them."""
    record = tmp_path / "acknowledged"
    record.touch()
    with busy.atomic():
        deadly = [offer(title) for title in (DEADLY, DEADLY_TO_TOUCH)]
        for number in range(ISSUES):
            offer(str(number), issue_type="bug" if number % 3 else "docs")
    with (
        crew(PROCESSES, workers.live, target, str(record)) as staff,
        crew(2, workers.rescue_for_ever, target, TIMEOUT) as rescuers,
    ):
        kill_some(staff, rescuers, record)
        wait_for(lambda: nothing_is_left(staff, rescuers), "everything is done or set aside")
    for issue in Issue.select():
        was_done_once_or_set_aside(busy, issue)
    assert {issue.reload().status for issue in deadly} <= set(SET_ASIDE)
    assert set(acknowledged(record)) <= set(completions())
    assert len(acknowledged(record)) == len(set(acknowledged(record)))
    assert Agent.select().where(Agent.current_issue.is_null(False)).count() == 0
    assert broken(busy) == []
    assert busy.verify() == []


def kill_some(staff: list[Worker], rescuers: list[Worker], record: Path) -> None:
    """Kill at moments spread over the whole run, and replace each killed process."""
    chance = random.Random(5)
    for number in range(KILLS):
        due = ISSUES * number // (2 * KILLS)
        wait_for(lambda due=due: replaced(staff) or len(acknowledged(record)) > due, f"{due} issues are done")
        victims = rescuers if number % 5 == 4 else staff
        place = number % len(victims)  # the one that has lived longest
        assert victims[place].hear() == "up"
        time.sleep(chance.uniform(0, 0.05))
        victims[place].kill()
        victims[place] = victims[place].again()


def replaced(staff: list[Worker]) -> None:
    """Replace the workers that died at a deadly issue; none may end for another reason."""
    for place, worker in enumerate(staff):
        if not worker.process.is_alive():
            assert worker.process.exitcode == -9, "an error ended a worker"
            worker.kill()
            staff[place] = worker.again()


def nothing_is_left(*crews: list[Worker]) -> bool:
    for members in crews:
        replaced(members)
    return not Issue.select().where(Issue.status.not_in(["done", *SET_ASIDE])).exists()


def acknowledged(record: Path) -> list[tuple[str, str]]:
    """The issue and actor of each completion that its worker saw accepted."""
    return [(issue, actor) for issue, _, actor in (line.partition(" ") for line in record.read_text().splitlines())]


def completions() -> list[tuple[str, str]]:
    moves = TransitionLog.select().where(TransitionLog.entity == "issues", TransitionLog.trigger == "complete")
    return [(str(move.entity_id), move.actor) for move in moves]


def was_done_once_or_set_aside(store: Store, issue: Issue) -> None:
    moves = store.history(issue)
    count = Counter(move.trigger for move in moves)
    if issue.status != "done":
        assert issue.status in SET_ASIDE
        assert (count["assign"], count["complete"]) == (ATTEMPTS, 0)
        return
    assert count["complete"] == 1
    assert count["assign"] <= ATTEMPTS
    assigned = [move.actor for move in moves if move.trigger == "assign"]
    reviewed = [move.actor for move in moves if move.trigger == "review"]
    assert f"agent:{issue.assigned_agent_id}" == assigned[-1]
    assert moves[-1].actor == (reviewed or assigned)[-1]


def test_several_rescuers_mark_each_agent_as_errored_once(store: Store, target: str) -> None:
    """For the rescuers, whose clock is the machine's, the heartbeats were sent long ago."""
    with crew(4, workers.rescue_together, target, SPAWN.Barrier(4)) as rescuers:
        for _ in range(50 if LONG else 10):
            dead = [Agent.create(agent_type="coder") for _ in range(3)]
            issues = [offer("t", priority="critical") for _ in dead]
            assert [store.claim(agent) for agent in dead] == issues
            for rescuer in rescuers:
                rescuer.say("rescue")
            assert sum(rescuer.hear() for rescuer in rescuers) == len(dead)
            for agent, issue in zip(dead, issues, strict=True):
                assert (agent.reload().status, agent.counters()["errors_encountered"]) == ("errored", 1)
                assert issue.reload().status == "queued"
                issue.cancel(by=System("test"), reason="the next round has its own")
    assert broken(store) == []
    assert store.verify() == []


# ---- counters ----------------------------------------------------------------------------------------


def test_metrics_add_up(busy: Store, target: str) -> None:
    """Processes add tokens to one agent, complete its issues and make it fail, all at once."""
    handed_in, falls, tokens = (400, 100, 1000) if LONG else (40, 10, 100)
    author = Agent.create(agent_type="coder")
    for number in range(handed_in):
        issue = offer(str(number))
        issue.assign(author, by=author)
        issue.start(by=author)
        issue.submit(by=author)
    offer("the one to fail at")
    start = SPAWN.Barrier(7)
    with (
        crew(3, workers.spend, target, start, author.id, tokens) as spenders,
        crew(3, workers.approve, target, start) as approvers,
        crew(1, workers.fall_over, target, start, author.id, falls) as fallers,
    ):
        spent, approved, fell = (sum(w.hear() for w in crew) for crew in (spenders, approvers, fallers))
    assert (spent, approved, fell) == (3 * tokens, handed_in, falls)
    seconds = [(i.completed_at - i.assigned_at).total_seconds() for i in Issue.select().where(Issue.status == "done")]
    assert author.reload().metrics == {
        "issues_completed": handed_in,
        "errors_encountered": falls,
        "tokens_used": 3 * tokens,
        "avg_completion_time": pytest.approx(sum(seconds) / handed_in),
    }
    assert broken(busy) == []
    assert busy.verify() == []


# ---- fairness ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("total", "hold"), [(8000, 0), (800, 0.01)], ids=["short", "long"])
@on_sqlite
def test_each_writer_gets_its_share(busy: Store, target: str, total: int, hold: float) -> None:
    """SQLite has one writer at a time, yet no process starves and none gets `StoreBusy`.

    How even the shares are depends on what else the machine does: `benchmarks/` measures that.
    """
    made, _ = fairness.shares(target, fairness.PROCESSES, total, hold)
    assert sum(made) == total
    assert min(made) >= total / fairness.PROCESSES / 4, made
    assert busy.verify() == []
