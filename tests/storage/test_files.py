"""The files of a store: how they are made, who may use them, and which errors unusable ones raise."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import peewee
import psycopg
import pytest

from dispatch_state import (
    Agent,
    InvalidValue,
    Store,
    StoreBusy,
    StoreCorrupt,
    StoreError,
    StoreNotFound,
    WrongProcess,
    open_store,
)
from dispatch_state.errors import StoreReadOnly
from tests import postgres
from tests.connections import reach, reached
from tests.forks import in_child
from tests.paths import ROOT
from tests.tracebacks import shown

# ---- what is made ------------------------------------------------------------------------------------


@pytest.fixture
def no_mask() -> Iterator[None]:
    """A process whose umask takes nothing away."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("no_mask")
def test_every_file_that_is_made_is_its_owners_alone(tmp_path: Path) -> None:
    """Also those beside the store, while it is open."""
    with open_store(tmp_path / "x.db"):
        Agent.create(agent_type="coder")
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    assert {"x.db", "x.db-wal"} < set(modes)
    assert set(modes.values()) == {0o600}


def test_a_store_that_is_not_to_be_made_is_not_found(target: str, backend: str, tmp_path: Path) -> None:
    """Neither where there is nothing, nor in an empty database; nor in memory, which is always empty."""
    for empty in (target, tmp_path / "folder" / "x.db", ":memory:"):
        with pytest.raises(StoreNotFound):
            open_store(empty, create=False)
    assert list(tmp_path.iterdir()) == []
    if backend == "sqlite":
        Path(target).touch()
        with pytest.raises(StoreNotFound):
            open_store(target, create=False)
    open_store(target).close()
    open_store(target, create=False).close()


def test_a_copy_of_a_closed_store_is_a_store(tmp_path: Path) -> None:
    """Nothing of it is left in the files beside it."""
    with open_store(tmp_path / "x.db"):
        agent = Agent.create(agent_type="coder")
    shutil.copy(tmp_path / "x.db", tmp_path / "copy.db")
    with open_store(tmp_path / "copy.db", create=False):
        assert list(Agent.select()) == [agent]


def pragma(store: Store, name: str) -> Any:
    return store.database.execute_sql(f"PRAGMA {name}").fetchone()[0]


def test_what_is_promised_by_default(tmp_path: Path) -> None:
    """Full durability, and thirty seconds for a lock; memory keeps to foreign keys too."""
    with open_store(tmp_path / "x.db") as store:
        found = [pragma(store, name) for name in ("synchronous", "busy_timeout", "foreign_keys", "journal_mode")]
        assert found == [2, 30_000, 1, "wal"]
    with open_store(":memory:") as store:
        assert pragma(store, "foreign_keys") == 1


