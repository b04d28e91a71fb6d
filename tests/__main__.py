"""Run some of the tests, or all of them.

    python -m tests quick   SQLite only, without long forms and what takes long (`LEFT_OUT`); under 90 s on two cores
    python -m tests all     everything, on SQLite and on PostgreSQL; under 10 minutes on two cores
    python -m tests NAME    one module or folder, most of them in seconds: `cli`, `races`, or `claims` (test_claims.py)

What follows goes to pytest: `python -m tests cli -x -k board`. DISPATCH_LONG=1 runs the long forms too.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
LEFT_OUT = (
    "faults", "races", "properties",
    "models/test_voting.py", "testing/test_testing.py", "transfer/test_copies.py", "transfer/test_snapshots.py",
    "test_agent_runner.py", "test_docs.py", "test_packaging.py", "test_patterns.py", "test_readme.py", "test_typing.py",
)  # fmt: skip
"""What the quick tests are without: it starts many processes, takes its time, or needs a type checker."""
ON_ALL_CORES = ("-n", "auto")


def main(arguments: list[str]) -> int:
    """Run what was asked for; returns the exit status."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(__doc__)
        return 0
    choice, *options = arguments
    if choice == "all":
        return _pytest(*ON_ALL_CORES, *options)
    if choice == "quick":
        without = [f"--ignore={HERE / name}" for name in LEFT_OUT]
        return _pytest(*ON_ALL_CORES, *without, "-k", "not postgresql", *options, DISPATCH_TEST_WITHOUT_POSTGRESQL="1")
    if path := place_of(choice):
        return _pytest(str(path), *options)
    print(f"there are no tests called {choice}; there are: {', '.join(names())}", file=sys.stderr)
    return 2


def place_of(name: str) -> Path | None:
    """The file or folder of the tests of that name."""
    candidates = (HERE / name, *HERE.rglob(f"test_{name}.py"))
    return next((path for path in candidates if path.name in _found() and path.exists()), None)


def names() -> list[str]:
    """What `place_of` understands."""
    return sorted(name.removeprefix("test_").removesuffix(".py") for name in _found())


def _found() -> set[str]:
    files = list(HERE.rglob("test_*.py"))
    return {path.name for path in files} | {path.parent.name for path in files} - {HERE.name}


def _pytest(*arguments: str, **environment: str) -> int:
    command = [sys.executable, "-m", "pytest", *arguments]
    return subprocess.run(command, cwd=ROOT, env={**os.environ, **environment}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
