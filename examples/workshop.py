"""Where the agents of agent_runner.py work: git worktrees, one for each attempt, and the command that runs in one.

No work is lost: a worktree is removed, but what was not committed in it becomes a commit on its branch, and a branch is
deleted only when git itself says that all of it is merged. No command outlives its time, and nothing that it started
outlives it. Knows nothing of dispatch_state.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

PAUSE = 0.1
"""Seconds between two looks at a command that runs."""
GRACE = 3.0
"""Seconds that a command has for ending when it is asked to."""


GIT_OWN = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX")
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in GIT_OWN}
"""Without what a git hook is given, which would turn every git call to that one's repository."""


class Failed(Exception):
    """Something came to nothing: git refused, or an attempt at some work; the message says why, in one line."""


def one_line(text: str) -> str:
    """Text without line breaks, control characters and what else no terminal, log or commit should get."""
    return "".join(letter for letter in " ".join(text.split()) if letter.isprintable())


# ---- git ---------------------------------------------------------------------------------------------


def git(folder: Path, *arguments: str) -> str:
    """What git says; raises `Failed` with its complaint."""
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(
            command, capture_output=True, stdin=subprocess.DEVNULL, env=ENVIRONMENT, errors="replace", check=False
        )
    except FileNotFoundError:
        raise Failed("git is not installed") from None
    if done.returncode != 0:
        raise Failed(f"git {arguments[0]}: {one_line(done.stderr or done.stdout)[-300:]}")
    return done.stdout.strip()