# ---- what cannot be used -----------------------------------------------------------------------------


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "truncated": lambda data: data[: len(data) // 2],
    "overwritten": lambda data: data[:4096] + b"\xff" * (len(data) - 4096),
    "a torn page": lambda data: data[: len(data) // 2 + 100],
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_store_is_corrupt(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    """At its opening or, at the latest, when what is damaged is used."""
    file = tmp_path / "x.db"
    with open_store(file, durability="normal") as store, store.atomic():
        for _ in range(200):
            Agent.create(agent_type="coder")
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(StoreCorrupt) as refused, open_store(file) as store:
        store.changes(limit=1000)
        store.counts()
        Agent.create(agent_type="coder")
    assert isinstance(refused.value, peewee.DatabaseError)


def test_what_is_no_database_is_named(tmp_path: Path) -> None:
    junk = tmp_path / "junk.txt"
    junk.write_text("Dear store, " * 500)
    with pytest.raises(StoreCorrupt) as refused:
        open_store(junk)
    assert str(refused.value).startswith(f"{junk}: This is not a database, or it is damaged; name another file")


AS_NOBODY = """
import os, sys
import playhouse.migrations  # while what is root's alone can still be read
from dispatch_state import Agent, DispatchError, open_store
if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
try:
    with open_store(sys.argv[1]) as store:
        print("opened", store.counts()["agents"]["idle"])
        Agent.create(agent_type="coder")
        print("written")
except DispatchError as error:
    print(type(error).__name__)
"""


def as_nobody(target: Path) -> list[str]:
    """What a process that is not root's says when it opens a store and writes to it; modes mean nothing to root."""
    command = [sys.executable, "-c", AS_NOBODY, str(target)]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.split()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that everybody can get to and write to; pytest's own are shut to others."""
    made = Path(tempfile.mkdtemp(prefix="dispatch-rights-"))
    made.chmod(0o777)
    yield made
    made.chmod(0o700)
    shutil.rmtree(made)


def test_a_process_without_rights_writes_where_it_may(folder: Path) -> None:
    """So that the refusals below are for the rights, and for nothing else."""
    assert as_nobody(folder / "x.db") == ["opened", "0", "written"]


def test_a_store_cannot_be_made_in_a_folder_that_may_not_be_written(folder: Path) -> None:
    """Nor a folder for one."""
    folder.chmod(0o555)
    for place in (folder / "x.db", folder / "further" / "x.db"):
        assert as_nobody(place) == ["StoreReadOnly"]
    assert list(folder.iterdir()) == []


RIGHTS = {
    "the file may only be read": (0o444, 0o777, ["opened", "1", "StoreReadOnly"]),
    "the file may not be read": (0o000, 0o777, ["StoreReadOnly"]),
    "the folder may only be read": (0o444, 0o555, ["StoreReadOnly"]),
    "the folder may not be entered": (0o666, 0o000, ["StoreReadOnly"]),
}


@pytest.mark.parametrize(("file", "around", "said"), RIGHTS.values(), ids=RIGHTS)
def test_a_store_without_rights_is_read_only(file: int, around: int, said: list[str], folder: Path) -> None:
    """It opens where it can be read, and the first write is refused; SQLite reads with the help of files beside it."""
    with open_store(folder / "x.db"):
        Agent.create(agent_type="coder")
    (folder / "x.db-turn").unlink()
    (folder / "x.db").chmod(file)
    folder.chmod(around)
    assert as_nobody(folder / "x.db") == said


def test_a_role_that_is_not_there_is_an_error_of_the_store() -> None:
    """It is not reported as a missing database, and its password is not shown."""
    url = urlsplit(postgres.server_or_skip())
    with pytest.raises(StoreError) as refused:
        open_store(urlunsplit(url._replace(netloc=f"no_such_role:secret@{url.netloc.rpartition('@')[2]}")))
    assert type(refused.value) is StoreError
    assert "secret" not in shown(refused.value)


def test_a_child_cannot_open_the_sqlite_file_that_it_inherited(tmp_path: Path) -> None:
    """By whatever name: it would lose what it commits as soon as the parent closes."""
    file, link, symbolic = tmp_path / "x.db", tmp_path / "link.db", tmp_path / "symbolic.db"
    with open_store(file):
        os.link(file, link)
        symbolic.symlink_to(file)

        def refused() -> None:
            for name in (file, link, symbolic):
                with pytest.raises(WrongProcess, match="close the store before forking"):
                    open_store(name)
            open_store(tmp_path / "another.db").close()
            assert in_child(lambda: open_store(file)) == WrongProcess.__name__

        assert in_child(refused) == "nothing"
        Agent.create(agent_type="coder")
        assert Agent.select().count() == 1


def test_a_child_opens_what_its_parent_closed_before_forking(target: str) -> None:
    """One after the other, and then the parent again."""
    open_store(target).close()

    def writes() -> None:
        with open_store(target):
            Agent.create(agent_type="coder")

    assert [in_child(writes) for _ in range(3)] == ["nothing"] * 3
    with open_store(target):
        assert Agent.select().count() == 3


# ---- what is locked ----------------------------------------------------------------------------------


@contextmanager
def lock_held(target: str, backend: str) -> Iterator[None]:
    """A session of another program that holds the lock which creating an agent needs."""
    if backend == "postgresql":
        with psycopg.connect(target) as held:
            held.execute("LOCK TABLE agents")
            yield
        return
    connection = sqlite3.connect(target, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
    finally:
        connection.close()


def test_a_lock_that_is_held_for_longer_than_the_timeout_is_busy(target: str, backend: str) -> None:
    """The same call succeeds when the lock is gone, which `.retryable` promises."""
    with open_store(target, timeout=0.1):
        with lock_held(target, backend), pytest.raises(StoreBusy) as busy:
            Agent.create(agent_type="coder")
        assert busy.value.retryable
        assert isinstance(busy.value, peewee.OperationalError)
        Agent.create(agent_type="coder")
        assert Agent.select().count() == 1


def test_a_store_that_is_locked_while_it_would_be_made_is_busy(tmp_path: Path) -> None:
    """Migrating waits for the lock as every write does; then nothing stays open behind the error."""
    file = tmp_path / "x.db"
    file.touch()
    with lock_held(str(file), "sqlite"), pytest.raises(StoreBusy):
        open_store(file, timeout=0.1)
    open_store(file).close()


# ---- files, folders and links -----------------------------------------------------------------------


def test_a_file_that_we_make_is_its_owners_alone_and_folders_are_made(tmp_path: Path) -> None:
    file = tmp_path / "new" / "folder" / "x.db"
    with reached(file):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_an_existing_file_keeps_its_mode(tmp_path: Path) -> None:
    file = tmp_path / "x.db"
    file.touch()
    file.chmod(0o640)
    with reached(file) as database:
        database.execute_sql("CREATE TABLE t (x)")
        assert stat.S_IMODE(file.stat().st_mode) == 0o640


def test_a_planted_link_is_not_followed_when_the_file_is_made(tmp_path: Path) -> None:
    planted = tmp_path / "x.db"
    planted.symlink_to(tmp_path / "victim")
    with pytest.raises(StoreError, match="link"):
        reach(planted)
    assert not (tmp_path / "victim").exists()


def test_a_link_to_a_store_reaches_it(tmp_path: Path) -> None:
    with reached(tmp_path / "real.db") as real:
        real.execute_sql("CREATE TABLE t (x)")
    (tmp_path / "link.db").symlink_to(tmp_path / "real.db")
    with reached(tmp_path / "link.db") as linked:
        assert linked.get_tables() == ["t"]


def test_a_folder_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match="is a folder"):
        reach(tmp_path)


def test_nothing_is_made_when_nothing_is_to_be_created(tmp_path: Path) -> None:
    with pytest.raises(StoreNotFound):
        reach(tmp_path / "folder" / "x.db", create=False)
    assert list(tmp_path.iterdir()) == []


def test_a_path_through_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="file"):
        reach(tmp_path / "file" / "x.db")


def test_a_folder_that_may_not_be_written_is_named(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    tmp_path.chmod(0o555)
    for folder in (tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(folder.stat().st_mode | 0o055)
    request.getfixturevalue("unprivileged")
    with pytest.raises(StoreReadOnly):
        reach(tmp_path / "x.db")


def test_a_file_that_may_not_be_written_is_reported_at_the_first_write(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    file = tmp_path / "x.db"
    with reached(file) as database:
        database.execute_sql("CREATE TABLE t (x)")
    file.chmod(0o444)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.getuid() and not folder.stat().st_mode & 0o005:
            folder.chmod(folder.stat().st_mode | 0o055)
    request.getfixturevalue("unprivileged")
    with reached(file) as database, pytest.raises(peewee.OperationalError) as refused:
        database.execute_sql("INSERT INTO t VALUES (1)")
    assert type(database.store_error(refused.value)) is StoreReadOnly


def test_what_is_no_database_is_corrupt_and_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "x.db"
    file.write_text("words " * 1000)
    with pytest.raises(StoreCorrupt):
        reach(file)
    assert file.read_text() == "words " * 1000
