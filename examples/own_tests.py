"""A runner of forty lines, and its tests with the testing kit.

    python examples/own_tests.py               tests the runner below
    python examples/own_tests.py --planted     tests it with a bug, and prints the steps that lead to the bug
    pytest examples/own_tests.py               tests the runner as your test suite would

To test your own runner, copy this file, replace the runner, and change what must be true of it.
"""

import argparse
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from dispatch_state import (
    Actor,
    Agent,
    DispatchError,
    GuardRefused,
    Human,
    IllegalTransition,
    Issue,
    IssueStatus,
    RowNotFound,
    StaleRow,
    Store,
    TransitionLog,
)
from dispatch_state.testing.outcomes import attempt
from dispatch_state.testing.scratch import assert_sound, scratch_store
from dispatch_state.testing.strategies import payloads, rows, triggers
from dispatch_state.testing.walks import Walk, run

# ---- the runner ---------------------------------------------------------------------------------------


class Runner:
    """Works on one issue after the other, step by step; others may take the issue away between two steps."""

    refused: tuple[type[DispatchError], ...] = (StaleRow, IllegalTransition, GuardRefused, RowNotFound)

    def __init__(self, store: Store, agent: Agent, work: Callable[[Issue], None]) -> None:
        self.store, self.agent, self.work = store, agent, work
        self.issue: Issue | None = None

    def step(self) -> None:
        """Do what comes next, whatever others have done in the meantime."""
        try:
            self.carry_on(self.agent.reload().status)
        except self.refused:  # somebody was faster: read again at the next step
            self.issue = None

    def carry_on(self, status: str) -> None:
        """Recover from a failure, claim an issue, or work on it."""
        if status == "errored":
            self.agent.recover(by=self.agent)
        elif status in ("paused", "completed"):
            self.issue = None
        elif self.issue is None:
            self.issue = self.store.claim(self.agent, start=True)
        else:
            self.work_on(self.issue)

    def work_on(self, issue: Issue) -> None:
        """Work on the issue, and record how that ended."""
        self.agent.heartbeat()
        self.issue = None
        try:
            self.work(issue)
        except Exception as error:
            self.agent.fail(f"{type(error).__name__}: {error}", by=self.agent)
        else:
            issue.complete(by=self.agent)


class Planted(Runner):
    """The runner with a bug: it does not expect others to move its issue while it has the row object."""

    refused = (IllegalTransition, GuardRefused, RowNotFound)


# ---- what must be true of it --------------------------------------------------------------------------


def succeeds(issue: Issue) -> None:
    """Work that succeeds."""


def breaks(issue: Issue) -> None:
    """Work that fails."""
    raise OSError("the disk is full")


@settings(deadline=None, max_examples=20)
@given(payload=payloads(Issue, agent_type=None), work=st.sampled_from([succeeds, breaks]))
def test_every_issue_is_done_or_blocked(payload: dict[str, Any], work: Callable[[Issue], None]) -> None:
    """Every issue is done, or blocked after three failed attempts, whatever its columns hold."""
    with scratch_store("memory") as store:
        issue = Issue.create(**payload)
        issue.queue(by=Human("maintainer"))
        runner = Runner(store, Agent.create(agent_type="coder"), work)
        for _ in range(15):
            runner.step()
        assert issue.reload().status == ("blocked" if work is breaks else "done")
        assert_sound(store)


@settings(deadline=None, max_examples=20)
@given(data=st.data())
def test_it_can_take_over_any_agent(data: st.DataObject) -> None:
    """The runner works with an agent in any status, and never holds an issue of another agent."""
    with scratch_store("memory") as store:
        runner = Runner(store, data.draw(rows(Agent)), breaks)
        data.draw(rows(Issue, status="queued"))
        for _ in range(5):
            runner.step()
            assert runner.issue is None or runner.issue.assigned_agent == runner.agent
        assert_sound(store)


class RunnerWalk(Walk):
    """The runner, among everything else that may happen to a store."""

    backend = "memory"
    runner_class = Runner

    def furnish(self) -> None:
        """Fill the store as in any walk, and add issues, the runner and its agent."""
        super().furnish()
        for _ in range(4):
            self.world.issues("queued")
        self.worked_on: set[UUID] = set()
        self.goes_well = True
        self.runner = self.runner_class(self.store, self.world.agent("coder"), self.carry_out)
        self.runner.step()

    def actors(self) -> list[Actor]:
        """All actors except the agent of the runner: only the runner acts as that one."""
        return [actor for actor in super().actors() if actor != self.runner.agent]

    def carry_out(self, issue: Issue) -> None:
        """Do the work: remember the issue, and succeed or fail."""
        self.worked_on.add(issue.id)
        if not self.goes_well:
            breaks(issue)

    @rule(steps=st.lists(st.booleans(), min_size=1, max_size=3))
    def the_runner_goes_on(self, steps: list[bool]) -> None:
        """Take steps, which must not raise, whether the work succeeds or fails, and whatever others did."""
        for self.goes_well in steps:
            self.runner.step()

    def held(self) -> Issue | None:
        """The issue of the runner, read afresh; None when it has none, or one that is final."""
        key = self.runner.issue.id if self.runner.issue else None
        return Issue.get_or_none(Issue.id == key, Issue.status.in_(IssueStatus.live()))

    @rule(data=st.data())
    @precondition(lambda self: self.held() is not None)
    def somebody_interferes(self, data: st.DataObject) -> None:
        """Move the issue of the runner as somebody else."""
        issue: Any = self.held()
        attempt(issue, *data.draw(triggers(issue, legal=True, actors=self.actors()), label="interference"))

    @invariant()
    def it_hands_in_only_what_it_worked_on(self) -> None:
        """Check that the agent of the runner completed only issues that the runner worked on."""
        log = TransitionLog.select().where(TransitionLog.entity == "issues", TransitionLog.trigger == "complete")
        handed_in = {move.entity_id for move in log if move.actor == self.runner.agent.actor}
        assert handed_in <= self.worked_on


class PlantedWalk(RunnerWalk):
    """The same walk with the runner that has a bug."""

    runner_class = Planted


TestRunner = RunnerWalk.TestCase
TestRunner.settings = settings(deadline=None, max_examples=20, stateful_step_count=30)


def main() -> int:
    """Run the tests, or show how the kit finds the bug; returns the exit code."""
    parser = argparse.ArgumentParser(description="Test a runner of forty lines with the testing kit.")
    parser.add_argument("--planted", action="store_true", help="test the runner that has a bug")
    parser.add_argument("--examples", type=int, default=20, help="how many walks (default: %(default)s)")
    given = parser.parse_args()
    began = time.monotonic()
    try:
        if given.planted:
            run(PlantedWalk, examples=1_000, steps=30)
        else:
            test_every_issue_is_done_or_blocked()
            test_it_can_take_over_any_agent()
            run(RunnerWalk, examples=given.examples, steps=30)
    except Exception as found:
        print("".join(traceback.format_exception_only(found)))
        print(f"found after {time.monotonic() - began:.0f} seconds, and shortened")
        return 0 if given.planted and isinstance(found, StaleRow) else 1
    print(f"nothing found after {time.monotonic() - began:.0f} seconds")
    return int(given.planted)


if __name__ == "__main__":
    sys.exit(main())
