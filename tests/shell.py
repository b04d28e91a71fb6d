"""The command line as a person at a terminal uses it: in this process, or as a process of its own."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
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


class Seen:
    """What a person sees of what was written to a terminal: the screen, and what scrolled out of it at the top.

    Args:
        height: how many lines the screen has.
        before: what stood on it.
    """

    def __init__(self, height: int, *before: str) -> None:
        self.height = height
        self.screen = list(before) or [""]
        self.scrolled: list[str] = []
        self.cursor = True
        self._row = len(self.screen) - 1
        self._covered: tuple[list[str], int] | None = None

    def feed(self, written: str) -> Seen:
        """Take what was written, in which no line is longer than the screen is wide."""
        for part in re.findall(r"\x1b\[[?\d;]*[A-Za-z]|\r?\n|[^\x1b\r\n]+", written):
            if part.endswith("\n"):
                self._next_line()
            elif part[0] != "\x1b":
                self.screen[self._row] += part
            elif not part.endswith("m"):
                self._obey(part[2:])
        return self

    def _next_line(self) -> None:
        self._row += 1
        if self._row == len(self.screen):
            self.screen.append("")
        if len(self.screen) > self.height:
            self.scrolled.append(self.screen.pop(0))
            self._row -= 1

    def _obey(self, code: str) -> None:
        if code == "?1049h":
            self._covered, self.screen, self._row = (self.screen, self._row), [""], 0
        elif code == "?1049l":
            assert self._covered is not None
            (self.screen, self._row), self._covered = self._covered, None
        elif code in ("?25h", "?25l"):
            self.cursor = code == "?25h"
        elif code == "H":
            self._row = 0
        else:
            assert code == "J", code
            self.screen[self._row :] = [""]


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
def ctrl_c(*, ignored: bool = False) -> Iterator[None]:
    """A block whose child processes end by SIGINT, or ignore it, however the suite itself was started.

    A shell that starts it in the background has it ignore SIGINT, and its children inherit that.
    """
    before = signal.signal(signal.SIGINT, signal.SIG_IGN if ignored else signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def process(
    *arguments: str | bytes, ignores_ctrl_c: bool = False, **environment: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A command as a process of its own, with warnings as errors; it is gone afterwards, whatever happens."""
    command = [sys.executable, "-W", "error", "-m", "dispatch_state", *arguments]
    pipe = subprocess.PIPE
    with ctrl_c(ignored=ignores_ctrl_c):
        started = subprocess.Popen(command, stdout=pipe, stderr=pipe, env={**buffered(), **environment})
    with started as running:
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


FULL = Path("/dev/full")
full = pytest.mark.skipif(not FULL.exists(), reason="THERE IS NO /dev/full HERE: A FULL DISK IS NOT TRIED")
