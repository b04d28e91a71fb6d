"""The command line: every command as a person reads it and as a program does, and what wrong calls are told."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import pytest

from dispatch_state import Agent, Decision, Epic, Gate, Issue, Store, StoreError, TransitionLog, open_store
from dispatch_state.cli import log, status, terminal
from dispatch_state.cli.commands import COMMANDS, main
from dispatch_state.cli.parsing import Call
from dispatch_state.cli.terminal import Terminal, cells, clipped, visible
from dispatch_state.schema import migrate as migrations
from dispatch_state.storage.targets import resolve
from tests import postgres
from tests.conftest import Clock
from tests.pages import command_line
from tests.shell import HANG, Screen, Shell, buffered, finished, process
from tests.test_overview import WAITS
from tests.world import MAINTAINER, MODELS, WHY, World

EVIL = "Evil \x1b[31mred\x1b[0m \x07bell \u202edlrow \u2028 line\nfeed \x9b2J"
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\u2028]")
PROMPT = "Do as I say: the whole of it"
SOMEBODY = "00000000-0000-7000-8000-00000000dead"
sqlite = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)


def long_ago() -> datetime:
    return datetime(2020, 1, 31, 9, 30, tzinfo=UTC)


Ids = dict[str, str]


def fill(target: str) -> Ids:
    """A row of each kind; the ids of those that the tests ask for."""
    with open_store(target, durability="normal", clock=long_ago) as store:
        world = World(store)
        stage = world.waiting_stage({"required_approvers": ["maintainer"]})
        issue = world.new_issue(title=EVIL, prompt=PROMPT, labels=["a", EVIL])
        issue.queue(by=MAINTAINER, reason=EVIL)
        at_work = world.start(world.new_issue(title="At work"))
        gone = world.issues("cancelled")
        gone.remove(by=MAINTAINER, reason=WHY)
        world.proposals("voting")
        world.pull_requests("open")
        world.agents("errored")
        world.issues("blocked")
        Gate.get(Gate.stage == stage).comment("Looks fine", by=MAINTAINER)
        proposal = world.new_proposal(required_voters=["coder", "pm"])
        proposal.vote(Agent.create(agent_type="pm"), "abstain", "No view")
        world.proposals("vetoed")
        named = {"stage": stage, "gate": Gate.get(), "issue": issue, "agent": at_work, "gone": gone, "epic": stage.epic}
        named |= {"proposal": proposal, "idle": world.agent(), "at_work": at_work.current_issue}
        return {name: str(row.id) for name, row in named.items()}


class Shelf:
    """One filled store of each kind, for the tests that only read, and to copy from."""

    def __init__(self, folder: Path, schemas: ExitStack) -> None:
        self._folder = folder
        self._schemas = schemas
        self._filled: dict[str, tuple[str, Ids]] = {}

    def take(self, backend: str) -> tuple[str, Ids]:
        if backend not in self._filled:
            file = str(self._folder / "dispatch.db")
            target = file if backend == "sqlite" else self._schemas.enter_context(postgres.fresh_schema())
            self._filled[backend] = target, fill(target)
        return self._filled[backend]


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    with ExitStack() as schemas:
        yield Shelf(tmp_path_factory.mktemp("shelf"), schemas)


@pytest.fixture
def from_the_shelf() -> None:
    """A test that names this only reads: its store is shared."""


reads = pytest.mark.usefixtures("from_the_shelf")


@pytest.fixture
def ids(request: pytest.FixtureRequest, backend: str, shelf: Shelf) -> Ids:
    """A filled store, closed; the commands open it."""
    if "from_the_shelf" in request.fixturenames:
        return shelf.take(backend)[1]
    target = request.getfixturevalue("target")
    if backend == "sqlite":
        file, ids = shelf.take(backend)
        shutil.copy(file, target)
        return ids
    return fill(target)


@pytest.fixture
def place(request: pytest.FixtureRequest, backend: str, shelf: Shelf) -> str:
    """Where the store of a test is."""
    shared = "from_the_shelf" in request.fixturenames
    return shelf.take(backend)[0] if shared else request.getfixturevalue("target")


@pytest.fixture
def shell(place: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.setenv("COLUMNS", "80")
    return Shell(place, capsys)


@pytest.fixture
def inside(place: str) -> Any:
    """Ask something of the store between two commands."""

    def ask(question: Any) -> Any:
        with open_store(place, durability="normal") as store:
            return question(store)

    return ask


# ---- making and keeping --------------------------------------------------------------------------------


def test_a_store_is_made_once(shell: Shell, inside: Any) -> None:
    shell("status", code=3)
    assert " init makes one (PostgreSQL: after createdb); --database or DISPATCH_DATABASE name another\n" in shell.err
    assert "create=True" not in shell.err
    assert "there is no store at" in shell.err or "the database is empty" in shell.err
    assert shell("init").startswith("made ")
    assert shell("init").endswith("is there already\n")
    assert shell.json("init")["made"] is False
    assert inside(lambda store: store.counts()["issues"]["queued"]) == 0
    assert "Nothing waits for a person." in shell("status")


def test_an_old_store_is_brought_up_to_date(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    released = migrations._folder()
    older = tmp_path / "older"
    shutil.copytree(released, older)
    sorted(older.glob("0*.py"))[-1].unlink()
    with monkeypatch.context() as old:
        old.setattr(migrations, "_folder", lambda: older)
        open_store(shell.target).close()
    shell("status", code=3)
    assert " migrate brings it up to date\n" in shell.err
    assert "migrate=True" not in shell.err
    assert shell("migrate").startswith("migrated ")
    assert shell.json("migrate") == {"store": shell.json("init")["store"], "migrated": False}
    assert "Nothing waits" in shell("status")


def test_soundness(shell: Shell, ids: Ids, inside: Any) -> None:
    assert (shell("verify"), shell.err) == ("", "sound\n")
    assert shell.json("verify") == {"sound": True, "violations": []}

    def tamper(store: Store) -> None:
        with store.database.atomic():
            migrations.enforcement.remove(store.database)
            store.database.execute_sql(f"UPDATE issues SET version = 9 WHERE id = '{ids['issue']}'")
            migrations.enforcement.install(store.database)

    inside(tamper)
    assert shell("verify", code=1).startswith(f"I12 issues {ids['issue']}: ")
    told = json.loads(shell("verify", "--json", code=1) if shell.err.count("\n") == 1 else "")
    assert (told["sound"], told["violations"][0]["invariant"], told["violations"][0]["id"]) == (
        False,
        "I12",
        ids["issue"],
    )


@sqlite
def test_a_copy_is_made(shell: Shell, ids: Ids, tmp_path: Path) -> None:
    assert shell.json("backup", str(tmp_path / "copy.db")) == {"backup": str(tmp_path / "copy.db")}
    assert "exists" in (shell("backup", str(tmp_path / "copy.db"), code=2) or shell.err)
    assert Shell(str(tmp_path / "copy.db"), shell._capsys).json("status") == shell.json("status")


# ---- reading -------------------------------------------------------------------------------------------


@reads
@pytest.mark.parametrize("columns", [80, 200])
def test_the_status(columns: int, shell: Shell, ids: Ids, inside: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    told = shell("status")
    assert max(cells(line) for line in told.splitlines() if " fire " not in line) <= columns  # commands stay whole
    counts = inside(lambda store: store.counts())
    flat = " ".join(told.split())
    for table, by_status in counts.items():
        assert f"{table.replace('_', ' ')} " in flat
        for stands, count in by_status.items():
            assert not count or f"{count} {stands}" in flat
    gate = r"  Gate \w{8}  “look”  Epic “A title” › first  maintainer may approve\s+since 2020-01-31 09:30"
    assert re.search(rf"gate: its stage is done .*\n{gate}", told)
    assert "blocked issue: unblock, release or cancel it" in told
    assert flat.count("\x1b") == 0


@reads
def test_the_status_for_programs(shell: Shell, ids: Ids, inside: Any) -> None:
    told = shell.json("status")
    assert told["counts"] == inside(lambda store: store.counts())
    needs = inside(lambda store: [(need.kind, str(need.row.id), need.why) for need in store.needs_human()])
    assert [(need["kind"], need["id"], need["why"]) for need in told["needs_human"]] == needs
    gate = next(need for need in told["needs_human"] if need["kind"] == "gate")
    assert (gate["epic"], gate["stage"]) == (
        {"id": ids["epic"], "title": "A title"},
        {"id": ids["stage"], "name": "first"},
    )
    assert (gate["approvers"], gate["trigger"]) == (["maintainer"], "approve")
    blocked = next(need for need in told["needs_human"] if need["kind"] == "blocked issue")
    assert [blocked[fact] for fact in ("epic", "stage", "approvers", "trigger")] == [None, None, None, "unblock"]


@reads
def test_the_status_tells_what_is_under_way(shell: Shell, ids: Ids) -> None:
    told = shell("status")
    epic, stage, agent, issue = (ids[name][-8:] for name in ("epic", "stage", "agent", "at_work"))
    assert f"\nlive epics  1\n  Epic {epic}  “A title”  awaiting_gate\n" in told
    assert f"    Stage {stage}  awaiting_gate  first\n" in told
    assert re.search(r"\n    Stage \w{8}  pending        stage 1\n", told)
    assert f"\nbusy agents  1\n  coder {agent}  working  Issue {issue}  “At work”\n" in told
    as_json = shell.json("status")
    (only,) = as_json["epics"]
    assert (only["id"], only["title"], only["status"]) == (ids["epic"], "A title", "awaiting_gate")
    assert [(one["name"], one["status"]) for one in only["stages"]] == [
        ("first", "awaiting_gate"),
        ("stage 1", "pending"),
    ]
    (busy,) = as_json["agents"]
    assert (busy["id"], busy["agent_type"], busy["status"]) == (ids["agent"], "coder", "working")
    assert busy["current_issue_id"] == ids["at_work"]


def test_what_is_under_way_is_cut(shell: Shell, target: str, clock: Clock) -> None:
    with open_store(target, durability="normal", clock=clock) as store:
        world = World(store)
        epics = [world.running_epic(stages=5) for _ in range(3)]
        for _ in range(2):
            world.start(world.new_issue())
        clock.forward(hours=1)
        world.start(world.new_issue())
        for _ in range(4):
            epics[1].reload().current_stage.skip(by=MAINTAINER, reason=WHY)
        epics[1].description = "Changed last"
        epics[1].save()
        world.epics("cancelled")
    told = shell("status", "--limit", "2")
    assert re.search(r"\nlive epics  3\n  Epic \w{8}", told)
    assert f"  Epic {str(epics[1].id)[-8:]}" in told.split("live epics")[1].splitlines()[1]
    assert re.findall(r"  Stage \w{8}  (\w+) +(.*)", told)[:2] == [("skipped", "stage 3"), ("in_progress", "stage 4")]
    assert told.count("    and 3 more; --limit shows them\n") == 2
    assert told.count("\n  and 1 more; --limit shows them\n") == 3  # idle stages, epics, agents
    as_json = shell.json("status", "--limit", "2")
    assert [len(epic["stages"]) for epic in as_json["epics"]] == [2, 2]
    assert [agent["last_heartbeat"][11:13] for agent in as_json["agents"]] == ["10", "09"]
    assert "more; --limit" not in shell("status", "--limit", "5")
    assert len(shell.json("status", "--limit", "5")["epics"]) == 3


def answered(told: str, kind: str) -> list[str]:
    """The words behind the program of the command that `status` prints for a kind of wait, its values filled in."""
    behind = told[re.search(rf"^{kind}: ", told, re.MULTILINE).start() :]  # type: ignore[union-attr]
    line = next(line for line in behind.splitlines() if " fire " in line)
    filled = line.replace("LOGIN", "maintainer").replace("choice=TEXT", "choice=a").replace("TEXT", "because")
    return shlex.split(filled[filled.index("fire ") :])


def blocked_and_its_agent_busy(world: World) -> Issue:
    issue: Issue = world.issues("blocked")
    world.new_issue().assign(issue.reload().assigned_agent, by=MAINTAINER)
    return issue


ANSWERED: dict[str, tuple[str, Any]] = {
    **{kind: (kind, WAITS[kind]) for kind in status.NEXT},
    "a choice": (
        "gate",
        lambda world: world.waiting_stage({"gate_type": "decision", "options": ["a", "b"]}).gates.get(),
    ),
    "no gate": ("idle stage", lambda world: world.running_epic().current_stage),
    "a busy agent": ("blocked issue", blocked_and_its_agent_busy),
}
"""A row that waits, and as which kind."""


@pytest.mark.parametrize("waiting", ANSWERED)
def test_the_command_that_the_status_prints_answers(waiting: str, shell: Shell, target: str, clock: Clock) -> None:
    kind, make = ANSWERED[waiting]
    with open_store(target, durability="normal", clock=clock) as store:
        row = make(World(store)).reload()
    shell("fire", *answered(shell("status"), kind)[1:], "--yes")
    assert shell.json("show", str(row.id))["status"] != row.status
    assert str(row.id) not in [need["id"] for need in shell.json("status")["needs_human"]]


def test_every_kind_of_wait_that_a_trigger_ends_has_its_command() -> None:
    no_trigger = {"no quorum", "edited by a stranger", "closed on GitHub"}  # a text is saved, a pull request is decided
    assert status.NEXT.keys() == WAITS.keys() - no_trigger


@sqlite
def test_a_further_command_is_to_the_same_store(
    shell: Shell, ids: Ids, place: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert f"\n  dispatch-state --database {place} fire " in shell("status")
    monkeypatch.setenv("DISPATCH_DATABASE", place)
    assert main(["status"]) == 0
    assert "\n  dispatch-state fire " in capsys.readouterr()[0]
    odd = Path(place).with_name("a b.db")
    shutil.copy(place, odd)
    assert f"--database '{odd}' fire " in Shell(str(odd), capsys)("status")
    url = Shell(f"sqlite:///{place}", capsys)
    assert "\n  dispatch-state --database … fire " in url("status")


def test_a_long_list_of_needs_is_cut(shell: Shell, ids: Ids, inside: Any) -> None:
    inside(lambda store: [World(store).issues("blocked") for _ in range(2)])
    told = shell("status", "--limit", "2")
    assert "and 1 more; --limit shows them" in told
    assert len(re.findall(r"^  Issue \w{8}  “An issue”", told, re.MULTILINE)) == 2
    assert "more; --limit" not in shell("status", "--limit", "3")


@reads
def test_every_row_is_shown_by_the_end_of_its_id(shell: Shell, ids: Ids, inside: Any) -> None:
    def one_of_each(store: Store) -> list[tuple[str, str]]:
        return [(model._meta.table_name, str(model.select().first()._pk)) for model in reading_models()]

    for table, key in inside(one_of_each):
        for named in (key, key.upper(), key.replace("-", ""), key[-12:]):
            told = shell.json("show", named)
            assert (told["table"], told["id"]) == (table, key)
        assert key in shell("show", key[-12:])


def reading_models() -> tuple[Any, ...]:
    from dispatch_state.cli.lookup import NAMED

    assert len(NAMED) == 11
    return NAMED


@reads
def test_one_row(shell: Shell, ids: Ids) -> None:
    told = shell("show", ids["issue"])
    assert "  status             queued (Offered: the next fitting agent that claims gets it.)" in told
    assert "  assign agent=AGENT [worktree_path=TEXT] [branch_name=TEXT] [--reason TEXT]\n" in told
    assert "  cancel --reason TEXT (an override)\n" in told
    assert re.search(r"^ +\d+ .*queue \(unassigned -> queued\) by human:maintainer", told, re.MULTILINE)
    as_json = shell.json("show", ids["issue"])
    assert as_json["legal_triggers"] == list(Issue.machine.legal("queued"))
    assert [move["trigger"] for move in as_json["history"]] == ["create", "queue"]


@reads
def test_a_row_shows_the_rows_that_it_names(shell: Shell, ids: Ids) -> None:
    gate, agent, epic = (shell("show", ids[name]) for name in ("gate", "agent", "epic"))
    assert f"\n  stage               first ({ids['stage'][-8:]})\n" in gate
    assert "stage_id" not in gate
    assert f"\n  current_issue      At work ({ids['at_work'][-8:]})\n" in agent
    assert f"\n  blocked_at_gate      look ({ids['gate'][-8:]})\n" in epic
    assert f"\n  assigned_agent     coder ({ids['agent'][-8:]})\n" in shell("show", ids["at_work"])
    assert shell.json("show", ids["gate"])["stage_id"] == ids["stage"]


@reads
def test_agents_are_called_by_their_type(shell: Shell, ids: Ids, inside: Any) -> None:
    agent = ids["agent"][-8:]
    for words in (["show", ids["agent"]], ["log"], ["explain", ids["at_work"]], ["log", "--follow", "--after", "0"]):
        told = shell(*words, *(["--timeout", "0"] if "--follow" in words else []))
        assert f" by coder {agent}" in told
        assert "agent:" not in told
    assert {move["actor"] for move in shell.lines("log")} >= {f"agent:{ids['agent']}"}


def test_the_comments_of_a_gate_are_shown(shell: Shell, ids: Ids, inside: Any) -> None:
    gate, agent = ids["gate"], ids["agent"]
    assert "\ncomments\n  2020-01-31 09:30:00+00:00  maintainer: Looks fine\nhistory\n" in shell("show", gate)
    inside(lambda store: World(store).gates("pending").comment("Elsewhere", by=MAINTAINER))
    inside(lambda store: Gate.get_by_id(gate).comment("One line\nand another", by=Agent.get_by_id(agent)))
    shell("fire", gate, "approve", "comment=Go", "--as", "maintainer", "--reason", "It is sound")
    told = shell("show", gate)
    assert re.search(rf"  coder {agent[-8:]}: One line\n    and another\n  \S+ \S+  maintainer: Go\nhistory", told)
    said = shell.json("show", gate)["comments"]
    assert [comment["content"] for comment in said] == ["Looks fine", "One line\nand another", "Go"]
    assert (said[1]["author"], said[2]["author"]) == (f"agent:{agent}", "maintainer")
    assert shell("decisions", "--last", "1").endswith("by human:maintainer: It is sound\n")
    assert "comments" not in shell("show", ids["issue"])


@reads
def test_what_could_not_be_fired_now_is_marked(shell: Shell, ids: Ids) -> None:
    gate = shell("show", ids["gate"])
    assert "\n  approve [comment=TEXT] [choice=TEXT] [--reason TEXT]\n" in gate
    assert '\n  auto_approve [--reason TEXT]  (not now: it takes System("checkpoint"), not human:maintainer)\n' in gate
    stage = shell("show", ids["stage"])
    assert f"\n  approve [--reason TEXT]  (not now: Gate {ids['gate'][-8:]} is pending)\n" in stage
    assert "\n  rework [--reason TEXT]  (not now: no gate of it is rejected)\n" in stage
    assert "\n  skip [cancel_issues=TRUE|FALSE] --reason TEXT (an override)\n" in stage
    assert shell.json("show", ids["stage"])["not_now"] == {
        "approve": [f"Gate {ids['gate'][-8:]} is pending"],
        "rework": ["no gate of it is rejected"],
    }


def test_what_takes_a_row_is_marked_too(shell: Shell, target: str) -> None:
    """Whichever row it would be."""
    with open_store(target, durability="normal") as store:
        issue = World(store).stages("pending").add_issue(**World(store).issue_columns())
        stage = str(issue.stage)
    told = shell("show", str(issue.id))
    assert f"\n  queue [--reason TEXT]  (not now: {stage} is pending, not in_progress)\n" in told
    assert re.search(rf"\n  assign agent=AGENT .*\(not now: {stage} is pending, not in_progress\)\n", told)


def test_a_final_row_says_that_it_is(shell: Shell, ids: Ids, inside: Any) -> None:
    done = inside(lambda store: str(World(store).issues("done").id))
    assert "nothing starts from here: that is final" in shell("show", done)


@reads
def test_a_prompt_is_shown_on_demand_only(shell: Shell, ids: Ids) -> None:
    asked = [["show", ids["issue"]], ["explain", ids["issue"]], ["log"], ["decisions"], ["board"], ["status"]]
    for words in asked:
        assert PROMPT not in shell(*words)
        assert PROMPT not in shell(*words, "--json")
    assert f"{len(PROMPT)} characters; --prompt shows them" in shell("show", ids["issue"])
    assert PROMPT in shell("show", ids["issue"], "--prompt")
    assert shell.json("show", ids["issue"], "--prompt")["prompt"] == PROMPT


@reads
def test_a_removed_row_has_its_history(shell: Shell, ids: Ids) -> None:
    assert f"issues {ids['gone']} is not there any more: it was removed\n" in shell("show", ids["gone"][-12:])
    for words in (["explain", "{}"], ["diagram", "{}"], ["fire", "{}", "queue", "--as", "me"]):
        shell(*[word.format(ids["gone"][-12:]) for word in words], code=1)
        assert f"issues {ids['gone']} is not there any more: it was removed; show tells its history" in shell.err
    shell("board", "--epic", ids["gone"][-12:], code=1)
    assert "no Epic here has an id that ends in" in shell.err
    told = shell.json("show", ids["gone"])
    assert (told["id"], [move["trigger"] for move in told["history"]]) == (ids["gone"], ["create", "cancel", "remove"])


@sqlite
def test_a_row_that_somebody_deleted_past_the_log_is_not_called_removed(shell: Shell, ids: Ids, place: str) -> None:
    with open_store(place) as store, store.database.atomic():
        migrations.enforcement.remove(store.database)
        store.database.execute_sql(f"DELETE FROM agents WHERE id = '{ids['idle']}'")
        migrations.enforcement.install(store.database)
    told = f"agents {ids['idle']} is not there any more: its log does not say that it was removed; verify the store"
    assert shell("show", ids["idle"]).splitlines()[0] == told
    shell("explain", ids["idle"], code=1)
    assert f"{told}; show tells its history" in shell.err


@reads
def test_why_a_row_is_where_it_is(shell: Shell, ids: Ids, inside: Any) -> None:
    told = shell("explain", ids["stage"][-12:])
    explained = inside(lambda store: store.explain(MODELS["stages"].get_by_id(ids["stage"])))
    assert told == explained + "\n"
    assert "which followed" in told
    as_json = shell.json("explain", ids["stage"])
    assert as_json["waits_for"] == [f"Gate {ids['gate'][-8:]} is pending (maintainer may approve)"]
    assert told.endswith(f"\n  waits for: {as_json['waits_for'][0]}\n")
    chain = as_json["because"]
    assert [move["trigger"] for move in chain] == ["submit", "complete"]
    assert chain[0]["cause_seq"] == chain[1]["seq"]


def moves(inside: Any) -> list[int]:
    return inside(lambda store: [move.seq for move in store.changes(limit=10_000)])  # type: ignore[no-any-return]


@reads
def test_the_log(shell: Shell, ids: Ids, inside: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "PAGE", 3)
    all_of_them = moves(inside)
    assert len(all_of_them) > 30
    assert [move["seq"] for move in shell.lines("log")] == all_of_them
    assert [int(line.split()[0]) for line in shell("log").splitlines()] == all_of_them
    assert [move["seq"] for move in shell.lines("log", "--after", str(all_of_them[-4]))] == all_of_them[-3:]
    assert [move["seq"] for move in shell.lines("log", "--last", "5")] == all_of_them[-5:]
    assert [move["seq"] for move in shell.lines("log", "--last", "100000")] == all_of_them
    assert (shell("log", "--after", str(all_of_them[-1])), shell.err) == ("", "no moves\n")
    assert (shell("log", "--last", "1").count("\n"), shell.err) == (1, "")


def test_nothing_to_tell_is_told(shell: Shell) -> None:
    shell("init")
    for command, none in (("log", "no moves\n"), ("decisions", "no decisions\n")):
        assert (shell(command), shell.err) == ("", none)
        assert (shell(command, "--json"), shell.err) == ("", "")


@reads
def test_the_log_is_followed_to_its_end(shell: Shell, ids: Ids, inside: Any) -> None:
    all_of_them = moves(inside)
    follow = ("--follow", "--timeout", "0")
    assert [move["seq"] for move in shell.lines("log", "--after", "0", *follow)] == all_of_them
    assert [move["seq"] for move in shell.lines("log", "--last", "2", *follow)] == all_of_them[-2:]
    assert shell.lines("log", *follow) == []
    assert (shell("log", *follow), shell.err) == ("", "no moves\n")


@reads
def test_the_log_holds_a_page_at_a_time(shell: Shell, ids: Ids, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long it is."""
    asked: list[int] = []
    changes = Store.changes

    def counting(store: Store, after: int = 0, limit: int = 1000) -> list[TransitionLog]:
        asked.append(limit)
        return changes(store, after, limit)

    monkeypatch.setattr(Store, "changes", counting)
    monkeypatch.setattr(log, "PAGE", 10)
    assert len(shell("log").splitlines()) in range(10 * (len(asked) - 1) - 9, 10 * (len(asked) - 1) + 1)
    assert set(asked) == {10}


