"""The pictures of the README: true to the machine and to the store, and the same on every machine."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from dispatch_state import Issue, Priority
from dispatch_state.values import listed
from tests.pages import board_picture, lifecycle_picture, svg
from tests.pages.scene import PASSKEYS, a_morning
from tests.paths import ROOT

IMAGES = ROOT / "docs" / "images"
PICTURES = {"board.svg": board_picture.page, "issue_lifecycle.svg": lifecycle_picture.page}
SPACE = "{http://www.w3.org/2000/svg}"


def texts(picture: str) -> list[str]:
    return [found.text or "" for found in ElementTree.fromstring(picture).iter(f"{SPACE}text")]


@pytest.mark.parametrize("page", PICTURES.values(), ids=PICTURES)
def test_a_picture_stands_by_itself(page: Callable[[], str]) -> None:
    """It is well formed, says what it shows, loads nothing, and has a colour for each class in light and in dark."""
    drawn = page()
    root = ElementTree.fromstring(drawn)
    assert root.attrib["aria-label"] == (root.findtext(f"{SPACE}title") or "") != ""
    assert re.findall(r"https?://[^\"]+|url\(|@import|<script|href", drawn) == ["http://www.w3.org/2000/svg"]
    (style,) = (found.text or "" for found in root.iter(f"{SPACE}style"))
    light, dark = style.split("@media (prefers-color-scheme:dark)")
    used = {name for found in root.iter() for name in found.attrib.get("class", "").split()} - {"b", "s", "h"}
    assert used
    for name in used:
        assert f".{name}{{" in light
        assert f".{name}{{" in dark


@pytest.mark.parametrize("page", PICTURES.values(), ids=PICTURES)
def test_nothing_reaches_over_the_edge(page: Callable[[], str]) -> None:
    """A letter of DejaVu Sans, the widest of the usual fonts, takes less than 6.7 units in the mean."""
    root = ElementTree.fromstring(page())
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    for found in root.iter(f"{SPACE}text"):
        long = len(found.text or "") * 6.7
        before = {"start": 0.0, "middle": 0.5, "end": 1.0}[found.attrib.get("text-anchor", "start")] * long
        left = float(found.attrib["x"]) - before
        assert left >= 0, found.text
        assert left + long <= width, found.text
        assert 0 < float(found.attrib["y"]) < height


def test_the_pictures_do_not_depend_on_the_machine(tmp_path: Path) -> None:
    """Another time zone, another terminal, another language, another order of hashes, and no rich."""
    code = (
        "import sys\n"
        "sys.modules['rich'] = None\n"
        "from tests.pages import PAGES\n"
        f"for name in {list(PICTURES)!r}: sys.stdout.write(PAGES['docs/images/' + name]())\n"
    )
    odd = {"TZ": "Asia/Tokyo", "COLUMNS": "31", "LC_ALL": "C", "PYTHONHASHSEED": "7", "PYTHONIOENCODING": "utf-8"}
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **odd}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
    assert done.stderr == ""
    assert done.stdout == "".join((IMAGES / name).read_text() for name in PICTURES)


def test_the_lifecycle_has_every_status_and_every_trigger() -> None:
    told = texts(lifecycle_picture.page())
    for status in Issue.machine.states:
        assert told.count(status) == 1
    assert {edge.trigger for edge in Issue.machine.transitions} <= set(told)


def test_the_lifecycle_has_an_arrow_for_every_transition() -> None:
    """Those of a trigger with a note are listed there instead."""
    machine = Issue.machine
    noted = [edge for edge in machine.transitions if edge.trigger in lifecycle_picture.NOTES]
    arrows = lifecycle_picture.page().count('fill="none"')
    births = 1
    assert arrows == births + len(machine.transitions) - len(noted) + len(lifecycle_picture.NOTES)
    words = " ".join(texts(lifecycle_picture.page()))
    assert f"from {listed(edge.source for edge in noted if edge.trigger == 'release')}" in words
    cancelled = {edge.source for edge in noted if edge.trigger == "cancel"}
    assert cancelled == {status for status in machine.states if not status.final}
    assert "from every status that is not final" in words


def test_a_forgotten_note_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(lifecycle_picture.NOTES, "cancel")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="NOTES takes every trigger of issues that leads from many"):
        lifecycle_picture.page()


def test_a_status_without_a_place_of_its_own_gets_a_free_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(lifecycle_picture.PLACES, "done")
    middles = {status: lifecycle_picture._middle(status) for status in Issue.machine.states}
    assert len(set(middles.values())) == len(middles)
    assert {str(status) for status in Issue.machine.states} <= set(texts(lifecycle_picture.page()))


def test_every_status_and_priority_has_a_colour() -> None:
    assert svg.STATUS.keys() == set(Issue.statuses)
    assert board_picture.PRIORITY.keys() == set(Priority)
    assert {*svg.STATUS.values(), *board_picture.PRIORITY.values()} <= svg.COLOURS.keys()


def test_the_board_shows_the_rows_of_its_store() -> None:
    told = texts(board_picture.page())
    flat = " ".join(told)
    with a_morning() as store:
        assert store.verify() == []
        counts = {status: count for status, count in store.counts()["issues"].items() if count}
        needs = [need.row.label() for need in store.needs_human()]
        titles = [issue.title for issue in Issue.select()]
    assert len(titles) == len(PASSKEYS) + 1
    for words in (*titles, *needs, f"{len(titles)} issues", f"{len(needs)} for a person to decide"):
        assert words in flat
    for status, count in counts.items():
        assert told[told.index(status.replace("_", " ")) + 1] == str(count)
    empty = ", ".join(status for status in Issue.statuses if status not in counts)
    assert f"nothing in: {empty}" in told
