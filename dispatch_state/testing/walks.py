"""Walks: drawn sequences of firings, and of all else that happens to a store, each step held against the lifecycles."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, suppress
from typing import Any, ClassVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from hypothesis.strategies import DrawFn

from dispatch_state import values
from dispatch_state.actors import Actor
from dispatch_state.errors import InvalidValue
from dispatch_state.models.agent import Agent
from dispatch_state.models.base import Stateful
from dispatch_state.models.epic import Epic
from dispatch_state.models.issue import Issue
from dispatch_state.models.keys import ParentField
from dispatch_state.models.proposal import Proposal
from dispatch_state.models.stage import Stage
from dispatch_state.models.tables import STATEFUL
from dispatch_state.storage.targets import MEMORY, SQLITE
from dispatch_state.store import Store, open_store
from dispatch_state.testing.choices import everybody, present
from dispatch_state.testing.factories import MAINTAINER, WHY, World
from dispatch_state.testing.outcomes import ask, attempt, everything
from dispatch_state.testing.scratch import Clock, assert_sound, scratch_target
from dispatch_state.testing.scripts import Player
from dispatch_state.testing.strategies import payloads, present_rows, scripts, triggers, words
from dispatch_state.vocabulary import AgentStatus, IssueStatus, VoteDecision


class StoreMachine(RuleBasedStateMachine):
    """A state machine of Hypothesis with an open store of its own, which is sound after every step.

    backend: what `scratch_store` takes.
    clock: the store's clock, which stands still until it is moved.
    store: the open store.
    target: what `open_store` takes to open it.
    world: makes rows in any status.
    """

    backend: ClassVar[str] = SQLITE

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.world = World()
        with ExitStack() as held:
            self.target = held.enter_context(scratch_target(self.backend))
            self.store = self.open()
            held.callback(lambda: self.store.close())
            self._held = held.pop_all()

    def open(self) -> Store:
        """Open the store of this machine: at its start, and whenever it was closed."""
        return open_store(self.target, durability="normal", clock=self.clock)

    def there_are(self, *models: type[Stateful]) -> bool:
        """Whether the store has rows of each of these models."""
        return all(model.select().exists() for model in models)

    def teardown(self) -> None:
        """Close the store and throw it away."""
        self._held.close()

    @invariant()
    def sound(self) -> None:
        """No invariant of the lifecycles is broken, and the log folds to the tables."""
        assert_sound(self.store)


class _RolledBack(Exception):
    """What a caller's transaction ends with in a walk."""


@st.composite
def _actors(draw: DrawFn) -> Actor:
    """One who acts in the walk that is under way."""
    walk: Walk = draw(st.runner())
    return draw(st.sampled_from(walk.actors()))


@st.composite
def _firings(draw: DrawFn, legal: bool | None = None) -> tuple[Any, str, dict[str, Any]]:
    """A row of the store, a trigger of it, and arguments; who acts is one of the walk that is under way."""
    walk: Walk = draw(st.runner())
    row = draw(present_rows())
    return row, *draw(triggers(row, legal=None if row.status.final else legal, actors=walk.actors()))


@st.composite
def _births(draw: DrawFn) -> Any:
    """A model, and the columns of a row to be born: a child of rows that are in the store."""
    model: Any = draw(st.sampled_from([Agent, Issue, *STATEFUL]))
    keys = {}
    for field in model._meta.refs:
        if isinstance(field, ParentField) and field.name in model.set_at_creation():
            parents = present(field.rel_model)
            keys[field.name] = draw(st.sampled_from([None, *parents] if field.null else parents))
    return model, draw(payloads(model, **keys))


