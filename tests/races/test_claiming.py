"""Many processes claim from one store, some of them die: each issue is done once, by whoever claimed it.

The short form is what CI can wait for; `DISPATCH_LONG=1` runs 8 processes at 2,000 issues.
"""

from __future__ import annotations

import random
import time
from collections import Counter

from dispatch_state import Agent, Issue, Store, System, TransitionLog, open_store
from tests.races.crew import LONG, SERVER, answers, claim_until_none, crew, hired, live_and_die, rescue, wait_for

PROCESSES, ISSUES, KILLS = (8, 2000, 200) if LONG else (4, 200, 15)
HEARTBEAT = 1.0


def queue_issues(store: Store, count: int) -> None:
    with store.atomic():
        for number in range(count):
            issue = Issue.create(title=str(number), prompt="p", issue_type="bug", repo_path="/src")
            issue.queue(by=System("test"))


def completions() -> list[TransitionLog]:
    return list(TransitionLog.select().where(TransitionLog.trigger == "complete", TransitionLog.entity == "issues"))


def test_each_issue_is_claimed_once(store: Store, target: str) -> None:
    queue_issues(store, ISSUES)
    start, told = SERVER.Barrier(PROCESSES), SERVER.Queue()
    with crew(PROCESSES, claim_until_none, target, start, told) as members:
        claims = dict(answers(told, members))
    owners = {issue: agent for agent, issues in claims.items() for issue in issues}
    assert sum(map(len, claims.values())) == len(owners) == ISSUES
    assert {issue.id: issue.assigned_agent_id for issue in Issue.select()} == owners
    for agent in Agent.select():
        assert agent.metrics["issues_completed"] == len(claims[agent.id])
    assert store.verify() == []


def test_workers_that_are_killed_lose_nothing(target: str) -> None:
    """Every issue ends done once, or blocked with its attempts used up; nobody holds anything in the end."""
    with open_store(target, durability="normal") as store:
        queue_issues(store, ISSUES)
        chance = random.Random(5)
        with crew(PROCESSES, live_and_die, target, HEARTBEAT) as members:
            for _ in range(KILLS):
                time.sleep(chance.uniform(0.02, 0.2))
                victim = chance.randrange(PROCESSES)
                members[victim].kill()
                members[victim].join()
                assert members[victim].exitcode == -9, "a worker ended by itself"
                members[victim] = hired(live_and_die, target, HEARTBEAT)
            wait_for(
                lambda: not Issue.select().where(Issue.status.in_(["queued", "assigned", "in_progress"])).count(),
                "done",
            )
        time.sleep(HEARTBEAT * 1.5)
        rescue(store, HEARTBEAT)
        done, blocked = (Issue.select().where(Issue.status == status) for status in ("done", "blocked"))
        assert len(done) + len(blocked) == ISSUES
        moves = completions()
        assert Counter(move.entity_id for move in moves) == Counter(issue.id for issue in done)
        by = {move.entity_id: move.actor for move in moves}
        assert all(by[issue.id] == f"agent:{issue.assigned_agent_id}" for issue in done)
        for issue in blocked:
            assert sum(move.trigger == "assign" for move in store.history(issue)) == 3
        assert Agent.select().where(Agent.current_issue.is_null(False)).count() == 0
        assert store.verify() == []


def test_several_rescuers_fail_each_agent_once(store: Store, target: str) -> None:
    queue_issues(store, 3)
    for _ in range(3):
        agent = Agent.create(agent_type="coder")
        issue = store.claim(agent)
        assert issue is not None
    store._doorway._clock.forward(hours=1)  # type: ignore[attr-defined]
    with crew(4, live_and_die, target, 60) as _:
        wait_for(lambda: Issue.select().where(Issue.status == "done").count() == 3, "the work of the dead is done")
    failed = TransitionLog.select().where(TransitionLog.trigger == "fail")
    assert sorted(Counter(move.entity_id for move in failed).values()) == [1, 1, 1]
    assert {move.actor for move in failed} == {"system:rescue"}
    assert store.verify() == []
