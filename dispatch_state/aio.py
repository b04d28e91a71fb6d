"""The store from asyncio: each call runs in a thread, while the event loop continues.

    issue = await aio.claim(coder, start=True)
    moves = await aio.run(issue.complete, by=coder)
    urgent = await aio.run(lambda: list(Issue.by_status("queued")))

A transaction belongs to its thread, so you cannot await anything inside one: put all that belongs to a transaction,
with its `store.atomic()`, into one function, and run that. Use a row object in one task at a time.

A cancelled call may still commit, because its thread cannot be stopped. To find out, `reload()` the row or read
`store.history(row)`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from dispatch_state.engine import claims
from dispatch_state.errors import InvalidValue
from dispatch_state.lifecycle.session import session
from dispatch_state.models.agent import Agent
from dispatch_state.models.issue import Issue
from dispatch_state.storage.current import DATABASE
from dispatch_state.vocabulary import IssueType

P = ParamSpec("P")
T = TypeVar("T")


async def run(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function in a thread, and return its result.

    Args:
        call: a trigger (`issue.start`), a method of the store, or a function of yours.
        args, kwargs: its arguments.

    Raises:
        InvalidValue: `call` cannot be called; or this thread has a `store.atomic()` block open, which the call would
            not be part of and would wait for.
        StoreNotOpen: no store is open.
        Exception: what the call raises.
    """
    session()
    if not callable(call):
        raise InvalidValue(f"run: takes a function, not a value of type {type(call).__name__}")
    if DATABASE.transaction_depth():
        raise InvalidValue("run: this thread has a transaction open; put all of it into one function, and run that")
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
    """Claim an issue for an agent; arguments, result and errors are those of `Store.claim`."""
    return await run(
        claims.claim,
        agent,
        repo_path=repo_path,
        issue_type=issue_type,
        start=start,
        process_id=process_id,
        session_id=session_id,
    )
