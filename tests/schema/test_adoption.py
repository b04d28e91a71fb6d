"""A database that another program made from the seed's schema opens as one of ours, or is left exactly as it was."""

from __future__ import annotations

import multiprocessing
import sqlite3
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from dispatch_state import Agent, GuardRefused, Issue, MigrationFailed, PullRequest, SchemaTooOld, open_store
from dispatch_state.models.row import MODELS
from dispatch_state.models.tables import EVERY, STATEFUL
from dispatch_state.schema.adoption import columns_of_the_seed
from dispatch_state.testing.factories import World
from dispatch_state.testing.outcomes import everything
from dispatch_state.testing.scratch import Clock, scratch_target
from dispatch_state.testing.scripts import Player
from tests.golden import scene
from tests.migrations import SEED
from tests.world import MAINTAINER, WHY

TIMES = ("Z", ".0Z", ".000000000Z", "+00:00", "")
"""How the moments of a foreign database end, one after the other."""
SPAWN = multiprocessing.get_context("spawn")


def fill() -> None:
    """A row of each kind in every status, and of each other table."""
    scene()
    world = World()
    for model in STATEFUL:
        for status in model.machine.states:
            world.at(model._meta.table_name, str(status))


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A filled database of the seed's schema, in another program's hand, and the rows that it holds."""
    with scratch_target() as ours:
        with open_store(ours, durability="normal", clock=Clock()):
            fill()
            rows = everything()
        path = tmp_path_factory.mktemp("foreign") / "seed.db"
        with sqlite3.connect(path) as connection:
            connection.executescript(SEED)
            connection.execute("ATTACH ? AS ours", (ours,))
            for model in EVERY:
                if model._meta.table_name != "transition_log":
                    copied(connection, model)
        connection.close()
    return path, rows


def copied(connection: sqlite3.Connection, model: Any) -> None:
    """Copy a table, its ids in upper case, its moments as Go or JavaScript write them."""
    table = model._meta.table_name
    names = [f.column_name for f in model._meta.sorted_fields if f.column_name in columns_of_the_seed()[table]]
    for number, row in enumerate(connection.execute(f"SELECT {', '.join(names)} FROM ours.{table}").fetchall()):
        values = [hand(name, value, number) for name, value in zip(names, row, strict=True)]
        marks = ", ".join("?" * len(names))
        connection.execute(f"INSERT INTO main.{table} ({', '.join(names)}) VALUES ({marks})", values)


def hand(name: str, value: Any, number: int) -> Any:
    if isinstance(value, str) and (name == "id" or name.endswith("_id")) and len(value) == 36:
        return value.upper()
    if isinstance(value, str) and value.endswith(".000000+00:00"):
        return value.removesuffix(".000000+00:00") + TIMES[number % len(TIMES)]
    return value.upper() if name == "status" and number % 2 else value


@pytest.fixture
def file(foreign: tuple[Path, dict[str, Any]], tmp_path: Path) -> Path:
    copy = tmp_path / "seed.db"
    copy.write_bytes(foreign[0].read_bytes())
    return copy


# ---- what is adopted -----------------------------------------------------------------------------------


def test_every_row_is_what_it_was(file: Path, foreign: tuple[Path, dict[str, Any]]) -> None:
    """Ids, times and words in our form; version 1, and a log row that says where it was found."""
    wanted = foreign[1]
    with open_store(file) as store:
        found = everything()
        log = found.pop("transition_log")
        for table, rows in found.items():
            for key, row in rows.items():
                other = {**wanted[table][key], **({"version": 1} if "version" in row else {})}
                columns = {field.name: field.column_name for field in MODELS[table]._meta.sorted_fields}
                beyond = {name for name in row if columns[name] not in columns_of_the_seed()[table]} - {"version"}
                assert {k: v for k, v in row.items() if k not in beyond} == {
                    k: v for k, v in other.items() if k not in beyond
                }
            assert rows.keys() == wanted[table].keys()
        stateful = {row["id"]: str(row["status"]) for m in STATEFUL for row in found[m._meta.table_name].values()}
        assert {(row["entity_id"], row["dest"]) for row in log.values()} == set(stateful.items())
        assert {(row["trigger"], row["source"], row["version"], row["actor"]) for row in log.values()} == {
            ("adopt", None, 1, "system:adoption")
        }
        assert store.verify() == []


def test_rows_go_on_from_where_they_were(file: Path) -> None:
    with open_store(file) as store:
        issue = Issue.by_status("queued").get()
        agent = Agent.create(agent_type=issue.agent_type or "coder")
        issue.assign(agent, by=agent)
        issue.start(by=agent)
        issue.complete(by=agent)
        assert [move.trigger for move in store.history(issue)] == ["adopt", "assign", "start", "complete"]
        Player(store, Clock()).play(range(60))
        assert {move.trigger for move in store.changes(limit=100_000)} > {"adopt", "start", "approve"}
        assert store.verify() == []


def test_it_is_adopted_once(file: Path) -> None:
    open_store(file).close()
    with open_store(file) as store:
        moves = len(store.changes(limit=100_000))
    with open_store(file, migrate=False) as store:
        assert len(store.changes(limit=100_000)) == moves


def opened(path: str, begin: Any, told: Any) -> None:
    begin.wait()
    try:
        with open_store(path) as store:
            told.put(len(store.changes(limit=100_000)))
    except Exception as error:
        told.put(repr(error))


def test_of_four_processes_one_adopts(file: Path, foreign: tuple[Path, dict[str, Any]]) -> None:
    begin, told = SPAWN.Barrier(4), SPAWN.Queue()
    others = [SPAWN.Process(target=opened, args=(str(file), begin, told)) for _ in range(4)]
    for other in others:
        other.start()
    moves = {told.get() for _ in others}
    for other in others:
        other.join()
        assert other.exitcode == 0
    assert moves == {sum(len(foreign[1][model._meta.table_name]) for model in STATEFUL)}


def test_broken_invariants_do_not_stop_it(file: Path) -> None:
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE issues SET assigned_agent_id = NULL WHERE status = 'in_progress'")
        connection.execute("UPDATE issues SET completed_at = NULL WHERE lower(status) = 'done'")
    connection.close()
    with open_store(file) as store:
        assert {found.invariant for found in store.verify()} >= {"I4"}


def test_an_empty_database_of_the_seed(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "seed.db") as connection:
        connection.executescript(SEED)
    connection.close()
    with open_store(tmp_path / "seed.db") as store:
        assert store.verify() == []
        Agent.create(agent_type="coder").stop(by=MAINTAINER, reason=WHY)


def test_without_migrating_it_is_too_old(file: Path) -> None:
    before = file.read_bytes()
    with pytest.raises(SchemaTooOld, match="adopt"):
        open_store(file, migrate=False).close()
    assert file.read_bytes() == before


def test_voters_that_were_left_open_are_the_types(file: Path) -> None:
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE proposals SET required_voters = NULL")
    connection.close()
    with open_store(file) as store:
        assert all(row["required_voters"] for row in everything()["proposals"].values())
        assert store.verify() == []


# ---- what is not ---------------------------------------------------------------------------------------

CHANGES: dict[str, tuple[str, str]] = {
    "an id that is none": ("UPDATE agent_logs SET id = 'log-1' WHERE rowid = 1", 'agent_logs "log-1": id: not a UUID'),
    "a key that is none": ("UPDATE agent_logs SET issue_id = '17'", "issue_id: not a UUID"),
    "an id that is a number": ("UPDATE agent_logs SET id = 17 WHERE rowid = 1", "id: not a UUID"),
    "two ids that become one": (
        "INSERT INTO gate_comments SELECT lower(id), gate_id, author, content, created_at FROM gate_comments",
        "id: another row has the same id",
    ),
    "an unknown status": (
        "UPDATE issues SET status = 'doing' WHERE status = 'queued'",
        'status: "doing" is not one of',
    ),
    "an unknown type": ("UPDATE agents SET agent_type = 'wizard'", "agent_type:"),
    "a moment that is none": ("UPDATE epics SET created_at = 'yesterday'", "created_at: not a moment"),
    "a moment as a number": ("UPDATE epics SET created_at = 1769851800", "created_at: not a moment"),
    "no JSON": ("UPDATE issues SET labels = '[one]'", "labels: not JSON"),
    "metrics that are no numbers": (
        'UPDATE agents SET metrics = \'{"tokens_used": "7"}\'',
        "metrics: takes a JSON object of",
    ),
    "NaN": ("UPDATE agents SET metrics = '{\"a\": NaN}'", "metrics:"),
    "JSON of another shape": ("UPDATE issues SET labels = '{}'", "labels: takes a list"),
    "bytes": ("UPDATE issues SET title = x'ff'", "title: not text in UTF-8"),
    "text that is no UTF-8": ("UPDATE issues SET title = CAST(x'ff' AS TEXT)", "title: not text in UTF-8"),
    "a NUL": ("UPDATE issues SET title = 'a' || char(0)", "title: contains a NUL"),
    "a word for a number": ("UPDATE stages SET stage_order = 'first'", "stage_order: takes an integer"),
    "an orphan": (
        "UPDATE issues SET assigned_agent_id = '01890A5D-AC96-774B-BCCE-B302099A8057' WHERE assigned_agent_id IS NULL",
        "assigned_agent_id: names a row that is not in agents",
    ),
    "a confidence beyond": ("UPDATE votes SET confidence = 'high'", "confidence: takes a number"),
    "a flag that is none": ("UPDATE pull_requests SET checks_passing = 7", "checks_passing: neither 0 nor 1"),
}


@pytest.mark.parametrize("case", CHANGES)
def test_what_cannot_be_adopted_is_named_and_left(file: Path, case: str) -> None:
    change, says = CHANGES[case]
    with sqlite3.connect(file) as connection:
        connection.execute(change)
    connection.close()
    before = file.read_bytes()
    with pytest.raises(MigrationFailed, match="nothing was changed") as refused:
        open_store(file).close()
    assert says in str(refused.value)
    assert file.read_bytes() == before


def test_twenty_are_named_and_the_rest_counted(file: Path) -> None:
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE issues SET labels = '[one]', priority = 'soon'")
    connection.close()
    with pytest.raises(MigrationFailed, match=r"; and \d+ more$") as refused:
        open_store(file).close()
    assert str(refused.value).count(": not JSON") + str(refused.value).count(': "soon"') == 20


@pytest.mark.parametrize(
    ("change", "taken"),
    [
        ("ALTER TABLE issues ADD COLUMN mood TEXT", "issues"),
        ("DROP TABLE votes", "issues"),
        ("CREATE TABLE transition_log (x)", "transition_log"),
        ("CREATE INDEX idx_issues_claim ON issues (id)", "idx_issues_claim"),
        ("CREATE VIEW dispatch_migration AS SELECT 1", "dispatch_migration"),
    ],
)
def test_another_schema_is_not_the_seeds(file: Path, change: str, taken: str) -> None:
    run(file, change)
    before = file.read_bytes()
    with pytest.raises(MigrationFailed, match="made by another program") as refused:
        open_store(file).close()
    assert taken in str(refused.value)
    assert file.read_bytes() == before


# ---- beside what the program, or another, has in the file ------------------------------------------------

SQLX = """
    CREATE TABLE _sqlx_migrations (
        version BIGINT PRIMARY KEY,
        description TEXT NOT NULL,
        installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
        success BOOLEAN NOT NULL,
        checksum BLOB NOT NULL,
        execution_time BIGINT NOT NULL
    );
    INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES
        (1, 'initial schema', TRUE, x'0102', 1200000),
        (2, 'add epics', TRUE, x'0203', 800000),
        (3, 'add governance', TRUE, x'0304', 900000);
