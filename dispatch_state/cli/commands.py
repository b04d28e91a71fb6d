"""`dispatch-state`: what one asks of a store, or does to it, from a terminal.

The commands are in the modules beside this one, each of which lists its own; `docs/command_line.md` is made
of what they say of themselves.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from dispatch_state.cli import acting, board, drawing, keeping, moving, reading
from dispatch_state.cli.parsing import PROGRAM, Call, Command, Exit, parsed
from dispatch_state.cli.terminal import complain, drop, masked
from dispatch_state.errors import DispatchError, InvalidValue, SchemaTooOld, StoreError, StoreNotFound

COMMANDS: tuple[Command, ...] = (
    *keeping.COMMANDS,
    *moving.COMMANDS,
    *reading.COMMANDS,
    *board.COMMANDS,
    *drawing.COMMANDS,
    *acting.COMMANDS,
)
"""Every command, in the order of the help."""
ADVICE: dict[type[DispatchError], str] = {
    StoreNotFound: f"{PROGRAM} init makes one",
    SchemaTooOld: f"{PROGRAM} migrate brings it up to date",
}
"""The next step on a command line, where an error has one."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code.

    Args:
        arguments: those of the process when None.

    Raises:
        SystemExit: it was asked for help or for its version.
    """
    words = sys.argv[1:] if arguments is None else arguments
    as_json = "--json" in words
    try:
        return int(_run(words))
    except BrokenPipeError:
        drop(sys.stdout)
        return Exit.UNREAD
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except OSError as error:  # a command's own files are dealt with where they are written
        drop(sys.stdout)
        return _tell(StoreError(f"the output cannot be written: {error.strerror}"), as_json)
    except DispatchError as error:
        return _tell(error, as_json)


def _run(words: Sequence[str]) -> Exit:
    call = Call(parsed(COMMANDS, words))
    try:
        return Exit(call.chosen.run(call))
    finally:
        call.close()
        call.out.flush()


def _tell(error: DispatchError, as_json: bool) -> Exit:
    """Say what went wrong, on a line, and what to do about it; as JSON to a program."""
    advice = f"; {ADVICE[type(error)]}" if type(error) in ADVICE else ""
    message = f"{masked(' '.join(str(error).split()))}{advice}"
    if as_json:
        reasons = [masked(reason) for reason in getattr(error, "reasons", ())]
        complain(json.dumps({"error": type(error).__name__, "message": message, "reasons": reasons}))
    else:
        complain(f"{PROGRAM}: {message}")
    if isinstance(error, InvalidValue):
        return Exit.USAGE
    return Exit.TROUBLE if isinstance(error, StoreError) else Exit.REFUSED
