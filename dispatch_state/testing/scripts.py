"""Scripts: lists of numbers, each of which chooses what happens next in a store.

The same script does the same in two stores with the same history, so it can be shortened, replayed, and played on the
other database.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import Any

from dispatch_state import (
    Actor,
    Agent,
    AgentType,
    Epic,
    Gate,
    Issue,
    Proposal,
    PullRequest,
    Stage,
    Store,
    Threshold,
    VoteDecision,
)
from dispatch_state.models.tables import STATEFUL
from dispatch_state.testing.choices import choices, everybody, present
from dispatch_state.testing.factories import MAINTAINER, WHY, World
from dispatch_state.testing.outcomes import Outcome, attempt, outcome_of
from dispatch_state.testing.scratch import Clock

STEPS = {
    "move": 70,
    "create": 20,
    "vote": 8,
    "fire_anything": 6,
    "maintain": 3,
    "wait": 2,
    "place": 1,
    "reassign": 1,
    "remove": 1,
}
"""The methods of `Player` that a number may choose, with their weights."""
NEW_ROWS = {"agent": 4, "issue": 4, "free_issue": 4, "proposal": 4, "gate": 3, "request": 2, "stage": 1, "epic": 1}
"""The kinds of rows that `Player.create` makes, with their weights."""
USUAL_TYPES = (AgentType.CODER, AgentType.REVIEWER, AgentType.PM)
"""The types that most agents have."""
ENDING = ("cancel", "skip", "stop", "fail", "merge", "force_approve", "force_reject", "veto", "roll_back")
"""Triggers after which less can happen; most of the time they are passed over."""
TRIES = 6
"""How many times arguments are drawn for a trigger until one is accepted."""


class Player:
    """Plays scripts in the open store.

    Args:
        store: the open store.
        clock: the clock of the store.
        actors: returns who may act.
    """

    def __init__(self, store: Store, clock: Clock, actors: Callable[[], Sequence[Actor]] = everybody) -> None:
        self.store = store
        self.clock = clock
        self.actors = actors
        self.world = World()
        self.made: Counter[tuple[type[Any], str]] = Counter()

    def play(self, script: Iterable[int]) -> list[Any]:
        """Take a step for each number; returns their outcomes: moves, an error, or None when nothing could be done."""
        return [self.step(Random(number)) for number in script]  # noqa: S311 - a script must be repeatable

    def step(self, chance: Random) -> Any:
        """Do one thing, chosen by chance; returns its outcome."""
        return getattr(self, chance.choices(list(STEPS), list(STEPS.values()))[0])(chance)

    def one(self, chance: Random, *models: type[Any]) -> Any:
        """A row of these models, read afresh; None when the store has none."""
        found = present(*models)
        return chance.choice(found) if found else None

    # ---- moves -----------------------------------------------------------------------------------

    def move(self, chance: Random) -> Outcome | None:
        """Fire a trigger that is accepted; those that were fired less often come first."""
        ways = [(row, trigger) for row in present(*STATEFUL) for trigger in row.legal_triggers()]
        chance.shuffle(ways)
        everyone = self.actors()
        for row, trigger in sorted(ways, key=lambda way: self.made[type(way[0]), way[1]] * chance.random()):
            if trigger in ENDING and chance.random() < 0.95:
                continue
            offered = choices(row, trigger, everyone)
            for _ in range(TRIES if all(offered.values()) else 0):
                arguments = _chosen(chance, offered)
                if row.may(trigger, **arguments):
                    self.made[type(row), trigger] += 1
                    return attempt(row, trigger, arguments)
        return None

    def fire_anything(self, chance: Random) -> Outcome | None:
        """Fire any trigger on any row, legal or not."""
        row = self.one(chance, *STATEFUL)
        trigger = chance.choice(list(row.machine.triggers)) if row else ""
        offered = choices(row, trigger, self.actors()) if row else {}
        return attempt(row, trigger, _chosen(chance, offered)) if row and all(offered.values()) else None

    # ---- new rows --------------------------------------------------------------------------------

    def create(self, chance: Random) -> Any:
        """Create a row of some kind, under rows of the store."""
        kind = chance.choices(list(NEW_ROWS), list(NEW_ROWS.values()))[0]
        return getattr(self, f"new_{kind}")(chance)

    def new_agent(self, chance: Random) -> Agent:
        """An agent, most often of a usual type."""
        return self.world.agent(chance.choice([*USUAL_TYPES * 3, *AgentType]))

    def new_epic(self, chance: Random) -> Epic:
        """An epic in draft, with a stage and an issue."""
        epic = self.world.new_epic()
        epic.add_stage("only").add_issue(**self.world.issue_columns())
        return epic

    def new_stage(self, chance: Random) -> Any:
        """A stage at the end of an epic."""
        epic = self.one(chance, Epic)
        return epic and outcome_of(epic, lambda: epic.add_stage("late"))

    def new_gate(self, chance: Random) -> Any:
        """A gate of some type."""
        stage = self.one(chance, Stage)
        columns: dict[str, Any] = chance.choice(
            [
                {"gate_type": "review", "required_approvers": chance.choice([None, ["ada"], "any"])},
                {"gate_type": "checkpoint", "auto_approve_at": self.clock.now},
                {"gate_type": "decision", "options": ["a", "b"]},
            ]
        )
        return stage and outcome_of(stage, lambda: Gate.create(stage=stage, description="look", **columns))

    def new_issue(self, chance: Random) -> Any:
        """An issue in a stage or an epic."""
        where = self.one(chance, Stage, Epic)
        return where and outcome_of(where, lambda: where.add_issue(**self.world.issue_columns()))

    def new_free_issue(self, chance: Random) -> Issue:
        """An issue of no epic."""
        return self.world.new_issue(agent_type=chance.choice([None, "coder", "reviewer"]))

    def new_request(self, chance: Random) -> Any:
        """A pull request for an issue."""
        issue = self.one(chance, Issue)
        columns = self.world.request_columns(status=chance.choice(["open", "draft"]))
        return issue and outcome_of(issue, lambda: PullRequest.create(issue=issue, **columns))

    def new_proposal(self, chance: Random) -> Proposal | None:
        """A proposal of an agent."""
        agent = self.one(chance, Agent)
        voters = chance.choice([["coder"], ["coder", "reviewer"], ["coder", "pm"]])
        columns = {"required_voters": voters, "threshold": chance.choice(list(Threshold))}
        return agent and self.world.new_proposal(agent, **columns)

    # ---- other events ----------------------------------------------------------------------------

    def vote(self, chance: Random) -> Any:
        """An agent votes on a proposal, on an undecided one if there is one."""
        proposals, voter = present(Proposal), self.one(chance, Agent)
        undecided = [p for p in proposals if p.status in Proposal.UNDECIDED] or proposals
        if not undecided or voter is None:
            return None
        proposal, decision = chance.choice(undecided), chance.choice(list(VoteDecision))
        preferred = chance.choice([None, *proposal.option_names()])
        return outcome_of(proposal, lambda: proposal.vote(voter, decision, WHY, preferred_option=preferred))

    def maintain(self, chance: Random) -> Any:
        """Do what a runner does regularly: claim an issue, tick, and rescue agents without a heartbeat."""
        agent = self.one(chance, Agent)
        claimed = agent and outcome_of(agent, lambda: self.store.claim(agent))
        return [claimed, self.store.tick(), self.store.rescue(timeout=20 * 3600)]

    def wait(self, chance: Random) -> None:
        """Let some hours pass."""
        self.clock.forward(hours=chance.randint(1, 30))

    def place(self, chance: Random) -> Any:
        """Give an issue a place in an epic."""
        issue, where = self.one(chance, Issue), self.one(chance, Stage, Epic)
        return issue and where and outcome_of(issue, lambda: issue.place(where, by=MAINTAINER))

    def reassign(self, chance: Random) -> Any:
        """Take an issue from its agent and give it to another."""
        issue, agent = self.one(chance, Issue), self.one(chance, Agent)
        return issue and agent and outcome_of(issue, lambda: issue.reassign(agent, by=MAINTAINER, reason=WHY))

    def remove(self, chance: Random) -> Any:
        """Delete a row, which is legal when its status is final."""
        row = self.one(chance, *STATEFUL)
        return row and outcome_of(row, lambda: row.remove(by=MAINTAINER, reason=WHY))


def _chosen(chance: Random, offered: dict[str, list[Any]]) -> dict[str, Any]:
    """Choose a value for each argument; half the time the agent of the row acts."""
    given = {name: chance.choice(values) for name, values in offered.items()}
    return {**given, "by": offered["by"][0]} if chance.random() < 0.5 else given
