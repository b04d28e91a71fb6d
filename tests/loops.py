"""The worker loop as docs/runners.md has it, for tests to run."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from dispatch_state import Issue, Store
from tests.pages import ROOT

Work = Callable[[Issue], Iterator[object]]
Loop = Callable[[Store, str, Work, float], None]
"""The store, the type of its agent, what does an issue, and the pause in seconds; it returns when nothing is left."""
_BLOCKS = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)


def worker_loop() -> Loop:
    """`run` of that page's worker loop, made of that block alone."""
    page = ROOT / "docs" / "runners.md"
    (block,) = (text for text in _BLOCKS.findall(page.read_text()) if "\ndef run(store" in text)
    namespace: dict[str, Any] = {}
    exec(compile(block, page.name, "exec"), namespace)
    loop: Loop = namespace["run"]
    return loop
