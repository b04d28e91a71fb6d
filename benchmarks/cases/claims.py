"""Claims, however many issues there are."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from benchmarks.measure import WARM_UP, Call, Calls, Contender, at_most, interleaved
from benchmarks.report import Line, compared
from benchmarks.scenes import idle_agents, large
from benchmarks.tape import bare, played
from benchmarks.twins import OURS, RAW, Library, Session, taped
from dispatch_state import Store

BATCH = 20


def claims(store: Store, made: None) -> Iterator[Call]:
    """Agent after agent claims an issue."""
    for agent in idle_agents():
        yield partial(store.claim, agent)


def claim(session: Session) -> Iterator[Line]:
    """A claim among ten thousand queued issues."""
    count = BATCH * (session.rounds + WARM_UP)
    path = large(session, queued=10_000)
    tape = taped(session.copy(path), claims, None, count)
    contenders: list[Contender] = [
        Library(session.copy(path), claims, None, durability="normal"),
        Calls(RAW, played(bare(path, "normal").cursor(), tape)),
    ]
    rounds = interleaved(contenders, session.rounds, BATCH)
    yield from compared("a claim, 10,000 queued", rounds, (OURS, RAW, at_most(1.5)))


def flat(session: Session) -> Iterator[Line]:
    """A claim among few, among many, and with many that are done."""
    many = session.many
    few, queued, done = "10,000 queued", f"{many:,} queued", f"10,000 queued, {many:,} done"
    sizes = {few: (10_000, 0), queued: (many, 0), done: (10_000, many)}
    contenders = [
        Library(large(session, queued=q, done=d), claims, None, name=name, durability="normal")
        for name, (q, d) in sizes.items()
    ]
    rounds = interleaved(contenders, session.rounds, BATCH)
    yield from compared("a claim", rounds, (queued, few, at_most(1.3)), (done, few, at_most(1.3)))
