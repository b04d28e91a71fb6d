"""Bad input gets a named error of ours that says what is allowed, and changes nothing."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

import dispatch_state
from dispatch_state import Human
from tests.bad_input import CASES, LOGINS_BAD, LOGINS_GOOD, VOTE_CASES, Case, ready_rows
from tests.conftest import BACKENDS
from tests.test_atomicity import dump

LONGEST_MESSAGE = 600


@pytest.fixture(scope="module", params=BACKENDS)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One store and one set of rows for all cases: none of them may change anything."""
    from contextlib import ExitStack

    from tests import postgres

    with ExitStack() as stack:
        target = str(tmp_path_factory.mktemp("bad") / "dispatch.db")
        if request.param == "postgresql":
            target = stack.enter_context(postgres.fresh_schema())
        stack.enter_context(dispatch_state.open_store(target, durability="normal"))
        yield ready_rows()


@pytest.fixture
def rows(made: Any) -> Any:
    """The rows, each a fresh object, whatever an earlier case did to its own."""
    return SimpleNamespace(**{name: _fresh(row) for name, row in vars(made).items()})


def _fresh(row: Any) -> Any:
    if not hasattr(row, "reload"):
        return copy.deepcopy(row)
    fresh = type(row)(__no_default__=True)
    fresh.take(dict(row.__data__))
    return fresh


@pytest.mark.parametrize("case", [*CASES, *VOTE_CASES], ids=lambda case: case.name)
def test_bad_input(rows: Any, case: Case) -> None:
    before = dump()
    with pytest.raises(getattr(dispatch_state, case.error)) as caught:
        case.do(rows)
    message = str(caught.value)
    assert message
    assert len(message) < LONGEST_MESSAGE
    assert dump() == before


@pytest.mark.parametrize("login", LOGINS_GOOD)
def test_good_logins(login: str) -> None:
    assert Human(login).login == login.lower()


@pytest.mark.parametrize("login", LOGINS_BAD)
def test_bad_logins(login: Any) -> None:
    with pytest.raises(dispatch_state.InvalidValue, match="login"):
        Human(login)


def test_no_case_is_there_twice() -> None:
    names = [case.name for case in [*CASES, *VOTE_CASES]]
    assert len(names) == len(set(names)) > 900
