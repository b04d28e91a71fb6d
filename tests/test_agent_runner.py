"""examples/agent_runner.py on a scratch repository: commands that crash, hang and meddle, Ctrl-C, kill -9, wrong usage.

The commands do what the issue's prompt says. Each holds a lock while it lives, so that a test can see whether one
was left running, and counts its attempts in a file, so that what it does depends on nothing but their number.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dispatch_state import Agent, AgentLog, Epic, Issue, PullRequest, Store, open_store
from tests.backends import on_sqlite
from tests.invariants import broken
from tests.paths import ROOT
from tests.runner import (
    DEADLINE,
    Scene,
    all_stopped,
    finish,
    in_progress,
    no_survivors,
    times_done,
    unlocked,
    wait_until,
)
from tests.world import MAINTAINER, RUNNER, WHY

"""For what is git's, the processes' or the command line's business, not the database's."""


@pytest.fixture
def scene(tmp_path: Path, target: str) -> Scene:
    return Scene(tmp_path.resolve(), target)


@pytest.fixture
def shared(scene: Scene) -> Iterator[Store]:
    """The store of the scene, by the clock that its runner has too."""
    with open_store(scene.target, durability="normal") as opened:
        yield opened


def test_every_issue_ends_done_once_or_blocked(scene: Scene, shared: Store) -> None:
    meeting = scene.queue("meet", "meet", priority="critical")
    good = scene.queue("good", "crash once", "good", "good", "crash once", "good")
    hopeless = scene.queue("crash", "nothing")
    printed = finish(scene.start("--agents", "3"), 1)

    assert {str(issue.id) for issue in meeting + good} == scene.texts()
    assert [times_done(issue) for issue in meeting + good] == [1] * 8
    assert {issue.reload().status for issue in hopeless} == {"blocked"}
    moves = [move for issue in Issue.select() for move in shared.history(issue) if move.source is not None]
    assert f"summary: 8 done, 2 blocked, 0 cancelled, 0 left, {len(moves)} moves" in printed
    assert len(scene.git("log", "--merges", "--format=%s", "main").splitlines()) == 8
    assert scene.git("status", "--porcelain") == ""
    assert scene.nothing_lives()
    assert all_stopped()
    assert broken(shared) == []


@on_sqlite
def test_an_error_is_shown_and_kept(scene: Scene, shared: Store) -> None:
    crash, nothing = scene.queue("crash", "nothing")
    printed = finish(scene.start("--max-attempts", "2"), 1)
    assert f"blocked {str(crash.id)[-8:]}: crash, 0 (the command ended with status 1: it broke[1m)" in printed
    assert f"blocked {str(nothing.id)[-8:]}: nothing, 1 (the command changed nothing)" in printed
    assert [move.trigger for move in shared.history(crash)].count("assign") == 2

    branches = scene.git("branch", "--list", "--format=%(refname:short)", "dispatch/*").split()
    assert len(branches) == 2
    for branch in branches:
        assert scene.git("show", f"{branch}:half.txt") == f"half of {crash.id}\n"
    log = AgentLog.get(AgentLog.issue == crash, AgentLog.level == "info")
    assert log.context["branch"] in branches
    assert "it broke" in Path(f"{log.context['worktree']}.log").read_text()


def test_work_that_conflicts_is_done_again(scene: Scene, shared: Store) -> None:
    """Both wrote their line while neither saw the other's; the one that came second writes it again."""
    meeting = scene.queue("meet", "meet")
    printed = finish(scene.start("--agents", "2"), 0)
    lines = scene.git("show", "main:shared.txt").splitlines()
    assert lines[0] == "a first line"
    assert sorted(lines[1:]) == sorted(str(issue.id) for issue in meeting)
    assert sorted(request.status for request in PullRequest.select()) == ["closed", "merged", "merged"]
    assert "CONFLICT" in printed
    assert broken(shared) == []


@on_sqlite
def test_work_that_never_merges_is_blocked(scene: Scene, shared: Store) -> None:
    hook = scene.repo / ".git" / "hooks" / "pre-merge-commit"
    hook.write_text("#!/bin/sh\necho the tests fail\nexit 1\n")
    hook.chmod(0o755)
    (issue,) = scene.queue("good")
    printed = finish(scene.start("--max-attempts", "2"), 1)
    assert "(sent back 2 times: git merge: " in printed
    assert "the tests fail" in printed
    assert scene.git("status", "--porcelain") == ""

    hook.unlink()
    issue.reload().release(by=MAINTAINER, reason="the hook was wrong")
    finish(scene.start("--max-attempts", "2"), 0)
    assert times_done(issue) == 1
    assert broken(shared) == []


