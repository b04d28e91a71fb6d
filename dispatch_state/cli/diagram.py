"""Diagrams of the lifecycles, of a row in its lifecycle, and of the moves that follow from others."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from dispatch_state.cli.files import write_file
from dispatch_state.cli.lookup import identifier, stateful_row_of
from dispatch_state.cli.parsing import Call, Command, Exit
from dispatch_state.diagrams import CASCADES, PICTURES, render
from dispatch_state.errors import InvalidValue
from dispatch_state.models.base import Stateful
from dispatch_state.models.tables import STATEFUL
from dispatch_state.values import closest, listed

MACHINES = {model._meta.table_name: model.machine for model in STATEFUL}
TABLES = {name: table for table in MACHINES for name in (table, table[:-1], table[:-1].replace("_", ""))}
"""The tables by the names that they may be given: that of the table, and that of a row of it or of its model."""
FORMS = ("mermaid", "markdown", "dot", *PICTURES)


def diagram(call: Call) -> Exit:
    """Draw a lifecycle, the place of a row in its lifecycle, or the moves that follow from others."""
    chosen, out = call.chosen, call.out
    made = _drawn(call, chosen.what, chosen.format)
    if chosen.output is not None:
        write_file(chosen.output, made)
        if out.as_json:
            out.json({"what": chosen.what, "format": chosen.format, "file": str(Path(chosen.output).absolute())})
        else:
            out.note(f"wrote {chosen.output}")
    elif out.as_json:
        if chosen.format == "png":
            raise InvalidValue("png: cannot be written as JSON; name a file with --output")
        out.json({"what": chosen.what, "format": chosen.format, "text": made.decode()})
    elif chosen.format == "png" and sys.stdout is not None and sys.stdout.isatty():
        raise InvalidValue("png: a terminal cannot show it; name a file with --output")
    else:
        out.bytes().write(made)
    return Exit.OK


def _drawn(call: Call, what: str, form: str) -> bytes:
    forms = _cascades() if what == "cascades" else _lifecycle(call, what)
    return render(forms["dot"](), form) if form in PICTURES else forms[form]().encode()


def _cascades() -> dict[str, Callable[[], str]]:
    return {"markdown": CASCADES.to_markdown, "mermaid": CASCADES.to_mermaid, "dot": CASCADES.to_dot}


def _lifecycle(call: Call, what: str) -> dict[str, Callable[[], str]]:
    """The forms of the lifecycle of a table, or of the row with this id, whose status is highlighted."""
    table, status = TABLES.get(what.lower()), None
    machine = MACHINES[table] if table else None
    if machine is None:
        row = _row(call, what)
        machine, status = row.machine, row.status
    return {
        "markdown": machine.to_markdown,
        "mermaid": lambda: machine.to_mermaid(status),
        "dot": lambda: machine.to_dot(status),
    }


def _row(call: Call, what: str) -> Stateful:
    try:
        identifier(what)
    except InvalidValue as error:
        meant = closest(what.lower(), [*MACHINES, "cascades"])
        raise InvalidValue(f"{error}, nor cascades, nor a table: {listed(MACHINES)}{meant}") from None
    call.open()
    return stateful_row_of(what)


def _diagram_options(parser: argparse.ArgumentParser) -> None:
    what = f"a table ({listed(MACHINES)}), the id of a row, or cascades"
    parser.add_argument("what", metavar="WHAT", help=what)
    formats = "the form of the diagram (mermaid); svg and png need Graphviz, and markdown cannot highlight a status"
    parser.add_argument("--format", choices=FORMS, default="mermaid", help=formats)
    parser.add_argument("--output", metavar="FILE", help="write the diagram to this file")


COMMANDS = (Command("diagram", diagram, _diagram_options),)
