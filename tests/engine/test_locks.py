"""Locks: what each trigger declares covers all that its cascades may move, and those rows really are locked."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from dispatch_state import Agent, Gate, Issue, PullRequest, Stage, Store
from dispatch_state.engine.locks import ARGUMENTS, FINDERS, lock, require_locks, rows_to_lock
from dispatch_state.engine.rules import FOLLOWERS
from dispatch_state.lifecycle.locks import Lock
from dispatch_state.models.tables import STATEFUL
from dispatch_state.storage.statements import STATEMENTS
from tests.lock_table import LOCKS
from tests.world import World


def test_every_lock_is_found_and_used() -> None:
    """Each member of `Lock` has a finder and a trigger or method that declares it."""
    declared = {lock for model in STATEFUL for trigger in model.machine.triggers.values() for lock in trigger.locks}
    declared |= {lock for model in STATEFUL for lock in (*model.create_locks, *model.remove_locks)}
    assert set(FINDERS) == set(Lock) == declared


def test_every_row_among_the_arguments_is_locked() -> None:
    """Each model in the signature of a trigger is among those whose arguments are locked."""
    annotations = {
        str(parameter.annotation).removesuffix(" | None")
        for model in STATEFUL
        for trigger in model.machine.triggers.values()
        for parameter in trigger.parameters.values()
    }
    named = {model for model in STATEFUL if model.__name__ in annotations}
    assert named <= set(ARGUMENTS)


@pytest.mark.parametrize("model", STATEFUL, ids=lambda model: model._meta.table_name)
def test_each_trigger_locks_what_the_table_says(model: Any) -> None:
    """The import checks tables only; which rows of them are locked is held by this table, written by hand."""
    declared = {name: trigger.locks for name, trigger in model.machine.triggers.items()}
    declared |= {"create": model.create_locks, "remove": model.remove_locks}
    named = {name: " ".join(lock.name.lower() for lock in locks) for name, locks in declared.items()}
    assert named == LOCKS[model._meta.table_name]


@pytest.mark.parametrize(
    ("model", "lock", "message"),
    [
        (Agent, Lock.LIVE_ISSUES, "agents.remove declares locks that agents do not have: LIVE_ISSUES"),
        (PullRequest, Lock.WORK, "pull_requests.remove declares locks that pull_requests do not have: WORK"),
    ],
)
def test_a_lock_that_means_nothing_for_a_model_is_an_error(
    model: Any, lock: Lock, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "remove_locks", (Lock.ROW, lock))
    with pytest.raises(TypeError, match=f"^{message}$"):
        require_locks(FOLLOWERS)


def test_two_declarations_of_a_trigger_have_the_same_locks() -> None:
    with pytest.raises(TypeError, match="complete: its declarations have different locks"):
        Issue.machine.triggers["complete"].declare_locks((Lock.ROW,))


@pytest.mark.parametrize(
    ("model", "trigger", "moved", "message"),
    [
        (Issue, "dequeue", Agent.finish, "issues.dequeue may move agents.finish, and does not lock agents"),
        (PullRequest, "close", Gate.resubmit, "pull_requests.close may move gates.resubmit, and does not lock gates"),
        (Agent, "recover", Issue.queue, "agents.recover may move issues.queue, and does not lock issues"),
        (Stage, "create", Issue.cancel, "stages.create may move agents.finish, and does not lock agents"),
    ],
)
def test_a_cascade_that_moves_more_than_is_locked_is_an_error(
    model: Any, trigger: str, moved: Any, message: str
) -> None:
    """`require_locks` runs at import, so a table that no lock covers cannot ship."""
    with pytest.raises(TypeError, match=f"^{message}$"):
        require_locks({**FOLLOWERS, (model, trigger): (moved.trigger,)})


@pytest.mark.parametrize("trigger", ["complete", "cancel"])
def test_closing_the_last_issue_locks_the_issues_of_the_next_stage(trigger: str, world: World) -> None:
    """They are queued when that stage starts. With another live issue in the stage, they need no lock."""
    epic = world.running_epic()
    running, pending = epic.stages.order_by(Stage.stage_order)[:2]
    waiting = world.new_issue(stage=pending)
    last = world.new_issue(stage=running)
    locks = Issue.machine.triggers[trigger].locks
    assert waiting.id in rows_to_lock(last, locks, ())[Issue]
    world.new_issue(stage=running)
    assert waiting.id not in rows_to_lock(last, locks, ())[Issue]


def test_the_acting_agent_and_what_a_removal_changes_are_locked(world: World, store: Store) -> None:
    issue, agent = world.issues("in_progress"), world.agent()
    assert agent.id in rows_to_lock(issue, Issue.machine.triggers["queue"].locks, (), agent)[Agent]
    assert agent.id in rows_to_lock(world.waiting_stage().gates.get(), (), (), agent)[Agent]
    done = world.issues("done")
    assert done.id in rows_to_lock(done.assigned_agent, Agent.remove_locks, ())[Issue]


def _held(store: Store) -> int:
    """How many issues are locked, as another session sees it."""
    with psycopg.connect(store.database.database, autocommit=True) as other:
        free = other.execute("SELECT id FROM issues FOR NO KEY UPDATE SKIP LOCKED").fetchall()
    return Issue.select().count() - len(free)


@pytest.mark.parametrize("backend", ["postgresql"])
def test_any_number_of_rows_is_locked_by_few_statements(store: Store, world: World) -> None:
    """The text of the statement is cached for a few sizes, not for each number of rows."""
    keys = sorted(world.new_issue().id for _ in range(33))
    before = len(STATEMENTS)
    for size in range(1, len(keys) + 1):
        with store.atomic():
            lock({Issue: set(keys[:size])})
            assert _held(store) == size
    assert len(STATEMENTS) - before <= 7
