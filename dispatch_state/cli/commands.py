"""`dispatch-state`: what one asks of a store, or does to it, from a terminal.

The commands are in the modules beside this one, each of which lists its own; `docs/command_line.md` is made
of what they say of themselves.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from dispatch_state.cli import acting, board, drawing, keeping, looking, moving, reading, standing
from dispatch_state.cli.parsing import PROGRAM, Call, Command, Exit, parsed
from dispatch_state.cli.terminal import visible
from dispatch_state.errors import DispatchError, InvalidValue, SchemaTooOld, StoreError, StoreNotFound

COMMANDS: tuple[Command, ...] = (
    *keeping.COMMANDS,
    *moving.COMMANDS,
    *standing.COMMANDS,
    *looking.COMMANDS,
    *reading.COMMANDS,
    *board.COMMANDS,
    *drawing.COMMANDS,
    *acting.COMMANDS,
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
        SystemExit: it was called wrongly, or asked for help or for its version.
    """
    call = Call(parsed(COMMANDS, arguments))
    try:
        return int(_run(call))
    except BrokenPipeError:
        _drop_output()
        return Exit.UNREAD
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except OSError as error:  # a command's own files are dealt with where they are written
        _drop_output()
        return _tell(StoreError(f"the output cannot be written: {error.strerror}"), call.again)
    except DispatchError as error:
        return _tell(error, call.again)


def _run(call: Call) -> Exit:
    try:
        return Exit(call.chosen.run(call))
    finally:
        call.close()
        call.out.flush()


def _tell(error: DispatchError, again: str) -> Exit:
    """Say what went wrong, on a line, and what to do about it."""
    told = " ".join(str(error).split())
    if advice := ADVICE.get(type(error)):
        told = f"{told.rpartition('; ')[0]}; {advice.format(again=again)}"
    if sys.stderr is not None:
        sys.stderr.write(f"{PROGRAM}: {visible(told)}\n")
    if isinstance(error, InvalidValue):
        return Exit.USAGE
    return Exit.TROUBLE if isinstance(error, StoreError) else Exit.REFUSED


def _drop_output() -> None:
    """Let what is still buffered go nowhere, so that Python does not complain of it when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
