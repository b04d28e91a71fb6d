"""Commands, and the parser of the command line with the options that all commands take."""

from __future__ import annotations

import argparse
import inspect
import re
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
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
from dispatch_state.vocabulary import total

PROGRAM = "dispatch-state"
ABOUT = "Manage a store of the state of AI agents' work."
TRIGGERS = frozenset(name for model in STATEFUL for name in model.machine.triggers)
HELP = "help"
_OPTION = re.compile(r"--[a-z][a-z-]*")


class Exit(IntEnum):
    """The exit codes of the program."""

    OK = 0
    REFUSED = 1
    USAGE = 2
    TROUBLE = 3
    INTERRUPTED = 130
    OUTPUT_CLOSED = 141


EXITS: Mapping[Exit, str] = total(
    {
        Exit.OK: "success, or the help was shown (as it is without a command)",
        Exit.REFUSED: "refused: the lifecycle does not allow it, the row does not exist, or the store is not sound",
        Exit.USAGE: "wrong usage",
        Exit.TROUBLE: "the store cannot be used, or the output cannot be written",
        Exit.INTERRUPTED: "interrupted (Ctrl-C)",
        Exit.OUTPUT_CLOSED: "the output was closed by its reader (SIGPIPE)",
    },
    Exit,
    "cli.parsing.EXITS",
)
"""What each exit code means."""


class Call:
    """One use of a command: its arguments, its output, and its store.

    Args:
        chosen: the parsed arguments.
    """

    def __init__(self, chosen: argparse.Namespace) -> None:
        self.chosen = chosen
        self.out = Terminal(as_json=chosen.json)
        self._opened = ExitStack()

    def open(self, *, create: bool = False, migrate: bool = False) -> Store:
        """Open the store that was chosen.

        Args:
            create: whether to create a store that does not exist.
            migrate: whether to bring an old schema up to date.

        Raises:
            StoreError: as `open_store`.
        """
        return self._opened.enter_context(open_store(self.chosen.database, create=create, migrate=migrate))

    @property
    def name(self) -> str:
        """The name of the store that was chosen, without a password."""
        return str(resolve(self.chosen.database))

    @property
    def again(self) -> str:
        """The words with which another command on the same store begins; a URL is left out, for its password."""
        named = self.chosen.database
        if named is None:
            return PROGRAM
        return f"{PROGRAM} --database {'…' if '://' in named else shlex.quote(named)}"

    def close(self) -> None:
        """Close the store, if it was opened."""
        self._opened.close()


@dataclass(frozen=True, slots=True)
class Command:
    """A command of the program.

    name: the word on the command line.
    run: does it; the docstring is the help of the command.
    options: adds the arguments of the command to its parser.
    """

    name: str
    run: Callable[[Call], Exit]
    options: Callable[[argparse.ArgumentParser], object] = lambda parser: None

    @property
    def about(self) -> str:
        """The first paragraph of the help."""
        return self.description.partition("\n\n")[0]

    @property
    def description(self) -> str:
        """The help, with each paragraph on one line."""
        documented = inspect.cleandoc(self.run.__doc__ or "").partition("\n\nRaises:")[0]
        return "\n\n".join(" ".join(paragraph.split()) for paragraph in documented.split("\n\n"))


class Parser(argparse.ArgumentParser):
    """A parser that raises our errors."""

    def error(self, message: str) -> NoReturn:
        """Raise `InvalidValue` with what is wrong, what was probably meant, and the usage of the command."""
        argument, chose, rest = message.partition(": invalid choice: ")
        if chose:
            word, _, choices = rest.rpartition(" (choose from ")
            known = re.findall(r"[\w-]+", choices)
            if argument == "argument COMMAND":
                raise InvalidValue(_no_command(word[1:-1], known))
            message += closest(word[1:-1], known)
        raise InvalidValue(f"{message} ({' '.join(self.format_usage().split())})")

    def refuse(self, arguments: list[str]) -> NoReturn:
        """Raise `InvalidValue` for unknown arguments, with the option that was probably meant."""
        options = [text.partition("=")[0] for text in arguments if text.startswith("--")]
        meant = closest(options[0], sorted(set(_OPTION.findall(self.format_help())))) if options else ""
        self.error(f"unrecognized arguments: {' '.join(arguments)}{meant}")

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """End the program after the help or the version was written."""
        if sys.stdout is not None:
            sys.stdout.flush()
        super().exit(status, message)


def _no_command(word: str, commands: list[str]) -> str:
    """The message for an unknown command; a trigger is pointed to `fire`."""
    if word in TRIGGERS:
        return f"{word} is a trigger, not a command: {PROGRAM} fire ID {word} --as LOGIN"
    if meant := closest(word, commands):
        return f"{shown(word)} is not a command{meant}"
    if meant := closest(word, sorted(TRIGGERS)):
        return f"{shown(word)} is not a command{meant} That is a trigger: {PROGRAM} fire ID TRIGGER --as LOGIN"
    return f"{shown(word)} is not a command; there are {listed(commands)}"


def parsed(commands: tuple[Command, ...], arguments: Sequence[str]) -> argparse.Namespace:
    """Parse a command line; arguments of a trigger may follow options.

    Args:
        commands: the commands that there are.
        arguments: the words after the program's name.

    Raises:
        InvalidValue: the usage is wrong.
        SystemExit: the help or the version was asked for.
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
    """Make the parser of the whole command line."""
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
    helped = words.add_parser(HELP, help="Show this help, or the help of a command.", allow_abbrev=False)
    helped.add_argument("about", metavar="COMMAND", nargs="?", help="the command to explain (all)")
    helped.set_defaults(parser=helped)
    return whole


def whole(text: str) -> int:
    """Read the value of an option as a whole number.

    Raises:
        argparse.ArgumentTypeError: the text is not a whole number of at least 0.
    """
    if not text.isdecimal():
        raise argparse.ArgumentTypeError("takes a whole number of at least 0")
    return int(text)


def _common(some: argparse.ArgumentParser, *, database: str | None, json: bool | str) -> None:
    """Add the options that may come before the command or after it."""
    some.add_argument(
        "--database",
        metavar="TARGET",
        default=database,
        help="the store, a path or a URL (default: DISPATCH_DATABASE, the configuration file, your data folder)",
    )
    some.add_argument("--json", action="store_true", default=json, help="write JSON")


def _exits() -> str:
    return "Exit codes: " + "; ".join(f"{int(code)} {meaning}" for code, meaning in EXITS.items()) + "."
