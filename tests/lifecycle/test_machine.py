"""The trimmed machine decides like the one that `transitions` ships."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import transitions

from dispatch_state.models.tables import STATEFUL


def stock(lifecycle: Any, agrees: bool) -> transitions.Machine:
    """The same statuses and transitions in the library's own machine, every guard of which answers alike."""
    machine = transitions.Machine(
        model=None,
        states=[str(state) for state in lifecycle.states],
        initial=str(lifecycle.initial),
        auto_transitions=False,
        model_attribute="status",
    )
    for name, source, dest in lifecycle.transitions:
        machine.add_transition(name, str(source), str(dest), conditions=lambda firing: agrees)
    return machine


def decided(machine: Any, trigger: str, status: str) -> Any:
    """What becomes of a firing from a status: whether it moves, or why not, and where it is then."""
    firing: Any = SimpleNamespace(status=status)
    try:
        told: object = machine.events[trigger].trigger(firing, firing)
    except transitions.MachineError as error:
        told = str(error)
    return told, firing.status


@pytest.mark.parametrize("agrees", [True, False])
@pytest.mark.parametrize("model", STATEFUL)
def test_it_decides_as_the_stock_one(model: Any, agrees: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = model.machine._machine, stock(model.machine, agrees)
    for event in ours.events.values():
        for candidates in event.transitions.values():
            for condition in (condition for candidate in candidates for condition in candidate.conditions):
                monkeypatch.setattr(condition, "func", lambda firing: agrees)
    for trigger in model.machine.triggers:
        for status in map(str, model.machine.states):
            assert decided(ours, trigger, status) == decided(theirs, trigger, status), (trigger, status)


@pytest.mark.parametrize("model", STATEFUL)
def test_its_events_and_states_are_the_declared_ones(model: Any) -> None:
    machine = model.machine._machine
    assert set(machine.events) == set(model.machine.triggers)
    assert list(machine.states) == [str(state) for state in model.machine.states]
    assert not any(state.on_enter or state.on_exit for state in machine.states.values())
