"""The board in a terminal, at 80 and at 200 columns, with and without rich, and its page for a browser."""

from __future__ import annotations

import fcntl
import importlib.util
import json
import math
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dispatch_state import Agent, Epic, Issue, IssueStatus, Store, open_store
from dispatch_state.cli import board as boards
from dispatch_state.cli import board_html as pages
from dispatch_state.cli.board_html import page
from dispatch_state.cli.board_text import Board, Column, board_of
from dispatch_state.cli.commands import main
from dispatch_state.cli.terminal import Terminal, cells, visible
from dispatch_state.models.keys import short
from dispatch_state.storage.targets import resolve
from tests import boards as golden
from tests.backends import on_sqlite
from tests.shell import HANG, Screen, Seen, Shell, buffered, ctrl_c, process
from tests.world import MAINTAINER, WHY, World

EVIL = "</style><script>alert('x')</script> & \"quotes\" \x1b[2J\u202e"
LONG = golden.LONG


@pytest.fixture
def epic(store: Store) -> Epic:
    """An issue in every status, and an epic with three stages, the last of which is empty."""
    world = World(store)
    for status in IssueStatus:
        world.at("issues", status)
    epic = Epic.create(title=EVIL, description=f"About {EVIL}", repo_path="/src")
    design = epic.add_stage("Design & <b>more</b>")
    epic.add_stage("Build").add_issue(title="Later", prompt="p", issue_type="feature")
    epic.add_stage("Ship")
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


@pytest.fixture(params=golden.WAYS)
def drawn_by(request: pytest.FixtureRequest) -> Iterator[str]:
    """Whether rich is there."""
    with golden.without_rich() if request.param == "plain" else nullcontext():
        yield str(request.param)


# ---- as it was drawn before ----------------------------------------------------------------------------


@pytest.mark.parametrize("columns", golden.WIDTHS)
@pytest.mark.parametrize("way", golden.WAYS)
def test_a_board_is_drawn_as_it_was(way: str, columns: int) -> None:
    """With rich, what we compose is the same, and its frames are closed; how they look is a matter of its version."""
    drawn = golden.drawn(way, columns)
    kept = (golden.FOLDER / f"{way}-{columns}.txt").read_text()
    if way == "plain":
        assert drawn == kept, "run: python -m tests.boards"
    else:
        assert golden.composed(drawn) == golden.composed(kept), "run: python -m tests.boards"
        assert {cells(line) for line in drawn.splitlines() if golden.FRAME.search(line)} == {columns}
    assert max(map(cells, drawn.splitlines())) <= columns


def test_what_is_composed_is_all_but_frames() -> None:
    """A missing word, another order and another place are told apart; another way to draw a frame is not."""
    kept = (golden.FOLDER / "rich-80.txt").read_text()
    same = kept.translate(str.maketrans("╭╮╰╯│─", "┌┐└┘┃━")).replace("───", "─")
    assert golden.composed(same) == golden.composed(kept)
    swapped = kept.replace("in_progress 2", "in_review 1")
    for other in (kept.replace("architect", ""), swapped, kept.replace("queued 2 ─", "─ queued 2 x"), f"\n{kept}"):
        assert golden.composed(other) != golden.composed(kept)


def test_both_ways_tell_the_same() -> None:
    """Ids, types, agents and priorities are on either; a title is cut at two lines, and says so."""
    flat = {way: re.sub(r"[│╭╮╰╯─\s]+", "", golden.drawn(way, 200)) for way in golden.WAYS}
    for column in golden.board().columns:
        for issue in column.issues:
            for word in (short(issue.id), golden.board().agent(issue).replace(" ", ""), str(issue.issue_type)):
                assert word in flat["rich"]
                assert word in flat["plain"]
    narrow = golden.drawn("rich", 26).splitlines()
    title = [line.strip("│ ") for line in narrow[narrow.index(next(n for n in narrow if "queued" in n)) + 1 :]]
    assert title[:2] == ["日本語のタイトルは空白", "を含まないので一行で…"]
    assert title[5:7] == ["Choose the token", "format and write down…"]


