"""docs/command_line.md, made of the parser."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from dispatch_state.cli.commands import COMMANDS
from dispatch_state.cli.parsing import ABOUT, EXITS, PROGRAM, parser

EVERYWHERE = ("--database", "--json")
HEAD = f"""# The command line

{ABOUT} `{PROGRAM} COMMAND …`, or `python -m dispatch_state COMMAND …`.

- What people read goes to standard output, what is said beside it to standard error. Control characters in what comes
  from rows are written out, so that no title can play tricks on a terminal.
- `--json` writes one JSON document on a line; `log` and `decisions` write one for each row (JSON Lines).
- Colours stay away from pipes and files, and where `NO_COLOR` is set. `board` stands side by side where
  [rich](https://rich.readthedocs.io/) is installed (`pip install "dispatch-state[cli]"`).
- A row is named by its id, or by as much of its end as no other id has: what other commands show does.
- `fire` is a person's act; nothing here acts as an agent. Who may run it is for the system's own accounts to say: the
  store does not authenticate people.
"""


def page() -> str:
    """The whole page as the parser has it now."""
    whole = parser(COMMANDS)
    exits = "".join(f"| {int(code)} | {meaning} |\n" for code, meaning in EXITS.items())
    common = "".join(_options(whole, EVERYWHERE))
    words = next(action for action in whole._actions if isinstance(action, argparse._SubParsersAction)).choices
    commands = "\n".join(_command(name, word) for name, word in words.items())
    return (
        f"{HEAD}\n## Exit codes\n\n| code | meaning |\n|---|---|\n{exits}\n"
        f"## Before any command, or behind it\n\n| option | meaning |\n|---|---|\n{common}\n## Commands\n\n{commands}"
    )


def _command(name: str, word: argparse.ArgumentParser) -> str:
    actions = [action for action in word._actions if not _hidden(action)]
    usage = " ".join([f"{PROGRAM} {name}", *map(_used, actions)])
    lines = list(_options(word, tuple(_name(action) for action in actions)))
    table = f"\n| argument | meaning |\n|---|---|\n{''.join(lines)}" if lines else ""
    return f"### {name}\n\n{word.description}\n\n```\n{usage}\n```\n{table}"


def _options(word: argparse.ArgumentParser, wanted: tuple[str, ...]) -> Iterator[str]:
    for action in word._actions:
        if _name(action) in wanted:
            shown = _name(action) + (f" {_value(action)}" if action.option_strings and _value(action) else "")
            yield f"| `{shown.replace('|', chr(92) + '|')}` | {action.help} |\n"


def _hidden(action: argparse.Action) -> bool:
    return action.dest == "help" or _name(action) in EVERYWHERE


def _name(action: argparse.Action) -> str:
    return action.option_strings[-1] if action.option_strings else str(action.metavar)


def _value(action: argparse.Action) -> str:
    if action.nargs == 0:
        return ""
    return "|".join(action.choices) if action.choices else str(action.metavar)


def _used(action: argparse.Action) -> str:
    if not action.option_strings:
        return f"[{action.metavar} …]" if action.nargs == "*" else str(action.metavar)
    shown = f"{_name(action)} {_value(action)}".strip()
    return shown if action.required else f"[{shown}]"
