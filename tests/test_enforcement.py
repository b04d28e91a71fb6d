"""The database's own refusals: whatever is written past the library, through its connection or a bare one."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import peewee
import psycopg
import pytest

from dispatch_state import Decision, Issue, PullRequest, SchemaTooNew, Stage, Store, StoreError, open_store
from dispatch_state.ids import new_id
from dispatch_state.models.tables import EVERY
from dispatch_state.schema import enforcement, migrate
from tests import grids, postgres
from tests.conftest import Clock
from tests.invariants import broken
from tests.ways_round import BOTH, NOW, ON_POSTGRESQL, ON_SQLITE, insert, log_row, moved, scene
from tests.world import MAINTAINER, MODELS, WHY, World

REFUSED = (peewee.PeeweeException, sqlite3.Error, psycopg.Error)
Run = Callable[[str], Any]


@pytest.fixture(params=["ours", "bare"])
def run(request: pytest.FixtureRequest, store: Store, target: str) -> Iterator[Run]:
    """Runs SQL through the library's connection, or through one that knows nothing of it."""
    if request.param == "ours":
        yield store.database.execute_sql
        return
    with bare(target) as connection:
        yield connection.execute


@contextmanager
def bare(target: str) -> Iterator[Any]:
    """A connection that knows nothing of the library, each statement a transaction of its own."""
    if target.startswith("postgresql"):
        connection: Any = psycopg.connect(target, autocommit=True)
    else:
        connection = sqlite3.connect(target, isolation_level=None)
    try:
        yield connection
    finally:
        connection.close()


def attempt(run: Run, *statements: str) -> Exception | None:
    """What the database says to statements in one transaction, which is undone in any case."""
    run("BEGIN")
    try:
        for statement in statements:
            run(statement)
    except REFUSED as error:
        return error
    finally:
        run("ROLLBACK")
    return None


# ---- every pair ----------------------------------------------------------------------------------------

STARTS = [(table, str(status)) for table, model in MODELS.items() for status in model.machine.states]


@pytest.mark.parametrize(("table", "source"), STARTS)
def test_every_pair_is_accepted_exactly_when_it_is_an_edge(table: str, source: str, store: Store, run: Run) -> None:
    row = World(store).at(table, source)
    for dest in map(str, row.machine.states):
        edges = [trigger for (start, trigger), end in grids.GRIDS[table].items() if (start, end) == (source, dest)]
        assert attempt(run, moved(row, dest)), f"{dest} without a log row"
        for trigger in row.machine.triggers:
            refusal = attempt(run, log_row(row, trigger, dest), moved(row, dest))
            assert (refusal is None) == (trigger in edges), (dest, trigger, refusal)
    assert broken(store) == []


@pytest.mark.parametrize("table", MODELS)
def test_every_birth_is_refused_but_in_a_first_status(table: str, store: Store, run: Run) -> None:
    row = World(store).at(table, str(MODELS[table].machine.initial))
    columns = {name: value for name, value in stored(run, row).items() if value is not None}
    for status in map(str, row.machine.states):
        born = {**columns, "id": str(new_id()), "status": status, "version": 1}
        logged = log_row(row, "create", status, entity_id=born["id"], version=1, source=None)
        refusal = attempt(run, logged, insert(table, born))
        assert (refusal is None) == (status in grids.INITIAL[table]), (status, refusal)
        assert attempt(run, insert(table, born)), f"{status} without a log row"


def stored(run: Run, row: Any) -> dict[str, Any]:
    columns = [field.column_name for field in row._meta.sorted_fields]
    return dict(
        zip(
            columns,
            run(f"SELECT {', '.join(columns)} FROM {row._meta.table_name} WHERE id = '{row.id}'").fetchone(),
            strict=True,
        )
    )


# ---- ways round ----------------------------------------------------------------------------------------


def refused(refusal: Exception | None) -> bool:
    """Whether it was one of our triggers that said no."""
    while isinstance(refusal, peewee.PeeweeException):
        refusal = refusal.orig
    if isinstance(refusal, sqlite3.Error):
        return refusal.sqlite_errorcode == sqlite3.SQLITE_CONSTRAINT_TRIGGER
    return isinstance(refusal, psycopg.errors.CheckViolation) and "dispatch_state: " in str(refusal)


