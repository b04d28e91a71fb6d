"""The worker loop as the README has it, for tests to run."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import dispatch_state
from dispatch_state import Issue, Store
from tests.paths import ROOT

Work = Callable[[Issue], Iterator[object]]
Loop = Callable[[Store, str, Work, float], None]
"""The store, the type of its agent, what does an issue, and the pause in seconds; it returns when nothing is left."""
PAUSE = 0.01
HANG = 60.0
"""Seconds after which a loop that does not end is given up; nothing is judged by it."""
_BLOCKS = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)


def readme_loop() -> Loop:
    """`run` of the README's worker loop, made of that block alone and the library's own names."""
    (block,) = (text for text in _BLOCKS.findall((ROOT / "README.md").read_text()) if "\ndef run(store" in text)
    namespace: dict[str, Any] = {name: getattr(dispatch_state, name) for name in dispatch_state.__all__}
    exec(compile(block, "README.md", "exec"), namespace)
    loop: Loop = namespace["run"]
    return loop


@contextmanager
def looping(store: Store, work: Work) -> Iterator[None]:
    """The loop in a thread of its own while the block runs; afterwards it must end by itself, without an error."""
    ended: list[BaseException | None] = []

    def run() -> None:
        try:
            readme_loop()(store, "coder", work, PAUSE)
            ended.append(None)
        except BaseException as error:
            ended.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    yield
    thread.join(HANG)
    assert ended == [None]
