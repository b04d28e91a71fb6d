"""docs/reference.md, made of signatures and docstrings."""

from __future__ import annotations

import enum
import importlib
import inspect
import re
from collections.abc import Iterator
from typing import Any, ParamSpec, TypeVar

import dispatch_state
from dispatch_state.lifecycle.interface import Transition
from dispatch_state.lifecycle.machine import Lifecycle
from dispatch_state.models.base import Stateful
from dispatch_state.models.keys import ParentField
from dispatch_state.models.row import Row
from dispatch_state.models.voting import Tally
from dispatch_state.schemas import RowSchema
from dispatch_state.storage.fields import JsonField, WordField
from tests.pages.prose import annotation, block, facts, prose, signature

HEAD = """# Reference

Every public name, made of the code's own signatures and docstrings. All triggers are described in
[lifecycles.md](lifecycles.md), the commands in [command_line.md](command_line.md).

"""
ROWS = """Rows are Peewee models, queried with everything Peewee has. Its ways to write past the log (`insert`,
`delete`, `replace`, `bulk_create`, …) are refused with `InvalidValue`. Below, `Model` stands for one of the models, and
`row` for a row of it; `Model.machine` is its [Lifecycle](#lifecycle).

"""
TRIGGER = """A trigger is a method of the row. It takes its own arguments, and two that all take: `by`, who acts, and
`reason`, which some demand.

```py
row.trigger(…, *, by: Actor, reason: str = "") -> list[Move]
```

*Returns*

The moves it made: its own first, then those that followed.

*Raises*, and nothing has changed then; looked for in this order:

- `StoreNotOpen`, `WrongProcess`: no store is open here.
- `InvalidValue`: an argument is wrong whatever the rows hold, a reason is missing, or the row has unsaved changes.
- `RowNotFound`: the row, or one that is handed over, is gone.
- `StaleRow`: somebody moved the row since it was read.
- `IllegalTransition`: the lifecycle has no such move from where the row is.
- `GuardRefused`: a guard says no, or the actor may not; `reasons` has all of it.
- `StoreError`: the store cannot be used; `StoreBusy` is worth another try.

"""
MACHINE = {
    "states": "Every status, in order.",
    "births": "Those that a row may be created in, the usual one first.",
    "initial": "The usual one.",
    "final": "Those that nothing leads out of.",
    "transitions": "Every arrow, as a [Transition](#transition).",
}
"""What `Model.machine` has beside the methods that draw it."""
DRAWING = ("legal", "to_markdown", "to_mermaid", "to_dot")
MODULES = ("testing", "schemas", "github", "aio", "diagrams")
TYPES = {
    "IdField": "UUID", "StampField": "datetime, aware", "TextField": "str", "IntegerField": "int",
    "FloatField": "float", "BooleanField": "bool", "BigAutoField": "int", "AutoField": "int",
}  # fmt: skip
OPTIONS = "a list of options, each a text or an object with an `id`"
FILLED = {
    "stage_order": "the next",
    "repo_path": "its epic's",
    "threshold": "its type's",
    "required_voters": "its type's",
}
"""What a column that is left open is filled with at creation."""
ACTORS = ("Actor", "Human", "System", "SANGHA")
INNER = {
    "checked_columns", "insert_line", "unsaved", "take", "check_columns", "on_create", "why_fixed", "owner_id",
    "decision_context", "decision_details", "label", "moment_columns", "set_at_creation", "protected_columns",
    "why_protected", "join_parents", "option_names", "counted", "said", "ballot", "meant", "handle_error",
    "get_attribute", "validate_model",
}  # fmt: skip
"""What classes say to the engine, or to marshmallow, and callers have no use for."""


def page() -> str:
    """The whole page as the code has it now."""
    parts = list(_parts())
    contents = "".join(f"- [{title}](#{_anchor(title)})\n" for title, _ in parts)
    whole = HEAD + contents + "".join(f"\n## {title}\n\n{text}" for title, text in parts)
    return re.sub(r"\n{3,}", "\n\n", whole).rstrip() + "\n"


def _anchor(title: str) -> str:
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def _parts() -> Iterator[tuple[str, str]]:
    named = {name: getattr(dispatch_state, name) for name in dispatch_state.__all__ if name != "__version__"}
    kinds: dict[str, list[str]] = {}
    for name, value in named.items():
        kinds.setdefault(_kind(value), []).append(name)
    yield "Opening a store", _several({name: named[name] for name in ("open_store", "Store")})
    yield "Every row", _every_row()
    yield "Every trigger", TRIGGER
    for model in kinds["row"]:
        yield model, _model(named[model])
    yield "Who acts", _several({name: named[name] for name in ACTORS})
    told = {name: named[name] for name in kinds["other"] if name not in ("open_store", "Store", *ACTORS)}
    yield "What comes back", _several(told | {"Tally": Tally}) + _lifecycle()
    yield "Words", "".join(_words(named[name]) for name in kinds["word"])
    yield "Errors", "".join(f"### {name}\n\n{_error(named[name])}" for name in kinds["error"])
    for name in MODULES:
        module = importlib.import_module(f"dispatch_state.{name}")
        yield f"dispatch_state.{name}", f"{prose(module.__doc__)}{_several(public(module))}{_schemas(module)}"


