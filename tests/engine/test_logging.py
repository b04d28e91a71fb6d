"""Python's logging: each committed move is one record, which never shows a prompt."""

from __future__ import annotations

import logging
from contextlib import suppress

import peewee
import pytest

from dispatch_state import IllegalTransition, Store, StoreError
from tests.world import MAINTAINER, WHY, World


def test_every_move_is_logged_once_without_the_prompt(
    world: World, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """`transitions` logs nothing at all."""
    caplog.set_level(logging.DEBUG)
    before = len(store.changes())
    issue = world.new_issue(prompt="the secret prompt")
    issue.queue(by=MAINTAINER)
    ours = [record for record in caplog.records if record.name == "dispatch_state"]
    assert len(ours) == len(store.changes()) - before == 2
    assert "queue: unassigned -> queued by human:maintainer" in ours[-1].message
    assert not [record for record in ours if "secret" in record.message]
    assert not [record for record in caplog.records if record.name.startswith("transitions")]


@pytest.mark.parametrize("peewees", [False, True], ids=["store.atomic", "database.atomic"])
def test_a_move_that_may_be_undone_is_not_logged_as_made(
    peewees: bool, world: World, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """Within a block the message says so. A refused move is not logged."""
    caplog.set_level(logging.DEBUG, "dispatch_state")
    issue, block = world.new_issue(), store.database.atomic if peewees else store.atomic
    caplog.clear()
    with block():
        with suppress(RuntimeError), block():
            issue.queue(by=MAINTAINER)
            raise RuntimeError
        issue.reload().cancel(by=MAINTAINER, reason=WHY)
    with pytest.raises(IllegalTransition):
        issue.reload().queue(by=MAINTAINER)
    issue.remove(by=MAINTAINER, reason=WHY)
    assert caplog.messages == [
        f"{issue} queue: unassigned -> queued by human:maintainer, in a transaction that is still open",
        f"{issue} cancel: unassigned -> cancelled by human:maintainer, in a transaction that is still open",
        f"{issue} remove: cancelled -> None by human:maintainer",
    ]


def test_a_move_whose_commit_fails_is_not_logged(
    world: World, store: Store, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    issue = world.new_issue()

    def full() -> None:
        raise peewee.OperationalError("database or disk is full")

    caplog.set_level(logging.DEBUG, "dispatch_state")
    with monkeypatch.context() as failing:
        failing.setattr(store.database, "commit", full)
        with pytest.raises(StoreError):
            issue.queue(by=MAINTAINER)
    assert caplog.messages == []
    issue.queue(by=MAINTAINER)
    assert caplog.messages == [f"{issue} queue: unassigned -> queued by human:maintainer"]
