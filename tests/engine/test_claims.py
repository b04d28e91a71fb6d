"""Claims: each agent gets the right issue, atomically, at a cost that does not grow with the table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dispatch_state import Agent, Epic, GuardRefused, InvalidValue, Issue, RowNotFound, Store
from dispatch_state.engine import claims
from dispatch_state.engine.claims import LOOK, _candidates
from dispatch_state.testing.scratch import Clock
from tests.backends import on_postgresql, on_sqlite
from tests.invariants import broken
from tests.threads import workers
from tests.world import MAINTAINER, WHY, World, queued


def test_the_most_urgent_issue_comes_first_then_the_oldest(world: World, store: Store, clock: Clock) -> None:
    made = {
        name: queued(world, clock, priority=name.split()[0])
        for name in ("low", "high 1", "critical", "high 2", "medium")
    }
    claimed = [store.claim(world.agent()) for _ in range(5)]
    assert claimed == [made[name] for name in ("critical", "high 1", "high 2", "medium", "low")]
    assert store.claim(world.agent()) is None
    assert broken(store) == []


def test_an_agent_gets_issues_for_its_type_or_for_anybody(world: World, store: Store, clock: Clock) -> None:
    queued(world, clock, agent_type="docs", priority="critical")
    anybody, own = queued(world, clock), queued(world, clock, agent_type="coder", priority="high")
    assert [store.claim(world.agent()) for _ in range(3)] == [own, anybody, None]


def test_filters(world: World, store: Store, clock: Clock) -> None:
    """`repo_path` and `issue_type` limit which issues a claim may take."""
    queued(world, clock, priority="critical")
    wanted = queued(world, clock, repo_path="/other", issue_type="bug")
    assert store.claim(world.agent(), repo_path="/nowhere") is None
    assert store.claim(world.agent(), issue_type="docs") is None
    assert store.claim(world.agent(), repo_path="/other", issue_type="bug") == wanted


def test_a_claim_leaves_issues_that_assign_would_refuse(world: World, store: Store, clock: Clock) -> None:
    """Here the epic of a queued issue waits at a gate."""
    stage = world.running_epic({}).current_stage
    loose = stage.epic.add_issue(**world.issue_columns())
    loose.queue(by=MAINTAINER)
    world.finish(stage.add_issue(**world.issue_columns()).reload())
    assert stage.epic.reload().status == "awaiting_gate"
    assert store.claim(world.agent()) is None
    stage.gates.get().approve(by=MAINTAINER)
    assert store.claim(world.agent()) == loose


def test_a_claim_brings_agent_and_issue_up_to_date(world: World, store: Store, clock: Clock) -> None:
    queued(world, clock)
    agent = world.agent()
    clock.forward(minutes=1)
    issue = store.claim(agent)
    assert issue is not None
    assert (issue.status, issue.assigned_agent_id, agent.status, agent.last_heartbeat) == (
        "assigned", agent.id, "starting", clock.now,
    )  # fmt: skip
    assert dict(issue.__data__) == dict(Issue.get_by_id(issue.id).__data__)
    issue.start(by=agent)


def test_claiming_again_gives_the_issue_back(world: World, store: Store, clock: Clock) -> None:
    """An agent that already holds an issue gets the same one, without a new move."""
    queued(world, clock)
    queued(world, clock)
    agent = world.agent()
    issue = store.claim(agent)
    clock.forward(minutes=1)
    seen = len(store.changes())
    assert store.claim(Agent.get_by_id(agent.id)) == issue
    assert len(store.changes()) == seen
    assert agent.reload().last_heartbeat == clock.now


def test_a_reviewing_agent_claims_nothing(world: World, store: Store, clock: Clock) -> None:
    queued(world, clock)
    assert store.claim(world.at("agents", "working")) is None
    assert store.claim(world.at("agents", "working"), start=True) is None


@pytest.mark.parametrize("status", ["errored", "completed"])
def test_an_errored_or_completed_agent_claims_nothing(world: World, store: Store, clock: Clock, status: str) -> None:
    issue = queued(world, clock)
    with pytest.raises(GuardRefused, match=status):
        store.claim(world.agents(status))
    assert issue.reload().status == "queued"


def test_bad_claims(world: World, store: Store) -> None:
    agent = world.agent()
    for call in (
        lambda: store.claim("agent"),  # type: ignore[arg-type]
        lambda: store.claim(agent, issue_type="nonsense"),
        lambda: store.claim(agent, repo_path=""),
        lambda: store.claim(agent, repo_path=5),  # type: ignore[arg-type]
        lambda: store.claim(agent, start="yes"),  # type: ignore[arg-type]
        lambda: store.claim(agent, start=True, process_id=0),
        lambda: store.claim(agent, start=True, session_id=" "),
        lambda: store.claim(agent, process_id=4711),
        lambda: store.claim(agent, session_id="s"),
    ):
        with pytest.raises(InvalidValue):
            call()
    with pytest.raises(RowNotFound):
        store.claim(Agent(agent_type="coder"))


def test_the_plan_reads_the_index_in_order(world: World, store: Store) -> None:
    """The database neither scans nor sorts, whatever the size of the table."""
    sql, bound = _candidates((), LOOK).prepared(store.database.kind)
    parameters = bound("coder")
    if store.database.kind == "sqlite":
        plan = [row[3] for row in store.database.execute_sql(f"EXPLAIN QUERY PLAN {sql}", parameters)]
        assert "USING INDEX idx_issues_claim (status=? AND <expr>=?)" in plan[0]
        assert not [line for line in plan if "TEMP B-TREE" in line or "SCAN" in line]
        return
    store.database.execute_sql("SET enable_seqscan = off")
    plan = [row[0] for row in store.database.execute_sql(f"EXPLAIN {sql}", parameters)]
    store.database.execute_sql("RESET enable_seqscan")
    assert any("idx_issues_claim" in line for line in plan)
    assert not [line for line in plan if "Sort Key" in line]


# ---- a claim that starts -----------------------------------------------------------------------------


def said(store: Store, agent: Agent, issue: Issue) -> list[str]:
    """The moves of an agent and of an issue, in order."""
    moves = sorted([*store.history(agent), *store.history(issue)], key=lambda move: move.seq)
    return [f"{move.entity}.{move.trigger}" for move in moves if move.source is not None]


def test_a_claim_may_start_the_issue(world: World, store: Store, clock: Clock) -> None:
    """The issue is assigned and started in one transaction, and both objects are brought up to date."""
    wanted, agent = queued(world, clock), world.agent()
    clock.forward(minutes=1)
    issue = store.claim(agent, start=True, process_id=4711, session_id="session")
    assert issue == wanted
    assert (issue.status, agent.status, agent.current_issue_id) == ("in_progress", "working", issue.id)
    assert (agent.process_id, agent.claude_session_id, agent.last_heartbeat) == (4711, "session", clock.now)
    for row in (issue, agent):
        assert dict(row.__data__) == dict(type(row).get_by_id(row.id).__data__)
    assert said(store, agent, issue) == [
        "issues.queue", "issues.assign", "agents.dispatch", "issues.start", "agents.run",
    ]  # fmt: skip
    issue.complete(by=agent)
    assert broken(store) == []
    assert store.verify() == []


def test_a_claim_starts_the_issue_that_the_agent_already_has(world: World, store: Store, clock: Clock) -> None:
    queued(world, clock)
    agent = world.agent()
    issue = store.claim(agent)
    assert (issue and issue.status, agent.status) == ("assigned", "starting")
    assert store.claim(agent) == issue
    again = store.claim(agent, start=True, process_id=4711)
    assert again == issue
    assert (again.status, agent.status, agent.process_id) == ("in_progress", "working", 4711)


def blocked_and_unblocked(issue: Issue) -> None:
    issue.block(by=MAINTAINER, reason=WHY)
    issue.unblock(by=MAINTAINER)


def sent_back(issue: Issue) -> None:
    issue.submit(by=MAINTAINER)
    issue.review(by=MAINTAINER)
    issue.request_changes(by=MAINTAINER, reason=WHY)


@pytest.mark.parametrize("comes_back", [blocked_and_unblocked, sent_back])
@pytest.mark.parametrize("start", [True, False])
def test_an_issue_that_came_back_is_in_progress(
    world: World, store: Store, clock: Clock, comes_back: Callable[[Issue], None], start: bool
) -> None:
    """The agent gets it before anything queued; it is not started again, and the agent keeps its process."""
    queued(world, clock)
    agent = world.agent()
    mine = store.claim(agent, start=True, process_id=4711, session_id="session")
    assert mine is not None
    comes_back(Issue.get_by_id(mine.id))
    queued(world, clock, priority="critical")
    before = len(store.changes())
    again = store.claim(agent, start=start, **({"process_id": 4712, "session_id": "another"} if start else {}))
    assert again == mine
    assert (again.status, agent.status, agent.current_issue_id) == ("in_progress", "working", mine.id)
    assert (agent.process_id, agent.claude_session_id) == (4711, "session")
    assert len(store.changes()) == before
    again.complete(by=agent)


def test_a_claim_that_is_rolled_back_leaves_nothing(world: World, store: Store, clock: Clock) -> None:
    """The agent's object and the issue are as they were."""
    wanted, agent = queued(world, clock), world.agent()
    before = len(store.changes())
    with pytest.raises(KeyError), store.atomic():
        assert store.claim(agent, start=True) == wanted
        raise KeyError
    assert (agent.status, agent.version, wanted.reload().status) == ("idle", 1, "queued")
    assert len(store.changes()) == before


