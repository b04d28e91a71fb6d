"""Every status with every trigger, against the grids written by hand."""

from __future__ import annotations

from typing import Any

import pytest

from dispatch_state import GuardRefused, IllegalTransition, Store
from dispatch_state.testing.scratch import Clock
from dispatch_state.vocabulary import DecisionType
from tests import grids
from tests.grids import STATUSES
from tests.world import MODELS, ONLY_FOLLOW, World


@pytest.mark.parametrize("table", grids.GRIDS)
def test_the_machine_is_the_grid(table: str) -> None:
    """Statuses, triggers, edges, first and final statuses, owned columns and required reasons are the contract's."""
    machine = MODELS[table].machine
    edges = {(t.source, t.trigger): t.dest for t in machine.transitions}
    assert edges == {pair: dest for pair, dest in grids.GRIDS[table].items() if dest is not None}
    assert set(machine.states) == {status for status, _ in grids.GRIDS[table]}
    assert list(machine.triggers) == list(dict.fromkeys(trigger for _, trigger in grids.GRIDS[table]))
    assert set(machine.births) == grids.INITIAL[table]
    assert set(machine.final) == grids.FINAL[table]
    assert {name for name, t in machine.triggers.items() if t.needs_reason} == grids.REASON_REQUIRED[table]


@pytest.mark.parametrize("table", grids.GRIDS)
def test_owned_columns_are_the_pages(table: str) -> None:
    model = MODELS[table]
    also = {"checks_passing", "review_status", "updated_at", "id", *model.creation_stamps, *model.parents}
    guarded = {model._meta.fields[name].column_name for name in model.protected_columns() - also}
    assert guarded == grids.OWNED[table] - {
        model._meta.fields[name].column_name for name in also & set(model._meta.fields)
    }


@pytest.mark.parametrize("table", grids.GRIDS)
def test_decisions_are_the_pages(table: str) -> None:
    found = {
        (table, name): edge.decision
        for name, trigger in MODELS[table].machine.triggers.items()
        for edge in trigger.edges.values()
        if edge.decision
    }
    wanted = {key: DecisionType(kind) for key, (kind, _) in grids.DECIDES.items() if key[0] == table}
    assert found == wanted


@pytest.mark.parametrize(("table", "status"), STATUSES, ids=str)
def test_every_trigger(store: Store, clock: Clock, subtests: pytest.Subtests, table: str, status: str) -> None:
    """A legal trigger leads where the grid says; an illegal one raises and changes nothing."""
    for trigger in MODELS[table].machine.triggers:
        with subtests.test(trigger):
            world = World(store)
            row = prepared(world, table, status, trigger, clock)
            arguments = world.arguments(row, trigger)
            row.reload()
            dest = grids.GRIDS[table][status, trigger]
            if dest is not None and (table, trigger) not in ONLY_FOLLOW:
                is_made(row, trigger, arguments, dest)
            else:
                is_refused(store, row, trigger, arguments, IllegalTransition if dest is None else GuardRefused)


def is_made(row: Any, trigger: str, arguments: dict[str, Any], dest: str) -> None:
    source, version = row.status, row.version
    moves = getattr(row, trigger)(**arguments)
    assert (moves[0].trigger, moves[0].source, moves[0].dest) == (trigger, source, dest)
    assert (row.status, row.version) == (dest, version + 1)
    assert row.reload().status == dest


def is_refused(store: Store, row: Any, trigger: str, arguments: dict[str, Any], expected: type[Exception]) -> None:
    before, seen = dict(row.__data__), len(store.changes(limit=100_000))
    with pytest.raises(expected):
        getattr(row, trigger)(**arguments)
    assert dict(row.__data__) == before
    assert dict(row.reload().__data__) == before
    assert len(store.changes(limit=100_000)) == seen
    assert row.why_not(trigger, **{k: v for k, v in arguments.items() if k != "reason"})


def prepared(world: World, table: str, status: str, trigger: str, clock: Clock) -> Any:
    """A row in a status, and what else the trigger needs to be accepted there."""
    if trigger == "auto_approve" and status == "pending":
        return world.gates("pending", gate_type="checkpoint", auto_approve_at=clock.now).reload()
    if table == "proposals" and status == "voting" and trigger in ("approve", "reject"):
        return counted(world, trigger, clock)
    if (table, status, trigger) == ("stages", "in_progress", "submit"):
        return world.running_epic({}).current_stage.reload()
    return world.at(table, status)


def counted(world: World, trigger: str, clock: Clock) -> Any:
    """A proposal in voting whose deadline has passed with votes that decide it, and that nobody has closed."""
    proposal = world.new_proposal(threshold="simple_majority", required_voters=["coder", "pm"])
    proposal.vote(world.agent("coder"), "approve" if trigger == "approve" else "reject", "so be it")
    proposal.vote(world.agent("pm"), "need_more_info", "not yet")
    clock.forward(days=2)
    return proposal.reload()


AGENT_MOVES = [pair for pair, dest in grids.GRIDS["agents"].items() if dest and ("agents", pair[1]) not in ONLY_FOLLOW]


def test_signs_of_life(store: Store, clock: Clock, subtests: pytest.Subtests) -> None:
    """Those moves of an agent that the page names stamp its heartbeat, and no other does."""
    for status, trigger in AGENT_MOVES:
        with subtests.test(f"{trigger} from {status}"):
            world = World(store)
            agent = world.at("agents", status)
            arguments = world.arguments(agent, trigger)
            before = agent.reload().last_heartbeat
            clock.forward(minutes=1)
            getattr(agent, trigger)(**arguments)
            assert agent.reload().last_heartbeat == (clock.now if trigger in grids.SIGNS_OF_LIFE else before)
