"""The README: its code runs, and its examples print what it says."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.paths import ROOT

README = ROOT / "README.md"
BLOCKS = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)


def run(*arguments: str, cwd: Path = ROOT, **environment: str) -> str:
    finished = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


def test_the_code_runs_as_it_stands(tmp_path: Path) -> None:
    (block,) = BLOCKS.findall(README.read_text())
    script = tmp_path / "readme.py"
    script.write_text(block)
    printed = run("-W", "error", str(script), cwd=tmp_path)
    assert "is completed" in printed
    assert "by human:ada: Opaque tokens can be revoked" in printed


def test_the_readme_is_read_by_people_who_choose() -> None:
    """It is short; the links to the pages come first, and the code stands on the first screen."""
    lines = README.read_text().splitlines()
    assert len(lines) <= 260
    assert lines[2].startswith("[Tour](docs/tour.md)")
    begin = lines.index("```python")
    end = lines.index("```", begin)
    assert end - begin <= 18
    assert end <= 40


def test_every_page_is_listed() -> None:
    listed = set(re.findall(r"\]\((docs/.*?)\)", README.read_text().partition("## Documentation")[2]))
    pages = {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")}
    assert pages - listed == {"docs/long_description.md"}


def test_the_commands_are_there() -> None:
    commands = re.findall(r"^```console\n(.*?)^```", README.read_text(), re.DOTALL | re.MULTILINE)
    extras, main_job, tests, ours = commands
    assert all(line.startswith("pip install ") for line in extras.splitlines())
    assert "examples/gated_epic.py" in main_job
    assert "pytest" in tests
    assert all(line.startswith("dispatch-state ") for line in ours.splitlines())


def test_the_quickstart(tmp_path: Path) -> None:
    printed = run("examples/quickstart.py", str(tmp_path / "dispatch.db"))
    assert "is completed" in printed
    assert "awaiting_gate" in printed


def test_the_quickstart_is_short() -> None:
    assert len((ROOT / "examples" / "quickstart.py").read_text().splitlines()) < 40


def test_a_proposal_is_voted_on(target: str) -> None:
    printed = run("examples/proposal_vote.py", target)
    for line in ("So far pending: 3 for, 0 against, 1 asking for more", "proposal_approved, by sangha",
                 "chosen: sqlite",
                 "human_veto, by human:maintainer", "architect changed its vote", "is vetoed"):  # fmt: skip
        assert line in printed


def test_the_main_job(target: str, backend: str, tmp_path: Path) -> None:
    """A plan of four stages and eighteen issues, three worker processes, gates approved unattended."""
    place = ["--database", target] if backend == "postgresql" else []
    printed = run("examples/gated_epic.py", "--approve-as", "maintainer", *place, TMPDIR=str(tmp_path))
    look = re.search(r"^Look at the store: (.*)$", printed, re.MULTILINE)
    if backend == "sqlite":
        assert look is not None
        assert "epics          1 completed" in run(*shlex.split(look[1])[1:])
    assert "Who may decide: maintainer or architect-on-duty\n" in printed
    assert "Who may decide: any person\n" in printed
    assert "Log in with passkeys: completed" in printed
    assert printed.count("human:maintainer: gate approved") == 4
    assert re.search(r"\d+ moves of 30 rows", printed)


@pytest.mark.parametrize("login", ["nobody-special"])
def test_the_main_job_says_who_may_approve(login: str, tmp_path: Path) -> None:
    finished = subprocess.run(
        [sys.executable, "examples/gated_epic.py", "--approve-as", login, "--database", str(tmp_path / "x.db")],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)},
        check=False,
    )
    assert finished.returncode == 1
    assert "maintainer" in finished.stdout + finished.stderr
    assert "Traceback" not in finished.stderr