@on_sqlite
def test_a_command_that_hangs_is_killed_with_all_it_started(scene: Scene, shared: Store) -> None:
    (issue,) = scene.queue("hang once")
    printed = finish(scene.start("--timeout", "1.5", "--max-attempts", "1000"), 0)
    assert "(the command was killed after 1.5 s)" in printed
    assert times_done(issue) == 1
    assert scene.nothing_lives()
    assert broken(shared) == []


def test_ctrl_c_stops_everything_and_it_goes_on_later(scene: Scene, shared: Store) -> None:
    issues = scene.queue(*["wait"] * 5)
    with no_survivors(scene.start("--agents", "3")) as runner:
        wait_until(lambda: in_progress() == 3 and len(list(scene.desk.glob("*.alive"))) == 3, runner)
        os.killpg(runner.pid, signal.SIGINT)
        printed = finish(runner, 128 + signal.SIGINT)
    assert "stopping" in printed
    assert "summary: 0 done, 0 blocked, 0 cancelled, 5 left" in printed
    assert {issue.reload().status for issue in issues} == {"queued"}
    assert AgentLog.select().where(AgentLog.level == "error").count() == 0, "to be stopped is no failure"
    assert all_stopped()
    assert scene.nothing_lives()
    assert broken(shared) == []

    (scene.desk / "go").touch()
    finish(scene.start("--agents", "3"), 0)
    assert [times_done(issue) for issue in issues] == [1] * 5
    assert broken(shared) == []


@on_sqlite
def test_ctrl_c_lets_a_merge_finish(scene: Scene, shared: Store) -> None:
    """A terminal sends it to every process of the runner's group: git is in none."""
    hook = scene.repo / ".git" / "hooks" / "pre-merge-commit"
    hook.write_text(f"#!/bin/sh\ntouch {scene.desk}/merging\nwhile ! test -e {scene.desk}/go; do sleep 0.1; done\n")
    hook.chmod(0o755)
    (issue,) = scene.queue("good")
    with no_survivors(scene.start()) as runner:
        wait_until((scene.desk / "merging").exists, runner)
        os.killpg(runner.pid, signal.SIGINT)
        (scene.desk / "go").touch()
        finish(runner, 128 + signal.SIGINT)
    assert issue.reload().status == "done"
    assert scene.texts() == {str(issue.id)}


SLOW_START = """
import os, sys, time
from pathlib import Path

desk = Path(os.environ["DESK"])
if "--multiprocessing-fork" in sys.orig_argv:
    (desk / f"{os.getpid()}.started").touch()
    while not (desk / "go").exists():
        time.sleep(0.02)
"""


@on_sqlite
def test_ctrl_c_while_it_begins(scene: Scene, shared: Store) -> None:
    """Processes that are not up yet do not fall over with a traceback, and no agent stays behind."""
    (scene.desk / "sitecustomize.py").write_text(SLOW_START)
    scene.environment |= {"PYTHONPATH": f"{scene.desk}{os.pathsep}{ROOT}", "DESK": str(scene.desk)}
    scene.queue("good")
    with no_survivors(scene.start("--agents", "2")) as runner:
        wait_until(lambda: len(list(scene.desk.glob("*.started"))) == 3, runner)
        os.killpg(runner.pid, signal.SIGINT)
        (scene.desk / "go").touch()
        finish(runner, 128 + signal.SIGINT)
    assert all_stopped()
    assert scene.nothing_lives()


@on_sqlite
def test_a_second_ctrl_c_ends_at_once(scene: Scene, shared: Store) -> None:
    """Even when a process of it does not answer any more."""
    scene.queue("wait")
    with no_survivors(scene.start()) as runner:
        wait_until(lambda: in_progress() and list(scene.desk.glob("*.alive")), runner)
        worker = Agent.get(Agent.status == "working").process_id
        os.kill(worker, signal.SIGSTOP)
        runner.send_signal(signal.SIGINT)
        assert runner.stdout is not None
        wait_until(lambda: "stopping" in runner.stdout.readline())
        runner.send_signal(signal.SIGINT)
        finish(runner, 128 + signal.SIGINT)
    assert all_stopped()
    wait_until(lambda: all(map(unlocked, scene.desk.glob("*.alive"))))


@on_sqlite
def test_where_ctrl_c_is_ignored_it_stays_so(scene: Scene, shared: Store) -> None:
    """As a shell has it for what it starts in the background: also while the run ends."""
    with no_survivors(scene.start("--watch", ignores_ctrl_c=True)) as runner:
        wait_until(lambda: Agent.select().count() == 2, runner)
        os.killpg(runner.pid, signal.SIGINT)
        (issue,) = scene.queue("good")
        wait_until(lambda: times_done(issue), runner)
        runner.terminate()
        assert "stopping" in finish(runner, 128 + signal.SIGTERM)
    assert all_stopped()


