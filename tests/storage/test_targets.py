"""Targets: where `open_store` finds a store, what it makes there, and its errors when it cannot use one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from dispatch_state import Agent, InvalidValue, open_store
from dispatch_state.storage.targets import Target, resolve
from tests import postgres
from tests.paths import ROOT
from tests.tracebacks import shown

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="the folders are Linux's")


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
    assert "secret" not in shown(refused.value)
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
    """An empty variable counts as unset."""
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
from dispatch_state.storage.targets import (resolve)
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


def test_a_user_without_a_home_gets_an_error_that_says_what_to_name() -> None:
    """As in a container that runs under any user id."""
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
def test_what_cannot_be_a_store_is_refused_without_its_password(given: Any) -> None:
    with pytest.raises(InvalidValue) as refused:
        resolve(given)
    assert "secret" not in shown(refused.value)


def test_a_refused_scheme_names_the_allowed_ones() -> None:
    with pytest.raises(InvalidValue, match=r"sqlite:///… or postgresql://…"):
        resolve("mysql://h/d")


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


def test_a_password_that_a_url_holds_twice_is_not_shown() -> None:
    target = resolve("postgresql://u:secret@h:99/d?password=secret")
    assert str(target) == "postgresql://u@h:99/d"
    assert "secret" not in repr(target)
