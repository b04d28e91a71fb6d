"""`explain()`: why a row is in its status, and what it waits for."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from dispatch_state import Stage, Store
from dispatch_state.schema import enforcement
from dispatch_state.storage.statements import find
from dispatch_state.views import explain
from tests.waits import unassigned_in_a_running_stage, without_quorum
from tests.world import MAINTAINER, WHY, World


def test_explain_follows_the_causes_up_to_the_actor(world: World, store: Store) -> None:
    stage = world.waiting_stage()
    stage.gates.get().approve(by=MAINTAINER, reason="it is sound")
    told = store.explain(stage.epic.reload().current_stage).splitlines()
    assert "is in_progress (version 2)" in told[0]
    assert told[1].startswith("  because ")
    assert all(line.startswith("  which followed ") for line in told[2:-1])
    assert "gates" in told[-2]
    assert told[-2].endswith("by human:maintainer: it is sound")
    assert told[-1].startswith("  waits for: a person (nothing in it is live: ")


def test_an_agent_is_named_by_its_type(world: World, store: Store) -> None:
    """And by its id alone when the agent was removed."""
    issue = world.issues("done")
    agent = issue.assigned_agent
    told = store.explain(issue).splitlines()
    assert told[1].endswith(f"complete (in_progress -> done) by coder {str(agent.id)[-8:]}")
    gone = world.issues("unassigned")
    agent = world.agent()
    gone.queue(by=agent)
    agent.stop(by=agent, reason=WHY)
    agent.remove(by=MAINTAINER, reason=WHY)
    assert store.explain(gone).splitlines()[1].endswith(f"by agent {str(agent.id)[-8:]}")


def unassigned_in_a_later_stage(world: World) -> Any:
    later = world.running_epic({}).stages.order_by(Stage.stage_order.desc()).get()
    return later.add_issue(**world.issue_columns())


def two_gates(world: World) -> Any:
    stage = world.waiting_stage({"required_approvers": ["@Ada", "ben"]}, {})
    return stage.epic


def rejected_gate(world: World) -> Any:
    gate = world.waiting_stage().gates.get()
    gate.reject(by=MAINTAINER, reason=WHY)
    return gate


def at_work(world: World) -> Any:
    return world.running_epic({}).current_stage.add_issue(**world.issue_columns()).stage


ROW = r"\w+ [0-9a-f]{8}"
PERSON = r"a person \({}\)".format
WAITING: dict[str, tuple[Callable[[World], Any], str]] = {
    "an epic in draft": (lambda world: world.new_epic(), "it has no stage; add one first"),
    "a written epic": (lambda world: world.epics("draft"), "somebody to say that it is ready"),
    "a ready epic": (lambda world: world.epics("ready"), "somebody to start it"),
    "a running epic": (lambda world: world.running_epic({}), f"{ROW} is in_progress"),
    "an epic at its gates": (
        two_gates,
        rf"{ROW} waits at a gate; {ROW} is pending \(ada or ben may approve\); "
        rf"{ROW} is pending \(any person may approve\)",
    ),
    "a stage at its gate": (lambda world: world.waiting_stage(), rf"{ROW} is pending \(any person may approve\)"),
    "a stage to come": (
        lambda world: unassigned_in_a_later_stage(world).stage,
        f"{ROW}, which comes before it, is in_progress",
    ),
    "a stage at work": (at_work, f"{ROW} is queued; {ROW} is pending"),
    "a gate of a running stage": (
        lambda world: world.running_epic({}).current_stage.gates.get(),
        f"{ROW} is in_progress, not awaiting_gate",
    ),
    "a gate that decides": (
        lambda world: world.waiting_stage({"gate_type": "decision", "options": ["a", "b"]}).gates.get(),
        PERSON("any person may approve"),
    ),
    "a rejected gate": (rejected_gate, f"{ROW} is in_progress, not awaiting_gate"),
    "an issue of a later stage": (unassigned_in_a_later_stage, f"{ROW} is pending, not in_progress"),
    "an issue left out": (unassigned_in_a_running_stage, PERSON("its stage is running and it is not offered: .*")),
    "an unassigned issue": (lambda world: world.new_issue(), "somebody to queue or assign it"),
    "a queued issue": (lambda world: world.issues("queued"), "an agent to claim it"),
    "an issue to review": (lambda world: world.issues("awaiting_review"), "somebody to review it"),
    "a blocked issue": (lambda world: world.issues("blocked"), PERSON("unblock, release or cancel it")),
    "an agent that asked": (lambda world: world.agents("waiting_for_input"), PERSON("it asked a person something")),
    "an agent that proposed": (
        lambda world: world.agents("waiting_for_vote"),
        "a proposal of it is still open or voting",
    ),
    "an open proposal": (lambda world: world.new_proposal(), "a vote"),
    "a voting proposal": (
        lambda world: world.proposals("voting"),
        "the tally is not final: missing coder; 0 need more info",
    ),
    "an approved proposal": (lambda world: world.proposals("approved"), PERSON("it was approved and .*")),
}


@pytest.mark.parametrize("waiting", WAITING)
def test_explain_says_what_a_row_waits_for(world: World, store: Store, waiting: str) -> None:
    make, wanted = WAITING[waiting]
    told = store.explain(make(world)).splitlines()[-1]
    assert re.fullmatch(f"  waits for: {wanted}", told), told


@pytest.mark.parametrize(
    "make",
    [
        lambda world: world.issues("done"),
        lambda world: world.issues("in_progress"),
        lambda world: world.agents("working"),
        lambda world: world.epics("cancelled"),
        without_quorum,
    ],
)
def test_what_is_final_or_at_work_waits_for_nothing(world: World, store: Store, make: Callable[[World], Any]) -> None:
    assert "waits for" not in store.explain(make(world))


@pytest.mark.parametrize("wrong", ["itself", "a cycle of two", "a later one", "one that is not there"])
def test_a_cause_that_was_tampered_with_ends_the_explanation(
    world: World, store: Store, wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cycle of causes must not make `explain()` run for ever."""
    looked_up = []

    def counted(*key: Any) -> Any:
        looked_up.append(key)
        assert len(looked_up) < 50, "it never ends"
        return find(*key)

    monkeypatch.setattr(explain, "find", counted)
    issue = world.issues("assigned")
    agent = issue.assigned_agent
    assign, dispatch = store.history(issue)[-1].seq, store.history(agent)[-1].seq
    world.new_issue()
    causes = {
        "itself": {dispatch: dispatch},
        "a cycle of two": {dispatch: assign, assign: dispatch},
        "a later one": {dispatch: dispatch + 1},
        "one that is not there": {dispatch: 10**9},
    }[wrong]
    with store.database.atomic():
        enforcement.remove(store.database)
        for seq, cause in causes.items():
            store.database.execute_sql(f"UPDATE transition_log SET cause_seq = {cause} WHERE seq = {seq}")
        enforcement.install(store.database)
    for row in (issue, agent):
        told = store.explain(row)
        assert told.startswith(str(row))
        assert told.count("because") + told.count("which followed") <= 2
        assert [move.seq for move in store.history(row)] == sorted(move.seq for move in store.history(row))
        row.diagram()
    assert {v.id for v in store.verify() if v.invariant == "I12"} == {s for s, cause in causes.items() if cause >= s}
    assert len(store.changes(limit=1_000)) > dispatch
