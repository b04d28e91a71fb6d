"""What is shipped: a wheel and an sdist that hold what they should, and a wheel that works by itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import dispatch_state

ROOT = Path(__file__).parent.parent
LEFT_OUT = (".git", "*.egg-info", "__pycache__", ".venv*", ".hypothesis", "build", "dist")


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a fresh wheel and sdist, built from a copy of the tree."""
    source = tmp_path_factory.mktemp("source") / "tree"
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(*LEFT_OUT))
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(source)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout[-2000:] + finished.stderr[-2000:]
    return out


def run(code: str, folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, check=False)


def test_the_wheel_holds_the_package_and_its_migrations(dist: Path) -> None:
    names = zipfile.ZipFile(next(dist.glob("*.whl"))).namelist()
    assert "dispatch_state/migrations/001_initial_schema.py" in names
    assert {"dispatch_state/py.typed", "dispatch_state/models/issue.py"} <= set(names)
    assert {name.split("/")[0].split("-")[0] for name in names} == {"dispatch_state"}
    migrations = {Path(name).name for name in names if name.startswith("dispatch_state/migrations/")}
    assert migrations == {path.name for path in (ROOT / "migrations").glob("*.py")}


def test_the_sdist_holds_tests_and_examples(dist: Path) -> None:
    with tarfile.open(next(dist.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"tests/test_grids.py", "examples/plan.toml", "README.md", "CHANGELOG.md", "LICENSE", ".ci/run"} <= names


def test_the_wheel_works_by_itself(dist: Path, tmp_path: Path) -> None:
    """Unpacked where nothing of the checkout can be seen, it opens a store and finds its migrations."""
    zipfile.ZipFile(next(dist.glob("*.whl"))).extractall(tmp_path / "site")
    code = (
        "import dispatch_state as d\n"
        "assert 'site' in d.__file__, d.__file__\n"
        f"with d.open_store({str(tmp_path / 'x.db')!r}) as store:\n"
        "    d.Agent.create(agent_type='coder')\n"
        "    print(store.counts()['agents']['idle'])\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site"), "PYTHONSAFEPATH": "1"}
    done = run(code, tmp_path, environment)
    assert (done.returncode, done.stdout.strip()) == (0, "1"), done.stderr


def test_a_bare_checkout_finds_its_migrations(tmp_path: Path) -> None:
    for part in ("dispatch_state", "migrations"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    code = f"import dispatch_state as d\nwith d.open_store({str(tmp_path / 'x.db')!r}): print(d.__file__)"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = run(code, tmp_path, environment)
    assert str(tmp_path) in done.stdout, done.stderr


def test_the_metadata(dist: Path) -> None:
    wheel = zipfile.ZipFile(next(dist.glob("*.whl")))
    text = wheel.read(next(name for name in wheel.namelist() if name.endswith("METADATA"))).decode()
    assert f"Version: {dispatch_state.__version__}" in text
    for extra in ("postgres", "cli", "testing", "test"):
        assert f"Provides-Extra: {extra}" in text
    for name in ("peewee", "transitions", "marshmallow", "platformdirs"):
        assert f"Requires-Dist: {name}" in text
