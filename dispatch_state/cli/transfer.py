"""Exporting a store to a file, importing one, and copying a store to another database."""

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
"""Stands for standard output or standard input in place of a file."""


def export(call: Call) -> Exit:
    """Write the whole store to a new file as lines of JSON, while others can continue to write."""
    store, file = call.open(), call.chosen.path
    with call.out.progress("exporting") as done:
        try:
            counts = store.export(call.out.bytes() if file == PIPE else file, progress=done)
        except StoreError as error:
            if file == PIPE and isinstance(error.__cause__, OSError):
                raise error.__cause__ from None  # reported as any failure of standard output is
            raise
    return Exit.OK if file == PIPE else _report(call, "exported", counts)


def import_(call: Call) -> Exit:
    """Fill an empty store from a file that `export` wrote, completely or not at all.

    The file may come from SQLite or PostgreSQL. `init` creates an empty store.
    """
    store, file = call.open(), call.chosen.path
    with call.out.progress("importing") as done:
        counts = store.import_snapshot(_input() if file == PIPE else file, progress=done)
    return _report(call, "imported", counts)


def _input() -> Any:
    if sys.stdin is None:
        raise InvalidValue("import: standard input is closed; name a file")
    return sys.stdin.buffer


def copy(call: Call) -> Exit:
    """Copy a whole store into an empty one, for example from SQLite to PostgreSQL, or back.

    TARGET is created if it does not exist, and may hold tables of other programs. A target that would have to be
    adopted or migrated first is refused and left as it is.

    Stop the runners before you copy: what they write to SOURCE in the meantime is not copied.
    """
    chosen = call.chosen
    if chosen.database is not None:
        raise InvalidValue("copy: takes SOURCE and TARGET, and no --database")
    open_store(chosen.source, create=False, migrate=False).close()
    target = resolve(chosen.target)
    _require_empty(chosen.target, target)
    with tempfile.TemporaryDirectory(prefix="dispatch-copy-") as folder:
        between = Path(folder) / "snapshot.jsonl"
        with open_store(chosen.source, create=False, migrate=False) as source, call.out.progress("reading") as done:
            source.export(between, progress=done)
        with _created_whole(target), open_store(chosen.target) as filled, call.out.progress("writing") as done:
            counts = filled.import_snapshot(between, progress=done)
    return _report(call, "copied", counts)


def _require_empty(named: str, target: Target) -> None:
    """Raise `StoreError` unless the target is an empty store of this version, or does not exist.

    This only reads: a database of another program is neither adopted nor migrated.
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
def _created_whole(target: Target) -> Iterator[None]:
    """A block that creates the target; a file that it created is deleted again if it fails."""
    made = target.kind == SQLITE and not Path(target.location).exists()
    try:
        yield
    except BaseException:
        for suffix in ("", "-wal", "-shm", "-turn") if made else ():
            Path(f"{target.location}{suffix}").unlink(missing_ok=True)
        raise


def _report(call: Call, done: str, counts: dict[str, int]) -> Exit:
    if call.out.as_json:
        call.out.json({done: counts})
    else:
        call.out.line(f"{done} {sum(counts.values()):,} rows of {sum(map(bool, counts.values()))} tables")
    return Exit.OK


def _new_file(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "path", metavar="FILE", help="the file to write, which must not exist yet; - for standard output"
    )


def _file(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="FILE", help="a file that export wrote; - for standard input")


def _both(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="SOURCE", help="the store to copy: a path or a URL")
    parser.add_argument("target", metavar="TARGET", help="the store to fill: a path or a URL")


COMMANDS = (Command("export", export, _new_file), Command("import", import_, _file), Command("copy", copy, _both))
