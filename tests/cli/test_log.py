"""The commands `log` and `decisions`."""

from __future__ import annotations

from typing import Any

import pytest

from dispatch_state import Decision, Store, TransitionLog
from dispatch_state.cli import log
from tests.cli.shelf import Ids, moves, reads
from tests.shell import Shell
from tests.world import WHY


@reads
def test_the_log(shell: Shell, ids: Ids, inside: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "PAGE", 3)
    all_of_them = moves(inside)
    assert len(all_of_them) > 30
    assert [move["seq"] for move in shell.lines("log")] == all_of_them
    assert [int(line.split()[0]) for line in shell("log").splitlines()] == all_of_them
    assert [move["seq"] for move in shell.lines("log", "--after", str(all_of_them[-4]))] == all_of_them[-3:]
    assert [move["seq"] for move in shell.lines("log", "--last", "5")] == all_of_them[-5:]
    assert [move["seq"] for move in shell.lines("log", "--last", "100000")] == all_of_them
    assert (shell("log", "--after", str(all_of_them[-1])), shell.err) == ("", "no moves\n")
    assert (shell("log", "--last", "1").count("\n"), shell.err) == (1, "")


def test_an_empty_log_is_reported(shell: Shell) -> None:
    shell("init")
    for command, none in (("log", "no moves\n"), ("decisions", "no decisions\n")):
        assert (shell(command), shell.err) == ("", none)
        assert (shell(command, "--json"), shell.err) == ("", "")


@reads
def test_the_log_is_followed_to_its_end(shell: Shell, ids: Ids, inside: Any) -> None:
    all_of_them = moves(inside)
    follow = ("--follow", "--timeout", "0")
    assert [move["seq"] for move in shell.lines("log", "--after", "0", *follow)] == all_of_them
    assert [move["seq"] for move in shell.lines("log", "--last", "2", *follow)] == all_of_them[-2:]
    assert shell.lines("log", *follow) == []
    assert (shell("log", *follow), shell.err) == ("", "no moves\n")


@reads
def test_the_log_holds_a_page_at_a_time(shell: Shell, ids: Ids, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long it is."""
    asked: list[int] = []
    changes = Store.changes

    def counting(store: Store, after: int = 0, limit: int = 1000) -> list[TransitionLog]:
        asked.append(limit)
        return changes(store, after, limit)

    monkeypatch.setattr(Store, "changes", counting)
    monkeypatch.setattr(log, "PAGE", 10)
    assert len(shell("log").splitlines()) in range(10 * (len(asked) - 1) - 9, 10 * (len(asked) - 1) + 1)
    assert set(asked) == {10}


@reads
def test_the_decisions(shell: Shell, ids: Ids, inside: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "PAGE", 1)
    known = inside(lambda store: [str(decision.id) for decision in Decision.select().order_by(Decision.id)])
    assert len(known) == 3
    assert [decision["id"] for decision in shell.lines("decisions")] == known
    assert [decision["id"] for decision in shell.lines("decisions", "--last", "2")] == known[-2:]
    told = shell("decisions", "--last", "1")
    assert shell.err == ""
    assert "human veto: veto proposal “A title”" in told
    assert told.endswith(f"by human:maintainer: {WHY}\n")
