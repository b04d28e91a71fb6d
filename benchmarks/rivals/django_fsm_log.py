"""Django, django-fsm-2 and django-fsm-log: a transition, its log row, and `save()`, in one transaction."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import django
from django.conf import settings

from benchmarks.measure import Call

settings.configure(
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "django_fsm", "django_fsm_log"],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": ":memory:",
            "OPTIONS": {
                "transaction_mode": "IMMEDIATE",
                "init_command": "PRAGMA journal_mode = wal; PRAGMA synchronous = normal",
            },
        }
    },
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    USE_TZ=True,
    LOGGING_CONFIG=None,
)
django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import connection, models, transaction  # noqa: E402
from django_fsm import FSMField, transition  # noqa: E402
from django_fsm_log.decorators import fsm_log_by  # noqa: E402


class Issue(models.Model):
    """An issue with the columns that matter; django-fsm-log wants its key to be a number."""

    title = models.TextField(default="An issue")
    prompt = models.TextField(default="Do it, and say what was done.")
    repo_path = models.TextField(default="/src")
    priority = models.TextField(default="medium")
    status: Any = FSMField(default="unassigned", db_index=True, protected=True)
    version = models.IntegerField(default=1)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        app_label = "benchmarks"
        db_table = "issues"

    @fsm_log_by
    @transition(field=status, source="unassigned", target="queued")
    def queue(self, by: Any = None) -> None:
        """Offer it."""

    @fsm_log_by
    @transition(field=status, source="queued", target="unassigned")
    def dequeue(self, by: Any = None) -> None:
        """Take it back."""

    def move(self, trigger: str) -> None:
        """Fire a trigger and write down what it did."""
        with transaction.atomic():
            getattr(self, trigger)()
            self.save(update_fields=["status", "updated_at"])


def to_and_fro(path: str) -> Iterator[Call]:
    """Issues that are queued and taken off the queue, for ever."""
    connection.settings_dict["NAME"] = path
    call_command("migrate", verbosity=0)
    with connection.schema_editor() as editor:
        editor.create_model(Issue)
    rows = [Issue.objects.create() for _ in range(50)]
    while True:
        for trigger in ("queue", "dequeue"):
            for row in rows:
                yield partial(row.move, trigger)
