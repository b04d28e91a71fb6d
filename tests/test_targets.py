"""Where `open_store` finds a store, what it makes there, and what it says when it cannot use it."""

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
from dispatch_state.storage.targets import Target, resolve
from tests import postgres
from tests.test_database import in_child, told

ROOT = Path(__file__).parent.parent
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="the folders are Linux's")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home where nothing is configured, and the folder that the process is in."""
    for name in ("DISPATCH_DATABASE", "DISPATCH_CONFIG", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


# ---- what a target names -----------------------------------------------------------------------------

PATHS = [
    ("x.db", "{home}/x.db"),
    (Path("x.db"), "{home}/x.db"),
    ("folder/../x.db", "{home}/folder/../x.db"),
    ("a name with %20 and #.db", "{home}/a name with %20 and #.db"),
    ("sqlite:///x.db", "{home}/x.db"),
    ("sqlite:////somewhere/a%20name%23.db", "/somewhere/a name#.db"),
    ("SQLITE:///x.db", "{home}/x.db"),
    ("sqlite:///a@b,c.db", "{home}/a@b,c.db"),
    ("sqlite:///%3Amemory%3A", ":memory:"),
]


@pytest.mark.parametrize(("given", "location"), PATHS)
def test_a_path_is_absolute_and_percent_signs_are_read_in_a_url_only(given: Any, location: str, home: Path) -> None:
    assert resolve(given) == Target("sqlite", location.format(home=home))


SEVERAL_HOSTS = [
    "postgresql://a:5432,b:5433/db",
    "postgresql://u:secret@a:5432,b:5433,c/db?target_session_attrs=read-write",
    "postgresql://a,b/db",
    "postgresql://[::1]:5432,[::2]:5433/db",
    "postgresql://u:secret@/db?host=a,b&port=5432,5433",
]


@pytest.mark.parametrize("url", SEVERAL_HOSTS)
def test_several_hosts_are_left_for_the_driver_to_read(url: str) -> None:
    assert resolve(url) == Target("postgresql", url)
    assert resolve(url.replace("postgresql", "postgres", 1)) == Target("postgresql", url)


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("postgresql://u:secret@h:99/d", "postgresql://u@h:99/d"),
        ("postgresql://u:secret@h/d?password=secret&sslpassword=secret", "postgresql://u@h/d"),
        ("postgresql://:secret@h/d", "postgresql://h/d"),
        ("postgresql:///d?user=u&password=secret", "postgresql:///d"),
        ("postgres://u:se%63ret%2Fsecret@h/d", "postgresql://u@h/d"),
        ("postgresql://u:sec@ret@h/d", "postgresql://u@h/d"),
    ],
)
def test_the_text_of_a_target_has_no_password(url: str, text: str) -> None:
    assert str(resolve(url)) == text
    assert "sec" not in repr(resolve(url))


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:secret@a:5432,b:5433/db",
        "postgresql://u:secret@a,b:5433/db?password=secret",
        "postgresql://:secret@[::1]:5432,b/db",
        "postgresql://u:se,cret:secret@a:1,b:2/db",
    ],
)
def test_the_text_of_a_target_of_several_hosts_has_no_password(url: str) -> None:
    shown = f"{resolve(url)} {resolve(url)!r}"
    assert "secret" not in shown
    assert "se,cret" not in shown
    assert shown.startswith("postgresql://")
    assert "/db " in shown


def test_a_store_on_several_hosts_is_opened_at_the_first_that_answers() -> None:
    """The URL reaches libpq as it was given: the second host is the run's server."""
    with postgres.fresh_schema() as url:
        host = urlsplit(url).query.partition("host=")[2].partition("&")[0]
        several = url.replace(f"host={host}", f"host=/nowhere,{host}")
        assert several != url
        with open_store(several) as store:
            Agent.create(agent_type="coder")
            assert store.counts()["agents"]["idle"] == 1


REFUSED: list[Any] = [
    *("sqlite:///", "sqlite:///x.db#part", "sqlite:////tmp", ".", "://x", "\t\n"),
    *("postgresql+psycopg://u:secret@h/d", "postgresql://u:secret@h:99999/d", "http://u:secret@h/x.db"),
    *("postgresql://u:se,cret/secret@h/d", "postgresql://u:123/secret@h/d"),
    *(1.5, True, [], {}),
]


@pytest.mark.parametrize("given", REFUSED, ids=lambda given: repr(given)[:25])
def test_what_names_no_store_is_refused(given: Any, home: Path) -> None:
    """Before anything is made, and without its password."""
    with pytest.raises(InvalidValue, match=r"^target: ") as refused:
        open_store(given)
    assert "secret" not in told(refused.value)
    assert list(home.iterdir()) == []


# ---- what is configured ------------------------------------------------------------------------------


