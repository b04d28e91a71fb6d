"""What moves rows: a person's act, and the two chores of upkeep. Nothing here acts as an agent."""

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
    """Fire a trigger on a row, as a person: what the lifecycle allows that person, and nothing else.

    Raises:
        GuardRefused: the question was not answered with yes.
    """
    chosen = call.chosen
    person = Human(chosen.login)
    call.open()
    row = stateful_row_of(chosen.id, to_change=True)
    trigger = trigger_of(row, chosen.trigger)
    given = arguments(trigger, chosen.argument)
    asking = overrides(trigger, row.status) and not chosen.yes
    _demand(trigger, chosen.reason, asking)
    if asking:
        _ask(call.out, row, trigger.name, person)
    moves = getattr(row, trigger.name)(by=person, reason=chosen.reason, **given)
    _tell(call.out, moves)
    return Exit.OK


def _demand(trigger: Trigger, reason: str, asking: bool) -> None:
    """Raise `InvalidValue` that names all that is still to be said: why, and --yes where nobody can be asked."""
    missing = ["--reason TEXT"] if trigger.needs_reason and not reason.strip() else []
    if asking and (sys.stdin is None or not sys.stdin.isatty()):
        missing.append("--yes, because it is an override and nobody can be asked")
    if missing:
        raise InvalidValue(f"{trigger.name} takes {' and '.join(missing)}")


def _ask(out: Terminal, row: Stateful, trigger: str, person: Human) -> None:
    """Ask on a terminal whether this override is meant."""
    out.flush()
    out.ask(f"{row} “{row.label()[:60]}” is {row.status}: {trigger} it, as {person.login}? [y/N] ")
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise GuardRefused(f"{trigger}: not confirmed, nothing was changed", ("it was not confirmed",))


def rescue(call: Call) -> Exit:
    """Fail the agents at work that have sent no heartbeat for too long; their work is offered again."""
    chosen = call.chosen
    given = {"timeout": chosen.timeout, "max_attempts": chosen.max_attempts, "idle_timeout": chosen.idle_timeout}
    _tell(call.out, call.open().rescue(**given))
    return Exit.OK


def tick(call: Call) -> Exit:
    """Fire what is due: checkpoints whose time has come, votes whose deadline has passed."""
    _tell(call.out, call.open().tick())
    return Exit.OK


def _tell(out: Terminal, moves: list[Move]) -> None:
    if out.as_json:
        out.json({"moves": [move._asdict() for move in moves]})
        return
    for move in moves:
        out.line(move.say())
    if not moves:
        out.note("nothing was due")


def _fire_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID", help="an id, or its end: 4 characters, or as many as no other id has")
    parser.add_argument("trigger", metavar="TRIGGER", help="one of those that `show ID` lists")
    parser.add_argument(
        "argument", metavar="NAME=VALUE", nargs="*", default=[], help="the trigger's arguments; a row by its id"
    )
    parser.add_argument("--as", dest="login", metavar="LOGIN", required=True, help="who acts: a person's login")
    parser.add_argument("--reason", metavar="TEXT", default="", help="why; some triggers demand it")
    parser.add_argument("--yes", action="store_true", help="do not ask before an override")


def _rescue_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--timeout", type=float, default=120.0, metavar="SECONDS", help="the longest silence (120)")
    parser.add_argument(
        "--max-attempts", type=int, default=3, metavar="N", help="after so many an issue is set aside (3)"
    )
    parser.add_argument(
        "--idle-timeout",
        type=float,
        metavar="SECONDS",
        help="also stop idle and errored agents that were silent for longer and have no live issue",
    )


COMMANDS = (Command("fire", fire, _fire_options), Command("rescue", rescue, _rescue_options), Command("tick", tick))
