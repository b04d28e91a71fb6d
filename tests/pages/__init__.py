"""The generated pages, and the generated parts of README.md: `python -m tests.pages` renews them all.

A page is a function that writes it as the code is now; a test asks that what is stored is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tests.pages import command_line, lifecycles, readme, reference
from tests.paths import ROOT

PAGES: Mapping[str, Callable[[], str]] = {
    "README.md": lambda: readme.renewed((ROOT / "README.md").read_text()),
    "docs/command_line.md": command_line.page,
    "docs/lifecycles.md": lifecycles.page,
    "docs/reference.md": reference.page,
}
"""What is generated, by its path."""
