"""Move a store to another database: from a SQLite file to PostgreSQL, or back.

    python examples/to_postgres.py dispatch.db postgresql://user@host/name

Stop the runners first: what they write meanwhile is not moved. The command `dispatch-state copy` does the same.
"""

import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from dispatch_state import DispatchError, StoreNotFound, open_store


def told(done: int, total: int) -> None:
    """Say how far it is, on a terminal."""
    if sys.stderr.isatty():
        print(f"\r{done:,}{f' of {total:,}' if total else ''} rows", end="", file=sys.stderr)


def move(source: str, target: str) -> dict[str, int]:
    """Copy every row and every move into an empty store; returns how many rows of each table."""
    with suppress(StoreNotFound):
        open_store(target, create=False, migrate=False).close()  # what would have to be adopted first is left as it is
    with tempfile.TemporaryDirectory() as folder:
        between = Path(folder) / "snapshot.jsonl"
        with open_store(source, create=False) as store:
            store.export(between, progress=told)
        with open_store(target) as store:  # made, when there is none
            counts = store.import_snapshot(between, progress=told)  # all or nothing, verified before it commits
            assert store.verify() == []
            return counts


def main() -> int:
    """Move the store that is named first to the place that is named second; returns the process's exit code."""
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        counts = move(*sys.argv[1:])
    except DispatchError as error:
        print(f"nothing was moved: {error}", file=sys.stderr)
        return 1
    for table, count in counts.items():
        print(f"{count:8,} {table}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
