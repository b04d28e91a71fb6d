"""Output to a terminal, a pipe or a file.

Colours are used on terminals only. Text of rows passes through `visible`, because a title may hold an escape sequence
and a terminal would obey it.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from itertools import accumulate
from typing import Any, BinaryIO, TextIO
from unicodedata import category, east_asian_width
from uuid import UUID

from dispatch_state.values import stamp

STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}
Part = str | tuple[str, str]
"""A part of a line: a text, or the name of a style and a text."""
PATIENCE = 1.0
"""Seconds after which a long piece of work shows its progress."""
JOINER = "\u200d"
"""The character that joins two emoji into one."""
KEPT = f"\u00a0{JOINER}\t\n"
"""Harmless characters that Python does not call printable: in emoji and, in blocks of text, between lines."""
ZERO_WIDTH = ("Mn", "Me", "Cf")
"""Categories of characters without a width of their own: accents, vowel marks, joiners."""
MOST_COMBINED = 8
"""The most characters that share one place on a terminal."""
_USER = re.compile(r":/[^:]*:")
"""The user name in a URL, up to the password."""
_PASSWORD = re.compile(r"(password=)[^\s&]+")


def visible(text: object, *, lines: bool = False) -> str:
    """Write out the control characters of a text (`\\x1b` for an escape), so that no terminal obeys them.

    Args:
        text: the text, or what is converted to it.
        lines: whether to keep line feeds and tabs.
    """
    kept = KEPT if lines else KEPT[:2]
    plain = str(text)
    if plain.isprintable():
        return plain
    return "".join(sign if sign.isprintable() or sign in kept else _written_out(sign) for sign in plain)


def _written_out(sign: str) -> str:
    return sign.encode("unicode_escape").decode()


def masked(text: str) -> str:
    """Hide the passwords of URLs in a message; a password may hold an unescaped @ or space."""
    shown = _PASSWORD.sub(r"\1…", text)
    before, at, behind = shown.rpartition("@")
    user = _USER.search(before)
    return f"{before[: user.end()]}…{at}{behind}" if user else shown


def complain(text: str) -> None:
    """Write a line on standard error; if that is closed or full, the line is lost and nothing else changes."""
    if sys.stderr is None:
        return
    try:
        sys.stderr.write(f"{visible(text)}\n")
        sys.stderr.flush()
    except OSError:
        drop(sys.stderr)


def drop(stream: TextIO | None) -> None:
    """Discard what a stream has buffered, so that Python does not complain about it at exit."""
    if stream is not None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def cells(text: str) -> int:
    """The width of a text on a terminal: wide characters take two places, combining ones none."""
    return len(text) if text.isascii() else sum(_places(text))


def _places(text: str) -> Iterator[int]:
    before = ""
    for sign in text:
        kind = category(sign)
        if kind in ZERO_WIDTH or (before == JOINER and kind == "So"):
            yield 0
        else:
            yield 2 if east_asian_width(sign) in "WF" else 1
        before = sign


def clipped(text: str, width: int) -> str:
    """Cut a text to a width on a terminal; a cut text ends with an ellipsis."""
    if cells(text) <= width:
        return text
    fit = sum(taken < width for taken in accumulate(_places(text[: width * MOST_COMBINED])))
    return text[:fit] + "…"


def plain_json(value: Any) -> Any:
    """Make a value plain JSON: ids and times become text, as they are stored."""
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, datetime):
        return stamp(value)
    if isinstance(value, Mapping):
        return {str(key): plain_json(item) for key, item in value.items()}
    return [plain_json(item) for item in value] if isinstance(value, list | tuple) else value


class Terminal:
    """The output of a command: standard output and standard error.

    Args:
        as_json: whether the command writes JSON.
    """

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self._stream: TextIO | None = sys.stdout
        self._errors: TextIO | None = sys.stderr
        self.coloured = not as_json and _is_terminal(self._stream) and _wants_colour()
        self._alone = False

    @property
    def width(self) -> int:
        """The width of a line in characters; 80 when it is unknown."""
        return shutil.get_terminal_size().columns

    @property
    def height(self) -> int | None:
        """The number of lines that fit on the screen; None outside of `screen`, where output may scroll."""
        return max(shutil.get_terminal_size().lines - 1, 1) if self._alone else None

    # ---- for people ------------------------------------------------------------------------------

    def line(self, *parts: Part) -> None:
        """Write one line of escaped and styled parts."""
        self.write(self.joined(*parts) + "\n")

    def joined(self, *parts: Part) -> str:
        """Join parts of a line, each escaped and styled."""
        return "".join(map(self.styled, parts))

    def block(self, text: str, indent: str = "") -> None:
        """Write a text of several lines, each indented."""
        for line in visible(text, lines=True).split("\n"):
            self.write(f"{indent}{line}".rstrip() + "\n")

    def styled(self, part: Part) -> str:
        """Escape a part of a line, and add the codes of its style when colours are on."""
        style, text = part if isinstance(part, tuple) else ("", part)
        shown = visible(text)
        return f"\x1b[{STYLES[style]}m{shown}\x1b[0m" if self.coloured and style and shown else shown

    @contextmanager
    def screen(self) -> Iterator[None]:
        """A block that redraws the screen; on a terminal, the earlier content returns afterwards."""
        if not _is_terminal(self._stream) or self.as_json or _is_dumb():
            yield
            return
        self.write("\x1b[?1049h\x1b[?25l")
        self._alone = True
        try:
            yield
        finally:
            self._alone = False
            self.write("\x1b[?25h\x1b[?1049l")
            self.flush()

    def draw(self, text: str) -> None:
        """Write escaped text; within `screen` it replaces what is shown, and is cut to the height of the screen."""
        if (height := self.height) is not None:
            text = "\x1b[H\x1b[J" + "".join(text.splitlines(keepends=True)[:height])
        self.write(text)

    def note(self, text: str) -> None:
        """Write a remark on standard error."""
        complain(text)

    def ask(self, question: str) -> None:
        """Write a question on standard error, without a line break."""
        if self._errors is not None:
            self._errors.write(visible(question))
            self._errors.flush()

    # ---- for programs ----------------------------------------------------------------------------

    def json(self, document: Any) -> None:
        """Write a JSON document on one line of ASCII."""
        self.write(json.dumps(plain_json(document)) + "\n")

    # ---- both ------------------------------------------------------------------------------------

    def write(self, text: str) -> None:
        """Write escaped text; characters that the encoding of the output lacks are written out."""
        stream = self._open()
        encoding = stream.encoding or "utf-8"
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))

    def bytes(self) -> BinaryIO:
        """Standard output as a binary file."""
        stream = self._open()
        stream.flush()
        return stream.buffer

    def _open(self) -> TextIO:
        if self._stream is None:
            raise OSError(errno.EBADF, "standard output is closed")
        return self._stream

    def flush(self) -> None:
        """Flush standard output."""
        if self._stream is not None:
            self._stream.flush()

    @contextmanager
    def progress(self, what: str, unit: str = "rows") -> Iterator[Callable[[int, int], None]]:
        """A block that shows its progress on standard error after a second, when that is a terminal.

        It gives a function to call with the number of units done and their total; 0 when the total is unknown.

        Args:
            what: what is being done.
            unit: what is counted.
        """
        counts = [0, 0]
        if not _is_terminal(self._errors):
            yield lambda done, total: None
            return
        over = threading.Event()
        reporter = threading.Thread(target=self._show_progress, args=(what, unit, counts, over), daemon=True)
        reporter.start()
        try:
            yield lambda done, total: counts.__setitem__(slice(None), [done, total])
        finally:
            over.set()
            reporter.join()

    def _show_progress(self, what: str, unit: str, counts: list[int], over: threading.Event) -> None:
        assert self._errors is not None
        began, shown = time.monotonic(), False
        while not over.wait(PATIENCE):
            shown = True
            done, total = counts
            counted = f" {done:,} of {total:,} {unit}," if total else f" {done:,} {unit}," if done else ""
            self._errors.write(f"\r{visible(what)} …{counted} {time.monotonic() - began:.0f} s\x1b[K")
            self._errors.flush()
        if shown:
            self._errors.write("\r\x1b[K")
            self._errors.flush()


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and not stream.closed and stream.isatty()


def _wants_colour() -> bool:
    return not os.environ.get("NO_COLOR") and not _is_dumb()


def _is_dumb() -> bool:
    return os.environ.get("TERM") == "dumb"
