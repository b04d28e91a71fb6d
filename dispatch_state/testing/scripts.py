"""Scripts: numbers that choose what happens next, the same in every store in which the same has happened.

A script goes far in few draws, and can be cut short, played again, and played on another database.
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
from dispatch_state.testing.outcomes import Outcome, ask, attempt
from dispatch_state.testing.scratch import Clock

STEPS = {"move": 70, "birth": 20, "vote": 8, "stray": 6, "upkeep": 3, "wait": 2, "place": 1, "reassign": 1, "remove": 1}
"""What a number may mean, and how often it does."""
BIRTHS = {"agent": 4, "issue": 4, "free_issue": 4, "proposal": 4, "gate": 3, "request": 2, "stage": 1, "epic": 1}
ENDING = ("cancel", "skip", "stop", "fail", "merge", "force_approve", "force_reject", "veto", "roll_back")
"""Triggers after which less can happen; they wait until they are due more often than not."""
TRIES = 6


class Player:
    """Plays scripts in the open store.

    Args:
        store: the open store.
        clock: the store's clock.
        actors: says who may act.
    """

    def __init__(self, store: Store, clock: Clock, actors: Callable[[], Sequence[Actor]] = everybody) -> None:
        self.store = store
        self.clock = clock
        self.actors = actors
        self.world = World()
        self.made: Counter[tuple[type[Any], str]] = Counter()

    def play(self, script: Iterable[int]) -> list[Any]:
        """Take one step for each number; returns what came of each: moves, a refusal, or None for nothing to do."""
        return [self.step(Random(number)) for number in script]  # noqa: S311 - it is to be repeatable

    def step(self, chance: Random) -> Any:
        """Do one thing that chance says; returns what came of it."""
        return getattr(self, chance.choices(list(STEPS), list(STEPS.values()))[0])(chance)

    def one(self, chance: Random, *models: type[Any]) -> Any:
        """A row of the store, read afresh; None when there is none."""
        there = present(*models)
        return chance.choice(there) if there else None

    # ---- moves -----------------------------------------------------------------------------------

    def move(self, chance: Random) -> Outcome | None:
        """Fire a trigger that is accepted, one that was seldom fired if there is a choice."""
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

    def stray(self, chance: Random) -> Outcome | None:
        """Fire any trigger on any row, whether that is legal or not."""
        row = self.one(chance, *STATEFUL)
        trigger = chance.choice(list(row.machine.triggers)) if row else ""
        offered = choices(row, trigger, self.actors()) if row else {}
        return attempt(row, trigger, _chosen(chance, offered)) if row and all(offered.values()) else None

    # ---- births ----------------------------------------------------------------------------------

    def birth(self, chance: Random) -> Any:
        """Make a row of some kind, as a child of others that are there."""
        kind = chance.choices(list(BIRTHS), list(BIRTHS.values()))[0]
        return getattr(self, f"new_{kind}")(chance)

    def new_agent(self, chance: Random) -> Agent:
        """An agent; most are coders, reviewers and project managers."""
        return self.world.agent(chance.choice([*list(AgentType)[:3] * 3, *AgentType]))

    def new_epic(self, chance: Random) -> Epic:
        """An epic in draft, with a stage and an issue."""
        epic = self.world.new_epic()
        epic.add_stage("only").add_issue(**self.world.issue_columns())
        return epic

    def new_stage(self, chance: Random) -> Any:
        """A stage at the end of an epic."""
        epic = self.one(chance, Epic)
        return epic and ask(epic, lambda: epic.add_stage("late"))

    def new_gate(self, chance: Random) -> Any:
        """A gate of one kind or another."""
        stage = self.one(chance, Stage)
        columns: dict[str, Any] = chance.choice(
            [
                {"gate_type": "review", "required_approvers": chance.choice([None, ["ada"], "any"])},
                {"gate_type": "checkpoint", "auto_approve_at": self.clock.now},
                {"gate_type": "decision", "options": ["a", "b"]},
            ]
        )
        return stage and ask(stage, lambda: Gate.create(stage=stage, description="look", **columns))

    def new_issue(self, chance: Random) -> Any:
        """An issue in a stage or an epic."""
        where = self.one(chance, Stage, Epic)
        return where and ask(where, lambda: where.add_issue(**self.world.issue_columns()))

    def new_free_issue(self, chance: Random) -> Issue:
        """An issue of no epic."""
        return self.world.new_issue(agent_type=chance.choice([None, "coder", "reviewer"]))

    def new_request(self, chance: Random) -> Any:
        """A pull request for an issue."""
        issue = self.one(chance, Issue)
        columns = self.world.request_columns(status=chance.choice(["open", "draft"]))
        return issue and ask(issue, lambda: PullRequest.create(issue=issue, **columns))

    def new_proposal(self, chance: Random) -> Proposal | None:
        """A proposal of an agent."""
        agent = self.one(chance, Agent)
        voters = chance.choice([["coder"], ["coder", "reviewer"], ["coder", "pm"]])
        columns = {"required_voters": voters, "threshold": chance.choice(list(Threshold))}
        return agent and self.world.new_proposal(agent, **columns)

    # ---- what else happens -----------------------------------------------------------------------

    def vote(self, chance: Random) -> Any:
        """An agent votes on a proposal, an undecided one if there is one."""
        proposals, voter = present(Proposal), self.one(chance, Agent)
        undecided = [p for p in proposals if p.status in Proposal.UNDECIDED] or proposals
        if not undecided or voter is None:
            return None
        proposal, decision = chance.choice(undecided), chance.choice(list(VoteDecision))
        preferred = chance.choice([None, *proposal.option_names()])
        return ask(proposal, lambda: proposal.vote(voter, decision, WHY, preferred_option=preferred))

    def upkeep(self, chance: Random) -> Any:
        """What a runner does beside: a claim, ticks, the rescue of agents that do not beat."""
        agent = self.one(chance, Agent)
        claimed = agent and ask(agent, lambda: self.store.claim(agent))
        return [claimed, self.store.tick(), self.store.rescue(timeout=20 * 3600)]

    def wait(self, chance: Random) -> None:
        """Time passes."""
        self.clock.forward(hours=chance.randint(1, 30))

    def place(self, chance: Random) -> Any:
        """Give an issue a place in an epic."""
        issue, where = self.one(chance, Issue), self.one(chance, Stage, Epic)
        return issue and where and ask(issue, lambda: issue.place(where, by=MAINTAINER))

    def reassign(self, chance: Random) -> Any:
        """Take an issue from its agent and give it to another."""
        issue, agent = self.one(chance, Issue), self.one(chance, Agent)
        return issue and agent and ask(issue, lambda: issue.reassign(agent, by=MAINTAINER, reason=WHY))

    def remove(self, chance: Random) -> Any:
        """Delete a row, which is legal for a final one."""
        row = self.one(chance, *STATEFUL)
        return row and ask(row, lambda: row.remove(by=MAINTAINER, reason=WHY))


def _chosen(chance: Random, offered: dict[str, list[Any]]) -> dict[str, Any]:
    """One of what is offered for each argument; half the time the row's own agent acts."""
    given = {name: chance.choice(values) for name, values in offered.items()}
    return {**given, "by": offered["by"][0]} if chance.random() < 0.5 else given
