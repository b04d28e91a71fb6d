"""The database's own triggers: generated from the constraints, installed, and compared with what is installed.

They apply to every connection, ours or not: a statement that breaks a constraint fails as a whole. On SQLite they are
triggers that abort. On PostgreSQL each table has one trigger function, which fires in replicating sessions too, and
tables with a history cannot be truncated. Each trigger carries the version of the library that wrote it, and an older
library leaves those of a newer one alone. Triggers and functions of other programs are left alone, whatever their
names: ours carry the version, or have the name and the table of one of ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from dispatch_state._version import __version__
from dispatch_state.errors import SchemaTooNew
from dispatch_state.models.log import TransitionLog
from dispatch_state.models.row import Row
from dispatch_state.models.tables import EVERY
from dispatch_state.schema.constraints import DELETE, INSERT, INSERTED, REPLACEABLE, UPDATE, constraints
from dispatch_state.schema.dialects import Constraint, Dialect
from dispatch_state.storage.connect import Database
from dispatch_state.storage.postgresql import CHANNEL
from dispatch_state.storage.targets import SQLITE

SCHEMA_LOCK = 0x64697370_61746368  # "dispatch" in ASCII
PREFIX = "dispatch_"
_VERSION_COMMENT = f"-- dispatch_state {__version__}"
_COMMENT = re.compile(r"-- dispatch_state (\d{1,9}(?:\.\d{1,9}){0,3})")
_ROW_TRIGGER, _TRUNCATE_TRIGGER = 1 | 2 | 4 | 8 | 16, 2 | 32
"""`pg_trigger.tgtype` of a trigger before insert, delete and update of each row, and of one before a truncate."""


def ensure(database: Database) -> list[str]:
    """Install the triggers again when any of them is missing, changed or left over.

    Returns:
        The names of those that were, in order; empty when nothing had to be done.

    Raises:
        SchemaTooNew: a newer version of the library wrote the installed triggers.
    """
    if not differences(database):
        return []
    with database.atomic():
        lock_schema(database)
        changed = differences(database)
        if changed:
            install(database)
    return changed


def lock_schema(database: Database) -> None:
    """Let no other process change the schema until the transaction ends; on SQLite, BEGIN IMMEDIATE does so already."""
    if database.kind != SQLITE:
        database.execute_sql("SELECT pg_advisory_xact_lock(%s)", (SCHEMA_LOCK,))


def differences(database: Database) -> list[str]:
    """Return the names of the triggers and functions that are missing, changed or left over, in order.

    Raises:
        SchemaTooNew: a newer version of the library wrote the installed triggers.
    """
    installed, wanted = _installed(database), _wanted(database)
    newest = max((_version(text) for text in installed.values()), default=())
    if installed != wanted and newest > _version(_VERSION_COMMENT):
        raise SchemaTooNew(f"the database's triggers are of version {'.'.join(map(str, newest))}; upgrade the library")
    return sorted(name for name in installed.keys() | wanted.keys() if installed.get(name) != wanted.get(name))


def install(database: Database) -> None:
    """Replace whatever is installed by the triggers of this version, in the open transaction."""
    remove(database)
    for statement in _statements(database):
        database.execute_sql(statement)


def remove(database: Database) -> None:
    """Drop all triggers and functions of the library, in the open transaction."""
    if database.kind == SQLITE:
        for name in _sqlite_triggers(database):
            database.execute_sql(f'DROP TRIGGER "{name}"')
        return
    prefix = dialect_of(database).schema_prefix
    for name, table in _postgresql_triggers(database):
        database.execute_sql(f'DROP TRIGGER "{name}" ON {prefix}"{table}"')
    for name in _functions(database):
        database.execute_sql(f'DROP ROUTINE {prefix}"{name}"() CASCADE')


def taken_names(database: Database) -> set[str]:
    """Return the names that the library needs for its triggers (SQLite) or functions (PostgreSQL) and that are taken.

    Args:
        database: one in which the library has installed nothing yet.
    """
    if database.kind == SQLITE:
        found = database.execute_sql("SELECT lower(name) FROM sqlite_master WHERE type = 'trigger'").fetchall()
        return {name for (name,) in found} & {name for name, _ in _SQLITE_PLACES}
    return {name for name, _ in database.execute_sql(_FUNCTION_TEXTS).fetchall()} & _FUNCTION_NAMES


def _version(text: str) -> tuple[int, ...]:
    found = _COMMENT.search(text)
    return tuple(map(int, found[1].split("."))) if found else ()


def dialect_of(database: Database) -> Dialect:
    """Return the dialect in which the constraints of a database are written."""
    if database.kind == SQLITE:
        return Dialect(SQLITE, "", "last_insert_rowid()")
    (schema,) = database.execute_sql("SELECT quote_ident(current_schema())").fetchone()
    return Dialect(database.kind, f"{schema}.", f"NULLIF(current_setting('{_LAST_LOG_SEQ}', TRUE), '')::bigint")


def _wanted(database: Database) -> dict[str, str]:
    """Return the text of each trigger and function of this version by its name, in the form of `_installed`."""
    dialect = dialect_of(database)
    if database.kind == SQLITE:
        return dict(_sqlite(dialect))
    functions = {f"{PREFIX}{model._meta.table_name}": _body(model, dialect) for model in EVERY}
    functions[_TRUNCATE_FUNCTION] = _TRUNCATE_BODY
    functions = {name: f"{body}search_path={_SEARCH_PATH}" for name, body in functions.items()}
    triggers = {f"{name} on {table}": f"{kind} A" for name, table, kind in _postgresql_places()}
    return functions | triggers


def _installed(database: Database) -> dict[str, str]:
    """Return the text of each installed trigger and function of the library by its name."""
    if database.kind == SQLITE:
        return _sqlite_triggers(database)
    triggers = {f"{name} on {table}": kind for (name, table), kind in _postgresql_triggers(database).items()}
    return _functions(database) | triggers


def _statements(database: Database) -> Iterator[str]:
    dialect = dialect_of(database)
    yield from (text for _, text in _sqlite(dialect)) if database.kind == SQLITE else _postgresql(dialect)


def _case(found: list[Constraint], verdict: str) -> str:
    """Return an SQL expression with the verdict on the first constraint that a row breaks."""
    lines = [f"WHEN {condition}\n            THEN {verdict.format(message)}" for condition, message in found]
    return "CASE\n        " + "\n        ".join(lines) + "\n    END"


# ---- SQLite --------------------------------------------------------------------------------------------


def _sqlite(dialect: Dialect) -> Iterator[tuple[str, str]]:
    """Yield the name and the statement of each trigger."""
    for model in EVERY:
        table = model._meta.table_name
        for event, found in constraints(model, dialect).items():
            if found:
                name = f"{PREFIX}{table}_{event.lower()}"
                body = _case(found, "RAISE(ABORT, '{}')")
                when = "AFTER INSERT" if event == INSERTED else f"BEFORE {event}"
                head = f"CREATE TRIGGER {name} {when} ON {table}\nBEGIN {_VERSION_COMMENT}"
                yield name, f"{head}\n    SELECT {body};\nEND"


def _sqlite_triggers(database: Database) -> dict[str, str]:
    query = "SELECT name, tbl_name, sql FROM sqlite_master WHERE type = 'trigger' AND name GLOB 'dispatch_*'"
    found = database.execute_sql(query).fetchall()
    return {name: text for name, table, text in found if (name, table) in _SQLITE_PLACES or _COMMENT.search(text)}


_SQLITE_PLACES = {
    (f"{PREFIX}{model._meta.table_name}_{event.lower()}", model._meta.table_name)
    for model in EVERY
    for event in (INSERT, UPDATE, DELETE, INSERTED)
}
"""The name and the table of each trigger that the library may install."""


# ---- PostgreSQL ----------------------------------------------------------------------------------------

STORE_NAMESPACE = "quote_ident(current_schema())::regnamespace"
"""The schema of the store, as PostgreSQL's system tables refer to it."""
_FUNCTION_TEXTS = f"""SELECT proname, concat(prosrc, array_to_string(proconfig, ' ')) FROM pg_proc
    WHERE pronamespace = {STORE_NAMESPACE} AND pronargs = 0 AND proname LIKE 'dispatch\\_%%'
"""
_SEARCH_PATH = "pg_catalog, pg_temp"
"""Where a trigger looks up operators and functions, whatever the search path of the session is."""
_TRIGGERS = f"""SELECT tgname, relname, prosrc, concat(tgtype,
        CASE WHEN tgqual IS NULL AND tgattr = ''::int2vector THEN '' ELSE ' partly' END,
        CASE WHEN proname = tgname AND pronamespace = relnamespace THEN '' ELSE ' elsewhere' END, ' ', tgenabled)
    FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid JOIN pg_proc ON pg_proc.oid = tgfoid
    WHERE relnamespace = {STORE_NAMESPACE} AND NOT tgisinternal AND tgname LIKE 'dispatch\\_%%'
"""
_LAST_LOG_SEQ = "dispatch_state.written"
"""The setting in which a transaction on PostgreSQL keeps the `seq` of its last log row."""
_RAISE = "RAISE EXCEPTION 'dispatch_state: %', {} USING ERRCODE = 'check_violation'"
_TRUNCATE_BODY = f"""
BEGIN {_VERSION_COMMENT}
    {_RAISE.format("TG_TABLE_NAME || ': the table cannot be truncated'")};
END
"""
_TRUNCATE_FUNCTION = f"{PREFIX}truncate"
_FUNCTION_NAMES = {_TRUNCATE_FUNCTION, *(f"{PREFIX}{model._meta.table_name}" for model in EVERY)}