@reads
def test_the_decisions(shell: Shell, ids: Ids, inside: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "PAGE", 1)
    known = inside(lambda store: [str(decision.id) for decision in Decision.select().order_by(Decision.id)])
    assert len(known) == 3
    assert [decision["id"] for decision in shell.lines("decisions")] == known
    assert [decision["id"] for decision in shell.lines("decisions", "--last", "2")] == known[-2:]
    told = shell("decisions", "--last", "1")
    assert shell.err == ""
    assert "human veto: veto proposal “A title”" in told
    assert told.endswith(f"by human:maintainer: {WHY}\n")


@reads
def test_diagrams(shell: Shell, ids: Ids, tmp_path: Path) -> None:
    for table, model in MODELS.items():
        assert shell("diagram", table) == model.machine.to_mermaid()
        assert shell("diagram", table, "--format", "dot") == model.machine.to_dot()
    assert shell("diagram", ids["issue"][-12:]) == Issue.machine.to_mermaid("queued")
    assert "stages_start --> issues_queue" in shell("diagram", "cascades")
    assert shell.json("diagram", "cascades", "--format", "markdown")["text"].startswith("| move |")
    for name in ("issue", "Issue", "ISSUES"):
        assert shell("diagram", name) == Issue.machine.to_mermaid()
    for name in ("pull_request", "PullRequest"):
        assert shell("diagram", name) == MODELS["pull_requests"].machine.to_mermaid()
    shell("diagram", "tables", code=2)
    assert '"tables" is no id, nor the end of one, nor cascades, nor a table: epics, stages, gates, ' in shell.err
    assert shell("diagram", "issues", "--output", str(tmp_path / "issues.mmd")) == ""
    assert shell.err == f"wrote {tmp_path / 'issues.mmd'}\n"
    assert (tmp_path / "issues.mmd").read_text() == Issue.machine.to_mermaid()


