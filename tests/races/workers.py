"""Worker processes for the races: each opens the store itself, and can be killed or stopped at any moment."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from typing import Any
from uuid import UUID

from dispatch_state import Agent, GuardRefused, Issue, StaleRow, Store, System, open_store

SPAWN = multiprocessing.get_context("spawn")
HANGS = 900
"""Seconds after which a test counts as hanging; no other result depends on time."""
ATTEMPTS = 3
DEADLY, DEADLY_TO_TOUCH = "kills who starts it", "kills who claims it"
"""The titles of issues on which a worker dies."""


class Worker:
    """A process that runs `work(target, line, *arguments)`; the line connects it to the test and ends with it."""

    def __init__(self, work: Any, target: str, *arguments: Any) -> None:
        self._job = work, target, *arguments
        self.line, theirs = SPAWN.Pipe()
        self.process = SPAWN.Process(target=work, args=(target, theirs, *arguments), daemon=True)
        self.process.start()
        theirs.close()

    def hear(self) -> Any:
        """The next message; `EOFError` when the process has ended, `AssertionError` when it hangs."""
        assert self.line.poll(HANGS), "it says nothing"
        return self.line.recv()

    def say(self, word: str) -> None:
        self.line.send(word)

    def again(self) -> Worker:
        """Start another process with the same work."""
        return Worker(*self._job)

    def stop(self) -> None:
        """Stop the process where it is; it has stopped when this returns."""
        os.kill(self.process.pid or 0, signal.SIGSTOP)
        os.waitpid(self.process.pid or 0, os.WUNTRACED)

    def go_on(self) -> None:
        os.kill(self.process.pid or 0, signal.SIGCONT)

    def kill(self) -> None:
        """Kill the process as `kill -9` does; it has ended when this returns."""
        self.process.kill()
        self.process.join()
        self.line.close()


@contextmanager
def crew(count: int, work: Any, target: str, *arguments: Any) -> Iterator[list[Worker]]:
    """Start so many processes with the same work; kill those that are in the list at the end."""
    workers = [Worker(work, target, *arguments) for _ in range(count)]
    try:
        yield workers
    finally:
        for worker in workers:
            worker.kill()


def wait_for(condition: Callable[[], object], what: str) -> None:
    """Wait until the condition holds."""
    deadline = time.monotonic() + HANGS
    while not condition():
        assert time.monotonic() < deadline, f"still waiting: {what}"
        time.sleep(0.01)


def offer(title: str, **columns: Any) -> Issue:
    """A queued issue."""
    issue = Issue.create(**{"title": title, "prompt": "p", "issue_type": "bug", "repo_path": "/src", **columns})
    issue.queue(by=System("test"))
    return issue


# ---- what workers do ---------------------------------------------------------------------------------


def claim_until_none(target: str, line: Connection, start: Barrier) -> None:
    """Claim and complete until nothing is left; send the agent's id and the issues it got."""
    with open_store(target, durability="normal") as store:
        agent = Agent.create(agent_type="coder")
        start.wait()
        claimed = []
        while issue := store.claim(agent):
            claimed.append(issue.id)
            issue.start(by=agent)
            issue.complete(by=agent)
        line.send((agent.id, claimed))


def live(target: str, line: Connection, record: str) -> None:
    """Work like a runner's process until killed; write each completion to a file once it is acknowledged."""
    file = os.open(record, os.O_WRONLY | os.O_APPEND)
    with open_store(target, durability="normal") as store:
        agent = Agent.create(agent_type="coder")
        line.send("up")
        while True:
            try:
                done = review_or_work(store, agent)
            except (StaleRow, GuardRefused):  # another reviewer was faster, or this one was declared dead
                if agent.reload().status == "errored":
                    agent.recover(by=agent)
                continue
            if done:
                os.write(file, f"{done.id} {agent.actor}\n".encode())
            else:
                time.sleep(0.01)


def review_or_work(store: Store, agent: Agent) -> Issue | None:
    """Review a submitted issue, or do the next one; return the issue if it was completed."""
    issue = Issue.select().where(Issue.status == "awaiting_review", Issue.assigned_agent != agent).first()
    if issue is not None:
        issue.review(by=agent)
    elif (issue := store.claim(agent)) is not None:
        die_if(issue.title == DEADLY_TO_TOUCH)
        issue.start(by=agent)
        die_if(issue.title == DEADLY)
        agent.heartbeat()
        if issue.issue_type == "docs":
            issue.submit(by=agent)
            return None
    else:
        return None
    issue.complete(by=agent)
    return issue


def die_if(deadly: bool) -> None:
    if deadly:
        os.kill(os.getpid(), signal.SIGKILL)


def rescue_for_ever(target: str, line: Connection, timeout: float) -> None:
    with open_store(target, durability="normal") as store:
        line.send("up")
        while True:
            store.rescue(timeout=timeout, max_attempts=ATTEMPTS)
            time.sleep(0.05)


def rescue_together(target: str, line: Connection, start: Barrier) -> None:
    """Rescue together with the others whenever the test says so; send how many agents it marked as errored."""
    with open_store(target, durability="normal") as store:
        while line.recv() == "rescue":
            start.wait()
            line.send(sum(move.trigger == "fail" for move in store.rescue(timeout=1)))


def spend(target: str, line: Connection, start: Barrier, agent: UUID, times: int) -> None:
    """Add tokens to an agent that others use too and that is errored now and then; send how many were added."""
    with open_store(target, durability="normal"):
        spender, used = Agent.get_by_id(agent), 0
        start.wait()
        while used < times:
            try:
                spender.use_tokens(1)
                used += 1
            except GuardRefused:  # it is errored at the moment
                continue
        line.send(used)


def approve(target: str, line: Connection, start: Barrier) -> None:
    """Review and complete what was handed in until nothing is left; send how many."""
    by, done = System("test"), 0
    with open_store(target, durability="normal"):
        start.wait()
        while issue := Issue.select().where(Issue.status == "awaiting_review").first():
            try:
                issue.review(by=by)
            except StaleRow:
                continue
            issue.complete(by=by)
            done += 1
        line.send(done)


def fall_over(target: str, line: Connection, start: Barrier, agent: UUID, times: int) -> None:
    """Take work, fail at it and recover, so many times; send how often it was done."""
    with open_store(target, durability="normal") as store:
        faller = Agent.get_by_id(agent)
        start.wait()
        for _ in range(times):
            assert store.claim(faller) is not None
            faller.fail("it fell over", max_attempts=2 * times, by=faller)
            faller.recover(by=faller)
        line.send(times)