@on_sqlite
def test_an_agent_sends_heartbeats_while_its_command_runs(scene: Scene, shared: Store) -> None:
    """A heartbeat is not a move: the agent's version stays."""
    scene.queue("wait")
    with no_survivors(scene.start("--heartbeat-timeout", "15")) as runner:
        wait_until(in_progress, runner)
        first = Agent.get(Agent.status == "working")
        wait_until(lambda: Agent.get_by_id(first.id).last_heartbeat > first.last_heartbeat, runner)
        assert Agent.get_by_id(first.id).version == first.version
        (scene.desk / "go").touch()
        finish(runner, 0)


def test_a_killed_worker_is_missed_and_its_issue_done_by_another(scene: Scene, shared: Store) -> None:
    (issue,) = scene.queue("hang once")
    options = ("--agents", "1", "--heartbeat-timeout", "3", "--max-attempts", "1000")
    with no_survivors(scene.start(*options)) as runner:
        wait_until(lambda: in_progress() and list(scene.desk.glob("*.alive")), runner)
        victim = Agent.get(Agent.status == "working")
        os.kill(victim.process_id, signal.SIGKILL)
        finish(runner, 0)
    assert "system:rescue" in [move.actor for move in shared.history(victim)]
    assert times_done(issue) == 1
    assert scene.nothing_lives()
    assert all_stopped()
    assert broken(shared) == []


@on_sqlite
def test_agents_do_not_outlive_their_runner(scene: Scene, shared: Store) -> None:
    (issue,) = scene.queue("wait")
    with no_survivors(scene.start()) as runner:
        wait_until(lambda: in_progress() and list(scene.desk.glob("*.alive")), runner)
        runner.kill()
        runner.communicate(timeout=DEADLINE)
    wait_until(all_stopped)
    wait_until(scene.nothing_lives)
    assert issue.reload().status == "queued"
    assert broken(shared) == []


@on_sqlite
def test_an_agent_that_a_person_stops_is_not_replaced(scene: Scene, shared: Store) -> None:
    (issue,) = scene.queue("wait")
    with no_survivors(scene.start()) as runner:
        wait_until(lambda: in_progress() and list(scene.desk.glob("*.alive")), runner)
        Agent.get(Agent.status == "working").stop(by=MAINTAINER, reason=WHY)
        finish(runner, 1)
    assert issue.reload().status == "queued"
    assert Agent.select().count() == 2
    assert scene.nothing_lives()


def test_two_runners_share_a_repository(scene: Scene, shared: Store) -> None:
    issues = scene.queue(*["good", "crash once"] * 4)
    runners = [scene.start("--agents", "2") for _ in range(2)]
    for runner in runners:
        finish(runner, 0)
    assert [times_done(issue) for issue in issues] == [1] * 8
    assert scene.texts() == {str(issue.id) for issue in issues}
    assert scene.nothing_lives()
    assert broken(shared) == []


# ---- what an earlier run left behind -------------------------------------------------------------------


def hand_in(scene: Scene, prompt: str) -> tuple[Issue, PullRequest]:
    """An issue whose branch and open request are there; the agent that did it is gone."""
    (issue,) = scene.queue(prompt)
    agent = Agent.create(agent_type="coder")
    issue.assign(agent, by=agent)
    issue.start(by=agent)
    scene.git("switch", "--quiet", "--create", "earlier")
    (scene.repo / f"{issue.id}.txt").write_text("as an earlier run wrote it")
    scene.git("add", "--all")
    scene.git("commit", "--quiet", "--message", "Earlier")
    scene.git("switch", "--quiet", "main")
    request = PullRequest.create(issue=issue, branch="earlier", github_number=1, github_url="x", by=agent)
    agent.stop(by=agent, reason=WHY)
    return issue.reload(), request


@on_sqlite
def test_a_merge_that_was_not_recorded_is_recorded(scene: Scene, shared: Store) -> None:
    """The reviewer was killed between git's merge and the row's."""
    issue, request = hand_in(scene, "good")
    issue.review(by=MAINTAINER)
    issue.return_review(by=MAINTAINER)
    scene.git("merge", "--quiet", "--no-ff", "--message", "Merged, then killed", "earlier")
    merged = scene.git("rev-parse", "main")
    finish(scene.start(), 0)
    assert (issue.reload().status, request.reload().status) == ("done", "merged")
    assert scene.git("rev-parse", "main") == merged
    assert scene.git("branch", "--list", "earlier") == ""


