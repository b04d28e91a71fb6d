"""The board: what stands on it, at 80 and at 200 columns, with and without rich; and its page for a browser."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from dispatch_state import Agent, Epic, Issue, IssueStatus, Store
from dispatch_state.cli import board as boards
from dispatch_state.cli import page as pages
from dispatch_state.cli.kanban import Board, Column, board_of
from dispatch_state.cli.page import page
from dispatch_state.cli.terminal import cells, visible
from tests.shell import HANG, Shell, process
from tests.world import MAINTAINER, WHY, World

EVIL = "</style><script>alert('x')</script> & \"quotes\" \x1b[2J\u202e"
LONG = "Choose the token format and write down why it is the one to keep for the next ten years, at least"
sqlite = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)


@pytest.fixture
def epic(store: Store) -> Epic:
    """An issue in every status, and an epic with two stages."""
    world = World(store)
    for status in IssueStatus:
        world.issues(status)
    epic = Epic.create(title=EVIL, description=f"About {EVIL}", repo_path="/src")
    design = epic.add_stage("Design & <b>more</b>")
    epic.add_stage("Build").add_issue(title="Later", prompt="p", issue_type="feature")
    design.add_issue(title=LONG, prompt="the prompt", issue_type="docs", priority="low", labels=["auth", "<i>"])
    design.add_issue(title="日本語のタイトル" * 5, prompt="the prompt", issue_type="bug", priority="critical")
    epic.mark_ready(by=MAINTAINER)
    epic.start(by=MAINTAINER)
    return epic


@pytest.fixture
def shell(
    store: Store, epic: Epic, target: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Shell:
    """The store is closed; the commands open it."""
    store.close()
    monkeypatch.setenv("COLUMNS", "80")
    return Shell(target, capsys)


@pytest.fixture(params=["rich", "plain"])
def drawn_by(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Whether rich is there."""
    if request.param == "plain":
        for name in [name for name in sys.modules if name.split(".")[0] == "rich"]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, "rich", None)
        monkeypatch.setitem(sys.modules, "rich.console", None)
    return str(request.param)


