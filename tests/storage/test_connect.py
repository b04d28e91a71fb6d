"""Connecting: which arguments are refused, which errors are raised, and how each connection is set up."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dispatch_state import ConfigEntry, open_store
from dispatch_state.errors import InvalidValue, StoreError, StoreNotFound
from dispatch_state.storage import sqlite
from dispatch_state.storage.connect import Database
from tests.connections import one, reach, reached
from tests.paths import ROOT
from tests.threads import in_thread
from tests.tracebacks import shown

# ---- reaching it -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "option",
    [
        *({"timeout": value} for value in (0, -1, float("nan"), float("inf"), True, "5", None, 1e300)),
        *({"pool_size": value} for value in (0, -1, 1.5, True, "3", None)),
        *({"durability": value} for value in ("FULL", "off", "", None, 1)),
    ],
    ids=str,
)
def test_a_wrong_argument_is_refused_before_anything_is_made(option: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match=next(iter(option))):
        reach(tmp_path / "x.db", **option)
    assert list(tmp_path.iterdir()) == []


def test_a_url_that_the_driver_cannot_read_is_refused_without_the_password() -> None:
    with pytest.raises(InvalidValue) as refused:
        reach("postgresql://u:secret%zz@127.0.0.1:1/d")
    assert "secret" not in shown(refused.value)


def test_the_error_of_a_server_that_does_not_answer_shows_no_password() -> None:
    with pytest.raises(StoreError) as refused:
        reach("postgresql://u:secret@127.0.0.1:1/d")
    assert "secret" not in shown(refused.value)


def test_a_database_that_is_not_there_is_not_found() -> None:
    from tests import postgres

    try:
        url = postgres.server_url()
    except postgres.Unavailable as error:
        pytest.skip(f"POSTGRESQL COULD NOT BE STARTED: {error}")
    with pytest.raises(StoreNotFound):
        reach(url.replace("/postgres?", "/nothing_of_that_name?"))


def test_without_psycopg_the_extra_is_named() -> None:
    code = (
        "import sys\n"
        "class NotInstalled:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name.startswith('psycopg'): raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, NotInstalled())\n"
        "from dispatch_state import open_store\n"
        "try: open_store('postgresql://h/d')\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert said.startswith("StoreError")
    assert 'pip install "dispatch-state[postgres]"' in said


# ---- the log beside the file -----------------------------------------------------------------------------


def test_a_log_that_grew_under_a_reader_is_cut_when_the_reader_is_gone(tmp_path: Path) -> None:
    """A long read keeps SQLite from reusing its WAL; the next writes after it truncate the file."""
    log = tmp_path / "x.db-wal"
    with open_store(tmp_path / "x.db", durability="normal"):
        reader = sqlite3.connect(tmp_path / "x.db", isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM agents").fetchone()
        for number in range(40):
            ConfigEntry.write("key", str(number % 10) * 900_000)
        assert log.stat().st_size > 2 * sqlite.MAX_WAL
        reader.close()
        for number in range(3):
            ConfigEntry.write("key", number)
        assert log.stat().st_size <= sqlite.MAX_WAL


def test_a_log_that_nobody_reads_is_written_over_and_not_cut(tmp_path: Path) -> None:
    """Truncating the WAL again and again would cost time."""
    sizes = []
    with open_store(tmp_path / "x.db", durability="normal"):
        for number in range(150):
            ConfigEntry.write("key", str(number % 10) * 90_000)
            sizes.append((tmp_path / "x.db-wal").stat().st_size)
    assert sizes == sorted(sizes)
    assert 4_000_000 < sizes[-1] < sqlite.MAX_WAL


# ---- settings of each connection ---------------------------------------------------------------------


@pytest.mark.parametrize(("durability", "synchronous"), [("full", 2), ("normal", 1)])
def test_each_connection_of_sqlite_is_set_up(durability: str, synchronous: int, tmp_path: Path) -> None:
    with reached(tmp_path / "x.db", durability=durability, timeout=2.5) as database:

        def pragmas() -> list[Any]:
            return [one(database, f"PRAGMA {name}") for name in ("foreign_keys", "synchronous", "busy_timeout")]

        assert pragmas() == in_thread(pragmas) == [1, synchronous, 2500]


def test_the_longest_wait_is_still_a_wait(target: str) -> None:
    with reached(target, timeout=1e9) as database:
        wait = one(database, "PRAGMA busy_timeout" if database.kind == "sqlite" else "SHOW lock_timeout")
        assert wait in (2_000_000_000, "2000000s")


def test_each_session_of_postgresql_is_set_up(database: Database) -> None:
    if database.kind == "sqlite":
        pytest.skip("SQLite has no sessions")

    def settings() -> list[Any]:
        return [one(database, f"SHOW {name}") for name in ("transaction_isolation", "timezone", "lock_timeout")]

    assert settings() == in_thread(settings) == ["read committed", "UTC", "10s"]
    row = database.execute_sql("""SELECT '{"a": 1}'::jsonb, '[1]'::json, now(), gen_random_uuid()""").fetchone()
    assert [type(value).__name__ for value in row] == ["str", "str", "datetime", "UUID"]
    assert row[2].utcoffset().total_seconds() == 0
