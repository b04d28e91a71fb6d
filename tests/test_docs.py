"""The guides: their code runs, the names in them exist, and generated parts are current."""

from __future__ import annotations

import inspect
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import dispatch_state
from dispatch_state import InvalidValue, Issue, Store
from dispatch_state.cli.commands import COMMANDS
from dispatch_state.cli.parsing import parsed
from dispatch_state.github.delivery import Applied
from dispatch_state.models.tables import EVERY
from dispatch_state.models.voting import Tally
from dispatch_state.schema.runner import HISTORY
from dispatch_state.storage.targets import resolve
from tests import grids
from tests.connections import reached
from tests.pages import PAGES
from tests.paths import ROOT

GUIDES = sorted((ROOT / "docs").glob("*.md"))
TAKES = {
    "`approve(comment=None, choice=None)`", "`assign(agent, *, worktree_path=None, branch_name=None)`",
    "`dispatch(issue)`", "`fail(error, *, max_attempts=3)`", "`fail_execution(error)`", "`finish_execution(result)`",
    "`force_approve(choice=None)`", "`review(reviewer=None)`", "`run(process_id=None, session_id=None)`",
    "`skip(*, cancel_issues=False)`",
}  # fmt: skip
"""The triggers with arguments of their own, by hand."""
BLOCKS = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
SHELL = re.compile(r"^```(?:console|sh)\n(.*?)^```", re.DOTALL | re.MULTILINE)
ELSEWHERE = "postgresql://user@host/name"
"""Stands on the pages for a PostgreSQL database."""
OURS = re.compile(r"`(dispatch-state (?!COMMAND)[^`]+)`")
"""Commands of ours within a sentence."""
PROGRAMS = {
    "pip",
    "python",
    "sqlite3",
    "sqlite_web",
    "datasette",
    "psql",
    "createdb",
    "pg_dump",
    "pg_restore",
    "gzip",
    "gunzip",
    "jq",
    "systemctl",
    "docker",
    "install",
    "journalctl",
    "useradd",
    "mkdir",
    "mv",
    "cp",
}
"""What the pages call besides our own command."""


@pytest.mark.parametrize("path", PAGES)
def test_what_is_generated_is_current(path: str) -> None:
    assert (ROOT / path).read_text() == PAGES[path](), "run: python -m tests.pages"


WITH_CODE = [page for page in GUIDES if (code := "".join(BLOCKS.findall(page.read_text()))) and ELSEWHERE not in code]


REFERENCE = PAGES["docs/reference.md"]()
HEADINGS = re.findall(r"^##+ (\S+)$", REFERENCE, re.MULTILINE)
BACK = {
    "agent": {"issues", "logs", "proposals", "votes"}, "epic": {"decisions", "issues", "stages"},
    "gate": {"comments"}, "issue": {"decisions", "logs", "proposals", "pull_requests"},
    "proposal": {"decisions", "votes"}, "stage": {"gates", "issues"},
}  # fmt: skip
"""The rows that name a row, by hand."""
KNOWN = {
    "Any", "bool", "bytes", "bytearray", "dict", "float", "int", "list", "object", "str", "tuple", "type", "None",
    "datetime", "os.PathLike", "PathLike", "Path", "UUID", "IO", "Callable", "Iterator", "Mapping", "Sequence",
    "AbstractContextManager", "SearchStrategy", "RuleBasedStateMachine", "Fraction", "ModelSelect",
    "Literal", "any", "Model", "Stateful", "Row", "Status", "S", "P", "P.args", "P.kwargs", "T",
}  # fmt: skip
"""Types of Python, Peewee and Hypothesis, and what stands for a model, its words, or whatever a caller has."""


def test_every_public_name_is_in_the_reference() -> None:
    assert set(dispatch_state.__all__) - {"__version__"} - set(HEADINGS) == set()
    assert {"Tally", "Lifecycle", "Transition", "CASCADES", "Issue.place", "Model.create", "Store.claim"} <= set(
        HEADINGS
    )
    assert max(map(len, HEADINGS)) <= 40


