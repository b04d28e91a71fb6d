"""The released migrations, the seed, and what a database says of its schema."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dispatch_state import database as databases
from dispatch_state import migrate as migrations
from dispatch_state.database import Database
from dispatch_state.targets import resolve
from tests.paths import ROOT

RELEASED = ROOT / "migrations"
SEED = (ROOT / "tests" / "seed_schema.sql").read_text()
HASHES = {
    "001_initial_schema": "c08f8c68378461456fd7e26d432606ce07e328f426c0dad2371ec50e7c16b8c8",
    "002_add_epics": "bc5c5cc94bd9db46314b3dfd0febcfbe28eea099d0e80e32ba0a105a9e03bb55",
    "003_add_governance": "afb0f02ff8e1856545dfe9f88e3349e4d6c8de4ea9611a8227a6aa4155cead4f",
    "004_versions_and_log": "3ce17c4f74c240b937b61dc5b8fbb0bcd4bbd37665996eb5f25a00fc9503ef14",
    "005_gate_and_vote_columns": "a6f3e4d5d89fef6173247994aa24394d8378541d33cefb7dc2096942940d47fd",
    "006_claim_index": "1ffb39c8ef892756f27dada02988b4be45dda6941cdc1bec23bbe1459db7a961",
    "007_listing_index": "f670395377f058f468d259252c1494aa02a33c29f22342828580ad788d658f97",
    "008_under_way_index": "2b63df1e3050786e58ea57ca1faad38acfd8407072fa4c7d1d40ff6c5ff68826",
    "009_metrics_names": "61566abbbf7f86a25460170810cad6d8a0744e92e6bf3dcb48be34495eb7648c",
}

NAMES = list(HASHES)


def connect(target: str) -> Database:
    """A database that need not be one of ours, and of which nothing is made."""
    return databases.connect(resolve(target), create=True, timeout=10.0, pool_size=2, durability="normal")


def history(database: Database) -> list[str]:
    """The migrations that were made, by their names."""
    if migrations.HISTORY not in database.get_tables():
        return []
    return [name for (name,) in database.execute_sql(f"SELECT name FROM {migrations.HISTORY} ORDER BY name")]


def schema(database: Database) -> list[Any]:
    """Everything the database says of its schema, and the history."""
    if database.kind == "sqlite":
        told = database.execute_sql(
            "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' ORDER BY 1, 2"
        )
    else:
        told = database.execute_sql(
            "SELECT table_name, column_name, data_type, is_nullable, column_default, is_identity"
            " FROM information_schema.columns WHERE table_schema = current_schema()"
            f" AND NOT (table_name = '{migrations.HISTORY}' AND column_name = 'id')"
            " UNION ALL SELECT tablename, indexname, replace(indexdef, current_schema(), ''), '', '', ''"
            " FROM pg_indexes WHERE schemaname = current_schema()"
            " UNION ALL SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid), '', '', ''"
            " FROM pg_constraint WHERE connamespace = current_schema()::regnamespace ORDER BY 1, 2, 3"
        )
    return [*told.fetchall(), *history(database)]


@contextmanager
def asked(target: str) -> Iterator[Database]:
    """A connection that migrates nothing, beside any store."""
    found = connect(target)
    try:
        yield found
    finally:
        found.close_all()
