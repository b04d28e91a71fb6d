"""One store for every test, on SQLite and on PostgreSQL alike."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from dispatch_state import Human, Store, open_store
from dispatch_state.storage.connect import Database
from dispatch_state.testing.scratch import Clock
from tests import postgres, prepared
from tests.backends import BACKENDS
from tests.connections import reached
from tests.long_forms import LONG, LONGEST
from tests.world import World

os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.mkdtemp(prefix="dispatch-runtime-"))
if os.environ.pop("PYTHONDONTWRITEBYTECODE", None):  # else each of hundreds of processes compiles the package anew
    os.environ["PYTHONPYCACHEPREFIX"] = tempfile.mkdtemp(prefix="dispatch-bytecode-")
    atexit.register(shutil.rmtree, os.environ["PYTHONPYCACHEPREFIX"], ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What has no short form is left out, unless the long forms are asked for; the longest tests begin."""
    if not LONG:
        items[:] = [item for item in items if not item.get_closest_marker("long")]
    here = Path(__file__).parent
    rank = {here / name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path, len(rank)))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    """The kind of database a test runs on."""
    return str(request.param)


@pytest.fixture
def target(backend: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """Where an empty database is; or an empty store, closed, for a test that takes `store` too."""
    migrated = "store" in request.fixturenames
    if backend == "sqlite":
        place = str(tmp_path / "dispatch.db")
        if migrated:
            prepared.copy_to(place)
        yield place
        return
    with prepared.schema() if migrated else postgres.fresh_schema() as url:
        yield url


@pytest.fixture
def database(target: str) -> Iterator[Database]:
    """A connection to an empty database, in which nothing is made."""
    with reached(target) as found:
        yield found


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A SQLite file that is not there yet."""
    return tmp_path / "dispatch.db"


@pytest.fixture
def store(target: str, clock: Clock) -> Iterator[Store]:
    """An open, empty store."""
    with open_store(target, durability="normal", clock=clock) as opened:
        yield opened


@pytest.fixture
def maintainer() -> Human:
    return Human("maintainer")


@pytest.fixture
def world(store: Store) -> World:
    return World(store)


@pytest.fixture
def unprivileged() -> Iterator[None]:
    """Root may write anything; these tests act as somebody who may not."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
