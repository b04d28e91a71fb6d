"""The schema behind an open store: the models', unchanging words for it, and what `open_store` leaves as it is."""

from __future__ import annotations

import hashlib
import runpy
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import peewee
import pytest

import dispatch_state
from dispatch_state import (
    Agent,
    MigrationFailed,
    SchemaTooNew,
    SchemaTooOld,
    Store,
    StoreNotFound,
    StoreNotOpen,
    open_store,
)
from dispatch_state.schema import runner as migrations
from dispatch_state.schema.runner import HISTORY
from tests.connections import reached
from tests.migrations import NAMES, RELEASED, history, schema

MODELS: dict[str, Any] = {
    model._meta.table_name: model
    for model in map(vars(dispatch_state).get, dispatch_state.__all__)
    if isinstance(model, type) and issubclass(model, peewee.Model)
}
"""Every model, by its table."""
STRICTER = {("proposals", "required_voters")}
"""What the seed lets be NULL, and the lifecycle does not."""

STATEMENTS = {
    ("001_initial_schema", "sqlite"): "42f158e6848e50ae9493f9e70c6fd304d56387c9cfe68d895e3243d35b64ce9f",
    ("001_initial_schema", "postgresql"): "86f2c771c027510a7cb09ea5adaa32bc1a86a41bcacc448cdd23f8b0065af2f9",
    ("002_add_epics", "sqlite"): "00945f38c4368b0fb377aea5f9b616a4610463c39554005f3f9b9cc2d020846f",
    ("002_add_epics", "postgresql"): "3af9d0076fdd0f8d89f89fc80cb0d8eac0aed9ace517ce51b9649626758e02d1",
    ("003_add_governance", "sqlite"): "11f5bd4485fc379ec6b1155951aa5368ab25579ee1a7236e493b665159c9a1d4",
    ("003_add_governance", "postgresql"): "41e74979d64989bb37555148e60d44e3ba12f3b571eb390e68cd6bce1e420b6c",
    ("004_versions_and_log", "sqlite"): "b7d4458cdfc98fabeb1c38bc403c274771e3206d0bce36e0312e1ac4b3f312ae",
    ("004_versions_and_log", "postgresql"): "bb8dae3559d591bbc476d54dc9f2be02ccce8c81b854d2e3c7a25b547c6a1fc4",
    ("005_gate_and_vote_columns", "sqlite"): "b65ff71865fcb338fc2102052b5c4378803c6e8d896d68d386359572dd5e873a",
    ("005_gate_and_vote_columns", "postgresql"): "52dd6b0bb0197c0cde6ca5b2fc97624cb9a3deabac5c179e173ba78e2b7cce6a",
    ("006_claim_index", "sqlite"): "e4e40dba598457c9a0f07517f7a925cfa1b307b038609885df160679cb63cd5a",
    ("006_claim_index", "postgresql"): "e4e40dba598457c9a0f07517f7a925cfa1b307b038609885df160679cb63cd5a",
    ("007_listing_index", "sqlite"): "ecb4be37fca779356c9b9dc8db69e6ab9b44715ab62de5ed4a762236f7fc5727",
    ("007_listing_index", "postgresql"): "ecb4be37fca779356c9b9dc8db69e6ab9b44715ab62de5ed4a762236f7fc5727",
    ("008_under_way_index", "sqlite"): "d2548d675a7ddf2f65b5a62910daf07c8c508700938d2b075fcfab4603606a26",
    ("008_under_way_index", "postgresql"): "d2548d675a7ddf2f65b5a62910daf07c8c508700938d2b075fcfab4603606a26",
    ("009_metrics_names", "sqlite"): "36da16123c673239cbf7cb81adaab4a39a5b08553108db768fd27c7ad5943feb",
    ("009_metrics_names", "postgresql"): "36da16123c673239cbf7cb81adaab4a39a5b08553108db768fd27c7ad5943feb",
}
"""What `ddl` makes of each released migration, by its hash: it never changes, as the migration does not."""


# ---- the models' -------------------------------------------------------------------------------------


def test_every_table_has_a_model(store: Store) -> None:
    assert set(store.database.get_tables()) - {HISTORY, "sqlite_sequence"} == set(MODELS)


@pytest.mark.parametrize("table", sorted(MODELS))
def test_a_model_has_its_tables_columns(table: str, store: Store) -> None:
    """None that the model forgot, none that it invented; NULL, the primary key and the keys are the table's."""
    meta = MODELS[table]._meta
    fields = {
        field.column_name: (field.null or (table, field.name) in STRICTER, field is meta.primary_key)
        for field in meta.sorted_fields
    }
    found = store.database.get_columns(table)
    assert {column.name: (column.null and not column.primary_key, column.primary_key) for column in found} == fields
    keys = {(key.column, key.dest_table, key.dest_column) for key in store.database.get_foreign_keys(table)}
    named = [(field.column_name, field.rel_model, field.rel_field.column_name) for field in meta.refs]
    assert keys == {(column, model._meta.table_name, key) for column, model, key in named}


