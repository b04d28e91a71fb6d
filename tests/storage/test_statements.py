"""Cached statements: what they bind, which store they belong to, which hooks see them, and how many are kept."""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from dispatch_state import (
    Agent,
    ConfigEntry,
    InvalidValue,
    Issue,
    Store,
    StoreNotOpen,
    SyncState,
    TransitionLog,
    open_store,
)
from dispatch_state.engine.unit_of_work import UnitOfWork
from dispatch_state.ids import CACHE_SIZE, ConversionCache, new_id
from dispatch_state.models.keys import present
from dispatch_state.storage.current import DATABASE
from dispatch_state.storage.statements import Statement, find, move_row
from tests import postgres
from tests.world import MAINTAINER, WHY, World


def other_status(row: Any) -> dict[str, Any]:
    return {"status": "blocked"}


def other_version(row: Any) -> dict[str, Any]:
    return {"version": row.version + 1}


def other_row(row: Any) -> dict[str, Any]:
    return {"id": new_id()}


@pytest.mark.parametrize("believed", [other_status, other_version, other_row])
def test_a_row_moves_only_from_where_it_is_believed_to_be(
    world: World, store: Store, believed: Callable[[Any], dict[str, Any]]
) -> None:
    row = world.issues("queued")
    with store.atomic():
        assert not move_row(Issue, {"title": "moved"}, {**row.__data__, **believed(row)})
        assert move_row(Issue, {"title": "moved"}, row.__data__)
    assert row.reload().title == "moved"


def test_a_moved_row_names_its_neighbours_anew(world: World, store: Store) -> None:
    row = find(Issue, world.issues("in_progress").id)
    assert row is not None
    assert isinstance(row.assigned_agent, Agent)  # and is kept on the object
    with store.atomic():
        UnitOfWork(store.now()).act(row, "release", MAINTAINER, WHY)
    assert row.assigned_agent is None


# ---- keys ------------------------------------------------------------------------------------------------


def test_a_query_takes_an_id_as_text(world: World) -> None:
    epic = world.epics("draft")
    issue = world.new_issue(epic=epic)
    assert Issue.get(Issue.id == str(issue.id)) == Issue.get(Issue.epic == str(epic.id)) == issue


def test_what_no_key_looks_like_names_no_row(world: World, store: Store) -> None:
    with pytest.raises(ConfigEntry.DoesNotExist):
        ConfigEntry.get_by_id(str(new_id()))
    with pytest.raises(ValueError, match="takes text"):
        present(ConfigEntry, new_id())
    for model in (ConfigEntry, SyncState, TransitionLog):
        with pytest.raises(InvalidValue):
            model.get_by_id(new_id())


def test_an_object_whose_id_is_replaced_by_text_is_refused(world: World, store: Store) -> None:
    agent = world.agent()
    agent.id = str(agent.id)
    for write in (agent.heartbeat, lambda: agent.log("info", "it works")):
        with pytest.raises(InvalidValue, match=r"id (of the object )?is not a valid id"):
            write()
    assert "by system:store" in store.explain(agent)


def test_what_is_remembered_has_a_bound() -> None:
    texts = ConversionCache(str)
    assert [texts[number] for number in range(3 * CACHE_SIZE)] == [str(n) for n in range(3 * CACHE_SIZE)]
    assert 0 < len(texts) <= CACHE_SIZE


# ---- whose they are ----------------------------------------------------------------------------------------


def test_a_statement_belongs_to_the_store_that_is_open(tmp_path: Any) -> None:
    for name in ("one.db", "other.db"):
        with open_store(tmp_path / name):
            assert [issue.title for issue in Issue.by_status("unassigned")] == []
            made = Issue.create(title=name, prompt="p", repo_path="/", issue_type="bug")
            assert Issue.get_by_id(made.id).title == name


def test_a_statement_forgets_a_store_that_is_closed_at_its_first_use(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As another thread may: between the look at which store is open and the keeping of what was made for it."""
    statement = Statement(lambda: Issue.select(), 0)
    text = statement._text(store.database.kind)
    other = SimpleNamespace(kind=store.database.kind)

    def meanwhile(self: Statement, kind: str) -> Any:
        DATABASE.obj = other
        return text

    monkeypatch.setattr(Statement, "_text", meanwhile)
    try:
        assert statement.run() is not None
        assert statement.run == statement._first_run
    finally:
        DATABASE.initialize(store.database)


def test_a_statement_is_not_kept_in_the_words_of_another_database(tmp_path: Any) -> None:
    """Which another thread may open while its text is made."""
    file = tmp_path / "one.db"
    with postgres.fresh_schema() as url:
        stores = [open_store(file)]

        def build(key: Any) -> Any:
            if len(stores) == 1:
                stores[0].close()
                stores.append(open_store(url))
            return Issue.select().where(Issue.id == key)

        statement = Statement(build, 1)
        with stores[0], pytest.raises(StoreNotOpen):
            statement.rows(new_id())
        stores[1].close()
    with open_store(file):
        assert statement.rows(new_id()) == []


# ---- who sees them -----------------------------------------------------------------------------------------


def hooked(store: Store, act: Callable[[], object]) -> list[str]:
    """What a query hook is shown meanwhile."""
    seen: list[str] = []
    hook = store.database.query_hooks
    hook.append(lambda event: seen.append(event.sql))
    try:
        act()
    finally:
        hook.clear()
    return seen


def test_a_hook_sees_every_statement(world: World, store: Store) -> None:
    issue = world.new_issue()
    issue.queue(by=MAINTAINER)  # unseen
    assert len(hooked(store, lambda: Issue.get_by_id(issue.id))) == 1, "outside of a block, after one"
    moved = hooked(store, lambda: issue.dequeue(by=MAINTAINER))
    reads = ["SELECT"] * (1 if store.database.kind == "sqlite" else 4)  # there it locks what it reads first
    assert [sql.split()[0] for sql in moved] == ["BEGIN", *reads, "INSERT", "UPDATE", "COMMIT"]


def test_debug_logging_sees_every_statement(world: World, store: Store, caplog: pytest.LogCaptureFixture) -> None:
    issue = world.new_issue()
    with caplog.at_level(logging.DEBUG, "peewee"):
        issue.queue(by=MAINTAINER)
    told = [str(record.msg) for record in caplog.records if record.name == "peewee"]
    assert [word for word in ("SELECT", "INSERT", "UPDATE") if not any(word in line for line in told)] == []
