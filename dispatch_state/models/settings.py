"""Other data that a runner stores: configuration values, and how far a sync has come."""

from __future__ import annotations

from typing import Any

from dispatch_state import json_values, values
from dispatch_state.lifecycle.session import UnitOfWork, session
from dispatch_state.models.row import Row
from dispatch_state.storage.fields import IntegerField, JsonField, StampField, TextField
from dispatch_state.storage.statements import delete, find, upsert

MOST_ERRORS = 50
"""How many errors of a source are kept; the oldest are dropped first."""


class ConfigEntry(Row):
    """A value of the runner's configuration under a key. The value is any JSON."""

    written_by = "ConfigEntry.write() and forget()"

    key = TextField(primary_key=True, holds=values.key)
    value = JsonField(json_values.any_json, holds_null=True)
    updated_at = StampField()

    class Meta:
        table_name = "config_store"

    @classmethod
    def read(cls, key: str, default: Any = None) -> Any:
        """Return the value under a key.

        Args:
            key: the key.
            default: what to return when there is no such key.

        Raises:
            InvalidValue: the key is blank or is not text.
            StoreError: the store is not open, or the database failed. A subclass says which.
        """
        current = session()
        checked = cls.key.check(key)
        entry = current.read(lambda: find(cls, checked))
        return default if entry is None else entry.value

    @classmethod
    def write(cls, key: str, value: Any) -> None:
        """Store a value under a key, and replace the earlier one.

        Args:
            key: the key.
            value: any JSON value.

        Raises:
            InvalidValue: the key is blank or is not text, or the value is not JSON.
            StoreError: the store is not open, or the database failed. A subclass says which.
        """
        current = session()
        columns = {"key": cls.key.check(key), "value": cls.value.check(value)}
        current.write(lambda unit: upsert(cls, {**columns, "updated_at": unit.now}))

    @classmethod
    def forget(cls, key: str) -> bool:
        """Delete a key and its value.

        Args:
            key: the key.

        Returns:
            Whether the key existed.

        Raises:
            InvalidValue: the key is blank or is not text.
            StoreError: the store is not open, or the database failed. A subclass says which.
        """
        current = session()
        checked = cls.key.check(key)
        return current.write(lambda unit: delete(cls, checked))


class SyncState(Row):
    """How far a sync with a source, such as "github", has come."""

    written_by = "SyncState.record()"

    id = TextField(primary_key=True, holds=values.key)
    last_sync_at = StampField()
    last_issue_id = IntegerField(null=True)
    last_pr_id = IntegerField(null=True)
    etag = TextField(null=True)
    sync_errors = JsonField(json_values.list_of_objects, null=True)

    class Meta:
        table_name = "sync_state"

    @classmethod
    def record(
        cls,
        source: str,
        *,
        last_issue_id: int | None = None,
        last_pr_id: int | None = None,
        etag: str | None = None,
        error: str | dict[str, Any] | None = None,
    ) -> SyncState:
        """Record that a sync has run at this moment.

        Args:
            source: the source of the sync. Each source has one row.
            last_issue_id, last_pr_id: how far the sync has come. When None, the stored value stays.
            etag: for the next conditional request. When None, the stored value stays.
            error: what went wrong. The last fifty errors are kept.

        Returns:
            The row of the source.

        Raises:
            InvalidValue: an argument is wrong.
            StoreError: the store is not open, or the database failed. A subclass says which.
        """
        current = session()
        progress = {"last_issue_id": last_issue_id, "last_pr_id": last_pr_id, "etag": etag}
        checked = {name: cls._meta.fields[name].check(value) for name, value in progress.items() if value is not None}
        key = cls.id.check(source)
        errors = [] if error is None else [error]
        cls.sync_errors.check(errors)

        def note(unit: UnitOfWork) -> SyncState:
            upsert(cls, {"id": key, "last_sync_at": unit.now, **checked})
            state = find(cls, key)
            assert state is not None
            if errors:
                unit.set(state, sync_errors=[*(state.sync_errors or []), *errors][-MOST_ERRORS:])
            return state

        return current.write(note)