def test_pictures_or_a_clear_word(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "dot"
    program.write_text("#!/bin/sh\necho picture\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert shell.json("diagram", "issues", "--format", "svg")["text"] == "picture\n"
    png = ("diagram", "issues", "--format", "png")
    assert shell.json(*png, "--output", str(tmp_path / "a.png"))["file"] == str(tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes() == b"picture\n"
    assert "--output" in (shell(*png, "--json", code=2) or shell.err)
    program.unlink()
    assert "takes Graphviz" in (shell("diagram", "cascades", "--format", "svg", code=2) or shell.err)


# ---- acting --------------------------------------------------------------------------------------------


def test_a_person_approves_a_gate(shell: Shell, ids: Ids, inside: Any) -> None:
    told = shell("fire", ids["gate"][-12:], "approve", "--as", "Maintainer", "--reason", "Good", "comment=Well done")
    assert told.splitlines()[0] == f"gates {ids['gate'][-8:]}  approve (pending -> approved)"
    assert [line.split()[0] for line in told.splitlines()] == ["gates", "stages", "epics", "stages"]
    last = inside(
        lambda store: (Gate.get_by_id(ids["gate"]).approved_by, Decision.get(Decision.decision_type == "gate_approved"))
    )
    assert (last[0], last[1].decided_by, last[1].outcome["reason"]) == ("maintainer", "human:maintainer", "Good")


def test_moves_for_programs(shell: Shell, ids: Ids) -> None:
    told = shell.json(
        "fire", ids["issue"], "assign", "--as", "maintainer", f"agent={ids['idle'][-12:]}", "branch_name=b"
    )
    assert [(move["entity"], move["trigger"]) for move in told["moves"]] == [
        ("issues", "assign"),
        ("agents", "dispatch"),
    ]
    shown = shell.json("show", ids["issue"])
    assert (shown["assigned_agent_id"], shown["branch_name"], shown["version"]) == (ids["idle"], "b", 3)


def test_arguments_are_read_as_the_trigger_declares_them(shell: Shell, ids: Ids) -> None:
    shell("fire", ids["agent"], "fail", "error=out of memory", "max_attempts=1", "--as", "maintainer")
    assert shell.json("show", ids["at_work"])["status"] == "blocked"
    shell("fire", ids["proposal"], "force_approve", "--as", "maintainer", "--reason", WHY, "--yes")
    shell("fire", ids["proposal"], "begin_execution", "--as", "maintainer")
    shell("fire", ids["proposal"], "finish_execution", 'result={"n": [1, null]}', "--as", "maintainer")
    assert shell.json("show", ids["proposal"])["execution_result"] == {"n": [1, None]}
    stage = shell.json("show", ids["stage"])["id"]
    shell("fire", stage, "skip", "cancel_issues=true", "--as", "maintainer", "--reason", WHY, "--yes")


CANCEL = ("cancel", "--as", "maintainer", "--reason", WHY)


def test_an_override_takes_a_yes(shell: Shell, ids: Ids, monkeypatch: pytest.MonkeyPatch) -> None:
    shell("fire", ids["issue"], *CANCEL, code=2)
    assert shell.err.endswith("cancel takes --yes, because it is an override and nobody can be asked\n")
    assert shell.json("show", ids["issue"])["status"] == "queued"
    shell("fire", ids["issue"], *CANCEL, "--yes")
    assert shell.json("show", ids["issue"])["status"] == "cancelled"


@sqlite
@pytest.mark.parametrize(("typed", "code"), [("y\n", 0), ("YES\n", 0), ("n\n", 1), ("\n", 1), ("", 1), ("yeah\n", 1)])
def test_a_person_at_a_terminal_is_asked(
    typed: str, code: int, shell: Shell, ids: Ids, monkeypatch: pytest.MonkeyPatch
) -> None:
    with shell.at_a_terminal(monkeypatch, typed) as (_, err):
        assert main(["--database", shell.target, "fire", ids["issue"], *CANCEL]) == code
    assert "is queued: cancel it, as maintainer? [y/N]" in err.getvalue()
    assert not CONTROL.search(err.getvalue())
    assert shell.json("show", ids["issue"])["status"] == ("queued" if code else "cancelled")


@reads
def test_all_that_is_still_to_be_said_is_told_at_once(shell: Shell, ids: Ids, monkeypatch: pytest.MonkeyPatch) -> None:
    for reason in ([], ["--reason", " \n"]):
        shell("fire", ids["gate"], "skip", "--as", "maintainer", *reason, code=2)
        assert "skip takes --reason TEXT and --yes, because it is an override and nobody" in shell.err
    shell("fire", ids["gate"], "skip", "--as", "maintainer", "--yes", code=2)
    assert shell.err == "dispatch-state: skip takes --reason TEXT\n"
    with shell.at_a_terminal(monkeypatch, "y\n") as (_, err):
        assert main(["--database", shell.target, "fire", ids["gate"], "skip", "--as", "maintainer"]) == 2
    assert err.getvalue() == "dispatch-state: skip takes --reason TEXT\n"  # before anybody is asked


@reads
def test_a_trigger_that_is_taken_for_a_command(shell: Shell, ids: Ids) -> None:
    for trigger in ("approve", "mark_ready"):
        shell(trigger, ids["gate"], code=2)
        assert f"{trigger} is a trigger, no command: dispatch-state fire ID {trigger} --as LOGIN\n" in shell.err
    shell("aprove", ids["gate"], code=2)
    meant = '"aprove" is no command; did you mean approve? That is a trigger: dispatch-state fire ID TRIGGER --as LOGIN'
    assert shell.err == f"dispatch-state: {meant}\n"
    shell("diagram", "issues", "--format", "approve", code=2)
    assert "invalid choice" in shell.err
    assert "trigger" not in shell.err


@reads
@sqlite
@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("stauts", '"stauts" is no command; did you mean status?'),
        ("help stauts", '"stauts" is no command; did you mean status?'),
        ("log --lsat 3", "unrecognized arguments: --lsat 3; did you mean --last? (usage: dispatch-state log "),
        ("log --lsat=3", "unrecognized arguments: --lsat=3; did you mean --last? (usage: dispatch-state log "),
        ("status --jsn", "unrecognized arguments: --jsn; did you mean --json? (usage: dispatch-state status "),
        ("diagram issues --format svgg", "did you mean svg? (usage: dispatch-state diagram "),
        (
            "diagram isues",
            "nor a table: epics, stages, gates, issues, pull_requests, agents, proposals; did you mean iss",
        ),
        ("diagram cascade", "proposals; did you mean cascades?"),
        ("fire {gate} aprove --as me", 'Gate has no trigger "aprove"; did you mean approve?'),
        ("fire {gate} approve coment=x --as me", "takes comment, choice as NAME=VALUE; did you mean comment?"),
        ("fire {gate} approve --raeson x --as me", "did you mean --reason? (usage: dispatch-state fire "),
    ],
)
def test_what_was_probably_meant(words: str, meant: str, shell: Shell, ids: Ids) -> None:
    shell(*words.format(**ids).split(), code=2)
    assert meant in shell.err


def test_a_word_like_none_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    shell = Shell("", capsys)
    shell("zzz", code=2)
    assert shell.err == f'dispatch-state: "zzz" is no command; there are {", ".join(EVERY_NAME)}\n'
    shell("status", "--zzz", code=2)
    assert "did you mean" not in shell.err


EVERY_NAME = [*(command.name for command in COMMANDS), "help"]


def test_help_is_given_to_whoever_asks(capsys: pytest.CaptureFixture[str]) -> None:
    """By a word, by an option, or by saying nothing; programs are told that they said nothing."""

    def told(*words: str) -> str:
        with pytest.raises(SystemExit) as ended:
            main(words)
        out, err = capsys.readouterr()
        assert (ended.value.code, err) == (0, "")
        return str(out)

    whole = told("--help")
    assert all(re.search(rf"^ +{name} ", whole, re.MULTILINE) for name in EVERY_NAME)
    assert told("help") == told() == told("--database", "x") == whole
    assert told("help", "fire") == told("fire", "--help") != whole
    assert told("help", "help") == told("help", "--help")
    assert (main(["--json"]), json.loads(capsys.readouterr().err)["error"]) == (2, "InvalidValue")


@reads
def test_what_the_lifecycle_forbids(shell: Shell, ids: Ids) -> None:
    shell("fire", ids["issue"], "complete", "--as", "maintainer", code=1)
    legal = ", ".join(Issue.machine.legal("queued"))
    assert f"complete does not start there; legal here: {legal}" in shell.err
    shell("fire", ids["gate"], "approve", "--as", "stranger", code=1)
    assert "maintainer" in shell.err
    shell("fire", ids["gate"], "reject", "--as", "maintainer", code=2)
    assert shell.err == "dispatch-state: reject takes --reason TEXT\n"


@reads
def test_nobody_acts_as_an_agent(shell: Shell, ids: Ids, inside: Any) -> None:
    before = moves(inside)
    for login in (f"agent:{ids['agent']}", "system:tick", "sangha ", "", "human:maintainer", "a b"):
        shell("fire", ids["issue"], "dequeue", "--as", login, code=2)
        assert "not a login" in shell.err
    shell("fire", ids["issue"], "dequeue", code=2)
    assert moves(inside) == before


def test_a_mail_address_acts(shell: Shell, ids: Ids) -> None:
    shell("fire", ids["issue"], "dequeue", "--as", "@Kim@Example.com")
    assert "by human:kim@example.com" in shell("explain", ids["issue"])
    assert (shell("verify"), shell.err) == ("", "sound\n")


def test_upkeep(shell: Shell, ids: Ids, inside: Any) -> None:
    """By the wall clock the agent at work, and the vote, are years old."""
    told = shell("rescue", "--max-attempts", "1")
    assert f"agents {ids['agent'][-8:]}  fail (working -> errored)" in told
    assert shell.json("show", ids["at_work"])["status"] == "blocked"
    assert (shell("rescue"), shell.err) == ("", "nothing was due\n")
    assert {move["trigger"] for move in shell.json("tick")["moves"]} >= {"reject"}
    assert shell.json("tick") == {"moves": []}
    assert shell.json("rescue", "--timeout", "5") == {"moves": []}
    told = shell("rescue", "--idle-timeout", "60")
    assert f"agents {ids['idle'][-8:]}  stop (idle -> completed)" in told
    assert shell.json("rescue", "--idle-timeout", "60") == {"moves": []}


# ---- terminals -----------------------------------------------------------------------------------------


@reads
def test_no_row_plays_tricks_on_a_terminal(shell: Shell, ids: Ids) -> None:
    asked = [
        ["show", ids["issue"], "--prompt"],
        ["explain", ids["issue"]],
        ["log"],
        ["decisions"],
        ["board"],
        ["status"],
    ]
    for words in asked:
        for told in (shell(*words), shell(*words, "--json")):
            assert not CONTROL.search(told), words
    assert r"Evil \x1b[31mred\x1b[0m \x07bell \u202edlrow \u2028 line\nfeed \x9b2J" in shell("explain", ids["issue"])
    assert shell.json("show", ids["issue"])["title"] == EVIL


def test_what_is_visible_stays() -> None:
    plain = "Grüße, 日本語 🎉 “quoted” a\u00a0b"
    assert visible(plain) == plain
    assert visible("a\tb\nc\rd", lines=True) == "a\tb\nc\\rd"
    assert visible("a\tb\nc\x00\ud800") == r"a\tb\nc\x00\ud800"


@pytest.mark.parametrize(
    ("text", "width", "cut"),
    [
        ("abc", 3, "abc"),
        ("abcd", 3, "ab…"),
        ("日本語", 6, "日本語"),
        ("日本語", 5, "日本…"),
        ("日本語", 4, "日…"),
        ("e\u0301e", 2, "e\u0301e"),
        ("ที่นี่มีน้ำ", 6, "ที่นี่มีน้ำ"),
        ("ที่นี่มีน้ำ", 4, "ที่นี่มี…"),
        ("हिन्दी", 4, "हिन्…"),
        ("👩\u200d💻 ok", 5, "👩\u200d💻 ok"),
        ("👩\u200d💻 okay", 5, "👩\u200d💻 o…"),
        ("क\u200dष", 2, "क\u200dष"),
        ("a" + "\u0301" * 100 + "bc", 2, "a" + "\u0301" * 15 + "…"),
    ],
)
def test_wide_characters_are_counted(text: str, width: int, cut: str) -> None:
    assert clipped(text, width) == cut
    assert cells(cut) <= width


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("ที่", 1), ("हिन्दी", 5),
        ("👩\u200d💻", 2), ("👨\u200d👩\u200d👧", 2), ("a\u20dd", 1), ("\u2764\ufe0f", 1), ("日", 2),
    ],
)  # fmt: skip
def test_what_joins_another_character_takes_no_place(text: str, places: int) -> None:
    assert cells(text) == places