@pytest.mark.parametrize("columns", [40, 67, 68, 71, 72])
def test_an_agent_gives_way_to_the_title(columns: int) -> None:
    """On a narrow terminal a line still fits."""
    drawn = golden.drawn("plain", columns)
    assert max(map(cells, drawn.splitlines())) <= columns
    assert ("coder" in drawn) == (columns >= 68)
    assert ("architect" in drawn) == (columns >= 72)


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
    assert (sum(tops), len(tops), max(tops)) == (len(IssueStatus), -(-len(IssueStatus) // 3), 3)
    monkeypatch.setenv("COLUMNS", "200")
    tops = [line.count("╭") for line in shell("board").splitlines() if "╭" in line]
    assert (sum(tops), len(tops), max(tops) - min(tops) <= 1) == (len(IssueStatus), 2, True)
    monkeypatch.setenv("COLUMNS", "10")
    assert max(map(cells, shell("board").splitlines())) <= 10


@on_sqlite
def test_an_empty_board(
    store: Store, target: str, drawn_by: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    store.close()
    told = Shell(target, capsys)("board")
    assert " ".join(told.split()) == f"nothing in: {', '.join(IssueStatus)}"
    assert max(map(cells, told.splitlines())) <= 80


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
    """A board reads only as many issues as it shows, and nothing of other rows."""
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
    monkeypatch.setattr(boards, "SETTLING_TIME", 0.0)
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


HEIGHTS = [40, 24, 10, 4]


@pytest.fixture
def at_a_screen(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Watch a board on a terminal of so many lines, on which it is drawn three times."""
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(boards, "_changes", lambda store, timeout: iter((None,) * 3))

    def watch(height: int, *options: str) -> str:
        monkeypatch.setenv("LINES", str(height))
        with shell.at_a_terminal(monkeypatch) as (out, _):
            assert main(["--database", shell.target, "board", "--watch", *options]) == 0
        return out.getvalue()

    return watch


@on_sqlite
@pytest.mark.parametrize("height", HEIGHTS)
@pytest.mark.parametrize("options", [(), ("--limit", "20")])
def test_a_watched_board_stays_on_its_screen(
    height: int, options: tuple[str, ...], drawn_by: str, at_a_screen: Any, shell: Shell, store: Store
) -> None:
    """Nothing scrolls away, the head stays, and what stood on the terminal comes back."""
    written = at_a_screen(height, *options)
    shown, end = written[: written.index("\x1b[?25h")], written[written.index("\x1b[?25h") :]
    seen = Seen(height, "$ dispatch-state board --watch", "").feed(shown)
    assert (seen.scrolled, seen.cursor) == ([], False)
    assert len(seen.screen) <= height
    assert re.fullmatch(r"…\S*/dispatch\.db  \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", seen.screen[0])
    assert cells(seen.screen[0]) == 80
    assert written.count("\x1b[H") == 3
    seen.feed(end)
    assert (seen.screen, seen.cursor) == (["$ dispatch-state board --watch", ""], True)


MANY = [Issue(title=f"Issue {n}", priority="medium", issue_type="bug") for n in range(60)]


@pytest.mark.parametrize("height", [30, 45, 70])
def test_a_watched_board_shows_as_much_as_fits(height: int, drawn_by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With one issue more in a column it would not fit."""
    for name, value in {"LINES": str(height), "COLUMNS": "80", "NO_COLOR": "1", "TERM": "xterm"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stdout", Screen())
    out, head = Terminal(as_json=False), "the head\n"
    columns = [Column(status, 60, MANY if status in ("queued", "done") else []) for status in IssueStatus]
    board = Board(golden.AT, [replace(c, count=len(c.issues)) for c in columns], {}, {}, {})

    def lines(shown: Board) -> int:
        return (head + boards._text(out, shown)).count("\n")

    with out.screen():
        shown = boards._fitted(out, board, head)
        queued = len(shown.columns[1].issues)
        assert lines(shown) < height <= lines(board.cut(queued + 1))
    assert boards._fitted(out, board, head) is board


def test_final_columns_are_the_first_to_shrink() -> None:
    board = Board(golden.AT, [Column(status, 9, MANY[:9]) for status in IssueStatus], {}, {}, {})
    for limit, few in ((9, 3), (4, 2), (1, 1), (0, 0)):
        shown = {column.status: len(column.issues) for column in board.cut(limit).columns}
        assert shown == {status: few if status.final else limit for status in IssueStatus}
        assert all(column.more == 9 - len(column.issues) for column in board.cut(limit).columns)


@on_sqlite
@pytest.mark.parametrize("term", ["dumb", "xterm"])
def test_no_screen_of_its_own_where_there_is_none(
    term: str, at_a_screen: Any, shell: Shell, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a dumb terminal or in a pipe, boards are printed below each other, each with its header."""
    monkeypatch.setenv("TERM", term)
    told = at_a_screen(10) if term == "dumb" else shell("board", "--watch")
    assert "\x1b" not in told
    assert told.count("/dispatch.db  2") == 3
    monkeypatch.setenv("TERM", "dumb")
    assert at_a_screen(10, "--json").count("\n") == 3


@on_sqlite
def test_a_board_on_a_real_terminal_until_ctrl_c(store: Store, target: str, epic: Epic) -> None:
    store.close()
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 90, 0, 0))
    environment = {k: v for k, v in buffered().items() if k not in ("COLUMNS", "LINES")} | {"TERM": "xterm"}
    command = [sys.executable, "-m", "dispatch_state", "--database", target, "board", "--watch"]
    with ctrl_c():
        started = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    with started as running:
        given_up = threading.Timer(HANG, running.kill)
        given_up.start()
        os.close(theirs)
        written = b""
        while b"nothing in" not in written and b"cancelled" not in written:
            written += os.read(ours, 65536)
        running.send_signal(signal.SIGINT)
        with suppress(OSError):  # what Linux says when the other side is closed
            while more := os.read(ours, 65536):
                written += more
        given_up.cancel()
    os.close(ours)
    assert running.returncode == 130
    shown = written.decode()
    seen = Seen(30, "$ ", "").feed(shown)
    assert (seen.screen, seen.scrolled, seen.cursor) == (["$ ", ""], [], True)
    assert max(map(cells, re.sub(r"\x1b\[[?\d;]*[A-Za-z]", "", shown).splitlines())) in range(81, 91)


class Told:
    """A store that reports moves at these seconds of a clock that only waiting moves."""

    def __init__(self, *at: float) -> None:
        self.now = 0.0
        self._at = at

    def monotonic(self) -> float:
        return self.now

    def watch(self, after: int = 0, *, timeout: float | None = None) -> Iterator[Any]:
        until = self.now + (math.inf if timeout is None else timeout)
        for seq, at in enumerate(self._at, 1):
            if seq > after and at <= until:
                self.now = max(self.now, at)
                until = self.now + (math.inf if timeout is None else timeout)
                yield SimpleNamespace(seq=seq)
        self.now = max(self.now, until)


@pytest.mark.parametrize("moves", [[5.0], [5.0, 5.1, 5.15], [5.0 + n / 20 for n in range(400)]])
def test_a_move_is_on_the_board_within_a_second(moves: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when others go on moving rows all the time; counted by a clock that stands still while we work."""
    told = Told(*moves)
    monkeypatch.setattr(boards, "time", told)
    drawings = boards._changes(told, 60.0)  # type: ignore[arg-type]
    next(drawings)
    drawn = [told.now for _ in drawings]
    assert drawn[0] <= moves[0] + 1
    assert all(later - earlier <= 1 for earlier, later in pairwise([*drawn]))
    assert drawn[-1] >= moves[-1]


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
    named = str(resolve(shell.target))
    assert f"{named} · {len(IssueStatus) + 3} issues · " in found.texts["p"]
    assert found.texts["title"][0].startswith(f"Board of {named}, 20")
    assert "the prompt" not in (tmp_path / "board.html").read_text()


def test_a_card_says_what_it_should(shell: Shell, epic: Epic, store: Store, tmp_path: Path) -> None:
    with open_store(shell.target):
        issues, agents = list(Issue.select()), list(Agent.select())
    found = written(shell, tmp_path)
    assert {short(issue.id) for issue in issues} <= set(found.texts["code"])
    assert sorted(text for text in found.texts["p"] if text.startswith("coder ")) == sorted(
        f"coder {short(agent.id)}" for agent in agents if agent.id in {issue.assigned_agent_id for issue in issues}
    )
    told = Counter(found.texts["span"])
    assert (told["critical"], told["low"], told["medium"], told["high"]) == (1, 1, 0, 0)
    assert told["feature"] + told["docs"] + told["bug"] == len(issues)


@pytest.mark.parametrize("options", [(), ("--limit", "1")])
def test_an_epic_on_the_page_has_all_its_stages(
    options: tuple[str, ...], shell: Shell, epic: Epic, tmp_path: Path
) -> None:
    """Also those of which no issue is shown, in their order."""
    found = written(shell, tmp_path, *options)
    assert [
        text.strip() for text in found.texts["li"] if text.strip() in ("Design & <b>more</b>", "Build", "Ship")
    ] == [
        "Design & <b>more</b>",
        "Build",
        "Ship",
    ]


def test_columns_scroll_under_their_heads(shell: Shell, tmp_path: Path) -> None:
    """As far as a style sheet can be read: the board has a height of its own, and a head that sticks to its top."""
    style = "".join(written(shell, tmp_path).texts["style"])
    assert re.search(r"\.board \{[^}]*overflow: auto[^}]*max-height", style)
    assert re.search(r"\.column h2 \{[^}]*position: sticky[^}]*top: 0", style)


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
    found = Page(page(board_of(store.now(), None, 1), store.needs_human(), "dispatch.db"))
    facts = f"{visible(EVIL)} › first · ada or ben may approve · since 2026-01-31 09:30 UTC"
    assert facts in found.texts["span"]
    assert str(gate.id)[-8:] in found.texts["code"]
    assert any(visible(EVIL) in text for text in found.texts["li"])


def test_a_long_list_on_the_page_is_cut(store: Store, epic: Epic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "LISTED_NEEDS", 1)
    World(store).issues("blocked")
    found = Page(page(board_of(store.now(), None, 1), store.needs_human(), "dispatch.db"))
    assert "and 1 more" in found.texts["p"]
    assert "and 2 more" in found.texts["p"]


def test_an_empty_page(store: Store) -> None:
    empty = Board(store.now(), [Column(status, 0, []) for status in IssueStatus], {}, {}, {})
    found = Page(page(empty, [], "dispatch.db"))
    assert found.texts["p"].count("none") == len(IssueStatus)
    assert "Epics" not in found.texts["h2"]


@on_sqlite
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
        shell("board", "--html", str(file), code=3)
        assert shell.err == f"dispatch-state: {file}: cannot be written: No space left on device\n"
    assert file.read_text() == "the old one"
    assert (shell.json("board", "--html", str(link)), shell.err) == ({"file": str(link)}, "")
    assert file.read_text().startswith("<!DOCTYPE html>")
    assert link.is_symlink()
    assert file.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in tmp_path.iterdir() if "partial" in path.name] == []
    shell("board", "--html", "/dev/null")


@on_sqlite
def test_a_new_page_is_as_private_as_any_file(shell: Shell, tmp_path: Path) -> None:
    shell("board", "--html", str(tmp_path / "a.html"))
    (tmp_path / "b.html").touch()
    assert (tmp_path / "a.html").stat().st_mode == (tmp_path / "b.html").stat().st_mode


def test_rich_is_here_for_these_tests() -> None:
    """The test extra brings it; half of the board's tests say nothing without it."""
    assert importlib.util.find_spec("rich") is not None
