"""A move on PostgreSQL."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
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
    try:
        url = server_url()
    except Unavailable as error:
        yield Line("move, PostgreSQL", OURS, f"no server: {error}")
        return
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
