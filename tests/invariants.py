"""The invariants of the contract, asked of a small store by reading all of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from dispatch_state import Agent, Decision, Epic, Gate, Issue, Proposal, PullRequest, Stage, Store, TransitionLog, Vote
from tests import grids
from tests.world import MODELS

BUSY = {"starting", "working", "waiting_for_input", "waiting_for_vote", "paused"}
CLOSED = {"approved", "skipped"}
RUNNING = {"in_progress", "awaiting_gate"}


def broken(store: Store) -> list[str]:
    """What breaks an invariant; empty when the store is sound."""
    return [f"{name}: {what}" for name, check in CHECKS.items() for what in check(Rows())]


class Rows:
    """All rows, and how they hang together."""

    def __init__(self) -> None:
        self.epics = list(Epic.select())
        self.stages = defaultdict(list)
        for stage in Stage.select().order_by(Stage.stage_order):
            self.stages[stage.epic_id].append(stage)
        self.gates = defaultdict(list)
        for gate in Gate.select():
            self.gates[gate.stage_id].append(gate)
        self.issues = list(Issue.select())
        self.agents = {agent.id: agent for agent in Agent.select()}
        self.log = list(TransitionLog.select().order_by(TransitionLog.seq))
        self.decisions = list(Decision.select())

    def live(self, **where: Any) -> list[Issue]:
        found = [i for i in self.issues if i.status not in ("done", "cancelled")]
        return [i for i in found if all(getattr(i, name) == value for name, value in where.items())]


def i1(rows: Rows) -> Iterator[str]:
    for epic in rows.epics:
        waiting = [s for s in rows.stages[epic.id] if s.status == "awaiting_gate"]
        signs = {epic.status == "awaiting_gate", epic.blocked_at_gate_id is not None, bool(waiting)}
        if len(signs) > 1:
            yield f"{epic!r} blocked at {epic.blocked_at_gate_id}, waiting {waiting}"
        elif waiting:
            gate = next((g for g in rows.gates[waiting[0].id] if g.id == epic.blocked_at_gate_id), None)
            if gate is None or gate.status != "pending" or epic.current_stage_id != waiting[0].id:
                yield f"{epic!r} is blocked at {gate!r}"


def i2(rows: Rows) -> Iterator[str]:
    for epic in rows.epics:
        stages = rows.stages[epic.id]
        running = [s for s in stages if s.status in RUNNING]
        if len(running) > 1 or (running and epic.status not in RUNNING):
            yield f"{epic!r} runs {running}"
        if running:
            at = stages.index(running[0])
            if epic.current_stage_id != running[0].id:
                yield f"{epic!r} current stage {epic.current_stage_id}"
            if any(s.status not in CLOSED for s in stages[:at]):
                yield f"{epic!r}: {stages[:at]} before {running[0]}"
            if any(s.status not in ("pending", "skipped") for s in stages[at + 1 :]):
                yield f"{epic!r}: {stages[at + 1 :]} after {running[0]}"
        if len({s.stage_order for s in stages}) != len(stages):
            yield f"{epic!r}: stage_order repeated"


def i3(rows: Rows) -> Iterator[str]:
    for epic in rows.epics:
        live = rows.live(epic_id=epic.id)
        open_stages = [s for s in rows.stages[epic.id] if s.status not in CLOSED]
        open_gates = [g for s in rows.stages[epic.id] for g in rows.gates[s.id] if g.status in ("pending", "rejected")]
        if epic.status == "completed" and (live or open_stages):
            yield f"{epic!r}: {live} {open_stages}"
        if epic.status == "cancelled" and (live or open_stages or open_gates):
            yield f"{epic!r}: {live} {open_stages} {open_gates}"
        if epic.status == "in_progress" and not live and not open_stages:
            yield f"{epic!r} has nothing left to do"


def i4(rows: Rows) -> Iterator[str]:
    ends = [(e, e.completed_at, e.status == "completed") for e in rows.epics]
    ends += [(i, i.completed_at, i.status == "done") for i in rows.issues]
    ends += [(a, a.completed_at, a.status == "completed") for a in rows.agents.values()]
    ends += [(s, s.completed_at, s.status in CLOSED) for stages in rows.stages.values() for s in stages]
    ends += [(p, p.merged_at, p.status == "merged") for p in PullRequest.select()]
    ends += [(g, g.approved_at, g.status == "approved") for gates in rows.gates.values() for g in gates]
    yield from (f"{row!r}: {stamp}" for row, stamp, ended in ends if (stamp is not None) != ended)


def i5(rows: Rows) -> Iterator[str]:
    for stages in rows.stages.values():
        for stage in stages:
            states = {g.status for g in rows.gates[stage.id]}
            if stage.status in CLOSED and (states & {"pending", "rejected"} or rows.live(stage_id=stage.id)):
                yield f"{stage!r}: {states} {rows.live(stage_id=stage.id)}"
            if stage.status == "awaiting_gate" and ("rejected" in states or "pending" not in states):
                yield f"{stage!r}: {states}"
            if stage.status == "pending":
                yield from (
                    f"{i!r} in {stage!r}"
                    for i in rows.live(stage_id=stage.id)
                    if i.status in ("assigned", "in_progress")
                )


def i6(rows: Rows) -> Iterator[str]:
    epic_of = {s.id: s.epic_id for stages in rows.stages.values() for s in stages}
    for issue in rows.issues:
        agent = rows.agents.get(issue.assigned_agent_id)
        if issue.status in ("assigned", "in_progress"):
            if agent is None or agent.current_issue_id != issue.id or agent.status not in BUSY:
                yield f"{issue!r} assigned to {agent!r}"
        if issue.status in ("unassigned", "queued") and issue.assigned_agent_id is not None:
            yield f"{issue!r} assigned to {agent!r}"
        if issue.stage_id is not None and epic_of[issue.stage_id] != issue.epic_id:
            yield f"{issue!r}: stage of another epic"


def i7_i8(rows: Rows) -> Iterator[str]:
    by_id = {i.id: i for i in rows.issues}
    under_way = [i.assigned_agent_id for i in rows.issues if i.status in ("assigned", "in_progress")]
    for agent in rows.agents.values():
        if (agent.status in BUSY) != (agent.current_issue_id is not None):
            yield f"{agent!r} holds {agent.current_issue_id}"
        held = by_id.get(agent.current_issue_id)
        if held is not None and (
            held not in rows.live() or (held.assigned_agent_id != agent.id and held.status != "in_review")
        ):
            yield f"{agent!r} holds {held!r}"
        if under_way.count(agent.id) > 1:
            yield f"{agent!r} has several issues"


def i9_i10(rows: Rows) -> Iterator[str]:
    actions = defaultdict(list)
    for decision in rows.decisions:
        actions[decision.proposal_id].append((decision.decision_type, decision.outcome["action"]))
    for p in Proposal.select():
        forced = [a for a in actions[p.id] if a[0] == "human_override" and a[1] in ("force_approve", "force_reject")]
        vetoed = [a for a in actions[p.id] if a[0] == "human_veto"]
        if (p.status not in ("open", "voting")) != (p.resolved_at is not None):
            yield f"{p!r}: {p.resolved_at}"
        if len(forced) != (p.forced_by is not None) or len(vetoed) != (p.vetoed_by is not None):
            yield f"{p!r}: {actions[p.id]}"
        if (p.vetoed_by is not None) != (p.status == "vetoed"):
            yield f"{p!r}: vetoed by {p.vetoed_by}"
        votes = list(Vote.select().where(Vote.proposal == p))
        if any(v.voter_type not in p.required_voters for v in votes) or len({v.voter_id for v in votes}) != len(votes):
            yield f"{p!r}: {votes}"


def i11(rows: Rows) -> Iterator[str]:
    moves = [m for m in rows.log if m.entity == "gates" and m.trigger in ("approve", "auto_approve", "reject")]
    named = sorted(str(m.decision_id) for m in moves)
    decided = sorted(str(d.id) for d in rows.decisions if d.decision_type in ("gate_approved", "gate_rejected"))
    if named != decided:
        yield f"{named} {decided}"
    kinds = {d.id: d.decision_type for d in rows.decisions}
    for move in rows.log:
        if move.decision_id is not None and move.decision_id not in kinds:
            yield f"{move} names a decision that is not there"
        wanted = grids.DECIDES.get((move.entity, move.trigger))
        if wanted and move.cause_seq is None:
            due = wanted[1] == "always" or move.actor.startswith("human:")
            if due != (move.decision_id is not None) or (due and kinds[move.decision_id] != wanted[0]):
                yield f"{move}: decision {move.decision_id}"
        elif move.decision_id is not None:
            yield f"{move} wrote a decision"


def i12(rows: Rows) -> Iterator[str]:
    """The log folds to the tables, each move an edge of the grids, each cause earlier than what follows."""
    stands: dict[Any, tuple[str | None, int]] = {}
    for move in rows.log:
        status, version = stands.get(move.entity_id, (None, 0))
        if move.trigger == "remove":
            legal = move.dest is None and move.source == status
        elif move.trigger == "create":
            legal = status is None and move.dest in grids.INITIAL[move.entity]
        else:
            legal = move.source == status and grids.GRIDS[move.entity].get((status or "", move.trigger)) == move.dest
        if not legal or move.version != version + 1 or (move.cause_seq or 0) >= move.seq:
            yield f"{move.say()} after {status} v{version}"
        stands[move.entity_id] = (move.dest, move.version)
    rows_now = {row.id: (row.status, row.version) for model in MODELS.values() for row in model.select()}
    folded = {key: end for key, end in stands.items() if end[0] is not None}
    if rows_now != folded:
        yield f"{set(rows_now.items()) ^ set(folded.items())}"


CHECKS = {
    "I1": i1,
    "I2": i2,
    "I3": i3,
    "I4": i4,
    "I5": i5,
    "I6": i6,
    "I7-8": i7_i8,
    "I9-10": i9_i10,
    "I11": i11,
    "I12": i12,
}