def test_what_comes_back_is_described_field_by_field() -> None:
    for kind in (dispatch_state.Move, dispatch_state.NeedsHuman, dispatch_state.Violation, Tally, Applied):
        (told,) = re.findall(rf"^### {kind.__name__}\n(.*?)^###", REFERENCE, re.DOTALL | re.MULTILINE)
        assert re.findall(r"^\| `(\w+)` \|", told, re.MULTILINE) == list(inspect.get_annotations(kind)), kind
    (machine,) = re.findall(r"^### Lifecycle\n(.*?)^####", REFERENCE, re.DOTALL | re.MULTILINE)
    named = re.findall(r"^\| `(\w+)` \|", machine, re.MULTILINE)
    assert named
    assert all(hasattr(Issue.machine, name) for name in named)


def test_the_reference_describes_columns_and_the_rows_that_name_them() -> None:
    for line in (
        "| `priority` | Priority | `medium` |  | creation, save() |",
        "| `labels` | a list of texts |  | yes | creation, save() |",
        "| `stage_order` | int | the next |  | creation, save() for a time |",
        "| `metrics` | a JSON object of numbers |  | yes | triggers and methods |",
        "| `value` | any JSON |  |  |",
    ):
        assert line in REFERENCE, line
    found: dict[str, set[str]] = {}
    for row, back in re.findall(r"^\| `(\w+)\.(\w+)` \| \w+ \| `\w+` \|$", REFERENCE, re.MULTILINE):
        found.setdefault(row, set()).add(back)
    assert found == BACK


def test_signatures_are_called_as_they_are_written() -> None:
    """On the class or on an object of it; and no type in them is left unexplained."""
    calls = re.findall(r"^```py\n(.*?)```$", REFERENCE, re.DOTALL | re.MULTILINE)
    called = {call.partition("(")[0].strip() for call in calls}
    assert {"Issue.by_status", "issue.place", "Model.create", "row.save", "ConfigEntry.read", "store.claim"} <= called
    assert {"agent.heartbeat", "pull_request.merge", "Human", "Model.machine.to_dot", "await run"} <= called
    assert "clock: Callable[[], datetime] | None = None" in REFERENCE
    types = [part for call in calls for part in re.findall(r"(?:: |-> )(.*?)(?= = |, \**\w+: |,\n|\)|\n|$)", call)]
    named = {name for part in types for name in re.findall(r"[A-Za-z_][\w.]*", part)}
    assert {"Store", "Move", "Tally"} <= named
    assert named - set(HEADINGS) - KNOWN == set()


def test_the_page_of_lifecycles_says_what_a_caller_passes() -> None:
    lines = [line.split(" | ") for line in PAGES["docs/lifecycles.md"]().splitlines() if re.match(r"\| `\w+\(", line)]
    assert {line[0].strip("| ") for line in lines if "()" not in line[0]} == TAKES
    demanding = {(line[0].split("(")[0].strip("| `")) for line in lines if "reason required" in line[5]}
    assert demanding == set().union(*grids.REASON_REQUIRED.values())


@pytest.mark.parametrize("page", WITH_CODE, ids=lambda page: page.name)
def test_the_code_of_a_guide_runs_in_one_go(page: Path, tmp_path: Path) -> None:
    runs(page.read_text(), tmp_path)


@pytest.mark.parametrize("backend", ["postgresql"])
def test_the_code_of_the_guide_to_postgresql_runs(target: str, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "postgresql.md").read_text()
    assert ELSEWHERE in page
    runs(page.replace(ELSEWHERE, target), tmp_path)


@pytest.mark.parametrize("theirs", [None, "CREATE TABLE users (name TEXT)"])
def test_the_code_of_the_guide_to_embedding_runs_on_either_database(
    theirs: str | None, target: str, tmp_path: Path
) -> None:
    """In an empty database, and in one that is in use."""
    page = (ROOT / "docs" / "embedding.md").read_text()
    assert '"app.db"' in page
    if theirs:
        with reached(target) as database:
            database.execute_sql(theirs)
    runs(page.replace('"app.db"', repr(target)), tmp_path)


def test_the_guide_to_embedding_names_every_table() -> None:
    page = (ROOT / "docs" / "embedding.md").read_text()
    (names,) = re.findall(r"We take the tables (.*?), indexes", page, re.DOTALL)
    assert set(re.findall(r"`(\w+)`", names)) == {HISTORY, *(model._meta.table_name for model in EVERY)}