@reads
@sqlite
@pytest.mark.parametrize("words", [["status"], ["board"], ["log"], ["show"]])
def test_colours_are_for_terminals(words: list[str], shell: Shell, ids: Ids, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    arguments = ["--database", shell.target, *words, *([ids["issue"]] if words == ["show"] else [])]

    def drawn() -> str:
        with shell.at_a_terminal(monkeypatch) as (out, _):
            assert main(arguments) == 0
        return out.getvalue()

    coloured = drawn()
    assert re.search(r"\x1b\[[\d;]*m", coloured)
    monkeypatch.setenv("NO_COLOR", "1")
    plain = drawn()
    assert "\x1b" not in plain
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured) == plain
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert drawn() == plain
    assert shell(*arguments[2:]) == plain


def test_long_work_says_that_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "PATIENCE", 0.001)
    monkeypatch.setattr(sys, "stderr", err := Screen())
    with Terminal(as_json=False).progress("copying") as done:
        for known, shown in (((0, 0), ""), ((1200, 0), " 1,200 rows,"), ((1200, 4000), " 1,200 of 4,000 rows,")):
            done(*known)
            while f"copying …{shown} 0 s" not in err.getvalue():
                pass
    assert err.getvalue().endswith("\r\x1b[K")
    with Terminal(as_json=False).progress("verifying", "checks") as done:
        done(3, 50)
        while "verifying … 3 of 50 checks, 0 s" not in err.getvalue():
            pass
    monkeypatch.setattr(sys, "stderr", err := Screen())
    monkeypatch.setattr(Screen, "isatty", lambda screen: False)
    with Terminal(as_json=False).progress("copying"):
        pass
    assert err.getvalue() == ""


