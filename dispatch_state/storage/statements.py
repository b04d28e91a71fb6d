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
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, TypeVar

import peewee

from dispatch_state.errors import StoreNotOpen
from dispatch_state.storage.connections import Found
from dispatch_state.storage.current import DATABASE
from dispatch_state.storage.fields import Slot

if TYPE_CHECKING:
    from peewee import ModelSelect

P = ParamSpec("P")
M = TypeVar("M", bound=peewee.Model)


STATEMENTS: list[Statement] = []
"""Every statement there is."""


def _begin_anew(database: Any) -> None:
    """Another database was opened, or none is open any more: no statement goes on with the one before."""
    for statement in STATEMENTS:
        statement.forget()


DATABASE.attach_callback(_begin_anew)  # type: ignore[no-untyped-call]


class Statement:
    """One query, its text kept per kind of database.

    run: binds its arguments, executes, and returns every row, as the database hands it, and the cursor. Written out
        for the open store's database when it is called first.

    Args:
        build: makes the query from its positional arguments; called with a `Slot` for each.
        size: how many arguments it takes.
    """

    __slots__ = ("_build", "_size", "_texts", "run")

    run: Callable[..., Found]

    def __init__(self, build: Callable[..., Any], size: int) -> None:
        self._build = build
        self._size = size
        self._texts: dict[str, _Text] = {}
        self.forget()
        STATEMENTS.append(self)

    def forget(self) -> None:
        """Begin anew with the database that is open when it is called next."""
        self.run = self._first_run

    def _first_run(self, *arguments: Any) -> Found:
        database = DATABASE.obj
        if database is None:
            raise StoreNotOpen()
        text = self._text(database.kind)
        names = {**text.names, "run": database.run, "sql": text.sql}
        self.run = run = _compiled(_arguments(self._size), f"run(sql, {text.parameters})", names)
        if DATABASE.obj is not database:  # another thread has closed it, and perhaps opened another
            self.forget()
        return run(*arguments)  # type: ignore[no-any-return]

    def rows(self, *arguments: Any) -> list[tuple[Any, ...]]:
        """Bind the arguments, execute, and return every row, as the database hands it."""
        return self.run(*arguments)[0]

    def first(self, *arguments: Any) -> tuple[Any, ...] | None:
        """Bind the arguments, execute, and return the first row, or None; for a query that is limited to one."""
        found = self.run(*arguments)[0]
        return found[0] if found else None

    def prepared(self, kind: str) -> tuple[str, Callable[..., tuple[Any, ...]]]:
        """The text for one kind of database, and what makes its parameters of the arguments."""
        text = self._text(kind)
        return text.sql, _compiled(_arguments(self._size), text.parameters, dict(text.names))

    def _text(self, kind: str) -> _Text:
        if kind not in self._texts:
            sql, template = self._build(*map(Slot, range(self._size))).sql()
            if getattr(DATABASE.obj, "kind", None) != kind:  # another thread has opened another meanwhile
                raise StoreNotOpen()
            parameters, names = _parameters(template)
            self._texts[kind] = _Text(sql, parameters, names)
        return self._texts[kind]


class _Text(NamedTuple):
    """What Peewee made of a query.

    parameters: what becomes its parameters, as an expression of the arguments `a0`, `a1` and so on.
    names: what the names in that mean.
    """

    sql: str
    parameters: str
    names: dict[str, Any]


def _parameters(template: list[Any]) -> tuple[str, dict[str, Any]]:
    """Each slot's argument through its converter, and the rest as it stands, written out as a tuple."""
    names: dict[str, Any] = {}
    parts = []
    for place, item in enumerate(template):
        if type(item) is not Slot:
            names[f"fixed{place}"] = item
            parts.append(f"fixed{place}")
            continue
        part = f"a{item.index}"
        if item.convert is not None:
            names[f"convert{place}"] = item.convert
            unless = "" if item.holds_null else f"None if {part} is None else "
            part = f"{unless}convert{place}({part}.{item.part})" if item.part else f"{unless}convert{place}({part})"
        parts.append(part)
    return f"({''.join(f'{part}, ' for part in parts)})", names


def _arguments(size: int) -> str:
    return ", ".join(f"a{place}" for place in range(size))


def _compiled(arguments: str, expression: str, names: dict[str, Any]) -> Any:
    """A function of these arguments, written out for one statement as a person would: no loop, no look-ups by name."""
    return eval(f"lambda {arguments}: {expression}", names)  # noqa: S307 - our own text; names of columns at most


