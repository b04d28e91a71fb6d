"""What a runner keeps beside the work: values of its configuration, and how far a sync has come."""

from __future__ import annotations

from dispatch_state import values
from dispatch_state.fields import IntegerField, JsonField, StampField, TextField
from dispatch_state.models.base import Row


class ConfigEntry(Row):
    """A value of the runner's configuration, by its key; any JSON."""

    written_by = "ConfigEntry.write() and forget()"

    key = TextField(primary_key=True)
    value = JsonField(values.any_json)
    updated_at = StampField()

    class Meta:
        table_name = "config_store"


class SyncState(Row):
    """How far a sync with a source, such as "github", has come."""

    written_by = "SyncState.record()"

    id = TextField(primary_key=True)
    last_sync_at = StampField()
    last_issue_id = IntegerField(null=True)
    last_pr_id = IntegerField(null=True)
    etag = TextField(null=True)
    sync_errors = JsonField(values.list_of_objects, null=True)

    class Meta:
        table_name = "sync_state"
