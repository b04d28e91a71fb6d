"""The command `status`: which rows wait for a person, and which work is in progress."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest

from dispatch_state import Issue, open_store
from dispatch_state.cli import status
from dispatch_state.cli.commands import main
from dispatch_state.cli.terminal import cells
from dispatch_state.testing.scratch import Clock
from tests.backends import on_sqlite
from tests.cli.shelf import Ids, reads
from tests.shell import Shell
from tests.waits import WAITS
from tests.world import MAINTAINER, WHY, World


@reads
@pytest.mark.parametrize("columns", [80, 200])
def test_the_status(columns: int, shell: Shell, ids: Ids, inside: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    told = shell("status")
    assert max(cells(line) for line in told.splitlines() if " fire " not in line) <= columns  # commands stay whole
    counts = inside(lambda store: store.counts())
    flat = " ".join(told.split())
    for table, by_status in counts.items():
        assert f"{table.replace('_', ' ')} " in flat
        for stands, count in by_status.items():
            assert not count or f"{count} {stands}" in flat
    gate = r"  Gate \w{8}  “look”  Epic “A title” › first  maintainer may approve\s+since 2020-01-31 09:30"
    assert re.search(rf"gate: its stage is done .*\n{gate}", told)
    assert "blocked issue: unblock, release or cancel it" in told
    assert flat.count("\x1b") == 0


@reads
def test_the_status_for_programs(shell: Shell, ids: Ids, inside: Any) -> None:
    told = shell.json("status")
    assert told["counts"] == inside(lambda store: store.counts())
    needs = inside(lambda store: [(need.kind, str(need.row.id), need.why) for need in store.needs_human()])
    assert [(need["kind"], need["id"], need["why"]) for need in told["needs_human"]] == needs
    gate = next(need for need in told["needs_human"] if need["kind"] == "gate")
    assert (gate["epic"], gate["stage"]) == (
        {"id": ids["epic"], "title": "A title"},
        {"id": ids["stage"], "name": "first"},
    )
    assert (gate["approvers"], gate["trigger"]) == (["maintainer"], "approve")
    blocked = next(need for need in told["needs_human"] if need["kind"] == "blocked issue")
    assert [blocked[fact] for fact in ("epic", "stage", "approvers", "trigger")] == [None, None, None, "unblock"]


@reads
def test_the_status_shows_the_work_in_progress(shell: Shell, ids: Ids) -> None:
    told = shell("status")
    epic, stage, agent, issue = (ids[name][-8:] for name in ("epic", "stage", "agent", "at_work"))
    assert f"\nlive epics  1\n  Epic {epic}  “A title”  awaiting_gate\n" in told
    assert f"    Stage {stage}  awaiting_gate  first\n" in told
    assert re.search(r"\n    Stage \w{8}  pending        stage 1\n", told)
    assert f"\nbusy agents  1\n  coder {agent}  working  Issue {issue}  “At work”\n" in told
    as_json = shell.json("status")
    (only,) = as_json["epics"]
    assert (only["id"], only["title"], only["status"]) == (ids["epic"], "A title", "awaiting_gate")
    assert [(one["name"], one["status"]) for one in only["stages"]] == [
        ("first", "awaiting_gate"),
        ("stage 1", "pending"),
    ]
    (busy,) = as_json["agents"]
    assert (busy["id"], busy["agent_type"], busy["status"]) == (ids["agent"], "coder", "working")
    assert busy["current_issue_id"] == ids["at_work"]


def test_what_is_under_way_is_cut(shell: Shell, target: str, clock: Clock) -> None:
    with open_store(target, durability="normal", clock=clock) as store:
        world = World(store)
        epics = [world.running_epic(stages=5) for _ in range(3)]
        for _ in range(2):
            world.start(world.new_issue())
        clock.forward(hours=1)
        world.start(world.new_issue())
        for _ in range(4):
            epics[1].reload().current_stage.skip(by=MAINTAINER, reason=WHY)
        epics[1].description = "Changed last"
        epics[1].save()
        world.epics("cancelled")
    told = shell("status", "--limit", "2")
    assert re.search(r"\nlive epics  3\n  Epic \w{8}", told)
    assert f"  Epic {str(epics[1].id)[-8:]}" in told.split("live epics")[1].splitlines()[1]
    assert re.findall(r"  Stage \w{8}  (\w+) +(.*)", told)[:2] == [("skipped", "stage 3"), ("in_progress", "stage 4")]
    assert told.count("    and 3 more; --limit shows them\n") == 2
    assert told.count("\n  and 1 more; --limit shows them\n") == 3  # idle stages, epics, agents
    as_json = shell.json("status", "--limit", "2")
    assert [len(epic["stages"]) for epic in as_json["epics"]] == [2, 2]
    assert [agent["last_heartbeat"][11:13] for agent in as_json["agents"]] == ["10", "09"]
    assert "more; --limit" not in shell("status", "--limit", "5")
    assert len(shell.json("status", "--limit", "5")["epics"]) == 3


def answered(told: str, kind: str) -> list[str]:
    """The words behind the program of the command that `status` prints for a kind of wait, its values filled in."""
    behind = told[re.search(rf"^{kind}: ", told, re.MULTILINE).start() :]  # type: ignore[union-attr]
    line = next(line for line in behind.splitlines() if " fire " in line)
    filled = line.replace("LOGIN", "maintainer").replace("choice=TEXT", "choice=a").replace("TEXT", "because")
    return shlex.split(filled[filled.index("fire ") :])


def blocked_and_its_agent_busy(world: World) -> Issue:
    issue: Issue = world.issues("blocked")
    world.new_issue().assign(issue.reload().assigned_agent, by=MAINTAINER)
    return issue


ANSWERED: dict[str, tuple[str, Any]] = {
    **{kind: (kind, WAITS[kind]) for kind in status.NEXT},
    "a choice": (
        "gate",
        lambda world: world.waiting_stage({"gate_type": "decision", "options": ["a", "b"]}).gates.get(),
    ),
    "no gate": ("idle stage", lambda world: world.running_epic().current_stage),
    "a busy agent": ("blocked issue", blocked_and_its_agent_busy),
}
"""A row that waits, and as which kind."""


@pytest.mark.parametrize("waiting", ANSWERED)
def test_the_command_that_the_status_prints_answers(waiting: str, shell: Shell, target: str, clock: Clock) -> None:
    kind, make = ANSWERED[waiting]
    with open_store(target, durability="normal", clock=clock) as store:
        row = make(World(store)).reload()
    shell("fire", *answered(shell("status"), kind)[1:], "--yes")
    assert shell.json("show", str(row.id))["status"] != row.status
    assert str(row.id) not in [need["id"] for need in shell.json("status")["needs_human"]]


def test_every_kind_of_wait_that_a_trigger_ends_has_its_command() -> None:
    no_trigger = {"no quorum", "edited by a stranger", "closed on GitHub"}  # a text is saved, a pull request is decided
    assert status.NEXT.keys() == WAITS.keys() - no_trigger


@on_sqlite
def test_a_further_command_is_to_the_same_store(
    shell: Shell, ids: Ids, place: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert f"\n  dispatch-state --database {place} fire " in shell("status")
    monkeypatch.setenv("DISPATCH_DATABASE", place)
    assert main(["status"]) == 0
    assert "\n  dispatch-state fire " in capsys.readouterr()[0]
    odd = Path(place).with_name("a b.db")
    shutil.copy(place, odd)
    assert f"--database '{odd}' fire " in Shell(str(odd), capsys)("status")
    url = Shell(f"sqlite:///{place}", capsys)
    assert "\n  dispatch-state --database … fire " in url("status")


def test_a_long_list_of_needs_is_cut(shell: Shell, ids: Ids, inside: Any) -> None:
    inside(lambda store: [World(store).issues("blocked") for _ in range(2)])
    told = shell("status", "--limit", "2")
    assert "and 1 more; --limit shows them" in told
    assert len(re.findall(r"^  Issue \w{8}  “An issue”", told, re.MULTILINE)) == 2
    assert "more; --limit" not in shell("status", "--limit", "3")