class Walk(StoreMachine):
    """Everything that may happen to a store, in any order: a state machine, ready to subclass.

    All public triggers are fired, legal and illegal ones, by several actors, on fresh rows and on stale copies; rows
    are born and removed, agents claim, beat and vote, time passes, the store is closed and opened, a caller's
    transaction rolls back. After every step each refusal was the right one, and the store is sound.

    Subclass it to let your own program loose among all that, and say what must always be true of it:

        class MyWalk(Walk):
            def furnish(self):
                super().furnish()
                self.runner = MyRunner(self.store)

            @rule()
            def my_runner_takes_a_step(self):
                self.runner.step()

            @invariant()
            def my_runner_has_one_issue_at_most(self):
                assert len(self.runner.issues) <= 1

        TestMyWalk = MyWalk.TestCase            # for pytest or unittest
        run(MyWalk, examples=200, steps=60)     # or at once

    Override `furnish` for what is there at first, `actors` for who acts, `open` for how the store is opened, and set
    `backend` to "postgresql" to walk there.
    """

    copies = Bundle("copies")

    def __init__(self) -> None:
        super().__init__()
        self.player = Player(self.store, self.clock, self.actors)

    # ---- what a subclass may say otherwise -------------------------------------------------------

    def actors(self) -> list[Actor]:
        """Who may fire a trigger: people, components, the agents as a body, and every agent of the store."""
        return everybody()

    def furnish(self) -> None:
        """Fill the empty store: an epic under way with two stages, each with an issue and a gate, and three agents."""
        epic = self.world.new_epic()
        for name in ("first", "second"):
            stage = epic.add_stage(name)
            stage.add_issue(**self.world.issue_columns())
            stage.add_gate("approval", "look")
        epic.mark_ready(by=MAINTAINER)
        epic.start(by=MAINTAINER)
        for kind in ("coder", "coder", "reviewer"):
            self.world.agent(kind)

    # ---- rules -----------------------------------------------------------------------------------

    @initialize(past=scripts(longest=25))
    def begin(self, past: Sequence[int] = ()) -> None:
        """The store is filled, and has a past."""
        self.furnish()
        self.player.play(past)

    @rule(born=_births(), by=st.sampled_from([MAINTAINER, None]))
    @precondition(lambda self: self.there_are(Epic, Stage, Issue, Agent))
    def birth(self, born: tuple[Any, dict[str, Any]], by: Actor | None) -> None:
        """A row is born, unless the rows around it forbid that."""
        model, columns = born
        row = model(**columns)
        ask(row, lambda: row.save() if by is None else row.save(by=by, reason=WHY))

    @rule(firing=_firings())
    @precondition(lambda self: self.there_are(Agent, Issue))
    def fire(self, firing: tuple[Any, str, dict[str, Any]]) -> None:
        """Any trigger is fired on any row."""
        attempt(*firing)

    @rule(firing=_firings(legal=True))
    @precondition(lambda self: self.there_are(Agent, Issue))
    def fire_from_here(self, firing: tuple[Any, str, dict[str, Any]]) -> None:
        """A trigger is fired that starts from where the row is."""
        attempt(*firing)

    @rule(row=present_rows(), target=copies)
    @precondition(lambda self: self.there_are(Issue))
    def keep_a_copy(self, row: Any) -> Any:
        """Somebody reads a row and holds on to the object; it goes stale when the row moves."""
        return row

    @rule(copy=copies, data=st.data())
    @precondition(lambda self: self.there_are(Agent, Issue))
    def fire_on_a_copy(self, copy: Any, data: st.DataObject) -> None:
        """Somebody fires on what was read some time ago."""
        attempt(copy, *data.draw(triggers(copy, actors=self.actors()), label="firing"))

    @rule(row=present_rows(), data=st.data())
    @precondition(lambda self: self.there_are(Agent, Issue))
    def roll_back(self, row: Any, data: st.DataObject) -> None:
        """A caller's transaction rolls back: nothing happened, in the store or in memory."""
        before, stands = everything(), dict(row.__data__)
        with suppress(_RolledBack), self.store.atomic():
            for _ in range(2):
                offered = triggers(row, legal=not row.status.final, actors=self.actors())
                attempt(row, *data.draw(offered, label="firing"))
            raise _RolledBack
        assert everything() == before, "what was rolled back is in the store"
        assert dict(row.__data__) == stands, f"what was rolled back is in memory: {row!r}"

    @rule()
    @precondition(lambda self: self.target != MEMORY)
    def reopen(self) -> None:
        """The store is closed and opened again, and nothing is lost."""
        before = everything()
        self.store.close()
        self.player.store = self.store = self.open()
        assert everything() == before, "what was closed is not what was opened"

    @rule(issue=present_rows(Issue))
    @precondition(lambda self: self.there_are(Issue))
    def work(self, issue: Issue) -> None:
        """An issue comes on: what it needs next is done to it by who should."""
        free = [agent for agent in self.actors() if isinstance(agent, Agent) and agent.status == AgentStatus.IDLE]
        by = issue.assigned_agent if issue.assigned_agent in self.actors() else MAINTAINER
        if issue.status in (IssueStatus.UNASSIGNED, IssueStatus.QUEUED) and free:
            attempt(issue, "assign", {"agent": free[0], "by": free[0]})
        elif issue.status == IssueStatus.ASSIGNED:
            attempt(issue, "start", {"by": by})
        elif issue.status == IssueStatus.IN_PROGRESS:
            attempt(issue, "complete", {"by": by})
        elif issue.status == IssueStatus.IN_REVIEW:
            attempt(issue, "complete", {"by": MAINTAINER})

    @rule(script=scripts(longest=40))
    def go_far(self, script: list[int]) -> None:
        """Much happens, most of it accepted, so that walks get far."""
        self.player.play(script)

    @rule(
        proposal=present_rows(Proposal),
        agent=present_rows(Agent),
        decision=st.sampled_from(list(VoteDecision)),
        reasoning=words(),
        confidence=st.none() | st.floats(0, 1),
    )
    @precondition(lambda self: self.there_are(Proposal, Agent))
    def vote(
        self, proposal: Proposal, agent: Agent, decision: VoteDecision, reasoning: str, confidence: float | None
    ) -> None:
        """An agent votes."""
        ask(proposal, lambda: proposal.vote(agent, decision, reasoning, confidence=confidence))

    @rule(issue=present_rows(Issue), agent=present_rows(Agent), by=_actors())
    @precondition(lambda self: self.there_are(Issue, Agent))
    def reassign(self, issue: Issue, agent: Agent, by: Actor) -> None:
        """An issue is taken from its agent and given to another."""
        ask(issue, lambda: issue.reassign(agent, by=by, reason=WHY))

    @rule(issue=present_rows(Issue), where=present_rows(Stage, Epic))
    @precondition(lambda self: self.there_are(Issue, Epic))
    def place(self, issue: Issue, where: Any) -> None:
        """An issue gets a place in an epic."""
        ask(issue, lambda: issue.place(where, by=MAINTAINER))

    @rule(row=present_rows())
    @precondition(lambda self: self.there_are(Issue))
    def remove(self, row: Any) -> None:
        """A row is deleted, which is legal for a final one."""
        ask(row, lambda: row.remove(by=MAINTAINER, reason=WHY))

    @rule(agent=present_rows(Agent), start=st.booleans())
    @precondition(lambda self: self.there_are(Agent))
    def claim(self, agent: Agent, start: bool) -> None:
        """An agent asks for work, and says that it lives."""
        ask(agent, lambda: self.store.claim(agent, start=start))
        ask(agent, agent.heartbeat)

    @rule(timeout=st.sampled_from([60, 3600 * 20]), idle_timeout=st.sampled_from([None, 3600 * 20]))
    def upkeep(self, timeout: float, idle_timeout: float | None) -> None:
        """What is due is fired, and agents that send no heartbeats are given up for dead."""
        self.store.tick()
        self.store.rescue(timeout=timeout, idle_timeout=idle_timeout)

    @rule(hours=st.integers(1, 30))
    def time_passes(self, hours: int) -> None:
        """Time passes."""
        self.clock.forward(hours=hours)


def run(machine: type[RuleBasedStateMachine], *, examples: int = 100, steps: int = 50) -> None:
    """Run so many examples of a walk at once, each of so many steps at most; a failing one is raised, shortened.

    Args:
        machine: the class of a walk, or any other state machine of Hypothesis.
        examples: how many walks.
        steps: how long each may get.

    Raises:
        InvalidValue: an argument is wrong.
        AssertionError: something does not hold; the error's notes tell the steps that lead there.
    """
    if not isinstance(machine, type) or not issubclass(machine, RuleBasedStateMachine):
        raise InvalidValue("run(machine): takes a class made of Walk, or another state machine of Hypothesis")
    chosen = settings(
        max_examples=values.positive(examples, "run(examples)"),
        stateful_step_count=values.positive(steps, "run(steps)"),
        deadline=None,
        phases=set(Phase) - {Phase.explain},  # to explain takes as long again, and points into the library
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(machine, settings=chosen)
