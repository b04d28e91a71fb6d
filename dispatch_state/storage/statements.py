"""Statements: SQL that Peewee generates once, and that every later call reuses.

A statement is a function that builds a Peewee query from its arguments. It is called once per kind of database, with
slots in place of values, and the SQL that Peewee generates is cached. Each later call binds its arguments to that SQL
and runs it on Peewee's connection, so query hooks and debug logging still see it.

    @rows
    def live_issues(stage: UUID) -> ModelSelect[Issue]:
        return Issue.select().where(Issue.stage == stage, Issue.status.in_(IssueStatus.live()))

    live_issues(stage.id)       # -> list[Issue]
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import cache, wraps
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, TypeVar

import peewee

from dispatch_state.errors import StoreNotOpen
from dispatch_state.storage.connections import RowsAndCursor
from dispatch_state.storage.current import DATABASE
from dispatch_state.storage.field_base import Slot

if TYPE_CHECKING:
    from peewee import ModelSelect

P = ParamSpec("P")
M = TypeVar("M", bound=peewee.Model)

STATEMENTS: list[Statement] = []
"""Every statement of the package."""


def _forget_all(database: Any) -> None:
    """Make no statement use the previous database, after another was opened or the last one closed."""
    for statement in STATEMENTS:
        statement.forget()


DATABASE.attach_callback(_forget_all)


class Statement:
    """One query, with its SQL cached per kind of database.

    run: binds the arguments, executes, and returns every row as the driver does, and the cursor. The first call
        compiles it for the open store's database. Raises `StoreNotOpen` when no store is open.

    Args:
        build: makes the query from positional arguments; called with a `Slot` for each.
        size: how many arguments it takes.
    """

    __slots__ = ("_build", "_size", "_texts", "run")

    run: Callable[..., RowsAndCursor]

    def __init__(self, build: Callable[..., Any], size: int) -> None:
        self._build = build
        self._size = size
        self._texts: dict[str, _Text] = {}
        self.forget()
        STATEMENTS.append(self)

    def forget(self) -> None:
        """Make the next call use the database that is open then."""
        self.run = self._first_run

    def _first_run(self, *arguments: Any) -> RowsAndCursor:
        database = DATABASE.obj
        if database is None:
            raise StoreNotOpen()
        text = self._text(database.kind)
        names = {**text.names, "run": database.run, "sql": text.sql}
        self.run = run = _compiled(_arguments(self._size), f"run(sql, {text.parameters})", names)
        if DATABASE.obj is not database:  # another thread closed it, and perhaps opened another
            self.forget()
        return run(*arguments)  # type: ignore[no-any-return]

    def rows(self, *arguments: Any) -> list[tuple[Any, ...]]:
        """Bind the arguments, execute, and return every row as the driver does."""
        return self.run(*arguments)[0]

    def first(self, *arguments: Any) -> tuple[Any, ...] | None:
        """Bind the arguments, execute, and return the first row, or None. The query should be limited to one row."""
        found = self.run(*arguments)[0]
        return found[0] if found else None

    def prepared(self, kind: str) -> tuple[str, Callable[..., tuple[Any, ...]]]:
        """Return the SQL for a kind of database, and a function that makes its parameters from the arguments.

        Raises:
            StoreNotOpen: the open store is not of that kind.
        """
        text = self._text(kind)
        return text.sql, _compiled(_arguments(self._size), text.parameters, dict(text.names))

    def _text(self, kind: str) -> _Text:
        if kind not in self._texts:
            sql, template = self._build(*map(Slot, range(self._size))).sql()
            if getattr(DATABASE.obj, "kind", None) != kind:  # another thread opened another store meanwhile
                raise StoreNotOpen()
            parameters, names = _parameters(template)
            self._texts[kind] = _Text(sql, parameters, names)
        return self._texts[kind]


class _Text(NamedTuple):
    """The SQL of a query.

    parameters: its parameters, as a Python expression of the arguments `a0`, `a1` and so on.
    names: the other names in that expression, with their values.
    """

    sql: str
    parameters: str
    names: dict[str, Any]


def _parameters(template: list[Any]) -> tuple[str, dict[str, Any]]:
    """Return a tuple expression: each slot's argument, converted, and each fixed parameter; and the names in it."""
    names: dict[str, Any] = {}
    parts = []
    for place, item in enumerate(template):
        if type(item) is not Slot:
            names[f"fixed{place}"] = item
            parts.append(f"fixed{place}")
            continue
        argument = f"a{item.index}"
        if item.convert is None:
            parts.append(argument)
            continue
        names[f"convert{place}"] = item.convert
        converted = f"{argument}.{item.attribute}" if item.attribute else argument
        unless = "" if item.converts_none else f"None if {argument} is None else "
        parts.append(f"{unless}convert{place}({converted})")
    return f"({''.join(f'{part}, ' for part in parts)})", names