# ---- a claim is a heartbeat --------------------------------------------------------------------------


@pytest.mark.parametrize("make", [lambda world: world.agent(), lambda world: world.at("agents", "working")])
def test_a_claim_without_an_issue_is_a_heartbeat_now_and_then(
    world: World, store: Store, clock: Clock, make: Callable[[World], Agent]
) -> None:
    """At most every thirty seconds by the store's clock, for idle agents and for reviewing ones."""
    agent = make(world)
    began, heard = clock.now, []
    for _ in range(13):
        clock.forward(seconds=10)
        assert store.claim(agent, start=True) is None
        assert agent.last_heartbeat == Agent.get_by_id(agent.id).last_heartbeat
        heard.append((agent.last_heartbeat - began).total_seconds())
    assert heard == [0, 0, 30, 30, 30, 60, 60, 60, 90, 90, 90, 120, 120]


def test_claiming_the_held_issue_again_is_a_heartbeat(world: World, store: Store, clock: Clock) -> None:
    issue = world.issues("in_progress")
    agent = issue.assigned_agent
    clock.forward(seconds=1)
    assert store.claim(agent, start=True) == issue
    assert agent.last_heartbeat == agent.reload().last_heartbeat == clock.now


# ---- others move meanwhile ---------------------------------------------------------------------------


