"""A worker that is stopped, given up for dead, and wakes up: it can change nothing any more."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from dispatch_state import Agent, GuardRefused, Issue, Proposal, PullRequest, StaleRow, Store, open_store
from tests.conftest import BACKENDS
from tests.races.crew import SERVER, hired, refused, wait_for
from tests.races.test_claiming import queue_issues
from tests.test_enforcement import everything
from tests.world import MAINTAINER, TEXTS, World

REQUEST = World.request_columns(None)  # type: ignore[arg-type]
PROPOSAL = {**TEXTS, "rationale": "r", "proposal_type": "tech_stack_choice", "options": ["a", "b"]}


def attempts(store: Store, agent: Agent, issue: Issue, proposal: Proposal, request: PullRequest) -> dict[str, Any]:
    """Every write that a worker could try with the objects it has."""
    return {
        "complete": lambda: issue.complete(by=agent),
        "submit": lambda: issue.submit(by=agent),
        "block": lambda: issue.block(by=agent, reason="r"),
        "release": lambda: issue.release(by=agent, reason="r"),
        "complete, read again": lambda: Issue.get_by_id(issue.id).complete(by=agent),
        "submit, read again": lambda: Issue.get_by_id(issue.id).submit(by=agent),
        "release, read again": lambda: Issue.get_by_id(issue.id).release(by=agent, reason="r"),
        "queue another": lambda: Issue.create(**World.issue_columns(), repo_path="/", by=agent),
        "finish": lambda: agent.finish(by=agent),
        "pause": lambda: agent.pause(by=agent, reason="r"),
        "request_input": lambda: agent.request_input(by=agent),
        "await_vote": lambda: agent.await_vote(by=agent),
        "fail": lambda: agent.fail("r", by=agent),
        "heartbeat": lambda: agent.heartbeat(),
        "use_tokens": lambda: agent.use_tokens(5),
        "claim": lambda: store.claim(agent),
        "merge": lambda: request.merge(by=agent),
        "close": lambda: request.close(by=agent),
        "mark_ready": lambda: request.mark_ready(by=agent),
        "another request": lambda: PullRequest.create(issue=issue, by=agent, **REQUEST),
        "propose": lambda: Proposal.create(proposer=agent, by=agent, **PROPOSAL),
        "vote": lambda: proposal.vote(agent, "approve", "r"),
    }


def sleep_and_wake(target: str, pipe: Any) -> None:
    """Take the work, say so, and, once continued, try everything; tell what became of each attempt."""
    with open_store(target, durability="normal") as store:
        agent = Agent.create(agent_type="coder")
        issue = store.claim(agent)
        assert issue is not None
        issue.start(by=agent)
        request = PullRequest.create(issue=issue, status="draft", by=agent, **REQUEST)
        pipe.send((agent.id, issue.id))
        pipe.recv()
        outcomes = {}
        for name, act in attempts(store, agent, issue, Proposal.get(), request).items():
            outcomes[name] = refused(act)
        pipe.send(outcomes)


@pytest.mark.parametrize("backend", BACKENDS, indirect=True)
def test_a_sleeper_that_wakes_up_changes_nothing(store: Store, target: str) -> None:
    world = World(store)
    world.new_proposal(threshold="unanimous", required_voters=["coder", "pm"])
    queue_issues(store, 1)
    ours, theirs = SERVER.Pipe()
    sleeper = hired(sleep_and_wake, target, theirs)
    try:
        agent, issue = (model.get_by_id(key) for model, key in zip((Agent, Issue), ours.recv(), strict=True))
        os.kill(sleeper.pid or 0, signal.SIGSTOP)
        store._doorway._clock.now = store.now().replace(year=2100)  # type: ignore[attr-defined]
        assert store.rescue(timeout=120)[0].trigger == "fail"
        other = world.agent()
        assert store.claim(other) == issue
        issue.reload().start(by=other)
        before = everything(store)
        os.kill(sleeper.pid or 0, signal.SIGCONT)
        ours.send("wake up")
        outcomes = ours.recv()
        sleeper.join()
    finally:
        sleeper.kill()
    assert {name: told for name, told in outcomes.items() if told not in (StaleRow, GuardRefused)} == {}
    assert everything(store) == before
    assert agent.reload().status == "errored"
    PullRequest.get().close(by=MAINTAINER)
    issue.reload().complete(by=other)
    assert store.verify() == []


@pytest.mark.parametrize("backend", BACKENDS, indirect=True)
def test_a_sleeper_in_its_transaction_is_waited_for(store: Store, target: str) -> None:
    """Stopped where it holds the lock: others wait for it, and nobody has seen half of anything."""
    queue_issues(store, 1)
    ours, theirs = SERVER.Pipe()
    sleeper = hired(stop_inside, target, theirs)
    try:
        assert ours.recv() == "inside"
        os.kill(sleeper.pid or 0, signal.SIGSTOP)
        assert Issue.get().status == "queued"
        os.kill(sleeper.pid or 0, signal.SIGCONT)
        ours.send("go on")
        wait_for(lambda: Issue.get().status == "assigned", "the claim was made")
        sleeper.join()
    finally:
        sleeper.kill()
    assert store.verify() == []


def stop_inside(target: str, pipe: Any) -> None:
    with open_store(target, durability="normal") as store, store.atomic():
        assert store.claim(Agent.create(agent_type="coder")) is not None
        pipe.send("inside")
        pipe.recv()
