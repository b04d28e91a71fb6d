"""Walks: random sequences of all that may happen to a store, with each step checked against the lifecycles."""

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
from dispatch_state.testing.outcomes import attempt, everything, outcome_of
from dispatch_state.testing.scratch import Clock, assert_sound, scratch_target
from dispatch_state.testing.scripts import Player
from dispatch_state.testing.strategies import payloads, present_rows, scripts, triggers, words
from dispatch_state.vocabulary import AgentStatus, IssueStatus, VoteDecision


class StoreMachine(RuleBasedStateMachine):
    """A state machine of Hypothesis with its own open store, which is checked after every step.

    backend: the backend of the store, as in `scratch_store`.
    clock: the clock of the store, which stands still until it is moved.
    store: the open store.
    target: the place of the store, as `open_store` takes it.
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
        """Open the store; called at the start, and again after it was closed."""
        return open_store(self.target, durability="normal", clock=self.clock)

    def there_are(self, *models: type[Stateful]) -> bool:
        """Whether the store has rows of each of these models."""
        return all(model.select().exists() for model in models)

    def teardown(self) -> None:
        """Close the store and delete it."""
        self._held.close()

    @invariant()
    def sound(self) -> None:
        """Check that no invariant of the lifecycles is broken, and that the log explains every status."""
        assert_sound(self.store)


class _RolledBack(Exception):
    """Raised to roll back a transaction of a walk."""


@st.composite
def _actors(draw: DrawFn) -> Actor:
    """An actor of the running walk."""
    walk: Walk = draw(st.runner())
    return draw(st.sampled_from(walk.actors()))


@st.composite
def _firings(draw: DrawFn, legal: bool | None = None) -> tuple[Any, str, dict[str, Any]]:
    """A row of the store, the name of a trigger, and arguments; one of the actors of the running walk acts."""
    walk: Walk = draw(st.runner())
    row = draw(present_rows())
    return row, *draw(triggers(row, legal=None if row.status.final else legal, actors=walk.actors()))


@st.composite
def _new_rows(draw: DrawFn) -> Any:
    """A model, and columns of a new row under rows of the store."""
    model: Any = draw(st.sampled_from([Agent, Issue, *STATEFUL]))
    keys = {}
    for field in model._meta.refs:
        if isinstance(field, ParentField) and field.name in model.set_at_creation():
            parents = present(field.rel_model)
            keys[field.name] = draw(st.sampled_from([None, *parents] if field.null else parents))
    return model, draw(payloads(model, **keys))


class Walk(StoreMachine):
    """A state machine that does to a store whatever may happen to one, in any order; ready to subclass.

    It fires all public triggers, legally and illegally, as several actors, on fresh rows and on stale copies. It also
    creates and removes rows, claims issues, sends heartbeats, votes, lets time pass, closes and opens the store, and
    rolls back transactions. After every step it checks that each refusal was the right one, and that the store is
    sound.

    Subclass it to run your own program among all that, and add what must always be true of it:

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

    Override `furnish` to fill the store, `actors` to choose who acts, and `open` to open the store in another way. Set
    `backend` to "postgresql" to use PostgreSQL.
    """

    copies = Bundle("copies")

    def __init__(self) -> None:
        super().__init__()
        self.player = Player(self.store, self.clock, self.actors)

    # ---- what a subclass may override ------------------------------------------------------------

    def actors(self) -> list[Actor]:
        """The actors that fire triggers: people, components, the agents as a body, and every agent of the store."""
        return everybody()

    def furnish(self) -> None:
        """Fill the empty store with three agents and a started epic; its two stages have an issue and a gate each."""
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
        """Fill the store, and give it a history."""
        self.furnish()
        self.player.play(past)

    @rule(new=_new_rows(), by=st.sampled_from([MAINTAINER, None]))
    @precondition(lambda self: self.there_are(Epic, Stage, Issue, Agent))
    def create(self, new: tuple[Any, dict[str, Any]], by: Actor | None) -> None:
        """Create a row, unless other rows forbid it."""
        model, columns = new
        row = model(**columns)
        outcome_of(row, lambda: row.save() if by is None else row.save(by=by, reason=WHY))

    @rule(firing=_firings())
    @precondition(lambda self: self.there_are(Agent, Issue))
    def fire(self, firing: tuple[Any, str, dict[str, Any]]) -> None:
        """Fire any trigger on any row."""
        attempt(*firing)

    @rule(firing=_firings(legal=True))
    @precondition(lambda self: self.there_are(Agent, Issue))
    def fire_from_here(self, firing: tuple[Any, str, dict[str, Any]]) -> None:
        """Fire a trigger that starts from the status of the row."""
        attempt(*firing)

    @rule(row=present_rows(), target=copies)
    @precondition(lambda self: self.there_are(Issue))
    def keep_a_copy(self, row: Any) -> Any:
        """Read a row and keep the object, which becomes stale when the row moves."""
        return row

    @rule(copy=copies, data=st.data())
    @precondition(lambda self: self.there_are(Agent, Issue))
    def fire_on_a_copy(self, copy: Any, data: st.DataObject) -> None:
        """Fire a trigger on an object that was read some time ago."""
        attempt(copy, *data.draw(triggers(copy, actors=self.actors()), label="firing"))

    @rule(row=present_rows(), data=st.data())
    @precondition(lambda self: self.there_are(Agent, Issue))
    def roll_back(self, row: Any, data: st.DataObject) -> None:
        """Roll back a transaction, and check that nothing has changed, in the store and in memory."""
        before, columns = everything(), dict(row.__data__)
        with suppress(_RolledBack), self.store.atomic():
            for _ in range(2):
                offered = triggers(row, legal=not row.status.final, actors=self.actors())
                attempt(row, *data.draw(offered, label="firing"))
            raise _RolledBack
        assert everything() == before, "the store has changed although the transaction was rolled back"
        assert dict(row.__data__) == columns, (
            f"the object has changed although the transaction was rolled back: {row!r}"
        )

    @rule()
    @precondition(lambda self: self.target != MEMORY)
    def reopen(self) -> None:
        """Close the store and open it again, and check that nothing is lost."""
        before = everything()
        self.store.close()
        self.player.store = self.store = self.open()
        assert everything() == before, "the store has changed while it was closed"

    @rule(issue=present_rows(Issue))
    @precondition(lambda self: self.there_are(Issue))
    def work(self, issue: Issue) -> None:
        """Take an issue one step further in the usual way."""
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
        """Play a script, most steps of which are accepted, so that walks get far."""
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
        """Let an agent vote."""
        outcome_of(proposal, lambda: proposal.vote(agent, decision, reasoning, confidence=confidence))

    @rule(issue=present_rows(Issue), agent=present_rows(Agent), by=_actors())
    @precondition(lambda self: self.there_are(Issue, Agent))
    def reassign(self, issue: Issue, agent: Agent, by: Actor) -> None:
        """Take an issue from its agent and give it to another."""
        outcome_of(issue, lambda: issue.reassign(agent, by=by, reason=WHY))

    @rule(issue=present_rows(Issue), where=present_rows(Stage, Epic))
    @precondition(lambda self: self.there_are(Issue, Epic))
    def place(self, issue: Issue, where: Any) -> None:
        """Give an issue a place in an epic."""
        outcome_of(issue, lambda: issue.place(where, by=MAINTAINER))

    @rule(row=present_rows())
    @precondition(lambda self: self.there_are(Issue))
    def remove(self, row: Any) -> None:
        """Delete a row, which is legal when its status is final."""
        outcome_of(row, lambda: row.remove(by=MAINTAINER, reason=WHY))

    @rule(agent=present_rows(Agent), start=st.booleans())
    @precondition(lambda self: self.there_are(Agent))
    def claim(self, agent: Agent, start: bool) -> None:
        """Let an agent claim an issue and send a heartbeat."""
        outcome_of(agent, lambda: self.store.claim(agent, start=start))
        outcome_of(agent, agent.heartbeat)

    @rule(timeout=st.sampled_from([60, 3600 * 20]), idle_timeout=st.sampled_from([None, 3600 * 20]))
    def maintain(self, timeout: float, idle_timeout: float | None) -> None:
        """Fire what is due, and mark agents as errored that sent no heartbeat."""
        self.store.tick()
        self.store.rescue(timeout=timeout, idle_timeout=idle_timeout)

    @rule(hours=st.integers(1, 30))
    def time_passes(self, hours: int) -> None:
        """Let some hours pass."""
        self.clock.forward(hours=hours)


def run(machine: type[RuleBasedStateMachine], *, examples: int = 100, steps: int = 50) -> None:
    """Run a state machine without a test runner; the first failing example is shortened and raised.

    Args:
        machine: a subclass of `Walk`, or any other state machine of Hypothesis.
        examples: how many examples to run.
        steps: the most steps of an example.

    Raises:
        InvalidValue: an argument is wrong.
        AssertionError: a check failed; the notes of the error list the steps that lead there.
    """
    if not isinstance(machine, type) or not issubclass(machine, RuleBasedStateMachine):
        raise InvalidValue("run(machine): takes a class made of Walk, or another state machine of Hypothesis")
    chosen = settings(
        max_examples=values.positive(examples, "run(examples)"),
        stateful_step_count=values.positive(steps, "run(steps)"),
        deadline=None,
        phases=set(Phase) - {Phase.explain},  # which takes as long again, and points into the library
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(machine, settings=chosen)
