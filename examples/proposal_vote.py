"""Three agents choose between two options, and a person vetoes their decision.

    python examples/proposal_vote.py [DATABASE]

A coder proposes where to store sessions. The architect first asks for more information and then changes its vote, which
decides the proposal; a person vetoes the execution. The program prints the record: the votes, the tally, and the
decisions with those who are responsible for them.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from dispatch_state import Agent, AgentLog, Decision, Human, Proposal, System, open_store


def propose(proposer: Agent) -> Proposal:
    return Proposal.create(
        proposal_type="architecture_decision",
        proposer=proposer,
        title="Where sessions live",
        description="Sessions must survive a restart and be revocable.",
        rationale="The login cannot be built before this is known.",
        options=["sqlite", "redis"],
        by=proposer,
    )


def vote(proposal: Proposal, coder: Agent, architect: Agent, security: Agent) -> None:
    print(f"Required: {', '.join(proposal.required_voters or [])}; threshold: {proposal.threshold}")
    proposal.vote(coder, "approve", "One file less to operate.", confidence=0.8, preferred_option="sqlite")
    proposal.vote(architect, "need_more_info", "How many logins a second?")
    proposal.vote(security, "approve", "Either can be revoked.", preferred_option="redis")
    count = proposal.tally()
    print(f"So far {count.standing}: {count.approve_weight} for, {count.reject_weight} against, "
          f"{len(count.requesters)} asking for more")  # fmt: skip
    proposal.vote(architect, "approve", "Two a second: sqlite is plenty.", confidence=1, preferred_option="sqlite")


def print_record(proposal: Proposal) -> None:
    for decision in Decision.select().order_by(Decision.created_at, Decision.id):
        outcome = decision.outcome
        print(f"\n{decision.decision_type}, by {decision.decided_by}: {outcome['action']}")
        if "votes" in outcome:
            print(f"  {outcome['approve_weight']} for, {outcome['reject_weight']} against, cause: {outcome['cause']}")
            for cast in outcome["votes"]:
                preferred = cast.get("preferred_option")
                print(f"  {cast['voter_type']}: {cast['decision']}, for {preferred}: {cast['reasoning']}")
            print(f"  chosen: {outcome['chosen_option']}{' (tied)' if outcome['tied'] else ''}")
        elif outcome["reason"]:
            print(f"  {outcome['reason']}")
    for line in AgentLog.select():
        replaced = (line.context or {})["replaced_vote"]
        print(f"\n{line.agent.agent_type} {line.message}; before: {replaced['decision']}, {replaced['reasoning']}")
    print(f"\n“{proposal.title}” is {proposal.reload().status}")


def main(database: str) -> None:
    with open_store(database) as store:
        coder, architect, security = (Agent.create(agent_type=kind) for kind in ("coder", "architect", "security"))
        proposal = propose(coder)
        vote(proposal, coder, architect, security)
        proposal.begin_execution(by=System("runner"))
        proposal.veto(by=Human("maintainer"), reason="We already run redis for the queue.")
        print_record(proposal)
        print("\nEvery move:")
        for move in store.history(proposal):
            print(f"  {move.source or '-'} -> {move.dest}: {move.trigger} by {move.actor}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else str(Path(tempfile.mkdtemp()) / "dispatch.db"))
