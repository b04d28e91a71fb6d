"""The worker loop as docs/runners.md has it, for tests to run."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from dispatch_state import Issue, Store
from tests.paths import ROOT

Work = Callable[[Issue], Iterator[object]]
Loop = Callable[[Store, str, Work, float], None]
"""The store, the type of its agent, what does an issue, and the pause in seconds; it returns when nothing is left."""
PAUSE = 0.01
HANG = 60.0
"""Seconds after which a loop that does not end is given up; nothing is judged by it."""
_BLOCKS = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)


def worker_loop() -> Loop:
    """`run` of that page's worker loop, made of that block alone."""
    page = ROOT / "docs" / "runners.md"
    (block,) = (text for text in _BLOCKS.findall(page.read_text()) if "\ndef run(store" in text)
    namespace: dict[str, Any] = {}
    exec(compile(block, page.name, "exec"), namespace)
    loop: Loop = namespace["run"]
    return loop


@contextmanager
def looping(store: Store, work: Work) -> Iterator[None]:
    """The loop in a thread of its own while the block runs; afterwards it must end by itself, without an error."""
    ended: list[BaseException | None] = []

    def run() -> None:
        try:
            worker_loop()(store, "coder", work, PAUSE)
            ended.append(None)
        except BaseException as error:
            ended.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    yield
    thread.join(HANG)
    assert ended == [None]
