"""What a command is, and what all of them take: the store, and JSON for programs."""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from enum import IntEnum
from typing import NoReturn

from dispatch_state._version import __version__
from dispatch_state.cli.terminal import Terminal, visible
from dispatch_state.models.tables import STATEFUL
from dispatch_state.store import Store, open_store

PROGRAM = "dispatch-state"
ABOUT = "Look after the state of an agent runner."
TRIGGERS = frozenset(name for model in STATEFUL for name in model.machine.triggers)
_NO_COMMAND = re.compile(r"argument COMMAND: invalid choice: '(\w+)'")


class Exit(IntEnum):
    """What the shell is told."""

    OK = 0
    REFUSED = 1
    USAGE = 2
    TROUBLE = 3
    INTERRUPTED = 130
    UNREAD = 141


EXITS = {
    Exit.OK: "all is well",
    Exit.REFUSED: "refused: a guard said no, there is no such row, or the store is not sound",
    Exit.USAGE: "the command was called wrongly",
    Exit.TROUBLE: "the store cannot be used, or the output not be written",
    Exit.INTERRUPTED: "interrupted (Ctrl-C)",
    Exit.UNREAD: "whoever read the output went away",
}


class Call:
    """One use of a command: what was chosen, where it writes, and the store, which `open` opens.

    Args:
        chosen: the parsed arguments.
    """

    def __init__(self, chosen: argparse.Namespace) -> None:
        self.chosen = chosen
        self.out = Terminal(as_json=chosen.json)
        self._opened = ExitStack()

    def open(self, *, create: bool = False, migrate: bool = False) -> Store:
        """Open the store that was chosen; errors as `open_store`."""
        return self._opened.enter_context(open_store(self.chosen.database, create=create, migrate=migrate))

    @property
    def again(self) -> str:
        """How a further command on the same store begins; a URL, which may hold a password, is left out."""
        named = self.chosen.database
        if named is None:
            return PROGRAM
        return f"{PROGRAM} --database {'…' if '://' in named else shlex.quote(named)}"

    def close(self) -> None:
        """Close the store, if it was opened."""
        self._opened.close()


@dataclass(frozen=True, slots=True)
class Command:
    """A word on the command line.

    run: does it; the first paragraph of its docstring is the command's help.
    options: adds what it takes to its parser.
    """

    name: str
    run: Callable[[Call], Exit]
    options: Callable[[argparse.ArgumentParser], object] = lambda parser: None

    @property
    def about(self) -> str:
        """What it does, in a sentence or two."""
        return (self.run.__doc__ or "").partition("\n\n")[0].replace("\n    ", " ")


class Parser(argparse.ArgumentParser):
    """A parser whose complaints take two lines and do no harm to a terminal."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and leave with 2."""
        usage = " ".join(self.format_usage().split())
        if (found := _NO_COMMAND.match(message)) and found[1] in TRIGGERS:
            message = f"{found[1]} is a trigger, no command: {PROGRAM} fire ID {found[1]} --as LOGIN"
        sys.stderr.write(f"{usage}\n{self.prog}: {visible(message)}\n")
        raise SystemExit(int(Exit.USAGE))


def parsed(commands: tuple[Command, ...], arguments: Sequence[str] | None) -> argparse.Namespace:
    """What was chosen on a command line; a trigger's arguments may stand behind options too.

    Raises:
        SystemExit: it was called wrongly, or asked for help or for its version.
    """
    whole = parser(commands)
    chosen, left = whole.parse_known_args(arguments)
    if left:
        if "argument" not in chosen or any(text.startswith("-") for text in left):
            whole.error(f"unrecognized arguments: {' '.join(left)}")
        chosen.argument = [*chosen.argument, *left]
    return chosen


def parser(commands: tuple[Command, ...]) -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    whole = Parser(prog=PROGRAM, description=ABOUT, epilog=_exits(), allow_abbrev=False)
    whole.add_argument("--version", action="version", version=__version__)
    _common(whole, database=None, json=False)
    words = whole.add_subparsers(required=True, metavar="COMMAND", dest="command", parser_class=Parser)
    for command in commands:
        word = words.add_parser(command.name, help=command.about, description=command.about, allow_abbrev=False)
        command.options(word)
        _common(word, database=argparse.SUPPRESS, json=argparse.SUPPRESS)
        word.set_defaults(run=command.run)
    return whole


def _common(some: argparse.ArgumentParser, *, database: str | None, json: bool | str) -> None:
    """What may stand before the command and behind it."""
    some.add_argument(
        "--database",
        metavar="TARGET",
        default=database,
        help="a path or a URL; else DISPATCH_DATABASE, the configuration file, the default",
    )
    some.add_argument("--json", action="store_true", default=json, help="write JSON, for programs")


def _exits() -> str:
    return "Exit codes: " + "; ".join(f"{int(code)} {meaning}" for code, meaning in EXITS.items()) + "."
