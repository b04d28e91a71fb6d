"""Peewee and transitions by hand: one machine for the class, a fenced update and a log row in one transaction."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import uuid4

import peewee
from transitions import Machine

from benchmarks.measure import Call

DATABASE = peewee.SqliteDatabase(None, pragmas={"journal_mode": "wal", "synchronous": 1, "foreign_keys": 1})


class Issue(peewee.Model):
    """An issue with the columns that matter."""

    id = peewee.UUIDField(primary_key=True, default=uuid4)
    title = peewee.TextField(default="An issue")
    prompt = peewee.TextField(default="Do it, and say what was done.")
    repo_path = peewee.TextField(default="/src")
    priority = peewee.TextField(default="medium")
    status = peewee.TextField(default="unassigned", index=True)
    version = peewee.IntegerField(default=1)
    created_at = peewee.DateTimeField(default=partial(datetime.now, UTC))
    updated_at = peewee.DateTimeField(default=partial(datetime.now, UTC))

    class Meta:
        database = DATABASE
        table_name = "issues"

    def move(self, trigger: str, by: str) -> None:
        """Fire a trigger and write down what it did."""
        source, version = self.status, self.version
        with DATABASE.atomic("IMMEDIATE"):
            MACHINE.events[trigger].trigger(self)
            now = datetime.now(UTC)
            changed = (
                Issue.update(status=self.status, version=version + 1, updated_at=now)
                .where(Issue.id == self.id, Issue.version == version, Issue.status == source)
                .execute()
            )
            assert changed == 1
            Log.create(
                entity_id=self.id, version=version + 1, trigger=trigger, source=source, dest=self.status, actor=by
            )
        self.version, self.updated_at = version + 1, now


class Log(peewee.Model):
    """What was done."""

    entity_id = peewee.UUIDField()
    version = peewee.IntegerField()
    trigger = peewee.TextField()
    source = peewee.TextField()
    dest = peewee.TextField()
    actor = peewee.TextField()
    created_at = peewee.DateTimeField(default=partial(datetime.now, UTC))

    class Meta:
        database = DATABASE
        indexes = ((("entity_id", "version"), True),)


MACHINE: Any = Machine(
    model=None,
    states=["unassigned", "queued"],
    transitions=[["queue", "unassigned", "queued"], ["dequeue", "queued", "unassigned"]],
    auto_transitions=False,
    model_attribute="status",
)


def to_and_fro(path: str) -> Iterator[Call]:
    """Issues that are queued and taken off the queue, for ever."""
    DATABASE.init(path)
    DATABASE.create_tables([Issue, Log])
    rows = [Issue.create() for _ in range(50)]
    while True:
        for trigger in ("queue", "dequeue"):
            for row in rows:
                yield partial(row.move, trigger, "human:maintainer")
