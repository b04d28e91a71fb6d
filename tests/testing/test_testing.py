"""The kit that users get: what it draws is legal and has a history, and it finds what is wrong."""

from __future__ import annotations

import importlib
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from dispatch_state import (
    Agent,
    GuardRefused,
    InvalidValue,
    Issue,
    StaleRow,
    Store,
    StoreError,
    StoreNotOpen,
    TransitionLog,
    open_store,
)
from dispatch_state.models.tables import STATEFUL
from dispatch_state.testing.outcomes import attempt, everything
from dispatch_state.testing.scratch import Clock, assert_sound, scratch_store, scratch_target
from dispatch_state.testing.scripts import NEW_ROWS, STEPS, Player
from dispatch_state.testing.strategies import payloads, present_rows, rows, scripts, triggers
from dispatch_state.testing.walks import StoreMachine, Walk, run
from tests import postgres
from tests.backends import BACKENDS
from tests.invariants import broken
from tests.paths import ROOT
from tests.properties.machine import LONG
from tests.world import MAINTAINER, World

SHORT = settings(deadline=None, max_examples=15, suppress_health_check=list(HealthCheck), database=None)


def place(backend: str) -> str:
    return postgres.server_or_skip() if backend == "postgresql" else backend


# ---- scratch stores ------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["memory", "sqlite", "postgresql"])
def test_a_scratch_store_is_empty_and_goes_away(backend: str) -> None:
    for _ in range(2):
        with scratch_store(place(backend)) as store:
            assert not any(everything().values())
            Agent.create(agent_type="coder")
            assert_sound(store)
        with pytest.raises(StoreNotOpen):
            Agent.create(agent_type="coder")


def test_a_scratch_file_is_deleted() -> None:
    with scratch_target() as target:
        open_store(target).close()
        assert Path(target).exists()
    assert not Path(target).parent.exists()


def test_a_scratch_schema_is_dropped() -> None:
    url = postgres.server_or_skip()
    with scratch_target(url) as target:
        open_store(target).close()
    with pytest.raises(StoreError):
        open_store(target)


@pytest.mark.parametrize("wrong", ["oracle", "", None, 7, "sqlite:///x.db", "mysql://host/name"])
def test_no_such_backend(wrong: Any) -> None:
    with pytest.raises(InvalidValue):
        scratch_store(wrong)


def test_no_server_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPATCH_TEST_POSTGRESQL", "postgresql://nobody@127.0.0.1:9/none")
    with pytest.raises(StoreError, match="cannot be reached"), scratch_store("postgresql"):
        pass


def test_the_clock() -> None:
    clock = Clock()
    with scratch_store("memory", clock=clock) as store:
        before = store.now()
        clock.forward(hours=2)
        assert (store.now() - before).total_seconds() == 7200
    assert Clock(datetime(2030, 1, 1, tzinfo=UTC))().year == 2030
    for wrong in ({"days": 1e12}, {"days": float("nan")}):
        with pytest.raises(InvalidValue):
            clock.forward(**wrong)
    with pytest.raises(InvalidValue):
        Clock(datetime(2030, 1, 1))
    with pytest.raises(InvalidValue):
        scratch_store("memory", clock=7)  # type: ignore[arg-type]


def test_what_is_not_sound_is_told(store: Store) -> None:
    issue = World(store).issues("done")
    assert_sound(store)
    store.database.execute_sql(f"UPDATE issues SET completed_at = NULL WHERE id = '{issue.id}'")
    with pytest.raises(AssertionError, match=str(issue.id)):
        assert_sound(store)
    with pytest.raises(InvalidValue):
        assert_sound("dispatch.db")  # type: ignore[arg-type]


# ---- strategies ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", STATEFUL)
def test_every_payload_is_accepted_and_comes_back(model: Any) -> None:
    """As it was drawn; only keys to other rows are the test's."""

    @SHORT
    @given(data=st.data())
    def check(data: st.DataObject) -> None:
        with scratch_store("memory") as store:
            world = World(store)
            keys = {
                "Stage": lambda: {"epic": world.new_epic()},
                "Gate": lambda: {"stage": world.new_epic().add_stage("only")},
                "PullRequest": lambda: {"issue": world.issues("in_progress")},
                "Proposal": lambda: {"proposer": world.agent()},
            }.get(model.__name__, dict)()
            payload = data.draw(payloads(model, **keys))
            row = model.create(**payload)
            for name, value in payload.items():
                assert getattr(row, name) == value or model._meta.fields[name].check(value) == getattr(row, name)
            assert row.reload().__data__ == model.get_by_id(row.id).__data__
            assert_sound(store)

    check()


