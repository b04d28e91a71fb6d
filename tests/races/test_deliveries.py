"""GitHub deliveries lock rows in the common order: none waits for an epic while it holds the epic's issue."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from dispatch_state import Issue, Store
from dispatch_state.github.delivery import Applied
from dispatch_state.github.events import apply_event
from tests.deliveries import SHOP, changed
from tests.races.workers import HANGS
from tests.world import World

Delivery = Callable[[], tuple[str, dict[str, Any]]]


def a_new_request_that_is_merged() -> tuple[str, dict[str, Any]]:
    merged = {"state": "closed", "merged": True, "merged_at": "2026-01-31T12:00:00Z"}
    return changed("pull_request_opened", top={"action": "closed"}, pull_request=merged)


def a_known_request_that_is_merged() -> tuple[str, dict[str, Any]]:
    apply_event(*changed("pull_request_opened"))
    merged = {"state": "closed", "merged": True, "merged_at": "2026-01-31T12:00:00Z"}
    return changed("pull_request_opened", "2027-01-01T00:00:00Z", top={"action": "closed"}, pull_request=merged)


def an_issue_that_is_closed() -> tuple[str, dict[str, Any]]:
    values = {"number": 12, "html_url": f"{SHOP}/issues/12", "title": "Another title"}
    return changed("issues_closed", issue=values)


@pytest.mark.parametrize("backend", ["postgresql"])
@pytest.mark.parametrize(
    "delivery", [a_new_request_that_is_merged, a_known_request_that_is_merged, an_issue_that_is_closed]
)
def test_a_delivery_waits_for_the_epic_first(store: Store, target: str, delivery: Delivery) -> None:
    """Otherwise a delivery and a session that skips the stage, holding the epic, would deadlock."""
    world = World(store)
    stage = world.running_epic().current_stage
    columns = world.issue_columns() | {"github_id": 12, "github_url": f"{SHOP}/issues/12", "repo_url": SHOP}
    issue = stage.add_issue(**columns).reload()
    world.start(issue)
    event = delivery()
    done: list[Applied] = []
    with psycopg.connect(target) as other, psycopg.connect(target, autocommit=True) as server:
        other.execute("SELECT 1 FROM epics WHERE id = %s FOR NO KEY UPDATE", (stage.epic_id,))
        applying = threading.Thread(target=lambda: done.append(apply_event(*event)))
        applying.start()
        until = time.monotonic() + HANGS
        while not server.execute("SELECT 1 FROM pg_locks WHERE NOT granted").fetchone():
            assert time.monotonic() < until, "it never waited"
            time.sleep(0.005)
        for table in ("issues", "agents", "pull_requests"):
            other.execute(f"SELECT 1 FROM {table} FOR NO KEY UPDATE NOWAIT")
        other.rollback()
        applying.join(HANGS)
    assert done[0].moves
    assert Issue.get_by_id(issue.id).status in ("done", "cancelled")
    assert store.verify() == []
