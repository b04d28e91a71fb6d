"""The open store: one per process, closed for good, and refused to forked children."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import peewee
import pytest

from dispatch_state import (
    Agent,
    AgentLog,
    ConfigEntry,
    InvalidValue,
    RowNotFound,
    SchemaTooOld,
    Store,
    StoreAlreadyOpen,
    StoreCorrupt,
    StoreNotFound,
    StoreNotOpen,
    WrongProcess,
    open_store,
)
from tests import postgres
from tests.forks import in_child
from tests.paths import ROOT
from tests.store_uses import USES, Opened
from tests.threads import in_thread
from tests.world import MAINTAINER, MODELS, WHY, World


def ran(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A program of its own, run to its end; forks in it cannot be disturbed by threads of the suite."""
    command = [sys.executable, "-W", "ignore", "-c", code, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def another(backend: str, tmp_path: Path) -> Iterator[str]:
    """Where another empty database of the same kind is."""
    if backend == "sqlite":
        yield str(tmp_path / "another.db")
        return
    with postgres.fresh_schema() as url:
        yield url


# ---- opening -----------------------------------------------------------------------------------------


def test_a_second_store_is_refused_and_the_error_names_the_open_one(target: str, another: str) -> None:
    """The open store goes on, and the other is not created."""
    with open_store(target) as store:
        for wanted in (target, another, ":memory:"):
            with pytest.raises(StoreAlreadyOpen) as refused:
                open_store(wanted)
            assert str(refused.value).startswith(f"{store!r} is open in this process")
        Agent.create(agent_type="coder")
        assert store.counts()["agents"]["idle"] == 1
    with pytest.raises(StoreNotFound):
        open_store(another, create=False)


def test_a_store_that_is_opened_again_has_what_was_written(target: str) -> None:
    """Row objects of the earlier store can be used with it."""
    with open_store(target):
        agent = Agent.create(agent_type="coder")
    with open_store(target, create=False, migrate=False):
        agent.stop(by=MAINTAINER, reason=WHY)
        assert Agent.get() == agent
    with open_store(target) as store:
        assert [move.trigger for move in store.history(agent)] == ["create", "stop"]


def test_the_models_are_bound_to_the_store_that_was_opened_last(target: str, another: str) -> None:
    """Reading, writing, triggers and conveniences: nothing reaches the first store any more."""
    with open_store(target):
        first = Agent.create(agent_type="coder")
    with open_store(another) as store:
        second = Agent.create(agent_type="reviewer")
        second.stop(by=MAINTAINER, reason=WHY)
        ConfigEntry.write("key", "second")
        assert (list(Agent.select()), len(store.changes())) == ([second], 2)
        for use in (first.reload, first.heartbeat, lambda: first.stop(by=MAINTAINER, reason=WHY)):
            with pytest.raises(RowNotFound):
                use()
    with open_store(target) as store:
        assert (list(Agent.select()), len(store.changes())) == ([first], 1)
        assert ConfigEntry.read("key") is None


def test_leaving_with_by_an_exception_closes(target: str) -> None:
    """The exception is raised, and the next store can be opened."""
    with pytest.raises(KeyError, match="mine"), open_store(target) as store:
        raise KeyError("mine")
    with pytest.raises(StoreNotOpen):
        store.now()
    open_store(target).close()


def test_after_a_failed_open_another_store_can_be_opened(target: str, tmp_path: Path) -> None:
    """At whatever step it failed."""
    (tmp_path / "letter.txt").write_text("Dear store, " * 500)
    wrong: list[tuple[type[Exception], dict[str, Any]]] = [
        (StoreCorrupt, {"target": tmp_path / "letter.txt"}),
        (StoreNotFound, {"target": target, "create": False}),
        (SchemaTooOld, {"target": target, "migrate": False}),
        (InvalidValue, {"target": target, "timeout": 0}),
    ]
    for error, arguments in wrong:
        with pytest.raises(error):
            open_store(**arguments)
        with pytest.raises(StoreNotOpen):
            Agent.create(agent_type="coder")
    open_store(target).close()


WRONG: list[dict[str, Any]] = [
    *({"durability": value} for value in (0, None, b"full", [], {}, "FULL")),
    *({"clock": value} for value in (5, "now", datetime(2026, 1, 31))),
    *({"timeout": value} for value in ("5", [1])),
    {"pool_size": "3"},
]


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_a_wrong_argument_is_refused_by_name(wrong: dict[str, Any], target: str, tmp_path: Path) -> None:
    """On both databases, also an argument that only the other one uses; nothing is created."""
    with pytest.raises(InvalidValue, match=f"^{next(iter(wrong))}: "):
        open_store(target, **wrong)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("moment", [datetime(2026, 1, 31, 9, 30), "2026-01-31T09:30:00+00:00", None, 0])
def test_a_clock_without_aware_times_is_refused_when_it_is_read(moment: Any, target: str) -> None:
    """Nothing is written with it."""
    with open_store(target, clock=lambda: moment) as store:
        for use in (store.now, lambda: Agent.create(agent_type="coder"), store.tick, store.rescue):
            with pytest.raises(InvalidValue, match="clock"):
                use()
        assert (Agent.select().count(), store.changes()) == (0, [])


def test_a_store_shows_where_it_is_without_the_parameters(store: Store, backend: str, target: str) -> None:
    """A parameter of a URL may be a password."""
    assert (repr(store) == f"<Store {target}>") is (backend == "sqlite")
    assert repr(store).startswith("<Store postgresql://") is (backend == "postgresql")
    assert "?" not in repr(store)


def test_counts_name_every_status_of_every_table_in_plain_words(store: Store) -> None:
    """Also statuses in which there is no row."""
    found = store.counts()
    assert found == {table: {str(word): 0 for word in model.statuses} for table, model in MODELS.items()}
    assert {type(word) for statuses in found.values() for word in statuses} == {str}


def test_changes_are_a_thousand_at_most_unless_asked_for_more(store: Store) -> None:
    with store.atomic():
        for _ in range(1005):
            Agent.create(agent_type="coder")
    first = store.changes()
    assert (len(first), len(store.changes(after=first[-1].seq)), len(store.changes(limit=5000))) == (1000, 5, 1005)


# ---- closed for good ---------------------------------------------------------------------------------


@pytest.fixture
def opened(store: Store) -> Opened:
    issue = World(store).new_issue()
    issue.title = "changed, and not saved"
    return Opened(store, Agent.create(agent_type="coder"), issue)


WRONG_USES: list[Callable[[Opened], object]] = [
    lambda here: Agent.create(agent_type="of no such type"),
    lambda here: here.agent.stop(by="somebody", reason=""),  # type: ignore[arg-type]
    lambda here: here.store.claim("somebody"),  # type: ignore[arg-type]
    lambda here: here.store.rescue(timeout=-1),
    lambda here: here.store.history("somebody"),  # type: ignore[arg-type]
    lambda here: here.store.explain("somebody"),  # type: ignore[arg-type]
    lambda here: here.store.changes(limit=0),
    lambda here: ConfigEntry.read(""),
]
"""Uses that are `InvalidValue` in a store that is open."""


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_every_use_after_closing_is_refused(use: Callable[[Opened], object], opened: Opened) -> None:
    """In every thread, with an error that is also Peewee's."""
    opened.store.close()
    with pytest.raises(StoreNotOpen, match="open_store") as refused:
        use(opened)
    assert isinstance(refused.value, peewee.InterfaceError)
    assert type(in_thread(lambda: use(opened))) is StoreNotOpen


def test_a_wrong_value_is_reported_only_by_a_usable_store(opened: Opened) -> None:
    """`StoreNotOpen` and `WrongProcess` come first."""
    for use in WRONG_USES:
        with pytest.raises(InvalidValue):
            use(opened)
        assert in_child(lambda use=use: use(opened)) == WrongProcess.__name__  # type: ignore[misc]
    opened.store.close()
    for use in WRONG_USES:
        with pytest.raises(StoreNotOpen):
            use(opened)


def test_what_reads_memory_only_needs_no_store(opened: Opened) -> None:
    opened.store.close()
    assert opened.agent.legal_triggers() == ("dispatch", "stop")
    assert "Agent" in repr(opened.agent)
    assert repr(opened.store).startswith("<Store ")


NEVER_OPENED = """
from dispatch_state import Agent, Epic, StoreNotOpen
for use in (lambda: Agent.create(agent_type="coder"), Agent.select().count, lambda: list(Epic.select())):
    try:
        use()
    except StoreNotOpen as error:
        print(error)
"""


def test_a_process_without_a_store_gets_an_error_that_says_to_open_one() -> None:
    said = ran(NEVER_OPENED).stdout.splitlines()
    assert said == [str(StoreNotOpen())] * 3
    assert "open_store()" in said[0]


def test_closing_twice_does_nothing(target: str, another: str) -> None:
    """It does not close a store that was opened in between either."""
    first = open_store(target)
    first.close()
    first.close()
    with open_store(another):
        first.close()
        Agent.create(agent_type="coder")
        with pytest.raises(StoreNotOpen):
            first.now()


def test_a_block_whose_store_was_closed_commits_nothing(target: str) -> None:
    """Leaving the block raises, and the row objects are restored."""
    with open_store(target) as store:
        agent = Agent.create(agent_type="coder")
        with pytest.raises(StoreNotOpen), store.atomic():
            agent.stop(by=MAINTAINER, reason=WHY)
            store.close()
        assert (agent.status, agent.version) == ("idle", 1)
    with open_store(target):
        assert (agent.reload().status, agent.version) == ("idle", 1)


def test_an_exception_that_leaves_a_block_whose_store_was_closed_is_raised(store: Store) -> None:
    """Without an exception, leaving the block would raise `StoreNotOpen`."""
    agent = Agent.create(agent_type="coder")
    with pytest.raises(KeyError, match="mine"), store.atomic():
        agent.stop(by=MAINTAINER, reason=WHY)
        store.close()
        raise KeyError("mine")
    assert (agent.status, agent.version) == ("idle", 1)


# ---- in a forked child -------------------------------------------------------------------------------


@pytest.mark.parametrize("use", [*USES.values(), lambda here: here.store.close()], ids=[*USES, "close"])
def test_every_use_in_a_forked_child_is_refused(use: Callable[[Opened], object], opened: Opened) -> None:
    """Ten times; the parent's connection works after each."""
    for turn in range(10):
        assert in_child(lambda: use(opened)) == WrongProcess.__name__
        opened.agent.log("info", f"turn {turn}")
    lines = opened.agent.logs.order_by(AgentLog.id)
    assert [line.message for line in lines] == [f"turn {turn}" for turn in range(10)]
    opened.agent.stop(by=MAINTAINER, reason=WHY)


def test_a_refusal_in_a_child_is_peewees_too_and_says_what_to_do(opened: Opened) -> None:
    def refused() -> None:
        with pytest.raises(peewee.InterfaceError, match="close it before forking"):
            opened.store.counts()

    assert in_child(refused) == "nothing"


def test_a_child_that_leaves_the_parents_with_closes_nothing(opened: Opened) -> None:
    """A child that runs past the end of the `with` has done nothing wrong."""
    assert in_child(lambda: opened.store.__exit__(None, None, None)) == "nothing"
    opened.agent.stop(by=MAINTAINER, reason=WHY)


def test_a_child_that_may_not_close_the_store_finds_it_as_it_was(opened: Opened) -> None:
    """Its next use is refused for the same reason."""

    def closes() -> None:
        with pytest.raises(WrongProcess):
            opened.store.close()
        Agent.get()

    assert in_child(closes) == WrongProcess.__name__


def test_a_child_may_open_a_store_of_its_own(opened: Opened, another: str) -> None:
    """The models are bound to it in the child, and to the parent's in the parent."""

    def work() -> None:
        with open_store(another) as own:
            assert Agent.select().where(Agent.id == opened.agent.id).count() == 0
            Agent.create(agent_type="reviewer")
            assert own.counts()["agents"]["idle"] >= 1
        with pytest.raises(StoreNotOpen):
            Agent.create(agent_type="reviewer")

    for _ in range(3):
        assert in_child(work) == "nothing"
    assert list(Agent.select()) == [opened.agent]
    opened.store.close()
    with open_store(another) as found:
        assert found.counts()["agents"]["idle"] == 3


CHILDREN = """
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
store.close()
"""


def test_children_that_end_as_any_program_does_leave_the_store_whole(target: str, backend: str) -> None:
    """Through the interpreter's own shutdown, which finalises what it finds."""
    ended = ran(CHILDREN, target)
    assert (ended.returncode, ended.stderr, ended.stdout.strip()) == (0, "", "11")
    with open_store(target) as store:
        assert store.counts()["agents"]["idle"] == 11
        if backend == "sqlite":
            assert store.database.execute_sql("PRAGMA integrity_check").fetchone() == ("ok",)


LEAVES_A_BLOCK = """
import os, sys
from contextlib import nullcontext
from dispatch_state import Agent, Human, open_store

def main():
    agent = Agent.create(agent_type="coder")
    with store.atomic(), store.atomic() if sys.argv[3] == "nested" else nullcontext():
        agent.stop(by=Human("maintainer"), reason="its work is done")
        child = os.fork()
        if not child:
            exec(sys.argv[2])
            return
        print("child", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        Agent.create(agent_type="coder")
    counted = store.counts()["agents"]
    print("parent", counted["completed"], counted["idle"])

with open_store(sys.argv[1], timeout=5) as store:
    main()
"""
LEAVING = {
    "sys.exit": ("sys.exit(7)", 7, ""),
    "an exception": ("raise KeyError('mine')", 1, "KeyError: 'mine'"),
    "an interrupt": ("raise KeyboardInterrupt", -2, "KeyboardInterrupt"),
    "a use": ("Agent.create(agent_type='coder')", 1, str(WrongProcess())),
    "nothing": ("pass", 1, str(WrongProcess())),
}


@pytest.mark.parametrize("nested", ["nested", "plain"])
@pytest.mark.parametrize("leaving", LEAVING)
def test_a_child_leaves_the_parents_block_by_its_own_exception(leaving: str, nested: str, target: str) -> None:
    """The block is the parent's to end, who commits it; a child that would commit it is refused."""
    code, status, last = LEAVING[leaving]
    ended = ran(LEAVES_A_BLOCK, target, code, nested)
    assert ended.stdout.splitlines() == [f"child {status}", "parent 1 1"], ended.stderr
    assert ended.stderr.strip().rpartition("\n")[2].endswith(last)
    assert ended.returncode == 0
