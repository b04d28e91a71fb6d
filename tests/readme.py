"""The generated parts of README.md: `python -m tests.readme` renews them, and a test asks that they are current."""

from __future__ import annotations

import re
from pathlib import Path

from tests.world import MODELS

README = Path(__file__).parent.parent / "README.md"
PART = re.compile(r"(?P<open><!-- generated: (?P<table>\w+) -->\n).*?(?P<close><!-- end -->)", re.DOTALL)


def lifecycle(table: str) -> str:
    """A lifecycle as the README shows it: a diagram, and a table behind a fold."""
    machine = MODELS[table].machine
    return (
        f"```mermaid\n{machine.to_mermaid()}```\n\n"
        f"<details><summary>Every trigger of {table.replace('_', ' ')}</summary>\n\n"
        f"{machine.to_markdown()}\n</details>\n"
    )


def renewed(text: str) -> str:
    """The README with its generated parts as the code has them now."""
    return PART.sub(lambda found: found["open"] + lifecycle(found["table"]) + found["close"], text)


if __name__ == "__main__":
    README.write_text(renewed(README.read_text()))
