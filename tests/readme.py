"""The generated parts of README.md: `python -m tests.readme` renews them, and a test asks that they are current."""

from __future__ import annotations

import re
from pathlib import Path

from dispatch_state.diagrams import CASCADES
from tests.world import MODELS

README = Path(__file__).parent.parent / "README.md"
PART = re.compile(r"(?P<open><!-- generated: (?P<table>\w+) -->\n).*?(?P<close><!-- end -->)", re.DOTALL)


def lifecycle(table: str) -> str:
    """A lifecycle, or the cascades, as the README shows it: a diagram, and a table behind a fold."""
    if table == "cascades":
        return _folded(CASCADES.to_mermaid(), "Every move that others follow", CASCADES.to_markdown())
    machine = MODELS[table].machine
    return _folded(machine.to_mermaid(), f"Every trigger of {table.replace('_', ' ')}", machine.to_markdown())


def _folded(diagram: str, summary: str, table: str) -> str:
    return f"```mermaid\n{diagram}```\n\n<details><summary>{summary}</summary>\n\n{table}\n</details>\n"


def renewed(text: str) -> str:
    """The README with its generated parts as the code has them now."""
    return PART.sub(lambda found: found["open"] + lifecycle(found["table"]) + found["close"], text)


if __name__ == "__main__":
    README.write_text(renewed(README.read_text()))