def test_what_is_done_is_in_main_whatever_is_killed(scene: Scene, shared: Store) -> None:
    """The first merge ends with a kill of the reviewer and its git; another reviewer begins again."""
    hook = scene.repo / ".git" / "hooks" / "pre-merge-commit"
    hook.write_text('#!/bin/sh\nrm "$0"\nkill -9 0\n')
    hook.chmod(0o755)
    (issue,) = scene.queue("good")
    printed = finish(scene.start("--heartbeat-timeout", "3"), 0)
    assert "in_review -> awaiting_review by system:rescue" in printed
    assert scene.texts() == {str(issue.id)}
    assert times_done(issue) == 1
    assert scene.git("status", "--porcelain") == ""
    assert scene.nothing_lives()
    assert broken(shared) == []


@on_sqlite
def test_a_checkout_that_is_locked_for_a_moment(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """As by a prompt that shows its status; the merge is tried again."""
    monkeypatch.syspath_prepend(ROOT / "examples")
    import workshop

    repository = workshop.Repository.at(scene.repo, None)
    with repository.worktree("A title", "key") as tree:
        (tree / "new.txt").write_text("new")
        repository.commit(tree, "New")
    lock = scene.repo / ".git" / "index.lock"
    lock.touch()
    monkeypatch.setattr(workshop.time, "sleep", lambda seconds: lock.unlink())
    assert repository.merge("dispatch/a-title-key-1", "Merged") is None
    assert scene.texts() == {"new"}


@on_sqlite
def test_a_newer_attempt_closes_the_earlier_request(scene: Scene, shared: Store) -> None:
    issue, request = hand_in(scene, "good")
    issue.release(by=RUNNER, reason=WHY)
    finish(scene.start(), 0)
    assert (issue.reload().status, request.reload().status) == ("done", "closed")
    assert scene.git("show", f"main:{issue.id}.txt") == "good"
    assert "earlier" in scene.git("branch", "--list", "earlier")
    assert broken(shared) == []


@on_sqlite
def test_work_of_an_agent_that_is_gone_is_sent_back_to_anybody(scene: Scene, shared: Store) -> None:
    issue, request = hand_in(scene, "good")
    (scene.repo / f"{issue.id}.txt").write_text("in main it says something else")
    scene.git("add", "--all")
    scene.git("commit", "--quiet", "--message", "A conflict")
    assert "in_review -> queued by system:runner" in finish(scene.start(), 0)
    assert (issue.reload().status, request.reload().status) == ("done", "closed")
    assert scene.git("show", f"main:{issue.id}.txt") == "good"


@on_sqlite
def test_a_request_from_elsewhere_is_left_alone(scene: Scene, shared: Store) -> None:
    issue, request = hand_in(scene, "good")
    scene.git("branch", "--move", "earlier", "renamed")
    scene.queue("good")
    assert "1 done, 0 blocked, 0 cancelled, 1 left" in finish(scene.start(), 1)
    assert (issue.reload().status, request.reload().status) == ("awaiting_review", "open")


@on_sqlite
def test_what_a_killed_attempt_wrote_is_kept(scene: Scene, shared: Store) -> None:
    (issue,) = scene.queue("good")
    tree = scene.repo.with_name("repo.worktrees") / f"good-0-{str(issue.id)[-8:]}-1"
    scene.git("worktree", "add", "--quiet", "-b", f"dispatch/{tree.name}", str(tree))
    (tree / "half.txt").write_text("half\n")
    finish(scene.start(), 0)
    assert scene.git("show", f"dispatch/{tree.name}:half.txt") == "half\n"
    assert scene.texts() == {str(issue.id)}
    assert scene.nothing_lives()


@on_sqlite
def test_a_checkout_that_a_person_works_in_is_left_alone(scene: Scene, shared: Store) -> None:
    (issue,) = scene.queue("meddle")
    printed = finish(scene.start(), 1)
    assert "reviewer: git merge: " in printed
    assert (scene.repo / "shared.txt").read_text() == "what a person was just writing\n"
    assert issue.reload().status == "awaiting_review"
    assert all_stopped()

    scene.git("checkout", "--quiet", "shared.txt")
    finish(scene.start(), 0)
    assert (scene.repo / "shared.txt").read_text() == "what the agent wrote\n"
    assert broken(shared) == []


@on_sqlite
def test_a_branch_that_a_person_switched_to_is_left_alone(scene: Scene, shared: Store) -> None:
    (issue,) = scene.queue("switch")
    assert "is no longer on main" in finish(scene.start(), 1)
    assert scene.git("rev-parse", "topic") == scene.git("rev-parse", "main")
    scene.git("switch", "--quiet", "main")
    finish(scene.start(), 0)
    assert times_done(issue) == 1


# ---- usage ---------------------------------------------------------------------------------------------


def no_repository(scene: Scene) -> None:
    scene.git("config", "core.bare", "true")


def no_commit(scene: Scene) -> None:
    scene.git("update-ref", "-d", "HEAD")


def changes(scene: Scene) -> None:
    (scene.repo / "shared.txt").write_text("changed\n")


def no_branch(scene: Scene) -> None:
    scene.git("switch", "--quiet", "--detach")


def no_name(scene: Scene) -> None:
    scene.git("config", "user.useConfigOnly", "true")
    scene.git("config", "--unset", "user.email")


@on_sqlite
@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (no_repository, "is not in a checkout of a git repository"),
        (no_commit, "has no commit yet"),
        (changes, "has uncommitted changes"),
        (no_branch, "is on no branch"),
        (no_name, "git var"),
    ],
)
def test_a_repository_that_will_not_do(scene: Scene, spoil: Callable[[Scene], None], complaint: str) -> None:
    spoil(scene)
    printed = finish(scene.start(), 2)
    assert complaint in printed
    assert len(printed.splitlines()) == 1


