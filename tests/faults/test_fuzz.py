"""Bad and random values for every argument of every public entry point: an error of the library, or a round trip.

The short form draws 6 values for each argument, the long form (`DISPATCH_LONG=1`) 300, on both databases.
`python -m tests.faults.fuzz 300` prints the outcomes.
"""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest

from dispatch_state import Agent, ConfigEntry, InvalidValue, Issue, RowNotFound, Store, open_store
from tests import postgres
from tests.backends import BACKENDS
from tests.faults import fuzz, recipes
from tests.faults.nasty import Mixed
from tests.long_forms import LONG
from tests.world import MAINTAINER, World

DRAWS = 300 if LONG else 6


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values that are taken for a file name are files in a folder of the test."""
    monkeypatch.chdir(tmp_path)


def test_no_entry_point_is_forgotten() -> None:
    """Each argument of each public function and method has a recipe."""
    assert recipes.forgotten() == set()
    assert recipes.arguments_left_out() == set()


def test_every_argument(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both databases give the same outcome for the same values."""
    outcomes = {}
    for backend in BACKENDS:
        (tmp_path / backend).mkdir()
        monkeypatch.chdir(tmp_path / backend)
        place = postgres.fresh_schema() if backend == "postgresql" else nullcontext(str(tmp_path / "dispatch.db"))
        with place as target:
            found, failures = fuzz.fuzz(target, DRAWS)
        assert failures == []
        print(backend, fuzz.table(found).rpartition("\n")[2])
        outcomes[backend] = {name: told for name, told in found.items() if not name.startswith("Store.backup")}
    assert len(outcomes["sqlite"]) > 500
    assert outcomes["sqlite"] == outcomes["postgresql"]


def test_every_option_of_opening(target: str) -> None:
    found, failures = fuzz.fuzz_opening(target, max(DRAWS, 100))
    assert failures == []
    assert len(found) == len(fuzz.OPTIONS)
    assert all("InvalidValue" in told for told in found.values())
    assert "stored" in found["open_store(timeout)"]


# ---- what it found -----------------------------------------------------------------------------------


def test_a_text_that_prints_as_another_is_stored_as_it_is(store: Store) -> None:
    """A member of an Enum that is text too prints as its name."""
    assert Issue.create(title=Mixed.WORD, prompt="p", issue_type="bug", repo_path="/").title == "bug"


def test_what_has_an_index_is_short(store: Store) -> None:
    """PostgreSQL cannot index longer texts, so SQLite refuses them too."""
    for length in (2500, 1250):
        path = ("é" if length == 1250 else "x") * length
        assert World(store).new_issue(repo_path=path).reload().repo_path == path
        for write in (
            lambda path=path: World(store).new_issue(repo_path=path + "x"),
            lambda path=path: ConfigEntry.write(path + "x", 1),
        ):
            with pytest.raises(InvalidValue, match="at most 2,500 bytes"):
                write()


def test_what_is_not_an_id_is_refused(store: Store) -> None:
    """The library refuses it before the database could raise an error of its own."""
    issue, agent = World(store).new_issue(), Agent.create(agent_type="coder")
    unnamed = Agent.get()
    issue.id = unnamed.id = "nonsense"
    for use in (
        issue.reload,
        lambda: store.history(issue),
        lambda: store.explain(issue),
        lambda: agent.stop(by=unnamed, reason="away"),
        lambda: agent.log("info", "m", issue=issue),
        lambda: store.claim(unnamed),
        lambda: unnamed.heartbeat(),
        lambda: unnamed.may("stop", by=MAINTAINER),
    ):
        with pytest.raises(InvalidValue, match=r"not a UUID|id is not one|not a valid id"):
            use()
    with pytest.raises(RowNotFound):
        type(issue)(title="t").reload()


def test_a_list_of_unknown_columns_gets_a_short_error(store: Store) -> None:
    for only in ([[]], [{}], [0] * 100_000):
        with pytest.raises(InvalidValue, match=r"save\(only\): Issue has no column") as refused:
            World(store).new_issue().save(only=only)
        assert len(str(refused.value)) < 300


def test_a_version_of_none_is_refused(store: Store) -> None:
    with pytest.raises(InvalidValue, match="version"):
        Agent.create(agent_type="coder", version=None)


@pytest.mark.parametrize("option", ["create", "migrate"])
def test_an_option_that_is_neither_true_nor_false_is_refused(option: str, target: str) -> None:
    with pytest.raises(InvalidValue, match=option):
        open_store(target, **{option: "no"})  # type: ignore[arg-type]
