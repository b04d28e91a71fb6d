"""The command line as a person at a terminal uses it: in this process, or as a process of its own."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from dispatch_state.cli.commands import main

HANG = 60.0
"""Seconds after which a process that does not end is given up; nothing is judged by it."""


class Screen(io.StringIO):
    """A terminal that keeps what is written to it, and on which these answers are typed."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


class Shell:
    """Calls commands on one store in this process.

    Args:
        target: the store's path or URL.
        capsys: keeps what they write.
    """

    def __init__(self, target: str, capsys: pytest.CaptureFixture[str]) -> None:
        self.target = target
        self._capsys = capsys
        self.err = ""

    def __call__(self, *arguments: str, code: int = 0) -> str:
        """What a command wrote on standard output; it must end with this code."""
        ended, out = self.run(*arguments)
        assert ended == code, (arguments, ended, self.err)
        assert not code or self.err or out
        return out

    def run(self, *arguments: str) -> tuple[int, str]:
        """The exit code and the output of a command, which may complain in a line, `err`."""
        self._capsys.readouterr()
        try:
            ended = main(["--database", self.target, *arguments])
        except SystemExit as error:
            ended = int(error.code or 0)
        out, self.err = self._capsys.readouterr()
        assert self.err.count("\n") <= 1
        return ended, out

    def json(self, *arguments: str, code: int = 0) -> Any:
        """The one JSON document that a command wrote."""
        return json.loads(self(*arguments, "--json", code=code))

    def lines(self, *arguments: str) -> list[Any]:
        """The JSON documents that a command wrote, one to a line."""
        return [json.loads(line) for line in self(*arguments, "--json").splitlines()]

    @contextmanager
    def at_a_terminal(self, monkeypatch: pytest.MonkeyPatch, typed: str = "") -> Iterator[tuple[Screen, Screen]]:
        """Standard output and standard error as terminals, and what is typed."""
        out, err = Screen(), Screen()
        with monkeypatch.context() as terminal:
            terminal.setattr(sys, "stdin", Screen(typed))
            terminal.setattr(sys, "stdout", out)
            terminal.setattr(sys, "stderr", err)
            yield out, err


def buffered() -> dict[str, str]:
    """This environment, in which output is buffered as it is for users, and no store is configured."""
    return {**os.environ, "DISPATCH_DATABASE": "", "PYTHONUNBUFFERED": ""}


@contextmanager
def process(*arguments: str | bytes, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A command as a process of its own, with warnings as errors; it is gone afterwards, whatever happens."""
    command = [sys.executable, "-W", "error", "-m", "dispatch_state", *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, env={**buffered(), **environment}) as running:
        given_up = threading.Timer(HANG, running.kill)
        given_up.start()
        try:
            yield running
        finally:
            given_up.cancel()
            if running.poll() is None:
                running.kill()


def finished(*arguments: str | bytes, **environment: str) -> tuple[int, str, str]:
    """The exit code, output and errors of a command that ran as a process of its own."""
    with process(*arguments, **environment) as command:
        out, err = command.communicate()
    return command.returncode, out.decode(), err.decode()
