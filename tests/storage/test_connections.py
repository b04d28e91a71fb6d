"""Connections and transactions: one per thread, closed together, and never shared with a forked child."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import peewee
import psycopg
import pytest

from dispatch_state.errors import StoreNotOpen, WrongProcess
from dispatch_state.storage import connect as databases
from dispatch_state.storage.connect import Database
from dispatch_state.storage.sqlite import SqliteStore
from tests.connections import one, reach, reached
from tests.forks import in_child
from tests.paths import ROOT
from tests.threads import in_thread


def test_a_thread_reaches_the_same_file_after_the_process_went_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with reached("x.db") as database:
        database.execute_sql("CREATE TABLE t (x)")
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        monkeypatch.chdir(elsewhere)
        assert in_thread(database.get_tables) == ["t"]
        assert list(elsewhere.iterdir()) == []


def test_threads_that_ended_leave_no_connection_behind(database: Database) -> None:
    for _ in range(30):
        in_thread(lambda: database.execute_sql("SELECT 1").fetchone())
    assert len(database._thread_connections) <= 2


def test_any_number_of_threads_is_served_at_once(database: Database) -> None:
    together = threading.Barrier(25)

    def work() -> Any:
        found = one(database, "SELECT 1")
        together.wait(20)
        return found

    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(work())) for _ in range(25)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert found == [1] * 25


def test_memory_outlives_the_thread_that_opened_it() -> None:
    database = in_thread(lambda: reach(":memory:"))
    in_thread(lambda: database.execute_sql("CREATE TABLE t (x)"))
    assert in_thread(database.get_tables) == ["t"]
    database.close_all()


@pytest.mark.parametrize("nested", [False, True])
def test_a_transaction_that_is_gone_does_not_hide_what_ended_it(nested: bool, database: Database) -> None:
    def loses_its_transaction() -> None:
        ends = "ROLLBACK" if database.kind == "sqlite" else "SELECT pg_terminate_backend(pg_backend_pid())"
        with database.atomic(), database.atomic() if nested else nullcontext():
            with suppress(peewee.PeeweeException):
                database.execute_sql(ends)
            raise KeyError("first")

    with pytest.raises(KeyError, match="first"):
        loses_its_transaction()
    database.close()
    assert one(database, "SELECT 1") == 1


def test_a_transaction_of_sqlite_has_the_write_lock_from_its_start(tmp_path: Path) -> None:
    with reached(tmp_path / "x.db") as database, database.atomic():
        other = sqlite3.connect(tmp_path / "x.db", timeout=0, isolation_level=None)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
        other.close()


def test_memory_is_shared_by_threads_and_by_nothing_else() -> None:
    with reached(":memory:") as database, reached(":memory:") as another:
        database.execute_sql("CREATE TABLE t (x)")
        assert in_thread(database.get_tables) == ["t"]
        assert another.get_tables() == []


def test_memory_outlives_the_threads_that_used_it() -> None:
    with reached(":memory:") as database:
        in_thread(lambda: database.execute_sql("CREATE TABLE t (x)"))
        assert in_thread(database.get_tables) == ["t"]


def test_a_thread_has_a_connection_of_its_own(database: Database) -> None:
    mine = database.connection()
    assert database.connection() is mine
    assert in_thread(lambda: database.connection() is mine) is False


def test_an_inner_savepoint_that_is_rolled_back_leaves_the_outer_one(database: Database) -> None:
    database.execute_sql("CREATE TABLE t (x INTEGER)")
    with database.atomic():
        with suppress(KeyError), database.atomic():
            database.execute_sql("INSERT INTO t VALUES (1)")
            with suppress(ZeroDivisionError), database.atomic():
                database.execute_sql("INSERT INTO t VALUES (2)")
                raise ZeroDivisionError
            raise KeyError
        database.execute_sql("INSERT INTO t VALUES (3)")
    assert database.execute_sql("SELECT x FROM t").fetchall() == [(3,)]


def test_a_loop_over_a_query_may_write_while_others_write(tmp_path: Path) -> None:
    with reached(tmp_path / "x.db") as database:
        assert isinstance(database, SqliteStore)
        database.switch_to_wal()
        database.execute_sql("CREATE TABLE t (x INTEGER)")
        database.execute_sql("INSERT INTO t VALUES (1), (2), (3)")
        table = peewee.Table("t", ("x",)).bind(database)
        for row in table.select(table.x).where(table.x < 4):
            in_thread(lambda: database.execute_sql("INSERT INTO t VALUES (8)"))
            with database.atomic():
                database.execute_sql("INSERT INTO t VALUES (?)", (row["x"] + 100,))
        assert one(database, "SELECT count(*) FROM t") == 9


# ---- after closing, and in another process -----------------------------------------------------------


USES: list[Callable[[Database], object]] = [
    lambda database: database.execute_sql("SELECT 1"),
    lambda database: database.connection(),
    lambda database: database.cursor(),
    lambda database: database.connect(),
    lambda database: database.begin(),
    lambda database: database.commit(),
    lambda database: database.rollback(),
    lambda database: database.close(),
    lambda database: database.atomic().__enter__(),
    lambda database: database.savepoint().__enter__(),
    lambda database: database.get_tables(),
]
NAMES = [
    *("execute_sql", "connection", "cursor", "connect", "begin", "commit"),
    *("rollback", "close", "atomic", "savepoint", "get_tables"),
]


@pytest.mark.parametrize("use", USES, ids=NAMES)
def test_every_use_after_close_all_is_refused(use: Callable[[Database], object], database: Database) -> None:
    database.execute_sql("SELECT 1")
    in_thread(database.close_all)
    with pytest.raises(StoreNotOpen):
        use(database)


def test_close_all_closes_the_connections_of_other_threads(database: Database) -> None:
    connected, closed = threading.Event(), threading.Event()
    found: list[Any] = []

    def work() -> None:
        found.append(database.connection())
        connected.set()
        closed.wait(20)

    thread = threading.Thread(target=work)
    thread.start()
    connected.wait(20)
    database.close_all()
    closed.set()
    thread.join(20)
    with pytest.raises((sqlite3.ProgrammingError, databases.sys.modules["psycopg"].OperationalError)):
        found[0].execute("SELECT 1")


@pytest.mark.parametrize("use", USES, ids=NAMES)
def test_every_use_in_a_forked_child_is_refused(use: Callable[[Database], object], database: Database) -> None:
    database.execute_sql("CREATE TABLE t (x INTEGER)")
    with database.atomic():
        database.execute_sql("INSERT INTO t VALUES (1)")
        assert in_child(lambda: use(database)) == WrongProcess.__name__
        database.execute_sql("INSERT INTO t VALUES (2)")
    assert one(database, "SELECT count(*) FROM t") == 2


CHILD_THAT_ENDS_BY_ITSELF = """
import gc, os, sys
from dispatch_state.storage import (connect as databases)
from dispatch_state.storage.targets import (resolve)

