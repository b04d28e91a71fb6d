"""A walk over all public triggers, legal and illegal, by several actors, on fresh and on stale copies.

After every step the store is sound: no invariant is broken and the log folds to the tables.
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from random import Random
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    initialize,
    invariant,
    precondition,
    rule,
)

from dispatch_state import (
    SANGHA,
    Agent,
    Epic,
    Gate,
    GuardRefused,
    Human,
    IllegalTransition,
    Issue,
    Proposal,
    PullRequest,
    Stage,
    StaleRow,
    System,
)
from tests.conftest import BACKENDS
from tests.grids import GRIDS
from tests.invariants import broken
from tests.properties.machine import LONG, StoreMachine, on, run
from tests.world import MODELS, WHY

PEOPLE = (Human("maintainer"), Human("ada"), System("runner"), System("checkpoint"), SANGHA)
TYPES = ("coder", "reviewer", "pm")
ENDING = ("cancel", "skip", "stop", "fail", "merge", "force_approve", "force_reject", "veto", "roll_back")


class _Drawing:
    """Draws from strategies of a list by a generator of random numbers, for walks outside of Hypothesis."""

    def __init__(self, random: Random) -> None:
        self.random = random

    def draw(self, strategy: Any) -> Any:
        return self.random.choice(strategy.elements)


class Walk(StoreMachine):
    """One store; rows of every kind; the copies of rows that somebody read some time ago."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[Any] = []
        self.counts: Counter[tuple[type[Any], str]] = Counter()

    def of(self, model: type[Any]) -> list[Any]:
        return [row for row in self.rows if isinstance(row, model)]

    @initialize()
    def people_and_work(self) -> None:
        epic = Epic.create(title="e", description="d", repo_path="/src")
        for number in range(2):
            stage = epic.add_stage(f"stage {number}")
            issue = stage.add_issue(**self.world.issue_columns())
            gate = stage.add_gate("approval", "look")
            self.rows += [stage, issue, gate]
        epic.mark_ready(by=Human("ada"))
        epic.start(by=Human("ada"))
        self.rows += [epic, *(self.world.agent(kind) for kind in ("coder", "coder", "reviewer"))]

    # ---- births --------------------------------------------------------------------------------

    def born(self, make: Any) -> None:
        with suppress(GuardRefused):
            self.rows.append(make())

    def new_epic(self, data: Any, kind: str) -> Any:
        epic = Epic.create(title="e", description="d", repo_path="/src")
        stage = epic.add_stage("only")
        self.rows += [stage, stage.add_issue(**self.world.issue_columns())]
        return epic

    @rule(data=st.data(), kind=st.sampled_from(TYPES))
    def birth(self, data: st.DataObject, kind: str) -> None:
        what = data.draw(
            st.sampled_from(
                ["agent", "stage", "gate", "checkpoint", "decision", "issue", "epic", "free", "request", "proposal"]
            )
        )
        if what not in ("epic", "agent", "free") and not all(map(self.of, (Epic, Stage, Issue, Agent))):
            return
        make = getattr(self, f"new_{what}")
        self.born(lambda: make(data, kind))

    def new_agent(self, data: Any, kind: str) -> Any:
        return self.world.agent(kind)

    def new_stage(self, data: Any, kind: str) -> Any:
        return data.draw(st.sampled_from(self.of(Epic))).add_stage("late")

    def new_gate(self, data: Any, kind: str) -> Any:
        return data.draw(st.sampled_from(self.of(Stage))).add_gate(
            "review", "look", data.draw(st.sampled_from([None, ["ada"], "any"]))
        )

    def new_checkpoint(self, data: Any, kind: str) -> Any:
        return data.draw(st.sampled_from(self.of(Stage))).add_gate("checkpoint", "wait", auto_approve_at=self.clock.now)

    def new_decision(self, data: Any, kind: str) -> Any:
        return data.draw(st.sampled_from(self.of(Stage))).add_gate("decision", "choose", options=["a", "b"])

    def new_issue(self, data: Any, kind: str) -> Any:
        return data.draw(st.sampled_from(self.of(Stage) + self.of(Epic))).add_issue(**self.world.issue_columns())

    def new_free(self, data: Any, kind: str) -> Any:
        return self.world.new_issue(agent_type=data.draw(st.sampled_from([None, kind])))

    def new_request(self, data: Any, kind: str) -> Any:
        status = data.draw(st.sampled_from(["open", "draft"]))
        issue = data.draw(st.sampled_from(self.of(Issue)))
        return PullRequest.create(issue=issue, **self.world.request_columns(status=status))

    def new_proposal(self, data: Any, kind: str) -> Any:
        proposer = data.draw(st.sampled_from(self.of(Agent)))
        threshold = data.draw(st.sampled_from(["unanimous", "super_majority", "simple_majority", "single_approval"]))
        return self.world.new_proposal(
            proposer, required_voters=["coder", kind] if kind != "coder" else ["coder"], threshold=threshold
        )

    # ---- moves ---------------------------------------------------------------------------------

    def draw_row(self, data: Any) -> Any:
        return data.draw(st.sampled_from(self.rows))

    def draw_arguments(self, data: Any, row: Any, trigger: str) -> dict[str, Any]:
        parameters = row.machine.triggers[trigger].parameters
        agents, issues = self.of(Agent), self.of(Issue)
        given: dict[str, Any] = {"by": data.draw(st.sampled_from([*PEOPLE, *agents])), "reason": WHY}
        draws: dict[str, Any] = {
            "agent": st.sampled_from(agents),
            "reviewer": st.sampled_from([None, *agents]),
            "issue": st.sampled_from(issues),
            "choice": st.sampled_from([None, "a", "peewee", "nonsense"]),
            "comment": st.sampled_from([None, "good"]),
            "cancel_issues": st.booleans(),
            "error": st.just("it fell over"),
            "max_attempts": st.integers(1, 3),
            "result": st.just({"success": True}),
            "process_id": st.sampled_from([None, 4711]),
        }
        given.update({name: data.draw(draws[name]) for name in parameters if name in draws})
        return given

    @rule(data=st.data(), legal=st.booleans(), reload=st.booleans())
    def fire(self, data: st.DataObject, legal: bool, reload: bool) -> None:
        """Fire a trigger: from the row's present status three times in four, on a fresh copy half the time."""
        row = self.draw_row(data)
        if not self.of(Agent) or not self.of(Issue):
            return
        if reload or legal:
            row.reload()
        names = row.legal_triggers() if legal and row.legal_triggers() else tuple(row.machine.triggers)
        trigger = data.draw(st.sampled_from(names))
        arguments = self.draw_arguments(data, row, trigger)
        self.attempt(row, trigger, arguments)

    def attempt(self, row: Any, trigger: str, arguments: dict[str, Any]) -> None:
        before = dict(row.__data__)
        stale = (row.version, row.status) != self.present(row)
        wanted = row.why_not(trigger, **{k: v for k, v in arguments.items() if k != "reason"})
        try:
            moves = getattr(row, trigger)(**arguments)
        except StaleRow:
            assert stale
            assert dict(row.__data__) == before
        except (IllegalTransition, GuardRefused) as refusal:
            assert not stale
            assert dict(row.__data__) == before
            assert "which follows from move" not in str(refusal), f"a cascade was refused: {refusal}"
            reasons = list(refusal.reasons) if isinstance(refusal, GuardRefused) else [str(refusal)]
            assert wanted == reasons
        else:
            assert not stale
            assert not wanted
            assert (moves[0].entity, moves[0].id, moves[0].trigger) == (row._meta.table_name, row.id, trigger)
            assert self.present(row) == (row.version, row.status)
            assert dict(row.__data__) == dict(type(row).get_by_id(row.id).__data__)

    def present(self, row: Any) -> tuple[int, str]:
        now = type(row).get_by_id(row.id)
        return now.version, now.status

    @rule(data=st.data())
    def work(self, data: st.DataObject) -> None:
        """A helpful agent does what its issue needs next, so that walks get far."""
        if not self.of(Issue):
            return
        issue = data.draw(st.sampled_from(self.of(Issue))).reload()
        idle = [a.reload() for a in self.of(Agent) if a.reload().status == "idle"]
        if issue.status in ("queued", "unassigned") and idle:
            self.attempt(issue, "assign", {"agent": idle[0], "by": idle[0]})
        elif issue.status in ("assigned", "in_progress", "in_review"):
            agent = issue.assigned_agent if issue.status != "in_review" else Human("ada")
            trigger = "start" if issue.status == "assigned" else "complete"
            self.attempt(issue, trigger, {"by": agent})

    @rule(seed=st.integers(0, 1 << 32), steps=st.integers(1, 40))
    def progress(self, seed: int, steps: int) -> None:
        """Make some moves that are accepted, whichever there are, so that walks get far."""
        random = Random(seed)
        for _ in range(steps):
            self.make_a_move(random)

    @rule(seed=st.integers(0, 1 << 32))
    def a_long_way(self, seed: int) -> None:
        self.progress(seed, 60)

    def wander(self, random: Random, moves: int) -> None:
        """Make that many moves, with births, votes and the time that passes among them."""
        self.people_and_work()
        often = ("agent", "issue", "free", "proposal")
        births = (*often * 3, "stage", "gate", "checkpoint", "decision", "epic", "request")
        data: Any = _Drawing(random)
        for number in range(moves):
            if random.random() < 0.3:
                self.born(lambda: getattr(self, f"new_{random.choice(births)}")(data, random.choice(TYPES)))
            if random.random() < 0.1:
                self.vote_at(random)
            if random.random() < 0.03:
                self.clock.forward(hours=random.randint(1, 30))
            self.make_a_move(random)
            if number % 5 == 0:
                assert broken(self.store) == []
        assert broken(self.store) == []

    def vote_at(self, random: Random) -> None:
        undecided = [p for p in self.of(Proposal) if p.reload().status in ("open", "voting")]
        if undecided:
            with suppress(GuardRefused):
                decision = random.choice(["approve", "reject", "abstain", "need_more_info"])
                random.choice(undecided).vote(random.choice(self.of(Agent)), decision, WHY)

    def make_a_move(self, random: Random) -> None:
        if not self.of(Agent) or not self.of(Issue):
            return
        rows = random.sample(self.rows, len(self.rows))
        ways = [(row, trigger) for row in rows for trigger in row.reload().legal_triggers()]
        for row, trigger in sorted(ways, key=lambda way: self.counts[type(way[0]), way[1]] * random.random()):
            if trigger in ENDING and random.random() < 0.7:
                continue
            for _ in range(4):
                arguments = self.plausible(random, row, trigger)
                if row.may(trigger, **{k: v for k, v in arguments.items() if k != "reason"}):
                    self.counts[type(row), trigger] += 1
                    self.attempt(row, trigger, arguments)
                    return

    def plausible(self, random: Random, row: Any, trigger: str) -> dict[str, Any]:
        agents = self.of(Agent)
        options = getattr(row, "options", None) or [None]
        every = {
            "agent": lambda: random.choice(agents or [None]),
            "reviewer": lambda: random.choice([None, *agents]),
            "issue": lambda: random.choice(self.of(Issue) or [None]),
            "choice": lambda: random.choice(options),
            "comment": lambda: random.choice([None, "good"]),
            "cancel_issues": lambda: True,
            "error": lambda: "it fell over",
            "max_attempts": lambda: random.randint(1, 3),
            "result": lambda: {"success": True},
        }
        wanted = row.machine.triggers[trigger].parameters
        given = {name: draw() for name, draw in every.items() if name in wanted}
        return {"by": random.choice([*PEOPLE, *agents]), "reason": WHY, **given}

    @rule(data=st.data())
    @precondition(lambda self: self.of(Gate))
    def decide(self, data: st.DataObject) -> None:
        gate = data.draw(st.sampled_from(self.of(Gate))).reload()
        choice = gate.options[0] if gate.options else None
        trigger, more = data.draw(st.sampled_from([("approve", {"choice": choice}), ("reject", {"reason": WHY})]))
        self.attempt(gate, trigger, {"by": Human("ada"), **more})

    @rule(data=st.data(), decision=st.sampled_from(["approve", "reject", "abstain", "need_more_info"]))
    @precondition(lambda self: self.of(Proposal))
    def vote(self, data: st.DataObject, decision: str) -> None:
        proposal = data.draw(st.sampled_from(self.of(Proposal)))
        voter = data.draw(st.sampled_from(self.of(Agent)))
        try:
            proposal.vote(voter, decision, WHY)
        except (GuardRefused, IllegalTransition):
            pass

    @rule(data=st.data())
    @precondition(lambda self: self.of(Issue))
    def reassign(self, data: st.DataObject) -> None:
        issue = data.draw(st.sampled_from(self.of(Issue))).reload()
        try:
            issue.reassign(data.draw(st.sampled_from(self.of(Agent))), by=Human("ada"), reason=WHY)
        except (GuardRefused, IllegalTransition):
            pass

    @rule(data=st.data())
    def place(self, data: st.DataObject) -> None:
        free = [i for i in self.of(Issue) if i.epic_id is None]
        if free:
            issue = data.draw(st.sampled_from(free)).reload()
            try:
                issue.place(data.draw(st.sampled_from(self.of(Stage) + self.of(Epic))), by=Human("ada"))
            except GuardRefused:
                pass

    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        final = [r for r in self.rows if r.reload().status.final and len(self.of(type(r))) > 2]
        if len(final) > 4:
            row = data.draw(st.sampled_from(final))
            try:
                row.remove(by=Human("ada"), reason=WHY)
            except GuardRefused:
                return
            there = {r.id for model in MODELS.values() for r in model.select()}
            self.rows = [r for r in self.rows if r.id in there]

    @rule(data=st.data())
    def a_callers_transaction_rolls_back(self, data: st.DataObject) -> None:
        if not self.of(Agent) or not self.of(Issue):
            return
        row = self.draw_row(data).reload()
        before = dict(row.__data__)
        legal = row.legal_triggers()
        with pytest.raises(ZeroDivisionError), self.store.atomic():
            for trigger in legal[:2]:
                try:
                    getattr(row, trigger)(**self.draw_arguments(data, row, trigger))
                except (GuardRefused, IllegalTransition):
                    pass
            raise ZeroDivisionError
        assert dict(row.__data__) == before
        assert self.present(row) == (row.version, row.status)

    @rule(data=st.data())
    def upkeep(self, data: st.DataObject) -> None:
        """What a runner does beside: ticks, claims, and the rescue of agents that do not beat."""
        self.store.tick()
        if self.of(Agent):
            with suppress(GuardRefused):
                self.store.claim(data.draw(st.sampled_from(self.of(Agent))).reload())
        self.store.rescue(timeout=3600 * 20)

    @rule(hours=st.integers(1, 30))
    def time_passes(self, hours: int) -> None:
        self.clock.forward(hours=hours)

    @invariant()
    def sound(self) -> None:
        assert broken(self.store) == []


@pytest.mark.parametrize("backend", BACKENDS)
def test_walk(backend: str) -> None:
    run(on(Walk, backend), examples=25 if backend == "sqlite" else 10)


@pytest.mark.parametrize("backend", BACKENDS)
def test_far_walks(backend: str) -> None:
    """Many moves that are accepted, in one store: what short walks do not reach. Nearly every trigger is fired."""
    made: set[tuple[str, str]] = set()
    for seed in range(200 if LONG else 4):
        walk: Any = on(Walk, backend)()
        try:
            walk.wander(Random(seed), moves=400)
            made |= {(move.entity, move.trigger) for move in walk.store.changes(limit=100_000)}
        finally:
            walk.teardown()
    unreached = {(table, trigger) for table, grid in GRIDS.items() for _, trigger in grid} - made
    assert len(unreached) <= 8, unreached
