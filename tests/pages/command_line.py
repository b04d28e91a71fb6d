"""docs/command_line.md, made of the parser."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from types import ModuleType

from dispatch_state.cli import board, diagram, fire, log, show, status, store, transfer
from dispatch_state.cli.commands import COMMANDS
from dispatch_state.cli.parsing import ABOUT, EXITS, PROGRAM, parser

EVERYWHERE = ("--database", "--json")
HEAD = f"""# The command line

{ABOUT} `{PROGRAM} COMMAND …`, or `python -m dispatch_state COMMAND …`.

- Output goes to standard output, remarks and errors to standard error. Control characters in the text of rows are
  written out, so that no title can control your terminal. Passwords in URLs are never shown.
- Colours are used on terminals only, and not when `NO_COLOR` is set. `board` shows its columns side by side when
  [rich](https://rich.readthedocs.io/) is installed (`pip install "dispatch-state[cli]"`).
- You name a row by its id, or by enough of its end to be unique: the end that other commands show is enough. Rows with
  a lifecycle come before log lines, comments, votes and decisions. To change a row, give at least 4 characters.
- `{PROGRAM} help` and `{PROGRAM}` alone list the commands; `{PROGRAM} help fire` explains `fire`.
- If you misspell a command, option, trigger, argument or table, the message names the one that you probably meant.
- `fire` acts as a person; no command acts as an agent. An override of the ordinary course (cancel, skip, force, veto)
  asks for a confirmation on a terminal, and needs `--yes` elsewhere. The store does not authenticate people: the
  accounts of your system decide who can run the program.
"""
STORE = """## Which store

`--database` names the store: a path, or a URL (`sqlite:///…`, `postgresql://…`). Without it, the environment variable
`DISPATCH_DATABASE` names it, or else the configuration file. If none of them does, the store is `dispatch.db` in your
data folder (on Linux `~/.local/share/dispatch/`), and *not* a `dispatch.db` in the current folder. The configuration
file is the one that `DISPATCH_CONFIG` names, or else `config.toml` in your configuration folder (on Linux
`~/.config/dispatch/`). On macOS both folders are `~/Library/Application Support/dispatch/`.

```toml
[database]
path = "~/work/dispatch.db"  # or: url = "postgresql://user@host/name"
```

A relative path, even in the configuration file, is relative to the current folder. In Python, `open_store()` without
an argument looks in the same places.
"""
EXAMPLES: dict[str, tuple[ModuleType, str]] = {
    "Making and keeping a store": (
        store,
        f"""{PROGRAM} --database dispatch.db init
{PROGRAM} --database dispatch.db verify && {PROGRAM} --database dispatch.db backup monday.db
""",
    ),
    "Moving a store": (
        transfer,
        f"""{PROGRAM} copy dispatch.db postgresql://user@host/name
{PROGRAM} export - | gzip > monday.jsonl.gz
{PROGRAM} --database new.db init && gunzip -c monday.jsonl.gz | {PROGRAM} --database new.db import -
""",
    ),
    "How the store stands": (status, f"{PROGRAM} status\n{PROGRAM} status --json | jq '.needs_human[].why'\n"),
    "One row": (show, f"{PROGRAM} show 9f3a1c52 --prompt\n{PROGRAM} explain 9f3a1c52\n"),
    "What happened": (
        log,
        f"""{PROGRAM} log --last 20 --follow
{PROGRAM} decisions --json | jq -r '.decided_by'
""",
    ),
    "The board": (
        board,
        f"""{PROGRAM} board --watch
{PROGRAM} board --epic 9f3a1c52 --html board.html
""",
    ),
    "Diagrams": (
        diagram,
        f"""{PROGRAM} diagram issues --format svg --output issues.svg
{PROGRAM} diagram 9f3a1c52
""",
    ),
    "Acting": (
        fire,
        f"""{PROGRAM} fire 9f3a1c52 approve --as maintainer choice=stripe comment="Cheaper for us"
{PROGRAM} fire 9f3a1c52 cancel --as maintainer --reason "Nobody needs it" --yes
{PROGRAM} rescue --timeout 300 && {PROGRAM} tick
""",
    ),
}
"""The groups of commands, each with what one writes."""

SHAPES: dict[str, tuple[str, ...]] = {
    "init": ("store", "made"),
    "migrate": ("store", "migrated"),
    "verify": ("sound", "violations"),
    "backup": ("backup",),
    "export": ("exported",),
    "import": ("imported",),
    "copy": ("copied",),
    "status": ("counts", "needs_human", "epics", "agents"),
    "show": ("table", "…", "legal_triggers", "not_now", "history"),
    "explain": ("table", "…", "because", "waits_for"),
    "log": ("seq", "…"),
    "decisions": ("table", "…"),
    "board": ("at", "columns"),
    "board --html FILE": ("file",),
    "diagram": ("what", "format", "text"),
    "diagram --output FILE": ("what", "format", "file"),
    "fire, rescue, tick": ("moves",),
    "any that fails": ("error", "message", "reasons"),
}
"""The keys of the JSON that a command writes; `…` are the columns of the row."""
PARTS: dict[str, tuple[str, ...]] = {
    "violations": ("invariant", "entity", "id", "message"),
    "needs_human": (
        "kind",
        "table",
        "id",
        "status",
        "label",
        "since",
        "why",
        "epic",
        "stage",
        "approvers",
        "trigger",
    ),
    "epics": ("id", "title", "status", "stages"),
    "agents": ("id", "agent_type", "status", "current_issue_id", "last_heartbeat"),
    "columns": ("status", "count", "issues"),
    "moves": ("entity", "id", "trigger", "source", "dest", "seq"),
}
"""The keys of an item of the lists in it."""
JSON = """## JSON

`--json` writes one document on one line; `log` and `decisions` write one for each row (JSON Lines). In the tables, `…`
alone stands for the columns of the row, by their names in the database; a prompt is left out unless you ask for it. Ids
and times are text, in the form in which they are stored.

`exported`, `imported` and `copied` count rows by table, and `counts` by table and status. `history` and `because` are
lists of rows of `transition_log`. `not_now` has the reasons, by trigger, why it would be refused now; `waits_for` has
what the row waits for. A gate also has its `comments`. `error` is the name of the error in Python.

A command that fails writes its document to standard error, in place of the message.
"""


def page() -> str:
    """The whole page as the parser has it now."""
    whole = parser(COMMANDS)
    exits = "".join(f"| {int(code)} | {meaning} |\n" for code, meaning in EXITS.items())
    common = "".join(_options(whole, EVERYWHERE))
    words = next(action for action in whole._actions if isinstance(action, argparse._SubParsersAction)).choices
    groups = "\n".join(_group(title, module, example, words) for title, (module, example) in EXAMPLES.items())
    return (
        f"{HEAD}\n## Exit codes\n\n| code | meaning |\n|---|---|\n{exits}\n"
        f"## Options of all commands\n\n| option | meaning |\n|---|---|\n{common}\n"
        f"{STORE}\n{groups}\n{JSON}\n{_shapes('command', SHAPES)}\n{_shapes('an item of', PARTS)}"
    )


def _group(title: str, module: ModuleType, example: str, words: dict[str, argparse.ArgumentParser]) -> str:
    commands = "\n".join(_command(command.name, words[command.name]) for command in module.COMMANDS)
    return f"## {title}\n\n{module.__doc__}\n\n```console\n{example}```\n\n{commands}"


def _shapes(head: str, shapes: dict[str, tuple[str, ...]]) -> str:
    lines = (f"| `{name}` | `{{{', '.join(_key(key) for key in keys)}}}` |\n" for name, keys in shapes.items())
    return f"| {head} | is |\n|---|---|\n{''.join(lines)}"


def _key(key: str) -> str:
    return key if key == "…" else f'"{key}": …'


def _command(name: str, word: argparse.ArgumentParser) -> str:
    actions = [action for action in word._actions if not _hidden(action)]
    usage = " ".join([f"{PROGRAM} {name}", *_together(word, actions)])
    lines = list(_options(word, tuple(_name(action) for action in actions)))
    table = f"\n| argument | meaning |\n|---|---|\n{''.join(lines)}" if lines else ""
    return f"### {name}\n\n{word.description}\n\n```\n{usage}\n```\n{table}"


def _together(word: argparse.ArgumentParser, actions: list[argparse.Action]) -> Iterator[str]:
    """Each argument as it is used; those that exclude each other in one bracket."""
    excluding = {id(action): group for group in word._mutually_exclusive_groups for action in group._group_actions}
    for action in actions:
        group = excluding.get(id(action))
        if group is None:
            yield _used(action)
        elif action is group._group_actions[0]:
            yield f"[{' | '.join(_used(other).strip('[]') for other in group._group_actions)}]"


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