# ---- on a terminal -------------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [80, 200])
def test_the_board(columns: int, drawn_by: str, shell: Shell, epic: Epic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    told = shell("board")
    assert max(map(cells, told.splitlines())) <= columns
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", told)
    assert ("╭" in told) == (drawn_by == "rich")
    heads = re.findall(r"(\w+) +(\d+)(?= ─| *$|$)", told, re.MULTILINE)
    expected = dict.fromkeys(IssueStatus, 1) | {"queued": 3, "unassigned": 2}
    assert {status: int(count) for status, count in heads if status in expected} == expected
    told_flat = " ".join(re.sub("[│╭╮╰╯─]", " ", told).split())
    assert told_flat.index("critical") < told_flat.index("low")
    assert "the prompt" not in told
    assert (LONG in told_flat) == (drawn_by == "plain" and columns == 200)
    assert "…" in told_flat or LONG in told_flat or columns == 200


def test_columns_that_fit_stand_beside_each_other(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    tops = [line.count("╭") for line in shell("board").splitlines() if "╭" in line]
    assert tops == [3, 3, 3]
    monkeypatch.setenv("COLUMNS", "200")
    tops = [line.count("╭") for line in shell("board").splitlines() if "╭" in line]
    assert tops == [5, 4]
    monkeypatch.setenv("COLUMNS", "10")
    assert max(map(cells, shell("board").splitlines())) <= 10


@sqlite
def test_an_empty_board(store: Store, target: str, drawn_by: str, capsys: pytest.CaptureFixture[str]) -> None:
    store.close()
    assert Shell(target, capsys)("board") == f"nothing in: {', '.join(IssueStatus)}\n"


def test_the_board_for_programs(shell: Shell, epic: Epic) -> None:
    told = shell.json("board")
    assert [column["status"] for column in told["columns"]] == list(IssueStatus)
    queued = next(column for column in told["columns"] if column["status"] == "queued")
    assert (queued["count"], [issue["priority"] for issue in queued["issues"]]) == (3, ["critical", "medium", "low"])
    assert "prompt" not in json.dumps(told)


def test_the_board_of_one_epic(shell: Shell, epic: Epic) -> None:
    told = shell.json("board", "--epic", str(epic.id)[-12:])
    assert {column["status"]: column["count"] for column in told["columns"] if column["count"]} == {
        "unassigned": 1,
        "queued": 2,
    }
    assert {issue["epic_id"] for column in told["columns"] for issue in column["issues"]} == {str(epic.id)}


def test_a_column_is_cut(shell: Shell, epic: Epic, drawn_by: str) -> None:
    queued = shell.json("board", "--limit", "1")["columns"][1]
    assert (queued["count"], [issue["priority"] for issue in queued["issues"]]) == (3, ["critical"])
    assert "and 2 more" in shell("board", "--limit", "1")
    assert "more" not in re.sub("ten years|<b>more", "", shell("board", "--limit", "3"))


def test_the_last_done_comes_first(store: Store, clock: Any) -> None:
    world = World(store)
    issues = []
    for _ in range(3):
        clock.forward(hours=1)
        issues.append(world.issues("done"))
    shown = board_of(store.now(), None, 2).columns[list(IssueStatus).index(IssueStatus.DONE)]
    assert (shown.issues, shown.count, shown.more) == ([issues[2], issues[1]], 3, 1)


def test_what_is_not_shown_is_not_read(store: Store, epic: Epic, monkeypatch: pytest.MonkeyPatch) -> None:
    """A board asks for as many issues as it shows, and for nothing of any other row."""
    asked: list[str] = []
    execute = store.database.execute_sql

    def listening(sql: str, params: Any = None) -> Any:
        asked.append(sql)
        return execute(sql, params)

    monkeypatch.setattr(store.database, "execute_sql", listening)
    board_of(store.now(), None, 1)
    assert len(asked) <= 1 + len(IssueStatus) + 3
    assert all("LIMIT" in sql or "COUNT" in sql or " IN (" in sql for sql in asked)


# ---- watching ------------------------------------------------------------------------------------------


def test_a_board_that_nothing_moves_is_drawn_once(shell: Shell) -> None:
    assert len(shell.lines("board", "--watch", "--timeout", "0")) == 1


def test_a_board_is_drawn_again_when_something_moves(store: Store, target: str, epic: Epic) -> None:
    with process("--database", target, "board", "--watch", "--json", "--limit", "1", "--timeout", str(HANG)) as command:
        assert command.stdout is not None

        def counts() -> dict[str, int]:
            return {column["status"]: column["count"] for column in json.loads(command.stdout.readline())["columns"]}

        before = counts()
        Issue.by_status("blocked").get().cancel(by=MAINTAINER, reason=WHY)
        after = counts()
        assert (before["blocked"], before["cancelled"], after["blocked"], after["cancelled"]) == (1, 1, 0, 2)


def test_moves_that_come_together_are_drawn_together(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boards, "LULL", 0.0)
    drawings = boards._changes(store, 0.0)
    next(drawings)
    for _ in range(50):
        Agent.create(agent_type="coder")
    drawn = sum(1 for _ in drawings)
    assert 1 <= drawn <= 50
    drawings = boards._changes(store, 0.0)
    next(drawings)
    for _ in range(2):  # the second time too
        Agent.create(agent_type="coder")
        next(drawings)
    with pytest.raises(StopIteration):
        next(drawings)


@sqlite
def test_the_screen_is_cleared_before_it_is_drawn_again(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    from dispatch_state.cli.commands import main

    monkeypatch.setenv("NO_COLOR", "1")
    with shell.at_a_terminal(monkeypatch) as (out, _):
        assert main(["--database", shell.target, "board", "--watch", "--timeout", "0"]) == 0
    assert out.getvalue().startswith("\x1b[H\x1b[2J")
    assert "\x1b" not in shell("board", "--watch", "--timeout", "0")


# ---- in a browser --------------------------------------------------------------------------------------

ALONE = {"meta", "br", "hr", "img", "input", "link"}


class Page(HTMLParser):
    """A page as a browser takes it: elements that close where they opened, texts, ids and links."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        self.ids += [value for name, value in attrs if name == "id" and value]
        self.links += [value for name, value in attrs if name == "href" and value]
        if tag not in ALONE:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.setdefault(self.open[-1] if self.open else "", []).append(data)


def written(shell: Shell, tmp_path: Path, *options: str) -> Page:
    file = tmp_path / "board.html"
    assert (shell("board", "--html", str(file), *options), shell.err) == ("", f"wrote {file}\n")
    return Page(file.read_text(encoding="utf-8"))


def test_the_page(shell: Shell, epic: Epic, tmp_path: Path) -> None:
    found = written(shell, tmp_path)
    assert {text for text in found.texts["h3"] if text == LONG} == {LONG}
    heads = [text.strip() for text in found.texts["h2"]]
    assert heads == [*(status.replace("_", " ") for status in IssueStatus), "Epics"]
    assert found.tags.count("section") == len(IssueStatus) + 1
    assert found.tags.count("article") == len(IssueStatus) + 3 + 1
    assert [text for text in found.texts["span"] if text == "<i>"] == ["<i>"]
    assert "12 issues · " in found.texts["p"]
    assert "the prompt" not in (tmp_path / "board.html").read_text()


def test_every_link_leads_to_a_place_on_the_page(shell: Shell, epic: Epic, tmp_path: Path) -> None:
    found = written(shell, tmp_path)
    assert len(found.ids) == len(set(found.ids))
    assert f"#epic-{epic.id}" in found.links
    assert found.links.count(f"#epic-{epic.id}") == 3
    assert sum(link.startswith("#stage-") for link in found.links) >= 3
    assert {link.removeprefix("#") for link in found.links} <= set(found.ids)


def test_nothing_is_loaded_and_nothing_runs(shell: Shell, epic: Epic, tmp_path: Path) -> None:
    found = written(shell, tmp_path)
    assert {"script", "link", "img", "iframe", "object"} & set(found.tags) == set()
    names = {name for name, _ in found.attributes}
    assert not [name for name in names if name.startswith("on") or name in ("src", "style", "action")]
    assert all(link.startswith("#") for link in found.links)
    text = (tmp_path / "board.html").read_text()
    assert "http://" not in text
    assert "https://" not in text
    assert "url(" not in text
    assert "@import" not in text
    assert dict(found.attributes)["lang"] == "en"
    assert "default-src 'none'; style-src 'unsafe-inline'" in [value for _, value in found.attributes]
    assert "prefers-color-scheme: dark" in "".join(found.texts["style"])


def test_what_a_row_says_is_only_said(shell: Shell, epic: Epic, tmp_path: Path) -> None:
    found = written(shell, tmp_path)
    assert visible(EVIL) in found.texts["a"]
    assert f"About {visible(EVIL)}" in found.texts["p"]
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", (tmp_path / "board.html").read_text())


def test_who_is_waited_for_stands_on_the_page(
    shell: Shell, epic: Epic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = written(shell, tmp_path)
    assert found.texts["summary"] == ["1 for a person to decide"]
    assert ("open", None) in found.attributes
    assert "blocked issue " in found.texts["h3"]
    blocked = next(link for link in found.links if link.startswith("#issue-"))
    assert blocked.removeprefix("#") in found.ids
    monkeypatch.setattr(Issue, "by_status", classmethod(lambda cls, status: cls.select().where(cls.id.is_null())))
    assert [link for link in written(shell, tmp_path).links if link.startswith("#issue-")] == []


def test_a_waiting_gate_says_where_it_is_and_who_may_approve(store: Store) -> None:
    gate = World(store).waiting_stage({"required_approvers": ["ada", "ben"], "description": EVIL}).gates.get()
    gate.stage.epic.title = EVIL
    gate.stage.epic.save()
    found = Page(page(board_of(store.now(), None, 1), store.needs_human()))
    facts = f"{visible(EVIL)} › first · ada or ben may approve · since 2026-01-31 09:30 UTC"
    assert facts in found.texts["span"]
    assert str(gate.id)[-8:] in found.texts["code"]
    assert any(visible(EVIL) in text for text in found.texts["li"])


def test_a_long_list_on_the_page_is_cut(store: Store, epic: Epic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "NEEDS", 1)
    World(store).issues("blocked")
    found = Page(page(board_of(store.now(), None, 1), store.needs_human()))
    assert "and 1 more" in found.texts["p"]
    assert "and 2 more" in found.texts["p"]


def test_an_empty_page(store: Store) -> None:
    empty = Board(store.now(), [Column(status, 0, []) for status in IssueStatus], {}, {}, {})
    found = Page(page(empty, []))
    assert found.texts["p"].count("none") == len(IssueStatus)
    assert "Epics" not in found.texts["h2"]


@sqlite
def test_a_page_is_written_whole_or_not_at_all(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "board.html"
    file.write_text("the old one")
    file.chmod(0o640)
    link = tmp_path / "link.html"
    link.symlink_to(file)

    def fails(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(Path, "replace", fails)
        shell("board", "--html", str(file), code=2)
        assert shell.err == f"dispatch-state: {file}: cannot be written: No space left on device\n"
    assert file.read_text() == "the old one"
    assert (shell.json("board", "--html", str(link)), shell.err) == ({"file": str(link)}, "")
    assert file.read_text().startswith("<!DOCTYPE html>")
    assert link.is_symlink()
    assert file.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in tmp_path.iterdir() if "partial" in path.name] == []
    shell("board", "--html", "/dev/null")


@sqlite
def test_a_new_page_is_as_private_as_any_file(shell: Shell, tmp_path: Path) -> None:
    shell("board", "--html", str(tmp_path / "a.html"))
    (tmp_path / "b.html").touch()
    assert (tmp_path / "a.html").stat().st_mode == (tmp_path / "b.html").stat().st_mode


def test_rich_is_here_for_these_tests() -> None:
    """The test extra brings it; half of the board's tests say nothing without it."""
    assert importlib.util.find_spec("rich") is not None
