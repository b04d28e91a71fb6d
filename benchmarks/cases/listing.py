"""Listings, however many issues there are."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.measure import Call, at_most, interleaved
from benchmarks.report import Line, compared
from benchmarks.scenes import large
from benchmarks.twins import Library, Session
from dispatch_state import Issue, Store

PAGE = 50


def page() -> list[Issue]:
    """The first page of the queue."""
    return list(Issue.by_status("queued").limit(PAGE))


def first_page(store: Store, made: None) -> Iterator[Call]:
    """The most urgent of the queue."""
    while True:
        yield page


def listing(session: Session) -> Iterator[Line]:
    """The first fifty of few and of many."""
    few, many = "of 10,000", f"of {session.many:,}"
    sizes = {few: 10_000, many: session.many}
    contenders = [
        Library(large(session, queued=size), first_page, None, name=name, durability="normal")
        for name, size in sizes.items()
    ]
    rounds = interleaved(contenders, session.rounds, 5)
    yield from compared(f"Issue.by_status, first {PAGE}", rounds, (many, few, at_most(1.3)))
