"""What a command is, and what all of them take: the store, and JSON for programs."""

from __future__ import annotations

import argparse
import inspect
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from enum import IntEnum
from typing import NoReturn

from dispatch_state._version import __version__
from dispatch_state.cli.terminal import Terminal
from dispatch_state.errors import InvalidValue
from dispatch_state.models.tables import STATEFUL
from dispatch_state.storage.targets import resolve
from dispatch_state.store import Store, open_store
from dispatch_state.values import closest, listed, shown

PROGRAM = "dispatch-state"
ABOUT = "Look after the state of an agent runner."
TRIGGERS = frozenset(name for model in STATEFUL for name in model.machine.triggers)
HELP = "help"
_OPTION = re.compile(r"--[a-z][a-z-]*")


class Exit(IntEnum):
    """What the shell is told."""

    OK = 0
    REFUSED = 1
    USAGE = 2
    TROUBLE = 3
    INTERRUPTED = 130
    UNREAD = 141


EXITS = {
    Exit.OK: "all is well; also the help, which a call without a command asks for",
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
    def name(self) -> str:
        """What the store that was chosen is called; no password is in it."""
        return str(resolve(self.chosen.database))

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

    run: does it; its docstring is the command's help.
    options: adds what it takes to its parser.
    """

    name: str
    run: Callable[[Call], Exit]
    options: Callable[[argparse.ArgumentParser], object] = lambda parser: None

    @property
    def about(self) -> str:
        """What it does, in a sentence or two."""
        return self.description.partition("\n\n")[0]

    @property
    def description(self) -> str:
        """What it does, and what there is to know about it; a paragraph to a line."""
        told = inspect.cleandoc(self.run.__doc__ or "").partition("\n\nRaises:")[0]
        return "\n\n".join(" ".join(paragraph.split()) for paragraph in told.split("\n\n"))


class Parser(argparse.ArgumentParser):
    """A parser whose complaints are ours."""

    def error(self, message: str) -> NoReturn:
        """Raise `InvalidValue` that says what is wrong, what was probably meant, and how the command is called."""
        argument, chose, rest = message.partition(": invalid choice: ")
        if chose:
            word, _, choices = rest.rpartition(" (choose from ")
            known = re.findall(r"[\w-]+", choices)
            if argument == "argument COMMAND":
                raise InvalidValue(_no_command(word[1:-1], known))
            message += closest(word[1:-1], known)
        raise InvalidValue(f"{message} ({' '.join(self.format_usage().split())})")

    def refuse(self, arguments: list[str]) -> NoReturn:
        """Raise `InvalidValue` for arguments that it does not know; names the option that was probably meant."""
        options = [text.partition("=")[0] for text in arguments if text.startswith("--")]
        meant = closest(options[0], sorted(set(_OPTION.findall(self.format_help())))) if options else ""
        self.error(f"unrecognized arguments: {' '.join(arguments)}{meant}")

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """Leave when the help, or the version, is written."""
        if sys.stdout is not None:
            sys.stdout.flush()
        super().exit(status, message)


def _no_command(word: str, commands: list[str]) -> str:
    """What to say of a word that is no command; a trigger is one only behind `fire`."""
    if word in TRIGGERS:
        return f"{word} is a trigger, no command: {PROGRAM} fire ID {word} --as LOGIN"
    if meant := closest(word, commands):
        return f"{shown(word)} is no command{meant}"
    if meant := closest(word, sorted(TRIGGERS)):
        return f"{shown(word)} is no command{meant} That is a trigger: {PROGRAM} fire ID TRIGGER --as LOGIN"
    return f"{shown(word)} is no command; there are {listed(commands)}"


def parsed(commands: tuple[Command, ...], arguments: Sequence[str]) -> argparse.Namespace:
    """What was chosen on a command line; a trigger's arguments may stand behind options too.

    Raises:
        InvalidValue: it was called wrongly.
        SystemExit: it was asked for help or for its version.
    """
    whole = parser(commands)
    chosen, left = whole.parse_known_args(arguments)
    if left:
        if "argument" not in chosen or any(text.startswith("-") for text in left):
            chosen.parser.refuse(left)
        chosen.argument = [*chosen.argument, *left]
    if chosen.command is None and chosen.json:
        raise InvalidValue(f"no command was given; {PROGRAM} {HELP} lists them")
    if chosen.command in (None, HELP):
        whole.parse_args([*filter(None, [getattr(chosen, "about", None)]), "--help"])
    return chosen


def parser(commands: tuple[Command, ...]) -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    whole = Parser(prog=PROGRAM, description=ABOUT, epilog=_exits(), allow_abbrev=False)
    whole.add_argument("--version", action="version", version=__version__)
    _common(whole, database=None, json=False)
    whole.set_defaults(parser=whole)
    words = whole.add_subparsers(metavar="COMMAND", dest="command", parser_class=Parser)
    for command in commands:
        word = words.add_parser(command.name, help=command.about, description=command.description, allow_abbrev=False)
        command.options(word)
        _common(word, database=argparse.SUPPRESS, json=argparse.SUPPRESS)
        word.set_defaults(run=command.run, parser=word)
    helped = words.add_parser(HELP, help="Show this, or what a command takes.", allow_abbrev=False)
    helped.add_argument("about", metavar="COMMAND", nargs="?", help="the command; all of them when left out")
    helped.set_defaults(parser=helped)
    return whole


def whole(text: str) -> int:
    """An option's value as a number of at least 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError("takes a whole number of at least 0")
    return int(text)


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
