"""The database's own triggers: written from `refusals`, put in place, and compared with what is there.

They stand under every connection, ours or not: a statement that `refusals` names fails as a whole. On
SQLite they are triggers that abort; on PostgreSQL one function for each table, fired also where a session
replicates, and no table with a history is truncated. Each carries the version of the library that wrote
it, its stamp; an older library leaves a newer one's alone. Triggers and functions of others are left alone, whatever
their names: ours bear the stamp, or stand in the very place where one of ours belongs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from dispatch_state._version import __version__
from dispatch_state.errors import SchemaTooNew
from dispatch_state.models.log import TransitionLog
from dispatch_state.models.row import Row
from dispatch_state.models.tables import EVERY
from dispatch_state.schema.constraints import DELETE, INSERT, PLACED, REPLACEABLE, UPDATE, Dialect, Refusal, refusals
from dispatch_state.storage.connect import Database
from dispatch_state.storage.postgresql import CHANNEL
from dispatch_state.storage.targets import SQLITE

LOCK = 0x64697370_61746368  # "dispatch" in ASCII
PREFIX = "dispatch_"
_STAMP = f"-- dispatch_state {__version__}"
_STAMPED = re.compile(r"-- dispatch_state (\d{1,9}(?:\.\d{1,9}){0,3})")
_EACH_ROW, _TRUNCATE = 1 | 2 | 4 | 8 | 16, 2 | 32
"""What `pg_trigger.tgtype` says of a trigger before each row's insert, delete and update, and before a truncate."""


def ensure(database: Database) -> list[str]:
    """Put in place what is missing or changed; returns the names of that, which is nothing when all was in place.

    Raises:
        SchemaTooNew: a newer version of the library wrote what is there.
    """
    if not differences(database):
        return []
    with database.atomic():
        hold(database)
        changed = differences(database)
        if changed:
            install(database)
    return changed


def hold(database: Database) -> None:
    """Be the only one to change the schema until the transaction ends; on SQLite it began IMMEDIATE."""
    if database.kind != SQLITE:
        database.execute_sql("SELECT pg_advisory_xact_lock(%s)", (LOCK,))


def differences(database: Database) -> list[str]:
    """The names of what is missing, changed or left over, in order; empty when all is in place.

    Raises:
        SchemaTooNew: a newer version of the library wrote what is there.
    """
    there, wanted = _installed(database), _wanted(database)
    newest = max((_version(text) for text in there.values()), default=())
    if there != wanted and newest > _version(_STAMP):
        raise SchemaTooNew(f"the database's triggers are of version {'.'.join(map(str, newest))}; upgrade the library")
    return sorted(name for name in there.keys() | wanted.keys() if there.get(name) != wanted.get(name))


def install(database: Database) -> None:
    """Put everything in place, in the open transaction; what was there goes."""
    remove(database)
    for statement in _statements(database):
        database.execute_sql(statement)


def remove(database: Database) -> None:
    """Take everything of ours away, in the open transaction."""
    if database.kind == SQLITE:
        for name in _sqlite_triggers(database):
            database.execute_sql(f'DROP TRIGGER "{name}"')
        return
    place = dialect_of(database).place
    for name, table in _postgresql_triggers(database):
        database.execute_sql(f'DROP TRIGGER "{name}" ON {place}"{table}"')
    for name in _functions(database):
        database.execute_sql(f'DROP ROUTINE {place}"{name}"() CASCADE')


def taken(database: Database) -> set[str]:
    """Names of ours that triggers (SQLite) or functions (PostgreSQL) bear, in a database where nothing is ours yet."""
    if database.kind == SQLITE:
        found = database.execute_sql("SELECT lower(name) FROM sqlite_master WHERE type = 'trigger'").fetchall()
        return {name for (name,) in found} & {name for name, _ in _SQLITE_PLACES}
    return {name for name, _ in database.execute_sql(_FUNCTION_TEXTS).fetchall()} & _FUNCTION_NAMES


