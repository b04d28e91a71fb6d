"""Where a store is, how it is reached, who may use it, and what the errors of both databases mean."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import peewee
import psycopg
import pytest

from dispatch_state import Agent, ConfigEntry, open_store
from dispatch_state.errors import (
    InvalidValue,
    StoreBusy,
    StoreCorrupt,
    StoreError,
    StoreFull,
    StoreNotFound,
    StoreNotOpen,
    StoreReadOnly,
    WrongProcess,
)
from dispatch_state.storage import connect as databases
from dispatch_state.storage import mounts, sqlite
from dispatch_state.storage.connect import Database, PostgresStore, SqliteStore
from dispatch_state.storage.targets import Target, resolve

ROOT = Path(__file__).parent.parent


def reach(target: object, *, create: bool = True, **options: Any) -> Database:
    chosen = {"timeout": 5.0, "pool_size": 5, "durability": "full"} | options
    return databases.connect(resolve(target), create=create, **chosen)  # type: ignore[arg-type]


@contextmanager
def reached(target: object, **options: Any) -> Iterator[Database]:
    database = reach(target, **options)
    try:
        yield database
    finally:
        database.close_all()


@pytest.fixture
def database(target: str) -> Iterator[Database]:
    with reached(target) as found:
        yield found


def in_thread(work: Callable[[], object]) -> Any:
    """What `work` gives, or raises, in a thread that then ends."""
    found: list[Any] = []

    def run() -> None:
        try:
            found.append(work())
        except BaseException as error:
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(30)
    return found[0]


def in_child(work: Callable[[], object]) -> str:
    """The name of what `work` raises in a forked child, which then leaves without cleaning up."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            work()
            name = "nothing"
        except BaseException as error:
            name = type(error).__name__
        os.write(writer, name.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as told:
        name = told.read()
    os.waitpid(child, 0)
    return name


def told(error: BaseException | None) -> str:
    """Every message that a traceback of the error would show."""
    if error is None:
        return ""
    return f"{error}\n{told(error.__cause__ or (None if error.__suppress_context__ else error.__context__))}"


def one(database: Database, sql: str) -> Any:
    return database.execute_sql(sql).fetchone()[0]


# ---- where a store is --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "kind", "location"),
    [
        (":memory:", "sqlite", ":memory:"),
        ("sqlite:///:memory:", "sqlite", ":memory:"),
        ("/a/x.db", "sqlite", "/a/x.db"),
        (Path("/a/x.db"), "sqlite", "/a/x.db"),
        ("sqlite:////a/x%20y.db", "sqlite", "/a/x y.db"),
        ("sqlite:///~/x.db", "sqlite", "/home/somebody/x.db"),
        ("~/x.db", "sqlite", "/home/somebody/x.db"),
        ("postgresql://u:p%40ss@h/d?options=-cx%3Dy", "postgresql", "postgresql://u:p%40ss@h/d?options=-cx%3Dy"),
        ("postgres://h/d", "postgresql", "postgresql://h/d"),
    ],
)
def test_a_target_is_a_path_or_a_url(given: Any, kind: str, location: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    assert resolve(given) == Target(kind, location)


@pytest.mark.parametrize(
    "given",
    [
        5,
        b"x.db",
        "",
        "  ",
        "a\0b",
        "/",
        "~nobody-of-that-name/x.db",
        "x" * 5000,
        "\ud800.db",
        "sqlite:///a%00b",
        "postgresql://u:secret@h:port/d",
        "mysql://u:secret@h/d",
        "file:///x.db",
        "sqlite://",
        "sqlite://host/x.db",
        "sqlite:///x.db?mode=ro",
        "postgresql://u:secret@[::1/d",
    ],
)
def test_what_cannot_be_a_store_is_refused_and_its_password_not_told(given: Any) -> None:
    with pytest.raises(InvalidValue) as refused:
        resolve(given)
    assert "secret" not in told(refused.value)


def test_a_refused_scheme_is_told_what_is_allowed() -> None:
    with pytest.raises(InvalidValue, match=r"sqlite:///… or postgresql://…"):
        resolve("mysql://h/d")


def test_the_text_of_a_target_has_no_password() -> None:
    target = resolve("postgresql://u:secret@h:99/d?password=secret")
    assert str(target) == "postgresql://u@h:99/d"
    assert "secret" not in repr(target)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without configuration."""
    for name in ("DISPATCH_DATABASE", "DISPATCH_CONFIG", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def configure(home: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    file = home / "chosen.toml"
    file.write_text(text)
    monkeypatch.setenv("DISPATCH_CONFIG", str(file))


@pytest.mark.skipif(sys.platform != "linux", reason="the folders are Linux's")
def test_nothing_configured_is_a_file_in_the_data_folder(home: Path) -> None:
    assert resolve(None).location == str(home / ".local/share/dispatch/dispatch.db")


@pytest.mark.skipif(sys.platform != "linux", reason="the folders are Linux's")
def test_the_configuration_file_is_found_in_its_folder(home: Path) -> None:
    folder = home / ".config/dispatch"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text('[database]\npath = "~/here.db"')
    assert resolve(None).location == str(home / "here.db")


def test_the_environment_comes_before_the_configuration_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(home, '[database]\nurl = "postgresql://h/file"', monkeypatch)
    assert resolve(None) == Target("postgresql", "postgresql://h/file")
    monkeypatch.setenv("DISPATCH_DATABASE", "postgresql://h/environment")
    assert resolve(None).location == "postgresql://h/environment"


def test_a_configuration_file_may_say_nothing_of_the_database(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(home, "[other]\nx = 1", monkeypatch)
    assert Path(resolve(None).location).name == "dispatch.db"


@pytest.mark.parametrize(
    "text",
    [
        "[database",
        "database = 1",
        "[database]\npath = 5",
        '[database]\nurl = ["sqlite:///x"]',
        '[database]\npath = "x"\nurl = "sqlite:///x"',
        '[database]\nurl = "mysql://u:secret@h/d"',
    ],
)
def test_a_broken_configuration_file_is_refused(text: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(home, text, monkeypatch)
    with pytest.raises(InvalidValue) as refused:
        resolve(None)
    assert "secret" not in str(refused.value)


def test_a_configuration_file_that_is_named_must_be_there(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPATCH_CONFIG", str(home / "none.toml"))
    with pytest.raises(InvalidValue, match=r"none\.toml"):
        resolve(None)


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


def test_a_folder_on_the_way_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="file"):
        reach(tmp_path / "file" / "x.db")


@pytest.fixture
def unprivileged() -> Iterator[None]:
    """Root may write anything; these tests act as somebody who may not."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_folder_that_may_not_be_written_is_told(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    tmp_path.chmod(0o555)
    for folder in (tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(folder.stat().st_mode | 0o055)
    request.getfixturevalue("unprivileged")
    with pytest.raises(StoreReadOnly):
        reach(tmp_path / "x.db")


def test_a_file_that_may_not_be_written_is_told_at_the_first_write(
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


def test_a_url_that_the_driver_cannot_read_is_refused_without_the_password() -> None:
    with pytest.raises(InvalidValue) as refused:
        reach("postgresql://u:secret%zz@127.0.0.1:1/d")
    assert "secret" not in told(refused.value)


def test_what_is_no_database_is_corrupt_and_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "x.db"
    file.write_text("words " * 1000)
    with pytest.raises(StoreCorrupt):
        reach(file)
    assert file.read_text() == "words " * 1000


def test_a_server_that_does_not_answer_is_told_without_the_password() -> None:
    with pytest.raises(StoreError) as refused:
        reach("postgresql://u:secret@127.0.0.1:1/d")
    assert "secret" not in told(refused.value)


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


# ---- files that are mounted ----------------------------------------------------------------------------


def mounted(source: Path, place: Path) -> Path:
    """Mount a file or a folder at another place, in this process's namespace."""
    if source.is_dir():
        place.mkdir(parents=True)
    else:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    subprocess.run(["mount", "--bind", source, place], check=True)
    return place


def refuses_mounted_files(folder: Path) -> None:
    """The file alone, under any name, through links, or at its own place; and with it the files beside it."""
    outside = folder / "outside"
    outside.mkdir()
    with open_store(outside / "x.db", durability="normal"):
        ConfigEntry.write("key", 1)
    held = (outside / "x.db").read_bytes()
    places = [mounted(outside / "x.db", folder / name / "x.db") for name in ("in", "with space \\040\n", "Ä")]
    link, beside = folder / "link.db", folder / "linked"
    link.symlink_to(places[1])
    beside.symlink_to(folder / "in")
    for name in (*places, link, beside / "x.db"):
        for migrate in (True, False):
            with pytest.raises(StoreError, match=r"is mounted by itself.* mount the folder instead"):
                open_store(name, migrate=migrate)
        assert [path.name for path in places[0].parent.iterdir()] == ["x.db"], "nothing is made beside it"
    assert (outside / "x.db").read_bytes() == held
    subprocess.run(["mount", "--bind", outside / "x.db", outside / "x.db"], check=True)
    with pytest.raises(StoreError, match=r"x\.db is mounted by itself"):
        open_store(outside / "x.db")
    subprocess.run(["umount", outside / "x.db"], check=True)
    open_store(outside / "x.db").close()
    for suffix in ("-wal", "-shm"):
        (folder / "other").touch()
        beside_it = mounted(folder / "other", outside / f"x.db{suffix}")
        with pytest.raises(StoreError, match=f"x.db{suffix} is mounted by itself"):
            open_store(outside / "x.db")
        subprocess.run(["umount", beside_it], check=True)
        beside_it.unlink()


def serves_mounted_folders(folder: Path) -> None:
    """Whoever mounts the folder has all of the store's files there; what is mounted over it is another store."""
    outside = folder / "outside"
    outside.mkdir()
    inside = mounted(outside, folder / "inside")
    deeper = mounted(inside, folder / "deeper" / "still")
    for number, place in enumerate((outside, inside, deeper)):
        with open_store(place / "x.db", durability="normal") as store:
            assert store.counts()["agents"].get("idle", 0) == number
            Agent.create(agent_type="coder")
            other = sqlite3.connect(outside / "x.db")
            assert other.execute("SELECT count(*) FROM agents").fetchone() == (number + 1,)
            other.close()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", inside], check=True)
    (folder / "link.db").symlink_to(inside / "x.db")
    for name in (inside / "x.db", folder / "link.db"):
        with open_store(name) as store:
            assert store.counts()["agents"].get("idle", 0) == 0


@pytest.mark.parametrize("call", [refuses_mounted_files, serves_mounted_folders], ids=lambda call: call.__name__)
def test_mounts(call: Callable[[Path], None], tmp_path: Path) -> None:
    before = ["unshare", "--map-root-user", "--mount"]
    trial = [*before, "sh", "-c", "touch a b && mount --bind a b && mount -t tmpfs tmpfs ."]
    if not shutil.which("unshare") or subprocess.run(trial, cwd=tmp_path, capture_output=True, check=False).returncode:
        pytest.skip("NOTHING CAN BE MOUNTED HERE: files that are mounted by themselves are not tried")
    code = f"from tests.test_database import *; {call.__name__}(Path(sys.argv[1]))"
    command = [*before, sys.executable, "-W", "error", "-c", code, str(tmp_path)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_system_that_says_nothing_of_mounts_opens_every_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As macOS does, or Linux where there is no /proc."""
    with monkeypatch.context() as without:
        without.setattr(mounts, "_TOLD", "/no/such/place/{}")
        open_store(tmp_path / "x.db").close()
    monkeypatch.delattr(os, "O_PATH", raising=False)
    open_store(tmp_path / "x.db").close()


def test_mounts_are_asked_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the store is opened, and not for each connection or move."""
    asked: list[str] = []
    monkeypatch.setattr(sqlite, "is_mount_point", asked.append)
    with open_store(tmp_path / "x.db", durability="normal"):
        Agent.create(agent_type="coder")
        in_thread(lambda: Agent.create(agent_type="coder"))
    assert asked == [f"{tmp_path}/x.db{suffix}" for suffix in ("", "-wal", "-shm")]


# ---- the log beside the file -----------------------------------------------------------------------------


def test_a_log_that_grew_under_a_reader_is_cut_when_the_reader_is_gone(tmp_path: Path) -> None:
    log = tmp_path / "x.db-wal"
    with open_store(tmp_path / "x.db", durability="normal"):
        reader = sqlite3.connect(tmp_path / "x.db", isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM agents").fetchone()
        for number in range(40):
            ConfigEntry.write("key", str(number % 10) * 900_000)
        assert log.stat().st_size > 2 * sqlite.LARGEST_LOG
        reader.close()
        for number in range(3):
            ConfigEntry.write("key", number)
        assert log.stat().st_size <= sqlite.LARGEST_LOG


def test_a_log_that_nobody_reads_is_written_over_and_not_cut(tmp_path: Path) -> None:
    """Cutting it again and again would cost time."""
    sizes = []
    with open_store(tmp_path / "x.db", durability="normal"):
        for number in range(150):
            ConfigEntry.write("key", str(number % 10) * 90_000)
            sizes.append((tmp_path / "x.db-wal").stat().st_size)
    assert sizes == sorted(sizes)
    assert 4_000_000 < sizes[-1] < sqlite.LARGEST_LOG


# ---- connections -------------------------------------------------------------------------------------


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
    assert len(database._owners) <= 2


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


def test_each_session_of_postgresql_is_set_up(database: Database) -> None:
    if database.kind == "sqlite":
        pytest.skip("SQLite has no sessions")

    def settings() -> list[Any]:
        return [one(database, f"SHOW {name}") for name in ("transaction_isolation", "timezone", "lock_timeout")]

    assert settings() == in_thread(settings) == ["read committed", "UTC", "5s"]
    row = database.execute_sql("""SELECT '{"a": 1}'::jsonb, '[1]'::json, now(), gen_random_uuid()""").fetchone()
    assert [type(value).__name__ for value in row] == ["str", "str", "datetime", "UUID"]
    assert row[2].utcoffset().total_seconds() == 0


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


def test_a_savepoint_is_released_with_its_block(database: Database) -> None:
    with pytest.raises(peewee.DatabaseError, match="dispatch_state_1"), database.atomic():
        with database.atomic():
            pass
        database.execute_sql("RELEASE SAVEPOINT dispatch_state_1")


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
from dispatch_state.storage import connect as databases
from dispatch_state.storage.targets import resolve

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


# ---- what errors mean --------------------------------------------------------------------------------


def refusal(database: Database, work: Callable[[], object]) -> StoreError | None:
    """What the error that `work` raises means."""
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


def test_a_deadlock_is_busy_and_worth_another_try(database: Database) -> None:
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


def test_a_query_that_is_still_read_is_told_apart_from_a_lock(tmp_path: Path) -> None:
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


def test_a_commit_whose_connection_was_closed_is_told(database: Database) -> None:
    """PostgreSQL takes COMMIT from a new connection too, though nothing is begun there: what was written is gone."""
    database.execute_sql("CREATE TABLE t (x INTEGER)")
    database.begin()
    database.execute_sql("INSERT INTO t VALUES (1)")
    database.close()
    with pytest.raises(peewee.PeeweeException):
        database.commit()
    assert one(database, "SELECT count(*) FROM t") == 0


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
    assert database.connection().kept.pgresult is None
    assert database.run("SELECT 1")[0] == [(1,)]


def test_a_broken_constraint_is_no_fault_of_the_store(database: Database) -> None:
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
