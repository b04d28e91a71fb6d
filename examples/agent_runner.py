"""Let agents work in parallel on the issues of a git repository: a runner to start your own from.

    python examples/agent_runner.py --repo PATH --demo 6                  # six example issues, and a harmless command
    python examples/agent_runner.py --repo PATH --agents 3 --command "…"  # the queued issues whose repo_path is PATH

Each worker is a process that opens the store. It claims an issue, creates a worktree and a branch for it, and runs the
command there with the prompt of the issue on standard input. Then it commits the changes and adds a pull request row,
which submits the issue. A reviewer merges the branch into the branch that is checked out, and the issue is done; in a
real runner, it would look at the work first. agent_worker.py has what agents do, workshop.py has git and the command.
This file has the processes, the output and the command line.

- A command that fails, takes longer than --timeout or changes nothing is a failed attempt: its issue is queued again,
  or blocked after --max-attempts.
- Work that cannot be merged is sent back. Every attempt starts in a new worktree, from the branch as it is then.
- Ctrl-C stops the agents, and their issues are queued again; a second Ctrl-C ends everything at once.
- An agent that disappears (kill -9, a power cut) is marked as errored after --heartbeat-timeout; its issue goes to
  another.
- Unfinished work is kept on the branch of the attempt, dispatch/…; the output of a command, next to the worktrees.
- Several runners can work for the same repository.

The runner prints a line for each move of an issue, above a progress bar if rich is installed. It ends when there is
nothing left that it can do. The exit code is 0 if every issue is done or cancelled, 1 if not, and 2 if it could not
start. With --watch, it waits for more issues.
"""

from __future__ import annotations

import argparse
import ctypes
import multiprocessing
import shlex
import signal
import sys
import time
from collections import Counter
from contextlib import nullcontext, suppress
from multiprocessing import resource_tracker
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any, NamedTuple

from agent_worker import PAUSE, RUNNER, SIGNALS, STEPS, Job, answer, listen, live, signals, stop
from peewee import JOIN
from workshop import Failed, Repository, one_line, send

from dispatch_state import (
    Agent,
    AgentType,
    CommitUnknown,
    DispatchError,
    Epic,
    Issue,
    IssueStatus,
    PullRequest,
    Store,
    StoreBusy,
    StoreUnreachable,
    TransitionLog,
    open_store,
)

try:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress
except ImportError:  # the same lines, without a progress bar
    Progress = None  # type: ignore[assignment,misc]

SPAWN = multiprocessing.get_context("spawn")


# ---- the crew ----------------------------------------------------------------------------------------


class Member(NamedTuple):
    """An agent and its process; `group` is the process group of the command that it runs."""

    role: str
    agent: Agent
    process: SpawnProcess
    group: ctypes.c_int


