"""The processes of agent_runner.py: what a worker does, and what a reviewer does.

For a runner of your own, change this file first. While an agent is busy, it may be marked as errored or lose its issue.
Its next move is then refused, its work no longer counts, and it looks for other work.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import NamedTuple
from uuid import UUID

from workshop import Failed, Repository, branch_of, carry_out, one_line

from dispatch_state import (
    Actor,
    Agent,
    AgentStatus,
    CommitUnknown,
    DispatchError,
    GuardRefused,
    IllegalTransition,
    Issue,
    IssueStatus,
    PullRequest,
    StaleRow,
    Store,
    StoreBusy,
    StoreUnreachable,
    System,
    open_store,
)

RUNNER = System("runner")
PAUSE = 0.1
"""Seconds between two reads of the store."""
REFUSED = (StaleRow, IllegalTransition, GuardRefused, StoreBusy, StoreUnreachable, CommitUnknown)
"""Errors after which an agent tries again: somebody was faster, or the database is unavailable."""


class Job(NamedTuple):
    """The settings of a run, which all its processes get; `path` is the `repo_path` of its issues."""

    database: str | None
    repo: Repository
    path: str
    command: str
    timeout: float
    heartbeat_timeout: float
    max_attempts: int
    agent_type: str


# ---- signals -----------------------------------------------------------------------------------------

SIGNALS = {signal.SIGINT, signal.SIGTERM}
signals: list[int] = []
"""The signals to stop that this process received."""


def listen() -> None:
    """Collect signals to stop from now on, with those that were blocked until now."""
    for number in SIGNALS:
        answer(number, lambda number, frame: signals.append(number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def answer(number: int, handler: Callable[[int, object], object] | signal.Handlers) -> None:
    """Handle a signal, unless the process was started to ignore it, as a shell does with background processes."""
    if signal.getsignal(number) is not signal.SIG_IGN:
        signal.signal(number, handler)


def over() -> bool:
    """Whether this process should end: it received a signal, or the runner is gone."""
    runner = multiprocessing.parent_process()
    return bool(signals) or (runner is not None and not runner.is_alive())


def stop(agent: Agent, *, by: Actor) -> None:
    """Stop an agent, whatever it is doing; its issue goes back to the queue."""
    while not agent.reload().status.final:
        with suppress(StaleRow):  # it moved in between: try again
            agent.stop(by=by, reason="the run is over")


# ---- the process of an agent -------------------------------------------------------------------------


class Desk(NamedTuple):
    """What an agent works with; the runner also reads the process group of its command."""

    store: Store
    agent: Agent
    job: Job
    group: ctypes.c_int


def live(role: str, agent_id: UUID, job: Job, group: ctypes.c_int) -> None:
    """Run an agent until it is stopped, the process receives a signal, or the runner is gone."""
    os.setpgrp()  # a terminal sends Ctrl-C to the group of the runner, which alone handles it
    listen()
    ended = threading.Event()
    try:
        with open_store(job.database) as store:
            heart = threading.Thread(target=send_heartbeats, args=(agent_id, job.heartbeat_timeout / 5, ended))
            heart.start()
            try:
                attend(Desk(store, Agent.get_by_id(agent_id), job, group), STEPS[role])
            finally:
                ended.set()
                heart.join()
    except (Failed, DispatchError) as problem:
        sys.exit(f"{role}: {one_line(str(problem))}")


def send_heartbeats(agent_id: UUID, every: float, ended: threading.Event) -> None:
    """Send heartbeats while the process is busy. Threads do not share row objects, so this one reads its own."""
    agent = Agent.get_by_id(agent_id)
    while not ended.wait(every):
        with suppress(DispatchError):  # marked as errored: the other thread finds out at its next step
            agent.heartbeat()


def attend(desk: Desk, step: Callable[[Desk], bool]) -> None:
    """Take one step after the other; an agent that was marked as errored recovers."""
    agent = desk.agent
    while not agent.reload().status.final:
        if over():
            stop(agent, by=agent)
            return
        with suppress(*REFUSED):
            if agent.status == AgentStatus.ERRORED:
                agent.recover(by=agent)
            elif step(desk):
                continue
        time.sleep(PAUSE)


# ---- the worker --------------------------------------------------------------------------------------


def work(desk: Desk) -> bool:
    """Claim an issue and attempt it; returns False when there is none."""
    issue = desk.store.claim(desk.agent, repo_path=desk.job.path, start=True, process_id=os.getpid())
    if issue is None:
        return False
    try:
        attempt(desk, issue)
    except (StoreBusy, StoreUnreachable, CommitUnknown):
        return False  # not the fault of the issue: the agent still holds it, or finds out that it does not
    except (Failed, OSError, *REFUSED) as error:
        give_up(desk, issue, one_line(str(error)))
    return True


def attempt(desk: Desk, issue: Issue) -> None:
    """Take a claimed issue to its pull request; raises `Failed` when the attempt fails."""
    agent, job = desk.agent, desk.job
    sent_back = refusals(desk.store, issue)
    if len(sent_back) >= job.max_attempts:
        issue.block(by=agent, reason=f"sent back {len(sent_back)} times: {sent_back[-1]}")
        return
    with job.repo.worktree(issue.title, str(issue.id)[-8:]) as tree:
        agent.log("info", f"works in {tree}", {"worktree": str(tree), "branch": branch_of(tree)})
        why_not = partial(why_stop, desk, issue)
        carry_out(job.command, tree, issue.prompt, job.timeout, desk.group, why_not, DISPATCH_ISSUE=str(issue.id))
        job.repo.commit(tree, f"{one_line(issue.title)[:200]}\n\nIssue: {issue.id}")
    hand_in(desk, issue, branch_of(tree))


def refusals(store: Store, issue: Issue) -> list[str]:
    """The reasons of the reviews that sent the issue back, since a person last moved it."""
    reasons: list[str] = []
    for move in store.history(issue):
        if move.actor.startswith("human:"):
            reasons.clear()
        elif move.source == IssueStatus.IN_REVIEW and move.dest in (IssueStatus.IN_PROGRESS, IssueStatus.QUEUED):
            reasons.append(move.reason or "")
    return reasons


def why_stop(desk: Desk, issue: Issue) -> str:
    """Why the agent should stop working on the issue; empty when it should continue."""
    if over():
        return "the run is over"
    return "" if desk.agent.reload().current_issue_id == issue.id else "its issue was taken from it"


def hand_in(desk: Desk, issue: Issue, branch: str) -> None:
    """Close earlier pull requests and open a new one, which submits the issue; all in one transaction."""
    with desk.store.atomic():
        for earlier in issue.pull_requests.where(PullRequest.status.in_(["draft", "open"])):
            earlier.close(by=desk.agent, reason="there is a newer attempt")
        number = PullRequest.select().count() + 1  # a runner on GitHub has a real one
        url = f"{desk.job.repo.path.as_uri()}#{branch}"
        PullRequest.create(issue=issue, branch=branch, github_number=number, github_url=url, by=desk.agent)
        if issue.reload().status != IssueStatus.AWAITING_REVIEW:
            raise Failed("its issue was taken from it")


def give_up(desk: Desk, issue: Issue, why: str) -> None:
    """Record a failed attempt, unless the agent has lost the issue or is about to stop."""
    if not over() and desk.agent.reload().current_issue_id == issue.id:
        with suppress(*REFUSED):
            desk.agent.fail(why, max_attempts=desk.job.max_attempts, by=desk.agent)


# ---- the reviewer ------------------------------------------------------------------------------------


def review(desk: Desk) -> bool:
    """Review a pull request; returns False when there is none."""
    if desk.agent.current_issue_id is not None:
        desk.agent.finish(by=desk.agent, reason="left without a verdict")
    for request in handed_in(desk.job):
        with suppress(*REFUSED):  # another reviewer was faster
            request.issue.review(by=desk.agent)
            judge(desk, request)
            return True
    return False


def handed_in(job: Job) -> list[PullRequest]:
    """The open pull requests of issues that await review, the oldest first, whose branch is in this repository."""
    awaiting = (Issue.repo_path == job.path) & (Issue.status == IssueStatus.AWAITING_REVIEW)
    requests = PullRequest.select().join(Issue).where(awaiting, PullRequest.status == "open").order_by(PullRequest.id)
    return [request for request in requests if job.repo.has(request.branch)]


def judge(desk: Desk, request: PullRequest) -> None:
    """Merge the branch of a pull request, or send it back.

    Git merges first. If the process is killed after that, the request is still open, and the next reviewer merges
    again, which changes nothing. In the other order, an issue could be done whose work was never merged.
    """
    repo, branch = desk.job.repo, request.branch
    with repo.alone():
        if not request.may("merge", by=desk.agent):  # it was closed in the meantime
            return
        why = repo.merge(branch, f"Merge {branch}: {one_line(request.issue.title)[:200]}")
        if why is None:
            request.merge(by=desk.agent)  # its issue is done
            repo.drop(branch)
    if why is not None:
        send_back(desk, request, why)


def send_back(desk: Desk, request: PullRequest, why: str) -> None:
    """Close a pull request; its agent continues with the issue if it is idle, or else another one claims it."""
    with desk.store.atomic():
        request.close(by=RUNNER, reason=why)
        issue = request.issue.reload()
        if issue.status == IssueStatus.IN_REVIEW:
            issue.release(by=RUNNER, reason=why)


STEPS = {"worker": work, "reviewer": review}
"""What each kind of agent does repeatedly."""
