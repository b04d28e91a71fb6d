"""What a refusal costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from uuid import UUID

from benchmarks.cases.moves import some_issues, to_and_fro
from benchmarks.measure import Call, at_most, interleaved
from benchmarks.report import Line, compared
from benchmarks.scenes import MAINTAINER
from benchmarks.twins import OURS, RAW, Library, Session, opened, race
from dispatch_state import IllegalTransition, Issue, StaleRow, Store
from dispatch_state.vocabulary import IssueStatus


def _refused(error: type[Exception], call: Callable[[], object]) -> None:
    try:
        call()
    except error:
        return
    raise AssertionError("it was not refused")


def illegal(store: Store, made: list[UUID]) -> Iterator[Call]:
    """Issues that nobody was given are started, which is no move."""
    rows = [Issue.get_by_id(key) for key in made]
    while True:
        for row in rows:
            yield partial(_refused, IllegalTransition, partial(row.start, by=MAINTAINER))


def refused(session: Session) -> Iterator[Line]:
    """An illegal move, beside a legal one."""
    path = session.scratch()
    with opened(path) as store:
        made = some_issues(store, 0)
    contenders = [
        Library(session.copy(path), operations, made, name=name, durability="normal")
        for name, operations in (("legal", to_and_fro), ("illegal", illegal))
    ]
    rounds = interleaved(contenders, session.rounds, 50)
    yield from compared("an illegal move", rounds, ("illegal", "legal", at_most(0.25)))


def queued_issues(store: Store, count: int) -> list[UUID]:
    """Fifty issues that were queued."""
    made = some_issues(store, count)
    for key in made:
        Issue.get_by_id(key).queue(by=MAINTAINER)
    return made


def moved_on(store: Store, made: list[UUID]) -> Iterator[Call]:
    """Issues are queued whose copies were read before they were."""
    rows = [Issue.get_by_id(key) for key in made]
    for row in rows:
        row.__data__.update(status=IssueStatus.UNASSIGNED, version=1)
    while True:
        for row in rows:
            yield partial(_refused, StaleRow, partial(row.queue, by=MAINTAINER))


def stale(session: Session) -> Iterator[Line]:
    """A move of a copy that is stale."""
    rounds = race(session, queued_issues, moved_on, 100)
    yield from compared("a stale move", rounds, (OURS, RAW, at_most(1.35)))
