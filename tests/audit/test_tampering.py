"""`verify()` reports every random change that was made while the triggers were off."""

from __future__ import annotations

import random
from typing import Any

import peewee
import pytest

from dispatch_state import Decision, DecisionType, Store, TransitionLog
from dispatch_state.ids import new_id
from dispatch_state.models.tables import STATEFUL
from dispatch_state.schema import enforcement
from tests.audit.violations import told
from tests.long_forms import LONG
from tests.properties.machine import Walk, on


def cells(store: Store, chance: random.Random) -> str:
    """SQL that changes one cell, or deletes one row, of what must not be changed."""
    kind = chance.choice(
        ["status", "version", "log", "log", "decision", "deleted row", "deleted log", "deleted decision", "new row"]
    )
    model = chance.choice([m for m in STATEFUL if m.select().count()])
    row = chance.choice(list(model.select()))
    table = model._meta.table_name
    if kind == "status":
        other = chance.choice([s for s in model.statuses if s != row.status])
        return f"UPDATE {table} SET status = '{other}' WHERE id = '{row.id}'"
    if kind == "version":
        return f"UPDATE {table} SET version = version + {chance.choice([-1, 1, 7])} WHERE id = '{row.id}'"
    if kind == "deleted row":
        return f"DELETE FROM {table} WHERE id = '{row.id}'"
    if kind == "new row":
        columns = [f.column_name for f in model._meta.sorted_fields if f.name != "id"]
        listed = ", ".join(columns)
        return f"INSERT INTO {table} (id, {listed}) SELECT '{new_id()}', {listed} FROM {table} WHERE id = '{row.id}'"
    if kind in ("decision", "deleted decision"):
        decision = chance.choice(list(Decision.select()))
        if kind == "deleted decision":
            return f"DELETE FROM decisions WHERE id = '{decision.id}'"
        other = chance.choice([kind for kind in DecisionType if kind != decision.decision_type])
        change = chance.choice(
            [f"decision_type = '{other}'", "decided_by = 'human:somebody-else'", f"id = '{new_id()}'"]
        )
        return f"UPDATE decisions SET {change} WHERE id = '{decision.id}'"
    move = chance.choice(list(TransitionLog.select()))
    if kind == "deleted log":
        return f"DELETE FROM transition_log WHERE seq = {move.seq}"
    change = chance.choice(
        ["version = version + 100", f"entity_id = '{new_id()}'", "entity = 'rows'", "source = 'elsewhere'",
         "dest = 'elsewhere'", "\"trigger\" = 'teleport'", "actor = 'somebody'", "cause_seq = 1000000",
         f"decision_id = '{new_id()}'"]
    )  # fmt: skip
    return f"UPDATE transition_log SET {change} WHERE seq = {move.seq}"


@pytest.mark.parametrize("seed", range(5 if LONG else 2))
def test_random_tampering_is_reported(seed: int, backend: str) -> None:
    """Every change; in the long form 1,000 of 1,000 on each database.

    Left out is what nothing could notice: text, and an actor or a reason in the log that is another valid one.
    """
    walk: Any = on(Walk, backend)()
    try:
        walk.wander(random.Random(seed), moves=60)
        store, chance = walk.store, random.Random(seed)
        walk.world.gates("approved")
        assert store.verify() == []
        with store.database.atomic():
            enforcement.remove(store.database)
        if backend == "sqlite":
            store.database.execute_sql("PRAGMA foreign_keys = 0")
        wanted = 200 if LONG else 40 if backend == "sqlite" else 20
        while wanted:
            with store.database.atomic() as transaction:
                if backend == "postgresql":
                    store.database.execute_sql("SET LOCAL session_replication_role = replica")
                sql = cells(store, chance)
                try:
                    store.database.execute_sql(sql)
                except peewee.IntegrityError:  # an index that no tampering gets round
                    transaction.rollback()
                    continue
                found = told(store)
                transaction.rollback()
            assert found, sql
            wanted -= 1
    finally:
        walk.teardown()