def runs(page: str, folder: Path) -> str:
    """Run every python block, one after the other in one namespace, as a reader would paste them; what they print."""
    script = folder / "guide.py"
    script.write_text("\n".join(BLOCKS.findall(page)))
    finished = subprocess.run(
        [sys.executable, "-W", "error", str(script)], capture_output=True, text=True, cwd=folder, check=False
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


def test_the_tour_prints_what_its_comments_say(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "tour.md").read_text()
    printed = runs(page, tmp_path)
    told = re.findall(r"^ +print\(refusal(?:\.reasons)?\)  # (.*)$", page, re.MULTILINE)
    assert len(told) == 3
    for comment in told:
        pieces = [re.escape(piece) for piece in re.split(r"…|1c0ffee1", comment)]
        assert re.search(".*".join(pieces), printed), comment
    assert "which followed" in printed


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
    except InvalidValue:
        return False
    except SystemExit as help_was_given:
        return help_was_given.code == 0
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
    for part in (part for line in lines for part in re.split(r" && | \| ", line)):
        words = shlex.split(part.removeprefix("sudo -u dispatch ").split(" > ")[0], comments=True)
        program = Path(words[0]).name
        if program == "dispatch-state":
            assert understood(words), words
        else:
            assert program in PROGRAMS | {"python3"}, words


@pytest.mark.parametrize("kind", ["ini", "cron"])
def test_every_command_that_a_unit_or_a_crontab_runs_is_one(kind: str) -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    blocks = "".join(re.findall(rf"^```{kind}\n(.*?)^```", page, re.DOTALL | re.MULTILINE))
    commands = re.findall(r"\bdispatch-state( .*?)(?: > | \|\| |$)", blocks, re.MULTILINE)
    assert len(commands) >= 2
    for command in commands:
        assert understood(["dispatch-state", *shlex.split(command)]), command


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
def test_systemd_takes_the_units_of_the_page(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    units = re.findall(r"^```ini\n# /etc/systemd/system/(\S+)\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    assert len(units) == 3
    for name, text in units:  # the programs of the page are not on this machine
        (tmp_path / name).write_text(re.sub(r"^ExecStart=\S+", f"ExecStart={sys.executable}", text, flags=re.MULTILINE))
    files = [str(tmp_path / name.replace("@", "@1")) for name, _ in units]
    checked = subprocess.run(["systemd-analyze", "verify", *files], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def test_the_configuration_file_of_the_page_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And a relative path in one begins where the command is run."""
    page = (ROOT / "docs" / "command_line.md").read_text()
    (told,) = re.findall(r"^```toml\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    file = tmp_path / "config.toml"
    monkeypatch.delenv("DISPATCH_DATABASE", raising=False)
    monkeypatch.setenv("DISPATCH_CONFIG", str(file))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path.parent)
    file.write_text(told)
    assert str(resolve(None)) == str(tmp_path / "work" / "dispatch.db")
    file.write_text(told.replace("~/work/", ""))
    assert str(resolve(None)) == str(tmp_path.parent / "dispatch.db")


@pytest.mark.parametrize("page", [ROOT / "README.md", *GUIDES], ids=lambda page: page.name)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    """To a file that is there, and to a heading of it."""
    for link, heading in re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", page.read_text()):
        target = page.parent / link if link else page
        assert target.exists(), link
        assert not heading or heading in headings(target), f"{link}#{heading}"


def headings(page: Path) -> set[str]:
    """What a link to a part of a page may name."""
    prose = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    found = re.findall(r"^#+ (.*)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.name)
def test_every_file_that_a_page_names_is_there(page: Path) -> None:
    named = set(re.findall(r"`((?:tests|examples|docs|benchmarks|dispatch_state)/[\w/]+\.\w+)`", page.read_text()))
    assert not {name for name in named if not (ROOT / name).exists()}


def test_every_test_of_a_fault_is_named_by_the_guarantees() -> None:
    page = (ROOT / "docs" / "guarantees.md").read_text()
    for folder in ("faults", "races", "properties"):
        for path in (ROOT / "tests" / folder).glob("test_*.py"):
            assert f"tests/{folder}/{path.name}" in page
