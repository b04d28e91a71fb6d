"""The tests' own layout: what a file of tests may import, and how long it may be."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.paths import ROOT

TESTS = ROOT / "tests"
FILES = sorted(TESTS.rglob("test_*.py"))
LONGEST_FILE = 600


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module or ''}.{alias.name}" for alias in node.names)


def test_nothing_is_imported_from_a_file_of_tests() -> None:
    """What several files use stands in a module of its own, and fixtures in a `conftest.py`, which nobody imports."""
    closed = {file.stem for file in FILES} | {"conftest"}
    for path in TESTS.rglob("*.py"):
        ours = [name for name in imported(path) if name.startswith(("tests.", "."))]
        wrong = [name for name in ours if closed & set(name.split("."))]
        assert not wrong, f"{path.relative_to(ROOT)} imports {wrong}"


def test_no_file_of_tests_is_too_long() -> None:
    lengths = {str(path.relative_to(ROOT)): path.read_text().count("\n") for path in FILES}
    assert {name: length for name, length in lengths.items() if length > LONGEST_FILE} == {}