def _arguments(size: int) -> str:
    return ", ".join(f"a{place}" for place in range(size))


def _compiled(arguments: str, expression: str, names: dict[str, Any]) -> Any:
    """Compile a function for one statement, without loops and look-ups by name."""
    return eval(f"lambda {arguments}: {expression}", names)  # noqa: S307 - our own text, which holds names of columns at most


def _statement(build: Callable[..., Any], finish: Callable[[Any], Any] = lambda query: query) -> Statement:
    return Statement(lambda *slots: finish(build(*slots)), len(inspect.signature(build).parameters))


def rows(build: Callable[P, ModelSelect[M]]) -> Callable[P, list[M]]:
    """Decorator: a statement that selects whole rows of one model and returns them as a list."""
    statement = _statement(build)

    @wraps(build)
    def read(*arguments: P.args, **_: P.kwargs) -> Any:
        model = _model_of(build)
        return [load(model, found) for found in statement.run(*arguments)[0]]

    return read


def one(build: Callable[P, ModelSelect[M]]) -> Callable[P, M | None]:
    """Decorator: a statement that selects the first row of one model, or returns None."""
    statement = _statement(build, lambda query: query.limit(1))

    @wraps(build)
    def read(*arguments: P.args, **_: P.kwargs) -> Any:
        found = statement.run(*arguments)[0]
        return load(_model_of(build), found[0]) if found else None

    return read


def tuples(build: Callable[P, ModelSelect[Any]]) -> Callable[P, list[tuple[Any, ...]]]:
    """Decorator: a statement that returns rows as tuples, with the values that the driver returned."""
    statement = _statement(build)

    @wraps(build)
    def read(*arguments: P.args, **_: P.kwargs) -> Any:
        return statement.run(*arguments)[0]

    return read


def exists(build: Callable[P, ModelSelect[Any]]) -> Callable[P, bool]:
    """Decorator: a statement that returns whether the query has any row."""
    statement = _statement(build, lambda query: query.limit(1))

    @wraps(build)
    def read(*arguments: P.args, **_: P.kwargs) -> bool:
        return bool(statement.run(*arguments)[0])

    return read


@cache
def _model_of(build: Callable[..., ModelSelect[M]]) -> type[M]:
    query = build(*map(Slot, range(len(inspect.signature(build).parameters))))
    return query.model


# ---- whole rows, by key ------------------------------------------------------------------------------


@cache
def _reader(model: type[peewee.Model]) -> Callable[[tuple[Any, ...]], dict[str, Any]]:
    """Compile a function that makes a row's columns from a tuple; native values stay as the driver returned them."""
    names: dict[str, Any] = {}
    parts = []
    for place, field in enumerate(_fields(model)):
        names[f"read{place}"] = getattr(field, "fast_read", field.python_value)
        names[f"native{place}"] = getattr(field, "native", None)
        value = f"found[{place}]"
        part = f"{value} if {value} is None or {value}.__class__ is native{place} else read{place}({value})"
        parts.append(f"{field.name!r}: {part}")
    return _compiled("found", f"{{{', '.join(parts)}}}", names)  # type: ignore[no-any-return]


_NOT_READ = ValueError, TypeError, AttributeError, KeyError, OverflowError, RecursionError
"""Raised by a `fast_read` for a value that it cannot convert."""


def load(model: type[M], found: tuple[Any, ...]) -> M:
    """Return a row object from a tuple of the columns that `model.select()` names, in its order.

    Raises:
        StoreCorrupt: a stored value is not one that its column holds.
    """
    try:
        return row_object(model, _reader(model)(found))
    except _NOT_READ:
        columns = zip(_fields(model), found, strict=True)
        return row_object(model, {field.name: field.python_value(value) for field, value in columns})


