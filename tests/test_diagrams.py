"""Tables and pictures of lifecycles: they match the machines and the contract, and mark the present status."""

from __future__ import annotations

import re
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest

from dispatch_state import InvalidValue, Issue, Store
from dispatch_state.diagrams import CASCADES, render
from dispatch_state.engine import cascades
from dispatch_state.engine.rules import FOLLOWERS, RULES, after
from tests.cascade_table import FOLLOWS
from tests.world import MODELS, World

TABLES = sorted(MODELS)
ARROWS = {(cause, follower) for cause, followers in FOLLOWS.items() for follower in followers}
graphviz = pytest.mark.skipif(shutil.which("dot") is None, reason="GRAPHVIZ IS NOT INSTALLED: NO PICTURE IS DRAWN")


# ---- what follows from what ----------------------------------------------------------------------------


def test_what_is_declared_is_what_the_page_says() -> None:
    """In its order too."""
    assert CASCADES.follows == {cause: tuple(followers) for cause, followers in FOLLOWS.items() if followers}
    assert set(FOLLOWERS) == set(RULES)


def test_every_declared_follower_is_named_in_its_rule() -> None:
    """A trigger that is declared stands in a rule's text; one that stands there is declared."""
    text = Path(cascades.__file__).read_text()
    in_steps = set(re.findall(r'"(\w+)"', "".join(re.findall(r"Step\(.*", text))))
    assert in_steps - {"agent"} == {trigger.name for triggers in FOLLOWERS.values() for trigger in triggers}


def test_what_is_no_trigger_is_not_declared() -> None:
    with pytest.raises(TypeError, match="is not a trigger"):
        after(Issue, "queue", then=(Issue.reload,))


def test_the_table_of_cascades() -> None:
    head, rule, *lines = CASCADES.to_markdown().splitlines()
    assert (head, rule) == ("| move | may be followed by |", "|---|---|")
    read = {}
    for line in lines:
        cause, followers = line.strip("| ").split(" | ")
        read[tuple(cause.strip("`").split("."))] = [tuple(f.strip("`").split(".")) for f in followers.split(", ")]
    assert read == {cause: followers for cause, followers in FOLLOWS.items() if followers}


@pytest.mark.parametrize(("text", "arrow"), [(CASCADES.to_mermaid(), "-->"), (CASCADES.to_dot(), "->")])
def test_the_pictures_of_cascades(text: str, arrow: str) -> None:
    ids = {f"{table}_{trigger}": (table, trigger) for arrows in ARROWS for table, trigger in arrows}
    found = re.findall(rf"^    (\w+) {arrow} (\w+)$", text, re.MULTILINE)
    assert {(ids[cause], ids[follower]) for cause, follower in found} == ARROWS
    assert len(found) == len(ARROWS)
    frames = re.findall(r"subgraph (?:cluster_)?(\w+)", text)
    assert frames == [table for table in MODELS if any(table == end[0] for arrow in ARROWS for end in arrow)]
    assert sorted(re.findall(r"^        (\w+) ?\[", text, re.MULTILINE)) == sorted(ids)


# ---- lifecycles ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", TABLES)
def test_a_lifecycle_in_dot_has_every_arrow(table: str) -> None:
    machine = MODELS[table].machine
    text = machine.to_dot()
    assert re.findall(r'^    (\w+) -> (\w+) \[label="(\w+)"\]$', text, re.MULTILINE) == [
        (source, dest, trigger) for trigger, source, dest in machine.transitions
    ]
    assert re.findall(r"born -> (\w+)", text) == list(machine.births)
    assert re.findall(r"(\w+) \[peripheries=2\]", text) == list(machine.final)
    assert "fillcolor" not in text


@pytest.mark.parametrize("table", TABLES)
def test_a_lifecycle_as_a_table_has_every_arrow(table: str) -> None:
    machine = MODELS[table].machine
    head, rule, *lines = machine.to_markdown().splitlines()
    assert (head, rule) == ("| trigger | from | to | meaning |", "|---|---|---|---|")
    told = [line.strip("| ").split(" | ") for line in lines]
    arrows = [(name.strip("`"), source, dest) for name, sources, dest, _ in told for source in sources.split(", ")]
    assert sorted(arrows) == sorted(machine.transitions)
    assert all(meaning for *_, meaning in told)


@pytest.mark.parametrize("table", TABLES)
def test_a_highlight_only_adds(table: str) -> None:
    machine = MODELS[table].machine
    for status in machine.states:
        added = machine.to_mermaid(status).removeprefix(machine.to_mermaid())
        assert added.splitlines()[-1] == f"    class {status} here"
        assert added.splitlines()[0].startswith("    classDef here fill:#")
        marked = [line for line in machine.to_dot(status).splitlines() if "filled" in line]
        assert [line.split()[0] for line in marked] == [status]
        assert machine.to_dot(status).replace(f"{marked[0]}\n", "") == machine.to_dot()


@pytest.mark.parametrize("wrong", ["nonsense", "", 3, "done\n    evil"])
def test_no_such_status_to_highlight(wrong: Any) -> None:
    for draw in (Issue.machine.to_mermaid, Issue.machine.to_dot):
        with pytest.raises(InvalidValue, match="status"):
            draw(wrong)


@pytest.mark.parametrize("table", TABLES)
def test_a_row_shows_where_it_stands(table: str, store: Store) -> None:
    row = World(store).at(table, MODELS[table].machine.states[1])
    assert row.diagram() == row.machine.to_mermaid(row.status)
    assert row.diagram("dot") == row.machine.to_dot(row.status)
    with pytest.raises(InvalidValue, match="mermaid, dot"):
        row.diagram("svg")


# ---- pictures ------------------------------------------------------------------------------------------


@graphviz
def test_every_lifecycle_becomes_a_picture() -> None:
    drawn = render(Issue.machine.to_dot("blocked"), "svg").decode()
    assert drawn.count("#fde68a") == 1
    assert all(f">{status}<" in drawn for status in Issue.statuses)
    assert render(CASCADES.to_dot(), "png").startswith(b"\x89PNG")


@graphviz
def test_what_dot_cannot_read_is_reported() -> None:
    with pytest.raises(InvalidValue, match=r"svg: dot could not draw it: .*syntax error"):
        render("no graph at all", "svg")


def test_without_graphviz_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InvalidValue, match=r"needs Graphviz.*; mermaid, markdown and dot do not need it"):
        render(CASCADES.to_dot(), "png")


def test_the_program_on_path_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where Graphviz is not installed: what is handed to it, and what comes back, byte for byte."""
    program = tmp_path / "dot"
    program.write_text('#!/bin/sh\necho "$1"\nwhile read -r line; do echo "$line"; done\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert render("digraph é {}\n", "svg") == "-Tsvg\ndigraph é {}\n".encode()
    program.write_text('#!/bin/sh\necho "out of ink" >&2\nexit 1\n')
    with pytest.raises(InvalidValue, match="png: dot could not draw it: out of ink"):
        render("digraph {}", "png")


@pytest.mark.parametrize("wrong", ["pdf", "", None, "svg -o/tmp/x"])
def test_no_such_picture(wrong: Any) -> None:
    with pytest.raises(InvalidValue, match="svg, png"):
        render(CASCADES.to_dot(), wrong)
