"""Move a store to another database: from a SQLite file to PostgreSQL, or back.

    python examples/to_postgres.py dispatch.db postgresql://user@host/name

Stop the runners first: what they write in the meantime is not moved. The command `dispatch-state copy` does the same.
"""

import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from dispatch_state import DispatchError, StoreNotFound, open_store


def show_progress(done: int, total: int) -> None:
    """Show the progress on a terminal."""
    if sys.stderr.isatty():
        print(f"\r{done:,}{f' of {total:,}' if total else ''} rows", end="", file=sys.stderr)


def move(source: str, target: str) -> dict[str, int]:
    """Copy all rows and moves into an empty store; returns the number of rows by table."""
    with suppress(StoreNotFound):
        open_store(
            target, create=False, migrate=False
        ).close()  # refuses what would have to be adopted or migrated first
    with tempfile.TemporaryDirectory() as folder:
        between = Path(folder) / "snapshot.jsonl"
        with open_store(source, create=False) as store:
            store.export(between, progress=show_progress)
        with open_store(target) as store:  # created if it does not exist
            counts = store.import_snapshot(
                between, progress=show_progress
            )  # all or nothing, verified before it commits
            assert store.verify() == []
            return counts


def main() -> int:
    """Copy the first store that is named to the second place; returns the exit code."""
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