def row_object(model: type[M], columns: dict[str, Any]) -> M:
    """Return a row object with these columns, in the state of one that Peewee has read."""
    row: Any = model.__new__(model)
    row.__data__ = columns
    row._dirty = set()
    row.__rel__ = {}
    row.is_new = False
    return row  # type: ignore[no-any-return]


def _fields(model: type[peewee.Model]) -> list[Any]:
    return model._meta.sorted_fields  # type: ignore[no-any-return]


@cache
def _by_key(model: type[peewee.Model]) -> Statement:
    return Statement(lambda key: model.select().where(model._meta.primary_key == key), 1)


def find(model: type[M], key: Any) -> M | None:
    """Read the row with a key; None when there is no such row."""
    found, _ = _by_key(model).run(key)
    return load(model, found[0]) if found else None


@cache
def insert_statement(model: type[peewee.Model], columns: tuple[str, ...]) -> Statement:
    """Return the statement that inserts one row with these columns."""

    def build(*slots: Slot) -> Any:
        return peewee.ModelInsert(model, {model._meta.fields[c]: s for c, s in zip(columns, slots, strict=True)})

    return Statement(build, len(columns))


def insert(model: type[peewee.Model], columns: Mapping[str, Any]) -> None:
    """Insert one row with these columns."""
    insert_statement(model, tuple(columns)).run(*columns.values())


def append_statement(model: type[peewee.Model]) -> Statement:
    """Return the statement that inserts one row, its columns in order, into a table whose key the database counts up.

    PostgreSQL returns the new key. On SQLite it is the cursor's `lastrowid`.
    """
    return insert_statement(model, tuple(f.name for f in model._meta.sorted_fields if not f.primary_key))


@cache
def _update(model: type[peewee.Model], columns: tuple[str, ...], fence: tuple[str, ...]) -> Statement:
    def build(*slots: Slot) -> Any:
        fields = model._meta.fields
        changes = {fields[name]: slot for name, slot in zip(columns, slots, strict=False)}
        query = peewee.ModelUpdate(model, changes)
        for name, slot in zip(fence, slots[len(columns) :], strict=True):
            query = query.where(fields[name] == slot)
        return query

    return Statement(build, len(columns) + len(fence))


def update(model: type[peewee.Model], columns: Mapping[str, Any], key: Any) -> None:
    """Set columns of the row with a key."""
    name: str = model._meta.primary_key.name  # type: ignore[union-attr]
    _update(model, tuple(columns), (name,)).run(*columns.values(), key)


FENCE = ("id", "version", "status")
"""The columns that must still hold the known values when a row is moved."""


def move_row(model: type[peewee.Model], columns: Mapping[str, Any], was: Mapping[str, Any]) -> bool:
    """Set columns of a row, unless its version or status has changed.

    Args:
        model: the row's model.
        columns: the columns to set.
        was: its id, with the version and status that it should still have; returns whether it did.
    """
    statement = _update(model, tuple(columns), FENCE)
    return bool(statement.run(*columns.values(), was["id"], was["version"], was["status"])[1].rowcount)


@cache
def _upsert(model: type[peewee.Model], columns: tuple[str, ...]) -> Statement:
    def build(*slots: Slot) -> Any:
        key = model._meta.primary_key
        fields = [model._meta.fields[name] for name in columns]
        query = peewee.ModelInsert(model, dict(zip(fields, slots, strict=True)))
        return query.on_conflict(conflict_target=[key], preserve=[field for field in fields if field is not key])

    return Statement(build, len(columns))


def upsert(model: type[peewee.Model], columns: Mapping[str, Any]) -> None:
    """Insert a row, or set these columns of the row that has its key. The row stays locked until the commit."""
    _upsert(model, tuple(columns)).run(*columns.values())


@cache
def _delete(model: type[peewee.Model]) -> Statement:
    return Statement(lambda key: peewee.ModelDelete(model).where(model._meta.primary_key == key), 1)


def delete(model: type[peewee.Model], key: Any) -> bool:
    """Delete the row with a key; returns whether there was one."""
    return bool(_delete(model).run(key)[1].rowcount)
