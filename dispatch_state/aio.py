"""The store from asyncio: each call is made whole, in a thread, while the event loop goes on.

    issue = await aio.claim(coder, start=True)
    moves = await aio.run(issue.complete, by=coder)
    urgent = await aio.run(lambda: list(Issue.by_status("queued")))

What belongs to one transaction goes into one function, `store.atomic()` and all: a transaction is its
thread's, so nothing may be awaited inside one. A row object belongs to one task at a time.

A call that was cancelled may still commit: the thread that makes it cannot be stopped. `reload()` the
row, or read `store.history(row)`, to know.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from dispatch_state.engine import claims
from dispatch_state.errors import InvalidValue
from dispatch_state.lifecycle.interface import session
from dispatch_state.models.agent import Agent
from dispatch_state.models.issue import Issue
from dispatch_state.storage.current import DATABASE
from dispatch_state.vocabulary import IssueType

P = ParamSpec("P")
T = TypeVar("T")


async def run(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Make a call of this library, or of a function around several, in a thread; returns what it returns.

    Args:
        call: a trigger (`issue.start`), a method of the store, or a function of yours.
        args, kwargs: its arguments.

    Raises:
        InvalidValue: `call` is none, or a `store.atomic()` block is open in this thread: the call would be no part
            of it, and would wait for it.
        Exception: whatever the call raises.
    """
    session()
    if not callable(call):
        raise InvalidValue(f"run: takes something to call, not a value of type {type(call).__name__}")
    if DATABASE.transaction_depth():
        raise InvalidValue("run: a transaction is open in this thread; put all of it into one function, and run that")
    return await asyncio.to_thread(call, *args, **kwargs)


async def claim(
    agent: Agent,
    *,
    repo_path: str | None = None,
    issue_type: IssueType | str | None = None,
    start: bool = False,
    process_id: int | None = None,
    session_id: str | None = None,
) -> Issue | None:
    """Give an agent the first queued issue that fits it; see `Store.claim` for the arguments and errors."""
    return await run(
        claims.claim,
        agent,
        repo_path=repo_path,
        issue_type=issue_type,
        start=start,
        process_id=process_id,
        session_id=session_id,
    )
