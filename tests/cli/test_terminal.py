"""Output to a terminal: no control sequences from data, the real width, colours, and progress of long work."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dispatch_state import open_store
from dispatch_state.cli import terminal
from dispatch_state.cli.commands import main
from dispatch_state.cli.terminal import Terminal, cells, clipped, visible
from tests.backends import on_sqlite
from tests.cli.shelf import CONTROL, EVIL, Ids, fill, reads
from tests.shell import Screen, Shell


@reads
def test_no_row_plays_tricks_on_a_terminal(shell: Shell, ids: Ids) -> None:
    asked = [
        ["show", ids["issue"], "--prompt"],
        ["explain", ids["issue"]],
        ["log"],
        ["decisions"],
        ["board"],
        ["status"],
    ]
    for words in asked:
        for told in (shell(*words), shell(*words, "--json")):
            assert not CONTROL.search(told), words
    assert r"Evil \x1b[31mred\x1b[0m \x07bell \u202edlrow \u2028 line\nfeed \x9b2J" in shell("explain", ids["issue"])
    assert shell.json("show", ids["issue"])["title"] == EVIL


def test_what_is_visible_stays() -> None:
    plain = "Grüße, 日本語 🎉 “quoted” a\u00a0b"
    assert visible(plain) == plain
    assert visible("a\tb\nc\rd", lines=True) == "a\tb\nc\\rd"
    assert visible("a\tb\nc\x00\ud800") == r"a\tb\nc\x00\ud800"


@pytest.mark.parametrize(
    ("text", "width", "cut"),
    [
        ("abc", 3, "abc"),
        ("abcd", 3, "ab…"),
        ("日本語", 6, "日本語"),
        ("日本語", 5, "日本…"),
        ("日本語", 4, "日…"),
        ("e\u0301e", 2, "e\u0301e"),
        ("ที่นี่มีน้ำ", 6, "ที่นี่มีน้ำ"),
        ("ที่นี่มีน้ำ", 4, "ที่นี่มี…"),
        ("हिन्दी", 4, "हिन्…"),
        ("👩\u200d💻 ok", 5, "👩\u200d💻 ok"),
        ("👩\u200d💻 okay", 5, "👩\u200d💻 o…"),
        ("क\u200dष", 2, "क\u200dष"),
        ("a" + "\u0301" * 100 + "bc", 2, "a" + "\u0301" * 15 + "…"),
    ],
)
def test_wide_characters_are_counted(text: str, width: int, cut: str) -> None:
    assert clipped(text, width) == cut
    assert cells(cut) <= width


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("ที่", 1), ("हिन्दी", 5),
        ("👩\u200d💻", 2), ("👨\u200d👩\u200d👧", 2), ("a\u20dd", 1), ("\u2764\ufe0f", 1), ("日", 2),
    ],
)  # fmt: skip
def test_what_joins_another_character_takes_no_place(text: str, places: int) -> None:
    assert cells(text) == places


@reads
@on_sqlite
@pytest.mark.parametrize("words", [["status"], ["board"], ["log"], ["show"]])
def test_colours_are_for_terminals(words: list[str], shell: Shell, ids: Ids, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    arguments = ["--database", shell.target, *words, *([ids["issue"]] if words == ["show"] else [])]

    def drawn() -> str:
        with shell.at_a_terminal(monkeypatch) as (out, _):
            assert main(arguments) == 0
        return out.getvalue()

    coloured = drawn()
    assert re.search(r"\x1b\[[\d;]*m", coloured)
    monkeypatch.setenv("NO_COLOR", "1")
    plain = drawn()
    assert "\x1b" not in plain
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured) == plain
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert drawn() == plain
    assert shell(*arguments[2:]) == plain


def test_long_work_says_that_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "PATIENCE", 0.001)
    monkeypatch.setattr(sys, "stderr", err := Screen())
    with Terminal(as_json=False).progress("copying") as done:
        for known, shown in (((0, 0), ""), ((1200, 0), " 1,200 rows,"), ((1200, 4000), " 1,200 of 4,000 rows,")):
            done(*known)
            while f"copying …{shown} 0 s" not in err.getvalue():
                pass
    assert err.getvalue().endswith("\r\x1b[K")
    with Terminal(as_json=False).progress("verifying", "checks") as done:
        done(3, 50)
        while "verifying … 3 of 50 checks, 0 s" not in err.getvalue():
            pass
    monkeypatch.setattr(sys, "stderr", err := Screen())
    monkeypatch.setattr(Screen, "isatty", lambda screen: False)
    with Terminal(as_json=False).progress("copying"):
        pass
    assert err.getvalue() == ""


WORK: dict[str, list[str]] = {
    "migrate": ["migrating"],
    "verify": ["verifying", "counted"],
    "backup new.db": ["copying"],
    "export new.jsonl": ["exporting", "counted"],
    "import all.jsonl": ["importing", "counted"],
    "copy full.db new.db": ["reading", "counted", "writing", "counted"],
}
"""Commands that may take long, and what they say meanwhile; some count what is done."""


@pytest.mark.parametrize("words", WORK)
def test_long_commands_say_how_far_they_are(words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DISPATCH_DATABASE", raising=False)
    fill("full.db")
    assert main(["--database", "full.db", "export", "all.jsonl"]) == 0
    told: list[str] = []

    @contextmanager
    def progress(_: Terminal, what: str, unit: str = "rows") -> Iterator[Any]:
        told.append(what)
        yield lambda done, total: told.append("counted") if "counted" not in told[-1:] else None

    monkeypatch.setattr(Terminal, "progress", progress)
    store = [] if words.startswith("copy") else ["--database", "full.db"]
    if words.startswith("import"):
        store = ["--database", "new.db"]
        open_store("new.db").close()
    assert main([*store, *words.split()]) == 0
    assert told == WORK[words]
