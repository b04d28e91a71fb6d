"""docs/long_description.md: README.md for a package index, which shows neither files of the repository nor Mermaid."""

from __future__ import annotations

import re
from pathlib import Path

README = Path(__file__).parent.parent.parent / "README.md"
NOTE = "The files that this page names are in the source distribution.\n"
PARAGRAPH = re.compile(r"(?:\[[^\]]+\]\([^)]+\)(?: ·\s)?)+|!\[[^\]]*\]\([^)]+\)")
"""A paragraph that holds nothing but links, or a picture."""
RELATIVE = re.compile(r"\[([^\]]+)\]\((?!\w+://|#)([^)]+)\)")


def _path(link: re.Match[str]) -> str:
    return f"{link[1]} (`{link[2].partition('#')[0]}`)"


def page() -> str:
    """README.md with the paths of its own files in place of links to them, and without pictures and rows of links."""
    parts = README.read_text().rstrip("\n").split("\n\n")
    kept = [RELATIVE.sub(_path, part) for part in parts if not PARAGRAPH.fullmatch(part)]
    return "\n\n".join([*kept, NOTE])
