"""An exception at any line, as a signal handler raises it: everything is as before or as after, and no lock is held."""

from __future__ import annotations

import asyncio
import fcntl
import gc
import random
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

import dispatch_state
from dispatch_state import Agent, InvalidValue, Issue, Store, StoreError, TransitionLog, open_store
from dispatch_state.models.tables import EVERY
from dispatch_state.storage import write_queue
from dispatch_state.storage.transactions import Atomic
from dispatch_state.testing.outcomes import everything
from tests.long_forms import LONG
from tests.races.workers import SPAWN
from tests.stories import STORIES, Story
from tests.world import MAINTAINER, WHY, World

PACKAGE = str(Path(dispatch_state.__file__).parent)
LINES = 8
"""At how many lines of a story the short form raises; the long form raises at each."""
INTERRUPTS = 2000 if LONG else 150
"""How many real signals the tests send."""


class Interrupted(BaseException):
    """The exception that a signal handler raises."""


class Interruption:
    """Counts the lines of the package that run in this thread, and raises at one of them.

    Args:
        at: which one; none when 0.
    """

    def __init__(self, at: int = 0) -> None:
        self.at = at
        self.lines = 0
        self.place = ""

    def __enter__(self) -> Interruption:
        sys.settrace(self._called)
        return self

    def __exit__(self, *error: object) -> None:
        sys.settrace(None)

    def _called(self, frame: Any, event: str, argument: Any) -> Any:
        return self._line if frame.f_code.co_filename.startswith(PACKAGE) else None

    def _line(self, frame: Any, event: str, argument: Any) -> Any:
        if event == "line":
            self.lines += 1
            if self.lines == self.at:
                self.place = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno} {frame.f_code.co_qualname}"
                raise Interrupted
        return self._line


# ---- what is interrupted ---------------------------------------------------------------------------------


def a_block(world: World) -> tuple[list[Any], Callable[[], object]]:
    issue = world.issues("unassigned")

    def act() -> None:
        with world.store.atomic():
            issue.queue(by=MAINTAINER)
            issue.dequeue(by=MAINTAINER)

    return [issue], act


def a_block_in_a_block(world: World) -> tuple[list[Any], Callable[[], object]]:
    issue = world.issues("unassigned")

    def act() -> None:
        with world.store.atomic():
            issue.queue(by=MAINTAINER)
            with world.store.atomic():
                issue.dequeue(by=MAINTAINER)

    return [issue], act


def an_inner_block_that_rolls_back(world: World) -> tuple[list[Any], Callable[[], object]]:
    issue, other = world.issues("unassigned"), world.issues("unassigned")

    def act() -> None:
        with world.store.atomic():
            try:
                with world.store.atomic():
                    issue.queue(by=MAINTAINER)
                    raise ZeroDivisionError
            except ZeroDivisionError:
                other.queue(by=MAINTAINER)

    return [issue, other], act


def a_block_of_peewee(world: World) -> tuple[list[Any], Callable[[], object]]:
    agent = world.agent()

    def act() -> None:
        with world.store.database.atomic(), world.store.database.atomic():
            Agent.get_by_id(agent.id).stop(by=MAINTAINER, reason=WHY)  # Peewee puts no row object back

    return [agent], act


def a_claim(world: World) -> tuple[list[Any], Callable[[], object]]:
    world.issues("queued")
    agent = world.agent()
    return [agent], lambda: world.store.claim(agent)


def a_save(world: World) -> tuple[list[Any], Callable[[], object]]:
    issue = world.issues("unassigned")

    def act() -> None:
        fresh = Issue.get_by_id(issue.id)
        fresh.prompt = f"{fresh.prompt}, and more"
        fresh.save()

    return [issue], act


BLOCKS = [a_block, a_block_in_a_block, an_inner_block_that_rolls_back, a_block_of_peewee, a_claim, a_save]


# ---- at any line -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("story", [*BLOCKS, *STORIES], ids=lambda story: story.__name__)
def test_an_exception_at_any_line(store: Store, target: str, story: Story) -> None:
    """The caller gets that exception, the state is the old or the new one, and nothing stays locked."""
    world = World(store)
    _, act = story(world)
    with Interruption() as whole:
        act()
    lines = range(1, whole.lines + 1)
    for at in lines if LONG else random.Random(story.__name__).sample(lines, min(LINES, len(lines))):
        interrupted(world, target, story, at)
    assert store.verify() == []


