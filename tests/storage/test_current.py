"""The store that is open in this process."""

from __future__ import annotations

import threading
from pathlib import Path

from dispatch_state import open_store
from dispatch_state.storage.current import CURRENT
from tests.forks import in_child


def test_a_child_forked_while_a_thread_opens_a_store_can_open_its_own(tmp_path: Path) -> None:
    """The thread that holds the lock for opening stores is not in the child."""
    held, done = threading.Event(), threading.Event()

    def opening() -> None:
        with CURRENT.lock:
            held.set()
            done.wait()

    thread = threading.Thread(target=opening)
    thread.start()
    held.wait()
    try:
        assert in_child(lambda: open_store(tmp_path / "own.db").close()) == "nothing"
    finally:
        done.set()
        thread.join()
