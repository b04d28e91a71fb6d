"""`verify()` reports nothing on a sound store, and names each broken invariant with its row."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from typing import Any

import pytest

from dispatch_state import InvalidValue, Issue, Store, TransitionLog, open_store
from dispatch_state.ids import new_id
from dispatch_state.schema import enforcement
from tests.audit.violations import told
from tests.backends import on_sqlite
from tests.ways_round import log_row
from tests.world import MAINTAINER, MODELS, WHY, World


def test_every_row_in_every_status_is_sound(store: Store) -> None:
    world = World(store)
    for table, model in MODELS.items():
        for status in model.machine.states:
            world.at(table, str(status))
    assert store.verify() == []


def test_removed_rows_leave_a_sound_store(store: Store) -> None:
    world = World(store)
    world.at("epics", "completed").remove(by=MAINTAINER, reason=WHY)
    world.at("proposals", "rejected").remove(by=MAINTAINER, reason=WHY)
    issue = world.pull_requests("closed").issue.reload()
    issue.cancel(by=MAINTAINER, reason=WHY)
    issue.remove(by=MAINTAINER, reason=WHY)
    assert store.verify() == []


def test_inside_a_block_it_sees_the_block(store: Store) -> None:
    with store.atomic():
        issue = World(store).issues("queued")
        assert store.verify() == []
        with pytest.raises(ZeroDivisionError), store.atomic():
            enforcement.remove(store.database)
            store.database.execute_sql("UPDATE issues SET version = 9")
            assert {(v.invariant, v.id) for v in told(store)} == {("I12", issue.id)}
            raise ZeroDivisionError
        assert store.verify() == []


# ---- each invariant, broken alone ------------------------------------------------------------------------


Broken = tuple[str, str, Any]
"""An invariant, a table and a row that breaks it."""


def tampering(world: World) -> Iterator[tuple[str, Any]]:
    """SQL that breaks an invariant, and the violation that must be reported; others may be reported too."""
    one = world.at("epics", "awaiting_gate")
    yield f"UPDATE epics SET blocked_at_gate_id = NULL WHERE id = '{one.id}'", ("I1", "epics", one.id)
    stage = world.stages("awaiting_gate")
    other = world.gates("approved")
    yield (
        f"UPDATE epics SET blocked_at_gate_id = '{other.id}' WHERE id = '{stage.epic_id}'",
        ("I1", "epics", stage.epic_id),
    )
    yield f"UPDATE stages SET status = 'in_progress' WHERE id = '{stage.id}'", ("I1", "epics", stage.epic_id)
    first, second = world.running_epic().stages.order_by("stage_order")
    epic = first.epic
    yield f"UPDATE stages SET status = 'in_progress' WHERE id = '{second.id}'", ("I2", "epics", epic.id)
    yield f"UPDATE epics SET status = 'ready' WHERE id = '{epic.id}'", ("I2", "stages", first.id)
    yield f"UPDATE epics SET current_stage_id = '{second.id}' WHERE id = '{epic.id}'", ("I2", "epics", epic.id)
    yield f"UPDATE stages SET stage_order = -1 WHERE id = '{second.id}'", ("I2", "stages", second.id)
    yield f"UPDATE stages SET status = 'approved' WHERE id = '{second.id}'", ("I2", "stages", second.id)
    order = f"UPDATE stages SET stage_order = {first.stage_order} WHERE id = '{second.id}'"
    yield order, ("I2", "epics", epic.id)
    done, over = world.at("epics", "completed"), world.at("epics", "cancelled")
    yield f"UPDATE stages SET status = 'pending' WHERE epic_id = '{done.id}'", ("I3", "epics", done.id)
    free = world.new_issue()
    yield f"UPDATE issues SET epic_id = '{over.id}' WHERE id = '{free.id}'", ("I3", "epics", over.id)
    gate = over.stages.order_by("stage_order").first().gates.get()
    yield f"UPDATE gates SET status = 'pending' WHERE id = '{gate.id}'", ("I3", "epics", over.id)
    yield f"UPDATE stages SET status = 'skipped' WHERE epic_id = '{epic.id}'", ("I3", "epics", epic.id)
    ends = (("epics", "completed"), ("issues", "done"), ("agents", "completed"), ("stages", "approved"))
    for table, status, column in (
        *((t, s, "completed_at") for t, s in ends),
        ("gates", "approved", "approved_at"),
        ("pull_requests", "merged", "merged_at"),
    ):
        row = world.at(table, status)
        yield f"UPDATE {table} SET {column} = NULL WHERE id = '{row.id}'", ("I4", table, row.id)
    yield f"UPDATE issues SET completed_at = created_at WHERE id = '{free.id}'", ("I4", "issues", free.id)
    closed = world.at("stages", "approved")
    within = closed.epic.add_issue(**world.issue_columns())
    yield f"UPDATE issues SET stage_id = '{closed.id}' WHERE id = '{within.id}'", ("I5", "stages", closed.id)
    yield f"UPDATE gates SET status = 'rejected' WHERE stage_id = '{stage.id}'", ("I5", "stages", stage.id)
    busy = world.at("issues", "in_progress")
    yield (
        f"UPDATE issues SET epic_id = '{epic.id}', stage_id = '{second.id}' WHERE id = '{busy.id}'",
        ("I5", "issues", busy.id),
    )
    yield f"UPDATE issues SET assigned_agent_id = NULL WHERE id = '{busy.id}'", ("I6", "issues", busy.id)
    idle = world.agent()
    yield f"UPDATE issues SET assigned_agent_id = '{idle.id}' WHERE id = '{free.id}'", ("I6", "issues", free.id)
    yield f"UPDATE issues SET stage_id = '{first.id}' WHERE id = '{free.id}'", ("I6", "issues", free.id)
    holder = busy.assigned_agent_id
    yield f"UPDATE agents SET current_issue_id = NULL WHERE id = '{holder}'", ("I7", "agents", holder)
    yield f"UPDATE agents SET current_issue_id = '{free.id}' WHERE id = '{holder}'", ("I7", "agents", holder)
    yield f"UPDATE agents SET current_issue_id = '{free.id}' WHERE id = '{idle.id}'", ("I7", "agents", idle.id)
    another = world.at("issues", "in_progress")
    yield f"UPDATE issues SET assigned_agent_id = '{holder}' WHERE id = '{another.id}'", ("I8", "agents", holder)
    forced, vetoed = world.at("proposals", "approved"), world.at("proposals", "vetoed")
    yield f"UPDATE proposals SET resolved_at = NULL WHERE id = '{forced.id}'", ("I9", "proposals", forced.id)
    yield f"UPDATE proposals SET forced_by = NULL WHERE id = '{forced.id}'", ("I9", "proposals", forced.id)
    yield f"UPDATE proposals SET vetoed_by = NULL WHERE id = '{vetoed.id}'", ("I9", "proposals", vetoed.id)
    yield (
        f"DELETE FROM decisions WHERE proposal_id = '{vetoed.id}' AND decision_type = 'human_veto'",
        ("I9", "proposals", vetoed.id),
    )
    open_one = world.new_proposal(threshold="unanimous", required_voters=["coder", "pm"])
    open_one.vote(world.agent(), "approve", WHY)
    vote = open_one.votes.get()
    yield f"UPDATE votes SET voter_type = 'docs' WHERE id = '{vote.id}'", ("I10", "votes", vote.id)
    judged = world.at("gates", "approved")
    move = moved(judged, "approve")
    yield f"DELETE FROM decisions WHERE id = '{move.decision_id}'", ("I11", "transition_log", move.seq)
    yield (
        f"UPDATE decisions SET decision_type = 'gate_rejected' WHERE id = '{move.decision_id}'",
        ("I11", "transition_log", move.seq),
    )
    yield f"UPDATE transition_log SET decision_id = NULL WHERE seq = {move.seq}", ("I11", "decisions", move.decision_id)
    turned_down = moved(world.at("gates", "rejected"), "reject")
    yield (
        f"UPDATE transition_log SET cause_seq = 1, decision_id = NULL WHERE seq = {turned_down.seq}",
        ("I11", "transition_log", turned_down.seq),
    )
    begun = moved(busy, "start")
    yield f"DELETE FROM transition_log WHERE seq = {begun.seq}", ("I12", "issues", busy.id)
    yield (
        f"UPDATE transition_log SET \"trigger\" = 'queue' WHERE seq = {begun.seq}",
        ("I12", "transition_log", begun.seq),
    )
    yield f"UPDATE transition_log SET source = 'queued' WHERE seq = {begun.seq}", ("I12", "transition_log", begun.seq)
    yield f"UPDATE transition_log SET cause_seq = seq WHERE seq = {begun.seq}", ("I12", "transition_log", begun.seq)
    yield f"UPDATE issues SET status = 'queued' WHERE id = '{free.id}'", ("I12", "issues", free.id)
    yield f"DELETE FROM issues WHERE id = '{free.id}'", ("I12", "issues", free.id)
    yield (
        f"UPDATE decisions SET decided_by = 'nobody' WHERE id = '{move.decision_id}'",
        ("I13", "decisions", move.decision_id),
    )
    yield f"UPDATE transition_log SET actor = 'human:' WHERE seq = {begun.seq}", ("I13", "transition_log", begun.seq)
    for number in (-7, 0, 2**53 + 1, 2**63 - 1):
        yield f"UPDATE transition_log SET seq = {number} WHERE seq = {begun.seq}", ("I21", "transition_log", number)
    yield f"UPDATE gates SET approved_by = 'A B' WHERE id = '{judged.id}'", ("I13", "gates", judged.id)
    yield f"UPDATE issues SET priority = 'asap' WHERE id = '{free.id}'", ("I13", "issues", free.id)
    yield f"UPDATE issues SET labels = '{{}}' WHERE id = '{free.id}'", ("I13", "issues", free.id)
    yield f"UPDATE votes SET confidence = 2 WHERE id = '{vote.id}'", ("I13", "votes", vote.id)


def moved(row: Any, trigger: str) -> Any:
    return TransitionLog.get(TransitionLog.entity_id == row.id, TransitionLog.trigger == trigger)


def test_each_invariant_broken_alone_is_reported(world: World, store: Store) -> None:
    ways = list(tampering(world))
    assert told(store) == []
    for sql, wanted in ways:
        with store.database.atomic() as transaction:
            store.database.execute_sql(sql)
            found = {(v.invariant, v.entity, v.id) for v in told(store)}
            transaction.rollback()
        assert wanted in found, (sql, found)
    assert {wanted[0] for _, wanted in ways} == {f"I{number}" for number in (*range(1, 14), 21)}
    assert told(store) == []


def test_a_row_that_was_removed_too_early_is_reported(world: World, store: Store) -> None:
    """Even if its log is complete: a gate is removed with its stage, or when somebody has decided."""
    gate = world.running_epic().stages.first().add_gate("approval", "a human looks")
    store.database.execute_sql(log_row(gate, "remove", None))
    store.database.execute_sql(f"DELETE FROM gates WHERE id = '{gate.id}'")
    (violation,) = told(store)
    assert (violation.invariant, violation.message) == ("I12", "removes a row that is not final, without its owner")


@on_sqlite
@pytest.mark.parametrize(
    ("change", "invariant"),
    [
        ("labels = '[no JSON'", "I13"),
        ("labels = x'5b5d'", "I13"),
        (f"labels = '{'[' * 5000}{']' * 5000}'", "I13"),
        ("labels = '[1]'", "I13"),
        ("created_at = 'yesterday'", "I13"),
        ("title = x'00'", "I13"),
        ("github_id = 'seven'", "I13"),
        ("version = 'two'", "I12"),
        ("status = 'lost'", "I13"),
        ("epic_id = 'nowhere'", "foreign key"),
        ("id = 'x'", "I12"),
        ("id = CAST(x'ff' AS TEXT)", "I13"),
        ("labels = CAST(x'5b22ff225d' AS TEXT)", "I13"),
    ],
)
def test_what_sqlite_would_store_is_reported(change: str, invariant: str, world: World, store: Store) -> None:
    world.new_issue()
    store.database.execute_sql("PRAGMA foreign_keys = 0")
    store.database.execute_sql(f"UPDATE issues SET {change}")
    assert invariant in {violation.invariant for violation in told(store)}


@on_sqlite
@pytest.mark.parametrize(
    "change", ["id = NULL", "id = CAST(x'ff' AS TEXT)", "author = CAST(x'ff' AS TEXT)", "id = x'ff', author = ''"]
)
def test_what_cannot_be_read_is_reported(change: str, world: World, store: Store) -> None:
    """SQLite has keys that are NULL, and text that is no UTF-8."""
    world.gates("rejected").comment("why", by=MAINTAINER)
    store.database.execute_sql(f"UPDATE gate_comments SET {change}")
    found = told(store)
    assert {(v.invariant, v.entity) for v in found} == {("I13", "gate_comments")}
    assert all(str(v).isprintable() for v in found)


@on_sqlite
def test_what_sqlite_says_of_its_own_file_is_reported(world: World, store: Store) -> None:
    world.new_issue()
    store.database.execute_sql("PRAGMA writable_schema = 1")
    store.database.execute_sql("UPDATE sqlite_master SET sql = replace(sql, 'title TEXT NOT NULL', 'title TEXT')")
    store.database.execute_sql("PRAGMA writable_schema = RESET")
    store.database.execute_sql("UPDATE issues SET title = NULL")
    store.database.execute_sql("PRAGMA writable_schema = 1")
    store.database.execute_sql("UPDATE sqlite_master SET sql = replace(sql, 'title TEXT,', 'title TEXT NOT NULL,')")
    store.database.execute_sql("PRAGMA writable_schema = RESET")
    assert ("integrity", "NULL value in issues.title") in {(v.invariant, v.message) for v in told(store)}


@on_sqlite
def test_rows_of_other_programs_are_not_queried(store: Store) -> None:
    World(store).new_issue()
    for statement in (
        "CREATE TABLE users (name TEXT, age, issue TEXT REFERENCES issues (id))",
        "INSERT INTO users VALUES (NULL, -1, 'nowhere')",
        "PRAGMA writable_schema = 1",
        "UPDATE sqlite_master SET sql = replace(sql, 'name TEXT, age', 'name TEXT NOT NULL, age CHECK (age > 0)')",
        "PRAGMA writable_schema = RESET",
    ):
        store.database.execute_sql("PRAGMA foreign_keys = 0")
        store.database.execute_sql(statement)
    assert len(store.database.execute_sql("PRAGMA integrity_check").fetchall()) == 2
    assert store.verify() == []


COUNTERS = {
    "sqlite": {
        "gone": "DELETE FROM sqlite_sequence WHERE name = 'transition_log'",
        "behind": "UPDATE sqlite_sequence SET seq = 1 WHERE name = 'transition_log'",
        "below": "UPDATE sqlite_sequence SET seq = -1 WHERE name = 'transition_log'",
        "no number": "UPDATE sqlite_sequence SET seq = 'x' WHERE name = 'transition_log'",
        "NULL": "UPDATE sqlite_sequence SET seq = NULL WHERE name = 'transition_log'",
        "twice": "INSERT INTO sqlite_sequence VALUES ('transition_log', 1)",
        "without room": f"UPDATE sqlite_sequence SET seq = {2**63 - 1} WHERE name = 'transition_log'",
    },
    "postgresql": {
        "behind": "SELECT setval('transition_log_seq_seq', 1)",
        "by one": "SELECT setval('transition_log_seq_seq', max(seq), false) FROM transition_log",
        "without room": f"SELECT setval('transition_log_seq_seq', {2**63 - 1})",
    },
}
"""What may be done to the counter of the log's numbers."""


