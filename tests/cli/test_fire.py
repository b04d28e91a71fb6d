"""Triggers as commands: who acts, what is confirmed first, and the errors of wrong calls."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from dispatch_state import Decision, Gate
from dispatch_state.cli.commands import COMMANDS, main
from tests.backends import on_sqlite
from tests.cli.shelf import CONTROL, Ids, moves, reads
from tests.shell import Shell
from tests.world import WHY


def test_a_person_approves_a_gate(shell: Shell, ids: Ids, inside: Any) -> None:
    told = shell("fire", ids["gate"][-12:], "approve", "--as", "Maintainer", "--reason", "Good", "comment=Well done")
    assert told.splitlines()[0] == f"gates {ids['gate'][-8:]}  approve (pending -> approved)"
    assert [line.split()[0] for line in told.splitlines()] == ["gates", "stages", "epics", "stages"]
    last = inside(
        lambda store: (Gate.get_by_id(ids["gate"]).approved_by, Decision.get(Decision.decision_type == "gate_approved"))
    )
    assert (last[0], last[1].decided_by, last[1].outcome["reason"]) == ("maintainer", "human:maintainer", "Good")


def test_moves_for_programs(shell: Shell, ids: Ids) -> None:
    told = shell.json(
        "fire", ids["issue"], "assign", "--as", "maintainer", f"agent={ids['idle'][-12:]}", "branch_name=b"
    )
    assert [(move["entity"], move["trigger"]) for move in told["moves"]] == [
        ("issues", "assign"),
        ("agents", "dispatch"),
    ]
    shown = shell.json("show", ids["issue"])
    assert (shown["assigned_agent_id"], shown["branch_name"], shown["version"]) == (ids["idle"], "b", 3)


def test_arguments_are_read_as_the_trigger_declares_them(shell: Shell, ids: Ids) -> None:
    shell("fire", ids["agent"], "fail", "error=out of memory", "max_attempts=1", "--as", "maintainer")
    assert shell.json("show", ids["at_work"])["status"] == "blocked"
    shell("fire", ids["proposal"], "force_approve", "--as", "maintainer", "--reason", WHY, "--yes")
    shell("fire", ids["proposal"], "begin_execution", "--as", "maintainer")
    shell("fire", ids["proposal"], "finish_execution", 'result={"n": [1, null]}', "--as", "maintainer")
    assert shell.json("show", ids["proposal"])["execution_result"] == {"n": [1, None]}
    stage = shell.json("show", ids["stage"])["id"]
    shell("fire", stage, "skip", "cancel_issues=true", "--as", "maintainer", "--reason", WHY, "--yes")


CANCEL = ("cancel", "--as", "maintainer", "--reason", WHY)


def test_an_override_takes_a_yes(shell: Shell, ids: Ids, monkeypatch: pytest.MonkeyPatch) -> None:
    shell("fire", ids["issue"], *CANCEL, code=2)
    assert shell.err.endswith("cancel takes --yes, because it is an override and nobody can be asked\n")
    assert shell.json("show", ids["issue"])["status"] == "queued"
    shell("fire", ids["issue"], *CANCEL, "--yes")
    assert shell.json("show", ids["issue"])["status"] == "cancelled"


@on_sqlite
@pytest.mark.parametrize(("typed", "code"), [("y\n", 0), ("YES\n", 0), ("n\n", 1), ("\n", 1), ("", 1), ("yeah\n", 1)])
def test_a_person_at_a_terminal_is_asked(
    typed: str, code: int, shell: Shell, ids: Ids, monkeypatch: pytest.MonkeyPatch
) -> None:
    with shell.at_a_terminal(monkeypatch, typed) as (_, err):
        assert main(["--database", shell.target, "fire", ids["issue"], *CANCEL]) == code
    assert "is queued: cancel it, as maintainer? [y/N]" in err.getvalue()
    assert not CONTROL.search(err.getvalue())
    assert shell.json("show", ids["issue"])["status"] == ("queued" if code else "cancelled")


@reads
def test_all_missing_options_are_reported_at_once(shell: Shell, ids: Ids, monkeypatch: pytest.MonkeyPatch) -> None:
    for reason in ([], ["--reason", " \n"]):
        shell("fire", ids["gate"], "skip", "--as", "maintainer", *reason, code=2)
        assert "skip takes --reason TEXT and --yes, because it is an override and nobody" in shell.err
    shell("fire", ids["gate"], "skip", "--as", "maintainer", "--yes", code=2)
    assert shell.err == "dispatch-state: skip takes --reason TEXT\n"
    with shell.at_a_terminal(monkeypatch, "y\n") as (_, err):
        assert main(["--database", shell.target, "fire", ids["gate"], "skip", "--as", "maintainer"]) == 2
    assert err.getvalue() == "dispatch-state: skip takes --reason TEXT\n"  # before anybody is asked


@reads
def test_a_trigger_that_is_taken_for_a_command(shell: Shell, ids: Ids) -> None:
    for trigger in ("approve", "mark_ready"):
        shell(trigger, ids["gate"], code=2)
        assert f"{trigger} is a trigger, not a command: dispatch-state fire ID {trigger} --as LOGIN\n" in shell.err
    shell("aprove", ids["gate"], code=2)
    meant = (
        '"aprove" is not a command; did you mean approve? That is a trigger: dispatch-state fire ID TRIGGER --as LOGIN'
    )
    assert shell.err == f"dispatch-state: {meant}\n"
    shell("diagram", "issues", "--format", "approve", code=2)
    assert "invalid choice" in shell.err
    assert "trigger" not in shell.err


@reads
@on_sqlite
@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("stauts", '"stauts" is not a command; did you mean status?'),
        ("help stauts", '"stauts" is not a command; did you mean status?'),
        ("log --lsat 3", "unrecognized arguments: --lsat 3; did you mean --last? (usage: dispatch-state log "),
        ("log --lsat=3", "unrecognized arguments: --lsat=3; did you mean --last? (usage: dispatch-state log "),
        ("status --jsn", "unrecognized arguments: --jsn; did you mean --json? (usage: dispatch-state status "),
        ("diagram issues --format svgg", "did you mean svg? (usage: dispatch-state diagram "),
        (
            "diagram isues",
            "nor a table: epics, stages, gates, issues, pull_requests, agents, proposals; did you mean iss",
        ),
        ("diagram cascade", "proposals; did you mean cascades?"),
        ("fire {gate} aprove --as me", 'Gate has no trigger "aprove"; did you mean approve?'),
        ("fire {gate} approve coment=x --as me", "takes comment, choice as NAME=VALUE; did you mean comment?"),
        ("fire {gate} approve --raeson x --as me", "did you mean --reason? (usage: dispatch-state fire "),
    ],
)
def test_what_was_probably_meant(words: str, meant: str, shell: Shell, ids: Ids) -> None:
    shell(*words.format(**ids).split(), code=2)
    assert meant in shell.err


def test_a_word_like_none_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    shell = Shell("", capsys)
    shell("zzz", code=2)
    assert shell.err == f'dispatch-state: "zzz" is not a command; there are {", ".join(EVERY_NAME)}\n'
    shell("status", "--zzz", code=2)
    assert "did you mean" not in shell.err


EVERY_NAME = [*(command.name for command in COMMANDS), "help"]


def test_help_is_given_to_whoever_asks(capsys: pytest.CaptureFixture[str]) -> None:
    """`help`, `--help` and no argument at all print help; without a terminal, no argument is an error."""

    def told(*words: str) -> str:
        with pytest.raises(SystemExit) as ended:
            main(words)
        out, err = capsys.readouterr()
        assert (ended.value.code, err) == (0, "")
        return str(out)

    whole = told("--help")
    assert all(re.search(rf"^ +{name} ", whole, re.MULTILINE) for name in EVERY_NAME)
    assert told("help") == told() == told("--database", "x") == whole
    assert told("help", "fire") == told("fire", "--help") != whole
    assert told("help", "help") == told("help", "--help")
    assert (main(["--json"]), json.loads(capsys.readouterr().err)["error"]) == (2, "InvalidValue")


@reads
def test_what_the_lifecycle_forbids(shell: Shell, ids: Ids) -> None:
    shell("fire", ids["issue"], "complete", "--as", "maintainer", code=1)
    assert "complete does not start there; legal here: dequeue, assign, cancel" in shell.err
    shell("fire", ids["gate"], "approve", "--as", "stranger", code=1)
    assert "maintainer" in shell.err
    shell("fire", ids["gate"], "reject", "--as", "maintainer", code=2)
    assert shell.err == "dispatch-state: reject takes --reason TEXT\n"


@reads
def test_nobody_acts_as_an_agent(shell: Shell, ids: Ids, inside: Any) -> None:
    before = moves(inside)
    for login in (f"agent:{ids['agent']}", "system:tick", "sangha ", "", "human:maintainer", "a b"):
        shell("fire", ids["issue"], "dequeue", "--as", login, code=2)
        assert "not a login" in shell.err
    shell("fire", ids["issue"], "dequeue", code=2)
    assert moves(inside) == before


def test_a_mail_address_acts(shell: Shell, ids: Ids) -> None:
    shell("fire", ids["issue"], "dequeue", "--as", "@Kim@Example.com")
    assert "by human:kim@example.com" in shell("explain", ids["issue"])
    assert (shell("verify"), shell.err) == ("", "sound\n")


def test_rescue_and_tick(shell: Shell, ids: Ids, inside: Any) -> None:
    """The rows were made years ago by the wall clock, so the working agent and the vote are overdue."""
    told = shell("rescue", "--max-attempts", "1")
    assert f"agents {ids['agent'][-8:]}  fail (working -> errored)" in told
    assert shell.json("show", ids["at_work"])["status"] == "blocked"
    assert (shell("rescue"), shell.err) == ("", "nothing was due\n")
    assert {move["trigger"] for move in shell.json("tick")["moves"]} >= {"reject"}
    assert shell.json("tick") == {"moves": []}
    assert shell.json("rescue", "--timeout", "5") == {"moves": []}
    told = shell("rescue", "--idle-timeout", "60")
    assert f"agents {ids['idle'][-8:]}  stop (idle -> completed)" in told
    assert shell.json("rescue", "--idle-timeout", "60") == {"moves": []}


@reads
@on_sqlite
@pytest.mark.parametrize(
    "words",
    [
        ["no_such"],
        ["approve", "choice"],
        ["approve", "nonsense=1"],
        ["approve", "comment=a", "comment=b"],
        ["approve", "comment=\0"],
        ["approve", "comment=\udcff"],
        ["approve", "comment="],
        ["approve", "--reason", "\0"],
        ["approve", "--reason", "x" * 1_000_001],
        ["approve", "--nonsense"],
        ["\x1b[31m"],
        ["queue", "agent=me"],
        [""],
    ],
)
def test_triggers_that_are_called_wrongly(words: list[str], shell: Shell, ids: Ids) -> None:
    shell("fire", ids["gate"], *words, "--as", "maintainer", code=2)
    assert not CONTROL.search(shell.err)
    assert len(shell.err) < 600


@on_sqlite
def test_arguments_that_cannot_be_read(shell: Shell, ids: Ids) -> None:
    def refused(row: str, trigger: str, *given: str, code: int = 2) -> str:
        shell("fire", ids[row], trigger, *given, "--as", "maintainer", "--reason", WHY, "--yes", code=code)
        return shell.err

    assert "assign takes agent=VALUE" in refused("issue", "assign")
    assert "no Agent here has an id that ends in" in refused("issue", "assign", "agent=dead" + "dead", code=1)
    assert "neither an id" in refused("issue", "assign", "agent=coder")
    assert "whole number" in refused("agent", "fail", "error=x", "max_attempts=many")
    assert "at least 1" in refused("agent", "fail", "error=x", "max_attempts=0")
    assert "true or false" in refused("stage", "skip", "cancel_issues=yes")
    shell("fire", ids["proposal"], "force_approve", "--as", "maintainer", "--reason", WHY, "--yes")
    shell("fire", ids["proposal"], "begin_execution", "--as", "maintainer")
    for wrong in ("{", "[1]", "NaN", "[" * 100_000, '{"a": 1e999}'):
        refused("proposal", "finish_execution", f"result={wrong}")
