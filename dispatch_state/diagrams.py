"""Diagrams of the lifecycles and of the cascades.

`Issue.machine.to_mermaid()`, `.to_markdown()` and `.to_dot()` draw the lifecycle of issues; `issue.diagram()` also
highlights the status of that issue. `CASCADES` has the same methods for the moves that follow from others. If Graphviz
is installed, `render` makes an image of any of them:

    Path("issue.svg").write_bytes(render(issue.diagram("dot"), "svg"))
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping

import dispatch_state.engine.cascades  # noqa: F401 - declares the cascades
from dispatch_state.engine.rules import FOLLOWERS
from dispatch_state.errors import InvalidValue
from dispatch_state.lifecycle.triggers import Trigger
from dispatch_state.models.base import Stateful
from dispatch_state.models.tables import STATEFUL
from dispatch_state.values import listed, shown

Named = tuple[str, str]
"""A table, and the name of one of its triggers or `create`."""
PICTURES = ("svg", "png")


class Cascades:
    """The moves that may follow directly from each move, in order; whether they do depends on the rows.

    follows: the followers, by table and trigger.
    """

    def __init__(self, follows: Mapping[Named, tuple[Named, ...]]) -> None:
        self.follows = follows

    def to_markdown(self) -> str:
        """Return a Markdown table with a line for each move and those that may follow from it."""
        lines = ["| move | may be followed by |", "|---|---|"]
        for cause, followers in self.follows.items():
            lines.append(f"| {_coded(cause)} | {listed(map(_coded, followers))} |")
        return "\n".join(lines) + "\n"

    def to_mermaid(self) -> str:
        """Return a Mermaid flowchart, with a frame for each table."""
        lines = ["flowchart LR"]
        for table, triggers in self._by_table().items():
            lines += [f"    subgraph {table}", *(f"        {table}_{name}[{name}]" for name in triggers), "    end"]
        lines += [f"    {'_'.join(cause)} --> {'_'.join(follower)}" for cause, follower in self._arrows()]
        return "\n".join(lines) + "\n"

    def to_dot(self) -> str:
        """Return a diagram in the language of Graphviz, with a frame for each table."""
        lines = ["digraph cascades {", "    rankdir=LR", "    node [shape=box, style=rounded]"]
        for table, triggers in self._by_table().items():
            lines += [f"    subgraph cluster_{table} {{", f"        label={table}"]
            lines += [f"        {table}_{name} [label={name}]" for name in triggers] + ["    }"]
        lines += [f"    {'_'.join(cause)} -> {'_'.join(follower)}" for cause, follower in self._arrows()]
        return "\n".join([*lines, "}"]) + "\n"

    def _arrows(self) -> list[tuple[Named, Named]]:
        return [(cause, follower) for cause, followers in self.follows.items() for follower in followers]

    def _by_table(self) -> dict[str, list[str]]:
        """The triggers at either end of an arrow, by table, in the order of the lifecycles."""
        touched = {end for arrow in self._arrows() for end in arrow}
        names = {model._meta.table_name: ("create", *model.machine.triggers) for model in STATEFUL}
        return {table: [name for name in triggers if (table, name) in touched] for table, triggers in names.items()}


def render(dot: str, form: str) -> bytes:
    """Make an image of a diagram with the program `dot` of Graphviz.

    Args:
        dot: the diagram, in the language of Graphviz.
        form: "svg" or "png".

    Raises:
        InvalidValue: there is no such form, `dot` is not on PATH, or it cannot read the diagram.
    """
    if form not in PICTURES:
        raise InvalidValue(f"render(form): {shown(form)} is not one of {listed(PICTURES)}")
    program = shutil.which("dot")
    if program is None:
        raise InvalidValue(
            f"{form}: needs Graphviz, and its program dot is not on PATH; mermaid, markdown and dot do not need it"
        )
    made = subprocess.run([program, f"-T{form}"], input=dot.encode(), capture_output=True, check=False)  # noqa: S603
    if made.returncode or not made.stdout:
        said = made.stderr.decode(errors="replace").strip().partition("\n")[0]
        raise InvalidValue(f"{form}: dot could not draw it: {said}")
    return made.stdout


def _coded(move: Named) -> str:
    return f"`{'.'.join(move)}`"


def _home(trigger: Trigger) -> Named:
    model = next(model for model in STATEFUL if model.machine.triggers.get(trigger.name) is trigger)
    return model._meta.table_name, trigger.name


def _declared() -> dict[Named, tuple[Named, ...]]:
    """The declared followers of each move, in the order of the lifecycles."""
    in_order: list[tuple[type[Stateful], str]] = [
        (model, name) for model in STATEFUL for name in ("create", *model.machine.triggers)
    ]
    return {
        (model._meta.table_name, name): tuple(map(_home, FOLLOWERS[model, name]))
        for model, name in in_order
        if (model, name) in FOLLOWERS
    }


CASCADES = Cascades(_declared())
"""The cascades of this version."""
