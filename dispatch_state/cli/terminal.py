"""Writing to a terminal, a pipe or a file: what comes from rows does no harm there, and colours know when to stay away.

What is written passes through `visible`: a title may hold an escape sequence, and a terminal would obey it.
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
"""A piece of a line: its text, or the name of a style and its text."""
PATIENCE = 1.0
"""Seconds of silence after which a long piece of work says that it goes on."""
JOINER = "\u200d"
"""Between two emoji that are drawn as one."""
KEPT = f"\u00a0{JOINER}\t\n"
"""Characters that Python does not call printable and that do no harm: in emoji and, in blocks, between lines."""
UNSEEN = ("Mn", "Me", "Cf")
"""Categories of characters that take no place of their own: accents, vowels above and below, joiners."""
TALLEST = 8
"""Characters that share one place, at most."""
_USER = re.compile(r":/[^:]*:")
"""What stands before a password in a URL."""
_PASSWORD = re.compile(r"(password=)[^\s&]+")


def visible(text: object, *, lines: bool = False) -> str:
    """Text with its control characters written out, `\\x1b` for an escape, so that no terminal obeys them.

    Args:
        lines: whether line feeds and tabs stay as they are.
    """
    kept = KEPT if lines else KEPT[:2]
    plain = str(text)
    if plain.isprintable():
        return plain
    return "".join(sign if sign.isprintable() or sign in kept else _written_out(sign) for sign in plain)


def _written_out(sign: str) -> str:
    return sign.encode("unicode_escape").decode()


def masked(text: str) -> str:
    """A message without the passwords of the URLs that it repeats; one may hold an @ or a space that is not escaped."""
    shown = _PASSWORD.sub(r"\1…", text)
    before, at, behind = shown.rpartition("@")
    user = _USER.search(before)
    return f"{before[: user.end()]}…{at}{behind}" if user else shown


def complain(text: str) -> None:
    """Write a line on standard error; where that is closed or full, nobody hears it, and nothing else changes."""
    if sys.stderr is None:
        return
    try:
        sys.stderr.write(f"{visible(text)}\n")
        sys.stderr.flush()
    except OSError:
        drop(sys.stderr)


def drop(stream: TextIO | None) -> None:
    """Let what a stream still holds go nowhere, so that Python does not complain of it when it ends."""
    if stream is not None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def cells(text: str) -> int:
    """How many places a text takes on a terminal: two for a wide character, none for one that joins another."""
    return len(text) if text.isascii() else sum(_places(text))


def _places(text: str) -> Iterator[int]:
    before = ""
    for sign in text:
        kind = category(sign)
        if kind in UNSEEN or (before == JOINER and kind == "So"):
            yield 0
        else:
            yield 2 if east_asian_width(sign) in "WF" else 1
        before = sign


def clipped(text: str, width: int) -> str:
    """The text, cut to so many places with a sign that it goes on."""
    if cells(text) <= width:
        return text
    fit = sum(taken < width for taken in accumulate(_places(text[: width * TALLEST])))
    return text[:fit] + "…"


def plain_json(value: Any) -> Any:
    """`value` as JSON can hold it: ids and moments as their stored text."""
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, datetime):
        return stamp(value)
    if isinstance(value, Mapping):
        return {str(key): plain_json(item) for key, item in value.items()}
    return [plain_json(item) for item in value] if isinstance(value, list | tuple) else value


class Terminal:
    """Where a command writes.

    Args:
        as_json: whether it writes JSON, for programs.
    """

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self._stream: TextIO | None = sys.stdout
        self._errors: TextIO | None = sys.stderr
        self.coloured = not as_json and _is_terminal(self._stream) and _wants_colour()
        self._alone = False

    @property
    def width(self) -> int:
        """How many characters a line has; 80 where nobody says."""
        return shutil.get_terminal_size().columns

    @property
    def height(self) -> int | None:
        """How many lines can be seen at once within `screen`; None where that is not asked."""
        return max(shutil.get_terminal_size().lines - 1, 1) if self._alone else None

    # ---- for people ------------------------------------------------------------------------------

    def line(self, *parts: Part) -> None:
        """Write one line; its parts are escaped, and styled where there are colours."""
        self.write(self.joined(*parts) + "\n")

    def joined(self, *parts: Part) -> str:
        """The parts of a line, each as `styled` makes it."""
        return "".join(map(self.styled, parts))

    def block(self, text: str, indent: str = "") -> None:
        """Write text of several lines, each with an indent."""
        for line in visible(text, lines=True).split("\n"):
            self.write(f"{indent}{line}".rstrip() + "\n")

    def styled(self, part: Part) -> str:
        """A part of a line, escaped, with the codes of its style where there are colours."""
        style, text = part if isinstance(part, tuple) else ("", part)
        shown = visible(text)
        return f"\x1b[{STYLES[style]}m{shown}\x1b[0m" if self.coloured and style and shown else shown

    @contextmanager
    def screen(self) -> Iterator[None]:
        """A block that draws over what it drew before; on a terminal, what stood there comes back behind it."""
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
        """Write text that is ready, within `screen` in place of what stands there, as much of it as can be seen."""
        if (height := self.height) is not None:
            text = "\x1b[H\x1b[J" + "".join(text.splitlines(keepends=True)[:height])
        self.write(text)

    def note(self, text: str) -> None:
        """Tell something beside the output, on standard error."""
        complain(text)

    def ask(self, question: str) -> None:
        """Write a question on standard error; the answer is typed behind it."""
        if self._errors is not None:
            self._errors.write(visible(question))
            self._errors.flush()

    # ---- for programs ----------------------------------------------------------------------------

    def json(self, document: Any) -> None:
        """Write a JSON document on a line; nothing in it can be taken for a control character."""
        self.write(json.dumps(plain_json(document)) + "\n")

    # ---- both ------------------------------------------------------------------------------------

    def write(self, text: str) -> None:
        """Write text that is ready; characters that the output cannot encode are written out."""
        stream = self._open()
        encoding = stream.encoding or "utf-8"
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))

    def bytes(self) -> BinaryIO:
        """Standard output as a file that takes bytes."""
        stream = self._open()
        stream.flush()
        return stream.buffer

    def _open(self) -> TextIO:
        if self._stream is None:
            raise OSError(errno.EBADF, "standard output is closed")
        return self._stream

    def flush(self) -> None:
        """Hand on what was written so far."""
        if self._stream is not None:
            self._stream.flush()

    @contextmanager
    def progress(self, what: str, unit: str = "rows") -> Iterator[Callable[[int, int], None]]:
        """A block that may take long: after a moment it says so on standard error, when that is a terminal.

        Gives what is called with how many are done, and of how many, which is 0 when nobody knows.

        Args:
            what: what is being done.
            unit: what is counted.
        """
        counts = [0, 0]
        if not _is_terminal(self._errors):
            yield lambda done, total: None
            return
        over = threading.Event()
        told = threading.Thread(target=self._tell, args=(what, unit, counts, over), daemon=True)
        told.start()
        try:
            yield lambda done, total: counts.__setitem__(slice(None), [done, total])
        finally:
            over.set()
            told.join()

    def _tell(self, what: str, unit: str, counts: list[int], over: threading.Event) -> None:
        assert self._errors is not None
        began, said = time.monotonic(), False
        while not over.wait(PATIENCE):
            said = True
            done, total = counts
            counted = f" {done:,} of {total:,} {unit}," if total else f" {done:,} {unit}," if done else ""
            self._errors.write(f"\r{visible(what)} …{counted} {time.monotonic() - began:.0f} s\x1b[K")
            self._errors.flush()
        if said:
            self._errors.write("\r\x1b[K")
            self._errors.flush()


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and not stream.closed and stream.isatty()


def _wants_colour() -> bool:
    return not os.environ.get("NO_COLOR") and not _is_dumb()


def _is_dumb() -> bool:
    return os.environ.get("TERM") == "dumb"
