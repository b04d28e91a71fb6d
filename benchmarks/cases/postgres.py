"""A move on PostgreSQL."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import psycopg

from benchmarks.cases.moves import some_issues, to_and_fro
from benchmarks.measure import WARM_UP, Calls, Contender, at_most, interleaved
from benchmarks.report import Line, compared
from benchmarks.tape import Sent, played, recording_psycopg
from benchmarks.twins import OURS, RAW, Library, Session, opened
from dispatch_state.ids import new_id
from tests.postgres import Unavailable, server_url

BATCH = 20


def move(session: Session) -> Iterator[Line]:
    """A move without what follows."""
    with _one_core():
        try:
            url = server_url()
        except Unavailable as error:
            yield Line("move, PostgreSQL", OURS, f"no server: {error}")
        else:
            yield from _moved(session, url)


@contextmanager
def _one_core() -> Iterator[None]:
    """Keep this process, and a server that it starts, on one core, where the system can.

    Every statement wakes the server's process, which takes 30 us on this process's core and 75 us on another;
    which one it is the system decides once for each connection, and so for each contender.
    """
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def _moved(session: Session, url: str) -> Iterator[Line]:
    model = new_database(url)
    with opened(model) as store:
        made = some_issues(store, 0)
    twin, recorded = new_database(url, model), new_database(url, model)
    count = BATCH * (session.rounds + WARM_UP)
    tape: list[list[Sent]] = []
    with recording_psycopg() as sent, opened(recorded) as store:
        for call in itertools.islice(to_and_fro(store, made), count):
            sent.cut()
            call()
            tape.append(sent.cut())
    with psycopg.connect(twin, autocommit=True) as connection:
        contenders: list[Contender] = [
            Library(model, to_and_fro, made, durability="full"),
            Calls(RAW, played(connection.cursor(), tape)),
        ]
        rounds = interleaved(contenders, session.rounds, BATCH)
    yield from compared("move, PostgreSQL", rounds, (OURS, RAW, at_most(1.3)))


def new_database(url: str, model: str | None = None) -> str:
    """The URL of a new database, which is a copy of another one."""
    name = f"b{new_id().hex}"
    template = f' TEMPLATE "{_name(model)}"' if model else ""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"{template}')
    return urlsplit(url)._replace(path=f"/{name}").geturl()


def _name(url: str) -> str:
    return urlsplit(url).path.removeprefix("/")