def _functions(database: Database) -> dict[str, str]:
    found = database.execute_sql(_FUNCTION_TEXTS).fetchall()
    return {name: text for name, text in found if name in _FUNCTION_NAMES or _COMMENT.search(text)}


def _postgresql_triggers(database: Database) -> dict[tuple[str, str], str]:
    """Return the kind of each trigger of the library by its name and table, in the form of `_wanted`."""
    places = {(name, table) for name, table, _ in _postgresql_places()}
    found = database.execute_sql(_TRIGGERS).fetchall()
    return {
        (name, table): kind for name, table, body, kind in found if (name, table) in places or _COMMENT.search(body)
    }


def _body(model: type[Row], dialect: Dialect) -> str:
    """Return the body of the trigger function of a table."""
    lines = [f"\nDECLARE refusal text;\nBEGIN {_VERSION_COMMENT}"]
    for event, found in constraints(model, dialect).items():
        if found:
            lines.append(
                f"    IF TG_OP = '{event}' THEN refusal := {_case(found, chr(39) + '{}' + chr(39))};\n    END IF;"
            )
    lines.append(f"    IF refusal IS NOT NULL THEN {_RAISE.format('refusal')};\n    END IF;")
    if model is TransitionLog:
        lines.append(f"    PERFORM set_config('{_LAST_LOG_SEQ}', NEW.seq::text, TRUE);  -- until this transaction ends")
        lines.append(f"    PERFORM pg_notify('{CHANNEL}', '');  -- watchers are notified when it is committed")
    lines.append("    IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;\n    RETURN NEW;\nEND\n")
    return "\n".join(lines)


