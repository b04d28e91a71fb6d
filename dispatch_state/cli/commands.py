"""The program `dispatch-state`: it runs a command, and turns errors into messages and exit codes.

Each module beside this one lists its commands under `COMMANDS`. `docs/command_line.md` is generated from them.
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
"""All commands, in the order in which the help lists them."""
ADVICE: dict[type[DispatchError], str] = {
    StoreNotFound: "{again} init creates one (PostgreSQL: after createdb); "
    "--database or DISPATCH_DATABASE name another",
    SchemaTooOld: "{again} migrate brings it up to date",
}
"""The next step for a user of the command line, in place of the end of the message, which is for programmers."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return the exit code.

    Args:
        arguments: the words after the program's name; those of the process when None.

    Raises:
        SystemExit: the help or the version was asked for.
    """
    words = sys.argv[1:] if arguments is None else arguments
    as_json = "--json" in words
    call = None
    try:
        call = Call(parsed(COMMANDS, words))
        return int(_run(call))
    except BrokenPipeError:
        drop(sys.stdout)
        return Exit.OUTPUT_CLOSED
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except OSError as error:  # only of the output: commands handle the errors of their own files
        drop(sys.stdout)
        return _report(StoreError(f"the output cannot be written: {error.strerror}"), PROGRAM, as_json)
    except DispatchError as error:
        return Exit.INTERRUPTED if _interrupted(error) else _report(error, call.again if call else PROGRAM, as_json)


def _run(call: Call) -> Exit:
    try:
        return Exit(call.chosen.run(call))
    finally:
        call.close()
        call.out.flush()


def _interrupted(error: BaseException | None) -> bool:
    """Whether an interrupt led to the error: it may arrive while a connection is being repaired."""
    return error is not None and (isinstance(error, KeyboardInterrupt) or _interrupted(error.__context__))


def _report(error: DispatchError, again: str, as_json: bool) -> Exit:
    """Write on one line what went wrong and what to do about it, or write it as JSON; returns the exit code."""
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
