"""A store as a file, and back; and from one database to another, which is both."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dispatch_state.cli.parsing import Call, Command, Exit
from dispatch_state.errors import InvalidValue, SchemaTooOld, StoreError, StoreNotFound
from dispatch_state.storage.targets import SQLITE, Target, resolve
from dispatch_state.store import open_store

PIPE = "-"
"""In place of a file: standard output, or standard input."""


def export(call: Call) -> Exit:
    """Write the whole store to a new file, as lines of JSON, while others go on writing."""
    store, file = call.open(), call.chosen.path
    with call.out.progress("exporting") as done:
        try:
            counts = store.export(call.out.bytes() if file == PIPE else file, progress=done)
        except StoreError as error:
            if file == PIPE and isinstance(error.__cause__, OSError):
                raise error.__cause__ from None  # as whatever cannot be written to standard output
            raise
    return Exit.OK if file == PIPE else _tell(call, "exported", counts)


def import_(call: Call) -> Exit:
    """Fill an empty store with what export wrote, of either database; all of it, or nothing.

    `init` makes an empty store.
    """
    store, file = call.open(), call.chosen.path
    with call.out.progress("importing") as done:
        counts = store.import_snapshot(_input() if file == PIPE else file, progress=done)
    return _tell(call, "imported", counts)


def _input() -> Any:
    if sys.stdin is None:
        raise InvalidValue("import: standard input is closed; name a file")
    return sys.stdin.buffer


def copy(call: Call) -> Exit:
    """Copy a whole store into another, empty one, made where there is none: from SQLite to PostgreSQL, or back.

    TARGET may hold tables of other programs. One that must be adopted or migrated first is refused, and left as it is.

    Stop the runners before you move: what they write to the first one meanwhile is not copied.
    """
    chosen = call.chosen
    if chosen.database is not None:
        raise InvalidValue("copy: takes SOURCE and TARGET, and no --database")
    open_store(chosen.source, create=False, migrate=False).close()
    target = resolve(chosen.target)
    _refuse_a_full_one(chosen.target, target)
    with tempfile.TemporaryDirectory(prefix="dispatch-copy-") as folder:
        between = Path(folder) / "snapshot.jsonl"
        with open_store(chosen.source, create=False, migrate=False) as source, call.out.progress("reading") as done:
            source.export(between, progress=done)
        with _whole_or_not_there(target), open_store(chosen.target) as filled, call.out.progress("writing") as done:
            counts = filled.import_snapshot(between, progress=done)
    return _tell(call, "copied", counts)


def _refuse_a_full_one(named: str, target: Target) -> None:
    """Raise `StoreError` when what is there is no empty store of this version; nothing is read from the source yet.

    It is only looked at: a database that another program made is neither adopted nor migrated.
    """
    try:
        with open_store(named, create=False, migrate=False) as store:
            if any(sum(found.values()) for found in store.counts().values()):
                raise StoreError(f"{target}: the store is not empty; name an empty one")
    except SchemaTooOld as error:
        raise StoreError(f"{target}: {str(error).partition(';')[0]}; name an empty one, or migrate it first") from None
    except StoreNotFound:
        pass


@contextmanager
def _whole_or_not_there(target: Target) -> Iterator[None]:
    """A block that makes a file which was not there: when it fails, none is there afterwards."""
    made = target.kind == SQLITE and not Path(target.location).exists()
    try:
        yield
    except BaseException:
        for suffix in ("", "-wal", "-shm", "-turn") if made else ():
            Path(f"{target.location}{suffix}").unlink(missing_ok=True)
        raise


def _tell(call: Call, done: str, counts: dict[str, int]) -> Exit:
    if call.out.as_json:
        call.out.json({done: counts})
    else:
        call.out.line(f"{done} {sum(counts.values()):,} rows of {sum(map(bool, counts.values()))} tables")
    return Exit.OK


def _new_file(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="FILE", help="a file that does not exist yet; - is standard output")


def _file(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="FILE", help="what export wrote; - is standard input")


def _both(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="SOURCE", help="the store that is copied: a path or a URL")
    parser.add_argument("target", metavar="TARGET", help="the store that is filled: a path or a URL")


COMMANDS = (Command("export", export, _new_file), Command("import", import_, _file), Command("copy", copy, _both))
