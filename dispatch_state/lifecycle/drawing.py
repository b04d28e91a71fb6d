"""Lifecycles as tables and pictures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from dispatch_state.lifecycle.interface import Transition
from dispatch_state.lifecycle.triggers import Trigger
from dispatch_state.values import listed
from dispatch_state.vocabulary import Status

FILL, INK = "#fde68a", "#78350f"
"""The colours of a highlighted status, readable on a light and on a dark background."""
Statuses = tuple[Status, ...]
Arrows = tuple[Transition, ...]


def markdown(triggers: Iterable[Trigger]) -> str:
    """Draw a lifecycle as a Markdown table with the columns trigger, from, to and meaning.

    Args:
        triggers: the triggers, in order.

    Returns:
        The table, with a newline at its end.
    """
    lines = ["| trigger | from | to | meaning |", "|---|---|---|---|"]
    for trigger in triggers:
        meaning = trigger.meaning.partition("\n\n")[0].replace("\n", " ")
        lines += [
            f"| `{trigger.name}` | {listed(sources)} | {dest} | {meaning} |" for dest, sources in by_dest(trigger)
        ]
    return "\n".join(lines) + "\n"


def by_dest(trigger: Trigger) -> Iterator[tuple[Status, list[Status]]]:
    """Group the statuses from which a trigger starts by where it leads.

    Args:
        trigger: the trigger.

    Returns:
        Pairs of a status to which it leads and the statuses from which it does.
    """
    grouped: dict[Status, list[Status]] = {}
    for edge in trigger.edges.values():
        grouped.setdefault(edge.dest, []).append(edge.source)
    yield from grouped.items()


def mermaid(first_statuses: Statuses, arrows: Arrows, final: Statuses, highlighted: str | None) -> str:
    """Draw a lifecycle as a Mermaid state diagram.

    Args:
        first_statuses: the statuses that a new row may have.
        arrows: the transitions.
        final: the statuses that have no way out.
        highlighted: a status to highlight, or None.

    Returns:
        The text of the diagram.
    """
    lines = ["stateDiagram-v2", *(f"    [*] --> {first}" for first in first_statuses)]
    lines += [f"    {arrow.source} --> {arrow.dest}: {arrow.trigger}" for arrow in arrows]
    lines += [f"    {status} --> [*]" for status in final]
    if highlighted is not None:
        lines += [f"    classDef here fill:{FILL},stroke:{INK},color:{INK}", f"    class {highlighted} here"]
    return "\n".join(lines) + "\n"


def dot(entity: str, first_statuses: Statuses, arrows: Arrows, final: Statuses, highlighted: str | None) -> str:
    """Draw a lifecycle in the language of Graphviz.

    Args:
        entity: the table's name, which the graph gets.
        first_statuses: the statuses that a new row may have.
        arrows: the transitions.
        final: the statuses that have no way out.
        highlighted: a status to highlight, or None.

    Returns:
        The text of the diagram.
    """
    lines = [f"digraph {entity} {{", "    rankdir=LR", "    node [shape=box, style=rounded]"]
    lines += ["    born [shape=point]", *(f"    born -> {first}" for first in first_statuses)]
    lines += [f'    {arrow.source} -> {arrow.dest} [label="{arrow.trigger}"]' for arrow in arrows]
    lines += [f"    {status} [peripheries=2]" for status in final]
    if highlighted is not None:
        lines.append(
            f'    {highlighted} [style="rounded,filled", fillcolor="{FILL}", color="{INK}", fontcolor="{INK}"]'
        )
    return "\n".join([*lines, "}"]) + "\n"
