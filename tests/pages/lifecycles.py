"""docs/lifecycles.md, made of the machines, the cascades and the words."""

from __future__ import annotations

import inspect
from typing import Any

from dispatch_state.diagrams import CASCADES
from dispatch_state.lifecycle.triggers import Trigger
from dispatch_state.models.tables import STATEFUL
from dispatch_state.values import listed

HEAD = """# The lifecycles

Seven tables have a status, and each status moves only by the triggers below: methods of the row, such as
`issue.start(by=coder)`. They are declared once, on the models in `dispatch_state/models/`; this page, the machines, the
triggers in the database and the grids in the tests are made of that.

- **Who may fire it** applies to the caller. Moves that follow from a legal act need nobody's permission.
- **What must be true** is asked of the act and of what follows alike. A refusal names every claim that is not.
- A trigger takes the arguments in its brackets, and `by=` and `reason=`: who acts, and why.
- **Decision**: what the act leaves in `decisions`. A human override is written only when a person acts.
- The columns in brackets are set by the trigger alone; no `save()` changes them.
- An agent that acts is read afresh: one that is errored or completed may do nothing, but where this page says so.

| rows | triggers |
|---|---|
"""


def page() -> str:
    """The whole page as the code has it now."""
    index = "".join(
        f"| [{title(model)}](#{title(model).lower().replace(' ', '-')}) | {_triggers(model)} |\n" for model in STATEFUL
    )
    entities = "".join(f"## {title(model)}\n\n{_entity(model)}\n" for model in STATEFUL)
    return f"{HEAD}{index}| [What follows from what](#what-follows-from-what) | |\n\n{entities}{_cascades()}"


def title(model: Any) -> str:
    """What a table's rows are called."""
    return str(model._meta.table_name.replace("_", " ").capitalize())


def _triggers(model: Any) -> str:
    return " ".join(f"`{name}`" for name in model.machine.triggers)


def _entity(model: Any) -> str:
    statuses = "".join(
        f"| {status}{' (final)' if status.final else ''} | {status.meaning} |\n" for status in model.machine.states
    )
    rows = "".join(line for trigger in model.machine.triggers.values() for line in _lines(trigger))
    return (
        f"{inspect.getdoc(model)}\n\n```mermaid\n{model.machine.to_mermaid()}```\n\n"
        f"| status | meaning |\n|---|---|\n{statuses}\n"
        f"| trigger | from | to | meaning | who may fire it | what must be true | decision |\n{'|---' * 7}|\n{rows}"
    )


def called(trigger: Trigger) -> str:
    """A trigger with its own arguments."""
    own = [parameter.replace(annotation=parameter.empty) for parameter in trigger.parameters.values()]
    return f"{trigger.name}{inspect.Signature(own)}"


def _lines(trigger: Trigger) -> list[str]:
    """A line for each way in which edges of one trigger differ."""
    alike: dict[tuple[Any, ...], list[str]] = {}
    for edge in trigger.edges.values():
        alike.setdefault((edge.dest, edge.allowed, edge.guards, edge.decision), []).append(str(edge.source))
    meaning = trigger.meaning.partition("\n\n")[0].replace("\n", " ")
    owned = f" [{listed(sorted(trigger.owned))}]" if trigger.owned else ""
    dead = " An errored or completed agent may, for itself." if trigger.ended_agent_may else ""
    return [
        f"| `{called(trigger)}` | {listed(sources)} | {dest} | {meaning}{owned}{dead} | {_word(word)} | "
        f"{_guards(trigger, guards)} | {decision.replace('_', ' ') if decision else ''} |\n"
        for (dest, word, guards, decision), sources in alike.items()
    ]


def _word(word: Any) -> str:
    return "anybody" if word is None else (inspect.getdoc(word) or "").rstrip(".").replace("\n", " ")


def _guards(trigger: Trigger, guards: Any) -> str:
    reason = ["reason required"] if trigger.needs_reason else []
    return "; ".join(reason + [guard.__name__.replace("_", " ") for guard in guards])


def _cascades() -> str:
    return (
        "## What follows from what\n\nIn the same transaction, first in, first out; whether it does depends on what "
        "the rows hold. The rules are in `dispatch_state/engine/cascades.py`.\n\n"
        f"{CASCADES.to_markdown()}\n```mermaid\n{CASCADES.to_mermaid()}```\n"
    )