def test_every_way_round_is_refused(store: Store, run: Run, backend: str, subtests: pytest.Subtests) -> None:
    here = scene(store)
    for name, way in {**BOTH, **(ON_SQLITE if backend == "sqlite" else ON_POSTGRESQL)}.items():
        with subtests.test(name):
            refusal = attempt(run, *way(here))
            assert refused(refusal), refusal
    assert broken(store) == []


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
def test_a_log_row_of_another_transaction_is_refused(store: Store, run: Run) -> None:
    """SQLite cannot tell transactions apart; there it is the connection that must be the same."""
    issue = World(store).issues("queued")
    run(log_row(issue, "dequeue", "unassigned"))
    assert refused(attempt(run, moved(issue, "unassigned")))


def test_a_log_row_of_another_connection_is_refused(store: Store, target: str, run: Run) -> None:
    issue = World(store).issues("queued")
    with bare(target) as other:
        other.execute(log_row(issue, "dequeue", "unassigned"))
    assert refused(attempt(run, moved(issue, "unassigned")))


def test_a_removed_row_is_not_born_again(store: Store, backend: str, run: Run) -> None:
    """By the log row of its birth, which is made to look like the last one that was written."""
    issue = World(store).issues("cancelled")
    columns = {**stored(run, issue), "status": "unassigned", "version": 1}
    born = insert("issues", {name: value for name, value in columns.items() if value is not None})
    (seq,) = run(f"SELECT min(seq) FROM transition_log WHERE entity_id = '{issue.id}'").fetchone()
    issue.remove(by=MAINTAINER, reason=WHY)
    again = (
        ["CREATE TEMPORARY TABLE place (x)", f"INSERT INTO place (rowid) VALUES ({seq})"]
        if backend == "sqlite"
        else [f"SET LOCAL dispatch_state.written = {seq}"]
    )
    assert refused(attempt(run, *again, born))


def test_executemany_is_refused(store: Store, target: str, backend: str) -> None:
    rows = [World(store).issues("queued") for _ in range(3)]
    update = (
        f"UPDATE issues SET status = 'done', version = version + 1 WHERE id = {'?' if backend == 'sqlite' else '%s'}"
    )
    with bare(target) as connection, pytest.raises(REFUSED) as found:
        connection.cursor().executemany(update, [(str(row.id),) for row in rows])
    assert refused(found.value)


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
def test_copy_is_refused(store: Store, target: str) -> None:
    with psycopg.connect(target) as connection, pytest.raises(psycopg.errors.CheckViolation):  # noqa: SIM117
        with connection.cursor().copy(
            "COPY issues (id, repo_path, title, prompt, issue_type, status, created_at, updated_at) FROM STDIN"
        ) as copy:
            copy.write_row((new_id(), "/", "t", "p", "bug", "done", NOW, NOW))


WITHOUT_KEYS = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("PRAGMA foreign_keys = off")
try:
    connection.execute("DELETE FROM issues")
except sqlite3.IntegrityError as error:
    print(error)