def _postgresql_places() -> Iterator[tuple[str, str, int]]:
    """Yield the name of each trigger, which is also its function's, its table and its kind."""
    for model in EVERY:
        table = model._meta.table_name
        yield f"{PREFIX}{table}", table, _ROW_TRIGGER
        if model not in REPLACEABLE:
            yield _TRUNCATE_FUNCTION, table, _TRUNCATE_TRIGGER


def _postgresql(dialect: Dialect) -> Iterator[str]:
    """Yield the statements that install everything."""
    prefix = dialect.schema_prefix

    def function(name: str, body: str) -> str:
        text = body.replace("%", "%%")
        head = f"CREATE FUNCTION {prefix}{name}() RETURNS trigger LANGUAGE plpgsql"
        return f"{head} SET search_path = {_SEARCH_PATH} AS $dispatch${text}$dispatch$"

    for model in EVERY:
        yield function(f"{PREFIX}{model._meta.table_name}", _body(model, dialect))
    yield function(_TRUNCATE_FUNCTION, _TRUNCATE_BODY)
    for name, table, kind in _postgresql_places():
        when = "TRUNCATE" if kind == _TRUNCATE_TRIGGER else "INSERT OR UPDATE OR DELETE"
        each = "STATEMENT" if kind == _TRUNCATE_TRIGGER else "ROW"
        where = f"{prefix}{table}"
        yield f"CREATE TRIGGER {name} BEFORE {when} ON {where} FOR EACH {each} EXECUTE FUNCTION {prefix}{name}()"
        yield f"ALTER TABLE {where} ENABLE ALWAYS TRIGGER {name}"
