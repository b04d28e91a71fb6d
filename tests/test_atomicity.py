"""All or nothing: a failure at any statement leaves the database and the objects as they were."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import peewee
import pytest

from dispatch_state import (
    Agent,
    Decision,
    GateComment,
    GuardRefused,
    Issue,
    Proposal,
    PullRequest,
    Stage,
    Store,
    StoreError,
    TransitionLog,
)
from dispatch_state.engine.unit_of_work import UnitOfWork
from dispatch_state.models.agent import AgentLog
from dispatch_state.models.proposal import Vote
from dispatch_state.schema import enforcement
from dispatch_state.storage.current import DATABASE
from tests.world import MAINTAINER, MODELS, RUNNER, WHY, World

EVERYTHING = [*MODELS.values(), TransitionLog, Decision, GateComment, AgentLog, Vote]
Story = Callable[[World], tuple[list[Any], Callable[[], object]]]


def dump() -> list[Any]:
    return [sorted(map(repr, model.select().tuples())) for model in EVERYTHING]


def state(rows: list[Any]) -> list[Any]:
    return [(dict(row.__data__), set(row._dirty), row.is_new) for row in rows]


def a_gate_is_approved(world: World) -> tuple[list[Any], Callable[[], object]]:
    stage = world.waiting_stage()
    following = stage.epic.stages.order_by(MODELS["stages"].stage_order)[1]
    for _ in range(3):
        following.add_issue(**world.issue_columns())
    gate = stage.gates.get()
    return [gate], lambda: gate.approve(by=MAINTAINER, comment="Good")


def an_epic_is_cancelled(world: World) -> tuple[list[Any], Callable[[], object]]:
    epic = world.running_epic({})
    issue = epic.current_stage.add_issue(**world.issue_columns()).reload()
    world.start(issue)
    epic.reload()
    return [epic], lambda: epic.cancel(by=MAINTAINER, reason=WHY)


def an_issue_is_assigned(world: World) -> tuple[list[Any], Callable[[], object]]:
    issue, agent = world.issues("queued"), world.agent()
    return [issue, agent], lambda: issue.assign(agent, by=agent)


def the_last_issue_is_completed(world: World) -> tuple[list[Any], Callable[[], object]]:
    issue = world.running_epic({}).current_stage.add_issue(**world.issue_columns()).reload()
    agent = world.start(issue)
    return [issue, agent], lambda: issue.complete(by=agent)


def an_agent_fails(world: World) -> tuple[list[Any], Callable[[], object]]:
    agent = world.issues("in_progress").assigned_agent
    return [agent], lambda: agent.fail("it fell over", by=agent)


def an_issue_is_reassigned(world: World) -> tuple[list[Any], Callable[[], object]]:
    issue, agent = world.issues("in_progress"), world.agent()
    return [issue, agent], lambda: issue.reassign(agent, by=MAINTAINER, reason=WHY)


def a_request_is_merged(world: World) -> tuple[list[Any], Callable[[], object]]:
    request = world.pull_requests("open")
    return [request], lambda: request.merge(by=MAINTAINER)


def an_issue_is_born(world: World) -> tuple[list[Any], Callable[[], object]]:
    issue = Issue(stage=world.running_epic().current_stage, **world.issue_columns())
    return [issue], lambda: issue.save()


def an_epic_is_removed(world: World) -> tuple[list[Any], Callable[[], object]]:
    epic = world.epics("completed").reload()
    return [epic], lambda: epic.remove(by=MAINTAINER, reason=WHY)


def a_vote_decides(world: World) -> tuple[list[Any], Callable[[], object]]:
    proposer = world.start(world.new_issue())
    proposal = world.new_proposal(proposer)
    proposer.await_vote(by=proposer)
    voter = world.agent()
    return [proposal.reload(), voter], lambda: proposal.vote(voter, "approve", WHY)


STORIES: list[Story] = [
    a_gate_is_approved,
    an_epic_is_cancelled,
    an_issue_is_assigned,
    the_last_issue_is_completed,
    an_agent_fails,
    an_issue_is_reassigned,
    a_request_is_merged,
    an_issue_is_born,
    an_epic_is_removed,
    a_vote_decides,
]


class PoweredOffError(Exception):
    """What the test throws into the middle of a transaction."""


@contextmanager
def failing_at(store: Store, statement: int, after: bool) -> Iterator[list[str]]:
    """Let the n-th statement raise, before or after it has run; a COMMIT always before."""
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
    objects, act = story(World(store))
    before, held = dump(), state(objects)
    statement = 0
    while True:
        statement += 1
        with failing_at(store, statement, after=bool(statement % 2)) as seen:
            try:
                act()
                break
            except PoweredOffError:
                pass
        assert dump() == before, seen[-1]
        assert state(objects) == held, seen[-1]
    assert statement > 4
    assert dump() != before


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_the_callers_rollback_restores_rows_and_objects(store: Store, story: Story) -> None:
    objects, act = story(World(store))
    before, held = dump(), state(objects)
    with pytest.raises(ZeroDivisionError), store.atomic():
        act()
        raise ZeroDivisionError
    assert (dump(), state(objects)) == (before, held)
    with store.atomic():
        act()
    assert dump() != before


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_what_a_block_committed_stays_in_the_objects(store: Store, story: Story) -> None:
    objects, act = story(World(store))
    with store.atomic():
        act()
        moved = state(objects)
    assert state(objects) == moved


def test_an_inner_block_rolls_back_alone(store: Store) -> None:
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


def test_an_outer_block_takes_back_what_an_inner_one_kept(store: Store) -> None:
    """All savepoints share one name: rolling back the outer block must not stop at the inner one."""
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
    world = World(store)
    issue, busy = world.issues("queued"), world.start(world.new_issue())
    with store.atomic():
        issue.dequeue(by=MAINTAINER)
        with pytest.raises(GuardRefused):
            issue.assign(busy, by=MAINTAINER)
        issue.queue(by=MAINTAINER)
    assert [m.trigger for m in store.history(issue)] == ["create", "queue", "dequeue", "queue"]


def test_peewees_own_block_works_too(store: Store) -> None:
    issue = World(store).issues("unassigned")
    with pytest.raises(ZeroDivisionError), store.database.atomic():
        issue.queue(by=MAINTAINER)
        raise ZeroDivisionError
    assert issue.reload().status == "unassigned"
    with store.database.atomic():
        issue.queue(by=MAINTAINER)
    assert issue.reload().status == "queued"


def test_a_guard_that_refuses_a_follower_rolls_everything_back(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A defect of the contract: rows that no legal move could have made. The error names the step."""
    world = World(store)
    issue = world.issues("in_progress")
    agent = issue.assigned_agent
    other = world.new_issue()
    enforcement.remove(store.database)
    peewee.ModelUpdate(Issue, {Issue.assigned_agent: agent.id, Issue.status: "assigned"}).where(
        Issue.id == other.id
    ).execute()
    before = dump()
    with pytest.raises(GuardRefused, match="finish, which follows from move"):
        issue.submit(by=agent)
    assert dump() == before