class Crew:
    """The agents of a run, each with its process."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.members: list[Member] = []
        self.agents: list[Agent] = []
        resource_tracker.ensure_running()  # otherwise the first start() does it, and unblocks the signals

    def hire(self, role: str) -> Agent:
        """Create an agent and start its process, with signals blocked until it can handle them."""
        agent = Agent.create(agent_type="reviewer" if role == "reviewer" else self.job.agent_type, by=RUNNER)
        group = SPAWN.RawValue(ctypes.c_int)
        process = SPAWN.Process(target=live, args=(role, agent.id, self.job, group), daemon=True)
        self.members.append(Member(role, agent, process, group))
        self.agents.append(agent)
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        return agent

    def look_after(self) -> bool:
        """Replace agents that were killed; returns False when no worker or no reviewer is left."""
        for member in [member for member in self.members if not member.process.is_alive()]:
            self.members.remove(member)
            send(member.group.value, signal.SIGKILL)
            if (member.process.exitcode or 0) > 0:
                raise Failed(f"a {member.role} ended before its time; it said why above")
            if member.process.exitcode != 0:  # a process that ended normally was stopped by a person
                self.hire(member.role)
        return {member.role for member in self.members} == set(STEPS)

    def dismiss(self) -> None:
        """End all processes and stop all agents; their issues go back to the queue."""
        for member in self.members:
            member.process.terminate()
        while len(signals) < 2 and any(member.process.is_alive() for member in self.members):
            time.sleep(PAUSE)
        answer(signal.SIGINT, signal.SIG_DFL)
        for member in self.members:
            send(member.group.value, signal.SIGKILL)
            member.process.kill()
        for agent in self.agents:
            stop(agent, by=RUNNER)


# ---- the run -----------------------------------------------------------------------------------------


def run(store: Store, job: Job, agents: int, watch: bool) -> None:
    """Keep the crew working until nothing is left to do, or a signal arrives."""
    listen()
    crew = Crew(job)
    seen = store.history(crew.hire("reviewer"))[-1].seq
    try:
        for _ in range(agents):
            crew.hire("worker")
        while not signals and crew.look_after() and (watch or left(job)):
            with suppress(StoreBusy, StoreUnreachable, CommitUnknown):
                store.rescue(timeout=job.heartbeat_timeout, max_attempts=job.max_attempts)
                store.tick()
            seen = show_moves(store, job, seen)
            time.sleep(PAUSE)
        if signals:
            say("stopping; press Ctrl-C again to end at once")
    finally:
        crew.dismiss()
        show_moves(store, job, seen)


def left(job: Job) -> bool:
    """Whether there is anything left that this crew can do or has to wait for.

    This is one statement: between two statements, an issue could move so that neither of them finds it.
    """
    under_way = Issue.status.in_([IssueStatus.ASSIGNED, IssueStatus.IN_PROGRESS, IssueStatus.IN_REVIEW])
    running = Issue.epic.is_null() | Issue.epic.in_(Epic.select(Epic.id).where(Epic.status == "in_progress"))
    fits = Issue.agent_type.is_null() | (Issue.agent_type == job.agent_type)
    claimable = (Issue.status == IssueStatus.QUEUED) & fits & running
    handed_in = (PullRequest.issue == Issue.id) & (PullRequest.status == "open")
    rows = Issue.select(under_way | claimable, PullRequest.branch).join(PullRequest, JOIN.LEFT_OUTER, on=handed_in)
    awaiting = (Issue.status == IssueStatus.AWAITING_REVIEW) & PullRequest.id.is_null(False)
    found: Any = rows.where(Issue.repo_path == job.path, under_way | claimable | awaiting).tuples()
    return any(due or job.repo.has(branch) for due, branch in found)


def issues(job: Job) -> list[Issue]:
    """The issues of the repository, with the columns that a list needs."""
    columns = (Issue.id, Issue.title, Issue.status)
    return list(Issue.select(*columns).where(Issue.repo_path == job.path).order_by(Issue.created_at, Issue.id))


# ---- output ------------------------------------------------------------------------------------------

fancy = Progress is not None and sys.stdout.isatty()
bar = Progress("issues done", BarColumn(), MofNCompleteColumn()) if fancy else None
task = bar.add_task("", total=None) if bar else None


def say(text: str) -> None:
    """Print a line, above the progress bar if there is one."""
    if bar:
        bar.console.print(text, markup=False, highlight=False)
    else:
        print(text, flush=True)


def show_moves(store: Store, job: Job, after: int) -> int:
    """Print the moves of the repository's issues after a move; returns the number of the last move."""
    while moves := store.changes(after=after):
        known = {issue.id: issue for issue in issues(job)}
        for move in moves:
            if move.entity_id in known and move.source is not None:
                who = f"agent {move.actor[-8:]}" if move.actor.startswith("agent:") else move.actor
                why = f" ({one_line(move.reason)})" if move.reason and not move.reason.startswith("follows ") else ""
                title = one_line(known[move.entity_id].title)
                say(f"{str(move.entity_id)[-8:]} {move.source} -> {move.dest} by {who}: {title}{why}")
        if bar and task is not None:
            done = sum(issue.status == IssueStatus.DONE for issue in known.values())
            bar.update(task, completed=done, total=len(known))
        after = moves[-1].seq
    return after