def exists(folder: Path, name: str) -> bool:
    """Whether git knows a commit by that name."""
    with suppress(Failed):
        return bool(git(folder, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}"))
    return False


def branch_of(tree: Path) -> str:
    """The branch that a worktree was made with."""
    return f"dispatch/{tree.name}"


class Repository(NamedTuple):
    """A checkout that agents work for.

    path: its folder; branch: what is checked out there, and work is merged into.
    lock: a file among git's own, under which one process at a time changes the checkout or the list of worktrees.
    worktrees: the folder for them.
    """

    path: Path
    branch: str
    lock: Path
    worktrees: Path

    @classmethod
    def at(cls, folder: Path, worktrees: Path | None) -> Repository:
        """The repository that a folder belongs to; raises `Failed` when agents could not work for it."""
        try:
            path = Path(git(folder, "rev-parse", "--show-toplevel"))
        except Failed as complaint:
            raise Failed(f"{folder} is no checkout of a git repository ({complaint})") from None
        branch = git(path, "branch", "--show-current")
        if not exists(path, "HEAD"):
            raise Failed(f"{path} has no commit yet; make a first one")
        if not branch:
            raise Failed(f"{path} is on no branch; check one out")
        git(path, "var", "GIT_COMMITTER_IDENT")  # agents commit: complain now of a missing name
        lock = Path(path, git(path, "rev-parse", "--git-common-dir"), "dispatch.lock")
        found = cls(path, branch, lock, (worktrees or path.with_name(f"{path.name}.worktrees")).absolute())
        try:
            found.worktrees.mkdir(parents=True, exist_ok=True)
            with found.alone():  # not while another runner merges
                changed = git(path, "status", "--porcelain", "--untracked-files=no")
        except OSError as error:
            raise Failed(f"{error.filename} cannot be made: {error.strerror}") from None
        if changed:
            raise Failed(f"{path} has uncommitted changes; commit or stash them")
        return found

    def has(self, branch: str) -> bool:
        """Whether there is such a branch here."""
        return exists(self.path, f"refs/heads/{branch}")

    @contextmanager
    def alone(self) -> Iterator[None]:
        """The block is the only one at the checkout and the worktrees, other runners included."""
        with self.lock.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @contextmanager
    def worktree(self, title: str, key: str) -> Iterator[Path]:
        """A fresh worktree on a new branch, both named after the work; it goes with the block.

        Args:
            title: what people call the work.
            key: by which earlier attempts at the same work are known.
        """
        with self.alone():
            for left_behind in self.worktrees.glob(f"*-{key}-*/.git"):
                self.put_away(left_behind.parent)  # by a process that was killed
            slug = "-".join(re.findall("[a-z0-9]+", title.lower()))[:40].strip("-") or "work"
            tree = self.worktrees / f"{slug}-{key}-{self._attempts(key) + 1}"
            git(self.path, "worktree", "add", "--quiet", "-b", branch_of(tree), str(tree), f"refs/heads/{self.branch}")
        try:
            yield tree
        finally:
            with self.alone():
                self.put_away(tree)

    def _attempts(self, key: str) -> int:
        """The number of the last attempt of which anything is left."""
        names = git(self.path, "branch", "--list", f"dispatch/*-{key}-*", "--format=%(refname)").split()
        names += [entry.name for entry in self.worktrees.glob(f"*-{key}-*")]
        found = [re.search(rf"-{key}-(\d+)(\.log)?$", name) for name in names]
        return max((int(number[1]) for number in found if number), default=0)

    def put_away(self, tree: Path) -> None:
        """Remove a worktree, and its branch if there is nothing on it."""
        if (tree / ".git").is_file():  # in any other folder git would find a repository further up
            git(tree, "add", "--all")
            if git(tree, "status", "--porcelain"):
                git(tree, "commit", "--quiet", "--no-verify", "--message", "Left unfinished")
            git(self.path, "worktree", "remove", "--force", str(tree))
        git(self.path, "worktree", "prune")
        self.drop(branch_of(tree))

    def drop(self, branch: str) -> None:
        """Delete a branch if all of it is merged; git keeps one that is not."""
        with suppress(Failed):
            git(self.path, "branch", "--quiet", "--delete", branch)

    def commit(self, tree: Path, message: str) -> None:
        """Commit what was changed in a worktree; whoever worked there may have committed some of it."""
        if git(tree, "branch", "--show-current") != branch_of(tree):
            raise Failed(f"the command left its branch, {branch_of(tree)}")
        git(tree, "add", "--all")
        if git(tree, "status", "--porcelain"):
            git(tree, "commit", "--quiet", "--message", message)
        if not git(tree, "rev-list", "--max-count=1", f"refs/heads/{self.branch}..HEAD"):
            raise Failed("the command changed nothing")

    def merge(self, branch: str, message: str) -> str | None:
        """Merge a branch into the checkout, or say why it does not fit.

        That is tried in a worktree of its own (where a reviewer could run tests): the checkout only ever goes forward
        to a merge that worked. Merging what is merged already does nothing.

        Raises:
            Failed: the checkout is in the way, not the work; it is as it was.
        """
        for patience in (0.1, 0.5, 2.0):
            with suppress(Failed):
                return self._merge(branch, message)
            time.sleep(patience)  # a prompt or an editor that looks at the checkout locks it for a moment
        return self._merge(branch, message)

    def _merge(self, branch: str, message: str) -> str | None:
        tree = self.worktrees / "merging"
        self._discard(tree)  # left behind by a process that was killed
        git(self.path, "worktree", "add", "--quiet", "--detach", str(tree), f"refs/heads/{self.branch}")
        try:
            git(tree, "merge", "--quiet", "--no-ff", "--message", message, f"refs/heads/{branch}")
        except Failed as refusal:
            return str(refusal)
        else:
            self._go_forward(git(tree, "rev-parse", "HEAD"))
            return None
        finally:
            self._discard(tree)

    def _go_forward(self, commit: str) -> None:
        if git(self.path, "branch", "--show-current") != self.branch:
            raise Failed(f"{self.path} is not on {self.branch} any more; what is handed in waits")
        git(self.path, "merge", "--quiet", "--ff-only", commit)

    def _discard(self, tree: Path) -> None:
        shutil.rmtree(tree, ignore_errors=True)
        git(self.path, "worktree", "prune")


# ---- the command -------------------------------------------------------------------------------------


def carry_out(
    command: str, tree: Path, prompt: str, timeout: float, group: ctypes.c_int, why_not: Callable[[], str], **names: str
) -> None:
    """Run a command in a worktree, to a good end, or raise `Failed`. What it prints is in a log beside the worktree.

    Args:
        command: for the shell; the prompt is its standard input.
        timeout: in seconds.
        group: where its process group is shown while it runs, for whoever must end it when this process cannot.
        why_not: asked again and again; what it answers is why the command should not go on.
        names: for its environment.
    """
    log = tree.with_name(f"{tree.name}.log")
    with tempfile.TemporaryFile() as given, log.open("wb") as printed:
        given.write(prompt.encode())
        given.seek(0)
        process = subprocess.Popen(
            command,
            shell=True,
            cwd=tree,
            stdin=given,
            stdout=printed,
            stderr=subprocess.STDOUT,
            env={**ENVIRONMENT, **names},
            start_new_session=True,
        )
        group.value = process.pid
        try:
            _wait(process, timeout, why_not)
        finally:
            _end(process)
            group.value = 0
    if process.returncode != 0:
        raise Failed(f"the command ended with status {process.returncode}: {_last_words(log)}")


def _wait(process: subprocess.Popen[bytes], timeout: float, why_not: Callable[[], str]) -> None:
    deadline = time.monotonic() + timeout
    while process.poll() is None:
        if why := why_not():
            raise Failed(why)
        if time.monotonic() > deadline:
            raise Failed(f"the command was killed after {timeout:g} s")
        with suppress(subprocess.TimeoutExpired):
            process.wait(PAUSE)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a command with all that it started: ask, and after a while insist."""
    if process.poll() is None:
        send(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
    send(process.pid, signal.SIGKILL)
    process.wait()


def send(group: int, number: int) -> None:
    """Signal a process group, if there is one."""
    with suppress(ProcessLookupError, PermissionError):  # nobody is left in it, or (macOS) only the dead
        if group:
            os.killpg(group, number)


def _last_words(log: Path) -> str:
    with log.open("rb") as printed:
        printed.seek(-min(500, log.stat().st_size), os.SEEK_END)
        return one_line(printed.read().decode(errors="replace"))
