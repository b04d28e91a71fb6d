"""All or nothing: a failure at any statement leaves the database and the row objects as they were."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import peewee
import pytest

from dispatch_state import Agent, GuardRefused, Issue, Stage, Store, StoreError, TransitionLog
from dispatch_state.engine.unit_of_work import UnitOfWork
from dispatch_state.schema import enforcement
from dispatch_state.storage.current import DATABASE
from dispatch_state.testing.outcomes import everything
from tests.stories import STORIES, Story
from tests.world import MAINTAINER, RUNNER, WHY, World


def state(rows: list[Any]) -> list[Any]:
    return [(dict(row.__data__), set(row._dirty), row.is_new) for row in rows]


class PoweredOffError(Exception):
    """The exception that these tests raise in the middle of a transaction."""


@contextmanager
def failing_at(store: Store, statement: int, after: bool) -> Iterator[list[str]]:
    """Raise at the n-th statement, before it runs or after it; a COMMIT always fails before it runs."""
    seen: list[str] = []
    run = store.database.run

    def failing(sql: str, parameters: Any = ()) -> Any:
        seen.append(sql)
        if len(seen) == statement and (not after or sql == "COMMIT"):
            raise PoweredOffError(sql)
        found = run(sql, parameters)
        if len(seen) == statement:
            raise PoweredOffError(sql)
        return found

    store.database.run = failing
    DATABASE.initialize(store.database)  # so that statements go by it
    try:
        yield seen
    finally:
        del store.database.run
        DATABASE.initialize(store.database)


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_a_failure_at_every_statement(store: Store, story: Story) -> None:
    """Fail at the first statement, then at the second, and so on, until the act succeeds."""
    objects, act = story(World(store))
    before, held = everything(), state(objects)
    statement = 0
    while True:
        statement += 1
        with failing_at(store, statement, after=bool(statement % 2)) as seen:
            try:
                act()
                break
            except PoweredOffError:
                pass
        assert everything() == before, seen[-1]
        assert state(objects) == held, seen[-1]
    assert statement > 4
    assert everything() != before


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_the_callers_rollback_restores_rows_and_objects(store: Store, story: Story) -> None:
    """An exception in the caller's block undoes all moves in it, and the same act works afterwards."""
    objects, act = story(World(store))
    before, held = everything(), state(objects)
    with pytest.raises(ZeroDivisionError), store.atomic():
        act()
        raise ZeroDivisionError
    assert (everything(), state(objects)) == (before, held)
    with store.atomic():
        act()
    assert everything() != before


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_what_a_block_committed_stays_in_the_objects(store: Store, story: Story) -> None:
    """Leaving a block without an exception changes no row object."""
    objects, act = story(World(store))
    with store.atomic():
        act()
        moved = state(objects)
    assert state(objects) == moved


def test_an_inner_block_rolls_back_alone(store: Store) -> None:
    """An exception in an inner block undoes its moves only; the outer block goes on."""
    issue = World(store).issues("unassigned")
    with store.atomic():
        issue.queue(by=MAINTAINER)
        with pytest.raises(ZeroDivisionError), store.atomic():
            issue.dequeue(by=MAINTAINER)
            issue.cancel(by=MAINTAINER, reason=WHY)
            raise ZeroDivisionError
        assert (issue.status, issue.version) == ("queued", 2)
        issue.dequeue(by=MAINTAINER)
    assert (issue.reload().status, issue.version) == ("unassigned", 3)


def test_an_outer_rollback_undoes_inner_blocks_that_succeeded(store: Store) -> None:
    """All savepoints have the same name, so the outer rollback must not stop at the inner savepoint."""
    issue, other = World(store).issues("unassigned"), World(store).issues("unassigned")
    with store.atomic():
        with pytest.raises(ZeroDivisionError), store.atomic():
            issue.queue(by=MAINTAINER)
            with store.atomic():
                other.queue(by=MAINTAINER)
            with pytest.raises(KeyError), store.atomic():
                issue.dequeue(by=MAINTAINER)
                raise KeyError
            assert issue.status == "queued"
            raise ZeroDivisionError
        assert (issue.status, other.status) == ("unassigned", "unassigned")
    assert (issue.reload().status, other.reload().status) == ("unassigned", "unassigned")


def test_a_refusal_inside_a_block_undoes_only_itself(store: Store) -> None:
    """The moves before it stay, and the block can make more."""
    world = World(store)
    issue, busy = world.issues("queued"), world.start(world.new_issue())
    with store.atomic():
        issue.dequeue(by=MAINTAINER)
        with pytest.raises(GuardRefused):
            issue.assign(busy, by=MAINTAINER)
        issue.queue(by=MAINTAINER)
    assert [m.trigger for m in store.history(issue)] == ["create", "queue", "dequeue", "queue"]