def _version(text: str) -> tuple[int, ...]:
    found = _STAMPED.search(text)
    return tuple(map(int, found[1].split("."))) if found else ()


def dialect_of(database: Database) -> Dialect:
    """How a database's words differ."""
    if database.kind == SQLITE:
        return Dialect(SQLITE, "", "last_insert_rowid()")
    (schema,) = database.execute_sql("SELECT quote_ident(current_schema())").fetchone()
    return Dialect(database.kind, f"{schema}.", f"NULLIF(current_setting('{_WRITTEN}', TRUE), '')::bigint")


def _wanted(database: Database) -> dict[str, str]:
    """What should be there, by name, as `_installed` tells it."""
    dialect = dialect_of(database)
    if database.kind == SQLITE:
        return dict(_sqlite(dialect))
    functions = {f"{PREFIX}{model._meta.table_name}": _body(model, dialect) for model in EVERY}
    functions[_TRUNCATES] = _NO_TRUNCATE
    functions = {name: f"{body}search_path={_PATH}" for name, body in functions.items()}
    triggers = {f"{name} on {table}": f"{kind} A" for name, table, kind in _bound()}
    return functions | triggers


def _installed(database: Database) -> dict[str, str]:
    if database.kind == SQLITE:
        return _sqlite_triggers(database)
    triggers = {f"{name} on {table}": told for (name, table), told in _postgresql_triggers(database).items()}
    return _functions(database) | triggers


def _statements(database: Database) -> Iterator[str]:
    dialect = dialect_of(database)
    yield from (text for _, text in _sqlite(dialect)) if database.kind == SQLITE else _postgresql(dialect)


def _case(found: list[Refusal], verdict: str) -> str:
    lines = [f"WHEN {refusal.when}\n            THEN {verdict.format(refusal.says)}" for refusal in found]
    return "CASE\n        " + "\n        ".join(lines) + "\n    END"


# ---- SQLite --------------------------------------------------------------------------------------------


def _sqlite(dialect: Dialect) -> Iterator[tuple[str, str]]:
    for model in EVERY:
        table = model._meta.table_name
        for event, found in refusals(model, dialect).items():
            if found:
                name = f"{PREFIX}{table}_{event.lower()}"
                body = _case(found, "RAISE(ABORT, '{}')")
                when = "AFTER INSERT" if event == PLACED else f"BEFORE {event}"
                yield name, f"CREATE TRIGGER {name} {when} ON {table}\nBEGIN {_STAMP}\n    SELECT {body};\nEND"


def _sqlite_triggers(database: Database) -> dict[str, str]:
    query = "SELECT name, tbl_name, sql FROM sqlite_master WHERE type = 'trigger' AND name GLOB 'dispatch_*'"
    found = database.execute_sql(query).fetchall()
    return {name: text for name, table, text in found if (name, table) in _SQLITE_PLACES or _STAMPED.search(text)}


_SQLITE_PLACES = {
    (f"{PREFIX}{model._meta.table_name}_{event.lower()}", model._meta.table_name)
    for model in EVERY
    for event in (INSERT, UPDATE, DELETE, PLACED)
}
"""The name of each trigger, and its table."""


# ---- PostgreSQL ----------------------------------------------------------------------------------------

