"""A copy of the project in a folder of its own, in which something is changed and tests are run."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
COPIED = (
    ".ci",
    "dispatch_state",
    "migrations",
    "tests",
    "examples",
    "benchmarks",
    "docs",
    "setup.cfg",
    "pyproject.toml",
    "ruff.toml",
    "MANIFEST.in",
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "LICENSE",
    "SECURITY.md",
)


def copy_project(folder: str | Path) -> Path:
    """Copy what the tests need into an existing folder; returns the folder."""
    copy = Path(folder)
    ignored = shutil.ignore_patterns("__pycache__", ".mypy_cache")
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=ignored)
        else:
            shutil.copy(source, copy / name)
    (copy / "dispatch_state" / "migrations").symlink_to(
        "../migrations"
    )  # else those of an editable installation are found
    return copy


def run_python(words: str, folder: str | Path) -> subprocess.CompletedProcess[str]:
    """Run Python with some arguments in a copy, whose modules it imports."""
    return subprocess.run(
        [sys.executable, *shlex.split(words)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def run_tests(words: str, folder: str | Path) -> subprocess.CompletedProcess[str]:
    """Run some tests in a copy; the words are arguments of pytest."""
    return run_python(f"-m pytest -q --tb=short -o addopts= -p no:cacheprovider {words}", folder)
