"""docs/reference.md, made of signatures and docstrings."""

from __future__ import annotations

import enum
import importlib
import inspect
import re
from collections.abc import Iterator
from typing import Any

import dispatch_state
from dispatch_state.fields import WordField
from dispatch_state.models.base import Row, Stateful
from dispatch_state.models.keys import ParentField

HEAD = """# Reference

Every public name, made of the code's own signatures and docstrings. The triggers are told in full in
[lifecycles.md](lifecycles.md), the commands in [command_line.md](command_line.md).

"""
MODULES = {
    "testing": 'Testing kit: `pip install "dispatch-state[testing]"`',
    "schemas": "marshmallow schemas",
    "github": "GitHub's deliveries",
    "aio": "asyncio",
    "diagrams": "Diagrams",
}
SECTION = re.compile(r"^(Args|Returns|Raises|Yields):$", re.MULTILINE)
TYPES = {
    "IdField": "UUID", "StampField": "datetime, aware", "TextField": "str", "IntegerField": "int",
    "FloatField": "float", "BooleanField": "bool", "JsonField": "JSON", "BigAutoField": "int",
    "AutoField": "int",
}  # fmt: skip


def page() -> str:
    """The whole page as the code has it now."""
    parts = list(_parts())
    contents = "".join(f"- [{title}](#{_anchor(title)})\n" for title, _ in parts)
    whole = HEAD + contents + "".join(f"\n## {title}\n\n{text}" for title, text in parts)
    return re.sub(r"\n{3,}", "\n\n", whole).rstrip() + "\n"


def _anchor(title: str) -> str:
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def _parts() -> Iterator[tuple[str, str]]:
    named = {name: getattr(dispatch_state, name) for name in dispatch_state.__all__}
    kinds: dict[str, list[str]] = {}
    for name, value in named.items():
        kinds.setdefault(_kind(value), []).append(name)
    yield "Opening a store", _several({name: named[name] for name in ("open_store", "Store")})
    yield "Every row", _every_row()
    for model in kinds["row"]:
        yield model, _model(named[model])
    yield "Who acts", _several({name: named[name] for name in ("Actor", "Human", "System", "SANGHA")})
    known = {"open_store", "Store", "Actor", "Human", "System", "SANGHA", "__version__"}
    yield "What comes back", _several({n: named[n] for n in kinds["other"] if n not in known})
    yield "Words", "".join(_words(named[name]) for name in kinds["word"])
    yield "Errors", _errors([named[name] for name in kinds["error"]])
    for name, title in MODULES.items():
        module = importlib.import_module(f"dispatch_state.{name}")
        yield f"dispatch_state.{name}", f"{title}.\n\n{_prose(module.__doc__)}\n" + _several(public(module))


def public(module: Any) -> dict[str, Any]:
    """The names of a module that are its own: those of `__all__`, or what it defines without an underscore."""
    if hasattr(module, "__all__"):
        return {name: getattr(module, name) for name in sorted(module.__all__)}
    own = {n: v for n, v in vars(module).items() if n[0] != "_" and getattr(v, "__module__", None) == module.__name__}
    functions = {n: v for n, v in own.items() if inspect.isfunction(v) and not hasattr(v, "__wrapped__")}
    return {n: v for n, v in own.items() if n in functions or inspect.isclass(v)}  # kept statements are not called


def _kind(value: Any) -> str:
    if inspect.isclass(value):
        for kind, base in (("row", Row), ("error", Exception), ("word", enum.Enum)):
            if issubclass(value, base):
                return kind
    return "other"


def _several(values: dict[str, Any]) -> str:
    return "".join(_one(name, value) for name, value in values.items())


def _one(name: str, value: Any) -> str:
    if inspect.isclass(value):
        head = f"### {name}\n\n{_prose(inspect.getdoc(value))}"
        return head + "".join(_callable(f"{name}.{n}", m, 4) for n, m in methods(value))
    if callable(value):
        return _callable(name, value, 3)
    return f"### {name}\n\n{_prose(inspect.getdoc(type(value)))}"


def methods(kind: type) -> Iterator[tuple[str, Any]]:
    """The public methods and properties that a class itself defines, or inherits from a class that is not public."""
    for name, member in vars(kind).items():
        function = getattr(member, "__func__", member)
        if name[0] != "_" and (inspect.isfunction(function) or isinstance(member, property)):
            yield name, member


def _callable(name: str, member: Any, level: int) -> str:
    function = getattr(member, "__func__", member)
    shown = name if isinstance(function, property) else f"{name}{signature(function)}"
    return f"{'#' * level} `{shown}`\n\n{_prose(inspect.getdoc(function))}"


def signature(function: Any) -> str:
    """A signature as one would write it, without `self`."""
    parts: list[str] = []
    starred = False
    for p in inspect.signature(function).parameters.values():
        if p.name in ("self", "cls"):
            continue
        if p.kind is p.KEYWORD_ONLY and not starred:
            starred = True
            parts.append("*")
        starred |= p.kind is p.VAR_POSITIONAL
        star = {p.VAR_POSITIONAL: "*", p.VAR_KEYWORD: "**"}.get(p.kind, "")
        note = "" if p.annotation is p.empty else f": {_annotation(p.annotation)}"
        default = "" if p.default is p.empty else f" = {_default(p.default)}" if note else f"={_default(p.default)}"
        parts.append(f"{star}{p.name}{note}{default}")
    returns = "list[Move]" if hasattr(function, "trigger") else inspect.signature(function).return_annotation
    gives = "" if returns is inspect.Signature.empty else f" -> {_annotation(returns)}"
    return f"({', '.join(parts)}){gives}"


