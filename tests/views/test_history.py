"""`history()` and `changes()`: the moves of one row, and the moves of all rows, page by page."""

from __future__ import annotations

from typing import Any

import pytest

from dispatch_state import InvalidValue, RowNotFound, Store
from tests.world import MAINTAINER, WHY, World


def test_history_is_oldest_first_and_outlives_the_row(world: World, store: Store) -> None:
    issue = world.issues("done")
    wanted = ["create", "assign", "start", "complete"]
    assert [move.trigger for move in store.history(issue)] == wanted
    issue.remove(by=MAINTAINER, reason=WHY)
    assert [move.trigger for move in store.history(issue)] == [*wanted, "remove"]
    with pytest.raises(RowNotFound):
        store.explain(issue)
    with pytest.raises(InvalidValue):
        store.history("issue")  # type: ignore[arg-type]


def test_a_move_prints_like_its_log_row(world: World, store: Store) -> None:
    issue = world.new_issue()
    (move,) = issue.queue(by=MAINTAINER)
    assert move.say() == f"issues {str(issue.id)[-8:]}  queue (unassigned -> queued)"
    logged = store.history(issue)[-1]
    assert logged.say().endswith(f"  {move.say()} by human:maintainer")
    assert move._replace(trigger="create", source=None).say().endswith("  create (queued)")


def test_changes_come_in_pages(world: World, store: Store) -> None:
    world.issues("done")
    every = store.changes()
    pages, after = [], 0
    while page := store.changes(after=after, limit=3):
        pages += page
        after = page[-1].seq
    assert [move.seq for move in pages] == [move.seq for move in every]
    assert [move.seq for move in every] == sorted(move.seq for move in every)


BAD_PAGES: list[dict[str, Any]] = [{"limit": 0}, {"limit": "5"}, {"after": None}, {"after": 2**63}, {"limit": True}]


@pytest.mark.parametrize("arguments", BAD_PAGES)
def test_bad_pages(store: Store, arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue):
        store.changes(**arguments)
