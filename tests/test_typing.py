"""What type checkers make of the public names: the pages pass, wrong uses are reported, and columns are the models'."""

from __future__ import annotations

import inspect
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any, Required, get_args, get_origin, get_type_hints
from uuid import UUID

import pytest

from dispatch_state import Epic, Stage
from dispatch_state.actors import Actor
from dispatch_state.models import columns
from dispatch_state.models.base import Stateful
from dispatch_state.models.keys import ParentField
from dispatch_state.models.tables import STATEFUL
from dispatch_state.storage import fields
from tests.paths import ROOT

BLOCKS = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
WRONG = ROOT / "tests" / "wrong_uses.py"
NODE_IS_THERE = {**os.environ, "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}
Found = tuple[str, int, str]
"""A report: the file's name, the line, the code."""


# ---- the checkers --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The python blocks of each page as a module, as a reader would paste them; and the wrong uses."""
    folder = tmp_path_factory.mktemp("typed")
    for page in PAGES:
        if blocks := BLOCKS.findall(page.read_text()):
            (folder / f"{page.stem.lower()}.py").write_text("\n".join(blocks))
    shutil.copy(WRONG, folder)
    return folder


def by_mypy(sources: Path) -> set[Found]:
    command = [sys.executable, "-m", "mypy", "--config-file", "setup.cfg", "--cache-dir", str(sources / ".cache")]
    options = ["--no-error-summary", "--hide-error-context", "--no-pretty", *map(str, sources.glob("*.py"))]
    done = subprocess.run([*command, *options], cwd=ROOT, capture_output=True, text=True, check=False)
    told = re.findall(r"^(.+?):(\d+): error: .*\[([\w-]+)\]$", done.stdout, re.MULTILINE)
    assert len(told) == done.stdout.count(": error: "), done.stdout + done.stderr
    assert done.returncode == 1, done.stdout + done.stderr
    return {(Path(file).name, int(line), code) for file, line, code in told}


def by_pyright(sources: Path) -> set[Found]:
    places = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    program = shutil.which("pyright", path=places)
    ready = program and subprocess.run([program, "--version"], env=NODE_IS_THERE, capture_output=True, check=False)
    if not ready or ready.returncode:
        pytest.skip("pyright is not here: pip install pyright")
    rules = {"typeCheckingMode": "standard", "reportUnnecessaryComparison": "error", "extraPaths": [str(ROOT)]}
    (sources / "pyrightconfig.json").write_text(json.dumps(rules))
    command = [program, "--project", str(sources), "--pythonpath", sys.executable, "--outputjson"]
    done = subprocess.run(command, env=NODE_IS_THERE, capture_output=True, text=True, check=False)
    told = json.loads(done.stdout)
    assert told["summary"]["filesAnalyzed"] == len(list(sources.glob("*.py")))
    return {
        (Path(one["file"]).name, one["range"]["start"]["line"] + 1, one.get("rule", one["message"]))
        for one in told["generalDiagnostics"]
        if one["severity"] == "error"
    }


@pytest.mark.parametrize("check", [by_mypy, by_pyright])
def test_pages_pass_and_wrong_uses_are_reported(check: Callable[[Path], set[Found]], sources: Path) -> None:
    wanted = set()
    for number, line in enumerate(WRONG.read_text().splitlines(), 1):
        _, _, codes = line.partition("  # ")
        wanted |= {
            (WRONG.name, number, code) for code in codes.split() if code.startswith("report") == (check is by_pyright)
        }
    assert len(wanted) > 20
    assert check(sources) == wanted


# ---- the columns ---------------------------------------------------------------------------------------


def taken(name: str) -> dict[str, Any]:
    """The types of what a class of columns holds."""
    rows: dict[str, Any] = {model.__name__: model for model in STATEFUL}
    return get_type_hints(getattr(columns, name), localns=rows, include_extras=True)


def held(field: Any) -> Any:
    """What may be given for a column; None for JSON, whose shapes no type describes."""
    if isinstance(field, fields.JsonField):
        return None
    kinds: dict[type, tuple[Any, ...]] = {
        fields.WordField: (getattr(field, "words", None), str),
        ParentField: (field.rel_model, UUID, str) if isinstance(field, ParentField) else (),
        fields.IdField: (UUID, str),
    }
    found = kinds.get(type(field)) or (field.native,)
    return reduce(or_, (*found, *([type(None)] if field.null else [])))


@pytest.mark.parametrize("model", STATEFUL, ids=lambda model: model.__name__)
def test_create_takes_the_columns_of_a_new_row(model: type[Stateful]) -> None:
    """Named, required and typed as the columns are."""
    told, stored = taken(f"{model.__name__}Columns"), model._meta.fields
    assert (told.pop("by"), told.pop("reason")) == (Actor, str)
    assert told.keys() == model.set_at_creation() - ({"status"} if len(model.machine.births) == 1 else set())
    open_ = {
        name
        for name in told
        if stored[name].null or stored[name].default is not None or name in model.filled_at_creation
    }
    assert {name for name, kind in told.items() if get_origin(kind) is Required} == told.keys() - open_
    for name, kind in told.items():
        kind = get_args(kind)[0] if get_origin(kind) is Required else kind
        wanted = held(stored[name])
        assert wanted is None or name in model.filled_at_creation or kind == wanted, name
        assert wanted is not None or (type(None) in get_args(kind)) == stored[name].null, name


@pytest.mark.parametrize(
    ("method", "further", "key", "whole"),
    [
        (Epic.add_stage, "StagePlace", {"epic"}, "StageColumns"),
        (Stage.add_gate, "GateTerms", {"stage"}, "GateColumns"),
        (Epic.add_issue, "IssueContent", {"epic", "stage"}, "IssueColumns"),
        (Stage.add_issue, "IssueContent", {"epic", "stage"}, "IssueColumns"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_is_added_is_given_all_but_its_place(
    method: Callable[..., object], further: str, key: set[str], whole: str
) -> None:
    named = inspect.signature(method).parameters.keys() - {"self", "by", "reason", "columns"}
    assert named | taken(further).keys() | key == taken(whole).keys() - {"by", "reason"}
    assert f"Unpack[{further}]" in str(inspect.signature(method))
