"""One store for every test, on SQLite and on PostgreSQL alike."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dispatch_state import Human, Store, open_store
from tests import postgres

os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.mkdtemp(prefix="dispatch-runtime-"))
BACKENDS = ("sqlite", "postgresql")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What has no short form is left out, unless the long forms are asked for."""
    if not os.environ.get("DISPATCH_LONG"):
        items[:] = [item for item in items if not item.get_closest_marker("long")]


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **amount: float) -> None:
        self.now += timedelta(**amount)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    """The kind of database a test runs on."""
    return str(request.param)


@pytest.fixture
def target(backend: str, tmp_path: Path) -> Iterator[str]:
    """Where an empty database is."""
    if backend == "sqlite":
        yield str(tmp_path / "dispatch.db")
        return
    with postgres.fresh_schema() as url:
        yield url


@pytest.fixture
def store(target: str, clock: Clock) -> Iterator[Store]:
    """An open, empty store."""
    with open_store(target, durability="normal", clock=clock) as opened:
        yield opened


@pytest.fixture
def maintainer() -> Human:
    return Human("maintainer")
