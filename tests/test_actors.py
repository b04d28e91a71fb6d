"""Actors: which logins and component names are valid, and which errors the others raise."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from dispatch_state import SANGHA, Gate, Human, InvalidValue, Store, System
from dispatch_state.actors import CHECKPOINT, STORE, is_actor_text, is_signature
from dispatch_state.ids import new_id
from tests.world import WHY, World

LOGINS = [
    "first.last",
    "kim@example.com",
    "foo-",
    "a--b",
    "kim+ops@example.com",
    "corp\\kim",
    "auth0|7",
    "a/b",
    "x" * 100,
]
"""What is a login although GitHub has none like it."""


def test_logins_ignore_case() -> None:
    assert Human("Anna-B").login == Human("anna-b").login == "anna-b"
    assert (Human("renovate[bot]").actor, System("Rescue").actor) == ("human:renovate[bot]", "system:rescue")
    assert Human("@Anna") == Human("anna")


@pytest.mark.parametrize(
    ("login", "message"),
    [
        ("human:anna", 'Human: "human:anna" is not a login: write it without human:'),
        ("Human:Anna", 'Human: "Human:Anna" is not a login: write it without human:'),
        ("system:tick", 'Human: "system:tick" is not a login: write it without system:'),
        ("Anna Smith", 'Human: "Anna Smith" is not a login: 1 to 100 ASCII letters, digits and . _ - + @ \\ | /, '),
        ("human:Anna Smith", 'Human: "human:Anna Smith" is not a login: 1 to 100 ASCII letters, '),
        ("agent:anna", 'Human: "agent:anna" is not a login: 1 to 100 ASCII letters, '),
        ("@@anna", 'Human: "@@anna" is not a login: 1 to 100 ASCII letters, '),
        ("", 'Human: "" is not a login: 1 to 100 ASCII letters, '),
        ("a\x1b[31m", "Human: a value of type str is not a login: 1 to 100 ASCII letters, "),
        ("x" * 101, "Human: a value of type str is not a login: 1 to 100 ASCII letters, "),
        (7, "Human: takes a login as text, not a value of type int"),
    ],
)
def test_what_is_no_login_is_shown(login: str, message: str) -> None:
    with pytest.raises(InvalidValue) as refused:
        Human(login)
    assert str(refused.value).startswith(message)


def test_a_component_is_named_more_strictly() -> None:
    for name in ("first.last", "a@b", "foo-", "renovate[bot]", "@rescue", "x" * 40, ""):
        with pytest.raises(
            InvalidValue, match=r"System: .* is not a component's name: letters, digits and single inner"
        ):
            System(name)
    with pytest.raises(InvalidValue, match="System: takes a component's name as text, not a value of type int"):
        System(7)  # type: ignore[arg-type]
    assert System("a" * 39).component == "a" * 39


@pytest.mark.parametrize("login", LOGINS)
def test_a_login_of_any_directory_acts(store: Store, login: str) -> None:
    """It is a gate's approver in any case and with an @, it approves, and verify() finds nothing wrong."""
    person = Human(login.upper())
    gate = World(store).waiting_stage({"required_approvers": [f"@{login.title()}", "somebody.else"]}).gates.get()
    gate.approve("Fine", by=person)
    assert (gate.reload().approved_by, gate.comments.get().author) == (login, login)
    assert store.history(gate)[-1].actor == f"human:{login}"
    assert store.verify() == []


def test_stored_actors_are_well_formed() -> None:
    agent = f"agent:{new_id()}"
    for login in LOGINS:
        assert is_actor_text(f"human:{login}")
        assert is_signature(login)
    for actor in ("system:rescue", "sangha", agent):
        assert is_actor_text(actor)
    for odd in ("human:Ada", "human:@ada", "human:", "system:first.last", "system:x[bot]", f"{agent}0", "ada", 7, None):
        assert not is_actor_text(odd)


def test_an_approver_is_not_named_twice_by_an_at(store: Store) -> None:
    stage = World(store).stages("pending")
    with pytest.raises(InvalidValue, match="is repeated"):
        stage.add_gate("approval", "a human looks", ["kim@example.com", "@KIM@example.com"])
    with pytest.raises(InvalidValue, match="is not a login"):
        stage.add_gate("approval", "a human looks", ["@@kim"])
    assert not Gate.select().exists()


def same(actor: Any) -> list[Any]:
    pickled = [pickle.loads(pickle.dumps(actor, protocol)) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]
    return [copy.copy(actor), copy.deepcopy(actor), *pickled]


def test_the_sangha_stays_the_sangha_however_it_is_copied(store: Store) -> None:
    assert all(actor is SANGHA for actor in same(SANGHA))
    assert copy.deepcopy({"by": [SANGHA]})["by"][0] is SANGHA
    proposal = World(store).proposals("voting")
    assert "only approves and rejects proposals" not in str(proposal.why_not("reject", by=copy.deepcopy(SANGHA)))


@pytest.mark.parametrize("actor", [Human("kim@example.com"), System("rescue"), STORE, CHECKPOINT], ids=str)
def test_an_actor_is_itself_however_it_is_copied(store: Store, actor: Any) -> None:
    for other in same(actor):
        assert (other, other.actor, other.signature) == (actor, actor.actor, actor.signature)
        World(store).new_issue(by=other, reason=WHY)
