"""Diagrams: of a lifecycle, of a row in its lifecycle, of what follows from what."""

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
CALLED = {name: table for table in MACHINES for name in (table, table[:-1], table[:-1].replace("_", ""))}
"""Each table by its name, and by that of a row of it, as the models are called."""
FORMS = ("mermaid", "markdown", "dot", *PICTURES)


def diagram(call: Call) -> Exit:
    """Draw a lifecycle, what follows from what, or where a row stands in its lifecycle."""
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
            raise InvalidValue("png: is no text; name a file with --output")
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
    """Of a table, or of a row, whose status is highlighted."""
    table, status = CALLED.get(what.lower()), None
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
    what = f"cascades, the id of a row, or a table or a row of it by name: {listed(MACHINES)}"
    parser.add_argument("what", metavar="WHAT", help=what)
    formats = "svg and png take Graphviz; markdown highlights no status (mermaid)"
    parser.add_argument("--format", choices=FORMS, default="mermaid", help=formats)
    parser.add_argument("--output", metavar="FILE", help="write it there")


COMMANDS = (Command("diagram", diagram, _diagram_options),)
