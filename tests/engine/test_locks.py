"""Which rows a move locks."""

from __future__ import annotations

import psycopg
import pytest

from dispatch_state import Agent, Issue, Store
from dispatch_state.families import family, lock
from dispatch_state.statements import STATEMENTS
from tests.world import World


def test_the_family_holds_the_acting_agent_and_what_its_removal_touches(world: World, store: Store) -> None:
    issue, agent = world.issues("in_progress"), world.agent()
    assert agent.id in family(issue, "queue", (), agent)[Agent]
    assert agent.id in family(world.waiting_stage().gates.get(), "comment", (), agent)[Agent]
    done = world.issues("done")
    assert done.id in family(done.assigned_agent, "remove", ())[Issue]


def _held(store: Store) -> int:
    """How many issues are locked, as another session finds when it asks for those that are not."""
    with psycopg.connect(store.database.database, autocommit=True) as other:
        free = other.execute("SELECT id FROM issues FOR NO KEY UPDATE SKIP LOCKED").fetchall()
    return Issue.select().count() - len(free)


@pytest.mark.parametrize("backend", ["postgresql"])
def test_families_of_any_size_are_locked_by_few_statements(store: Store, world: World) -> None:
    keys = sorted(world.new_issue().id for _ in range(33))
    before = len(STATEMENTS)
    for size in range(1, len(keys) + 1):
        with store.atomic():
            lock({Issue: set(keys[:size])})
            assert _held(store) == size
    assert len(STATEMENTS) - before <= 7