def test_fixed_columns_are_kept() -> None:
    @SHORT
    @given(payload=payloads(Issue, priority="high", title="Fixed"))
    def check(payload: dict[str, Any]) -> None:
        assert (payload["priority"], payload["title"]) == ("high", "Fixed")

    check()


@pytest.mark.parametrize("fixed", [{"status": "done"}, {"version": 3}, {"nonsense": 1}, {"priority": "soon"}])
def test_a_fixed_column_that_creation_would_refuse(fixed: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue):
        payloads(Issue, **fixed)


@pytest.mark.parametrize("model", STATEFUL)
def test_rows_of_every_status_have_a_history(model: Any) -> None:
    seen: set[str] = set()
    with scratch_store("memory") as store:
        for status in model.machine.states:

            @settings(SHORT, max_examples=2)
            @given(row=rows(model, status))
            def check(row: Any) -> None:
                history = store.history(row)
                assert [move.version for move in history] == list(range(1, row.version + 1))
                assert history[-1].dest == row.status
                seen.add(row.status)

            check()
        assert seen == set(model.machine.states)
        assert_sound(store)


def test_wrong_arguments_are_refused_at_once() -> None:
    for wrong in (TransitionLog, "Issue", None, Issue()):
        for strategy in (payloads, rows, present_rows):
            with pytest.raises(InvalidValue):
                strategy(wrong)
    with pytest.raises(InvalidValue):
        rows(Issue, "finished")
    with pytest.raises(InvalidValue):
        scripts(longest=0)
    with scratch_store("memory") as store:
        done = World(store).issues("done")
        with pytest.raises(InvalidValue, match="legal there: nothing"):
            triggers(done, legal=True)
        for row, options in ((Issue(), {}), (done, {"legal": 1}), (done, {"actors": ["me"]})):
            with pytest.raises(InvalidValue):
                triggers(row, **options)


def test_present_rows_are_those_that_are_there() -> None:
    with scratch_store("memory") as store:
        there = {World(store).agent().id for _ in range(3)}
        seen = set()

        @SHORT
        @given(agent=present_rows(Agent))
        def check(agent: Agent) -> None:
            seen.add(agent.id)

        check()
        assert seen <= there
        assert seen


def test_triggers_are_legal_or_not_as_asked() -> None:
    with scratch_store("memory") as store:
        world = World(store)
        issue = world.issues("queued")
        world.agent()

        @SHORT
        @given(data=st.data(), legal=st.booleans())
        def check(data: st.DataObject, legal: bool) -> None:
            name, arguments = data.draw(triggers(issue, legal=legal, actors=[MAINTAINER]))
            assert (name in issue.legal_triggers()) is legal
            assert arguments["by"] == MAINTAINER
            issue.why_not(name, **arguments)  # never raises

        check()


# ---- attempts: the contract that the kit holds against us ----------------------------------------------


def test_an_attempt_gives_moves_or_the_refusal(store: Store) -> None:
    issue = World(store).issues("queued")
    stale = Issue.get_by_id(issue.id)
    assert [move.trigger for move in attempt(issue, "dequeue", {"by": MAINTAINER})] == ["dequeue"]  # type: ignore[union-attr]
    for copy, kind in ((stale, "StaleRow"), (issue, "IllegalTransition")):
        assert type(attempt(copy, "dequeue", {"by": MAINTAINER})).__name__ == kind


