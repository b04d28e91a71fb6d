"""The command line: every command's text and JSON, and the errors of wrong calls."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import pytest

from dispatch_state import Agent, Epic, Issue, Store, open_store
from dispatch_state.cli.commands import COMMANDS, main
from dispatch_state.schema import runner as migrations
from dispatch_state.storage.targets import resolve
from tests import postgres
from tests.backends import on_sqlite
from tests.cli.shelf import CONTROL, SOMEBODY, Ids, fill, reads
from tests.pages import command_line
from tests.shell import FULL, Shell, full
from tests.world import MAINTAINER, MODELS, WHY

# ---- making and keeping --------------------------------------------------------------------------------


def test_a_store_is_made_once(shell: Shell, inside: Any) -> None:
    shell("status", code=3)
    assert " init creates one (PostgreSQL: after createdb); --database or DISPATCH_DATABASE name another\n" in shell.err
    assert "create=True" not in shell.err
    assert "there is no store at" in shell.err or "the database is empty" in shell.err
    assert shell("init").startswith("made ")
    assert shell("init").endswith("is there already\n")
    assert shell.json("init")["made"] is False
    assert inside(lambda store: store.counts()["issues"]["queued"]) == 0
    assert "Nothing waits for a person." in shell("status")


def test_an_old_store_is_brought_up_to_date(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    released = migrations.migrations_folder()
    older = tmp_path / "older"
    shutil.copytree(released, older)
    sorted(older.glob("0*.py"))[-1].unlink()
    with monkeypatch.context() as old:
        old.setattr(migrations, "migrations_folder", lambda: older)
        open_store(shell.target).close()
    shell("status", code=3)
    assert " migrate brings it up to date\n" in shell.err
    assert "migrate=True" not in shell.err
    assert shell("migrate").startswith("migrated ")
    assert shell.json("migrate") == {"store": shell.json("init")["store"], "migrated": False}
    assert "Nothing waits" in shell("status")


def test_soundness(shell: Shell, ids: Ids, inside: Any) -> None:
    assert (shell("verify"), shell.err) == ("", "sound\n")
    assert shell.json("verify") == {"sound": True, "violations": []}

    def tamper(store: Store) -> None:
        with store.database.atomic():
            migrations.enforcement.remove(store.database)
            store.database.execute_sql(f"UPDATE issues SET version = 9 WHERE id = '{ids['issue']}'")
            migrations.enforcement.install(store.database)

    inside(tamper)
    assert shell("verify", code=1).startswith(f"I12 issues {ids['issue']}: ")
    told = json.loads(shell("verify", "--json", code=1) if shell.err.count("\n") == 1 else "")
    assert (told["sound"], told["violations"][0]["invariant"], told["violations"][0]["id"]) == (
        False,
        "I12",
        ids["issue"],
    )


@on_sqlite
def test_a_copy_is_made(shell: Shell, ids: Ids, tmp_path: Path) -> None:
    assert shell.json("backup", str(tmp_path / "copy.db")) == {"backup": str(tmp_path / "copy.db")}
    assert "exists" in (shell("backup", str(tmp_path / "copy.db"), code=2) or shell.err)
    assert Shell(str(tmp_path / "copy.db"), shell._capsys).json("status") == shell.json("status")


@reads
def test_diagrams(shell: Shell, ids: Ids, tmp_path: Path) -> None:
    for table, model in MODELS.items():
        assert shell("diagram", table) == model.machine.to_mermaid()
        assert shell("diagram", table, "--format", "dot") == model.machine.to_dot()
    assert shell("diagram", ids["issue"][-12:]) == Issue.machine.to_mermaid("queued")
    assert "stages_start --> issues_queue" in shell("diagram", "cascades")
    assert shell.json("diagram", "cascades", "--format", "markdown")["text"].startswith("| move |")
    for name in ("issue", "Issue", "ISSUES"):
        assert shell("diagram", name) == Issue.machine.to_mermaid()
    for name in ("pull_request", "PullRequest"):
        assert shell("diagram", name) == MODELS["pull_requests"].machine.to_mermaid()
    shell("diagram", "tables", code=2)
    assert (
        '"tables" is neither an id nor the end of one, nor cascades, nor a table: epics, stages, gates, ' in shell.err
    )
    assert shell("diagram", "issues", "--output", str(tmp_path / "issues.mmd")) == ""
    assert shell.err == f"wrote {tmp_path / 'issues.mmd'}\n"
    assert (tmp_path / "issues.mmd").read_text() == Issue.machine.to_mermaid()


def test_pictures_or_a_clear_word(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "dot"
    program.write_text("#!/bin/sh\necho picture\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert shell.json("diagram", "issues", "--format", "svg")["text"] == "picture\n"
    png = ("diagram", "issues", "--format", "png")
    assert shell.json(*png, "--output", str(tmp_path / "a.png"))["file"] == str(tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes() == b"picture\n"
    assert "--output" in (shell(*png, "--json", code=2) or shell.err)
    program.unlink()
    assert "needs Graphviz" in (shell("diagram", "cascades", "--format", "svg", code=2) or shell.err)


# ---- errors of wrong calls -----------------------------------------------------------------------------


WRONG_IDS = ["", " ", "xyz", "\0", "a\0b", "\udcff", "%", "_", "é" * 50, "0" * 37, "--", "issues"]


@reads
@on_sqlite
@pytest.mark.parametrize("words", [["show"], ["explain"], ["diagram"], ["board", "--epic"], ["fire"]])
def test_ids_that_are_none(words: list[str], shell: Shell, ids: Ids) -> None:
    rest = ["queue", "--as", "me"] if words == ["fire"] else []
    for wrong in WRONG_IDS:
        if (words, wrong) != (["diagram"], "issues"):
            shell(*words, wrong, *rest, code=2)
    for unknown in (SOMEBODY, "dead" * 3):
        shell(*words, unknown, *rest, code=1)
        assert "id" in shell.err


@reads
@on_sqlite
def test_the_end_of_more_than_one_id(shell: Shell, ids: Ids, inside: Any) -> None:
    every = inside(lambda store: [str(row.id) for model in MODELS.values() for row in model.select()])
    ends = Counter(key[-1] for key in every)
    end, count = ends.most_common(1)[0]
    assert count > 1
    for words in (["show", end], ["explain", end], ["diagram", end]):
        shell(*words, code=1)
        assert f"{end} is the end of more than one id: " in shell.err
        assert shell.err.count("-7") >= 2
        assert (", and others; give more of it" in shell.err) == (count > 4)


def test_an_end_names_a_row_with_a_lifecycle_before_all_others(shell: Shell, target: str) -> None:
    """Log lines and removed rows whose ids end alike do not make the end ambiguous."""
    with open_store(target, durability="normal"):
        agent = Agent.create(id=UUID(int=1), agent_type="coder")
        lines = [str(agent.log("info", str(number)).id) for number in range(40)]
        end, count = Counter(line[-1] for line in lines if line[-1] != "1").most_common(1)[0]
        epic = Epic.create(id=f"{'0' * 31}{end}", title="Live", description="d", repo_path="/src")
        for number in range(2):
            gone = f"{number}{'0' * 26}beef{end}"
            issue = Issue.create(id=gone, title="Gone", prompt="p", issue_type="bug", repo_path="/src")
            issue.cancel(by=MAINTAINER, reason=WHY)
            issue.remove(by=MAINTAINER, reason=WHY)
    assert count > 1
    for word in (end, str(epic.id)[-4:]):
        assert [shell.json("show", word)[column] for column in ("table", "id")] == ["epics", str(epic.id)]
    assert shell.json("show", lines[0][-8:])["table"] == "agent_logs"
    shell("show", f"beef{end}", code=1)
    both = [f"issues {number}{'0' * 7}-0000-0000-0000-0000000beef{end} (deleted)" for number in range(2)]
    assert f"beef{end} is the end of more than one id: {both[0]}, {both[1]}; give more of it" in shell.err


def test_a_short_end_changes_nothing(shell: Shell, ids: Ids, inside: Any) -> None:
    """An id needs at least four characters, as an argument of a trigger too."""
    key, idle = ids["issue"], ids["idle"]
    for end in (key[-1:], key[-3:]):
        shell("fire", end, "dequeue", "--as", "me", code=2)
        assert f"dispatch-state: {end}: to change a row, give at least 4 characters of its id\n" == shell.err
    shell("fire", key[-8:], "assign", f"agent={idle[-3:]}", "--as", "me", code=2)
    assert f"{idle[-3:]}: to change a row, give at least 4 characters" in shell.err
    assert shell.json("show", key)["status"] == "queued"
    shell("fire", key[-6:], "assign", f"agent={idle[-6:]}", "--as", "me")
    assert shell.json("show", key)["status"] == "assigned"


@reads
@on_sqlite
@pytest.mark.parametrize(
    "words",
    [
        ["nonsense"], ["status", "extra"], ["status", "--limit", "0"], ["status", "--limit", "x"],
        ["status", "--limit", "-1"], ["status", "--limit", str(2**70)], ["log", "--last", "0"], ["log", "--after", "x"],
        ["log", "--after", "-5"], ["log", "--after", "1" * 5000],
        ["log", "--after", "1", "--last", "2"], ["log", "--after", str(2**70)], ["log", "--timeout", "nan"],
        ["log", "--timeout", "-1"], ["log", "--timeout", "inf"], ["decisions", "--last", "-3"],
        ["board", "--limit", "0"], ["board", "--html", ""], ["board", "--html", "\0"], ["board", "--timeout", "nan"],
        ["diagram"], ["diagram", "issues", "--format", "pdf"], ["diagram", "issues", "--output", ""], ["backup"],
        ["backup", "a\0b"], ["rescue", "--timeout", "0"], ["rescue", "--timeout", "inf"],
        ["rescue", "--max-attempts", "0"], ["rescue", "--idle-timeout", "0"], ["tick", "now"], ["verify", "--stat"],
        ["show"], ["explain"], ["fire"], ["init", "x"], ["migrate", "x"],
        ["--nonsense", "status"], ["status", "\x1b[31m"],
    ],
)  # fmt: skip
def test_wrong_calls(words: list[str], shell: Shell, ids: Ids) -> None:
    assert shell(*words, code=2) == ""
    assert not CONTROL.search(shell.err)


UNWRITABLE = ["/no/such/folder/x", "/", "x" * 5000, pytest.param(str(FULL), marks=full)]


@reads
@on_sqlite
@pytest.mark.parametrize("file", UNWRITABLE)
@pytest.mark.parametrize("words", [["board", "--html"], ["diagram", "issues", "--output"]])
def test_files_that_cannot_be_written(words: list[str], file: str, shell: Shell, ids: Ids) -> None:
    assert shell(*words, file, code=3) == ""
    assert "cannot be written" in shell.err


PASSWORD = "hunter2"
URL = f"postgresql://user:{PASSWORD}@127.0.0.1:1/none?connect_timeout=2&password={PASSWORD}"
RUN: dict[str, list[str]] = {
    "backup": ["copy.db"], "export": ["copy.jsonl"], "import": ["none.jsonl"], "show": [SOMEBODY],
    "explain": [SOMEBODY], "diagram": [SOMEBODY], "fire": [SOMEBODY, "queue", "--as", "me"],
}  # fmt: skip
"""What a command takes at least."""


@pytest.mark.parametrize("name", [command.name for command in COMMANDS])
def test_no_password_is_shown(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    """Wherever the URL stands on the command line: as the store, or by mistake in another place."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DISPATCH_DATABASE", raising=False)
    open_store("dispatch.db").close()
    words = RUN.get(name, [])
    calls = [[name, URL], [name, *words, URL], [name, *words, "--limit", URL], [name, *words, f"--{URL}"], [URL, name]]
    calls += [["--database", URL, name, *words], ["--database", "dispatch.db", name, *[URL for _ in words or "x"]]]
    calls += [["copy", "dispatch.db", URL], ["copy", URL, "dispatch.db"]] if name == "copy" else []
    for call in calls:
        for form in ([], ["--json"]):
            assert main([*call, *form]) in (1, 2, 3)
            told = "".join(capfd.readouterr())
            assert told
            assert PASSWORD not in told


