"""Worker processes for the races: each opens the store itself, and can be killed or stopped at any moment."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from typing import Any

from dispatch_state import Agent, DispatchError, GuardRefused, StaleRow, Store, open_store

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["dispatch_state"])
LONG = bool(os.environ.get("DISPATCH_LONG"))
DEADLINE = 600
"""Seconds after which something hangs."""


@contextmanager
def crew(count: int, work: Any, *arguments: Any) -> Iterator[list[BaseProcess]]:
    """So many processes at `work(target, …)`; they are killed at the end."""
    members = [hired(work, *arguments) for _ in range(count)]
    try:
        yield members
    finally:
        for member in members:
            member.kill()
            member.join()


def hired(work: Any, *arguments: Any) -> BaseProcess:
    process = SERVER.Process(target=work, args=arguments, daemon=True)
    process.start()
    return process


def claim_until_none(target: str, start: Any, told: Any) -> None:
    """Claim and complete until nothing is left; tell which issues were claimed, by which agent."""
    with open_store(target, durability="normal") as store:
        agent = Agent.create(agent_type="coder")
        start.wait()
        claimed = []
        while issue := store.claim(agent):
            claimed.append(issue.id)
            issue.start(by=agent)
            issue.complete(by=agent)
        told.put((agent.id, claimed))


def live_and_die(target: str, timeout: float) -> None:
    """Work like a runner until killed; errors that no refusal explains end the process with another code."""
    with open_store(target, durability="normal") as store:
        agent = Agent.create(agent_type="coder")
        while True:
            rescue(store, timeout)
            try:
                issue = store.claim(agent)
                if issue is None:
                    time.sleep(0.01)
                    continue
                if issue.status == "assigned":
                    issue.start(by=agent)
                agent.heartbeat()
                issue.complete(by=agent)
            except (StaleRow, GuardRefused):  # given up for dead, the work is another's
                agent = Agent.create(agent_type="coder")


def rescue(store: Store, timeout: float) -> None:
    store.rescue(timeout=timeout, max_attempts=3)


def wait_for(condition: Any, what: str) -> None:
    """Wait until it holds; only a hang ends it otherwise."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, f"still not: {what}"
        time.sleep(0.02)


def answers(told: Any, members: list[BaseProcess]) -> list[Any]:
    """What each process told in the end; that all of them ended well."""
    found: list[Any] = []

    def all_told() -> bool:
        while not told.empty():
            found.append(told.get())
        assert not any(member.exitcode for member in members), "a process ended with an error; it said why"
        return len(found) == len(members)

    wait_for(all_told, "every process has told")
    for member in members:
        member.join()
    assert [member.exitcode for member in members] == [0] * len(members)
    return found


def refused(act: Any) -> type[DispatchError] | None:
    """The refusal that an act met, or None when it was accepted."""
    try:
        act()
    except DispatchError as error:
        return type(error)
    return None
