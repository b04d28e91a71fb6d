"""Configuration values (`ConfigEntry`) and sync states (`SyncState`)."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from dispatch_state import ConfigEntry, InvalidValue, Store, SyncState
from dispatch_state.testing.scratch import Clock
from tests.world import LONG_TEXT


@pytest.mark.parametrize(
    "value", [None, True, 0, 2**63 - 1, 1.5, 9.3e18, 1e23, "text", "", "null", [], [1, [2]], {"a": {"b": None}}]
)
def test_a_value_comes_back_as_it_went_in(store: Store, value: Any) -> None:
    ConfigEntry.write("key", value)
    assert ConfigEntry.read("key", "absent") == value
    assert type(ConfigEntry.read("key")) is type(value)


def test_writing_replaces_a_value_and_forget_deletes_it(store: Store, clock: Clock) -> None:
    ConfigEntry.write("key", 1)
    clock.forward(hours=1)
    ConfigEntry.write("key", 2)
    entry = ConfigEntry.get()
    assert (entry.value, entry.updated_at) == (2, clock.now)
    assert (ConfigEntry.forget("key"), ConfigEntry.forget("key")) == (True, False)
    assert ConfigEntry.read("key", "absent") == "absent"


@pytest.mark.parametrize("key", ["", "  ", None, 5, "a\0b"])
def test_bad_keys(store: Store, key: Any) -> None:
    for call in (lambda: ConfigEntry.read(key), lambda: ConfigEntry.write(key, 1), lambda: ConfigEntry.forget(key)):
        with pytest.raises(InvalidValue, match=r"config_store\.key"):
            call()


def test_a_sync_keeps_what_is_left_out(store: Store, clock: Clock) -> None:
    """`record()` changes only the columns that it is given."""
    SyncState.record("github", last_issue_id=7, etag="a")
    clock.forward(hours=1)
    state = SyncState.record("github", last_pr_id=9)
    assert (state.last_issue_id, state.last_pr_id, state.etag, state.last_sync_at) == (7, 9, "a", clock.now)
    assert SyncState.select().count() == 1


def test_a_sync_keeps_its_last_fifty_errors(store: Store) -> None:
    for number in range(60):
        SyncState.record("github", error={"number": number})
    kept = SyncState.get().sync_errors
    assert [error["number"] for error in kept] == list(range(10, 60))


@pytest.mark.parametrize("columns", [{"last_issue_id": "7"}, {"last_pr_id": 2**63}, {"etag": 5}, {"error": 5}])
def test_bad_syncs(store: Store, columns: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue):
        SyncState.record("github", **columns)
    assert SyncState.select().count() == 0


def test_threads_may_write_the_same_key(store: Store) -> None:
    def write(number: int) -> None:
        ConfigEntry.write("key", number)
        SyncState.record("github", error=str(number))
        store.database.close()

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ConfigEntry.read("key") in range(8)
    assert sorted(SyncState.get().sync_errors) == [str(number) for number in range(8)]


def test_a_sync_keeps_long_errors(store: Store) -> None:
    for _ in range(3):
        SyncState.record("github", error=LONG_TEXT[:400_000])
    assert len(SyncState.get().sync_errors) == 3
