"""Apply deliveries of GitHub's webhooks from a folder of files to a store.

    python examples/from_github.py                          the deliveries beside this file, to a store in memory
    python examples/from_github.py FOLDER dispatch.db       your deliveries; to run it again changes nothing

A file holds {"event": …, "payload": …}, as your server could store them: the event from the header `X-GitHub-Event`,
and the payload as it came, after `github.signed` has checked it.
"""

import argparse
import sys
from pathlib import Path

from dispatch_state import DispatchError, SyncState, github, json_values, open_store

HERE = Path(__file__).parent / "deliveries"


def summary(applied: github.Applied) -> str:
    """What a delivery did, in one line."""
    parts = ["made" if applied.made else "changed" if applied.changed else ""]
    parts += [f"{move.entity}.{move.trigger} -> {move.dest}" for move in applied.moves]
    parts += [f"refused: {applied.refused}"] if applied.refused else []
    return f"{applied.row or '-'}: {', '.join(filter(None, parts)) or 'nothing new'}"


def main(folder: Path = HERE, target: str = ":memory:") -> int:
    """Apply all files of the folder in the order of their names; returns the exit code."""
    failed = 0
    with open_store(target) as store:
        for file in sorted(folder.glob("*.json")):
            try:
                delivery = json_values.parse_payload(file.read_bytes(), file.name, longest=github.LONGEST)
                print(f"{file.stem:26} {summary(github.apply_event(delivery['event'], delivery['payload']))}")
            except (DispatchError, KeyError, TypeError) as error:
                print(f"{file.stem:26} skipped: {error}", file=sys.stderr)
                failed += 1
        state = SyncState.get_or_none(SyncState.id == github.SOURCE)
        print(f"{store.counts()['issues']}")
        print(f"{len(state.sync_errors or []) if state else 0} refused, kept in sync_state")
    return 1 if failed else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Apply deliveries of GitHub's webhooks to a store.")
    parser.add_argument("folder", nargs="?", type=Path, default=HERE, help="the folder with the files")
    parser.add_argument("target", nargs="?", default=":memory:", help="the store (default: in memory)")
    sys.exit(main(**vars(parser.parse_args())))
