"""Signatures and docstrings as Markdown, for the reference."""

from __future__ import annotations

import inspect
import re
from typing import Any

from dispatch_state import actors, values
from dispatch_state.models import columns
from dispatch_state.testing import outcomes
from dispatch_state.transfer import files

SECTION = re.compile(r"^(Args|Returns|Raises|Yields):$", re.MULTILINE)
NAMES = r"\w+(?:, \w+)*: "
FACT = re.compile(rf"(?:^|\n|; )({NAMES})(.*?)(?=; {NAMES}|\n{NAMES}|$)", re.DOTALL)
"""What a docstring says of an attribute, or of several: `name: what it is`, on a line or behind a semicolon."""
ALIASES = {"Clock": values.Clock, "Target": files.Target, "Progress": values.Progress} | {
    "Outcome": outcomes.Outcome,
    "Approvers": columns.Approvers,
    "Self": "Model",
}
"""Names of types that stand for others, which signatures show in their place."""
WIDEST = 100
"""Characters of a signature that stand on one line."""


# ---- signatures ----------------------------------------------------------------------------------------


def annotation(found: Any) -> str:
    """A type as one would write it, without modules and without names that stand for others."""
    found = getattr(found, "__forward_arg__", found)
    text = found if isinstance(found, str) else getattr(found, "__name__", str(found))
    text = re.sub(r"Unpack\[\w+\]", "Any", text)  # the page has the columns of each model in a table
    for name, meant in ALIASES.items():
        text = re.sub(rf"(?:\bvalues\.)?\b{name}\b", _plain(meant), text)
    return text


def _plain(meant: Any) -> str:
    text = re.sub(r"\b[a-z_]\w*(?:\.[a-z_]\w*)*\.(?=\w)", "", str(meant))
    union = re.fullmatch(r"Union\[(.*)\]", text)
    return " | ".join(union[1].split(", ")) if union else text


def signature(called: str, function: Any, returns: str | None = None) -> str:
    """A signature as one would write it, without `self`; a long one with an argument to a line.

    Args:
        called: what stands before its brackets.
        function: the function.
        returns: what it returns, where the function does not say so itself.
    """
    found = inspect.signature(function)
    parts = _parts([p for p in found.parameters.values() if p.name not in ("self", "cls")])
    gives = returns or ("" if found.return_annotation is found.empty else annotation(found.return_annotation))
    end = f") -> {gives}" if gives else ")"
    line = f"{called}({', '.join(parts)}{end}"
    return line if len(line) <= WIDEST else f"{called}(\n" + "".join(f"    {part},\n" for part in parts) + end


def _parts(parameters: list[inspect.Parameter]) -> list[str]:
    parts, starred = [], False
    for p in parameters:
        if p.kind is p.KEYWORD_ONLY and not starred:
            parts.append("*")
        starred |= p.kind in (p.KEYWORD_ONLY, p.VAR_POSITIONAL)
        star = {p.VAR_POSITIONAL: "*", p.VAR_KEYWORD: "**"}.get(p.kind, "")
        note = "" if p.annotation is p.empty else f": {annotation(p.annotation)}"
        default = "" if p.default is p.empty else f" = {_default(p.default)}" if note else f"={_default(p.default)}"
        parts.append(f"{star}{p.name}{note}{default}")
    return parts


def _default(value: Any) -> str:
    if isinstance(value, actors.System):
        return f'System("{value.component}")'
    text = f'"{value}"' if isinstance(value, str) else repr(value)
    return text.replace("datetime.", "").replace("timezone.utc", "UTC")


def block(code: str) -> str:
    """A block of code that is to be read, not to be run."""
    return f"```py\n{code}\n```\n\n"


# ---- docstrings ----------------------------------------------------------------------------------------


def facts(text: str) -> dict[str, str]:
    """What a docstring says of attributes, by their names."""
    found: dict[str, str] = {}
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        if re.match(NAMES, paragraph) and not SECTION.search(paragraph):
            for names, said in FACT.findall(paragraph):
                found |= dict.fromkeys(names.removesuffix(": ").split(", "), " ".join(said.split()).rstrip("."))
    return found


def prose(text: str | None, *, listed_elsewhere: bool = False) -> str:
    """A docstring as Markdown: its sections become lists, and so does what it says of attributes.

    Args:
        text: the docstring.
        listed_elsewhere: whether a table describes the attributes.
    """
    assert text, "a public name without a docstring"
    before, *sections = SECTION.split(inspect.cleandoc(text))
    shown = "\n\n".join(_paragraph(part, listed_elsewhere) for part in before.strip().split("\n\n")) + "\n\n"
    for name, body in zip(sections[::2], sections[1::2], strict=True):
        inner, rest = _block(body)
        shown += f"*{name}*\n\n{_items(inner) if name != 'Returns' else inspect.cleandoc(inner)}\n\n{rest}"
    return shown


def _paragraph(text: str, listed_elsewhere: bool) -> str:
    if not re.match(NAMES, text):
        return text
    return "" if listed_elsewhere else "\n".join(f"- `{name}`: {said}." for name, said in facts(text).items())


def _block(body: str) -> tuple[str, str]:
    """The indented lines of a section, and what stands behind them."""
    lines = body.strip("\n").split("\n")
    end = next((i for i, line in enumerate(lines) if line and not line.startswith(" ")), len(lines))
    rest = "\n".join(lines[end:]).strip()
    return "\n".join(lines[:end]), f"{rest}\n\n" if rest else ""


def _items(block: str) -> str:
    items: list[str] = []
    for line in inspect.cleandoc(f"\n{block}").split("\n"):  # its first line is as indented as the others
        name, colon, said = line.partition(":")
        if line.startswith(" ") and items:
            items[-1] += " " + line.strip()
        elif colon:
            names = ", ".join(f"`{part.strip()}`" for part in name.split(","))
            items.append(f"- {names}:{said}")
        elif line:
            items.append(f"- {line}")
    return "\n".join(items)
