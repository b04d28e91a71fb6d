"""Commands that move rows: a person fires a trigger, and maintenance fires what is due. None acts as an agent."""

from __future__ import annotations

import argparse
import sys

from dispatch_state.actors import Human
from dispatch_state.cli.lookup import stateful_row_of
from dispatch_state.cli.parsing import Call, Command, Exit
from dispatch_state.cli.terminal import Terminal
from dispatch_state.cli.triggers import arguments, overrides, trigger_of
from dispatch_state.errors import GuardRefused, InvalidValue
from dispatch_state.lifecycle.interface import Move
from dispatch_state.lifecycle.triggers import Trigger
from dispatch_state.models.base import Stateful


def fire(call: Call) -> Exit:
    """Fire a trigger on a row as a person, if the lifecycle allows it to this person.

    Raises:
        GuardRefused: the lifecycle does not allow it, or the person did not confirm an override.
    """
    chosen = call.chosen
    person = Human(chosen.login)
    call.open()
    row = stateful_row_of(chosen.id, to_change=True)
    trigger = trigger_of(row, chosen.trigger)
    given = arguments(trigger, chosen.argument)
    asking = overrides(trigger, row.status) and not chosen.yes
    _require_reason_and_yes(trigger, chosen.reason, asking)
    if asking:
        _confirm(call.out, row, trigger.name, person)
    moves = getattr(row, trigger.name)(by=person, reason=chosen.reason, **given)
    _report(call.out, moves)
    return Exit.OK


def _require_reason_and_yes(trigger: Trigger, reason: str, asking: bool) -> None:
    """Raise `InvalidValue` when a reason is missing, or --yes where nobody can be asked; the message names both."""
    missing = ["--reason TEXT"] if trigger.needs_reason and not reason.strip() else []
    if asking and (sys.stdin is None or not sys.stdin.isatty()):
        missing.append("--yes, because it is an override and nobody can be asked")
    if missing:
        raise InvalidValue(f"{trigger.name} takes {' and '.join(missing)}")


def _confirm(out: Terminal, row: Stateful, trigger: str, person: Human) -> None:
    """Ask the person for a confirmation; raises `GuardRefused` for any answer but yes."""
    out.flush()
    out.ask(f"{row} “{row.label()[:60]}” is {row.status}: {trigger} it, as {person.login}? [y/N] ")
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise GuardRefused(f"{trigger}: not confirmed, nothing was changed", ("it was not confirmed",))


def rescue(call: Call) -> Exit:
    """Mark busy agents as errored that have sent no heartbeat for too long, and requeue their issues."""
    chosen = call.chosen
    given = {"timeout": chosen.timeout, "max_attempts": chosen.max_attempts, "idle_timeout": chosen.idle_timeout}
    _report(call.out, call.open().rescue(**given))
    return Exit.OK


def tick(call: Call) -> Exit:
    """Approve checkpoints whose time has come, and decide votes whose deadline has passed."""
    _report(call.out, call.open().tick())
    return Exit.OK


def _report(out: Terminal, moves: list[Move]) -> None:
    if out.as_json:
        out.json({"moves": [move._asdict() for move in moves]})
        return
    for move in moves:
        out.line(move.say())
    if not moves:
        out.note("nothing was due")


def _fire_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "id", metavar="ID", help="the id of the row, or its end: at least 4 characters, and enough to be unique"
    )
    parser.add_argument("trigger", metavar="TRIGGER", help="one of the triggers that `show ID` lists")
    parser.add_argument(
        "argument",
        metavar="NAME=VALUE",
        nargs="*",
        default=[],
        help="an argument of the trigger; a row is given by its id",
    )
    parser.add_argument("--as", dest="login", metavar="LOGIN", required=True, help="the login of the person who acts")
    parser.add_argument("--reason", metavar="TEXT", default="", help="why it is done; some triggers require a reason")
    parser.add_argument("--yes", action="store_true", help="do an override without asking")


def _rescue_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--timeout", type=float, default=120.0, metavar="SECONDS", help="the longest time without a heartbeat (120)"
    )
    parser.add_argument(
        "--max-attempts", type=int, default=3, metavar="N", help="block an issue after so many failed attempts (3)"
    )
    parser.add_argument(
        "--idle-timeout",
        type=float,
        metavar="SECONDS",
        help="also stop idle and errored agents that have no live issue and sent no heartbeat for longer",
    )


COMMANDS = (Command("fire", fire, _fire_options), Command("rescue", rescue, _rescue_options), Command("tick", tick))