@pytest.mark.parametrize(("backend", "case"), [(kind, case) for kind, cases in COUNTERS.items() for case in cases])
def test_a_counter_that_was_moved_is_reported_and_put_right_at_the_next_open(
    backend: str, case: str, target: str, caplog: pytest.LogCaptureFixture
) -> None:
    with open_store(target) as store:
        issue = World(store).at("issues", "done")
        last = store.changes(limit=100_000)[-1].seq
        store.database.execute_sql(COUNTERS[backend][case])
        assert {(v.invariant, v.entity, v.id) for v in store.verify()} == {("I21", "transition_log", None)}
    with open_store(target, migrate=False) as store:
        assert {v.invariant for v in store.verify()} == {"I21"}
    assert "counter of the log's numbers" in caplog.text
    assert "nothing was changed" in caplog.text
    with open_store(target) as store:
        assert "it was corrected" in caplog.text
        assert store.verify() == []
        issue.remove(by=MAINTAINER, reason=WHY)
        assert [move.seq for move in store.changes(last)] == [last + 1]
    caplog.clear()
    with open_store(target) as store:
        assert store.verify() == []
    assert caplog.text == ""


def test_the_counter_of_an_empty_log(target: str) -> None:
    """A counter without room is repaired too. One that is ahead, after a rollback, is sound."""
    with open_store(target) as store:
        assert store.verify() == []
        far = "INSERT INTO sqlite_sequence VALUES ('transition_log', {})"
        far = far if store.database.kind == "sqlite" else "SELECT setval('transition_log_seq_seq', {})"
        store.database.execute_sql(far.format(2**60))
        assert {v.invariant for v in store.verify()} == {"I21"}
    with open_store(target) as store:
        assert store.verify() == []
        issue = World(store).new_issue()
        assert [move.seq for move in store.history(issue)] == [1]
        with pytest.raises(ZeroDivisionError), store.atomic():
            World(store).new_issue()
            raise ZeroDivisionError
        assert store.verify() == []


