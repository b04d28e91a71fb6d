"""Creating, migrating, checking and backing up a store."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from dispatch_state.cli.parsing import Call, Command, Exit
from dispatch_state.errors import SchemaTooOld, StoreNotFound


def init(call: Call) -> Exit:
    """Create an empty store; an existing store is left as it is."""
    made = False
    try:
        call.open()
    except StoreNotFound:
        call.open(create=True, migrate=True)
        made = True
    _report(call, "made", made, "is there already")
    return Exit.OK


def migrate(call: Call) -> Exit:
    """Bring the schema of a store up to date, and restore database triggers that are missing."""
    old = False
    try:
        call.open()
        call.close()
    except SchemaTooOld:
        old = True
    with call.out.progress("migrating"):
        call.open(migrate=True)
    _report(call, "migrated", old, "is up to date")
    return Exit.OK


def _report(call: Call, done: str, changed: bool, otherwise: str) -> None:
    if call.out.as_json:
        call.out.json({"store": call.name, done: changed})
    else:
        call.out.line(f"{done} {call.name}" if changed else f"{call.name} {otherwise}")


def verify(call: Call) -> Exit:
    """Check whether the store is sound, and list each violation on a line."""
    store, out = call.open(), call.out
    with out.progress("verifying", "checks") as done:
        found = store.verify(progress=done)
    if out.as_json:
        out.json({"sound": not found, "violations": [asdict(violation) for violation in found]})
    else:
        for violation in found:
            out.line(str(violation))
        out.note(f"{len(found)} violations" if found else "sound")
    return Exit.REFUSED if found else Exit.OK


def backup(call: Call) -> Exit:
    """Copy the store to a new file, while others can continue to write."""
    store, out = call.open(), call.out
    with out.progress("copying"):
        made = str(store.backup(call.chosen.path))
    if out.as_json:
        out.json({"backup": made})
    else:
        out.line(made)
    return Exit.OK


def _backup_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="FILE", help="the file to write, which must not exist yet")


COMMANDS = (
    Command("init", init),
    Command("migrate", migrate),
    Command("verify", verify),
    Command("backup", backup, _backup_options),
)
