"""Worker processes that are stopped, declared dead and resumed, and every call that they could try then."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any

from dispatch_state import Agent, DispatchError, Epic, Gate, Issue, Proposal, PullRequest, Stage, Store, open_store
from dispatch_state.models.base import Stateful

Attempt = tuple[str, str, tuple[str, ...]]
"""What was tried, its outcome, and the outcomes that are allowed."""
REFUSED = ("GuardRefused", "StaleRow")
ALLOWED = ("recover", "stop")
"""The triggers that an errored agent may use on itself; it may also log."""
ISSUE = {"title": "t", "prompt": "p", "issue_type": "bug"}
REQUEST = {"github_number": 7, "github_url": "https://example.org/pull/7", "branch": "topic"}
PROPOSAL = {
    "proposal_type": "tech_stack_choice", "title": "t", "description": "d", "rationale": "r", "options": ["a", "b"],
    "required_voters": ["coder"],
}  # fmt: skip


# ---- what sleepers do --------------------------------------------------------------------------------


def sleep_at_work(target: str, line: Connection) -> None:
    """Take work and wait. On "wake up", try everything; on "come back", do what an errored agent may do."""
    with open_store(target, durability="normal") as store:
        agent = Agent.create(agent_type="coder")
        issue = store.claim(agent)
        assert issue is not None
        issue.start(by=agent)
        request = PullRequest.create(issue=issue, status="draft", by=agent, **REQUEST)
        proposal = Proposal.create(proposer=agent, by=agent, **PROPOSAL)
        line.send((agent.id, issue.id))
        assert line.recv() == "wake up"
        line.send(tried(store, agent, issue, request, proposal, Gate.get(), Stage.get(), Epic.get()))
        assert line.recv() == "come back"
        agent.log("info", "it was only asleep")
        agent.recover(by=agent)
        line.send(store.claim(agent))


def work_on(target: str, line: Connection) -> None:
    """Work, mostly in transactions. After a refusal try everything, then begin again as another agent when asked to."""
    with open_store(target, durability="normal") as store:
        while True:
            agent = Agent.create(agent_type="coder")
            line.send(agent.id)
            issue = Issue.create(**ISSUE, repo_path="/src", by=agent)
            try:
                while True:
                    issue.queue(by=agent)
                    issue = store.claim(agent) or issue
                    issue.start(by=agent)
                    time.sleep(0.002)
                    agent.heartbeat()
                    issue.complete(by=agent)
                    issue = Issue.create(**ISSUE, repo_path="/src", by=agent)
            except DispatchError as error:
                line.send([("go on", type(error).__name__, REFUSED), *tried(store, agent, issue)])
            assert line.recv() == "begin again"


def complete_slowly(target: str, line: Connection) -> None:
    """Wait within the transaction that completes an issue."""
    with open_store(target, durability="normal") as store:
        agent = Agent.create(agent_type="coder")
        issue = store.claim(agent)
        assert issue is not None
        issue.start(by=agent)
        with store.atomic():
            issue.complete(by=agent)
            line.send(issue.id)
            assert line.recv() == "commit"
        line.send("committed")


# ---- what they try -----------------------------------------------------------------------------------


def tried(store: Store, agent: Agent, *rows: Stateful) -> list[Attempt]:
    """Try each write on the worker's own copies, and again on the rows as they are now."""
    attempts = [attempt for row in (*rows, agent) for attempt in writes(store, agent, row)]
    for row in (*rows, agent):
        attempts += writes(store, agent, row.reload())
    return attempts


def writes(store: Store, agent: Agent, row: Stateful) -> Iterator[Attempt]:
    """Every trigger of a row except those that an errored agent may use, and every method that writes."""
    for name in row.machine.triggers:
        due = answer(row, name)
        if not (row == agent and name in ALLOWED and due == ("GuardRefused",)):
            yield f"{row!r} {name}", outcome(getattr(row, name), **arguments(row, name, agent)), due
    for name, method in METHODS[type(row)].items():
        yield f"{row!r} {name}", outcome(method, store, agent, row), REFUSED


def answer(row: Stateful, trigger: str) -> tuple[str]:
    """How a dead agent's trigger is refused: stale copy, illegal for everybody, or not allowed to this agent."""
    fresh = type(row).get_by_id(row.id)
    if (fresh.version, fresh.status) != (row.version, row.status):
        return ("StaleRow",)
    return ("GuardRefused",) if trigger in fresh.legal_triggers() else ("IllegalTransition",)


def outcome(act: Callable[..., object], *given: Any, **named: Any) -> str:
    try:
        act(*given, **named)
    except DispatchError as error:
        return type(error).__name__
    return "accepted"


def arguments(row: Stateful, trigger: str, agent: Agent) -> dict[str, Any]:
    """Arguments with which a living agent's trigger would be accepted."""
    given: dict[str, Any] = {"by": agent}
    if row.machine.triggers[trigger].needs_reason:
        given["reason"] = "r"
    return given | {
        "assign": {"agent": agent},
        "dispatch": {"issue": Issue.get()},
        "fail": {"error": "e"},
        "fail_execution": {"error": "e"},
        "finish_execution": {"result": {"success": True}},
    }.get(trigger, {})


METHODS: dict[type[Stateful], dict[str, Callable[[Store, Agent, Any], object]]] = {
    Agent: {
        "heartbeat": lambda store, by, row: row.heartbeat(),
        "use_tokens": lambda store, by, row: row.use_tokens(1),
        "claim": lambda store, by, row: store.claim(row),
        "new issue": lambda store, by, row: Issue.create(**ISSUE, repo_path="/src", by=row),
        "new proposal": lambda store, by, row: Proposal.create(proposer=row, by=row, **PROPOSAL),
    },
    Issue: {
        "reassign": lambda store, by, row: row.reassign(by, by=by, reason="r"),
        "new request": lambda store, by, row: PullRequest.create(issue=row, by=by, **REQUEST),
    },
    PullRequest: {
        "record_review": lambda store, by, row: row.record_review("approved", by=by),
        "record_checks": lambda store, by, row: row.record_checks(True, by=by),
    },
    Proposal: {"vote": lambda store, by, row: row.vote(by, "approve", "r")},
    Gate: {"comment": lambda store, by, row: row.comment("c", by=by)},
    Stage: {
        "add_gate": lambda store, by, row: row.add_gate("approval", "d", by=by),
        "add_issue": lambda store, by, row: row.add_issue(**ISSUE, by=by),
    },
    Epic: {
        "add_stage": lambda store, by, row: row.add_stage("n", by=by),
        "add_issue": lambda store, by, row: row.add_issue(**ISSUE, by=by),
    },
}  # fmt: skip