WORK: dict[str, list[str]] = {
    "migrate": ["migrating"],
    "verify": ["verifying", "counted"],
    "backup new.db": ["copying"],
    "export new.jsonl": ["exporting", "counted"],
    "import all.jsonl": ["importing", "counted"],
    "copy full.db new.db": ["reading", "counted", "writing", "counted"],
}
"""Commands that may take long, and what they say meanwhile; some count what is done."""


@pytest.mark.parametrize("words", WORK)
def test_long_commands_say_how_far_they_are(words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DISPATCH_DATABASE", raising=False)
    fill("full.db")
    assert main(["--database", "full.db", "export", "all.jsonl"]) == 0
    told: list[str] = []

    @contextmanager
    def progress(_: Terminal, what: str, unit: str = "rows") -> Iterator[Any]:
        told.append(what)
        yield lambda done, total: told.append("counted") if "counted" not in told[-1:] else None

    monkeypatch.setattr(Terminal, "progress", progress)
    store = [] if words.startswith("copy") else ["--database", "full.db"]
    if words.startswith("import"):
        store = ["--database", "new.db"]
        open_store("new.db").close()
    assert main([*store, *words.split()]) == 0
    assert told == WORK[words]


# ---- what wrong calls are told -------------------------------------------------------------------------

WRONG_IDS = ["", " ", "xyz", "\0", "a\0b", "\udcff", "%", "_", "é" * 50, "0" * 37, "--", "issues"]


@reads
@sqlite
@pytest.mark.parametrize("words", [["show"], ["explain"], ["diagram"], ["board", "--epic"], ["fire"]])
def test_ids_that_are_none(words: list[str], shell: Shell, ids: Ids) -> None:
    rest = ["queue", "--as", "me"] if words == ["fire"] else []
    for wrong in WRONG_IDS:
        if (words, wrong) != (["diagram"], "issues"):
            shell(*words, wrong, *rest, code=2)
    for unknown in (SOMEBODY, "dead" * 3):
        shell(*words, unknown, *rest, code=1)
        assert "id" in shell.err


@reads
@sqlite
def test_the_end_of_more_than_one_id(shell: Shell, ids: Ids, inside: Any) -> None:
    every = inside(lambda store: [str(row.id) for model in MODELS.values() for row in model.select()])
    ends = Counter(key[-1] for key in every)
    end, count = ends.most_common(1)[0]
    assert count > 1
    for words in (["show", end], ["explain", end], ["diagram", end]):
        shell(*words, code=1)
        assert f"{end} is the end of more than one id: " in shell.err
        assert shell.err.count("-7") >= 2
        assert (", and others; give more of it" in shell.err) == (count > 4)


def test_an_end_names_a_row_with_a_lifecycle_before_all_others(shell: Shell, target: str) -> None:
    """Lines of logs whose ids end alike are in nobody's way, nor are rows that were removed."""
    with open_store(target, durability="normal"):
        agent = Agent.create(id=UUID(int=1), agent_type="coder")
        lines = [str(agent.log("info", str(number)).id) for number in range(40)]
        end, count = Counter(line[-1] for line in lines if line[-1] != "1").most_common(1)[0]
        epic = Epic.create(id=f"{'0' * 31}{end}", title="Live", description="d", repo_path="/src")
        for number in range(2):
            gone = f"{number}{'0' * 26}beef{end}"
            issue = Issue.create(id=gone, title="Gone", prompt="p", issue_type="bug", repo_path="/src")
            issue.cancel(by=MAINTAINER, reason=WHY)
            issue.remove(by=MAINTAINER, reason=WHY)
    assert count > 1
    for word in (end, str(epic.id)[-4:]):
        assert [shell.json("show", word)[column] for column in ("table", "id")] == ["epics", str(epic.id)]
    assert shell.json("show", lines[0][-8:])["table"] == "agent_logs"
    shell("show", f"beef{end}", code=1)
    both = [f"issues {number}{'0' * 7}-0000-0000-0000-0000000beef{end} (not there any more)" for number in range(2)]
    assert f"beef{end} is the end of more than one id: {both[0]}, {both[1]}; give more of it" in shell.err


def test_a_short_end_changes_nothing(shell: Shell, ids: Ids, inside: Any) -> None:
    """It takes four characters, of what a trigger's argument names too."""
    key, idle = ids["issue"], ids["idle"]
    for end in (key[-1:], key[-3:]):
        shell("fire", end, "dequeue", "--as", "me", code=2)
        assert f"dispatch-state: {end}: to change a row, give at least 4 characters of its id\n" == shell.err
    shell("fire", key[-8:], "assign", f"agent={idle[-3:]}", "--as", "me", code=2)
    assert f"{idle[-3:]}: to change a row, give at least 4 characters" in shell.err
    assert shell.json("show", key)["status"] == "queued"
    shell("fire", key[-6:], "assign", f"agent={idle[-6:]}", "--as", "me")
    assert shell.json("show", key)["status"] == "assigned"


@reads
@sqlite
@pytest.mark.parametrize(
    "words",
    [
        ["no_such"],
        ["approve", "choice"],
        ["approve", "nonsense=1"],
        ["approve", "comment=a", "comment=b"],
        ["approve", "comment=\0"],
        ["approve", "comment=\udcff"],
        ["approve", "comment="],
        ["approve", "--reason", "\0"],
        ["approve", "--reason", "x" * 1_000_001],
        ["approve", "--nonsense"],
        ["\x1b[31m"],
        ["queue", "agent=me"],
        [""],
    ],
)
def test_triggers_that_are_called_wrongly(words: list[str], shell: Shell, ids: Ids) -> None:
    shell("fire", ids["gate"], *words, "--as", "maintainer", code=2)
    assert not CONTROL.search(shell.err)
    assert len(shell.err) < 600


@sqlite
def test_arguments_that_cannot_be_read(shell: Shell, ids: Ids) -> None:
    def refused(row: str, trigger: str, *given: str, code: int = 2) -> str:
        shell("fire", ids[row], trigger, *given, "--as", "maintainer", "--reason", WHY, "--yes", code=code)
        return shell.err

    assert "assign takes agent=VALUE" in refused("issue", "assign")
    assert "no Agent here has an id that ends in" in refused("issue", "assign", "agent=dead" + "dead", code=1)
    assert "is no id" in refused("issue", "assign", "agent=coder")
    assert "whole number" in refused("agent", "fail", "error=x", "max_attempts=many")
    assert "at least 1" in refused("agent", "fail", "error=x", "max_attempts=0")
    assert "true or false" in refused("stage", "skip", "cancel_issues=yes")
    shell("fire", ids["proposal"], "force_approve", "--as", "maintainer", "--reason", WHY, "--yes")
    shell("fire", ids["proposal"], "begin_execution", "--as", "maintainer")
    for wrong in ("{", "[1]", "NaN", "[" * 100_000, '{"a": 1e999}'):
        refused("proposal", "finish_execution", f"result={wrong}")


@reads
@sqlite
@pytest.mark.parametrize(
    "words",
    [
        ["nonsense"], ["status", "extra"], ["status", "--limit", "0"], ["status", "--limit", "x"],
        ["status", "--limit", "-1"], ["status", "--limit", str(2**70)], ["log", "--last", "0"], ["log", "--after", "x"],
        ["log", "--after", "-5"], ["log", "--after", "1" * 5000],
        ["log", "--after", "1", "--last", "2"], ["log", "--after", str(2**70)], ["log", "--timeout", "nan"],
        ["log", "--timeout", "-1"], ["log", "--timeout", "inf"], ["decisions", "--last", "-3"],
        ["board", "--limit", "0"], ["board", "--html", ""], ["board", "--html", "\0"], ["board", "--timeout", "nan"],
        ["diagram"], ["diagram", "issues", "--format", "pdf"], ["diagram", "issues", "--output", ""], ["backup"],
        ["backup", "a\0b"], ["rescue", "--timeout", "0"], ["rescue", "--timeout", "inf"],
        ["rescue", "--max-attempts", "0"], ["rescue", "--idle-timeout", "0"], ["tick", "now"], ["verify", "--stat"],
        ["show"], ["explain"], ["fire"], ["init", "x"], ["migrate", "x"],
        ["--nonsense", "status"], ["status", "\x1b[31m"],
    ],
)  # fmt: skip
def test_wrong_calls(words: list[str], shell: Shell, ids: Ids) -> None:
    assert shell(*words, code=2) == ""
    assert not CONTROL.search(shell.err)


FULL = Path("/dev/full")
full = pytest.mark.skipif(not FULL.exists(), reason="THERE IS NO /dev/full HERE: A FULL DISK IS NOT TRIED")
UNWRITABLE = ["/no/such/folder/x", "/", "x" * 5000, pytest.param(str(FULL), marks=full)]


@reads
@sqlite
@pytest.mark.parametrize("file", UNWRITABLE)
@pytest.mark.parametrize("words", [["board", "--html"], ["diagram", "issues", "--output"]])
def test_files_that_cannot_be_written(words: list[str], file: str, shell: Shell, ids: Ids) -> None:
    assert shell(*words, file, code=3) == ""
    assert "cannot be written" in shell.err


PASSWORD = "hunter2"
URL = f"postgresql://user:{PASSWORD}@127.0.0.1:1/none?connect_timeout=2&password={PASSWORD}"
RUN: dict[str, list[str]] = {
    "backup": ["copy.db"], "export": ["copy.jsonl"], "import": ["none.jsonl"], "show": [SOMEBODY],
    "explain": [SOMEBODY], "diagram": [SOMEBODY], "fire": [SOMEBODY, "queue", "--as", "me"],
}  # fmt: skip
"""What a command takes at least."""


@pytest.mark.parametrize("name", [command.name for command in COMMANDS])
def test_no_password_is_told(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    """Wherever its URL stands on the command line: as the store, or where a command wants something else."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DISPATCH_DATABASE", raising=False)
    open_store("dispatch.db").close()
    words = RUN.get(name, [])
    calls = [[name, URL], [name, *words, URL], [name, *words, "--limit", URL], [name, *words, f"--{URL}"], [URL, name]]
    calls += [["--database", URL, name, *words], ["--database", "dispatch.db", name, *[URL for _ in words or "x"]]]
    calls += [["copy", "dispatch.db", URL], ["copy", URL, "dispatch.db"]] if name == "copy" else []
    for call in calls:
        for form in ([], ["--json"]):
            assert main([*call, *form]) in (1, 2, 3)
            told = "".join(capfd.readouterr())
            assert told
            assert PASSWORD not in told


@sqlite
def test_a_copy_into_a_full_store_does_not_tell_its_password(
    target: str, tmp_path: Path, capfd: Any, backend: str
) -> None:
    with postgres.fresh_schema() as url:
        parts = urlsplit(url)
        secret = parts._replace(netloc=f"{parts.username or ''}:{PASSWORD}@{parts.hostname or ''}").geturl()
        with open_store(url):
            Agent.create(agent_type="coder")
        open_store(target).close()
        assert main(["copy", target, secret]) == 3
    told = "".join(capfd.readouterr())
    assert f"{resolve(secret)}: the store is not empty; name an empty one" in told
    assert PASSWORD not in told


EVERY = [
    ["status"], ["board"], ["log"], ["log", "--follow"], ["decisions"], ["show", SOMEBODY], ["explain", SOMEBODY],
    ["verify"], ["tick"], ["rescue"], ["migrate"], ["backup", "copy.db"],
    ["export", "copy.jsonl"], ["import", "none.jsonl"], ["diagram", SOMEBODY],
    ["fire", SOMEBODY, "queue", "--as", "me"],
]  # fmt: skip


def test_every_command_is_tried() -> None:
    assert {words[0] for words in EVERY} == {command.name for command in COMMANDS} - {"init", "copy"}


@pytest.mark.parametrize("words", EVERY)
def test_stores_that_are_none(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "corrupt.db").write_text("no database at all, but long enough to be read as a page" * 50)
    Shell("corrupt.db", capsys)(*words, code=3)
    Shell("missing.db", capsys)(*words, code=3)
    Shell(str(tmp_path), capsys)(*words, code=2)
    Shell("mysql://x", capsys)(*words, code=2)
    Shell("a\0b", capsys)(*words, code=2)
    Shell("postgresql://nobody@127.0.0.1:1/none?connect_timeout=2", capsys)("status", code=3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corrupt.db"]


@pytest.mark.parametrize("place", ["no/such/folder/x.db", "corrupt.db", ".", "a\0b"])
def test_stores_that_cannot_be_made(
    place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "corrupt.db").write_text("no database at all, but long enough to be read as a page" * 50)
    (tmp_path / "no").write_text("a file where a folder is wanted")
    Shell(place, capsys)("init", code=2 if place in (".", "a\0b") else 3)


GARBAGE = [
    ("issues", "created_at", "garbage"),
    ("issues", "updated_at", "0001-01-01T00:00:00+23:59"),
    ("issues", "labels", "{bad"),
    ("issues", "labels", "3"),
    ("issues", "labels", "[" * 100_000),
    ("issues", "status", "odd"),
    ("issues", "epic_id", "none"),
    ("transition_log", "created_at", "x"),
    ("transition_log", "entity_id", "zz"),
    ("decisions", "outcome", "[1]"),
    ("agents", "metrics", "3"),
]
"""Columns, and what no version of the library stored there."""
BYTES = [
    (table, column, b"\xff\x00")
    for table, columns in {
        "issues": ("id", "title", "status", "labels", "created_at", "assigned_agent_id"),
        "transition_log": ("trigger", "created_at"),
    }.items()
    for column in columns
]
READ = [("labels", "3"), ("status", "odd"), ("outcome", "[1]"), ("metrics", "3")]
"""What is shown as it stands, wrong as it is."""


@sqlite
@pytest.mark.parametrize(("table", "column", "value"), [*GARBAGE, *BYTES])
def test_a_store_in_which_somebody_scribbled(table: str, column: str, value: Any, shell: Shell, ids: Ids) -> None:
    """Every command shows what it can read, or says in a line what it cannot; verify names the row."""
    with closing(sqlite3.connect(shell.target)) as raw:
        for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            raw.execute(f"DROP TRIGGER {name}")
        raw.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = 3", (value,))
        raw.commit()
        third = raw.execute(f"SELECT {'seq' if table == 'transition_log' else 'id'} FROM {table} WHERE rowid = 3")
        (key,) = third.fetchone()
    asked = [["status"], ["board"], ["log"], ["decisions"], ["board", "--html", "/dev/null"]]
    if isinstance(key, str):
        asked += [["show", key], ["explain", key]] if table != "decisions" else [["show", key]]
    codes = set()
    for words in asked:
        for form in ([], ["--json"]):
            code, _ = shell.run(*words, *form)
            codes.add(code)
            assert code in (0, 3)
            assert not code or "is no value of it; store.verify() names the row" in shell.err
    assert (3 in codes) == ((column, value) not in READ)
    assert shell("verify", code=1)


# ---- processes -----------------------------------------------------------------------------------------


@reads
@sqlite
def test_what_is_not_utf_8(ids: Ids, place: str) -> None:
    for words in ([b"show", b"\xff"], [b"fire", ids["issue"], b"dequeue", b"--as", b"m\xff"], [b"\xff\x1b"]):
        code, out, err = finished("--database", place, *words)
        assert (code, out) == (2, "")
        assert err.count("\n") <= 2
        assert "Traceback" not in err
    ascii_only = finished("--database", place, "status", PYTHONIOENCODING="ascii", LC_ALL="C")
    assert ascii_only[0] == 0
    assert r"\u201clook\u201d" in ascii_only[1]


@sqlite
def test_a_reader_that_goes_away(ids: Ids, target: str) -> None:
    with process("--database", target, "log", "--after", "0", "--timeout", str(HANG)) as command:
        assert command.stdout is not None
        assert command.stdout.readline().split()[0] == b"1"
        command.stdout.close()
        with open_store(target):
            Agent.create(agent_type="coder")
            Agent.create(agent_type="coder")
        assert command.stderr is not None
        assert command.stderr.read() == b""
        assert command.wait() == 141


def in_sh(words: str, redirections: str) -> tuple[int, bytes]:
    """The exit code and the errors of a command whose streams the shell has changed."""
    command = f'"{sys.executable}" -W error -m dispatch_state {words} {redirections}'
    pipe = subprocess.PIPE
    ended = subprocess.run(["/bin/sh", "-c", command], stdout=pipe, stderr=pipe, check=False, env=buffered())
    return ended.returncode, ended.stderr


@full
@pytest.mark.parametrize("words", ["diagram epics", "--help", "--version"])
def test_an_output_that_is_full(words: str) -> None:
    told = b"dispatch-state: the output cannot be written: No space left on device\n"
    assert in_sh(words, ">/dev/full") == (3, told)


@reads
@sqlite
@full
def test_an_export_to_an_output_that_is_full(ids: Ids, place: str) -> None:
    told = b"dispatch-state: the output cannot be written: No space left on device\n"
    assert in_sh(f"--database '{place}' export -", ">/dev/full") == (3, told)


@reads
@sqlite
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_an_export_that_nobody_reads(unbuffered: str, ids: Ids, place: str) -> None:
    with process("--database", place, "export", "-", PYTHONUNBUFFERED=unbuffered) as command:
        assert command.stdout is not None
        assert command.stderr is not None
        command.stdout.close()
        assert (command.stderr.read(), command.wait()) == (b"", 141)


@pytest.mark.parametrize("words", ["status", "status --json", "board", "export -", "diagram cascades", "show {}"])
@reads
@sqlite
def test_an_output_that_is_closed(words: str, ids: Ids, place: str) -> None:
    code, told = in_sh(f"--database '{place}' {words.format(ids['issue'])}", ">&-")
    assert (code, b"the output cannot be written: standard output is closed" in told) == (3, True)


@pytest.mark.parametrize("closed", ["2>&-", pytest.param("2>/dev/full", marks=full), ">&- 2>&-"])
def test_nobody_hears_a_complaint(closed: str) -> None:
    assert in_sh("nonsense", closed) == (2, b"")
    assert in_sh("--database /no/such/store status", closed) == (3, b"")


@reads
@sqlite
def test_failures_for_programs(shell: Shell, ids: Ids) -> None:
    """One JSON document on standard error, whoever refused."""

    def told(*words: str, code: int) -> Any:
        assert shell(*words, "--json", code=code) == ""
        return json.loads(shell.err)

    refused = told("fire", ids["gate"], "approve", "--as", "stranger", code=1)
    assert (refused["error"], refused["reasons"]) == (
        "GuardRefused",
        ["stranger is not among its required approvers: maintainer"],
    )
    assert refused["message"].startswith(f"Gate {ids['gate'][-8:]} is pending: approve was refused: ")
    assert told("show", SOMEBODY, code=1)["error"] == "RowNotFound"
    usage = told("board", "--limit", "x", code=2)
    assert (usage["error"], usage["reasons"]) == ("InvalidValue", [])
    assert "usage: dispatch-state board" in usage["message"]
    missing = Shell("/no/such/store.db", shell._capsys)
    assert missing("status", "--json", code=3) == ""
    assert "/no/such/store.db init makes one" in json.loads(missing.err)["message"]


def test_following_another_process_until_ctrl_c(ids: Ids, target: str) -> None:
    with process("--database", target, "log", "--last", "1", "--follow", "--json") as command:
        assert command.stdout is not None
        assert command.stderr is not None
        last = json.loads(command.stdout.readline())
        with open_store(target) as store:
            agent = Agent.create(agent_type="coder")
            agent.stop(by=MAINTAINER, reason=WHY)
            expected = [move.seq for move in store.changes(last["seq"])]
        told = [json.loads(command.stdout.readline()) for _ in range(2)]
        assert [(move["seq"], move["trigger"]) for move in told] == list(zip(expected, ["create", "stop"], strict=True))
        command.send_signal(signal.SIGINT)
        assert (command.stdout.read(), command.stderr.read()) == (b"", b"")
        assert command.wait() == 130


@sqlite
def test_where_ctrl_c_is_ignored_it_stays_so(target: str) -> None:
    """As a shell has it for what it starts in the background."""
    open_store(target).close()
    with process("--database", target, "log", "--after", "0", "--follow", ignores_ctrl_c=True) as command:
        assert command.stdout is not None
        with open_store(target):
            Agent.create(agent_type="coder")
            assert b"create" in command.stdout.readline()
            command.send_signal(signal.SIGINT)
            Agent.create(agent_type="pm")
            assert b"create" in command.stdout.readline()
        command.terminate()
        assert command.wait() == -signal.SIGTERM


@reads
@sqlite
def test_an_interrupt_stays_one_whatever_comes_behind_it(
    shell: Shell, ids: Ids, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that was interrupted at work may not be put in order any more."""

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    def broken(call: Call) -> None:
        call._opened.close()
        raise StoreError("another command is already in progress")

    with monkeypatch.context() as patched:
        patched.setattr(Call, "close", broken)
        shell("verify", "--json", code=3)
        patched.setattr(Store, "verify", interrupted)
        assert (main(["--database", shell.target, "verify"]), shell._capsys.readouterr().err) == (130, "")


# ---- what programs read --------------------------------------------------------------------------------

CALLS = {
    "board --html FILE": "board --html board.html",
    "diagram": "diagram issues",
    "diagram --output FILE": "diagram issues --output issues.mmd",
    "show": "show {issue}",
    "explain": "explain {issue}",
    "log": "log --last 1",
    "decisions": "decisions --last 1",
    "backup": "backup backup.db",
    "export": "export all.jsonl",
    "import": "--database new.db import all.jsonl",
    "copy": "copy full.db copied.db",
    "fire, rescue, tick": "fire {issue} dequeue --as maintainer",
    "any that fails": "show nonsense",
}
"""How the keys of the page are asked for, where it takes more than their name."""


def test_documents_have_the_keys_that_the_page_gives_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DISPATCH_DATABASE", raising=False)
    ids = fill("full.db")
    open_store("new.db").close()
    items: dict[str, Any] = {}
    capfd.readouterr()
    for name, keys in command_line.SHAPES.items():
        words = CALLS.get(name, name).format(**ids).split()
        main([*(["--database", "full.db"] if words[0] not in ("copy", "--database") else []), *words, "--json"])
        told = json.loads("".join(capfd.readouterr()))
        found, named = list(told), [key for key in keys if key != "…"]
        assert named == (found if "…" not in keys else [key for key in found if key in named]), name
        items |= {key: told[key][0] for key in command_line.PARTS if told.get(key)}
    with closing(sqlite3.connect("new.db")) as raw:
        raw.execute("DROP TRIGGER dispatch_epics_insert")
    main(["--database", "new.db", "verify", "--json"])
    items["violations"] = json.loads(capfd.readouterr().out)["violations"][0]
    assert {name: tuple(item) for name, item in items.items()} == command_line.PARTS
    assert {word for name in command_line.SHAPES for word in name.replace(",", "").split()} >= {
        command.name for command in COMMANDS
    }


# ---- the page that tells of it -------------------------------------------------------------------------


def test_every_command_is_on_the_page_and_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    helped = Shell("", capsys)("--help")
    for command in COMMANDS:
        assert command.name in helped
        assert f"\n### {command.name}\n\n{command.about}\n" in command_line.page()
        assert command.about.endswith(".")
        assert "usage: dispatch-state" in Shell("", capsys)(command.name, "--help")
