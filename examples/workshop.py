"""Git and commands for agent_runner.py: a worktree for each attempt, and the command that runs in it.

No work is lost: before a worktree is removed, uncommitted changes are committed on its branch, and git deletes only
merged branches. A command is killed after its timeout, with all processes that it started. This file does not use
dispatch_state.
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
"""Seconds between two checks of a running command."""
GRACE = 3.0
"""Seconds that a command gets to end by itself."""


GIT_OWN = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX")
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in GIT_OWN}
"""The environment of commands, without the variables by which a git hook names its repository."""


class Failed(Exception):
    """Git failed, or an attempt at an issue; the message says why in one line."""


def one_line(text: str) -> str:
    """Remove line breaks, control characters and other unprintable ones from a text."""
    return "".join(letter for letter in " ".join(text.split()) if letter.isprintable())


# ---- git ---------------------------------------------------------------------------------------------


def git(folder: Path, *arguments: str) -> str:
    """Run git and return its output; raises `Failed` with its error message."""
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
    """Whether git knows a commit by this name."""
    with suppress(Failed):
        return bool(git(folder, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}"))
    return False


def branch_of(tree: Path) -> str:
    """The branch that was created with a worktree."""
    return f"dispatch/{tree.name}"


class Repository(NamedTuple):
    """A checkout that agents work for.

    path: the folder of the checkout.
    branch: the branch that is checked out, into which work is merged.
    lock: a lock file in git's folder; its holder may change the checkout and the list of worktrees.
    worktrees: the folder for worktrees.
    """

    path: Path
    branch: str
    lock: Path
    worktrees: Path

    @classmethod
    def at(cls, folder: Path, worktrees: Path | None) -> Repository:
        """Find the repository of a folder; raises `Failed` when agents cannot work for it."""
        try:
            path = Path(git(folder, "rev-parse", "--show-toplevel"))
        except Failed as complaint:
            raise Failed(f"{folder} is not in a checkout of a git repository ({complaint})") from None
        branch = git(path, "branch", "--show-current")
        if not exists(path, "HEAD"):
            raise Failed(f"{path} has no commit yet; make a first one")
        if not branch:
            raise Failed(f"{path} is on no branch; check one out")
        git(path, "var", "GIT_COMMITTER_IDENT")  # agents commit: fail now if the name is missing
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
        """Whether the repository has a branch."""
        return exists(self.path, f"refs/heads/{branch}")

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Lock the checkout and the worktrees for a block, against other runners too."""
        with self.lock.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @contextmanager
    def worktree(self, title: str, key: str) -> Iterator[Path]:
        """Create a worktree on a new branch for a block, both named after the work.

        Args:
            title: the title of the work.
            key: what all attempts at the same work have in common.
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
        """The number of the last attempt that left a branch, a worktree or a log."""
        names = git(self.path, "branch", "--list", f"dispatch/*-{key}-*", "--format=%(refname)").split()
        names += [entry.name for entry in self.worktrees.glob(f"*-{key}-*")]
        found = [re.search(rf"-{key}-(\d+)(\.log)?$", name) for name in names]
        return max((int(number[1]) for number in found if number), default=0)

    def put_away(self, tree: Path) -> None:
        """Remove a worktree, and its branch if that has no commits of its own."""
        if (tree / ".git").is_file():  # in any other folder git would find a repository further up
            git(tree, "add", "--all")
            if git(tree, "status", "--porcelain"):
                git(tree, "commit", "--quiet", "--no-verify", "--message", "Left unfinished")
            git(self.path, "worktree", "remove", "--force", str(tree))
        git(self.path, "worktree", "prune")
        self.drop(branch_of(tree))

    def drop(self, branch: str) -> None:
        """Delete a branch if it is merged; git keeps other branches."""
        with suppress(Failed):
            git(self.path, "branch", "--quiet", "--delete", branch)

    def commit(self, tree: Path, message: str) -> None:
        """Commit the changes in a worktree; the command may have committed some of them."""
        if git(tree, "branch", "--show-current") != branch_of(tree):
            raise Failed(f"the command left its branch, {branch_of(tree)}")
        git(tree, "add", "--all")
        if git(tree, "status", "--porcelain"):
            git(tree, "commit", "--quiet", "--message", message)
        if not git(tree, "rev-list", "--max-count=1", f"refs/heads/{self.branch}..HEAD"):
            raise Failed("the command changed nothing")

    def merge(self, branch: str, message: str) -> str | None:
        """Merge a branch into the checkout, or return why it cannot be merged.

        The merge is made in a temporary worktree, in which a reviewer could run tests. The checkout is only
        fast-forwarded to a merge that succeeded. Merging a branch again changes nothing.

        Raises:
            Failed: the checkout could not be updated, and is as it was.
        """
        for patience in (0.1, 0.5, 2.0):
            with suppress(Failed):
                return self._merge(branch, message)
            time.sleep(patience)  # a prompt or an editor may lock the checkout for a moment
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
            raise Failed(f"{self.path} is no longer on {self.branch}; pull requests wait")
        git(self.path, "merge", "--quiet", "--ff-only", commit)

    def _discard(self, tree: Path) -> None:
        shutil.rmtree(tree, ignore_errors=True)
        git(self.path, "worktree", "prune")


# ---- the command -------------------------------------------------------------------------------------


def carry_out(
    command: str, tree: Path, prompt: str, timeout: float, group: ctypes.c_int, why_not: Callable[[], str], **names: str
) -> None:
    """Run a command in a worktree; its output goes to a log next to the worktree.

    Args:
        command: the shell command.
        tree: the worktree.
        prompt: the standard input of the command.
        timeout: seconds after which the command is killed.
        group: holds the process group of the command while it runs, so that the runner can kill it.
        why_not: called repeatedly; returns why the command should stop, or an empty text.
        names: further environment variables.

    Raises:
        Failed: the command failed, or was stopped.
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
    """End a command with all processes that it started: terminate it, and kill it after a while."""
    if process.poll() is None:
        send(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
    send(process.pid, signal.SIGKILL)
    process.wait()


def send(group: int, number: int) -> None:
    """Send a signal to a process group, if there is one."""
    with suppress(ProcessLookupError, PermissionError):  # the group is empty, or (macOS) has only ended processes
        if group:
            os.killpg(group, number)


def _last_words(log: Path) -> str:
    with log.open("rb") as printed:
        printed.seek(-min(500, log.stat().st_size), os.SEEK_END)
        return one_line(printed.read().decode(errors="replace"))