HERE = "quote_ident(current_schema())::regnamespace"
"""The schema of the store, in PostgreSQL's own tables."""
_FUNCTION_TEXTS = f"""SELECT proname, concat(prosrc, array_to_string(proconfig, ' ')) FROM pg_proc
    WHERE pronamespace = {HERE} AND pronargs = 0 AND proname LIKE 'dispatch\\_%%'
"""
_PATH = "pg_catalog, pg_temp"
"""Where a trigger's operators and functions are looked up, whatever the session's own path puts before."""
_TRIGGERS = f"""SELECT tgname, relname, prosrc, concat(tgtype,
        CASE WHEN tgqual IS NULL AND tgattr = ''::int2vector THEN '' ELSE ' partly' END,
        CASE WHEN proname = tgname AND pronamespace = relnamespace THEN '' ELSE ' elsewhere' END, ' ', tgenabled)
    FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid JOIN pg_proc ON pg_proc.oid = tgfoid
    WHERE relnamespace = {HERE} AND NOT tgisinternal AND tgname LIKE 'dispatch\\_%%'
"""
_WRITTEN = "dispatch_state.written"
_RAISE = "RAISE EXCEPTION 'dispatch_state: %', {} USING ERRCODE = 'check_violation'"
_NO_TRUNCATE = f"""
BEGIN {_STAMP}
    {_RAISE.format("TG_TABLE_NAME || ': is not truncated'")};
END
"""
_TRUNCATES = f"{PREFIX}truncate"
_FUNCTION_NAMES = {_TRUNCATES, *(f"{PREFIX}{model._meta.table_name}" for model in EVERY)}


def _functions(database: Database) -> dict[str, str]:
    found = database.execute_sql(_FUNCTION_TEXTS).fetchall()
    return {name: text for name, text in found if name in _FUNCTION_NAMES or _STAMPED.search(text)}


def _postgresql_triggers(database: Database) -> dict[tuple[str, str], str]:
    """Those of ours, by name and table, as `_wanted` tells them."""
    places = {(name, table) for name, table, _ in _bound()}
    found = database.execute_sql(_TRIGGERS).fetchall()
    return {(n, table): told for n, table, calls, told in found if (n, table) in places or _STAMPED.search(calls)}


def _body(model: type[Row], dialect: Dialect) -> str:
    lines = [f"\nDECLARE refusal text;\nBEGIN {_STAMP}"]
    for event, found in refusals(model, dialect).items():
        if found:
            lines.append(
                f"    IF TG_OP = '{event}' THEN refusal := {_case(found, chr(39) + '{}' + chr(39))};\n    END IF;"
            )
    lines.append(f"    IF refusal IS NOT NULL THEN {_RAISE.format('refusal')};\n    END IF;")
    if model is TransitionLog:
        lines.append(f"    PERFORM set_config('{_WRITTEN}', NEW.seq::text, TRUE);  -- until this transaction ends")
        lines.append(f"    PERFORM pg_notify('{CHANNEL}', '');  -- who watches hears of it when it is committed")
    lines.append("    IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;\n    RETURN NEW;\nEND\n")
    return "\n".join(lines)


def _bound() -> Iterator[tuple[str, str, int]]:
    """Every trigger: its name, which is its function's, its table, and its kind."""
    for model in EVERY:
        table = model._meta.table_name
        yield f"{PREFIX}{table}", table, _EACH_ROW
        if model not in REPLACEABLE:
            yield _TRUNCATES, table, _TRUNCATE


def _postgresql(dialect: Dialect) -> Iterator[str]:
    def function(name: str, body: str) -> str:
        text = body.replace("%", "%%")
        head = f"CREATE FUNCTION {dialect.place}{name}() RETURNS trigger LANGUAGE plpgsql SET search_path = {_PATH}"
        return f"{head} AS $dispatch${text}$dispatch$"

    for model in EVERY:
        yield function(f"{PREFIX}{model._meta.table_name}", _body(model, dialect))
    yield function(_TRUNCATES, _NO_TRUNCATE)
    for name, table, kind in _bound():
        when = "TRUNCATE" if kind == _TRUNCATE else "INSERT OR UPDATE OR DELETE"
        each = "STATEMENT" if kind == _TRUNCATE else "ROW"
        where = f"{dialect.place}{table}"
        yield f"CREATE TRIGGER {name} BEFORE {when} ON {where} FOR EACH {each} EXECUTE FUNCTION {dialect.place}{name}()"
        yield f"ALTER TABLE {where} ENABLE ALWAYS TRIGGER {name}"
