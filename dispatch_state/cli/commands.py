"""`dispatch-state`: what one asks of a store, or does to it, from a terminal.

Exit codes: 0 all is well; 1 refused, or not sound; 2 the command was called wrongly; 3 the store cannot be used.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from enum import IntEnum

from dispatch_state._version import __version__
from dispatch_state.errors import DispatchError, InvalidValue, StoreError
from dispatch_state.store import Store, open_store


class Exit(IntEnum):
    """What the shell is told."""

    OK = 0
    REFUSED = 1
    USAGE = 2
    TROUBLE = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code.

    Args:
        arguments: those of the process when None.
    """
    chosen = _parser().parse_args(arguments)
    try:
        with open_store(chosen.database, create=False, migrate=False) as store:
            return int(chosen.run(store, chosen))
    except DispatchError as error:
        print(f"dispatch-state: {error}", file=sys.stderr)
        return _code(error)
    except KeyboardInterrupt:
        return 130


def _code(error: DispatchError) -> Exit:
    if isinstance(error, InvalidValue):
        return Exit.USAGE
    return Exit.TROUBLE if isinstance(error, StoreError) else Exit.REFUSED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="dispatch-state", description="Look after the state of an agent runner.")
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument(
        "--database",
        metavar="TARGET",
        help="a path or a URL; else DISPATCH_DATABASE, the configuration file, the default",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _command(commands, verify, "verify")
    _command(commands, backup, "backup").add_argument("path", help="a file that does not exist yet")
    return parser


Run = Callable[[Store, argparse.Namespace], Exit]


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], run: Run, name: str
) -> argparse.ArgumentParser:
    about = (run.__doc__ or "").partition("\n\n")[0]
    command = commands.add_parser(name, help=about, description=about)
    command.set_defaults(run=run)
    return command


# ---- commands ------------------------------------------------------------------------------------------


def verify(store: Store, chosen: argparse.Namespace) -> Exit:
    """Ask whether the store is sound; one line for each thing that is not."""
    found = store.verify()
    for violation in found:
        print(violation)
    print(f"{len(found)} violations" if found else "sound", file=sys.stderr)
    return Exit.REFUSED if found else Exit.OK


def backup(store: Store, chosen: argparse.Namespace) -> Exit:
    """Copy the store to a new file while others go on writing."""
    print(store.backup(chosen.path))
    return Exit.OK
