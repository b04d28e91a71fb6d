"""The example's agent runner with a repository of its own, and a command that stands for an agent."""

from __future__ import annotations

import fcntl
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from dispatch_state import Agent, Issue, TransitionLog
from tests.paths import ROOT
from tests.shell import ctrl_c
from tests.world import MAINTAINER

DEADLINE = 300.0
"""Seconds after which a test that hangs is given up; none of them comes near it."""

COMMAND = """
import fcntl, os, subprocess, sys, time
from pathlib import Path

desk, repo, name, prompt = Path(sys.argv[1]), Path(sys.argv[2]), os.environ["DISPATCH_ISSUE"], sys.stdin.read()
alive = (desk / f"{name}.alive").open("a")
fcntl.flock(alive, fcntl.LOCK_EX)
alive.write("an attempt\\n")
alive.flush()
attempt = len((desk / f"{name}.alive").read_text().splitlines())

def wait_for(present):
    while not present():
        time.sleep(0.02)

if prompt == "crash" or (prompt == "crash once" and attempt == 1):
    Path("half.txt").write_text(f"half of {name}\\n")
    sys.exit("\\0it broke\\x1b[1m")
if prompt == "hang once" and attempt == 1:
    Path("half.txt").write_text(f"half of {name}\\n")
    os.fork()
    wait_for(lambda: False)
if prompt == "wait":
    wait_for((desk / "go").exists)
if prompt == "meet" and attempt == 1:
    (desk / f"{name}.met").touch()
    wait_for(lambda: len(list(desk.glob("*.met"))) == 2)
if prompt == "meet":
    Path("shared.txt").write_text(f"{Path('shared.txt').read_text()}{name}\\n")
if prompt == "meddle":
    (repo / "shared.txt").write_text("what a person was just writing\\n")
    Path("shared.txt").write_text("what the agent wrote\\n")
if prompt == "switch":
    subprocess.run(["git", "-C", repo, "switch", "--quiet", "--create", "topic"], check=True)
if prompt != "nothing":
    Path(f"{name}.txt").write_text(prompt)
"""


class Scene:
    """A repository with one commit, a command, and a database.

    Args:
        folder: an empty folder.
        target: where the database is.
    """

    def __init__(self, folder: Path, target: str) -> None:
        self.repo, self.desk, self.target = folder / "repo", folder / "desk", target
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        self.environment |= {"PYTHONPATH": str(ROOT), "HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1"}
        self.desk.mkdir()
        self.repo.mkdir()
        self.git("init", "--quiet", "-b", "main")
        self.git("config", "user.name", "Scratch")
        self.git("config", "user.email", "scratch@example.org")
        (self.repo / "shared.txt").write_text("a first line\n")
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "The first commit")
        (self.desk / "command.py").write_text(COMMAND)

    def git(self, *arguments: str) -> str:
        command = ["git", *arguments]
        done = subprocess.run(command, cwd=self.repo, env=self.environment, capture_output=True, text=True, check=True)
        return done.stdout

    def queue(self, *prompts: str, **columns: str) -> list[Issue]:
        """Queued issues with these prompts; a store is open."""
        made = []
        for number, prompt in enumerate(prompts):
            text = {"title": f"{prompt}, {number}", "prompt": prompt, "issue_type": "chore", **columns}
            made.append(Issue.create(**text, repo_path=str(self.repo)))
            made[-1].queue(by=MAINTAINER)
        return made

    def start(self, *options: str, ignores_ctrl_c: bool = False) -> subprocess.Popen[str]:
        """A runner in a session of its own, as in a terminal, with one agent unless the options say otherwise."""
        command = shlex.join([sys.executable, str(self.desk / "command.py"), str(self.desk), str(self.repo)])
        given = ["--repo", str(self.repo), "--database", self.target, "--command", command, "--agents", "1", *options]
        with ctrl_c(ignored=ignores_ctrl_c):
            return self.run("-W", "error", str(ROOT / "examples" / "agent_runner.py"), *given)

    def run(self, *arguments: str) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        return subprocess.Popen(
            [sys.executable, *arguments],
            env=self.environment,
            stdout=pipe,
            stderr=pipe,
            text=True,
            start_new_session=True,
        )

    def texts(self) -> set[str]:
        """The names of what commands wrote and what is in main."""
        return {Path(name).stem for name in self.git("ls-tree", "--name-only", "main").split()} - {"shared"}

    def nothing_lives(self) -> bool:
        """Whether no command runs, and no worktree is left."""
        free = all(map(unlocked, self.desk.glob("*.alive")))
        return free and len(self.git("worktree", "list").splitlines()) == 1


def unlocked(path: Path) -> bool:
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def wait_until(happened: Callable[[], object], runner: subprocess.Popen[str] | None = None) -> None:
    """Look again and again; a runner that was given must not end meanwhile."""
    deadline = time.monotonic() + DEADLINE
    while not happened():
        assert time.monotonic() < deadline, "it never happened"
        assert runner is None or runner.poll() is None, runner.communicate()
        time.sleep(0.02)


@contextmanager
def no_survivors(runner: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """A test that fails leaves no runner behind."""
    try:
        yield runner
    finally:
        if runner.poll() is None:
            runner.terminate()
            runner.communicate(timeout=DEADLINE)


def finish(runner: subprocess.Popen[str], status: int) -> str:
    """What a runner printed until it ended, with this status and no traceback."""
    with no_survivors(runner):
        printed, complaints = runner.communicate(timeout=DEADLINE)
    assert "Traceback" not in complaints, complaints
    assert runner.returncode == status, printed + complaints
    return printed + complaints


def in_progress() -> int:
    return Issue.select().where(Issue.status == "in_progress").count()


def times_done(issue: Issue) -> int:
    return TransitionLog.select().where(TransitionLog.entity_id == issue.id, TransitionLog.dest == "done").count()


def all_stopped() -> bool:
    return {agent.status for agent in Agent.select()} == {"completed"}