class Meanwhile:
    """Lets another session act between a claim's search and its locks, one thing each time.

    before: what it does before a search; None for nothing.

    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, does: Callable[[Callable[[], Any]], Any]) -> None:
        self.due: list[Callable[[], Any]] = []
        self.before: list[Callable[[], Any] | None] = []
        self.found: list[Issue | None] = []
        self._does, self._first = does, claims._first
        monkeypatch.setattr(claims, "_first", self.first)

    def first(self, agent: Agent, filters: dict[str, Any], locking: str, passed: tuple[Any, ...]) -> Issue | None:
        self._do(self.before)
        issue = self._first(agent, filters, locking, passed)
        self.found.append(issue)
        self._do(self.due)
        return issue

    def _do(self, due: list[Any]) -> None:
        work = due.pop(0) if due else None
        done = self._does(work) if work else None
        assert not isinstance(done, Exception), done


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch, store: Store) -> Iterator[Meanwhile]:
    with workers(1) as (other,):
        yield Meanwhile(monkeypatch, other.does)


def about_to_wait(world: World, clock: Clock, **columns: Any) -> tuple[Issue, Callable[[], Any]]:
    """A queued issue without a stage, and a function that brings its epic to a gate."""
    stage = world.running_epic({}).current_stage
    last = stage.add_issue(**world.issue_columns(), agent_type="docs")
    loose = stage.epic.add_issue(**{**world.issue_columns(), **columns})
    loose.queue(by=MAINTAINER)
    clock.forward(seconds=1)
    agent = world.start(last.reload())
    return loose, lambda: Issue.get_by_id(last.id).complete(by=agent)


@on_postgresql
@pytest.mark.parametrize("in_block", [False, True])
def test_an_issue_whose_epic_reaches_its_gate_meanwhile_is_passed_over(
    world: World, store: Store, clock: Clock, meanwhile: Meanwhile, in_block: bool
) -> None:
    """The claim goes on to the next issue, until one still fits; it changes none of the others."""
    passed, arrivals = zip(*(about_to_wait(world, clock, priority="high") for _ in range(5)), strict=True)
    fit, agent = queued(world, clock), world.agent()
    meanwhile.due += arrivals
    if in_block:
        with store.atomic():
            note = world.new_issue()
            taken = store.claim(agent, start=True)
        assert note.reload().status == "unassigned"
    else:
        taken = store.claim(agent, start=True)
    assert meanwhile.found == [*passed, fit]
    assert taken == fit
    assert (taken.status, agent.status, agent.current_issue_id) == ("in_progress", "working", fit.id)
    assert [issue.reload().version for issue in passed] == [2] * 5
    assert {Epic.get_by_id(issue.epic_id).status for issue in passed} == {"awaiting_gate"}
    assert broken(store) == []
    assert store.verify() == []


@on_postgresql
def test_an_issue_that_was_passed_over_is_not_tried_again(
    world: World, store: Store, clock: Clock, meanwhile: Meanwhile
) -> None:
    """Even when it fits again meanwhile. Otherwise a claim might never end."""
    loose, arrives = about_to_wait(world, clock, priority="high")
    fit = queued(world, clock)
    meanwhile.due.append(arrives)
    meanwhile.before += [None, lambda: Epic.get_by_id(loose.epic_id).blocked_at_gate.approve(by=MAINTAINER)]
    assert store.claim(world.agent()) == fit
    assert meanwhile.found == [loose, fit]
    assert loose.epic.reload().status == "in_progress"
    assert store.claim(world.agent()) == loose


@on_postgresql
def test_a_claim_returns_none_when_every_issue_became_unfit(
    world: World, store: Store, clock: Clock, meanwhile: Meanwhile
) -> None:
    issue, arrives = about_to_wait(world, clock)
    agent = world.agent()
    meanwhile.due.append(arrives)
    assert store.claim(agent) is None
    assert (agent.status, agent.version, issue.reload().status) == ("idle", 1, "queued")


@on_postgresql
def test_an_agent_that_dies_meanwhile_is_refused(
    world: World, store: Store, clock: Clock, meanwhile: Meanwhile
) -> None:
    issue, agent = queued(world, clock), world.agent()
    meanwhile.due.append(lambda: Agent.get_by_id(agent.id).stop(by=MAINTAINER, reason=WHY))
    with pytest.raises(GuardRefused, match="completed"):
        store.claim(agent)
    assert issue.reload().status == "queued"


@on_postgresql
def test_an_agent_that_dies_while_there_is_nothing_is_refused(
    world: World, store: Store, clock: Clock, meanwhile: Meanwhile
) -> None:
    agent = world.agent()
    clock.forward(minutes=1)
    meanwhile.due.append(lambda: Agent.get_by_id(agent.id).stop(by=MAINTAINER, reason=WHY))
    with pytest.raises(GuardRefused, match="completed"):
        store.claim(agent)


@on_postgresql
def test_an_agent_that_is_given_work_meanwhile_gets_that_issue(
    world: World, store: Store, clock: Clock, meanwhile: Meanwhile
) -> None:
    first, agent = queued(world, clock), world.agent()
    second = queued(world, clock)
    meanwhile.due.append(lambda: Issue.get_by_id(second.id).assign(Agent.get_by_id(agent.id), by=MAINTAINER))
    taken = store.claim(agent, start=True)
    assert taken == second
    assert (taken.status, first.reload().status) == ("in_progress", "queued")
    assert broken(store) == []


@on_postgresql
def test_an_agent_whose_type_changes_meanwhile_gets_an_issue_of_its_new_type(
    world: World, store: Store, clock: Clock, meanwhile: Meanwhile
) -> None:
    old, agent = queued(world, clock, agent_type="coder"), world.agent()
    new = queued(world, clock, agent_type="docs")

    def changes() -> None:
        other = Agent.get_by_id(agent.id)
        other.agent_type = "docs"
        other.save()

    meanwhile.due.append(changes)
    assert store.claim(agent) == new
    assert old.reload().status == "queued"


@on_postgresql
def test_what_is_given_back_may_be_taken_away_meanwhile(
    world: World, store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another session cancels the agent's issue before the claim locks it; the agent gets another issue."""
    mine = world.issues("in_progress")
    agent, other = mine.assigned_agent, queued(world, clock)
    under_way, releases = claims.issue_under_way, [lambda: Issue.get_by_id(mine.id).cancel(by=MAINTAINER, reason=WHY)]

    with workers(1) as (session,):

        def found(key: Any) -> Issue | None:
            issue = under_way(key)
            while releases:
                assert not isinstance(session.does(releases.pop()), Exception)
            return issue

        monkeypatch.setattr(claims, "issue_under_way", found)
        assert store.claim(agent, start=True) == other
    assert mine.reload().status == "cancelled"


@on_sqlite
def test_an_agent_to_which_no_issue_can_be_given_is_refused(world: World, store: Store, clock: Clock) -> None:
    """The store was corrupted by hand. The claim raises at once, and does not try one issue after the other."""
    agent = world.issues("in_progress").assigned_agent
    for _ in range(3):
        queued(world, clock)
    store.database.execute_sql("DROP TRIGGER dispatch_agents_update")
    store.database.execute_sql("UPDATE agents SET status = 'idle', current_issue_id = NULL")
    with pytest.raises(GuardRefused, match="which is in_progress"):
        store.claim(agent.reload())