class Recorder:
    """Stands for a database without rows, and keeps what it is told to run."""

    param = "?"

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.statements: list[str] = []

    def execute_sql(self, sql: str) -> Recorder:
        self.statements.append(sql)
        return self

    def fetchall(self) -> list[Any]:
        return []


def test_every_released_migration_is_held() -> None:
    assert {name for name, _ in STATEMENTS} == set(NAMES)


@pytest.mark.parametrize(("name", "kind"), STATEMENTS)
def test_what_is_made_of_a_released_migration_never_changes(name: str, kind: str) -> None:
    """Otherwise two databases with the same migrations could have different schemas."""
    recorder = Recorder(kind)
    runpy.run_path(str(RELEASED / f"{name}.py"))["up"](None, recorder)
    text = "\n;\n".join(recorder.statements)
    assert hashlib.sha256(text.encode()).hexdigest() == STATEMENTS[name, kind], text


# ---- what is left as it is ---------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the migrations that a test may change, in place of the released ones."""
    copy = tmp_path / "migrations"
    shutil.copytree(RELEASED, copy)
    monkeypatch.setattr(migrations, "migrations_folder", lambda: copy)
    return copy


@pytest.mark.parametrize("missing", NAMES[:-1])
def test_each_gap_in_the_history_is_refused(missing: str, target: str) -> None:
    """What a late step would do to a schema that is past it, nobody has tried."""
    open_store(target).close()
    with reached(target) as found:
        found.execute_sql(f"DELETE FROM {HISTORY} WHERE name = '{missing}'")
    with pytest.raises(MigrationFailed, match=rf"{missing}.*gap"):
        open_store(target)
    with reached(target) as found:
        assert history(found) == [name for name in NAMES if name != missing]


def test_a_store_of_an_older_version_is_opened_only_with_migrate(target: str, folder: Path) -> None:
    """It lacks the last step; with `migrate=False` it stays so."""
    (folder / f"{NAMES[-1]}.py").rename(folder / "later")
    open_store(target).close()
    (folder / "later").rename(folder / f"{NAMES[-1]}.py")
    with pytest.raises(SchemaTooOld, match=NAMES[-1]):
        open_store(target, migrate=False)
    with reached(target) as found:
        assert history(found) == NAMES[:-1]
    open_store(target).close()
    open_store(target, migrate=False).close()


def test_a_store_of_a_newer_version_is_refused(target: str, folder: Path) -> None:
    (folder / "999_of_tomorrow.py").write_text("def up(migrator, db):\n    pass\n")
    open_store(target).close()
    (folder / "999_of_tomorrow.py").unlink()
    with pytest.raises(SchemaTooNew, match="999_of_tomorrow"):
        open_store(target)


BROKEN = """
def up(migrator, db):
    db.execute_sql("CREATE TABLE half_made (x INTEGER)")
    db.execute_sql("DROP TABLE gate_comments")
    raise RuntimeError("stopped half-way")
"""


def test_a_step_that_fails_leaves_the_store_and_the_process_as_they_were(target: str, folder: Path) -> None:
    """No store is open behind the error, and the same one opens without the step, its rows in it."""
    with open_store(target):
        agent = Agent.create(agent_type="coder")
    with reached(target) as found:
        before = schema(found)
    (folder / "900_broken.py").write_text(BROKEN)
    with pytest.raises(MigrationFailed, match=r"900_broken.*stopped half-way"):
        open_store(target)
    with pytest.raises(StoreNotOpen):
        Agent.select().count()
    with reached(target) as found:
        assert schema(found) == before
    (folder / "900_broken.py").unlink()
    with open_store(target, migrate=False):
        assert list(Agent.select()) == [agent]


@pytest.mark.parametrize("name", ["recipes", "issues"])
def test_the_file_of_another_program_stays_byte_for_byte(name: str, tmp_path: Path) -> None:
    """When it is only looked at, or has a name of ours: not even a write-ahead log is made."""
    file = tmp_path / "recipes.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript(f"CREATE TABLE {name} (name TEXT); INSERT INTO {name} VALUES ('soup');")
    before = file.read_bytes()
    with pytest.raises(StoreNotFound if name == "recipes" else MigrationFailed):
        open_store(file, create=False)
    with pytest.raises(SchemaTooOld if name == "recipes" else MigrationFailed):
        open_store(file, migrate=False)
    if name == "issues":
        with pytest.raises(MigrationFailed, match="issues"):
            open_store(file)
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]


def test_the_schema_of_another_program_stays_as_it_is(target: str) -> None:
    """The error names the table that is in the way, and no table of ours is added."""
    with reached(target) as found:
        found.execute_sql("CREATE TABLE votes (name TEXT)")
    with pytest.raises(MigrationFailed, match="votes"):
        open_store(target)
    with reached(target) as found:
        assert found.get_tables() == ["votes"]
