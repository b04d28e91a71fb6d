"""Commands as processes: odd bytes, closed pipes, full outputs, Ctrl-C."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import Any

import pytest

from dispatch_state import Agent, Store, StoreError, open_store
from dispatch_state.cli.commands import main
from dispatch_state.cli.parsing import Call
from tests.backends import on_sqlite
from tests.cli.shelf import SOMEBODY, Ids, reads
from tests.shell import HANG, Shell, buffered, finished, full, process
from tests.world import MAINTAINER, WHY


@reads
@on_sqlite
def test_what_is_not_utf_8(ids: Ids, place: str) -> None:
    for words in ([b"show", b"\xff"], [b"fire", ids["issue"], b"dequeue", b"--as", b"m\xff"], [b"\xff\x1b"]):
        code, out, err = finished("--database", place, *words)
        assert (code, out) == (2, "")
        assert err.count("\n") <= 2
        assert "Traceback" not in err
    ascii_only = finished("--database", place, "status", PYTHONIOENCODING="ascii", LC_ALL="C")
    assert ascii_only[0] == 0
    assert r"\u201clook\u201d" in ascii_only[1]


@on_sqlite
def test_a_reader_that_goes_away(ids: Ids, target: str) -> None:
    with process("--database", target, "log", "--after", "0", "--timeout", str(HANG)) as command:
        assert command.stdout is not None
        assert command.stdout.readline().split()[0] == b"1"
        command.stdout.close()
        with open_store(target):
            Agent.create(agent_type="coder")
            Agent.create(agent_type="coder")
        assert command.stderr is not None
        assert command.stderr.read() == b""
        assert command.wait() == 141


def in_sh(words: str, redirections: str) -> tuple[int, bytes]:
    """The exit code and standard error of a command whose streams the shell has redirected."""
    command = f'"{sys.executable}" -W error -m dispatch_state {words} {redirections}'
    pipe = subprocess.PIPE
    ended = subprocess.run(["/bin/sh", "-c", command], stdout=pipe, stderr=pipe, check=False, env=buffered())
    return ended.returncode, ended.stderr


@full
@pytest.mark.parametrize("words", ["diagram epics", "--help", "--version"])
def test_an_output_that_is_full(words: str) -> None:
    told = b"dispatch-state: the output cannot be written: No space left on device\n"
    assert in_sh(words, ">/dev/full") == (3, told)


@reads
@on_sqlite
@full
def test_an_export_to_an_output_that_is_full(ids: Ids, place: str) -> None:
    told = b"dispatch-state: the output cannot be written: No space left on device\n"
    assert in_sh(f"--database '{place}' export -", ">/dev/full") == (3, told)


@reads
@on_sqlite
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_an_export_that_nobody_reads(unbuffered: str, ids: Ids, place: str) -> None:
    with process("--database", place, "export", "-", PYTHONUNBUFFERED=unbuffered) as command:
        assert command.stdout is not None
        assert command.stderr is not None
        command.stdout.close()
        assert (command.stderr.read(), command.wait()) == (b"", 141)


@pytest.mark.parametrize("words", ["status", "status --json", "board", "export -", "diagram cascades", "show {}"])
@reads
@on_sqlite
def test_an_output_that_is_closed(words: str, ids: Ids, place: str) -> None:
    code, told = in_sh(f"--database '{place}' {words.format(ids['issue'])}", ">&-")
    assert (code, b"the output cannot be written: standard output is closed" in told) == (3, True)


@pytest.mark.parametrize("closed", ["2>&-", pytest.param("2>/dev/full", marks=full), ">&- 2>&-"])
def test_nobody_hears_a_complaint(closed: str) -> None:
    assert in_sh("nonsense", closed) == (2, b"")
    assert in_sh("--database /no/such/store status", closed) == (3, b"")


@reads
@on_sqlite
def test_failures_for_programs(shell: Shell, ids: Ids) -> None:
    """One JSON document on standard error, whoever refused."""

    def told(*words: str, code: int) -> Any:
        assert shell(*words, "--json", code=code) == ""
        return json.loads(shell.err)

    refused = told("fire", ids["gate"], "approve", "--as", "stranger", code=1)
    assert (refused["error"], refused["reasons"]) == (
        "GuardRefused",
        ["stranger is not among its required approvers: maintainer"],
    )
    assert refused["message"].startswith(f"Gate {ids['gate'][-8:]} is pending: approve was refused: ")
    assert told("show", SOMEBODY, code=1)["error"] == "RowNotFound"
    usage = told("board", "--limit", "x", code=2)
    assert (usage["error"], usage["reasons"]) == ("InvalidValue", [])
    assert "usage: dispatch-state board" in usage["message"]
    missing = Shell("/no/such/store.db", shell._capsys)
    assert missing("status", "--json", code=3) == ""
    assert "/no/such/store.db init creates one" in json.loads(missing.err)["message"]


def test_following_another_process_until_ctrl_c(ids: Ids, target: str) -> None:
    with process("--database", target, "log", "--last", "1", "--follow", "--json") as command:
        assert command.stdout is not None
        assert command.stderr is not None
        last = json.loads(command.stdout.readline())
        with open_store(target) as store:
            agent = Agent.create(agent_type="coder")
            agent.stop(by=MAINTAINER, reason=WHY)
            expected = [move.seq for move in store.changes(last["seq"])]
        told = [json.loads(command.stdout.readline()) for _ in range(2)]
        assert [(move["seq"], move["trigger"]) for move in told] == list(zip(expected, ["create", "stop"], strict=True))
        command.send_signal(signal.SIGINT)
        assert (command.stdout.read(), command.stderr.read()) == (b"", b"")
        assert command.wait() == 130


@on_sqlite
def test_where_ctrl_c_is_ignored_it_stays_so(target: str) -> None:
    """As a shell has it for what it starts in the background."""
    open_store(target).close()
    with process("--database", target, "log", "--after", "0", "--follow", ignores_ctrl_c=True) as command:
        assert command.stdout is not None
        with open_store(target):
            Agent.create(agent_type="coder")
            assert b"create" in command.stdout.readline()
            command.send_signal(signal.SIGINT)
            Agent.create(agent_type="pm")
            assert b"create" in command.stdout.readline()
        command.terminate()
        assert command.wait() == -signal.SIGTERM


@reads
@on_sqlite
def test_an_interrupt_stays_one_whatever_comes_behind_it(
    shell: Shell, ids: Ids, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that was interrupted at work may not be put in order any more."""

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    def broken(call: Call) -> None:
        call._opened.close()
        raise StoreError("another command is already in progress")

    with monkeypatch.context() as patched:
        patched.setattr(Call, "close", broken)
        shell("verify", "--json", code=3)
        patched.setattr(Store, "verify", interrupted)
        assert (main(["--database", shell.target, "verify"]), shell._capsys.readouterr().err) == (130, "")
