"""Carry out a plan: three worker processes do the issues, and a person decides at the gates.

    python examples/gated_epic.py                                     # examples/plan.toml; you are asked at each gate
    python examples/gated_epic.py --approve-as maintainer             # unattended: every gate is approved, with the
                                                                      # first option if there are options
    python examples/gated_epic.py my.toml --workers 5 --database postgresql://localhost/dispatch

The plan is TOML: `[epic]`, `[[stages]]`, and in each stage `[[stages.gates]]` and `[[stages.issues]]`. Their keys are
the columns of those tables. There is at least one worker of every agent type that the plan names.

Each worker is a process that opens the store. It takes the most urgent queued issue that it can get, does it (here it
writes a page to the output folder), completes it and looks for the next one. When two workers want the same issue, one
gets it, and the other takes the next one. When the last issue of a stage is done, the stage waits at its gates; when
the last gate is approved, the next stage starts. If you reject a gate, your reason becomes an issue of the stage, and
you are asked again when it is done.

Ctrl-C ends the run: all agents are stopped, their issues go back to the queue, and all processes end.
"""

from __future__ import annotations

import argparse
import multiprocessing
import re
import shlex
import signal
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any
from uuid import UUID

from dispatch_state import (
    Actor,
    Agent,
    AgentStatus,
    Decision,
    DispatchError,
    Epic,
    Gate,
    GuardRefused,
    Human,
    IllegalTransition,
    InvalidValue,
    Issue,
    IssueStatus,
    Stage,
    StaleRow,
    Store,
    System,
    open_store,
)

RUNNER = System("runner")
PAUSE = 0.1
"""Seconds between two reads of the store, and for which a worker pretends to think."""


# ---- the plan ----------------------------------------------------------------------------------------


def load_plan(store: Store, plan: dict[str, Any]) -> Epic:
    """Write the plan to the store in one transaction; returns the epic, which is ready to start."""
    with store.atomic():
        epic = Epic.create(**plan["epic"])
        for part in plan["stages"]:
            stage = epic.add_stage(part["name"])
            for gate in part.get("gates", []):
                stage.add_gate(**gate)
            for issue in part.get("issues", []):
                stage.add_issue(**issue)
        epic.mark_ready(by=RUNNER)
    return epic


def agent_types(plan: dict[str, Any], workers: int) -> list[str]:
    """The types of the workers: those that the plan names, repeated until there are enough."""
    issues = [issue for stage in plan["stages"] for issue in stage.get("issues", [])]
    named = sorted({issue["agent_type"] for issue in issues if "agent_type" in issue}) or ["coder"]
    if workers < len(named):
        raise SystemExit(f"the plan needs at least {len(named)} workers: {', '.join(named)}")
    return [named[number % len(named)] for number in range(workers)]


# ---- a worker and its process ------------------------------------------------------------------------


def work(target: str, agent_id: UUID, epic_id: UUID, output: Path) -> None:
    """Do issues until the agent is stopped or the runner is gone."""
    runner = multiprocessing.parent_process()
    with open_store(target):
        agent = Agent.get_by_id(agent_id)
        while not agent.reload().status.final:
            if runner is None or not runner.is_alive():
                stop(agent, by=agent, reason="the runner is gone")
            elif issue := claim(agent, epic_id):
                with suppress(StaleRow):  # it was stopped in the meantime, and has lost the issue
                    do(issue, agent, output)
            else:
                time.sleep(PAUSE)


def claim(agent: Agent, epic_id: UUID) -> Issue | None:
    """The issue that `unblock` gave back to this agent, or else the most urgent queued one that it can get."""
    held: Issue | None = agent.current_issue
    if agent.status == AgentStatus.WORKING:
        return held
    queued = list(Issue.by_status(IssueStatus.QUEUED).where(Issue.epic == epic_id))
    for issue in queued:
        # Another worker was faster, or the issue is for another type of agent: go on to the next.
        with suppress(StaleRow, IllegalTransition, GuardRefused):
            issue.assign(agent, by=agent)
            return issue
    return None


def do(issue: Issue, agent: Agent, output: Path) -> None:
    """Work on an issue from start to completion; a real runner would call its model here."""
    if issue.status == IssueStatus.ASSIGNED:
        issue.start(by=agent)
    time.sleep(PAUSE)
    name = "-".join(re.findall("[a-z0-9]+", issue.title.lower()))
    page = f"# {issue.title}\n\n{issue.prompt.strip()}\n\nDone by a {agent.agent_type}.\n"
    (output / f"{name}.md").write_text(page, encoding="utf-8")
    issue.complete(by=agent)


def stop(agent: Agent, *, by: Actor, reason: str) -> None:
    """Stop an agent, whatever it is doing; its issue goes back to the queue."""
    while not agent.reload().status.final:
        with suppress(StaleRow):  # it moved in between: try again
            agent.stop(by=by, reason=reason)


@contextmanager
def working(target: str, epic: Epic, agents: list[Agent], output: Path) -> Iterator[list[SpawnProcess]]:
    """Run a process for each agent during the block; afterwards, stop all agents and processes."""
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=work, args=(target, agent.id, epic.id, output), daemon=True) for agent in agents]
    try:
        start_without_interrupts(processes)
        yield processes
    finally:
        for agent in agents:
            stop(agent, by=RUNNER, reason="the run is over")
        for process in processes:
            if process.is_alive():
                process.join(timeout=10)


def start_without_interrupts(processes: list[SpawnProcess]) -> None:
    """Start processes that ignore Ctrl-C; a terminal sends it to all of them, and only the runner handles it."""
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        for process in processes:
            process.start()
    finally:
        signal.signal(signal.SIGINT, handler)


# ---- the gates ---------------------------------------------------------------------------------------