def interrupted(world: World, target: str, story: Story, at: int) -> None:
    objects, act = story(world)
    known = TransitionLog.select().count()
    before, held = everything(), [dict(row.__data__) for row in objects]
    with Interruption(at) as interruption:
        try:
            act()
        except Interrupted:
            pass
    place = interruption.place
    assert not world.store.database.transaction_depth(), place
    assert_nothing_is_locked(target, place)
    for row, was in zip(objects, held, strict=True):
        if not row.is_new and type(row).get_or_none(id=row.id) is not None:
            assert row.__data__ in (was, type(row).get_by_id(row.id).__data__), place
    if everything() == before:
        for row in objects:
            if not row.is_new:
                row.reload()
        act()  # what did not happen can happen now
    assert TransitionLog.select().count() > known or story is a_save, place
    assert everything() != before, place


def assert_nothing_is_locked(target: str, place: str) -> None:
    """Another connection can write at once and take its turn in the write queue."""
    if target.startswith("postgresql"):
        with psycopg.connect(target, autocommit=True) as other:
            other.execute("SET lock_timeout = '10s'")  # a connection that was closed ends a little later on the server
            tables = ", ".join(model._meta.table_name for model in EVERY)
            with other.transaction():
                other.execute(f"LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE")
        return
    other = sqlite3.connect(target, timeout=0, isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        other.execute("ROLLBACK")
    except sqlite3.OperationalError as error:
        raise AssertionError(place) from error
    finally:
        other.close()
    assert is_free(target), place


def is_free(target: str) -> bool:
    with Path(f"{target}-turn").open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


# ---- real signals ----------------------------------------------------------------------------------------


@contextmanager
def alarms() -> Iterator[Callable[[float], None]]:
    """Yield a function that raises KeyboardInterrupt after so many seconds, as Ctrl-C does."""

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        yield lambda seconds: signal.setitimer(signal.ITIMER_REAL, seconds) and None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


MOST = 3
"""An interrupt comes within this many times the duration of the work that it interrupts."""
UNOWNED = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
"""psycopg warns of a connection that is interrupted while it is being made."""


def to_and_fro(store: Store, issue: Issue) -> None:
    with store.atomic():
        issue.queue(by=MAINTAINER)
        with store.atomic():
            issue.dequeue(by=MAINTAINER)
    issue.queue(by=MAINTAINER)
    issue.dequeue(by=MAINTAINER)


def interrupt(store: Store, issue: Issue, moments: random.Random, interrupt_after: Callable[[float], None]) -> None:
    """Interrupt moves and blocks at a random moment, and bring the issue back to where it was."""
    began = time.perf_counter()
    to_and_fro(store, issue)
    longest = MOST * (time.perf_counter() - began)
    with pytest.raises(KeyboardInterrupt):
        try:
            interrupt_after(moments.uniform(0.00002, longest))
            while True:
                to_and_fro(store, issue)
        finally:
            interrupt_after(0)


def set_back(issue: Issue) -> None:
    if issue.reload().status == "queued":
        issue.dequeue(by=MAINTAINER)


@UNOWNED
def test_signals_at_random_moments(store: Store, target: str) -> None:
    """No other error replaces KeyboardInterrupt, nothing stays locked, and the next move works."""
    issue = World(store).issues("unassigned")
    moments = random.Random(7)
    with alarms() as interrupt_after:
        for number in range(INTERRUPTS):
            interrupt(store, issue, moments, interrupt_after)
            assert not store.database.transaction_depth()
            assert_nothing_is_locked(target, f"interrupt {number}")
            set_back(issue)
    assert store.verify() == []


def write_on(target: str, line: Any) -> None:
    """Make moves in another process until the test says stop; send how often a turn was given up."""
    gave_up = 0
    wait = write_queue.WriteQueue.wait

    def counted(turn: write_queue.WriteQueue) -> bool:
        nonlocal gave_up
        came = wait(turn)
        gave_up += not came
        return came

    write_queue.WriteQueue.wait = counted  # type: ignore[method-assign]
    moves = 0
    with open_store(target, timeout=20, durability="normal") as store:
        issue = Issue.create(title="Beside", prompt="…", issue_type="bug", repo_path="/src")
        line.send("ready")
        while not line.poll():
            issue.queue(by=MAINTAINER)
            issue.dequeue(by=MAINTAINER)
            moves += 2
        line.send((moves, gave_up, [str(found) for found in store.verify()]))


@UNOWNED
def test_signals_while_another_process_writes(target: str) -> None:
    """The other writer never has to give up its turn, so no interrupt leaves the queue locked."""
    with open_store(target, durability="normal") as store:
        issue = World(store).issues("unassigned")
        ours, theirs = SPAWN.Pipe()
        beside = SPAWN.Process(target=write_on, args=(target, theirs), daemon=True)
        beside.start()
        assert ours.recv() == "ready"
        moments = random.Random(8)
        with alarms() as interrupt_after:
            for _ in range(INTERRUPTS):
                interrupt(store, issue, moments, interrupt_after)
                set_back(issue)
        ours.send("stop")
        moves, gave_up, broken = ours.recv()
        beside.join()
        assert moves
        assert (gave_up, broken) == (0, [])


def test_an_interrupt_of_a_running_statement_leaves_a_connection_that_works(store: Store) -> None:
    """The statement is cancelled and the exception goes on, also one that psycopg does not know."""
    if store.database.kind == "sqlite":
        pytest.skip("SQLite's statements end before a signal is seen")

    class TimeIsUp(Exception):
        pass

    def raise_it(error: type[BaseException]) -> Any:
        def handler(number: int, frame: Any) -> None:
            raise error

        return handler

    agent = Agent.create(agent_type="coder")
    for error in (KeyboardInterrupt, TimeIsUp):
        before = signal.signal(signal.SIGALRM, raise_it(error))
        try:
            with pytest.raises(error), store.atomic():
                agent.heartbeat()
                signal.setitimer(signal.ITIMER_REAL, 0.1)
                store.database.execute_sql("SELECT pg_sleep(60)")
        finally:
            signal.signal(signal.SIGALRM, before)
        agent.stop(by=MAINTAINER, reason=WHY)
        agent = Agent.create(agent_type="coder")
    assert store.verify() == []


# ---- blocks that are dropped -----------------------------------------------------------------------------------


def test_a_block_that_was_never_left_is_rolled_back_when_it_is_dropped(store: Store, target: str) -> None:
    issue = World(store).issues("unassigned")
    block = store.atomic()
    block.__enter__()
    issue.queue(by=MAINTAINER)
    del block
    gc.collect()
    assert not store.database.transaction_depth()
    assert (issue.status, issue.version) == ("unassigned", 1)
    assert_nothing_is_locked(target, "dropped")


def forced_at_exit(block: Any) -> Any:
    """A block whose `__exit__` is interrupted on its first line, as a signal may do."""

    def called(frame: Any, event: str, argument: Any) -> Any:
        if frame.f_code is Atomic.__exit__.__code__:
            sys.settrace(None)
            raise Interrupted
        return None

    sys.settrace(called)
    return block


@pytest.mark.parametrize("kind", ["store", "database"])
def test_what_comes_after_an_interrupted_block_is_no_part_of_it(store: Store, target: str, kind: str) -> None:
    """Even while the exception keeps the block alive."""
    world = World(store)
    first, second = world.issues("unassigned"), world.issues("unassigned")
    try:
        with forced_at_exit((store if kind == "store" else store.database).atomic()):
            first.queue(by=MAINTAINER)
    except Interrupted:
        second.queue(by=MAINTAINER)
        with store.atomic():
            second.dequeue(by=MAINTAINER)
    assert [issue.reload().version for issue in (first, second)] == [1, 3]
    assert_nothing_is_locked(target, kind)


def test_a_block_that_was_kept_from_ending_and_ends_in_a_later_one(store: Store, target: str) -> None:
    """The later block is over too and raises: the rest of it is not committed on its own."""
    world = World(store)
    first, second, third = (world.issues("unassigned") for _ in range(3))
    kept: list[BaseException] = []
    try:
        with forced_at_exit(store.atomic()):
            first.queue(by=MAINTAINER)
    except Interrupted as error:
        kept.append(error)
    with pytest.raises(StoreError), store.atomic():
        second.queue(by=MAINTAINER)
        kept.clear()
        with pytest.raises(StoreError):
            third.queue(by=MAINTAINER)
    assert [(issue.status, issue.reload().version) for issue in (first, second, third)] == [("unassigned", 1)] * 3
    third.queue(by=MAINTAINER)
    assert_nothing_is_locked(target, "kept")


# ---- blocks that are not left in order -------------------------------------------------------------------


def holding(store: Store, issue: Issue) -> Iterator[None]:
    with store.atomic():
        issue.queue(by=MAINTAINER)
        yield


def test_a_generators_block_that_is_closed_within_a_later_one(store: Store, target: str) -> None:
    """Closing it ends the later block too, which raises, and nothing of either is written."""
    world = World(store)
    issues = [world.issues("unassigned") for _ in range(3)]
    generator = holding(store, issues[0])
    next(generator)
    with pytest.raises(StoreError), store.atomic():
        issues[1].queue(by=MAINTAINER)
        generator.close()
        with pytest.raises(StoreError):
            issues[2].queue(by=MAINTAINER)
    assert [(issue.status, issue.reload().version) for issue in issues] == [("unassigned", 1)] * 3
    issues[2].queue(by=MAINTAINER)
    assert_nothing_is_locked(target, "closed")


def test_a_generators_block_that_is_still_open_at_the_end_of_the_one_around_it(store: Store, target: str) -> None:
    """The outer block raises at its end, and the thread can write again once the generator is closed."""
    world = World(store)
    issues = [world.issues("unassigned") for _ in range(3)]
    generator = holding(store, issues[0])
    with pytest.raises(StoreError), store.atomic():
        next(generator)
        issues[1].queue(by=MAINTAINER)
    with pytest.raises(StoreError):
        issues[2].queue(by=MAINTAINER)
    generator.close()
    assert [(issue.status, issue.reload().version) for issue in issues] == [("unassigned", 1)] * 3
    issues[2].queue(by=MAINTAINER)
    assert_nothing_is_locked(target, "open")


def test_a_block_is_left_in_the_thread_that_opened_it(store: Store) -> None:
    """Leaving it in another thread is refused and does not disturb it."""
    world = World(store)
    mine, theirs = world.issues("unassigned"), world.issues("unassigned")
    block = store.atomic()
    found: list[object] = []

    def leaves() -> None:
        for error in ((None, None, None), (KeyError, KeyError(), None)):
            with pytest.raises(InvalidValue, match="another thread"):
                block.__exit__(*error)
            found.append(error)

    with block:
        mine.queue(by=MAINTAINER)
        thread = threading.Thread(target=leaves)
        thread.start()
        thread.join()
    assert len(found) == 2
    theirs.queue(by=MAINTAINER)
    assert [issue.reload().version for issue in (mine, theirs)] == [2, 2]


@pytest.mark.parametrize("kind", ["store", "database"])
def test_a_block_that_is_open_is_not_entered_again(store: Store, kind: str) -> None:
    issue = World(store).issues("unassigned")
    block = (store if kind == "store" else store.database).atomic()
    with block:
        issue.queue(by=MAINTAINER)
        with pytest.raises(InvalidValue, match="open already"), block:
            issue.dequeue(by=MAINTAINER)
    with block:  # entering it again later is allowed
        issue.dequeue(by=MAINTAINER)
    assert issue.reload().version == 3


def test_a_thread_whose_signal_came_while_it_was_asked_for_keeps_its_connection(store: Store) -> None:
    """CPython 3.11 marks a thread as stopped when a signal's exception interrupts `is_alive()`."""
    thread = threading.main_thread()
    stopped = getattr(thread, "_is_stopped", False)
    issue = World(store).issues("unassigned")
    thread._is_stopped = True  # type: ignore[attr-defined]
    try:
        with store.atomic():
            issue.queue(by=MAINTAINER)
            other = threading.Thread(target=store.counts)
            other.start()
            other.join()
            issue.dequeue(by=MAINTAINER)
    finally:
        thread._is_stopped = stopped  # type: ignore[attr-defined]
    assert issue.reload().version == 3


def test_peewees_own_ways_to_end_a_transaction(store: Store) -> None:
    """Manual commits, sessions, and savepoints where no transaction is open."""
    database, issue = store.database, World(store).issues("unassigned")
    database.close()
    with database.manual_commit():
        database.begin()
        Issue.update(title="Not kept").where(Issue.id == issue.id).execute()
        database.rollback()
    assert Issue.get_by_id(issue.id).title != "Not kept"
    with database.connection_context():
        issue.queue(by=MAINTAINER)
    with database.savepoint() as savepoint:
        Issue.update(title="Not kept").where(Issue.id == issue.id).execute()
        savepoint.rollback()
    assert Issue.get_by_id(issue.id).title != "Not kept"
    database.session_start()
    issue.dequeue(by=MAINTAINER)
    database.session_commit()

    async def moves() -> None:
        issue.queue(by=MAINTAINER)

    asyncio.run(moves())
    assert issue.reload().version == 4
