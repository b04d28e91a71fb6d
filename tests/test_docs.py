"""The guides are true: their code runs, what they name is there, what is generated is current."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from dispatch_state import Store
from dispatch_state.cli.commands import COMMANDS
from dispatch_state.cli.parsing import parsed
from tests.pages import PAGES, ROOT

GUIDES = sorted((ROOT / "docs").glob("*.md"))
BLOCKS = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
SHELL = re.compile(r"^```(?:console|sh)\n(.*?)^```", re.DOTALL | re.MULTILINE)
ELSEWHERE = "postgresql://user@host/name"
"""Stands on the pages for a PostgreSQL database."""
OURS = re.compile(r"`(dispatch-state (?!COMMAND)[^`]+)`")
"""Commands of ours within a sentence."""
PROGRAMS = {"pip", "python", "sqlite3", "sqlite_web", "datasette", "psql", "createdb", "pg_dump"}
"""What the pages call besides our own command."""


@pytest.mark.parametrize("path", PAGES)
def test_what_is_generated_is_current(path: str) -> None:
    assert (ROOT / path).read_text() == PAGES[path](), "run: python -m tests.pages"


WITH_CODE = [page for page in GUIDES if BLOCKS.search(page.read_text()) and ELSEWHERE not in page.read_text()]


@pytest.mark.parametrize("page", WITH_CODE, ids=lambda page: page.name)
def test_the_code_of_a_guide_runs_in_one_go(page: Path, tmp_path: Path) -> None:
    runs(page.read_text(), tmp_path)


@pytest.mark.parametrize("backend", ["postgresql"])
def test_the_code_of_the_guide_to_postgresql_runs(target: str, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "postgresql.md").read_text()
    assert ELSEWHERE in page
    runs(page.replace(ELSEWHERE, target), tmp_path)


def runs(page: str, folder: Path) -> None:
    """Run every python block, one after the other in one namespace, as a reader would paste them."""
    script = folder / "guide.py"
    script.write_text("\n".join(BLOCKS.findall(page)))
    finished = subprocess.run(
        [sys.executable, "-W", "error", str(script)], capture_output=True, text=True, cwd=folder, check=False
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr


def test_the_queries_of_the_guides_are_understood(store: Store) -> None:
    """On either database."""
    blocks = [
        block for page in GUIDES for block in re.findall(r"^```sql\n(.*?)^```", page.read_text(), re.DOTALL | re.M)
    ]
    queries = [query for block in blocks for query in block.split(";") if query.strip()]
    assert queries
    for query in queries:
        store.database.execute_sql(query.replace("%", "%%")).fetchall()


def understood(words: list[str]) -> bool:
    """Whether the parser takes the words behind our program's name."""
    try:
        parsed(COMMANDS, words[1:])
    except SystemExit:
        return False
    return True


def test_what_is_no_command_is_not_understood() -> None:
    assert understood(shlex.split("dispatch-state log --last 20"))
    assert not understood(shlex.split("dispatch-state log --limit 20"))
    assert not understood(shlex.split("dispatch-state approve ID"))


@pytest.mark.parametrize("page", [ROOT / "README.md", *GUIDES], ids=lambda page: page.name)
def test_every_command_of_a_page_is_one(page: Path) -> None:
    """Ours are understood by the parser; others are those that we know and have tried."""
    told = page.read_text()
    for command in OURS.findall(told):
        assert understood(shlex.split(command)), command
    lines = [line for block in SHELL.findall(told) for line in block.splitlines() if line]
    for words in (shlex.split(part, comments=True) for line in lines for part in line.split(" && ")):
        program = Path(words[0]).name
        if program == "dispatch-state":
            assert understood(words), words
        else:
            assert program in PROGRAMS | {"python3"}, words


@pytest.mark.parametrize("page", [ROOT / "README.md", *GUIDES], ids=lambda page: page.name)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / link).exists(), link


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.name)
def test_every_file_that_a_page_names_is_there(page: Path) -> None:
    named = set(re.findall(r"`((?:tests|examples|docs|benchmarks|dispatch_state)/[\w/]+\.\w+)`", page.read_text()))
    assert not {name for name in named if not (ROOT / name).exists()}


def test_every_test_of_a_fault_is_named_by_the_guarantees() -> None:
    page = (ROOT / "docs" / "guarantees.md").read_text()
    for folder in ("faults", "races", "properties"):
        for path in (ROOT / "tests" / folder).glob("test_*.py"):
            assert f"tests/{folder}/{path.name}" in page