"""
"""What `sqlx::migrate!` leaves in a database whose schema it made."""


def run(file: Path, script: str) -> None:
    connection = sqlite3.connect(file)
    connection.executescript(script)
    connection.close()


def asked(file: Path, query: str) -> list[Any]:
    connection = sqlite3.connect(file)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def test_what_sqlx_made_is_adopted_and_its_history_stays(file: Path) -> None:
    run(file, SQLX)
    before = asked(file, "SELECT * FROM _sqlx_migrations")
    with open_store(file) as store:
        assert store.verify() == []
        assert {move.trigger for move in store.changes()} == {"adopt"}
    assert asked(file, "SELECT * FROM _sqlx_migrations") == before
    assert asked(file, "SELECT sql FROM sqlite_master WHERE name = '_sqlx_migrations'")[0][0] in SQLX


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            "UPDATE _sqlx_migrations SET success = FALSE WHERE version = 2",
            "migration 2 of the program that made the database failed",
        ),
        ("INSERT INTO _sqlx_migrations VALUES (4, 'more', '2026-01-31', TRUE, x'04', 1)", "applied migration 4"),
        ("INSERT INTO _sqlx_migrations VALUES (20260131, 'more', '2026-01-31', FALSE, x'04', 1)", "20260131"),
    ],
)
@pytest.mark.parametrize("wanted", [True, False])
def test_what_sqlx_did_not_finish_or_went_beyond_is_left(file: Path, change: str, says: str, wanted: bool) -> None:
    run(file, SQLX + change)
    before = file.read_bytes()
    with pytest.raises(MigrationFailed, match=rf"nothing was changed: .*{says}.*_sqlx_migrations"):
        open_store(file, migrate=wanted).close()
    assert file.read_bytes() == before


OTHERS = """
    CREATE TABLE "users' notes" (id INTEGER PRIMARY KEY, issue TEXT NOT NULL REFERENCES issues, agent TEXT
        REFERENCES agents (id) ON DELETE SET NULL, orphan TEXT REFERENCES issues (id));
    CREATE TABLE plain (issue TEXT PRIMARY KEY REFERENCES Issues (ID)) WITHOUT ROWID;
    INSERT INTO "users' notes" (issue, orphan) SELECT id, '01890A5D-AC96-774B-BCCE-B302099A8057' FROM issues;
    UPDATE "users' notes" SET agent = (SELECT id FROM agents LIMIT 1);
    INSERT INTO plain SELECT id FROM issues;
    CREATE VIEW open_issues AS SELECT * FROM issues WHERE lower(status) <> 'done';
    CREATE VIEW broken AS SELECT * FROM nowhere;
    CREATE TRIGGER dispatch_audit AFTER UPDATE ON issues BEGIN INSERT INTO "users' notes" (issue) VALUES (NEW.id); END;
    CREATE TABLE _sqlx_migrations (x);
    ANALYZE;