def test_an_attempt_notices_what_why_not_says(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    issue = World(store).issues("queued")
    monkeypatch.setattr(Issue, "why_not", lambda *_, **__: ["because"])
    with pytest.raises(AssertionError, match=r"why_not\(\) said \['because'\]"):
        attempt(issue, "dequeue", {"by": MAINTAINER})


def test_an_attempt_notices_what_is_left_in_memory(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def dequeue(row: Issue, **_: Any) -> None:
        row.title = "somebody else's"
        raise GuardRefused("no", reasons=["because"])

    issue = World(store).issues("queued")
    monkeypatch.setattr(Issue, "dequeue", dequeue)
    with pytest.raises(AssertionError, match="a refusal changed"):
        attempt(issue, "dequeue", {"by": MAINTAINER})


# ---- walks ---------------------------------------------------------------------------------------------


def test_the_same_script_writes_the_same_log_on_both_databases() -> None:
    """Ids apart, which are new in each store: the moves, in order, with who, why, and from which cause."""

    @settings(SHORT, max_examples=100 if LONG else 4, phases=set(Phase) - {Phase.shrink, Phase.explain})
    @given(script=scripts(longest=40))
    def check(script: list[int]) -> None:
        told = [played(backend, script) for backend in BACKENDS]
        assert told[0] == told[1]

    check()


def played(backend: str, script: list[int]) -> list[Any]:
    clock = Clock()
    with scratch_store(place(backend), clock=clock) as store:
        world = World(store)
        world.running_epic({}).add_issue(**world.issue_columns())
        for kind in ("coder", "reviewer"):
            world.agent(kind)
        Player(store, clock).play(script)
        assert_sound(store)
        names: dict[str, str] = {}
        for move in TransitionLog.select().order_by(TransitionLog.seq):
            names.setdefault(str(move.entity_id), f"{move.entity}-{len(names)}")

        def named(value: object) -> str:
            text = str(value)
            for key, name in names.items():
                text = text.replace(key, name)
            return text

        return [
            (named(m.entity_id), m.version, m.trigger, m.source, m.dest, named(m.actor), named(m.reason), m.cause_seq)
            for m in TransitionLog.select().order_by(TransitionLog.seq)
        ]


def test_a_script_may_do_everything_and_make_rows_of_every_model() -> None:
    assert all(callable(getattr(Player, name)) for name in STEPS)
    clock = Clock()
    with scratch_store("memory", clock=clock) as store:
        player = Player(store, clock)
        made = [getattr(player, f"new_{kind}")(Random(1)) for kind in sorted(NEW_ROWS, key=ORDER.index)]
        assert {type(row) for row in made} == set(STATEFUL)
        assert_sound(store)


ORDER = ["epic", "stage", "gate", "issue", "free_issue", "request", "agent", "proposal"]
"""The kinds of rows, each after those that it belongs to."""


class Interferes(Walk):
    """A walk with a program in it that breaks the contract."""

    backend = "memory"

    @rule()
    def a_status_is_lost(self) -> None:
        self.store.database.execute_sql("UPDATE issues SET assigned_agent_id = NULL, completed_at = created_at")


def test_a_walk_finds_what_breaks_an_invariant() -> None:
    with pytest.raises(AssertionError, match="the store is not sound"):
        run(Interferes, examples=20, steps=10)


class Watched(Walk):
    """A walk that says what was done in it."""

    backend = "memory"
    told: ClassVar[set[str]] = set()

    def teardown(self) -> None:
        self.told |= {move.trigger for move in TransitionLog.select()}
        assert broken(self.store) == []
        super().teardown()


def test_a_walk_gets_about() -> None:
    """In a few walks most triggers of the lifecycles were fired."""
    run(Watched, examples=15, steps=20)
    assert len(Watched.told) > 25


def test_a_machine_of_ones_own() -> None:
    class Mine(StoreMachine):
        backend = "memory"

        @rule()
        def an_agent_comes(self) -> None:
            self.world.agent()

    run(Mine, examples=3, steps=3)


def test_what_is_no_walk() -> None:
    for wrong in (Issue, None, "Walk", Walk.TestCase):
        with pytest.raises(InvalidValue):
            run(wrong)  # type: ignore[arg-type]
    for wrong_count in ({"examples": 0}, {"steps": -1}, {"examples": "many"}):
        with pytest.raises(InvalidValue):
            run(RuleBasedStateMachine, **wrong_count)  # type: ignore[arg-type]


# ---- the example ---------------------------------------------------------------------------------------


def test_the_examples_tests_pass() -> None:
    command = [sys.executable, str(ROOT / "examples" / "own_tests.py"), "--examples", "3"]
    passed = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert (passed.returncode, passed.stderr) == (0, "")
    assert "nothing found" in passed.stdout


def test_the_bug_planted_in_the_example_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without shortening the steps that lead to it, which takes longer than to find it."""
    monkeypatch.syspath_prepend(ROOT / "examples")
    planted = importlib.import_module("own_tests").PlantedWalk
    found = settings(SHORT, max_examples=1_000, stateful_step_count=30, phases=[Phase.generate])
    with pytest.raises(StaleRow):
        run_state_machine_as_test(planted, settings=found)