"""


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_another_process_without_foreign_keys_is_refused(store: Store, target: str) -> None:
    World(store).issues("done")
    told = subprocess.run([sys.executable, "-c", WITHOUT_KEYS, target], capture_output=True, text=True, check=True)
    assert told.stdout == "issues: a row goes with its log row, written before\n"


# ---- beside what is legal --------------------------------------------------------------------------------


def test_a_move_by_hand_with_its_log_row_is_one_of_ours(store: Store, run: Run) -> None:
    """In a SQL shell too: what is legal is not refused, and the library goes on from there."""
    issue = World(store).issues("queued")
    run("BEGIN")
    run(log_row(issue, "dequeue", "unassigned"))
    run(moved(issue, "unassigned"))
    run("COMMIT")
    assert issue.reload().status == "unassigned"
    issue.queue(by=MAINTAINER)
    assert broken(store) == []


@pytest.mark.parametrize("microsecond", [0, 1, 499_999, 500_000, 999_499, 999_500, 999_999])
def test_every_moment_is_a_timestamp(microsecond: int, store: Store, clock: Clock) -> None:
    """SQLite reads milliseconds, and rounds what is beyond."""
    ends = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    for moment in (clock.now, datetime(2024, 2, 29, 23, 59, 59, tzinfo=UTC), *ends):
        clock.now = moment.replace(microsecond=microsecond)
        issue = World(store).issues("queued")
        assert issue.reload().updated_at == clock.now


def test_a_removed_row_takes_its_own_along(store: Store) -> None:
    """The keys' CASCADE and SET NULL go through: stages, gates and requests with their owner, pointers to NULL."""
    world = World(store)
    epic = world.at("epics", "completed")
    stages = [stage.id for stage in epic.stages]
    epic.remove(by=MAINTAINER, reason=WHY)
    assert Stage.select().where(Stage.id.in_(stages)).count() == 0
    gate = world.gates("approved")
    decision = Decision.select().where(Decision.epic == gate.stage.epic).get()
    whole = gate.stage.epic.reload()
    whole.cancel(by=MAINTAINER, reason=WHY)
    whole.remove(by=MAINTAINER, reason=WHY)
    assert decision.reload().epic_id is None
    issue = world.pull_requests("closed").issue.reload()
    issue.cancel(by=MAINTAINER, reason=WHY)
    issue.remove(by=MAINTAINER, reason=WHY)
    assert PullRequest.select().count() == 0
    assert broken(store) == []


def test_through_the_library_a_refusal_is_ours(store: Store) -> None:
    issue = World(store).issues("queued")
    with pytest.raises(StoreError, match=r"issues\.priority: not one of its words"), store._session.error_boundary():
        Issue.update(priority="asap").where(Issue.id == issue.id).execute()
    with pytest.raises(peewee.IntegrityError, match="not one of its words"):
        Issue.update(priority="asap").where(Issue.id == issue.id).execute()
    assert issue.reload().priority == "medium"


# ---- put in place, and kept there --------------------------------------------------------------------------


def drop_one(store: Store) -> None:
    if store.database.kind == "sqlite":
        store.database.execute_sql("DROP TRIGGER dispatch_issues_update")
    else:
        store.database.execute_sql("DROP TRIGGER dispatch_issues ON issues")


def weaken_one(store: Store) -> None:
    if store.database.kind == "sqlite":
        (text,) = store.database.execute_sql(
            "SELECT sql FROM sqlite_master WHERE name = 'dispatch_issues_update'"
        ).fetchone()
        drop_one(store)
        store.database.execute_sql(text.replace("CASE", "CASE WHEN TRUE THEN NULL", 1))
    else:
        store.database.execute_sql("ALTER TABLE issues ENABLE TRIGGER dispatch_issues")


def empty_one(store: Store) -> None:
    if store.database.kind == "sqlite":
        weaken_one(store)
    else:
        store.database.execute_sql(
            "CREATE OR REPLACE FUNCTION dispatch_issues() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'"
        )


def redirect_one(store: Store) -> None:
    if store.database.kind == "sqlite":
        weaken_one(store)
    else:
        store.database.execute_sql("ALTER FUNCTION dispatch_issues() RESET search_path")


def silence_one(store: Store) -> None:
    if store.database.kind == "sqlite":
        drop_one(store)
    else:
        store.database.execute_sql("ALTER TABLE issues DISABLE TRIGGER dispatch_issues")


def replace_one(store: Store) -> None:
    """One that bears the name of ours, in its place, and does something else."""
    drop_one(store)
    if store.database.kind == "sqlite":
        store.database.execute_sql("CREATE TRIGGER dispatch_issues_update BEFORE UPDATE ON issues BEGIN SELECT 1; END")
    else:
        store.database.execute_sql("CREATE FUNCTION another() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN END'")
        store.database.execute_sql(
            "CREATE TRIGGER dispatch_issues BEFORE UPDATE ON issues FOR EACH ROW EXECUTE FUNCTION another()"
        )


def retype_one(store: Store) -> None:
    if store.database.kind == "sqlite":
        replace_one(store)
    else:
        store.database.execute_sql("DROP FUNCTION dispatch_issues() CASCADE")
        store.database.execute_sql("CREATE PROCEDURE dispatch_issues() LANGUAGE sql AS 'SELECT 1'")