@on_sqlite
@pytest.mark.parametrize(
    "options",
    [["--agents", "0"], ["--agents", "x"], ["--timeout", "0"], ["--timeout", "nan"], ["--heartbeat-timeout", "inf"],
     ["--agent-type", "cook"], ["--database", "nope://x"], ["--database", "/dev/null/x"], ["--repo", "/nowhere"],
     ["--worktrees", "/dev/null/x"]],
)  # fmt: skip
def test_options_that_will_not_do(scene: Scene, options: list[str]) -> None:
    assert "agent_runner" in finish(scene.start(*options), 2)


@on_sqlite
def test_nothing_to_do(scene: Scene) -> None:
    assert finish(scene.start(), 0) == f"there are no issues for {scene.repo}; --demo 6 adds some\n"


@on_sqlite
def test_the_two_commands_of_its_docstring(scene: Scene) -> None:
    """The example issues, with the harmless command; where the database is, the environment says."""
    scene.environment["DISPATCH_DATABASE"] = scene.target
    runner = scene.run("-W", "error", "examples/agent_runner.py", "--repo", str(scene.repo), "--demo", "4")
    assert "summary: 4 done, 0 blocked, 0 cancelled, 0 left, 24 moves" in finish(runner, 0)
    assert len(scene.git("ls-tree", "--name-only", "main", "issues/").split()) == 4


@on_sqlite
def test_issues_for_others_are_left(scene: Scene) -> None:
    with open_store(scene.target):
        scene.queue("good", agent_type="docs")
        scene.queue("good")
    assert "summary: 1 done, 0 blocked, 0 cancelled, 1 left" in finish(scene.start(), 1)
    assert "summary: 2 done, 0 blocked, 0 cancelled, 0 left" in finish(scene.start("--agent-type", "docs"), 0)


@on_sqlite
def test_an_epic_that_waits_at_a_gate_ends_the_run(scene: Scene) -> None:
    """Also an issue of it that is queued waits; when the gate is open, the next run does it."""
    columns = {"title": "An issue", "prompt": "good", "issue_type": "chore"}
    with open_store(scene.target):
        epic = Epic.create(title="An epic", description="With a gate", repo_path=str(scene.repo))
        stage = epic.add_stage("first")
        gate = stage.add_gate("approval", "A person looks")
        stage.add_issue(**columns)
        epic.mark_ready(by=MAINTAINER)
        epic.start(by=MAINTAINER)
        epic.add_issue(**columns, agent_type="docs").queue(by=MAINTAINER)
        finish(scene.start(), 1)
        assert epic.reload().status == "awaiting_gate"
        assert "1 done, 0 blocked, 0 cancelled, 1 left" in finish(scene.start("--agent-type", "docs"), 1)
        gate.reload().approve(by=MAINTAINER)
        finish(scene.start("--agent-type", "docs"), 0)
        assert epic.reload().status == "completed"


@on_sqlite
def test_watching_waits_for_more(scene: Scene) -> None:
    with open_store(scene.target), no_survivors(scene.start("--watch", "--agents", "3")) as runner:
        wait_until(lambda: Agent.select().count() == 4, runner)
        (issue,) = scene.queue("good")
        wait_until(lambda: times_done(issue), runner)
        runner.terminate()
        finish(runner, 128 + signal.SIGTERM)
        assert all_stopped()
