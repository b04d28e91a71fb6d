"""Bad input gets a named error of ours that says what is allowed, and changes nothing."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

import dispatch_state
from dispatch_state import Human
from dispatch_state.testing.outcomes import everything
from tests.backends import BACKENDS
from tests.bad_input import CASES, LOGINS_BAD, LOGINS_GOOD, VOTE_CASES, Case, ready_rows

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
    before = everything()
    with pytest.raises(getattr(dispatch_state, case.error)) as caught:
        case.do(rows)
    message = str(caught.value)
    assert message
    assert len(message) < LONGEST_MESSAGE
    assert everything() == before


@pytest.mark.parametrize("login", LOGINS_GOOD)
def test_good_logins(login: str) -> None:
    assert Human(login).login == login.lower()
    assert Human(f"@{login}") == Human(login)


@pytest.mark.parametrize("login", LOGINS_BAD)
def test_bad_logins(login: Any) -> None:
    with pytest.raises(dispatch_state.InvalidValue, match="login"):
        Human(login)


def test_no_case_is_there_twice() -> None:
    names = [case.name for case in [*CASES, *VOTE_CASES]]
    assert len(names) == len(set(names)) > 900


# ---- calls that pass other arguments than a trigger takes ----------------------------------------------


WRONG_CALLS: list[tuple[Callable[[Any], object], str]] = [
    (
        lambda rows: rows.gate.approve(by=rows.human, coment="Good"),
        "approve() takes comment, choice, by, reason; not coment; did you mean comment?",
    ),
    (lambda rows: rows.issue.queue(by=rows.human, why="now"), "queue() takes by, reason; not why"),
    (
        lambda rows: rows.issue.assign(by=rows.human),
        "assign() takes agent, worktree_path, branch_name, by, reason; agent is missing",
    ),
    (lambda rows: rows.issue.queue("now", by=rows.human), "queue() takes by, reason; pass each by name"),
    (
        lambda rows: rows.agent.fail("it broke", 3, by=rows.human),
        "fail() takes error, max_attempts, by, reason; pass all but error by name",
    ),
    (
        lambda rows: rows.agent.fail("it broke", error="badly", by=rows.human),
        "fail() takes error, max_attempts, by, reason; pass each of them once",
    ),
]


@pytest.mark.parametrize(("call", "message"), WRONG_CALLS, ids=[message[:40] for _, message in WRONG_CALLS])
def test_the_error_of_a_wrong_call_says_what_the_trigger_takes(
    rows: Any, call: Callable[[Any], object], message: str
) -> None:
    before = everything()
    with pytest.raises(TypeError) as caught:
        call(rows)
    assert str(caught.value) == message
    assert everything() == before


@pytest.mark.parametrize(
    ("by", "message"),
    [
        (None, "queue(by): no actor was given; say who acts: Human("),
        ("human:ada", "queue(by): a value of type str is not an actor; say who acts: Human("),
    ],
)
def test_the_error_of_a_wrong_actor_says_how_one_is_named(rows: Any, by: Any, message: str) -> None:
    with pytest.raises(dispatch_state.InvalidValue) as caught:
        rows.issue.queue(by=by)
    assert str(caught.value).startswith(message)