def public(module: Any) -> dict[str, Any]:
    """The names of a module that are its own: those of `__all__`, or what it defines without an underscore."""
    if hasattr(module, "__all__"):
        named = {name: getattr(module, name) for name in sorted(module.__all__)}
        return {name: value for name, value in named.items() if callable(value)}
    named = {name: value for name, value in vars(module).items() if name[0] != "_"}
    own = {name: value for name, value in named.items() if getattr(value, "__module__", None) == module.__name__}
    only = {type(value) for name, value in own.items() if name.isupper()}
    return {name: value for name, value in own.items() if not _untold(value) and value not in only}


def _untold(value: Any) -> bool:
    """Whether it is a kept statement, which is not called from outside, a schema like all the others, or no value."""
    kept = hasattr(value, "__wrapped__") or isinstance(value, TypeVar | ParamSpec)
    return kept or (inspect.isclass(value) and _made(value))


def _made(value: type) -> bool:
    """Whether it is one of the schemas that are made of the models, which are all alike."""
    return issubclass(value, RowSchema) and value is not RowSchema


def _schemas(module: Any) -> str:
    names = [name for name, value in vars(module).items() if inspect.isclass(value) and _made(value)]
    return f"### One for each table\n\n{', '.join(f'`{name}`' for name in sorted(names))}.\n" if names else ""


def _kind(value: Any) -> str:
    if inspect.isclass(value):
        for kind, base in (("row", Row), ("error", Exception), ("word", enum.Enum)):
            if issubclass(value, base):
                return kind
    return "other"


# ---- classes and functions -----------------------------------------------------------------------------


def _several(values: dict[str, Any]) -> str:
    return "".join(_one(name, value) for name, value in values.items())


def _one(name: str, value: Any) -> str:
    if inspect.isclass(value):
        return f"### {name}\n\n{_class(name, value)}" + _methods(value, name)
    if callable(value):
        waits = "await " if inspect.iscoroutinefunction(value) else ""
        return f"### {name}\n\n{block(waits + signature(name, value))}{prose(inspect.getdoc(value))}"
    return f"### {name}\n\n{prose(inspect.getdoc(type(value)))}" + _methods(type(value), name, name)


def _methods(owner: type, title: str, called: str | None = None) -> str:
    return "".join(_method(title, name, member, 4, called) for name, member in methods(owner))


def _class(name: str, value: type) -> str:
    text = inspect.getdoc(value) or ""
    made = block(signature(name, value.__init__).removesuffix(" -> None")) if "\nArgs:" in text else ""
    fields = "" if made else _fields(value)
    return made + prose(text, listed_elsewhere=bool(fields)) + fields


def _fields(value: Any) -> str:
    """The fields of a named tuple or a data class, as a table."""
    names = getattr(value, "_fields", None) or [f.name for f in getattr(value, "__dataclass_fields__", {}).values()]
    told, types = facts(inspect.getdoc(value) or ""), inspect.get_annotations(value)
    lines = "".join(f"| `{n}` | {_cell(annotation(types[n]))} | {told.get(n, '')} |\n" for n in names)
    return f"| field | type | meaning |\n|---|---|---|\n{lines}\n" if lines else ""


def _cell(text: str) -> str:
    return f"`{text}`".replace("|", "\\|")


def methods(kind: type) -> Iterator[tuple[str, Any]]:
    """The public methods and properties that a class itself defines, and says something of."""
    for name, member in vars(kind).items():
        function = getattr(member, "__func__", member)
        told = name[0] != "_" and name not in INNER and inspect.getdoc(function)
        if told and (isinstance(member, property) or (inspect.isfunction(function) and not _rule(function))):
            yield name, member


def _rule(function: Any) -> bool:
    """Whether Hypothesis calls it: a rule, or an invariant, of a state machine."""
    return any(name.startswith("hypothesis_") for name in vars(function))


def _method(owner: str, name: str, member: Any, level: int, called: str | None = None) -> str:
    """One method, as it is called: on the class when it is the class's, else on an object of it.

    Args:
        owner: the name of the class.
        name: the method's.
        member: the method as the class holds it.
        level: of its heading.
        called: what it is called on, when that is something else.
    """
    before = called or (owner if isinstance(member, classmethod) else _object(owner))
    head = f"{'#' * level} {owner}.{name}\n\n"
    if isinstance(member, property):
        gives = annotation(inspect.signature(member.fget).return_annotation)  # type: ignore[arg-type]
        return f"{head}{block(f'{before}.{name}: {gives}')}{prose(inspect.getdoc(member))}"
    function = getattr(member, "__func__", member)
    returns = "list[Move]" if hasattr(function, "trigger") else None
    return head + block(signature(f"{before}.{name}", function, returns)) + prose(inspect.getdoc(function))