def test_peewees_own_block_works_too(store: Store) -> None:
    """`database.atomic()` commits and rolls back the rows; it does not restore row objects."""
    issue = World(store).issues("unassigned")
    with pytest.raises(ZeroDivisionError), store.database.atomic():
        issue.queue(by=MAINTAINER)
        raise ZeroDivisionError
    assert issue.reload().status == "unassigned"
    with store.database.atomic():
        issue.queue(by=MAINTAINER)
    assert issue.reload().status == "queued"


def test_a_guard_that_refuses_a_follower_rolls_everything_back(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """No legal move can make these rows, so a guard refuses a step of the cascade; the error names the step."""
    world = World(store)
    issue = world.issues("in_progress")
    agent = issue.assigned_agent
    other = world.new_issue()
    enforcement.remove(store.database)
    peewee.ModelUpdate(Issue, {Issue.assigned_agent: agent.id, Issue.status: "assigned"}).where(
        Issue.id == other.id
    ).execute()
    before = everything()
    with pytest.raises(GuardRefused, match="finish, which follows from move"):
        issue.submit(by=agent)
    assert everything() == before


def test_all_moves_of_a_unit_of_work_have_one_timestamp(store: Store) -> None:
    moves = World(store).epics("ready").start(by=RUNNER)
    stamps = {TransitionLog.get_by_id(move.seq).created_at for move in moves}
    assert stamps == {Agent.create(agent_type="coder").started_at}


# ---- retries ---------------------------------------------------------------------------------------------


def test_a_creation_that_is_tried_again_is_filled_in_anew(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stage gets its order from the other stages, and these may have changed before the second attempt."""
    epic = World(store).new_epic()
    create, tries = UnitOfWork.create, []

    def lost_once(unit: UnitOfWork, row: Any, *rest: Any) -> None:
        create(unit, row, *rest)
        tries.append(row.name)
        if tries == ["late"]:
            raise peewee.OperationalError("lost to another")

    def others_were_first(*_: object) -> bool:
        epic.add_stage("first")
        return True

    monkeypatch.setattr(UnitOfWork, "create", lost_once)
    monkeypatch.setattr(type(store.database), "should_retry", others_were_first)
    late = epic.add_stage("late")
    assert tries == ["late", "first", "late"]
    assert [stage.name for stage in epic.stages.order_by(Stage.stage_order)][-2:] == ["first", "late"]
    assert dict(late.__data__) == dict(Stage.get_by_id(late.id).__data__)


def test_a_move_in_a_callers_block_is_not_tried_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The earlier statements of the block are lost too, so only its caller can begin again."""
    issue, tries = World(store).new_issue(), []

    def loses(*_: object, **__: object) -> None:
        tries.append(store.database.transaction_depth())
        raise peewee.OperationalError("lost to another")

    monkeypatch.setattr(UnitOfWork, "acts", loses)
    monkeypatch.setattr(type(store.database), "should_retry", lambda *_: True)
    with pytest.raises(StoreError), store.atomic():
        issue.queue(by=MAINTAINER)
    assert tries == [2]


@pytest.mark.parametrize("backend", ["postgresql"])
@pytest.mark.parametrize("watched", [False, True])
def test_a_block_that_passes_over_a_database_error_raises_at_its_end(store: Store, watched: bool) -> None:
    """PostgreSQL answers COMMIT with ROLLBACK then, without an error; the library raises one."""
    row = World(store).new_issue()
    if watched:
        store.database.query_hooks.append(lambda event: None)
    with pytest.raises(StoreError, match="nothing is written"), store.atomic():
        row.queue(by=MAINTAINER)
        with suppress(peewee.ProgrammingError):
            store.database.execute_sql("SELECT nonsense")
    assert row.status == "unassigned"
    assert row.reload().version == 1
    with store.atomic():
        row.queue(by=MAINTAINER)
        with suppress(peewee.ProgrammingError), store.atomic():  # as the error advises
            store.database.execute_sql("SELECT nonsense")
    assert row.reload().status == "queued"


def test_a_query_in_a_block_raises_peewees_error(store: Store) -> None:
    """Errors of the caller's own queries are not replaced by errors of the library."""
    with pytest.raises(peewee.DatabaseError) as refused, store.atomic():
        store.database.execute_sql("SELECT * FROM no_such_table")
    assert type(refused.value).__module__ == "peewee"