def configure(home: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = home / "chosen.toml"
    file.write_text(text)
    monkeypatch.setenv("DISPATCH_CONFIG", str(file))
    return file


def test_a_given_target_comes_before_the_environment(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPATCH_DATABASE", "environment.db")
    assert resolve("given.db").location == str(home / "given.db")
    assert resolve(None).location == str(home / "environment.db")


def test_an_empty_environment_names_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a shell sets it to take it away."""
    monkeypatch.setenv("DISPATCH_DATABASE", "")
    configure(home, '[database]\npath = "~/file.db"', monkeypatch)
    assert resolve(None).location == str(home / "file.db")


LINES = [
    ("path = '~/file.db'", Target("sqlite", "{home}/file.db")),
    ("path = ':memory:'", Target("sqlite", ":memory:")),
    ("url = 'sqlite:////somewhere/x.db'", Target("sqlite", "/somewhere/x.db")),
    ("url = 'postgres://h/d'", Target("postgresql", "postgresql://h/d")),
]


@pytest.mark.parametrize(("line", "target"), LINES)
def test_the_configuration_file_names_a_store(
    line: str, target: Target, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(home, f"[database]\n{line}\n", monkeypatch)
    assert resolve(None) == Target(target.kind, target.location.format(home=home))


@pytest.mark.parametrize("text", [b"\xff\xfe", b"path = '\xe9'", b"[database]\npath = ''", b"[database]\npath = '~'"])
def test_a_configuration_that_cannot_be_read_or_names_no_store_is_refused(
    text: bytes, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(home, "", monkeypatch).write_bytes(text)
    with pytest.raises(InvalidValue):
        open_store()


UNREADABLE = {
    "the home of nobody": ("~nobody-of-that-name/x", "names the home folder of a user without one here"),
    "a name that is too long": ("x" * 5000, "cannot be read: File name too long"),
    "a folder": ("/", "cannot be read: Is a directory"),
    "below a file": (__file__ + "/x", "there is no "),
    "nothing": ("none.toml", "there is no "),
    "a link to itself": ("loop", "cannot be read: Too many levels"),
    "no UTF-8": ("\udcff", "there is no "),
}


@pytest.mark.parametrize(("name", "says"), UNREADABLE.values(), ids=UNREADABLE)
def test_a_configuration_that_is_named_and_cannot_be_read(
    name: str, says: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "loop").symlink_to("loop")
    monkeypatch.setenv("DISPATCH_CONFIG", name)
    with pytest.raises(InvalidValue, match=f"^DISPATCH_CONFIG: .*{says}"):
        open_store()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"a = " + b"[" * 20_000, "nested too deeply"),
        (b"a = 1" + b"0" * 5000, "cannot be read as TOML"),
        (b"# " + b"x" * 70_000, "longer than 65,536 bytes"),
    ],
)
def test_a_configuration_that_is_too_much_is_refused(
    text: bytes, says: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(home, "", monkeypatch).write_bytes(text)
    with pytest.raises(InvalidValue, match=rf"chosen\.toml: .*{says}"):
        open_store()


def test_a_default_configuration_below_what_is_no_folder_is_not_there(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "file").touch()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "file"))
    monkeypatch.setenv("XDG_DATA_HOME", str(home / "data"))
    assert resolve(None).location == str(home / "data" / "dispatch" / "dispatch.db") or sys.platform != "linux"


@pytest.mark.parametrize("given", ["x.db", None])
def test_in_a_folder_that_is_gone(given: str | None, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = home / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    monkeypatch.setenv("DISPATCH_CONFIG", "x.toml")
    with pytest.raises(InvalidValue, match="the current folder cannot be reached"):
        resolve(given)


WITHOUT_A_HOME = """
import os
from dispatch_state import DispatchError
from dispatch_state.storage.targets import resolve
if os.geteuid() == 0:
    os.setuid(54321)
else:
    os.path.expanduser = lambda path: path  # as it is for who has no entry among the users
for name in (None, "~/x.db"):
    try:
        print(resolve(name))
    except DispatchError as error:
        print(type(error).__name__, error)
"""


def test_a_user_without_a_home_is_told_what_to_name() -> None:
    """As in a container that runs under any number."""
    kept = {"PATH", "VIRTUAL_ENV", "LANG"}
    environment = {name: value for name, value in os.environ.items() if name in kept}
    command = [sys.executable, "-c", f"import platformdirs\n{WITHOUT_A_HOME}"]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, check=False)
    assert ended.stdout.splitlines() == [
        "InvalidValue target: no store is named, and this user has no home folder to look in; "
        "name one, or set DISPATCH_DATABASE",
        'InvalidValue target: "~/x.db" names the home folder of a user without one here',
    ], ended.stderr


@LINUX
def test_without_any_configuration_the_store_is_made_in_the_data_folder(home: Path) -> None:
    with open_store():
        Agent.create(agent_type="coder")
    with open_store(home / ".local" / "share" / "dispatch" / "dispatch.db", create=False):
        assert Agent.select().count() == 1


@LINUX
def test_the_folders_of_the_desktop_are_heeded(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`XDG_DATA_HOME` for the store; `XDG_CONFIG_HOME` for the file that may name another."""
    monkeypatch.setenv("XDG_DATA_HOME", str(home / "data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "config"))
    assert resolve(None).location == str(home / "data" / "dispatch" / "dispatch.db")
    (home / "config" / "dispatch").mkdir(parents=True)
    (home / "config" / "dispatch" / "config.toml").write_text("[database]\npath = '~/named.db'")
    assert resolve(None).location == str(home / "named.db")


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
    """It is no missing database, whatever the server's words are, and its password is not told."""
    url = urlsplit(postgres.server_or_skip())
    with pytest.raises(StoreError) as refused:
        open_store(urlunsplit(url._replace(netloc=f"no_such_role:secret@{url.netloc.rpartition('@')[2]}")))
    assert type(refused.value) is StoreError
    assert "secret" not in told(refused.value)


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
    """A session of another program that holds what every birth of an agent needs."""
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