def _annotation(annotation: Any) -> str:
    return annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))


def _default(value: Any) -> str:
    if inspect.isfunction(value) or inspect.isclass(value):
        return value.__name__
    return f'"{value}"' if isinstance(value, str) else repr(value)


def _prose(text: str | None) -> str:
    """A docstring as Markdown: its sections become lists."""
    assert text, "a public name without a docstring"
    before, *sections = SECTION.split(inspect.cleandoc(text))
    shown = before.strip() + "\n\n"
    for name, body in zip(sections[::2], sections[1::2], strict=True):
        inner, _, rest = _block(body)
        shown += f"*{name}*\n\n{_items(inner) if name != 'Returns' else inspect.cleandoc(inner)}\n\n{rest}"
    return shown


def _block(body: str) -> tuple[str, str, str]:
    """The indented lines of a section, and what stands behind them."""
    lines = body.strip("\n").split("\n")
    end = next((i for i, line in enumerate(lines) if line and not line.startswith(" ")), len(lines))
    rest = "\n".join(lines[end:]).strip()
    return "\n".join(lines[:end]), "", f"{rest}\n\n" if rest else ""


def _items(block: str) -> str:
    items: list[str] = []
    for line in inspect.cleandoc(block).split("\n"):
        name, colon, said = line.partition(":")
        if line.startswith(" ") and items:
            items[-1] += " " + line.strip()
        elif colon:
            names = ", ".join(f"`{part.strip()}`" for part in name.split(","))
            items.append(f"- {names}:{said}")
        elif line:
            items.append(f"- {line}")
    return "\n".join(items)


# ---- rows ----------------------------------------------------------------------------------------------


def _every_row() -> str:
    spoken = [(n, m) for kind in (Row, Stateful) for n, m in methods(kind) if inspect.getdoc(m) and n not in _INNER]
    told = {name: member for name, member in spoken if "Peewee calls" not in (inspect.getdoc(member) or "")}
    head = (
        "Rows are Peewee models, queried with everything Peewee has. Its ways to write past the log (`insert`, "
        "`delete`, `replace`, `bulk_create`, …) are refused with `InvalidValue`.\n\n"
    )
    return head + "".join(_callable(f"row.{name}", member, 3) for name, member in told.items())


_INNER = {
    "unsaved", "take", "whole", "birth", "frozen", "owner_id", "context", "verdict_details", "label",
    "moments", "born_with", "guarded", "kept_from", "settle_in", "option_names", "counted", "said", "ballot",
}  # fmt: skip
"""What models say to the engine, and callers have no use for."""


def _model(model: Any) -> str:
    columns = "".join(_column(model, field) for field in model._meta.sorted_fields)
    own = [(n, m) for n, m in methods(model) if n not in _INNER and not hasattr(m, "trigger") and inspect.getdoc(m)]
    triggers = [(n, m) for n, m in methods(model) if hasattr(m, "trigger")]
    return (
        f"{_prose(inspect.getdoc(model))}Table `{model._meta.table_name}`, written by {model.written_by}.\n\n"
        f"| column | holds | may be None | set by |\n|---|---|---|---|\n{columns}\n"
        + "".join(_callable(f"{model.__name__}.{name}", member, 3) for name, member in own)
        + "".join(_callable(f"{model.__name__}.{name}", member, 3) for name, member in triggers)
    )


def _column(model: Any, field: Any) -> str:
    null = "yes" if field.null else ""
    return f"| `{field.name}` | {_holds(field)} | {null} | {_set_by(model, field.name)} |\n"


def _holds(field: Any) -> str:
    if isinstance(field, ParentField):
        return f"key to {field.rel_model.__name__}; the key itself is `{field.object_id_name}`"
    if isinstance(field, WordField):
        return str(field.words.__name__)
    kind = next(name for kind in type(field).__mro__ if (name := kind.__name__) in TYPES)
    return TYPES[kind]


def _set_by(model: Any, name: str) -> str:
    if not issubclass(model, Stateful):
        return ""
    if name in ("id", "status", *model.parents):
        return "creation" + ("; triggers" if name == "status" else "")
    if name in model.machine.owned or name in model.kept:
        return "triggers and methods"
    if name in model.guarded():
        return "the store"
    return "creation, save()" + (" for a time" if name in model.terms else "")


# ---- words and errors ----------------------------------------------------------------------------------


def _words(words: Any) -> str:
    lines = "".join(f"| `{member}` | {member.meaning} |\n" for member in words)
    return f"### {words.__name__}\n\n{_prose(inspect.getdoc(words))}| word | meaning |\n|---|---|\n{lines}\n"


def _errors(errors: list[Any]) -> str:
    return "".join(f"### {error.__name__}\n\n{_error(error)}" for error in errors)


def _error(error: Any) -> str:
    also = [base.__name__ for base in error.__mro__[1:] if base not in (object, BaseException, Exception)]
    kin = f"Also a {', '.join(also)}. " if also else ""
    again = "Worth another try. " if getattr(error, "retryable", False) is True else ""
    return f"{_prose(inspect.getdoc(error))}{(kin + again).strip()}\n\n"