@on_sqlite
def test_a_copy_into_a_full_store_does_not_show_its_password(
    target: str, tmp_path: Path, capfd: Any, backend: str
) -> None:
    with postgres.fresh_schema() as url:
        parts = urlsplit(url)
        secret = parts._replace(netloc=f"{parts.username or ''}:{PASSWORD}@{parts.hostname or ''}").geturl()
        with open_store(url):
            Agent.create(agent_type="coder")
        open_store(target).close()
        assert main(["copy", target, secret]) == 3
    told = "".join(capfd.readouterr())
    assert f"{resolve(secret)}: the store is not empty; name an empty one" in told
    assert PASSWORD not in told


EVERY = [
    ["status"], ["board"], ["log"], ["log", "--follow"], ["decisions"], ["show", SOMEBODY], ["explain", SOMEBODY],
    ["verify"], ["tick"], ["rescue"], ["migrate"], ["backup", "copy.db"],
    ["export", "copy.jsonl"], ["import", "none.jsonl"], ["diagram", SOMEBODY],
    ["fire", SOMEBODY, "queue", "--as", "me"],
]  # fmt: skip


def test_every_command_is_tried() -> None:
    assert {words[0] for words in EVERY} == {command.name for command in COMMANDS} - {"init", "copy"}


@pytest.mark.parametrize("words", EVERY)
def test_stores_that_are_none(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "corrupt.db").write_text("no database at all, but long enough to be read as a page" * 50)
    Shell("corrupt.db", capsys)(*words, code=3)
    Shell("missing.db", capsys)(*words, code=3)
    Shell(str(tmp_path), capsys)(*words, code=2)
    Shell("mysql://x", capsys)(*words, code=2)
    Shell("a\0b", capsys)(*words, code=2)
    Shell("postgresql://nobody@127.0.0.1:1/none?connect_timeout=2", capsys)("status", code=3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corrupt.db"]


@pytest.mark.parametrize("place", ["no/such/folder/x.db", "corrupt.db", ".", "a\0b"])
def test_stores_that_cannot_be_made(
    place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "corrupt.db").write_text("no database at all, but long enough to be read as a page" * 50)
    (tmp_path / "no").write_text("a file where a folder is wanted")
    Shell(place, capsys)("init", code=2 if place in (".", "a\0b") else 3)


GARBAGE = [
    ("issues", "created_at", "garbage"),
    ("issues", "updated_at", "0001-01-01T00:00:00+23:59"),
    ("issues", "labels", "{bad"),
    ("issues", "labels", "3"),
    ("issues", "labels", "[" * 100_000),
    ("issues", "status", "odd"),
    ("issues", "epic_id", "none"),
    ("transition_log", "created_at", "x"),
    ("transition_log", "entity_id", "zz"),
    ("decisions", "outcome", "[1]"),
    ("agents", "metrics", "3"),
]
"""Columns, and what no version of the library stored there."""
BYTES = [
    (table, column, b"\xff\x00")
    for table, columns in {
        "issues": ("id", "title", "status", "labels", "created_at", "assigned_agent_id"),
        "transition_log": ("trigger", "created_at"),
    }.items()
    for column in columns
]
READ = [("labels", "3"), ("status", "odd"), ("outcome", "[1]"), ("metrics", "3")]
"""What is shown as it stands, wrong as it is."""


@on_sqlite
@pytest.mark.parametrize(("table", "column", "value"), [*GARBAGE, *BYTES])
def test_a_store_in_which_somebody_scribbled(table: str, column: str, value: Any, shell: Shell, ids: Ids) -> None:
    """Each command shows what it can read or prints an error of one line; `verify` names the row."""
    with closing(sqlite3.connect(shell.target)) as raw:
        for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            raw.execute(f"DROP TRIGGER {name}")
        raw.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = 3", (value,))
        raw.commit()
        third = raw.execute(f"SELECT {'seq' if table == 'transition_log' else 'id'} FROM {table} WHERE rowid = 3")
        (key,) = third.fetchone()
    asked = [["status"], ["board"], ["log"], ["decisions"], ["board", "--html", "/dev/null"]]
    if isinstance(key, str):
        asked += [["show", key], ["explain", key]] if table != "decisions" else [["show", key]]
    codes = set()
    for words in asked:
        for form in ([], ["--json"]):
            code, _ = shell.run(*words, *form)
            codes.add(code)
            assert code in (0, 3)
            assert not code or "is not one it can hold; store.verify() names the row" in shell.err
    assert (3 in codes) == ((column, value) not in READ)
    assert shell("verify", code=1)


# ---- what programs read --------------------------------------------------------------------------------


CALLS = {
    "board --html FILE": "board --html board.html",
    "diagram": "diagram issues",
    "diagram --output FILE": "diagram issues --output issues.mmd",
    "show": "show {issue}",
    "explain": "explain {issue}",
    "log": "log --last 1",
    "decisions": "decisions --last 1",
    "backup": "backup backup.db",
    "export": "export all.jsonl",
    "import": "--database new.db import all.jsonl",
    "copy": "copy full.db copied.db",
    "fire, rescue, tick": "fire {issue} dequeue --as maintainer",
    "any that fails": "show nonsense",
}
"""How the keys of the page are asked for, where it takes more than their name."""


def test_documents_have_the_keys_that_the_page_gives_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DISPATCH_DATABASE", raising=False)
    ids = fill("full.db")
    open_store("new.db").close()
    items: dict[str, Any] = {}
    capfd.readouterr()
    for name, keys in command_line.SHAPES.items():
        words = CALLS.get(name, name).format(**ids).split()
        main([*(["--database", "full.db"] if words[0] not in ("copy", "--database") else []), *words, "--json"])
        told = json.loads("".join(capfd.readouterr()))
        found, named = list(told), [key for key in keys if key != "…"]
        assert named == (found if "…" not in keys else [key for key in found if key in named]), name
        items |= {key: told[key][0] for key in command_line.PARTS if told.get(key)}
    with closing(sqlite3.connect("new.db")) as raw:
        raw.execute("DROP TRIGGER dispatch_epics_insert")
    main(["--database", "new.db", "verify", "--json"])
    items["violations"] = json.loads(capfd.readouterr().out)["violations"][0]
    assert {name: tuple(item) for name, item in items.items()} == command_line.PARTS
    assert {word for name in command_line.SHAPES for word in name.replace(",", "").split()} >= {
        command.name for command in COMMANDS
    }


# ---- the page about the command line -------------------------------------------------------------------


def test_every_command_is_on_the_page_and_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    helped = Shell("", capsys)("--help")
    for command in COMMANDS:
        assert command.name in helped
        assert f"\n### {command.name}\n\n{command.about}\n" in command_line.page()
        assert command.about.endswith(".")
        assert "usage: dispatch-state" in Shell("", capsys)(command.name, "--help")