def leave_one(store: Store) -> None:
    """What an older version of the library had, and this one has not."""
    stamped = f"BEGIN -- dispatch_state 0.0.1{chr(10)}"
    if store.database.kind == "sqlite":
        store.database.execute_sql(f"CREATE TRIGGER dispatch_extra BEFORE UPDATE ON issues {stamped}SELECT 1; END")
    else:
        store.database.execute_sql(
            f"CREATE FUNCTION dispatch_extra() RETURNS trigger LANGUAGE plpgsql AS '{stamped}RETURN NEW; END'"
        )


@pytest.mark.parametrize(
    "tamper", [drop_one, weaken_one, empty_one, redirect_one, silence_one, replace_one, retype_one, leave_one]
)
def test_what_was_changed_is_noticed_and_put_back_at_the_next_open(
    tamper: Callable[[Store], None], target: str, caplog: pytest.LogCaptureFixture
) -> None:
    with open_store(target) as store:
        tamper(store)
        assert enforcement.differences(store.database)
    caplog.clear()
    with open_store(target, migrate=False) as store:
        assert "nothing was changed" in caplog.text
        assert enforcement.differences(store.database)
    with open_store(target) as store:
        assert "they were put back" in caplog.text
        assert enforcement.differences(store.database) == []
    caplog.clear()
    with open_store(target):
        assert caplog.text == ""


TRIGGERS_OF_OTHERS = [
    "CREATE TABLE mine (said TEXT)",
    "CREATE TRIGGER dispatch_mine AFTER INSERT ON mine BEGIN SELECT 1; END",
    "CREATE TRIGGER dispatch_audit AFTER UPDATE ON issues BEGIN INSERT INTO mine VALUES (NEW.status); END",
]
FUNCTIONS_OF_OTHERS = [
    "CREATE TABLE mine (said TEXT)",
    "CREATE FUNCTION dispatch_mine() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
    "CREATE FUNCTION dispatch_issues(integer) RETURNS integer LANGUAGE sql AS 'SELECT $1'",
    "CREATE PROCEDURE dispatch_do() LANGUAGE sql AS 'SELECT 1'",
    "CREATE FUNCTION dispatch_audit() RETURNS trigger LANGUAGE plpgsql AS"
    " 'BEGIN INSERT INTO mine VALUES (NEW.status); RETURN NEW; END'",
    "CREATE TRIGGER dispatch_audit AFTER UPDATE ON issues FOR EACH ROW EXECUTE FUNCTION dispatch_audit()",
]


def of_others(store: Store) -> list[Any]:
    """The triggers, and on PostgreSQL the functions, that are there and bear no stamp."""
    query = "SELECT name, tbl_name FROM sqlite_master WHERE type = 'trigger' AND sql NOT LIKE '%-- dispatch_state%'"
    if store.database.kind == "postgresql":
        here = "current_schema()::regnamespace AND prosrc NOT LIKE '%%-- dispatch_state%%'"
        query = f"""SELECT proname, pronargs FROM pg_proc WHERE pronamespace = {here} UNION ALL
            SELECT tgname, 0 FROM pg_trigger JOIN pg_proc ON pg_proc.oid = tgfoid WHERE pronamespace = {here}"""
    return sorted(store.database.execute_sql(query).fetchall())


