"""What the guides name is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.pages import PAGES, ROOT


@pytest.mark.parametrize("path", PAGES)
def test_what_is_generated_is_current(path: str) -> None:
    assert (ROOT / path).read_text() == PAGES[path](), "run: python -m tests.pages"


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_every_file_that_a_page_names_is_there(page: Path) -> None:
    named = set(re.findall(r"`((?:tests|examples|docs|benchmarks|dispatch_state)/[\w/]+\.\w+)`", page.read_text()))
    assert not {name for name in named if not (ROOT / name).exists()}


def test_every_test_of_a_fault_is_named_by_the_guarantees() -> None:
    page = (ROOT / "docs" / "guarantees.md").read_text()
    for folder in ("faults", "races", "properties"):
        for path in (ROOT / "tests" / folder).glob("test_*.py"):
            assert f"tests/{folder}/{path.name}" in page
