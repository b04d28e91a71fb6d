"""Copies of a store to another database: by commands, by the example, and back."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dispatch_state import Store, open_store
from dispatch_state.cli.commands import main
from dispatch_state.schema.runner import HISTORY
from tests import postgres
from tests.migrations import NAMES, SEED
from tests.paths import ROOT
from tests.transfer.exports import exported


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, cwd=ROOT, check=False)


WAYS = {"command": ("-m", "dispatch_state", "copy"), "example": ("examples/to_postgres.py",)}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_store_moves_to_postgresql_and_back(way: tuple[str, ...], snapshot: Path, tmp_path: Path) -> None:
    first, last = str(tmp_path / "first.db"), str(tmp_path / "last.db")
    with open_store(first) as store:
        store.import_snapshot(snapshot)
    with postgres.fresh_schema() as url:
        for source, target in ((first, url), (url, last)):
            moved = run(*way, source, target)
            assert (moved.returncode, moved.stderr) == (0, ""), moved.stderr
        again = run(*way, first, url)
        assert again.returncode in (1, 3)
        assert "not empty" in again.stderr
    with open_store(last) as store:
        assert exported(store) == snapshot.read_bytes()
        assert store.verify() == []


def test_the_commands_export_and_import(snapshot: Path, tmp_path: Path) -> None:
    store, out = str(tmp_path / "store.db"), str(tmp_path / "out.jsonl")
    for words in (["init"], ["import", str(snapshot)], ["export", out]):
        done = run("-m", "dispatch_state", "--database", store, *words)
        assert (done.returncode, done.stderr) == (0, "")
    assert Path(out).read_bytes() == snapshot.read_bytes()


def test_through_a_pipe(snapshot: Path, tmp_path: Path) -> None:
    """What export writes on standard output is the snapshot and nothing else; import takes it from there."""
    command = [sys.executable, "-m", "dispatch_state", "--database", str(tmp_path / "store.db")]
    subprocess.run([*command, "init"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run([*command, "import", "-"], check=True, input=snapshot.read_bytes(), stdout=subprocess.DEVNULL)
    out = subprocess.run([*command, "export", "-", "--json"], check=True, capture_output=True)
    assert (out.stdout, out.stderr) == (snapshot.read_bytes(), b"")
    closed = subprocess.run(
        ["/bin/sh", "-c", '"$@" <&-', "sh", *command, "import", "-"], check=False, capture_output=True
    )
    assert (closed.returncode, closed.stderr.split(b": ")[1:]) == (
        2,
        [b"import", b"standard input is closed; name a file\n"],
    )


@pytest.fixture
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, snapshot: Path) -> Path:
    """One with a filled store, full.db; commands work there."""
    folder = tmp_path / "folder"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.delenv("DISPATCH_DATABASE", raising=False)
    with open_store("full.db") as store:
        store.import_snapshot(snapshot)
    return folder


def here(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"full.db-turn"}


def test_copy_makes_nothing_for_nothing(in_a_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for target in ("new.db", "full.db"):
        assert main(["copy", "nothere.db", target]) == 3
        assert "there is no store at" in capsys.readouterr().err
    assert main(["--database", "full.db", "copy", "full.db", "new.db"]) == 2
    assert "no --database" in capsys.readouterr().err
    assert here(in_a_folder) == {"full.db"}


@pytest.fixture
def seed(in_a_folder: Path) -> Path:
    """A database that another program made of the schema that is adopted, with a row in it."""
    file = in_a_folder / "seed.db"
    connection = sqlite3.connect(file)
    connection.executescript(SEED)
    connection.execute("INSERT INTO config_store VALUES ('a', '1', '2026-01-31T09:30:00Z')")
    connection.commit()
    connection.close()
    return file


READING = [
    ["status"], ["show", "01890a5d"], ["verify"], ["explain", "01890a5d"], ["tick"], ["rescue"],
    ["fire", "01890a5d", "queue", "--as", "ann"], ["decisions"],
    ["export", "out.jsonl"], ["log"], ["board"],
    ["import", "snapshot.jsonl"], ["backup", "copy.db"], ["init"],
]  # fmt: skip


@pytest.mark.parametrize("words", READING, ids=lambda words: words[0])
def test_only_migrate_adopts(words: list[str], seed: Path, snapshot: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A command that reads a database of another program, or fills a store, leaves it byte for byte."""
    (seed.parent / "snapshot.jsonl").write_bytes(snapshot.read_bytes())
    before = seed.read_bytes()
    assert main(["--database", "seed.db", *words]) == 3
    assert "another program made this database; dispatch-state --database seed.db migrate" in capsys.readouterr().err
    assert seed.read_bytes() == before
    assert main(["--database", "seed.db", "migrate"]) == 0
    assert seed.read_bytes() != before


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_copying_into_another_programs_database_is_refused_and_leaves_it(way: tuple[str, ...], seed: Path) -> None:
    before = seed.read_bytes()
    done = run(*way, str(seed.parent / "full.db"), str(seed))
    assert done.returncode in (1, 3)
    assert "another program made this database" in done.stderr
    assert seed.read_bytes() == before
    assert here(seed.parent) == {"full.db", "seed.db"}


def test_copying_into_a_store_of_an_older_version_is_refused_and_leaves_it(
    in_a_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    open_store("old.db").close()
    (last,) = NAMES[-1:]
    with sqlite3.connect("old.db") as connection:
        connection.execute(f"DELETE FROM {HISTORY} WHERE name = '{last}'")
        connection.execute("DROP INDEX idx_issues_under_way")
    connection.close()
    before = Path("old.db").read_bytes()
    assert main(["copy", "full.db", "old.db"]) == 3
    assert f"old.db: the database lacks {last}; name an empty one, or migrate it first" in capsys.readouterr().err
    assert Path("old.db").read_bytes() == before


def test_copying_into_a_database_with_tables_of_others(in_a_folder: Path) -> None:
    with sqlite3.connect("others.db") as connection:
        connection.execute("CREATE TABLE users (name TEXT)")
        connection.execute("INSERT INTO users VALUES ('ann')")
    connection.close()
    assert main(["copy", "full.db", "others.db"]) == 0
    with open_store("others.db") as store:
        assert store.database.execute_sql("SELECT * FROM users").fetchall() == [("ann",)]
        assert store.verify() == []


def test_copy_leaves_a_link_to_nothing_as_it_is(in_a_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (in_a_folder / "link.db").symlink_to("nothing.db")
    assert main(["copy", "full.db", "link.db"]) == 3
    assert "is a link that leads nowhere" in capsys.readouterr().err
    assert (in_a_folder / "link.db").is_symlink()


@pytest.mark.parametrize("stopped", ["export", "import_snapshot"])
@pytest.mark.parametrize("there_before", [True, False])
def test_a_copy_that_is_interrupted(
    stopped: str, there_before: bool, in_a_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that it made is deleted; one that existed is as empty as before."""
    if there_before:
        open_store("new.db").close()
    way = getattr(Store, stopped)

    def interrupted(store: Store, file: Any, *, progress: Any) -> Any:
        way(store, file, progress=progress)
        raise KeyboardInterrupt

    before = here(in_a_folder)
    with monkeypatch.context() as patched:
        patched.setattr(Store, stopped, interrupted)
        assert main(["copy", "full.db", "new.db"]) == 130
    assert here(in_a_folder) == before
    if not there_before:
        assert main(["copy", "full.db", "new.db"]) == 0
        assert here(in_a_folder) == {"full.db", "new.db", "new.db-turn"}