def main():
    database = databases.connect(resolve(sys.argv[1]), create=True, timeout=5, pool_size=5, durability="full")
    if database.kind == "sqlite":
        database.switch_to_wal()
    database.execute_sql("CREATE TABLE t (x TEXT)")
    if database.kind == "sqlite":
        database.execute_sql("PRAGMA cache_size = 5")  # the transaction spills, so that a child could undo it
    with database.atomic():
        for _ in range(500):
            database.execute_sql(f"INSERT INTO t VALUES ('{'x' * 200}')")
        child = os.fork()
        if not child:
            return
        os.waitpid(child, 0)
        database.execute_sql("INSERT INTO t VALUES ('last')")
    found = database.execute_sql("SELECT count(*) FROM t").fetchone()[0]
    if database.kind == "sqlite":
        found = found, database.execute_sql("PRAGMA integrity_check").fetchone()[0]
    print("parent", found)

try:
    main()
except Exception as error:
    print(type(error).__name__)
gc.collect()
"""


def test_a_child_that_ends_leaves_the_parents_transaction_alone(target: str, backend: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CHILD_THAT_ENDS_BY_ITSELF, target],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ("parent (501, 'ok')" if backend == "sqlite" else "parent 501") in ended.stdout, ended
    assert ended.returncode == 0


def test_a_forked_child_does_not_close_the_parents_connections(database: Database) -> None:
    database.execute_sql("SELECT 1")
    assert in_child(database.close_all) == WrongProcess.__name__


def test_a_child_that_opens_its_own_store_is_served(tmp_path: Path) -> None:
    def opens() -> None:
        with reached(tmp_path / "child.db") as own:
            own.execute_sql("CREATE TABLE t (x)")

    with reached(tmp_path / "x.db"):
        assert in_child(opens) == "nothing"


@pytest.mark.parametrize("backend", ["postgresql"])
def test_a_transaction_may_ask_for_its_isolation(database: Database) -> None:
    for level in (psycopg.IsolationLevel.SERIALIZABLE, "SERIALIZABLE"):
        with database.atomic(level):
            assert one(database, "SHOW transaction_isolation") == "serializable"
    with database.atomic():
        assert one(database, "SHOW transaction_isolation") == "read committed"


@pytest.mark.parametrize("backend", ["postgresql"])
def test_a_long_result_is_not_kept(database: Database) -> None:
    found, _ = database.run("SELECT generate_series(1, 5000)")
    assert len(found) == 5000
    assert database.connection().reused_cursor.pgresult is None
    assert database.run("SELECT 1")[0] == [(1,)]
