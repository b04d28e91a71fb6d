"""The open store: one per process, closed for good, shared by threads, refused to children; and what it tells."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import peewee
import psycopg
import pytest

from dispatch_state import (
    Agent,
    AgentLog,
    ConfigEntry,
    Epic,
    InvalidValue,
    Issue,
    RowNotFound,
    Stage,
    Store,
    StoreAlreadyOpen,
    StoreNotOpen,
    SyncState,
    WrongProcess,
    open_store,
)
from tests.conftest import Clock
from tests.world import MAINTAINER, MODELS, WHY, World

ROOT = Path(__file__).parent.parent
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")


@pytest.fixture
def world(store: Store) -> World:
    return World(store)


def in_threads(count: int, work: Callable[[int], Any]) -> list[Any]:
    """What `work` gives, or raises, in so many threads that begin together."""
    found: list[Any] = [None] * count
    start = threading.Barrier(count)

    def run(number: int) -> None:
        start.wait(30)
        try:
            found[number] = work(number)
        except Exception as error:
            found[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return found


def in_child(work: Callable[[], object]) -> str:
    """What `work` gives in a forked child, or the name of what it raises; the child leaves without a word."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            said = str(work())
        except BaseException as error:
            said = type(error).__name__
        os.write(writer, said.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as told:
        said = told.read()
    os.waitpid(child, 0)
    return said


# ---- one store per process ---------------------------------------------------------------------------


def test_a_second_store_is_refused_while_one_is_open(target: str, tmp_path: Path) -> None:
    """The same or another; the one that is open goes on, and the other is not made."""
    with open_store(target) as store:
        for wanted in (target, tmp_path / "second.db", ":memory:"):
            with pytest.raises(StoreAlreadyOpen, match="close"):
                open_store(wanted)
        Agent.create(agent_type="coder")
        assert store.counts()["agents"]["idle"] == 1
    assert not (tmp_path / "second.db").exists()


def test_a_store_is_opened_again_after_closing(target: str) -> None:
    """What was written is there, in row objects of an earlier store too."""
    with open_store(target):
        agent = Agent.create(agent_type="coder")
    with open_store(target, create=False, migrate=False):
        assert Agent.get() == agent
        agent.reload().stop(by=MAINTAINER, reason=WHY)


def test_of_many_threads_that_open_one_wins(target: str) -> None:
    found = in_threads(6, lambda _: open_store(target))
    (store,) = [one for one in found if isinstance(one, Store)]
    assert [type(one) for one in found if one is not store] == [StoreAlreadyOpen] * 5
    with store:
        assert Agent.select().count() == 0


def test_a_store_is_closed_by_an_exception_too(target: str) -> None:
    with pytest.raises(KeyError), open_store(target):
        raise KeyError
    open_store(target).close()


# ---- closed for good ---------------------------------------------------------------------------------

USES: dict[str, Callable[[Store, Agent], object]] = {
    "create": lambda store, agent: Agent.create(agent_type="coder"),
    "save": lambda store, agent: Agent(agent_type="coder").save(),
    "trigger": lambda store, agent: agent.stop(by=MAINTAINER, reason=WHY),
    "reload": lambda store, agent: agent.reload(),
    "remove": lambda store, agent: agent.remove(by=MAINTAINER, reason=WHY),
    "may": lambda store, agent: agent.may("stop", by=MAINTAINER),
    "heartbeat": lambda store, agent: agent.heartbeat(),
    "log": lambda store, agent: agent.log("info", "still here"),
    "config": lambda store, agent: ConfigEntry.read("key"),
    "sync": lambda store, agent: SyncState.record("github"),
    "query": lambda store, agent: list(Agent.select()),
    "get": lambda store, agent: Agent.get_by_id(agent.id),
    "backref": lambda store, agent: list(agent.logs),
    "count": lambda store, agent: AgentLog.select().count(),
    "by_status": lambda store, agent: list(Issue.by_status("queued")),
    "now": lambda store, agent: store.now(),
    "counts": lambda store, agent: store.counts(),
    "changes": lambda store, agent: store.changes(),
    "history": lambda store, agent: store.history(agent),
    "explain": lambda store, agent: store.explain(agent),
    "needs_human": lambda store, agent: store.needs_human(),
    "claim": lambda store, agent: store.claim(agent),
    "rescue": lambda store, agent: store.rescue(),
    "tick": lambda store, agent: store.tick(),
    "atomic": lambda store, agent: store.atomic().__enter__(),
    "SQL": lambda store, agent: store.database.execute_sql("SELECT 1"),
}
every_use = pytest.mark.parametrize("use", USES.values(), ids=USES)


@every_use
def test_every_use_after_closing_is_refused(use: Callable[[Store, Agent], object], store: Store) -> None:
    """With an error that is Peewee's too, from this thread and from another."""
    agent = Agent.create(agent_type="coder")
    store.close()
    with pytest.raises(StoreNotOpen) as refused:
        use(store, agent)
    assert isinstance(refused.value, peewee.InterfaceError)
    (there,) = in_threads(1, lambda _: use(store, agent))
    assert isinstance(there, StoreNotOpen)


def test_without_any_store_every_use_is_refused() -> None:
    """Also in a process that never opened one."""
    for use in (lambda: Agent.create(agent_type="coder"), lambda: Agent.select().count(), lambda: list(Epic.select())):
        with pytest.raises(StoreNotOpen, match="open_store"):
            use()


def test_a_wrong_value_after_closing_is_told_as_closed(store: Store) -> None:
    """The order of the errors: `StoreNotOpen` comes before `InvalidValue`."""
    agent = Agent.create(agent_type="coder")
    store.close()
    uses: list[Callable[[], object]] = [
        lambda: Agent.create(agent_type="of no such type"),
        lambda: agent.stop(by="somebody", reason=""),  # type: ignore[arg-type]
        lambda: ConfigEntry.read(""),
    ]
    for use in uses:
        with pytest.raises(StoreNotOpen):
            use()


def test_closing_twice_does_nothing(target: str) -> None:
    """Not even when another store was opened in between."""
    first = open_store(target)
    first.close()
    first.close()
    with open_store(target):
        first.close()
        Agent.create(agent_type="coder")
    with pytest.raises(StoreNotOpen):
        first.now()


def test_closing_ends_what_other_threads_do(store: Store) -> None:
    """A thread that wrote a moment ago is refused at its next call."""
    wrote, closed = threading.Event(), threading.Event()
    found: list[Any] = []

    def work() -> None:
        Agent.create(agent_type="coder")
        wrote.set()
        closed.wait(20)
        try:
            Agent.create(agent_type="coder")
        except Exception as error:
            found.append(type(error))

    thread = threading.Thread(target=work)
    thread.start()
    wrote.wait(20)
    store.close()
    closed.set()
    thread.join(20)
    assert found == [StoreNotOpen]


# ---- in another process ------------------------------------------------------------------------------


@every_use
def test_every_use_in_a_forked_child_is_refused(use: Callable[[Store, Agent], object], store: Store) -> None:
    """With `WrongProcess`, and the parent goes on."""
    agent = Agent.create(agent_type="coder")
    assert in_child(lambda: use(store, agent)) == WrongProcess.__name__
    agent.stop(by=MAINTAINER, reason=WHY)
    assert store.counts()["agents"]["completed"] == 1


def test_a_child_does_not_close_the_parents_store(store: Store) -> None:
    """Neither by hand, which is an error, nor by leaving its `with`, which is not."""
    assert in_child(store.close) == WrongProcess.__name__
    assert in_child(lambda: store.__exit__(None, None, None)) == "None"
    assert store.counts()["agents"]["idle"] == 0


def test_a_child_may_open_the_parents_store_for_itself(store: Store, target: str) -> None:
    """Both write; neither disturbs the other."""

    def work() -> Any:
        with open_store(target) as own:
            Agent.create(agent_type="reviewer")
            return own.counts()["agents"]["idle"]

    Agent.create(agent_type="coder")
    assert [in_child(work) for _ in range(3)] == ["2", "3", "4"]
    Agent.create(agent_type="coder")
    assert Agent.select().count() == 5


ENDS_BY_ITSELF = """
import os, sys
from dispatch_state import Agent, WrongProcess, open_store

store = open_store(sys.argv[1], timeout=5)
Agent.create(agent_type="coder")
for _ in range(10):
    child = os.fork()
    if not child:
        try:
            Agent.create(agent_type="coder")
        except WrongProcess:
            sys.exit(7)
        sys.exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    Agent.create(agent_type="coder")
print(store.counts()["agents"]["idle"])
if store.database.kind == "sqlite":
    print(store.database.execute_sql("PRAGMA integrity_check").fetchone()[0])
store.close()
"""


def test_children_that_end_as_any_program_does_leave_the_store_whole(target: str, backend: str) -> None:
    """Ten of them, through the interpreter's own shutdown, which finalises what it finds."""
    command = [sys.executable, "-W", "ignore", "-c", ENDS_BY_ITSELF, target]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.split() == (["11", "ok"] if backend == "sqlite" else ["11"])
    with open_store(target) as store:
        assert store.counts()["agents"]["idle"] == 11


# ---- threads -----------------------------------------------------------------------------------------


@pytest.fixture(params=["memory", "file", "postgresql"])
def shared(request: pytest.FixtureRequest) -> Iterator[Store]:
    """A store of each kind that threads may share."""
    if request.param == "memory":
        place = ":memory:"
    else:
        request.getfixturevalue("tmp_path")
        backend = "postgresql" if request.param == "postgresql" else "sqlite"
        place = request.getfixturevalue(f"{backend}_place")
    with open_store(place, durability="normal") as opened:
        yield opened


@pytest.fixture
def sqlite_place(tmp_path: Path) -> str:
    return str(tmp_path / "x.db")


@pytest.fixture
def postgresql_place() -> Iterator[str]:
    from tests import postgres

    try:
        with postgres.fresh_schema() as url:
            yield url
    except postgres.Unavailable as error:
        pytest.skip(f"POSTGRESQL COULD NOT BE STARTED, ITS HALF OF THE SUITE IS SKIPPED: {error}")


def test_eight_threads_write_at_once_through_one_store(shared: Store) -> None:
    """None is refused, and none writes through another's connection; the log has every birth and move."""

    def work(_: int) -> None:
        for _ in range(5):
            agent = Agent.create(agent_type="coder")
            agent.stop(by=MAINTAINER, reason=WHY)

    assert in_threads(8, work) == [None] * 8
    assert shared.counts()["agents"]["completed"] == 40
    seqs = [move.seq for move in shared.changes()]
    assert len(seqs) == len(set(seqs)) == 80


def test_a_transaction_is_its_threads_own(shared: Store) -> None:
    """What one thread has not committed, another does not see, unless it is in memory, where it waits."""
    if shared.database.database.startswith("file:"):
        pytest.skip("memory has no log beside it: its readers wait for its writer")
    with shared.atomic():
        Agent.create(agent_type="coder")
        assert in_threads(1, lambda _: Agent.select().count()) == [0]
        assert Agent.select().count() == 1
    assert in_threads(1, lambda _: Agent.select().count()) == [1]


def test_memory_is_gone_when_it_is_closed() -> None:
    """A second one begins empty."""
    with open_store(":memory:"):
        Agent.create(agent_type="coder")
        assert in_threads(3, lambda _: Agent.select().count()) == [1, 1, 1]
    with open_store(":memory:"):
        assert Agent.select().count() == 0


def test_twenty_threads_that_ended_leave_no_more_than_the_pool(postgresql_place: str) -> None:
    """The server has at most `pool_size` connections of ours, and the one in use."""
    place = f"{postgresql_place}&application_name=pooled"
    with open_store(place, pool_size=3), psycopg.connect(postgresql_place) as server:
        found = in_threads(20, lambda _: str(Agent.create(agent_type="coder").status))
        assert found == ["idle"] * 20
        Agent.create(agent_type="coder")
        count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pooled'"
        assert server.execute(count).fetchone() in [(number,) for number in range(1, 5)]
    with psycopg.connect(postgresql_place, autocommit=True) as server:
        for _ in range(100):  # the server takes a moment to notice
            if server.execute(count).fetchone() == (0,):
                break
            server.execute("SELECT pg_sleep(0.02)")
        assert server.execute(count).fetchone() == (0,)


def handles(file: str) -> int:
    """How often this process has a file open."""
    links = [Path("/proc/self/fd") / number for number in os.listdir("/proc/self/fd")]  # noqa: PTH208
    return sum(link.is_symlink() and str(link.readlink()) == file for link in links)


@LINUX
def test_threads_that_ended_leave_their_files_to_those_that_come(sqlite_place: str) -> None:
    """SQLite keeps a handle while another connection of the process has a lock, and gives it to the next one.

    So a hundred threads after each other need no more handles than twenty at once did, and closing ends all.
    """
    with open_store(sqlite_place, durability="normal"):
        for _ in range(5):
            assert in_threads(20, lambda _: str(Agent.create(agent_type="coder").status)) == ["idle"] * 20
            assert handles(sqlite_place) <= 22
    assert handles(sqlite_place) == 0


# ---- blocks ------------------------------------------------------------------------------------------


def test_blocks_nest(store: Store) -> None:
    """An inner block that fails takes back its own moves, in the database and in memory, and no others."""
    with store.atomic():
        kept, lost = Agent.create(agent_type="coder"), Agent.create(agent_type="coder")
        with store.atomic():
            kept.stop(by=MAINTAINER, reason=WHY)
        with pytest.raises(KeyError), store.atomic():
            lost.stop(by=MAINTAINER, reason=WHY)
            raise KeyError
        assert (kept.status, lost.status) == ("completed", "idle")
    assert (kept.reload().status, lost.reload().status) == ("completed", "idle")


def test_a_block_that_fails_takes_its_inner_blocks_with_it(store: Store) -> None:
    agent = Agent.create(agent_type="coder")
    with pytest.raises(KeyError), store.atomic():
        with store.atomic(), store.atomic():
            agent.stop(by=MAINTAINER, reason=WHY)
        raise KeyError
    assert (agent.status, agent.version, agent.reload().status) == ("idle", 1, "idle")
    assert len(store.changes()) == 1


# ---- what a store tells ------------------------------------------------------------------------------


def test_history_is_the_rows_own_and_the_oldest_first(world: World, store: Store) -> None:
    """Version by version, each move beginning where the one before it ended."""
    world.issues("done")
    issue = world.issues("in_review")
    moves = store.history(issue)
    assert [move.version for move in moves] == list(range(1, issue.reload().version + 1))
    assert [move.source for move in moves[1:]] == [move.dest for move in moves[:-1]]
    assert {(move.entity, move.entity_id) for move in moves} == {("issues", issue.id)}
    assert moves[0].source is None


@pytest.mark.parametrize("given", [None, 5, "an issue", Issue])
def test_history_and_explain_take_a_row_with_a_lifecycle(store: Store, given: Any) -> None:
    for ask in (store.history, store.explain):
        with pytest.raises(InvalidValue, match="lifecycle"):
            ask(given)


def test_a_removed_rows_history_stays(world: World, store: Store) -> None:
    """With what went along with it, each by a move of its own; the last goes nowhere."""
    epic = world.epics("cancelled")
    stage, gate = epic.stages.order_by(Stage.stage_order).first(), epic.stages.first().gates.first()
    epic.reload().remove(by=MAINTAINER, reason="made by mistake")
    for row in (epic, stage, gate):
        last = store.history(row)[-1]
        assert (last.trigger, last.dest, last.reason) == ("remove", None, "made by mistake")
        with pytest.raises(RowNotFound):
            store.explain(row)


def test_explain_says_why_up_to_who_acted(world: World, store: Store) -> None:
    """A stage that began when the gate of the one before it was approved, by a person who gave a reason."""
    first, second = world.waiting_stage().epic.stages.order_by(Stage.stage_order)
    first.gates.get().approve(by=MAINTAINER, reason="the design is sound")
    told = store.explain(second.reload())
    lines = told.splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["because"] + ["which"] * (len(lines) - 2)
    assert "because" in told
    assert "which followed" in told
    assert f"gates {str(first.gates.get().id)[-8:]}  approve (pending -> approved) by human:maintainer" in lines[-1]
    assert lines[-1].endswith(": the design is sound")
    assert "Do it" not in told


def test_explain_of_a_newborn_is_its_birth(store: Store) -> None:
    agent = Agent.create(agent_type="coder", by=MAINTAINER)
    assert "because" in store.explain(agent)
    assert "which followed" not in store.explain(agent)


@pytest.mark.parametrize("limit", [1, 2, 7, 1000])
def test_changes_come_in_pages_without_gap_or_overlap(world: World, store: Store, limit: int) -> None:
    """A reader that goes on behind the last it has read misses nothing."""
    world.issues("done")
    world.epics("completed")
    seen: list[int] = []
    while page := store.changes(after=seen[-1] if seen else 0, limit=limit):
        assert len(page) <= limit
        seen += [move.seq for move in page]
    every = store.database.execute_sql("SELECT seq FROM transition_log ORDER BY seq").fetchall()
    assert [(seq,) for seq in seen] == [tuple(row) for row in every]
    assert store.changes(after=seen[-1]) == []


def test_changes_are_a_thousand_at_most_unless_asked_for_more(store: Store) -> None:
    with store.atomic():
        for _ in range(1005):
            Agent.create(agent_type="coder")
    assert (len(store.changes()), len(store.changes(limit=5000)), len(store.changes(after=1003))) == (1000, 1005, 2)


PAGES: list[dict[str, Any]] = [
    *({"after": value} for value in (None, "1", 1.5, True, 2**63, [])),
    *({"limit": value} for value in (0, -1, None, "1", 1.5, True, 2**63, [])),
]


@pytest.mark.parametrize("arguments", PAGES, ids=str)
def test_a_page_that_cannot_be_is_refused_by_name(store: Store, arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue, match=next(iter(arguments))):
        store.changes(**arguments)


@pytest.mark.parametrize("after", [-1, -(2**63), 2**63 - 1])
def test_a_page_behind_any_number_is_a_page(store: Store, after: int) -> None:
    Agent.create(agent_type="coder")
    assert len(store.changes(after=after)) == (after < 0)


def test_counts_name_every_status_of_every_table(world: World, store: Store) -> None:
    """Those in which no row stands too; the numbers are plain, their names plain text."""
    empty = store.counts()
    assert {table: set(found) for table, found in empty.items()} == {
        table: {str(status) for status in model.statuses} for table, model in MODELS.items()
    }
    assert {count for found in empty.values() for count in found.values()} == {0}
    world.issues("blocked")
    world.issues("blocked")
    world.issues("queued")
    counted = store.counts()["issues"]
    assert (counted["blocked"], counted["queued"], sum(counted.values())) == (2, 1, 3)
    assert {type(word) for found in store.counts().values() for word in found} == {str}


# ---- who is waited for -------------------------------------------------------------------------------


def gate(world: World) -> tuple[Any, Callable[[], Any]]:
    found = world.waiting_stage().gates.get()
    return found, lambda: found.approve(by=MAINTAINER)


def idle_stage(world: World) -> tuple[Any, Callable[[], Any]]:
    stage = world.running_epic({}).current_stage
    return stage, lambda: stage.add_issue(**world.issue_columns())


def unassigned_issue(world: World) -> tuple[Any, Callable[[], Any]]:
    issue = world.running_epic().current_stage.add_issue(**world.issue_columns())
    issue.dequeue(by=MAINTAINER)
    return issue, lambda: issue.queue(by=MAINTAINER)


def blocked_issue(world: World) -> tuple[Any, Callable[[], Any]]:
    issue = world.issues("blocked").reload()
    return issue, lambda: issue.unblock(by=MAINTAINER)


def orphaned_review(world: World) -> tuple[Any, Callable[[], Any]]:
    issue = world.issues("awaiting_review").reload()
    issue.assigned_agent.stop(by=MAINTAINER, reason=WHY)
    return issue, lambda: issue.reload().cancel(by=MAINTAINER, reason=WHY)


def errored_agent(world: World) -> tuple[Any, Callable[[], Any]]:
    agent = world.agents("errored").reload()
    return agent, lambda: agent.recover(by=MAINTAINER)


def waiting_agent(world: World) -> tuple[Any, Callable[[], Any]]:
    agent = world.agents("waiting_for_input").reload()
    return agent, lambda: agent.receive_input(by=MAINTAINER)


def no_quorum(world: World) -> tuple[Any, Callable[[], Any] | None]:
    proposal = world.new_proposal(voting_deadline=world.store.now())
    world.store.tick()
    return proposal.reload(), None


def approved_proposal(world: World) -> tuple[Any, Callable[[], Any]]:
    proposal = world.proposals("approved").reload()
    return proposal, lambda: proposal.begin_execution(by=MAINTAINER)


WAITS: list[Callable[[World], tuple[Any, Callable[[], Any] | None]]] = [
    *(gate, idle_stage, unassigned_issue, blocked_issue, orphaned_review),
    *(errored_agent, waiting_agent, no_quorum, approved_proposal),
]


@pytest.mark.parametrize("wait", WAITS, ids=lambda wait: wait.__name__)
def test_a_person_is_waited_for_until_a_person_acts(
    wait: Callable[[World], tuple[Any, Callable[[], Any] | None]], world: World, store: Store, clock: Clock
) -> None:
    """Each kind is told once, with its row and since when, and is gone after what its sentence asks for.

    A proposal without quorum is over, and stays told.
    """
    kind = wait.__name__.replace("_", " ")
    row, act = wait(world)
    came = clock.now
    clock.forward(minutes=5)
    (need,) = [need for need in store.needs_human() if need.kind == kind]
    assert (need.row, need.since) == (row, came)
    assert need.why.strip()
    if act is not None:
        act()
    assert [found.row for found in store.needs_human() if found.kind == kind] == ([] if act else [row])


def test_the_longest_wait_of_a_kind_comes_first(world: World, store: Store, clock: Clock) -> None:
    waits = []
    for _ in range(3):
        waits.append(world.issues("blocked"))
        clock.forward(minutes=1)
    assert [need.row for need in store.needs_human()] == waits


def test_nothing_that_goes_on_by_itself_is_told(world: World, store: Store) -> None:
    for status in ("queued", "assigned", "in_progress", "awaiting_review", "done", "cancelled"):
        world.issues(status)
    for status in ("idle", "starting", "working", "paused", "completed"):
        world.agents(status)
    for status in ("open", "voting", "executing", "executed", "rejected", "vetoed"):
        world.proposals(status)
    assert store.needs_human() == []


# ---- what is logged ----------------------------------------------------------------------------------


def test_every_move_is_logged_and_no_prompt(world: World, store: Store, caplog: pytest.LogCaptureFixture) -> None:
    """One line a move, those that followed too, under one name; transitions is silent at any level."""
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, logger="transitions")
    stage = world.waiting_stage()
    secret = stage.epic.add_issue(title="secret title", prompt="the secret prompt", issue_type="bug")
    stage.gates.get().approve(by=MAINTAINER, comment="secret comment")
    secret.queue(by=MAINTAINER)
    ours = [record for record in caplog.records if record.name == "dispatch_state"]
    assert len(ours) == len(store.changes())
    assert {record.levelno for record in ours} == {logging.DEBUG}
    names = {record.name.partition(".")[0] for record in caplog.records}
    assert names - {"peewee"} == {"dispatch_state"}
    assert "secret" not in "".join(record.getMessage() for record in ours)


def test_nothing_is_logged_above_debug(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    world.issues("done")
    world.proposals("executed")
    assert caplog.records == []


def test_a_program_that_sets_up_no_logging_hears_nothing(tmp_path: Path) -> None:
    """Nor does importing or opening set up any for it."""
    code = (
        "import logging, sys\n"
        "from dispatch_state import Agent, Human, open_store\n"
        "with open_store(sys.argv[1]): Agent.create(agent_type='coder').stop(by=Human('me'), reason='done')\n"
        "print([logging.root.handlers, logging.getLogger('dispatch_state').handlers])"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "x.db")]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert (ended.stdout.strip(), ended.stderr) == ("[[], []]", "")


def test_a_store_tells_where_it_is_and_no_password(store: Store, backend: str, target: str) -> None:
    shown = repr(store)
    assert shown == f"<Store {target}>" if backend == "sqlite" else shown.startswith("<Store postgresql://")
    assert "options" not in shown


def test_a_store_closes_with_closing(target: str) -> None:
    with closing(open_store(target)) as store:
        assert store.now().utcoffset() is not None
    with pytest.raises(StoreNotOpen):
        store.now()
