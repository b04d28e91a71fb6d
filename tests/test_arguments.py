"""Kinds of arguments: every parameter of every trigger has one, and nothing that depends on kinds forgets one."""

from __future__ import annotations

import inspect
from enum import Enum
from typing import Any

import pytest

from dispatch_state import Agent, Issue, Proposal, Store
from dispatch_state.cli.triggers import READERS, arguments
from dispatch_state.errors import InvalidValue
from dispatch_state.lifecycle.arguments import Kind, argument
from dispatch_state.models.tables import STATEFUL
from dispatch_state.testing.choices import VALUES, choices
from dispatch_state.vocabulary import total
from tests.world import MAINTAINER, World

TRIGGERS = [(model, trigger) for model in STATEFUL for trigger in model.machine.triggers.values()]
EVERY_TRIGGER = pytest.mark.parametrize(
    ("model", "trigger"), [pytest.param(*found, id=f"{found[0].__name__}.{found[1].name}") for found in TRIGGERS]
)
MODELS = {model.__name__ for model in STATEFUL}
TYPED = {
    Kind.TEXT: ("two words", "two words"),
    Kind.FAILURE: ("it broke", "it broke"),
    Kind.CHOICE: ("sqlite", "sqlite"),
    Kind.NUMBER: ("7", 7),
    Kind.FLAG: ("true", True),
    Kind.JSON: ('{"a": [1]}', {"a": [1]}),
}
"""What is typed for each kind but rows, and what it means."""


def parameter(name: str, annotation: str) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation)


@EVERY_TRIGGER
def test_every_parameter_has_a_kind(model: Any, trigger: Any) -> None:
    for name, parameter in trigger.parameters.items():
        found = trigger.arguments[name]
        assert (found.name, bool(found.model)) == (name, found.kind is Kind.ROW)
        assert found.optional is str(parameter.annotation).endswith(" | None")
        assert found.model in MODELS | {""}, f"{model.__name__}.{trigger.name}({name}) takes rows of no known model"


def test_every_kind_is_in_use() -> None:
    assert {found.kind for _, trigger in TRIGGERS for found in trigger.arguments.values()} == set(Kind)


def test_a_parameter_of_no_known_kind_is_an_error_that_names_it() -> None:
    with pytest.raises(TypeError, match=r"colour: tuple\[int, int\] is not a kind of argument"):
        argument(parameter("colour", "tuple[int, int]"))


def test_a_name_says_a_kind_for_text_only() -> None:
    assert argument(parameter("error", "str")).kind is Kind.FAILURE
    assert argument(parameter("error", "int")).kind is Kind.NUMBER
    assert argument(parameter("wrong", "str | None")).kind is Kind.TEXT


@pytest.mark.parametrize("table", [READERS, VALUES, TYPED | {Kind.ROW: None}])
def test_what_depends_on_kinds_knows_each(table: dict[Kind, Any]) -> None:
    assert set(table) == set(Kind)


def test_a_table_that_forgets_a_key_or_has_one_too_many_names_it() -> None:
    class Colour(Enum):
        RED = "red"
        BLUE = "blue"

    with pytest.raises(TypeError, match=r"paints: no entry for Colour\.BLUE"):
        total({Colour.RED: 1}, Colour, "paints")
    with pytest.raises(TypeError, match="paints: no use for the entry green"):
        total({Colour.RED: 1, Colour.BLUE: 2, "green": 3}, Colour, "paints")
    assert total({Colour.RED: 1, Colour.BLUE: 2}, Colour, "paints")[Colour.BLUE] == 2


@pytest.mark.parametrize("kind", TYPED)
def test_what_is_typed_is_read_as_its_kind(kind: Kind) -> None:
    typed, meant = TYPED[kind]
    found, trigger = next(
        (found, trigger)
        for _, trigger in TRIGGERS
        for found in trigger.arguments.values()
        if found.kind is kind and trigger.required <= {found.name}
    )
    read = arguments(trigger, [f"{found.name}={typed}"])
    assert read == {found.name: meant}
    assert trigger.checked((), read)[found.name] == meant


def test_a_row_is_typed_by_its_id(store: Store) -> None:
    agent = World(store).agent()
    trigger = Issue.machine.triggers["assign"]
    assert arguments(trigger, [f"agent={str(agent.id)[-8:]}"]) == {"agent": agent}
    with pytest.raises(InvalidValue, match=r"assign\(agent\): takes a saved Agent row"):
        trigger.checked((World(store).new_epic(),), {})
    with pytest.raises(InvalidValue, match=r"assign\(agent\): takes a saved Agent row"):
        trigger.checked((Agent(agent_type="coder"),), {})


@EVERY_TRIGGER
def test_what_tests_give_passes_the_check(model: Any, trigger: Any, store: Store) -> None:
    """Every choice is of the right kind; whether the row accepts it is for its guards to say."""
    world = World(store)
    world.issues("in_progress")  # there is an issue, and an agent
    row = world.at(model._meta.table_name, str(model.machine.initial))
    offered = choices(row, trigger.name, [MAINTAINER])
    for name, found in trigger.arguments.items():
        assert offered[name], f"nothing is given for {name}"
        assert (None in offered[name]) is found.optional
        for value in offered[name]:
            found.check(value, name)


def test_the_options_of_the_row_are_among_its_choices(store: Store) -> None:
    proposal: Proposal = World(store).new_proposal()
    offered = choices(proposal, "force_approve", [MAINTAINER])["choice"]
    assert offered == [None, *proposal.option_names(), "none of them"]
