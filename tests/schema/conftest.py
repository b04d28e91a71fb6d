"""What the tests of the schema share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dispatch_state.schema.migrate import migrate
from dispatch_state.storage.connect import Database
from tests import postgres
from tests.connections import reach


@pytest.fixture
def migrated(database: Database) -> Database:
    migrate(database)
    return database


@pytest.fixture(scope="module")
def native() -> Iterator[Database]:
    """A PostgreSQL database that our migrations made."""
    try:
        with postgres.fresh_schema() as url:
            database = reach(url)
            migrate(database)
            yield database
            database.close_all()
    except postgres.Unavailable as error:
        pytest.skip(f"POSTGRESQL COULD NOT BE STARTED, ITS HALF OF THE SUITE IS SKIPPED: {error}")
