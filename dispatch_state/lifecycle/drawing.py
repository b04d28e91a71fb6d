"""Lifecycles as tables and pictures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from dispatch_state.lifecycle.interface import Transition
from dispatch_state.lifecycle.triggers import Trigger
from dispatch_state.values import listed
from dispatch_state.vocabulary import Status

FILL, INK = "#fde68a", "#78350f"
"""The colours of a highlighted status, readable on light and on dark ground."""
Statuses = tuple[Status, ...]
Arrows = tuple[Transition, ...]


def markdown(triggers: Iterable[Trigger]) -> str:
    """A Markdown table: trigger, from, to, meaning."""
    lines = ["| trigger | from | to | meaning |", "|---|---|---|---|"]
    for trigger in triggers:
        meaning = trigger.meaning.partition("\n\n")[0].replace("\n", " ")
        lines += [
            f"| `{trigger.name}` | {listed(sources)} | {dest} | {meaning} |" for dest, sources in by_dest(trigger)
        ]
    return "\n".join(lines) + "\n"


def by_dest(trigger: Trigger) -> Iterator[tuple[Status, list[Status]]]:
    """Where a trigger leads, and from which statuses."""
    grouped: dict[Status, list[Status]] = {}
    for edge in trigger.edges.values():
        grouped.setdefault(edge.dest, []).append(edge.source)
    yield from grouped.items()


def mermaid(births: Statuses, arrows: Arrows, final: Statuses, here: str | None) -> str:
    """A Mermaid state diagram, with a status highlighted."""
    lines = ["stateDiagram-v2", *(f"    [*] --> {birth}" for birth in births)]
    lines += [f"    {arrow.source} --> {arrow.dest}: {arrow.trigger}" for arrow in arrows]
    lines += [f"    {status} --> [*]" for status in final]
    if here is not None:
        lines += [f"    classDef here fill:{FILL},stroke:{INK},color:{INK}", f"    class {here} here"]
    return "\n".join(lines) + "\n"


def dot(entity: str, births: Statuses, arrows: Arrows, final: Statuses, here: str | None) -> str:
    """A diagram in the language of Graphviz, with a status highlighted."""
    lines = [f"digraph {entity} {{", "    rankdir=LR", "    node [shape=box, style=rounded]"]
    lines += ["    born [shape=point]", *(f"    born -> {birth}" for birth in births)]
    lines += [f'    {arrow.source} -> {arrow.dest} [label="{arrow.trigger}"]' for arrow in arrows]
    lines += [f"    {status} [peripheries=2]" for status in final]
    if here is not None:
        lines.append(f'    {here} [style="rounded,filled", fillcolor="{FILL}", color="{INK}", fontcolor="{INK}"]')
    return "\n".join([*lines, "}"]) + "\n"
