"""What the suite stands on: stores that are migrated once, the order of the tests, and `python -m tests`."""

from __future__ import annotations

import psycopg
import pytest

from dispatch_state import Store, TransitionLog, open_store
from tests import __main__ as command
from tests import prepared
from tests.invariants import broken
from tests.long_forms import LONGEST
from tests.paths import ROOT
from tests.world import World

TESTS = ROOT / "tests"
on_postgresql = pytest.mark.parametrize("backend", ["postgresql"])
CHANGES = {
    "a column": "ALTER TABLE issues ADD COLUMN more text",
    "a default": "ALTER TABLE issues ALTER COLUMN title SET DEFAULT 'x'",
    "a trigger that is off": "ALTER TABLE issues DISABLE TRIGGER dispatch_issues",
    "a trigger that is gone": "DROP TRIGGER dispatch_issues ON issues",
    "a key": "ALTER TABLE issues ADD CONSTRAINT fine CHECK (true)",
    "a function": "CREATE FUNCTION more() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "a table": "CREATE TABLE more (id int)",
    "a view": "CREATE VIEW more AS SELECT 1 AS one",
    "an index": "CREATE INDEX more ON issues (title)",
    "a type": "CREATE TYPE more AS ENUM ('a')",
    "statistics": "ANALYZE agents",
    "a step of the history": "DELETE FROM dispatch_migration WHERE name LIKE '009%'",
    "a name": "ALTER TABLE issues RENAME TO tasks",
}


def test_the_store_of_a_test_is_empty_and_whole(store: Store) -> None:
    """Whatever the tests before it wrote: the first move is number one, and nothing is refused that is legal."""
    assert TransitionLog.select().count() == 0
    World(store).issues("in_progress")
    assert store.changes(limit=1)[0].seq == 1
    assert broken(store) == []


@on_postgresql
def test_a_schema_is_used_again_when_it_held_nothing_but_rows(backend: str) -> None:
    with prepared.schema() as target, open_store(target, durability="normal") as store:
        World(store).issues("in_progress")
    with prepared.schema() as again, open_store(again, durability="normal", migrate=False) as store:
        assert again == target
        assert set(map(sum, map(dict.values, store.counts().values()))) == {0}


@on_postgresql
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_schema_that_was_altered_is_not_used_again(change: str, backend: str) -> None:
    with prepared.schema() as target, psycopg.connect(target, autocommit=True) as connection:
        connection.execute(change)
    with prepared.schema() as other:
        assert other != target


def test_names_stand_for_modules_and_folders(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.place_of("cli") == TESTS / "cli"
    assert command.place_of("claims") == TESTS / "engine" / "test_claims.py"
    assert command.place_of("races") == TESTS / "races"
    assert all(command.place_of(name) for name in command.names())
    assert command.main(["sqlit"]) == 2
    assert "there are no tests called sqlit; there are: actors, " in capsys.readouterr().err


def test_what_is_named_to_be_left_out_or_to_begin_is_there() -> None:
    assert [name for name in (*command.LEFT_OUT, *LONGEST) if not (TESTS / name).exists()] == []