"""


def test_tables_and_views_of_others_stay_and_their_keys_name_the_same_rows(file: Path) -> None:
    run(file, OTHERS)
    others = 'SELECT sql FROM sqlite_master WHERE name IN ("users\' notes", "plain", "open_issues", "dispatch_audit")'
    before, count = asked(file, others), asked(file, "SELECT count(*) FROM issues")
    assert asked(file, "SELECT count(*) FROM issues WHERE id <> lower(id)") == count
    with open_store(file) as store:
        assert store.verify() == []
    assert asked(file, others) == before
    joined = """SELECT count(DISTINCT i.id) FROM issues i JOIN "users' notes" n ON n.issue = i.id
        JOIN agents a ON a.id = n.agent JOIN plain p ON p.issue = i.id"""
    assert asked(file, joined) == count
    orphans = {row[0] for row in asked(file, 'SELECT orphan FROM "users\' notes"')}
    assert orphans == {"01890A5D-AC96-774B-BCCE-B302099A8057", None}
    assert {row[0] for row in asked(file, "PRAGMA foreign_key_check")} == {"users' notes"}
    assert asked(file, "SELECT count(*) FROM open_issues")[0][0] > 0


def test_a_trigger_of_others_that_refuses_stops_it(file: Path) -> None:
    run(file, "CREATE TRIGGER frozen BEFORE UPDATE ON issues BEGIN SELECT RAISE(ABORT, 'frozen for the audit'); END")
    before = file.read_bytes()
    with pytest.raises(MigrationFailed, match="frozen for the audit"):
        open_store(file).close()
    assert file.read_bytes() == before


def test_ids_are_uuids_afterwards(file: Path) -> None:
    with open_store(file):
        assert all(isinstance(key, UUID) for key in everything()["issues"])


# ---- what was before ------------------------------------------------------------------------------------


@pytest.mark.parametrize("released", [False, True])
def test_an_agent_does_not_merge_the_work_it_had_before(file: Path, released: bool) -> None:
    """The log of an adopted issue does not begin with who got it; the row says so, and so does its release."""
    with open_store(file) as store:
        request = PullRequest.select().join(Issue).where(
            PullRequest.status == "open", Issue.assigned_agent.is_null(False), Issue.status == "awaiting_review"
        ).first()  # fmt: skip
        author, other = request.issue.assigned_agent, Agent.create(agent_type="reviewer")
        assert [move.trigger for move in store.history(request.issue)] == ["adopt"]
        if released:
            request.issue.release(by=MAINTAINER, reason=WHY)
        with pytest.raises(GuardRefused, match="was once assigned"):
            request.merge(by=author)
        assert request.reload().may("merge", by=other)


def test_metrics_go_on_under_the_name_they_had(file: Path) -> None:
    with sqlite3.connect(file) as connection:
        found = connection.execute("SELECT upper(id) FROM agents WHERE lower(status) = 'idle' ORDER BY id").fetchall()
        measured = '{"issues_completed": 3, "avg_completion_time": 100.0, "tokens_used": 7, "cost": 0.5}'
        connection.execute("UPDATE agents SET metrics = ? WHERE id = ?", (measured, found[0][0]))
        never = '{"issues_completed": 0, "avg_completion_time": null, "tokens_used": 0}'
        connection.execute("UPDATE agents SET metrics = ? WHERE id = ?", (never, found[1][0]))
    connection.close()
    clock = Clock()
    with open_store(file, clock=clock) as store:
        agent, other = (Agent.get_by_id(key) for (key,) in found[:2])
        assert agent.metrics == {"issues_completed": 3, "avg_completion_time": 100.0, "tokens_used": 7, "cost": 0.5}
        assert other.metrics == {"issues_completed": 0, "tokens_used": 0}
        issue = World().new_issue()
        World().start(issue, agent)
        clock.forward(seconds=20)
        issue.complete(by=agent)
        assert agent.reload().metrics == {
            "issues_completed": 4, "avg_completion_time": 80.0, "tokens_used": 7, "cost": 0.5, "errors_encountered": 0
        }  # fmt: skip
        assert store.verify() == []