def report(store: Store, job: Job) -> int:
    """Print what became of the issues; returns the exit code."""
    found = issues(job)
    for issue in found:
        if issue.status == IssueStatus.BLOCKED:
            why = one_line(store.history(issue)[-1].reason or "")
            say(f"blocked {str(issue.id)[-8:]}: {one_line(issue.title)} ({why})")
    count = Counter(str(issue.status) for issue in found)
    done, blocked, cancelled = count["done"], count["blocked"], count["cancelled"]
    rest = len(found) - done - blocked - cancelled
    mine = TransitionLog.entity_id.in_(Issue.select(Issue.id).where(Issue.repo_path == job.path))
    moves = TransitionLog.select().where(mine, TransitionLog.source.is_null(False)).count()
    say(f"summary: {done} done, {blocked} blocked, {cancelled} cancelled, {rest} left, {moves} moves")
    return 1 if blocked or rest else 0


# ---- the command line --------------------------------------------------------------------------------


def whole(text: str) -> int:
    if not 0 < (number := int(text)) <= 10_000:
        raise argparse.ArgumentTypeError("takes a whole number from 1 to 10000")
    return number


def seconds(text: str) -> float:
    if not 0 < (number := float(text)) <= 1e7:
        raise argparse.ArgumentTypeError("takes a number of seconds above 0")
    return number


def parse_arguments() -> argparse.Namespace:
    harmless = shlex.join([sys.executable, str(Path(__file__).with_name("write_a_file.py"))])
    parser = argparse.ArgumentParser(description="Carry out the issues of a git repository with agents side by side.")
    parser.add_argument("--repo", type=Path, required=True, help="the repository, with a branch checked out")
    parser.add_argument("--agents", type=whole, default=3, help="the number of workers (3)")
    parser.add_argument(
        "--command", default=harmless, help="the shell command that works on an issue (write_a_file.py)"
    )
    parser.add_argument("--database", help="a path or a postgresql:// URL; without it, what open_store() finds")
    parser.add_argument("--demo", type=whole, metavar="N", default=0, help="add N example issues first")
    parser.add_argument("--watch", action="store_true", help="wait for more issues when all are done")
    parser.add_argument(
        "--agent-type", choices=list(AgentType), default="coder", help="the type of the workers (coder)"
    )
    parser.add_argument("--timeout", type=seconds, default=1800, help="seconds a command may take (1800)")
    parser.add_argument(
        "--heartbeat-timeout",
        type=seconds,
        default=60,
        help="seconds without a heartbeat after which an agent is marked as errored (60)",
    )
    parser.add_argument("--max-attempts", type=whole, default=3, help="attempts until an issue is blocked (3)")
    parser.add_argument("--worktrees", type=Path, help="the folder for worktrees (PATH.worktrees)")
    return parser.parse_args()


def main() -> int:
    options = parse_arguments()
    try:
        repo = Repository.at(options.repo, options.worktrees)
        store = open_store(options.database)
    except (Failed, DispatchError) as problem:
        print(f"agent_runner: {one_line(str(problem))}", file=sys.stderr)
        return 2
    given = (options.command, options.timeout, options.heartbeat_timeout, options.max_attempts, options.agent_type)
    job = Job(options.database, repo, str(repo.path), *given)
    with store, bar or nullcontext():
        for number in range(options.demo):
            title, prompt = f"Example {number + 1}", f"Write page {number + 1}."
            issue = Issue.create(title=title, prompt=prompt, issue_type="chore", repo_path=job.path, by=RUNNER)
            issue.queue(by=RUNNER)
        if not options.watch and not issues(job):
            say(f"there are no issues for {job.path}; --demo 6 adds some")
            return 0
        run(store, job, options.agents, options.watch)
        status = report(store, job)
    return 128 + signals[0] if signals else status


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (Failed, DispatchError) as problem:
        sys.exit(f"agent_runner: {one_line(str(problem))}")
    except KeyboardInterrupt:  # before anything was started
        sys.exit(128 + signal.SIGINT)
