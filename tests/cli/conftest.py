"""Fixtures for the tests of the command line."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from dispatch_state import open_store
from tests.cli.shelf import Ids, Shelf, fill
from tests.shell import Shell


@pytest.fixture(scope="session")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    with ExitStack() as schemas:
        yield Shelf(tmp_path_factory.mktemp("shelf"), schemas)


@pytest.fixture
def from_the_shelf() -> None:
    """Tests that request this only read, so they share one store."""


@pytest.fixture
def ids(request: pytest.FixtureRequest, backend: str, shelf: Shelf) -> Ids:
    """A filled store, closed; the commands open it."""
    if "from_the_shelf" in request.fixturenames:
        return shelf.take(backend)[1]
    target = request.getfixturevalue("target")
    if backend == "sqlite":
        file, ids = shelf.take(backend)
        shutil.copy(file, target)
        return ids
    return fill(target)


@pytest.fixture
def place(request: pytest.FixtureRequest, backend: str, shelf: Shelf) -> str:
    """Where the store of a test is."""
    shared = "from_the_shelf" in request.fixturenames
    return shelf.take(backend)[0] if shared else request.getfixturevalue("target")


@pytest.fixture
def shell(place: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.setenv("COLUMNS", "80")
    return Shell(place, capsys)


@pytest.fixture
def inside(place: str) -> Any:
    """Ask something of the store between two commands."""

    def ask(question: Any) -> Any:
        with open_store(place, durability="normal") as store:
            return question(store)

    return ask
