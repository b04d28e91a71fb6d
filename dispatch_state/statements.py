"""SQL texts, each generated once by Peewee and then kept.

A statement is a function that builds a Peewee query from its arguments. It is called once per kind
of database, with slots in place of values; what Peewee makes of it is kept as text. Every later
call binds its arguments to that text and runs it on Peewee's connection, so that query hooks and
debug logging still see it.

    @rows
    def live_issues(stage: UUID) -> ModelSelect[Issue]:
        return Issue.select().where(Issue.stage == stage, Issue.status.in_(IssueStatus.live()))

    live_issues(stage.id)       # -> list[Issue]
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import cache, wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import peewee

from dispatch_state.errors import StoreNotOpen
from dispatch_state.fields import Slot

if TYPE_CHECKING:
    from peewee import ModelSelect

P = ParamSpec("P")
M = TypeVar("M", bound=peewee.Model)


class StoreProxy(peewee.DatabaseProxy):
    """Stands for the database of the open store; without one, every use is `StoreNotOpen`."""

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        if self.obj is None:
            raise StoreNotOpen()
        return getattr(self.obj, attribute)


DATABASE = StoreProxy()
"""The database of the open store; every model is bound to it."""


class Statement:
    """One query, its text kept per kind of database.

    Args:
        build: makes the query from its positional arguments; called with a `Slot` for each.
        size: how many arguments it takes.
    """

    __slots__ = ("_build", "_size", "_texts")

    def __init__(self, build: Callable[..., Any], size: int) -> None:
        self._build = build
        self._size = size
        self._texts: dict[str, tuple[str, list[tuple[int, Any]]]] = {}

    def run(self, *arguments: Any) -> Any:
        """Bind the arguments, execute, and return the cursor."""
        database = DATABASE.obj
        if database is None:
            raise StoreNotOpen()
        return database.execute_sql(*self.prepared(database.kind, arguments))

    def prepared(self, kind: str, arguments: tuple[Any, ...]) -> tuple[str, list[Any]]:
        """The text for one kind of database, and its parameters."""
        sql, places = self._texts.get(kind) or self._generate(kind)
        return sql, [
            fixed if index < 0 else arguments[index] if fixed is None else fixed(arguments[index])
            for index, fixed in places
        ]

    def _generate(self, kind: str) -> tuple[str, list[tuple[int, Any]]]:
        """The text, and for each parameter the argument and what it goes through, or -1 and the parameter."""
        sql, template = self._build(*map(Slot, range(self._size))).sql()
        places = [(item.index, item.convert) if type(item) is Slot else (-1, item) for item in template]
        self._texts[kind] = sql, places
        return self._texts[kind]


def _statement(build: Callable[..., Any], finish: Callable[[Any], Any] = lambda query: query) -> Statement:
    return Statement(lambda *slots: finish(build(*slots)), len(inspect.signature(build).parameters))


def rows(build: Callable[P, ModelSelect[M]]) -> Callable[P, list[M]]:
    """A statement that selects whole rows of one model, in order."""
    statement = _statement(build)

    @wraps(build)
    def read(*arguments: P.args, **_: P.kwargs) -> Any:
        cursor = statement.run(*arguments)
        model = _model_of(build)
        return [load(model, found) for found in cursor.fetchall()]

    return read


def one(build: Callable[P, ModelSelect[M]]) -> Callable[P, M | None]:
    """A statement that selects the first row of one model, or None."""
    statement = _statement(build, lambda query: query.limit(1))

    @wraps(build)
    def read(*arguments: P.args, **_: P.kwargs) -> Any:
        found = statement.run(*arguments).fetchone()
        return None if found is None else load(_model_of(build), found)

    return read


def tuples(build: Callable[P, ModelSelect[Any]]) -> Callable[P, list[tuple[Any, ...]]]:
    """A statement whose rows are tuples, as the database hands them."""
    statement = _statement(build)

    @wraps(build)
    def read(*arguments: P.args, **_: P.kwargs) -> Any:
        return statement.run(*arguments).fetchall()

    return read


def some(build: Callable[P, ModelSelect[Any]]) -> Callable[P, bool]:
    """A statement that asks whether there is any such row."""
    statement = _statement(build, lambda query: query.limit(1))

    @wraps(build)
    def read(*arguments: P.args, **_: P.kwargs) -> bool:
        return statement.run(*arguments).fetchone() is not None

    return read


@cache
def _model_of(build: Callable[..., ModelSelect[M]]) -> type[M]:
    query = build(*map(Slot, range(len(inspect.signature(build).parameters))))
    return query.model


# ---- whole rows, by key ------------------------------------------------------------------------------


@cache
def _readers(model: type[peewee.Model]) -> tuple[tuple[str, type | None, Callable[[Any], Any]], ...]:
    return tuple((f.name, getattr(f, "alike", None), f.python_value) for f in model._meta.sorted_fields)


def load(model: type[M], found: tuple[Any, ...]) -> M:
    """A row object from the columns that `model.select()` names, in its order; made as Peewee makes one it reads."""
    row: Any = model.__new__(model)
    row.__data__ = {
        name: value if value is None or type(value) is alike else read(value)
        for (name, alike, read), value in zip(_readers(model), found, strict=True)
    }
    row._dirty = set()
    row.__rel__ = {}
    row.is_new = False
    return row  # type: ignore[no-any-return]


@cache
def _by_key(model: type[peewee.Model]) -> Statement:
    return Statement(lambda key: model.select().where(model._meta.primary_key == key), 1)


def find(model: type[M], key: Any) -> M | None:
    """The row of that key as it stands in the database, or None."""
    found = _by_key(model).run(key).fetchone()
    return None if found is None else load(model, found)


@cache
def inserting(model: type[peewee.Model], columns: tuple[str, ...]) -> Statement:
    """The statement that inserts one row with these columns."""

    def build(*slots: Slot) -> Any:
        return peewee.ModelInsert(model, {model._meta.fields[c]: s for c, s in zip(columns, slots, strict=True)})

    return Statement(build, len(columns))


def insert(model: type[peewee.Model], columns: Mapping[str, Any]) -> Any:
    """Insert one row; returns its key as the database made it (of use for `transition_log.seq`)."""
    cursor = inserting(model, tuple(columns)).run(*columns.values())
    return cursor.fetchone()[0] if DATABASE.returning_clause else cursor.lastrowid


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


def update(model: type[peewee.Model], columns: Mapping[str, Any], fence: Mapping[str, Any]) -> bool:
    """Set columns where every column of the fence still holds what is believed; whether it did."""
    statement = _update(model, tuple(columns), tuple(fence))
    return bool(statement.run(*columns.values(), *fence.values()).rowcount)


@cache
def _upsert(model: type[peewee.Model], columns: tuple[str, ...]) -> Statement:
    def build(*slots: Slot) -> Any:
        key = model._meta.primary_key
        fields = [model._meta.fields[name] for name in columns]
        query = peewee.ModelInsert(model, dict(zip(fields, slots, strict=True)))
        return query.on_conflict(conflict_target=[key], preserve=[field for field in fields if field is not key])

    return Statement(build, len(columns))


def upsert(model: type[peewee.Model], columns: Mapping[str, Any]) -> None:
    """Insert one row, or set these columns of the one that has its key; holds that row until the commit."""
    _upsert(model, tuple(columns)).run(*columns.values())


@cache
def _delete(model: type[peewee.Model]) -> Statement:
    return Statement(lambda key: peewee.ModelDelete(model).where(model._meta.primary_key == key), 1)


def delete(model: type[peewee.Model], key: Any) -> bool:
    """Delete the row of that key; whether there was one."""
    return bool(_delete(model).run(key).rowcount)
