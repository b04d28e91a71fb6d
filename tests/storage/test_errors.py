"""The errors of both databases: which error of the library each one becomes, and whether it is retryable."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import peewee
import pytest

from dispatch_state.errors import StoreBusy, StoreCorrupt, StoreError, StoreFull, StoreReadOnly
from dispatch_state.storage.connect import Database
from dispatch_state.storage.postgresql import PostgresStore
from dispatch_state.storage.sqlite import SqliteStore
from tests.connections import one, reached
from tests.threads import in_thread


def refusal(database: Database, work: Callable[[], object]) -> StoreError | None:
    """The library's error for the database error that `work` raises."""
    with pytest.raises(peewee.PeeweeException) as refused:
        work()
    return database.store_error(refused.value)


def test_a_lock_that_is_held_too_long_is_busy(target: str, backend: str) -> None:
    with reached(target) as holder, reached(target, timeout=0.05) as waiter:
        holder.execute_sql("CREATE TABLE t (x INTEGER)")
        with holder.atomic():
            holder.execute_sql("LOCK TABLE t" if backend == "postgresql" else "INSERT INTO t VALUES (1)")
            busy = refusal(waiter, lambda: waiter.execute_sql("INSERT INTO t VALUES (2)"))
    assert type(busy) is StoreBusy
    assert busy.retryable


def test_a_deadlock_is_busy_and_retryable(database: Database) -> None:
    if database.kind == "sqlite":
        pytest.skip("SQLite has one writer at a time")
    database.execute_sql("CREATE TABLE t (x INTEGER); INSERT INTO t VALUES (1), (2)")
    both = threading.Barrier(2)

    def crosswise(first: int, second: int) -> Exception | None:
        try:
            with database.atomic():
                database.execute_sql("UPDATE t SET x = x WHERE x = %s", (first,))
                both.wait(20)
                database.execute_sql("UPDATE t SET x = x WHERE x = %s", (second,))
        except peewee.OperationalError as error:
            return error
        return None

    found: list[Exception | None] = []
    thread = threading.Thread(target=lambda: found.append(crosswise(1, 2)))
    thread.start()
    found.append(crosswise(2, 1))
    thread.join(20)
    (lost,) = [error for error in found if error]
    assert type(database.store_error(lost)) is StoreBusy
    assert database.should_retry(lost)


def test_a_full_database_is_full(tmp_path: Path) -> None:
    with reached(tmp_path / "x.db") as database:
        database.execute_sql("CREATE TABLE t (x TEXT)")
        database.execute_sql("PRAGMA max_page_count = 3")
        full = refusal(database, lambda: database.execute_sql("INSERT INTO t VALUES (?)", ("secret" * 5000,)))
    assert type(full) is StoreFull
    assert "secret" not in str(full)


def test_a_query_that_is_still_being_read_is_told_apart_from_a_lock(tmp_path: Path) -> None:
    with reached(tmp_path / "x.db") as database:
        assert isinstance(database, SqliteStore)
        database.switch_to_wal()
        database.execute_sql("CREATE TABLE t (x INTEGER)")
        database.execute_sql("INSERT INTO t VALUES (1), (2)")
        reading = database.execute_sql("SELECT x FROM t")
        reading.fetchone()
        in_thread(lambda: database.execute_sql("INSERT INTO t VALUES (3)"))
        busy = refusal(database, database.begin)
        reading.close()
    assert type(busy) is StoreBusy
    assert "read it to its end" in str(busy)


def test_a_damaged_file_is_corrupt(tmp_path: Path) -> None:
    file = tmp_path / "x.db"
    with reached(file) as database:
        database.execute_sql("CREATE TABLE t (x TEXT)")
        database.execute_sql("INSERT INTO t VALUES (?)", ("x" * 100,))
    page = one_page(file)
    file.write_bytes(file.read_bytes()[:page] + b"\xff" * page)
    with reached(file) as database:
        corrupt = refusal(database, lambda: database.execute_sql("SELECT * FROM t").fetchall())
    assert type(corrupt) is StoreCorrupt


def one_page(file: Path) -> int:
    return int.from_bytes(file.read_bytes()[16:18])


@pytest.mark.parametrize("forbidden", ["SET default_transaction_read_only = on", "SET ROLE pg_monitor"])
def test_a_session_that_may_not_write_is_read_only(forbidden: str, database: Database) -> None:
    if database.kind == "sqlite":
        pytest.skip("SQLite has no roles")
    database.execute_sql("CREATE TABLE t (x INTEGER)")
    database.execute_sql(f"GRANT USAGE ON SCHEMA {one(database, 'SELECT current_schema()')} TO pg_monitor")
    database.execute_sql(forbidden)
    refused = refusal(database, lambda: database.execute_sql("INSERT INTO t VALUES (1)"))
    assert type(refused) is StoreReadOnly


def test_a_server_that_ends_the_session_is_an_error_of_the_store(database: Database) -> None:
    if database.kind == "sqlite":
        pytest.skip("SQLite has no server")
    ended = refusal(database, lambda: database.execute_sql("SELECT pg_terminate_backend(pg_backend_pid())"))
    assert type(ended) is StoreError
    database.close()
    assert one(database, "SELECT 1") == 1


def test_a_commit_on_a_closed_connection_is_an_error(database: Database) -> None:
    """PostgreSQL would accept COMMIT on a new connection, without a transaction, and the writes would be lost."""
    database.execute_sql("CREATE TABLE t (x INTEGER)")
    database.begin()
    database.execute_sql("INSERT INTO t VALUES (1)")
    database.close()
    with pytest.raises(peewee.PeeweeException):
        database.commit()
    assert one(database, "SELECT count(*) FROM t") == 0


def test_a_broken_constraint_is_not_an_error_of_the_store(database: Database) -> None:
    database.execute_sql("CREATE TABLE t (x INTEGER NOT NULL)")
    assert refusal(database, lambda: database.execute_sql("INSERT INTO t VALUES (NULL)")) is None


@pytest.mark.parametrize(
    ("state", "meaning"),
    [("53100", StoreFull), ("40001", StoreBusy), ("55P03", StoreBusy), ("XX001", StoreCorrupt), ("08006", StoreError)],
)
def test_a_state_of_postgresql_has_its_meaning(state: str, meaning: type[StoreError]) -> None:
    store = PostgresStore("postgresql://h/d", timeout=1, pool_size=1)
    original = type("Refused", (Exception,), {"sqlstate": state})("secret")
    error = store.store_error(peewee.OperationalError(original, "secret"))
    assert type(error) is meaning
    assert "secret" not in str(error)