def test_what_is_somebody_elses_stays(target: str, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever it is called; every open works, says nothing, and leaves it as it was, and so does a restore."""
    with open_store(target) as store:
        for statement in TRIGGERS_OF_OTHERS if store.database.kind == "sqlite" else FUNCTIONS_OF_OTHERS:
            store.database.execute_sql(statement)
        there = of_others(store)
        drop_one(store)
    for _ in range(2):
        with open_store(target) as store:
            assert of_others(store) == there
            assert enforcement.differences(store.database) == []
            assert store.verify() == []
    assert len([told for told in caplog.messages if "they were put back" in told]) == 1
    with open_store(target) as store:
        with store.enforcement_suspended():
            assert of_others(store) == there
        World(store).new_issue().queue(by=MAINTAINER)
        assert store.database.execute_sql("SELECT said FROM mine").fetchall() == [("queued",)]
        assert of_others(store) == there


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
def test_a_schema_may_have_any_name(target: str) -> None:
    """Capital letters and dashes too."""
    with psycopg.connect(target, autocommit=True) as connection:
        connection.execute('CREATE SCHEMA "Team-1"')
        try:
            with open_store(postgres.in_schema('"Team-1"')) as store:
                issue = World(store).at("issues", "done")
                assert store.verify() == []
            with open_store(postgres.in_schema('"Team-1"')) as store:
                assert store.history(issue)[0].trigger == "create"
        finally:
            connection.execute('DROP SCHEMA "Team-1" CASCADE')


def test_many_that_are_gone_are_counted(target: str, caplog: pytest.LogCaptureFixture) -> None:
    """The message stays short, and names the next step."""
    with open_store(target) as store:
        with store.database.atomic():
            enforcement.remove(store.database)
        gone = enforcement.differences(store.database)
    caplog.clear()
    with open_store(target, migrate=False):
        (told,) = caplog.messages
    assert f"{', '.join(gone[:3])} and {len(gone) - 3} more; nothing was changed; dispatch-state migrate" in told
    assert len(told) < 300


def test_an_older_library_leaves_a_newer_ones_triggers_alone(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as newer:
        newer.setattr(enforcement, "_STAMP", "-- dispatch_state 999.0")
        newer.setattr(enforcement, "_NO_TRUNCATE", enforcement._NO_TRUNCATE.replace(enforcement.__version__, "999.0"))
        with open_store(target):
            pass
    for wanted in (True, False):
        with pytest.raises(SchemaTooNew, match=r"version 999\.0; upgrade"):
            open_store(target, migrate=wanted)


def test_they_stay_through_a_failed_transaction(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), store.database.atomic():
        enforcement.remove(store.database)
        assert enforcement.differences(store.database)
        raise ZeroDivisionError
    assert enforcement.differences(store.database) == []


# ---- beside migrations -------------------------------------------------------------------------------------

REBUILD = r"""
import re

def up(migrator, db):
    if db.kind == "postgresql":
        tables = "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"
        for (table,) in db.execute_sql(tables).fetchall():
            db.execute_sql(f"ALTER TABLE {table} ADD added integer")
            db.execute_sql(f"UPDATE {table} SET added = 1")
            db.execute_sql(f"ALTER TABLE {table} DROP added")
        return
    tables = "SELECT name, sql FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    indexes = db.execute_sql("SELECT sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL").fetchall()
    for name, text in db.execute_sql(tables).fetchall():
        db.execute_sql(re.sub(rf'(CREATE TABLE[^(]*?)"?{name}"?', r"\1rebuilt", text, count=1))
        db.execute_sql(f"INSERT INTO rebuilt SELECT * FROM {name}")
        db.execute_sql(f"DROP TABLE {name}")
        db.execute_sql(f"ALTER TABLE rebuilt RENAME TO {name}")
    for (text,) in indexes:
        db.execute_sql(text)
"""


def test_a_migration_that_rebuilds_every_table(target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither are the rows lost, nor does anything go round while it runs or afterwards."""
    with open_store(target) as store:
        issue = scene(store).queued
        before = everything(store)
    folder = tmp_path / "migrations"
    shutil.copytree(migrate._folder(), folder)
    (folder / "900_rebuild.py").write_text(REBUILD)
    monkeypatch.setattr(migrate, "_folder", lambda: folder)
    with open_store(target) as store:
        assert everything(store) == before
        assert enforcement.differences(store.database) == []
        assert refused(attempt(store.database.execute_sql, moved(issue, "done")))
        issue.reload().dequeue(by=MAINTAINER)
        assert broken(store) == []
        if store.database.kind == "sqlite":
            assert store.database.execute_sql("PRAGMA foreign_key_check").fetchall() == []


def everything(store: Store) -> dict[str, list[Any]]:
    return {model._meta.table_name: list(model.select().order_by(model._meta.primary_key).tuples()) for model in EVERY}