def _object(owner: str) -> str:
    """What one would call an object of a class: `pull_request`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", owner).lower()


def _lifecycle() -> str:
    own = "".join(f"| `{name}` | {said} |\n" for name, said in MACHINE.items())
    drawing = "".join(_method("Lifecycle", name, vars(Lifecycle)[name], 4, "Model.machine") for name in DRAWING)
    about = (inspect.getdoc(Lifecycle) or "").partition("\n")[0]
    head = f"### Lifecycle\n\n{about} It is `Model.machine`.\n\n| attribute | meaning |\n|---|---|\n{own}\n"
    return f"{head}{drawing}{_one('Transition', Transition)}"


# ---- rows ----------------------------------------------------------------------------------------------


def _every_row() -> str:
    told = dict(pair for kind in (Row, Stateful) for pair in methods(kind))
    named = {name: ("Model" if isinstance(member, classmethod) else "row") for name, member in told.items()}
    return ROWS + "".join(_method(named[name], name, member, 3, named[name]) for name, member in told.items())


def _model(model: Any) -> str:
    own = [(name, member) for name, member in methods(model) if not hasattr(member, "trigger")]
    triggers = [(name, member) for name, member in methods(model) if hasattr(member, "trigger")]
    told = "".join(_method(model.__name__, name, member, 3) for name, member in own + triggers)
    errors = "Its triggers return and raise what [every trigger](#every-trigger) does.\n\n" if triggers else ""
    return (
        f"{prose(inspect.getdoc(model))}Table `{model._meta.table_name}`, written by {model.written_by}.\n\n"
        f"{_columns(model)}{_back(model)}{errors}{told}"
    )


def _columns(model: Any) -> str:
    stateful = issubclass(model, Stateful)
    heads = ["column", "holds", "default", "may be None", *(["set by"] if stateful else [])]
    lines = ""
    for field in model._meta.sorted_fields:
        cells = [f"`{field.name}`", _holds(field), _default(model, field), "yes" if field.null else ""]
        lines += f"| {' | '.join(cells + ([_set_by(model, field.name)] if stateful else []))} |\n"
    return f"| {' | '.join(heads)} |\n{'|---' * len(heads)}|\n{lines}\n"


def _holds(field: Any) -> str:
    if isinstance(field, ParentField):
        return f"key to {field.rel_model.__name__}; the key itself is `{field.object_id_name}`"
    if isinstance(field, WordField):
        return str(field.words.__name__)
    if isinstance(field, JsonField):
        shape = (field._shape.__doc__ or "").partition("\n")[0].rstrip(".")
        return shape.removeprefix("A shape: ") if shape.startswith("A shape: ") else OPTIONS
    kind = next(name for kind in type(field).__mro__ if (name := kind.__name__) in TYPES)
    return TYPES[kind]


def _default(model: Any, field: Any) -> str:
    if field.name in getattr(model, "filled_at_creation", ()):
        return FILLED[field.name]
    if callable(field.default):
        return "a new one"
    return "" if field.default is None else f"`{field.default}`"


def _set_by(model: Any, name: str) -> str:
    if name in ("id", "status", *model.parents):
        return "creation" + ("; triggers" if name == "status" else "")
    if name in model.machine.owned or name in model.written_elsewhere:
        return "triggers and methods"
    if name in model.protected_columns():
        return "the store"
    return "creation, save()" + (" for a time" if name in model.editable_until else "")


def _back(model: Any) -> str:
    """The rows that name a row of this model, as a query."""
    before = _object(model.__name__)
    keys = [(key.backref, key.name, rows.__name__) for key, rows in model._meta.backrefs.items() if key.backref != "+"]
    told = "".join(f"| `{before}.{back}` | {rows} | `{name}` |\n" for back, name, rows in sorted(keys))
    return f"| the other way round | rows of | that name it as |\n|---|---|---|\n{told}\n" if told else ""


# ---- words and errors ----------------------------------------------------------------------------------


def _words(words: Any) -> str:
    lines = "".join(f"| `{member}` | {member.meaning} |\n" for member in words)
    return f"### {words.__name__}\n\n{prose(inspect.getdoc(words))}| word | meaning |\n|---|---|\n{lines}\n"


def _error(error: Any) -> str:
    also = [base.__name__ for base in error.__mro__[1:] if base not in (object, BaseException, Exception)]
    kin = f"Also a {', '.join(also)}. " if also else ""
    again = "Worth another try. " if getattr(error, "retryable", False) is True else ""
    return f"{prose(inspect.getdoc(error))}{(kin + again).strip()}\n\n"
