"""One durable move, and what follows from one."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any
from uuid import UUID

from benchmarks import by_hand, rivals
from benchmarks.measure import WARM_UP, Call, Calls, Contender, at_least, at_most, interleaved
from benchmarks.report import Line, compared
from benchmarks.scenes import COLUMNS, MAINTAINER, agents, issues, running_epic, running_stage
from benchmarks.tape import bare, played
from benchmarks.twins import OURS, RAW, Library, Session, opened, race, taped, twins
from dispatch_state import Agent, Gate, Issue, Store

FASTER = {"peewee + transitions": 2.5, "django-fsm-2 + log": 3.5, "sqlalchemy + python-statemachine": 6.0}
"""How much faster than these the library is to be, at least."""


def some_issues(store: Store, count: int) -> list[UUID]:
    """Fifty unassigned issues."""
    return issues(50)


def to_and_fro(store: Store, made: list[UUID]) -> Iterator[Call]:
    """Issues that are queued and taken off the queue, for ever."""
    rows = [Issue.get_by_id(key) for key in made]
    while True:
        for row in rows:
            yield partial(row.queue, by=MAINTAINER)
        for row in rows:
            yield partial(row.dequeue, by=MAINTAINER)


def move(session: Session) -> Iterator[Line]:
    """A move without what follows, beside what one would write by hand."""
    batch = 20 if session.quick else 50
    contenders = twins(session, some_issues, to_and_fro, batch)
    others = rivals.present(session)
    rounds = interleaved([*contenders, _by_hand(session), *others], session.rounds, batch)
    pairs = [(other.name, OURS, at_least(FASTER[other.name]) if other.name in FASTER else None) for other in others]
    yield from compared("move", rounds, (OURS, RAW, at_most(1.35)), (by_hand.NAME, RAW, None), *pairs)
    for name in rivals.absent():
        yield Line("move", name, "not installed")


def _by_hand(session: Session) -> Contender:
    path = session.scratch()
    with opened(path) as store:
        made = some_issues(store, 0)
    recorded = taped(session.copy(path), to_and_fro, made, 1)[0]
    return Calls(by_hand.NAME, by_hand.to_and_fro(path, made, recorded))


def move_full(session: Session) -> Iterator[Line]:
    """The same at `durability="full"`."""
    rounds = race(session, some_issues, to_and_fro, 20, durability="full")
    yield from compared("move, durability full", rounds, (OURS, RAW, at_most(1.2)))


# ---- with guards that read ------------------------------------------------------------------------------


def staged_issues(store: Store, count: int) -> tuple[UUID, list[UUID]]:
    """An agent, and fifty issues of a stage that is in progress."""
    stage = running_stage()
    return agents(1)[0], [stage.add_issue(**COLUMNS).id for _ in range(50)]


def by_an_agent(store: Store, made: tuple[UUID, list[UUID]]) -> Iterator[Call]:
    """Issues are taken off the queue and queued, by an agent, which is read afresh, as are epic and stage."""
    coder = Agent.get_by_id(made[0])
    rows = [Issue.get_by_id(key) for key in made[1]]

    def both(row: Issue) -> None:
        row.dequeue(by=coder)
        row.queue(by=coder)

    while True:
        for row in rows:
            yield partial(both, row)


def move_guarded(session: Session) -> Iterator[Line]:
    """A move whose guards read other rows."""
    rounds = race(session, staged_issues, by_an_agent, 20)
    yield from compared("two moves, guards that read", rounds, (OURS, RAW, at_most(1.35)))


# ---- with what follows --------------------------------------------------------------------------------


def waiting_gates(store: Store, count: int) -> list[UUID]:
    """Gates whose stage awaits them; behind each a stage with three issues."""
    made = []
    workers = [Agent.get_by_id(key) for key in agents(1)]
    for _ in range(count):
        epic = running_epic()
        stage = epic.current_stage
        assert stage is not None
        issue = stage.add_issue(**COLUMNS).reload()
        issue.assign(workers[0], by=workers[0])
        issue.start(by=workers[0])
        issue.complete(by=workers[0])
        made.append(stage.gates.get().id)
    return made


def approvals(store: Store, made: list[UUID]) -> Iterator[Call]:
    """Each gate is approved: the stage, the epic, the next stage, its three issues follow."""
    for key in made:
        yield partial(Gate.get_by_id(key).approve, by=MAINTAINER)


def cascade(session: Session) -> Iterator[Line]:
    """A gate approval with its whole cascade."""
    rounds = race(session, waiting_gates, approvals, 8)
    yield from compared("gate approval, 8 moves", rounds, (OURS, RAW, at_most(1.4)))


# ---- loading, and many at once ---------------------------------------------------------------------------


def loads(store: Store, made: list[UUID]) -> Iterator[Call]:
    """One row after the other, by its id."""
    while True:
        for key in made:
            yield partial(Issue.get_by_id, key)


def load(session: Session) -> Iterator[Line]:
    """Loading a row by its id."""
    rounds = race(session, some_issues, loads, 200)
    yield from compared("a row by its id", rounds, (OURS, RAW, at_most(2)))


def blocks(store: Store, made: list[UUID]) -> Iterator[Call]:
    """Two moves of each of fifty issues, in one block."""
    rows = [Issue.get_by_id(key) for key in made[:50]]

    def all_of_them() -> None:
        with store.atomic():
            _hundred(rows)

    while True:
        yield all_of_them


def one_by_one(store: Store, made: list[UUID]) -> Iterator[Call]:
    """The same moves of fifty other issues, each durable by itself."""
    rows = [Issue.get_by_id(key) for key in made[50:]]
    while True:
        yield partial(_hundred, rows)


def _hundred(rows: list[Any]) -> None:
    for row in rows:
        row.queue(by=MAINTAINER)
    for row in rows:
        row.dequeue(by=MAINTAINER)


def block(session: Session) -> Iterator[Line]:
    """A hundred moves in one `store.atomic()`, and one by one; and what the statements alone take."""
    path = session.scratch()
    with opened(path):
        made = issues(100)
    single, joined = "one by one", "in one atomic()"
    for durability in ("normal", "full"):
        contenders: list[Contender] = []
        ours = session.copy(path)
        for name, operations in ((single, one_by_one), (joined, blocks)):
            tape = taped(session.copy(path), operations, made, 2 * (session.rounds + WARM_UP), durability)
            contenders.append(Library(ours, operations, made, name=name, durability=durability))
            contenders.append(Calls(f"{name}, raw", played(bare(session.copy(path), durability).cursor(), tape)))
        rounds = interleaved(contenders, session.rounds, 2)
        yield from compared(
            f"100 moves, durability {durability}",
            rounds,
            (joined, single, at_most(0.3)),
            (f"{joined}, raw", f"{single}, raw", None),
        )
