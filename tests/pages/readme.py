"""The generated parts of README.md."""

from __future__ import annotations

import re

from tests.pages.lifecycles import machine
from tests.world import MODELS

PART = re.compile(r"(?P<open><!-- generated: (?P<table>\w+) -->\n).*?(?P<close><!-- end -->)", re.DOTALL)


def renewed(text: str) -> str:
    """The README with its generated parts as the code has them now."""
    return PART.sub(lambda found: found["open"] + machine(MODELS[found["table"]]) + found["close"], text)
