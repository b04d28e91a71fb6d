"""Removing rows: a row's children go with it, and the rows of others stay."""

from __future__ import annotations

from typing import Any

import peewee
import pytest

from dispatch_state import Decision, GuardRefused, Issue, Store
from tests.invariants import broken
from tests.world import MAINTAINER, WHY, World


def test_removing_takes_children_along_and_logs_each(world: World) -> None:
    """Decisions stay; their keys become NULL."""
    epic = world.epics("completed")
    stages, gates = list(epic.stages), [g for s in epic.stages for g in s.gates]
    decisions = Decision.select().count()
    epic.reload().remove(by=MAINTAINER, reason=WHY)
    for row in (epic, *stages, *gates):
        assert type(row).get_or_none(type(row).id == row.id) is None
        last = world.store.history(row)[-1]
        assert (last.trigger, last.source, last.dest) == ("remove", row.status, None)
    assert Decision.select().count() == decisions
    assert Decision.select().where(Decision.epic.is_null(False)).count() == 0
    assert broken(world.store) == []


def test_an_agent_with_a_proposal_cannot_be_removed(world: World) -> None:
    proposal = world.proposals("rejected")
    agent = proposal.proposer
    agent.stop(by=MAINTAINER, reason=WHY)
    with pytest.raises(GuardRefused, match=f"{proposal} still refers to {agent}"):
        agent.remove(by=MAINTAINER, reason=WHY)


ACTIONS = ("RESTRICT", "NO ACTION", "CASCADE", "SET NULL")


@pytest.mark.parametrize("action", ["", *(f"ON DELETE {action}" for action in ACTIONS)])
@pytest.mark.parametrize("table", ["issues", "gates"])
def test_foreign_keys_in_other_programs_tables_are_obeyed(table: str, action: str, store: Store) -> None:
    """For keys to the removed row and to its children. A refusal leaves the caller's block usable."""
    world = World(store)
    gate = world.gates("approved")
    issue = world.at("issues", "cancelled")
    named, removed = (issue, issue) if table == "issues" else (gate, gate.stage.epic.reload())
    if table == "gates":
        removed.cancel(by=MAINTAINER, reason=WHY)
    kind = "TEXT" if store.database.kind == "sqlite" else "uuid"
    store.database.execute_sql(f"CREATE TABLE theirs (named {kind} REFERENCES {table} (id) {action})")
    store.database.execute_sql(f"INSERT INTO theirs VALUES ('{named.id}')")
    moves = len(store.changes(limit=10_000))
    with store.atomic():
        if action in ("ON DELETE CASCADE", "ON DELETE SET NULL"):
            removed.remove(by=MAINTAINER, reason=WHY)
        else:
            with pytest.raises(GuardRefused, match="remove was refused: a row of another program's table"):
                removed.remove(by=MAINTAINER, reason=WHY)
            assert len(store.changes(limit=10_000)) == moves
    left = store.database.execute_sql("SELECT named FROM theirs").fetchall()
    assert left == {"ON DELETE CASCADE": [], "ON DELETE SET NULL": [(None,)]}.get(action, left)
    assert store.verify() == []


def test_models_of_other_programs_are_not_queried(store: Store) -> None:
    """Such a model may have no database, or its table may be missing here."""

    class Elsewhere(peewee.Model):
        issue = peewee.ForeignKeyField(Issue, backref="elsewhere")

    key: Any = Elsewhere.issue
    try:
        World(store).at("issues", "cancelled").remove(by=MAINTAINER, reason=WHY)
    finally:  # what the other tests see of our models is as it was
        Elsewhere._meta.remove_ref(key)
        delattr(Issue, "elsewhere")


def test_an_agent_may_not_remove_a_row(world: World) -> None:
    issue, agent = world.issues("done"), world.agent()
    with pytest.raises(GuardRefused, match="a person or the system"):
        issue.remove(by=agent, reason=WHY)
