"""The generated pages and pictures: `python -m tests.pages` renews them all.

A page is a function that writes it as the code is now; a test asks that what is stored is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tests.pages import board_picture, command_line, lifecycle_picture, lifecycles, long_description, reference

PAGES: Mapping[str, Callable[[], str]] = {
    "docs/command_line.md": command_line.page,
    "docs/images/board.svg": board_picture.page,
    "docs/images/issue_lifecycle.svg": lifecycle_picture.page,
    "docs/lifecycles.md": lifecycles.page,
    "docs/long_description.md": long_description.page,
    "docs/reference.md": reference.page,
}
"""What is generated, by its path."""