def next_gate(store: Store, epic: Epic) -> Gate | None:
    """The gate of the epic that has waited longest for a person."""
    waiting = [need.row for need in store.needs_human() if need.kind == "gate"]
    return next((gate for gate in waiting if isinstance(gate, Gate) and gate.stage.epic_id == epic.id), None)


def answer_gate(store: Store, gate: Gate, approve_as: str | None) -> None:
    """Approve a gate, or ask a person at the prompt; a refusal is printed and does not end the run."""
    print(f"\n  {gate.stage.name} waits at a gate ({gate.gate_type}): {gate.description}")
    print(f"  Who may decide: {' or '.join(gate.named_approvers()) or 'any person'}")
    if approve_as is not None:
        choice = gate.options[0] if gate.options else None
        gate.approve(choice=choice, by=Human(approve_as), reason="approved unattended")
        return
    try:
        ask(store, gate)
    except (GuardRefused, InvalidValue) as refusal:
        print(f"  {refusal}")


def ask(store: Store, gate: Gate) -> None:
    """Ask a person for a decision on the gate, and record it."""
    person = Human(input("  Your login: ").strip())
    if not input("  Approve? [y/n] ").strip().lower().startswith("y"):
        send_back(store, gate, person, input("  What is missing? ").strip())
        return
    choice = input(f"  Which one? [{' / '.join(gate.options)}] ").strip() if gate.options else None
    gate.approve(choice=choice, by=person, reason=input("  Why? ").strip())


def send_back(store: Store, gate: Gate, person: Human, missing: str) -> None:
    """Reject a gate and add what is missing as an issue of its stage; the gate is asked again when that is done."""
    with store.atomic():
        gate.reject(by=person, reason=missing)
        gate.stage.add_issue(title=f"Rework: {missing}", prompt=missing, issue_type="chore", by=person)


# ---- the run -----------------------------------------------------------------------------------------


def run(store: Store, epic: Epic, names: dict[str, str], workers: list[SpawnProcess], approve_as: str | None) -> None:
    """Start the epic, print its moves, and ask at its gates until it is final."""
    seen = store.history(epic)[-1].seq
    epic.start(by=RUNNER)
    while not epic.reload().status.final:
        if not all(worker.is_alive() for worker in workers):
            raise SystemExit("a worker ended before its time; it said why above")
        gate = next_gate(store, epic)
        seen = show_moves(store, epic, names, seen)
        if gate is not None:
            answer_gate(store, gate, approve_as)
        else:
            time.sleep(PAUSE)
    show_moves(store, epic, names, seen)


def show_moves(store: Store, epic: Epic, names: dict[str, str], after: int) -> int:
    """Print the moves of the epic's stages and issues after a move; returns the number of the last move."""
    titles = {stage.id: f"Stage {stage.name}" for stage in epic.stages}
    titles |= {issue.id: issue.title for issue in epic.issues}
    for move in store.changes(after=after):
        after = move.seq
        if move.source is not None and move.entity_id in titles:
            who = names.get(move.actor, move.actor)
            print(f"  {titles[move.entity_id]:<50.50} {move.source} -> {move.dest}, by {who}")
    return after


def report(store: Store, epic: Epic, agents: list[Agent]) -> None:
    """Print the status of the epic, its decisions, and the number of moves."""
    stages = list(epic.stages.order_by(Stage.stage_order))
    gates = [gate for stage in stages for gate in stage.gates]
    print(f"\n{epic.title}: {epic.status}")
    for stage in stages:
        print(f"  {stage.name:<16} {stage.status:<10} {len(stage.issues)} issues, gates: {len(stage.gates)}")
    for gate in gates:
        if gate.chosen_option is not None:
            print(f"  {gate.description} {gate.chosen_option}")
    print("\nDecisions")
    for decision in epic.decisions.order_by(Decision.created_at, Decision.id):
        print(f"  {decision.decided_by}: {decision.description}")
        print(f"    because: {decision.outcome['reason'] or 'no reason was given'}")
    rows = [epic, *stages, *gates, *epic.issues, *agents]
    moves = sum(move.source is not None for row in rows for move in store.history(row))
    print(f"\n{moves} moves of {len(rows)} rows, all of them in transition_log")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Carry out a plan with worker processes and gates.")
    parser.add_argument("plan", nargs="?", type=Path, default=Path(__file__).with_name("plan.toml"), help="a TOML file")
    parser.add_argument("--database", help="a path or a postgresql:// URL; without it, a new temporary file")
    parser.add_argument("--approve-as", metavar="LOGIN", help="approve every gate as this person, without asking")
    parser.add_argument("--workers", type=int, default=3, help="the number of worker processes (3)")
    return parser.parse_args()


def main() -> None:
    options = parse_arguments()
    plan = tomllib.loads(options.plan.read_text(encoding="utf-8"))
    types = agent_types(plan, options.workers)
    output = Path(tempfile.mkdtemp(prefix="gated-epic-"))
    target = options.database or str(output / "dispatch.db")
    with open_store(target) as store:
        epic = load_plan(store, plan)
        agents = [Agent.create(agent_type=agent_type, by=RUNNER) for agent_type in types]
        names = {agent.actor: f"{agent.agent_type} {number}" for number, agent in enumerate(agents, start=1)}
        with working(target, epic, agents, output) as workers:
            run(store, epic, names, workers, options.approve_as)
        report(store, epic, agents)
    print(f"The pages they wrote are in {output}")
    if options.database is None:
        look = [sys.executable, "-m", "dispatch_state", "--database", target, "status"]
        print(f"Look at the store: {shlex.join(look)}")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)
    except EOFError:
        sys.exit("\nnobody decides at the gate; --approve-as LOGIN approves without asking")
    except DispatchError as error:
        sys.exit(f"{type(error).__name__}: {error}")
