"""A whole life of an issue, and a whole vote."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from uuid import UUID

from benchmarks.measure import Call, at_most
from benchmarks.report import Line, compared
from benchmarks.scenes import COLUMNS, MAINTAINER, agents
from benchmarks.twins import OURS, RAW, Session, race
from dispatch_state import Agent, Issue, Proposal, Store
from dispatch_state.vocabulary import AgentType


def one_agent(store: Store, count: int) -> list[UUID]:
    """An agent."""
    return agents(1)


def lives(store: Store, made: list[UUID]) -> Iterator[Call]:
    """Issue after issue, from its creation until it is done."""
    coder = Agent.get_by_id(made[0])

    def one_life() -> None:
        issue = Issue.create(**COLUMNS, repo_path="/src")
        issue.queue(by=MAINTAINER)
        claimed = store.claim(coder)
        assert claimed == issue
        claimed.start(by=coder)
        claimed.submit(by=coder)
        claimed.review(by=MAINTAINER)
        claimed.complete(by=MAINTAINER)

    while True:
        yield one_life


def life(session: Session) -> Iterator[Line]:
    """Create, queue, claim, start, submit, review, done."""
    rounds = race(session, one_agent, lives, 8)
    yield from compared("a whole issue life", rounds, (OURS, RAW, at_most(1.35)))


def open_proposals(store: Store, count: int) -> tuple[list[UUID], list[UUID]]:
    """Proposals that take a vote of every type of agent, and an agent of each."""
    voters = [agents(1, kind)[0] for kind in AgentType]
    proposals = [_proposal(voters[0]).id for _ in range(count)]
    return proposals, voters


def _proposal(proposer: UUID) -> Proposal:
    return Proposal.create(
        proposal_type="tech_stack_choice",
        proposer=proposer,
        title="A title",
        description="What it is about",
        rationale="It is simpler",
        options=["peewee", "raw sql"],
        threshold="super_majority",
        required_voters=list(AgentType),
    )


def ballots(store: Store, made: tuple[list[UUID], list[UUID]]) -> Iterator[Call]:
    """Every agent votes for a proposal; the last vote decides it."""
    voters = [Agent.get_by_id(key) for key in made[1]]

    def decide(proposal: Proposal) -> None:
        for voter in voters:
            proposal.vote(voter, "approve", "It is simpler.", confidence=0.9, preferred_option="peewee")

    for key in made[0]:
        yield partial(decide, Proposal.get_by_id(key))


def votes(session: Session) -> Iterator[Line]:
    """Seven votes to a decision."""
    rounds = race(session, open_proposals, ballots, 8)
    yield from compared("seven votes to a decision", rounds, (OURS, RAW, at_most(1.35)))