def _statement(build: Callable[..., Any], finish: Callable[[Any], Any] = lambda query: query) -> Statement:
    return Statement(lambda *slots: finish(build(*slots)), len(inspect.signature(build).parameters))


def rows(build: Callable[P, ModelSelect[M]]) -> Callable[P, list[M]]:
    """A statement that selects whole rows of one model, in order."""
    statement = _statement(build)

    @wraps(build)
    def read(*arguments: P.args, **_: P.kwargs) -> Any:
        model = _model_of(build)
        return [load(model, found) for found in statement.run(*arguments)[0]]

    return read


def one(build: Callable[P, ModelSelect[M]]) -> Callable[P, M | None]:
    """A statement that selects the first row of one model, or None."""
    statement = _statement(build, lambda query: query.limit(1))

    @wraps(build)
    def read(*arguments: P.args, **_: P.kwargs) -> Any:
        found = statement.run(*arguments)[0]
        return load(_model_of(build), found[0]) if found else None

    return read


def tuples(build: Callable[P, ModelSelect[Any]]) -> Callable[P, list[tuple[Any, ...]]]:
    """A statement whose rows are tuples, as the database hands them."""
    statement = _statement(build)

    @wraps(build)
    def read(*arguments: P.args, **_: P.kwargs) -> Any:
        return statement.run(*arguments)[0]

    return read


def some(build: Callable[P, ModelSelect[Any]]) -> Callable[P, bool]:
    """A statement that asks whether there is any such row."""
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
    """Compile what makes a row's columns of what the database hands: what Python has alike stays as it is."""
    names: dict[str, Any] = {}
    parts = []
    for place, field in enumerate(_fields(model)):
        names[f"read{place}"] = getattr(field, "fast_read", field.python_value)
        names[f"alike{place}"] = getattr(field, "alike", None)
        value = f"found[{place}]"
        part = f"{value} if {value} is None or {value}.__class__ is alike{place} else read{place}({value})"
        parts.append(f"{field.name!r}: {part}")
    return _compiled("found", f"{{{', '.join(parts)}}}", names)  # type: ignore[no-any-return]


_UNREAD = ValueError, TypeError, AttributeError, KeyError, OverflowError, RecursionError
"""What a fast_read reader raises for what it does not understand."""


def load(model: type[M], found: tuple[Any, ...]) -> M:
    """A row object from the columns that `model.select()` names, in its order."""
    try:
        return made(model, _reader(model)(found))
    except _UNREAD:
        columns = zip(_fields(model), found, strict=True)
        return made(model, {field.name: field.python_value(value) for field, value in columns})


def made(model: type[M], columns: dict[str, Any]) -> M:
    """A row object that holds these columns, as Peewee makes one that it reads."""
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
    """The row of that key as it stands in the database, or None."""
    found, _ = _by_key(model).run(key)
    return load(model, found[0]) if found else None


@cache
def inserting(model: type[peewee.Model], columns: tuple[str, ...]) -> Statement:
    """The statement that inserts one row with these columns."""

    def build(*slots: Slot) -> Any:
        return peewee.ModelInsert(model, {model._meta.fields[c]: s for c, s in zip(columns, slots, strict=True)})

    return Statement(build, len(columns))


def insert(model: type[peewee.Model], columns: Mapping[str, Any]) -> None:
    """Insert one row."""
    inserting(model, tuple(columns)).run(*columns.values())


def appending(model: type[peewee.Model]) -> Statement:
    """The statement that inserts one row, its columns in order, into a table whose key the database counts up.

    PostgreSQL returns that key; on SQLite it is the cursor's `lastrowid`.
    """
    return inserting(model, tuple(f.name for f in model._meta.sorted_fields if not f.primary_key))


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
    """Set columns of the row of that key."""
    name: str = model._meta.primary_key.name  # type: ignore[union-attr]
    _update(model, tuple(columns), (name,)).run(*columns.values(), key)


FENCE = ("id", "version", "status")
"""The columns that must still hold what is believed, for a row to be moved."""


def move(model: type[peewee.Model], columns: Mapping[str, Any], was: Mapping[str, Any]) -> bool:
    """Set columns of a row that is still where it was; whether it is."""
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
    """Insert one row, or set these columns of the one that has its key; holds that row until the commit."""
    _upsert(model, tuple(columns)).run(*columns.values())


@cache
def _delete(model: type[peewee.Model]) -> Statement:
    return Statement(lambda key: peewee.ModelDelete(model).where(model._meta.primary_key == key), 1)


def delete(model: type[peewee.Model], key: Any) -> bool:
    """Delete the row of that key; whether there was one."""
    return bool(_delete(model).run(key)[1].rowcount)