@pytest.mark.parametrize("number", [-7, 2**53 + 1])
def test_a_number_that_does_not_fit_does_not_prevent_opening(
    number: int, world: World, store: Store, target: str
) -> None:
    """`verify()` reports it, and the counter continues where the log ends."""
    world.new_issue()
    store.database.execute_sql(f"UPDATE transition_log SET seq = {number}")
    store.close()
    with open_store(target) as store:
        found = {(v.invariant, v.id) for v in store.verify()}
        assert found == {("I21", number)}


def test_a_missing_trigger_is_reported(store: Store) -> None:
    with store.database.atomic():
        enforcement.remove(store.database)
    assert {v.invariant for v in store.verify()} == {"enforcement"}


def test_triggers_of_a_newer_library_are_reported(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was opened by one while this store was open."""
    with monkeypatch.context() as newer, store.database.atomic():
        newer.setattr(enforcement, "_VERSION_COMMENT", "-- dispatch_state 999.0")
        enforcement.install(store.database)
    (violation,) = store.verify()
    assert (violation.invariant, violation.entity) == ("enforcement", store.database.kind)
    assert "999.0" in violation.message


def test_a_violation_says_what_it_is_in_a_line(world: World, store: Store) -> None:
    issue = world.new_issue()
    store.database.execute_sql("UPDATE issues SET version = 2")
    (violation,) = told(store)
    assert str(violation) == f"I12 issues {issue.id}: does not have the status of its last move in the log"


# ---- what is asked of many rows at once ------------------------------------------------------------------


def test_progress_is_reported(store: Store) -> None:
    """The callback hears every step from none to all, and may stop `verify()` by raising."""
    far: list[tuple[int, int]] = []
    assert store.verify(progress=lambda done, total: far.append((done, total))) == []
    total = far[-1][0]
    assert far == [(done, total) for done in range(total + 1)]
    assert total > 40

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.verify(progress=stop)
    with pytest.raises(InvalidValue, match="progress"):
        store.verify(progress=1)  # type: ignore[arg-type]
    assert World(store).new_issue().status == "unassigned", "nothing is left open"


def test_a_row_is_named_for_each_of_its_columns_that_is_wrong(world: World, store: Store) -> None:
    issue = world.new_issue()
    world.new_issue()
    store.database.execute_sql(
        f"UPDATE issues SET priority = 'asap', issue_type = 'poem', title = 'fine' WHERE id = '{issue.id}'"
    )
    assert {(v.id, v.message) for v in told(store)} == {
        (issue.id, "issues.priority: not one of its words"),
        (issue.id, "issues.issue_type: not one of its words"),
    }


BREAKS = {
    "the first is a later one": ("create", "version = 9"),
    "the first is no beginning": ("create", "source = 'queued'"),
    "one is missing": ("queue", "version = 9"),
    "it starts elsewhere": ("queue", "source = 'blocked'"),
    "it is of another table": ("queue", "entity = 'agents'"),
    "it came before the one it follows on": ("queue", "seq = -1"),
}


@pytest.mark.parametrize(("trigger", "change"), BREAKS.values(), ids=BREAKS)
def test_each_break_of_a_chain_is_reported(trigger: str, change: str, world: World, store: Store) -> None:
    issue = world.new_issue()
    issue.queue(by=MAINTAINER)
    store.database.execute_sql(f"UPDATE transition_log SET {change} WHERE seq = {moved(issue, trigger).seq}")
    names = {v.id for v in told(store) if v.message == f"does not follow from the previous move of issues {issue.id}"}
    names |= {v.id for v in told(store) if v.message == f"does not follow from the previous move of agents {issue.id}"}
    assert moved(issue, trigger).seq in names


def test_a_move_that_is_logged_twice_is_reported(world: World, store: Store) -> None:
    """After the unique index was dropped."""
    issue = world.new_issue()
    issue.queue(by=MAINTAINER)
    issue.dequeue(by=MAINTAINER, reason=WHY)
    store.database.execute_sql("DROP INDEX idx_log_row")
    columns = ", ".join(f'"{f.column_name}"' for f in TransitionLog._meta.sorted_fields if f.name != "seq")
    for version in (1, 3):
        store.database.execute_sql(
            f"INSERT INTO transition_log ({columns}) SELECT {columns} FROM transition_log"
            f" WHERE entity_id = '{issue.id}' AND version = {version}"
        )
    last = TransitionLog.select(TransitionLog.seq).order_by(TransitionLog.seq.desc()).limit(2)
    follows = {v.id for v in told(store) if v.message.startswith("does not follow from the previous move of issues")}
    assert follows >= {row.seq for row in last}


@pytest.mark.parametrize(
    ("trigger", "change"),
    [
        ("create", "source = ''"),
        ("queue", "dest = ''"),
        ("queue", "dest = NULL"),
        ("queue", "source = 'unassigned\nqueued', dest = ''"),
        ("queue", "entity = 'issues\nqueue', \"trigger\" = 'unassigned', source = 'queued', dest = NULL"),
    ],
)
def test_a_move_that_only_reads_like_one_is_reported(trigger: str, change: str, world: World, store: Store) -> None:
    issue = world.new_issue()
    issue.queue(by=MAINTAINER)
    move = moved(issue, trigger)
    store.database.execute_sql(f"UPDATE transition_log SET {change} WHERE seq = {move.seq}")
    assert (move.seq, "is not a move of any lifecycle") in {(v.id, v.message) for v in told(store)}


@on_sqlite
@pytest.mark.parametrize("labels", [("[]", '["a'), ('["a"', ',"b"]'), ('["a"],["b"]', '["c"]'), ("[]", "{}")])
def test_json_that_is_whole_only_with_its_neighbours_is_reported(
    labels: tuple[str, str], world: World, store: Store
) -> None:
    for label in labels:
        issue = world.new_issue()
        store.database.execute_sql("UPDATE issues SET labels = ? WHERE id = ?", (label, str(issue.id)))
    wrong = [v for v in told(store) if v.message.startswith("issues.labels: ")]
    assert wrong
    assert {v.invariant for v in wrong} == {"I13"}


STAMPS = {
    "2026-01-31T09:30:00.000000+00:00": True,
    "0001-01-01T00:00:00.000000+00:00": True,
    "9999-12-31T23:59:59.999999+00:00": True,
    "2024-02-29T23:59:59.999999+00:00": True,
    "2026-02-29T00:00:00.000000+00:00": False,
    "2026-02-30T00:00:00.000000+00:00": False,
    "2026-04-31T00:00:00.000000+00:00": False,
    "2026-01-31T24:00:00.000000+00:00": False,
    "2026-01-31T23:60:00.000000+00:00": False,
    "2026-01-31T23:59:60.000000+00:00": False,
    "2026-00-31T09:30:00.000000+00:00": False,
    "2026-13-31T09:30:00.000000+00:00": False,
    "2026-01-00T09:30:00.000000+00:00": False,
    "2026-01-32T09:30:00.000000+00:00": False,
    "0000-01-31T09:30:00.000000+00:00": False,
    "-001-01-31T09:30:00.000000+00:00": False,
    "2026-01-31 09:30:00.000000+00:00": False,
    "2026-01-31t09:30:00.000000+00:00": False,
    "2026-01-31T09:30:00.00000 +00:00": False,
    "2026-01-31T09:30:00.000000+01:00": False,
    "2026-01-31T09:30:00.000000Z": False,
    "2026-01-31T09:30:00.000000+00:00 ": False,
    "2026-01-31T09:30:00.0000000+00:00": False,
    "2026-01-31T09:30:00+00:00": False,
    "2026-01-31T9:30:00.0000000+00:00": False,
}


@on_sqlite
def test_what_is_a_stamp_on_sqlite(world: World, store: Store) -> None:
    issue = world.new_issue()
    for stamp, sound in STAMPS.items():
        store.database.execute_sql("UPDATE issues SET created_at = ?", (stamp,))
        named = (issue.id, "issues.created_at") in {(v.id, v.message.partition(":")[0]) for v in told(store)}
        assert named is not sound, stamp


# ---- a large one -----------------------------------------------------------------------------------------


@pytest.mark.long
def test_a_large_store(world: World, store: Store) -> None:
    """100,000 issues with five moves each, in seconds, and in little memory."""
    issue = world.issues("done")
    mark = "?" if store.database.kind == "sqlite" else "%s"
    columns = ", ".join(f.column_name for f in Issue._meta.sorted_fields if f.name not in ("id", "assigned_agent"))
    logged = ", ".join(f.column_name for f in TransitionLog._meta.sorted_fields if f.name not in ("seq", "entity_id"))
    with store.database.atomic():
        for _ in range(100_000):
            key = str(new_id())
            store.database.execute_sql(
                f"INSERT INTO issues (id, {columns}) SELECT {mark}, {columns} FROM issues WHERE id = {mark}",
                (key, str(issue.id)),
            )
            store.database.execute_sql(
                f"INSERT INTO transition_log (entity_id, {logged}) SELECT {mark}, {logged} FROM transition_log"
                f" WHERE entity_id = {mark} AND cause_seq IS NULL ORDER BY version",
                (key, str(issue.id)),
            )
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    found = told(store)
    took, grown = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    moves = TransitionLog.select().count()
    print(f"{store.database.kind}: 100,000 issues, {moves:,} moves: {took:.1f} s, {grown // 1024} MiB")
    assert found == []
    assert grown < 100 * 1024