def test_one_moment_for_one_turn(store: Store) -> None:
    moves = World(store).epics("ready").start(by=RUNNER)
    stamps = {TransitionLog.get_by_id(move.seq).created_at for move in moves}
    assert stamps == {Agent.create(agent_type="coder").started_at}
    assert {Proposal, PullRequest} <= set(EVERYTHING)


# ---- again, when the database asks for it ----------------------------------------------------------------


def test_a_birth_that_is_tried_again_is_filled_in_anew(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was filled in from what others hold is asked again: they may hold more by then."""
    epic = World(store).new_epic()
    birth, tries = UnitOfWork.birth, []

    def lost_once(turn: UnitOfWork, row: Any, *rest: Any) -> None:
        birth(turn, row, *rest)
        tries.append(row.name)
        if tries == ["late"]:
            raise peewee.OperationalError("lost to another")

    def others_were_first(*_: object) -> bool:
        epic.add_stage("first")
        return True

    monkeypatch.setattr(UnitOfWork, "birth", lost_once)
    monkeypatch.setattr(type(store.database), "should_retry", others_were_first)
    late = epic.add_stage("late")
    assert tries == ["late", "first", "late"]
    assert [stage.name for stage in epic.stages.order_by(Stage.stage_order)][-2:] == ["first", "late"]
    assert dict(late.__data__) == dict(Stage.get_by_id(late.id).__data__)


def test_a_turn_in_a_callers_block_is_not_tried_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the block did before is lost with it, so only its caller can begin again."""
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
def test_a_block_that_passes_over_an_error_of_the_database_is_told(store: Store, watched: bool) -> None:
    """PostgreSQL rolls such a transaction back when it is to commit, and says so by the way only."""
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
