"""A store as a file, and back; and from one database to another, which is both."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from dispatch_state.cli.parsing import Call, Command, Exit
from dispatch_state.errors import StoreError
from dispatch_state.store import open_store


def export(call: Call) -> Exit:
    """Write the whole store to a new file, as lines of JSON, while others go on writing."""
    store = call.open()
    with call.out.progress("exporting") as done:
        counts = store.export(call.chosen.path, progress=done)
    return _tell(call, "exported", counts)


def import_(call: Call) -> Exit:
    """Fill an empty store with what export wrote, of either database; all of it, or nothing.

    `init` makes an empty store.
    """
    store = call.open()
    with call.out.progress("importing") as done:
        counts = store.import_snapshot(call.chosen.path, progress=done)
    return _tell(call, "imported", counts)


def copy(call: Call) -> Exit:
    """Copy a whole store into another, empty one, made where there is none: from SQLite to PostgreSQL, or back.

    What others write to the first one meanwhile is not copied: stop the runners before you move.
    """
    with open_store(call.chosen.target) as target:
        if any(sum(found.values()) for found in target.counts().values()):
            raise StoreError(f"{call.chosen.target}: the store is not empty; name an empty one")
    with tempfile.TemporaryDirectory(prefix="dispatch-copy-") as folder:
        between = Path(folder) / "snapshot.jsonl"
        with (
            open_store(call.chosen.source, create=False, migrate=False) as source,
            call.out.progress("reading") as done,
        ):
            source.export(between, progress=done)
        with open_store(call.chosen.target) as target, call.out.progress("writing") as done:
            counts = target.import_snapshot(between, progress=done)
    return _tell(call, "copied", counts)


def _tell(call: Call, done: str, counts: dict[str, int]) -> Exit:
    if call.out.as_json:
        call.out.json({done: counts})
    else:
        call.out.line(f"{done} {sum(counts.values()):,} rows of {sum(map(bool, counts.values()))} tables")
    return Exit.OK


def _path(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="FILE", help="the file")


def _both(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="SOURCE", help="the store that is copied: a path or a URL")
    parser.add_argument("target", metavar="TARGET", help="the store that is filled: a path or a URL")


COMMANDS = (Command("export", export, _path), Command("import", import_, _path), Command("copy", copy, _both))
