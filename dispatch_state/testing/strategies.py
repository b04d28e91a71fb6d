"""Hypothesis strategies: columns of new rows, rows with a history, and firings of their triggers.

All of them are derived from the fields, the vocabulary and the lifecycles of the models.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, TypeVar

from hypothesis import reject
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from dispatch_state import json_values, values
from dispatch_state.actors import Actor
from dispatch_state.engine.checks import require_actor
from dispatch_state.errors import InvalidValue
from dispatch_state.lifecycle.arguments import require_row
from dispatch_state.models.base import Stateful
from dispatch_state.models.gate import approvers
from dispatch_state.models.keys import ParentField
from dispatch_state.models.proposal import agent_types
from dispatch_state.models.tables import STATEFUL
from dispatch_state.storage.fields import IntegerField, JsonField, StampField, TextField, WordField, word
from dispatch_state.testing.choices import choices, everybody, present
from dispatch_state.testing.factories import World
from dispatch_state.values import listed, shown
from dispatch_state.vocabulary import AgentType, total

S = TypeVar("S", bound=Stateful)

# ---- values --------------------------------------------------------------------------------------------

DIFFICULT_TEXTS = (
    "plain words",
    "",
    " \t",
    "two\nlines\r\nand a third",
    'it\'s "quoted" \\ and -- commented; DROP TABLE issues /* %s ? :x {0} */',
    "שלום עולם \u202eright to left",
    "naïve ﬁancée, e\u0301 and é",
    "👩‍👩‍👧‍👦 🇳🇵 🤷🏽‍♀️",
    "\u200b\ufeff\x7f\x1b[31m\u2028",
    "\U0010fffd",
    "null",
    "a long way " * 1_000,
)
LOGINS = (
    "maintainer",
    "@Ada",
    "octo-cat-",
    "first.last",
    "kim+ops@example.com",
    "CORP\\Kim",
    "auth0|7/b",
    "renovate[bot]",
)
LEFT_OUT = {("stages", "stage_order")}
"""Columns that no payload sets, because what fits there depends on other rows."""


def texts() -> SearchStrategy[str]:
    """Text that columns take, though programs may handle it badly; it has no NUL and no lone surrogate."""
    anything = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
    return st.sampled_from(DIFFICULT_TEXTS) | anything


def words() -> SearchStrategy[str]:
    """Like `texts`, but never blank."""
    return texts().filter(str.strip)


def moments() -> SearchStrategy[datetime]:
    """Aware datetimes in any time zone, which are in range in UTC."""
    zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
    return st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC) | zones)


def _logins() -> SearchStrategy[Any]:
    names = st.sampled_from([*LOGINS, "0" * 100])
    return st.sampled_from(["any", ["any"]]) | st.lists(names, min_size=1, max_size=3, unique=True)


def _options() -> SearchStrategy[list[Any]]:
    return st.lists(words(), min_size=2, max_size=4, unique=True)


SHAPES: dict[Callable[..., Any], Callable[[], SearchStrategy[Any]]] = {
    json_values.list_of_text: lambda: st.lists(texts(), max_size=3) | _options(),
    json_values.option_names: lambda: _options() | _options().map(lambda names: [{"id": name} for name in names]),
    agent_types: lambda: st.lists(st.sampled_from(list(AgentType)).map(str), min_size=1, unique=True),
    approvers: _logins,
}
"""Strategies for JSON columns, by the check of their shape."""


def _column(field: Any) -> SearchStrategy[Any]:
    """What a column may hold, None excepted."""
    if isinstance(field, WordField):
        return st.sampled_from(list(field.words))
    if isinstance(field, IntegerField):
        return st.integers(-(1 << field._bits - 1), (1 << field._bits - 1) - 1)
    if isinstance(field, JsonField):
        return SHAPES[field._shape]().filter(lambda value: _accepted(field, value))
    plain = {TextField: texts, StampField: moments}[type(field)]
    return plain().filter(lambda value: _accepted(field, value))


def _accepted(field: Any, value: object) -> bool:
    try:
        field.check(value)
    except InvalidValue:
        return False
    return True


# ---- payloads ------------------------------------------------------------------------------------------


def payloads(model: type[Stateful], **fixed: Any) -> SearchStrategy[dict[str, Any]]:
    """Columns of a new row, as `model.create(**payload)` takes them: valid but difficult data.

        @given(payload=payloads(Issue, priority="high"))
        def test_my_importer(payload): ...

    Keys to other rows are left out unless you give them: `payloads(Stage, epic=epic)`.

    Args:
        model: a model with a lifecycle.
        fixed: columns with a fixed value.

    Raises:
        InvalidValue: the model has no lifecycle, or a fixed column cannot be set at creation or has a wrong value.
    """
    _a_model(model, "payloads(model)")
    for name, value in fixed.items():
        if name not in model.set_at_creation():
            raise InvalidValue(f"payloads: {model.__name__}.create() takes no column {shown(name)}")
        model._meta.fields[name].check(value)
        if name == "status" and value not in model.machine.births:
            raise InvalidValue(
                f"payloads: {model.__name__} cannot be created as {value}, but as {listed(model.machine.births)}"
            )
    filled_in = (
        set(model.filled_at_creation) if any(fixed.get(parent) is not None for parent in model.parents) else set()
    )
    needed, more = {}, {}
    for field in _drawn(model):
        if field.name in fixed:
            continue
        if field.null or field.default is not None or field.name in filled_in:
            more[field.name] = st.none() | _column(field) if field.null else _column(field)
        else:
            needed[field.name] = _column(field)
    drawn = st.fixed_dictionaries(needed, optional=more)
    return drawn.map(lambda payload: _fitting(model, {**payload, **fixed}, more)).filter(lambda p: _fits(model, p))


def _drawn(model: Any) -> list[Any]:
    """The columns of a payload: those that can be set at creation, except keys."""
    left_out = {"id"} if len(model.machine.births) > 1 else {"id", "status"}
    fields = [f for f in model._meta.sorted_fields if f.name in model.set_at_creation() - left_out]
    table = model._meta.table_name
    return [f for f in fields if not isinstance(f, ParentField) and (table, f.name) not in LEFT_OUT]


total(
    SHAPES,
    {field._shape for model in STATEFUL for field in _drawn(model) if isinstance(field, JsonField)},
    "testing.strategies.SHAPES",
)


def _fitting(model: Any, payload: dict[str, Any], optional: dict[str, Any]) -> dict[str, Any]:
    """Leave out optional columns that do not fit the needed ones, such as a deadline of a gate without one."""
    needed = {name: value for name, value in payload.items() if name not in optional}
    together = {n: v for n, v in payload.items() if n in optional and (v is None or _fits(model, {**needed, n: v}))}
    return {**needed, **together}


def _fits(model: Any, payload: dict[str, Any]) -> bool:
    """Whether the model accepts the columns together."""
    try:
        model(**payload).check_columns()
    except InvalidValue:
        return False
    return payload.get("status", model.machine.initial) in model.machine.births


# ---- rows ----------------------------------------------------------------------------------------------


def rows(model: type[S], status: str | None = None) -> SearchStrategy[S]:
    """New rows in a status, each with the history of legal moves that led there.

    Drawing a row writes to the open store: the row, the rows that it needs, and their moves.

        @given(data=st.data())
        def test_my_report(data):
            with scratch_store() as store:
                issue = data.draw(rows(Issue, status="blocked"))

    Args:
        model: a model with a lifecycle.
        status: one of its statuses; any of them when None.

    Raises:
        InvalidValue: the model has no lifecycle, or no such status.
        StoreNotOpen: no store is open when a row is drawn.
    """
    _a_model(model, "rows(model)")
    wanted = None if status is None else word(status, model.statuses, "rows(status)")
    return _rows(model, wanted)


@st.composite
def _rows(draw: DrawFn, model: Any, status: str | None) -> Any:
    wanted = status or draw(st.sampled_from(model.machine.states))
    payload = draw(payloads(model))
    payload.pop("status", None)
    return World().at(model._meta.table_name, wanted, **payload)


def present_rows(*models: type[Stateful]) -> SearchStrategy[Any]:
    """Rows that are in the open store when they are drawn, read afresh; an example is dropped when there is no row.

    Args:
        models: the models of the rows; all that have a lifecycle when none is given.

    Raises:
        InvalidValue: a model has no lifecycle.
        StoreNotOpen: no store is open when a row is drawn.
    """
    for model in models:
        _a_model(model, "present_rows(models)")
    return _present_rows(models or STATEFUL)


@st.composite
def _present_rows(draw: DrawFn, models: tuple[type[Stateful], ...]) -> Any:
    found = present(*models)
    return draw(st.sampled_from(found)) if found else reject()


# ---- firings --------------------------------------------------------------------------------------------


def triggers(
    row: Stateful, *, legal: bool | None = None, actors: Sequence[Actor] | None = None
) -> SearchStrategy[tuple[str, dict[str, Any]]]:
    """Firings on a row: the name of a trigger, and plausible arguments with `by`. A guard may still refuse them.

        name, arguments = data.draw(triggers(row))
        getattr(row, name)(**arguments)

    Args:
        row: a saved row with a lifecycle.
        legal: True for triggers that start from the row's status, False for others, None for all.
        actors: who may act; people, components and the agents of the open store when None.

    Raises:
        InvalidValue: an argument is wrong, or the row has no such trigger.
        StoreNotOpen: no store is open when a firing is drawn.
    """
    require_row(row, "triggers(row)", *(model.__name__ for model in STATEFUL))
    if legal is not None:
        values.boolean(legal, "triggers(legal)")
    for one in actors or ():
        require_actor(one, "triggers", "actors")
    here = row.legal_triggers()
    names = tuple(name for name in row.machine.triggers if legal is None or (name in here) == legal)
    if not names:
        raise InvalidValue(f"triggers: {row} is {row.status}; legal there: {listed(here)}")
    return _triggers(row, names, actors)


@st.composite
def _triggers(draw: DrawFn, row: Any, names: tuple[str, ...], actors: Sequence[Actor] | None) -> Any:
    everyone = everybody() if actors is None else actors
    offered = {name: choices(row, name, everyone) for name in names}
    possible = [name for name, arguments in offered.items() if all(arguments.values())]
    if not possible:
        reject()
    name = draw(st.sampled_from(possible))
    arguments = {argument: draw(st.sampled_from(given)) for argument, given in offered[name].items()}
    if "reason" in arguments:
        arguments["reason"] = draw(st.just(arguments["reason"]) | words())
    return name, arguments


def scripts(*, longest: int = 100) -> SearchStrategy[list[int]]:
    """Scripts for a `Player`: lists of numbers that choose what happens.

    Args:
        longest: the most steps of a script.

    Raises:
        InvalidValue: `longest` is not a positive number.
    """
    lengths = st.integers(0, values.positive(longest, "scripts(longest)"))
    return lengths.flatmap(lambda length: st.lists(st.integers(0, 1 << 16), min_size=length, max_size=length))


def _a_model(model: object, place: str) -> None:
    if not isinstance(model, type) or model not in STATEFUL:
        raise InvalidValue(f"{place}: takes one of {listed(m.__name__ for m in STATEFUL)}")
