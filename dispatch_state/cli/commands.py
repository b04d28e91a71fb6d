"""`dispatch-state`: what one asks of a store, or does to it, from a terminal.

The commands are in the modules beside this one, each of which lists its own; `docs/command_line.md` is made
of what they say of themselves.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from dispatch_state.cli import board, diagram, fire, log, show, status, store, transfer
from dispatch_state.cli.parsing import PROGRAM, Call, Command, Exit, parsed
from dispatch_state.cli.terminal import complain, drop, masked
from dispatch_state.errors import DispatchError, InvalidValue, SchemaTooOld, StoreError, StoreNotFound

COMMANDS: tuple[Command, ...] = (
    *store.COMMANDS,
    *transfer.COMMANDS,
    *status.COMMANDS,
    *show.COMMANDS,
    *log.COMMANDS,
    *board.COMMANDS,
    *diagram.COMMANDS,
    *fire.COMMANDS,
)
"""Every command, in the order of the help."""
ADVICE: dict[type[DispatchError], str] = {
    StoreNotFound: "{again} init makes one (PostgreSQL: after createdb); --database or DISPATCH_DATABASE name another",
    SchemaTooOld: "{again} migrate brings it up to date",
}
"""The next step on a command line, in place of the last words of an error, which are for programs."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code.

    Args:
        arguments: those of the process when None.

    Raises:
        SystemExit: it was asked for help or for its version.
    """
    words = sys.argv[1:] if arguments is None else arguments
    as_json = "--json" in words
    call = None
    try:
        call = Call(parsed(COMMANDS, words))
        return int(_run(call))
    except BrokenPipeError:
        drop(sys.stdout)
        return Exit.UNREAD
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except OSError as error:  # a command's own files are dealt with where they are written
        drop(sys.stdout)
        return _tell(StoreError(f"the output cannot be written: {error.strerror}"), PROGRAM, as_json)
    except DispatchError as error:
        return Exit.INTERRUPTED if _interrupted(error) else _tell(error, call.again if call else PROGRAM, as_json)


def _run(call: Call) -> Exit:
    try:
        return Exit(call.chosen.run(call))
    finally:
        call.close()
        call.out.flush()


def _interrupted(error: BaseException | None) -> bool:
    """Whether it is what an interrupt left behind, while a connection was put in order."""
    return error is not None and (isinstance(error, KeyboardInterrupt) or _interrupted(error.__context__))


def _tell(error: DispatchError, again: str, as_json: bool) -> Exit:
    """Say what went wrong, on a line, and what to do about it; as JSON to a program."""
    message = masked(" ".join(str(error).split()))
    if advice := ADVICE.get(type(error)):
        message = f"{message.rpartition('; ')[0]}; {advice.format(again=again)}"
    if as_json:
        reasons = [masked(reason) for reason in getattr(error, "reasons", ())]
        complain(json.dumps({"error": type(error).__name__, "message": message, "reasons": reasons}))
    else:
        complain(f"{PROGRAM}: {message}")
    if isinstance(error, InvalidValue):
        return Exit.USAGE
    return Exit.TROUBLE if isinstance(error, StoreError) else Exit.REFUSED
