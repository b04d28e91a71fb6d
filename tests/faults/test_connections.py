"""Lost connections to PostgreSQL: workers go on, nothing is done twice, and an unknown outcome is reported as such."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import peewee
import psycopg
import pytest

from dispatch_state import Agent, CommitUnknown, Epic, Issue, Store, StoreError, StoreUnreachable, open_store
from dispatch_state.storage.server_clock import ServerClock
from tests import network, postgres
from tests.loops import looping
from tests.world import MAINTAINER, WHY, World

BACKENDS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND usename IS NOT NULL"
)
HANG = 120
"""Seconds after which a test counts as hanging; no other result depends on time."""


@pytest.fixture
def url() -> Iterator[str]:
    with postgres.fresh_schema() as fresh:
        yield fresh


@pytest.fixture
def opened(url: str) -> Iterator[Store]:
    with open_store(f"{url}&application_name=cut-off") as store:
        yield store


def terminate(url: str, name: str = "cut-off") -> int:
    """End every connection of an application, as an administrator or a restart does; return how many there were."""
    with psycopg.connect(url, autocommit=True) as server:
        pids = "SELECT pid FROM pg_stat_activity WHERE application_name = %s"
        found = [pid for (pid,) in server.execute(pids, (name,)).fetchall()]
        server.execute(f"{BACKENDS} AND application_name = %s", (name,))
    while any(map(runs, found)):  # its connections are closed once it is gone
        time.sleep(0.005)
    return len(found)


def runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def an_issue(status: str = "unassigned") -> Issue:
    issue = Issue.create(title="Log in", prompt="…", issue_type="bug", repo_path="/src")
    if status == "queued":
        issue.queue(by=MAINTAINER)
    return issue


# ---- connections that are ended while nobody uses them -----------------------------------------------------

CALLS: dict[str, Callable[[Store, Issue, Agent], object]] = {
    "a claim": lambda store, issue, agent: store.claim(agent),
    "a move": lambda store, issue, agent: issue.dequeue(by=MAINTAINER),
    "a creation": lambda store, issue, agent: an_issue(),
    "a save": lambda store, issue, agent: (setattr(issue, "title", "Another"), issue.save()),
    "a heartbeat": lambda store, issue, agent: agent.heartbeat(),
    "a rescue": lambda store, issue, agent: store.rescue(),
    "a block": lambda store, issue, agent: block(store, issue),
    "counts": lambda store, issue, agent: store.counts(),
    "history": lambda store, issue, agent: store.history(issue),
    "needs_human": lambda store, issue, agent: store.needs_human(),
    "why_not": lambda store, issue, agent: issue.why_not("dequeue", by=MAINTAINER),
    "reload": lambda store, issue, agent: issue.reload(),
    "a row by id": lambda store, issue, agent: Issue.get_by_id(issue.id),
    "a query": lambda store, issue, agent: list(Issue.by_status("queued")),
    "a count": lambda store, issue, agent: Issue.select().count(),
    "verify": lambda store, issue, agent: store.verify(),
}


def block(store: Store, issue: Issue) -> None:
    with store.atomic():
        issue.dequeue(by=MAINTAINER)
        issue.queue(by=MAINTAINER)


@pytest.mark.parametrize("call", CALLS)
def test_a_call_after_its_connection_was_ended(opened: Store, url: str, call: str) -> None:
    """The library connects again and the caller notices nothing."""
    issue, agent = an_issue("queued"), Agent.create(agent_type="coder")
    list(Issue.select())  # which keeps a connection, until the next call of ours
    assert terminate(url) >= 1
    CALLS[call](opened, issue, agent)
    assert opened.verify() == []


def test_a_thread_that_only_reads_goes_on(opened: Store, url: str) -> None:
    """Even when it only runs Peewee queries, which never give the connection back."""
    found: list[int] = []
    go_on, done = threading.Event(), threading.Event()

    def reads() -> None:
        found.append(Issue.select().count())
        done.set()
        go_on.wait(HANG)
        found.append(Issue.select().count())

    reader = threading.Thread(target=reads)
    reader.start()
    done.wait(HANG)
    an_issue()
    terminate(url)
    go_on.set()
    reader.join(HANG)
    assert found == [0, 1]


def test_a_write_by_peewee_is_not_sent_twice(opened: Store, url: str) -> None:
    """Nobody knows whether it was carried out, so the error is raised; the next statement gets a new connection."""
    issue = an_issue()
    Issue.select().count()
    terminate(url)
    with pytest.raises(StoreUnreachable) as lost:
        Issue.update(title="Another").where(Issue.id == issue.id).execute()
    assert isinstance(lost.value, peewee.OperationalError)
    assert lost.value.retryable
    assert Issue.update(title="Another").where(Issue.id == issue.id).execute() == 1


def test_no_dead_connection_stays_in_the_pool(opened: Store, url: str) -> None:
    def use() -> None:
        opened.counts()

    threads = [threading.Thread(target=use) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(HANG)
    terminate(url)
    an_issue()
    kept = [connection for _, _, connection in opened.database._connections]
    assert [connection.pgconn.status for connection in kept] == [0] * len(kept)


# ---- within a block ----------------------------------------------------------------------------------------


def test_a_block_whose_connection_is_ended_is_over(opened: Store, url: str) -> None:
    """Nothing of it is written, row objects are restored, and the caller can begin it again."""
    issue, other = an_issue(), an_issue()
    with pytest.raises(StoreUnreachable) as lost, opened.atomic():
        issue.queue(by=MAINTAINER)
        terminate(url)
        other.queue(by=MAINTAINER)
    assert lost.value.retryable
    assert [(row.status, row.version) for row in (issue, other)] == [("unassigned", 1)] * 2
    with opened.atomic():
        issue.queue(by=MAINTAINER)
        other.queue(by=MAINTAINER)
    assert [row.reload().version for row in (issue, other)] == [2, 2]


def test_a_block_that_ignores_the_lost_connection_writes_nothing(opened: Store, url: str) -> None:
    issue, other = an_issue(), an_issue()
    with pytest.raises(StoreUnreachable), opened.atomic():
        issue.queue(by=MAINTAINER)
        terminate(url)
        for _ in range(2):
            with pytest.raises(StoreUnreachable):
                other.queue(by=MAINTAINER)
        with pytest.raises(StoreUnreachable):
            Issue.select().count()
    assert [(row.status, row.reload().version) for row in (issue, other)] == [("unassigned", 1)] * 2


def test_a_block_that_ends_on_a_lost_connection_was_not_committed(opened: Store, url: str) -> None:
    """The connection was lost before COMMIT was sent, so the error says that the block can be tried again."""
    issue = an_issue()
    with pytest.raises(StoreUnreachable), opened.atomic():
        issue.queue(by=MAINTAINER)
        terminate(url)
    assert (issue.status, issue.reload().version) == ("unassigned", 1)


# ---- a line that is cut at a chosen statement --------------------------------------------------------------


@contextmanager
def proxied_store() -> Iterator[tuple[Store, network.Proxy]]:
    with network.proxied() as (url, proxy), open_store(url) as store:
        yield store, proxy


STATEMENTS = ["BEGIN", "FOR NO KEY UPDATE", 'INSERT INTO "transition_log"', 'UPDATE "issues"']


@pytest.mark.parametrize("delivered", [False, True], ids=["lost", "answer lost"])
@pytest.mark.parametrize("statement", STATEMENTS)
def test_a_connection_that_is_cut_before_the_commit(statement: str, delivered: bool) -> None:
    """The move is made once, on a new connection, and the caller notices nothing."""
    with proxied_store() as (store, proxy):
        issue = an_issue()
        proxy.cut_at(statement, delivered=delivered)
        moves = issue.queue(by=MAINTAINER)
        assert proxy.cuts == 1
        assert [move.trigger for move in moves] == ["queue"]
        assert (issue.version, len(store.history(issue))) == (2, 2)
        assert store.verify() == []


@pytest.mark.parametrize("delivered", [False, True], ids=["lost", "answer lost"])
def test_a_connection_that_is_cut_at_the_commit(delivered: bool) -> None:
    """The outcome is unknown, so the error is not retryable; reading the row shows what happened."""
    with proxied_store() as (store, proxy):
        issue = an_issue()
        proxy.cut_at("COMMIT", delivered=delivered)
        with pytest.raises(CommitUnknown) as unknown:
            issue.queue(by=MAINTAINER)
        assert proxy.cuts == 1
        assert not unknown.value.retryable
        assert isinstance(unknown.value, StoreError)
        assert (issue.status, issue.version) == ("unassigned", 1)
        assert eventually(lambda: len(store.history(issue)) == 1 + delivered)
        assert issue.reload().status == ("queued" if delivered else "unassigned")
        assert store.verify() == []


@pytest.mark.parametrize("delivered", [False, True], ids=["lost", "answer lost"])
def test_a_block_that_is_cut_at_its_commit_restores_objects(delivered: bool) -> None:
    with proxied_store() as (store, proxy):
        issue = an_issue()
        with pytest.raises(CommitUnknown), store.atomic():
            issue.queue(by=MAINTAINER)
            proxy.cut_at("COMMIT", delivered=delivered)
        assert (issue.status, issue.version) == ("unassigned", 1)
        assert eventually(lambda: Issue.get_by_id(issue.id).version == 1 + delivered)


def test_a_new_row_whose_commit_is_unknown_can_be_found_by_its_id() -> None:
    with proxied_store() as (_, proxy):
        issue = Issue(title="Once", prompt="…", issue_type="bug", repo_path="/src")
        proxy.cut_at("COMMIT", delivered=True)
        with pytest.raises(CommitUnknown):
            issue.save()
        assert eventually(lambda: Issue.get_or_none(Issue.id == issue.id) is not None)
        assert Issue.select().count() == 1


def eventually(agrees: Callable[[], bool]) -> bool:
    """Whether the condition becomes true: the server carries out what was delivered a moment later."""
    until = time.monotonic() + HANG
    while not agrees():
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


# ---- a server that is stopped and started ------------------------------------------------------------------


def test_workers_live_through_a_restart() -> None:
    """Threads claim, write, read and watch; the watcher gets every move once."""
    with network.own_server() as (url, server), open_store(url, timeout=60) as store:
        for number in range(40):
            Issue.create(title=f"{number}", prompt="…", issue_type="bug", repo_path="/src").queue(by=MAINTAINER)
        behind = store.changes(limit=1000)[-1].seq
        heard: list[int] = []
        failed: list[BaseException] = []
        stop = threading.Event()

        def guarded(work: Callable[[], None]) -> Callable[[], None]:
            def run() -> None:
                try:
                    work()
                except BaseException as error:
                    failed.append(error)

            return run

        def works() -> None:
            agent = Agent.create(agent_type="coder")
            while (issue := store.claim(agent)) is not None:
                issue.start(by=agent)
                agent.heartbeat()
                time.sleep(0.02)
                issue.complete(by=agent)

        def reads() -> None:
            while not stop.is_set():
                store.counts()
                with suppress(StoreUnreachable):  # a query of Peewee's own is repeated once only
                    Issue.select().count()
                time.sleep(0.01)

        def hears() -> None:
            for move in store.watch(after=behind):
                heard.append(move.seq)
                if stop.is_set() and move.trigger == "cancel":
                    return

        threads = [threading.Thread(target=guarded(work), daemon=True) for work in (works, works, reads, hears)]
        for thread in threads:
            thread.start()
        for _ in range(2):
            time.sleep(0.2)
            server.stop()
            time.sleep(0.3)
            server.start()
        for thread in threads[:2]:
            thread.join(HANG)
        stop.set()
        an_issue().cancel(by=MAINTAINER, reason=WHY)
        for thread in threads:
            thread.join(HANG)
        unknown = [error for error in failed if not isinstance(error, CommitUnknown)]
        assert unknown == []
        if not failed:
            assert Issue.select().where(Issue.status == "done").count() == 40
        assert heard == [move.seq for move in store.changes(after=behind)]
        assert store.verify() == []


def test_the_readmes_loop_lives_through_a_restart() -> None:
    """Even when the server stays away longer than a call waits: the loop pauses and goes on with its issue."""
    with network.own_server() as (url, server), open_store(url, timeout=0.2) as store:
        issues = [an_issue("queued") for _ in range(10)]
        begun = threading.Event()

        def work(issue: Issue) -> Iterator[object]:
            begun.set()
            yield from range(3)

        with looping(store, work):
            assert begun.wait(HANG)
            server.stop()
            time.sleep(1)
            server.start()
        assert {issue.reload().status for issue in issues} == {"done"}
        assert store.verify() == []


def test_a_server_that_stays_away() -> None:
    """A call waits for the store's timeout, then raises a retryable error; the retry works."""
    with network.own_server() as (url, server), open_store(url, timeout=0.5) as store:
        issue = an_issue()
        server.stop()
        for call in (lambda: issue.queue(by=MAINTAINER), store.counts, lambda: next(store.watch(timeout=0.1))):
            with pytest.raises(StoreUnreachable) as away:
                call()
            assert away.value.retryable
        with pytest.raises(StoreUnreachable), store.atomic():
            issue.queue(by=MAINTAINER)
        server.start()
        assert issue.queue(by=MAINTAINER)[0].dest == "queued"
        assert issue.reload().version == 2


def test_a_server_that_is_not_there_is_named_with_its_port_and_reason() -> None:
    port = network.free_port()
    with pytest.raises(StoreUnreachable) as away:
        open_store(f"postgresql://ada:secret@127.0.0.1:{port}/x")
    message = str(away.value)
    assert f"127.0.0.1:{port}" in message
    assert "refused" in message
    assert "secret" not in message
    assert "\n" not in message


# ---- statements that are cancelled -------------------------------------------------------------------------


def test_a_statement_that_takes_too_long_may_be_tried_again(url: str) -> None:
    """Here `statement_timeout` cancels it while another session holds the row."""
    with open_store(f"{url}%20-cstatement_timeout%3D200") as store, psycopg.connect(url) as other:
        issue = an_issue()
        other.execute("SELECT 1 FROM issues WHERE id = %s FOR UPDATE", (issue.id,))
        with pytest.raises(StoreError) as cancelled:
            issue.queue(by=MAINTAINER)
        assert cancelled.value.retryable
        assert (issue.status, issue.version) == ("unassigned", 1)
        other.rollback()
        issue.queue(by=MAINTAINER)
        assert store.verify() == []


# ---- poolers -----------------------------------------------------------------------------------------------


@contextmanager
def pooler(server: str, folder: Path, **settings: str) -> Iterator[int]:
    """Run PgBouncer in transaction mode before the server of a URL; yield its port."""
    program, port = network.pgbouncer(), network.free_port()
    host = str(Path(network.socket_of(server)).parent)
    chosen = {
        "listen_addr": "127.0.0.1",
        "listen_port": str(port),
        "unix_socket_dir": "",
        "auth_type": "any",
        "pool_mode": "transaction",
        "default_pool_size": "2",
        "max_client_conn": "100",
        "ignore_startup_parameters": "extra_float_digits",
        **settings,
    }
    lines = ["[databases]", f"postgres = host={host} port=5432 user=postgres", "[pgbouncer]"]
    config = folder / "pgbouncer.ini"
    config.write_text("\n".join([*lines, *(f"{name} = {value}" for name, value in chosen.items())]) + "\n")
    folder.chmod(0o755)
    owner = Path(host).stat()  # it refuses to run as root
    running = subprocess.Popen([program, "-q", str(config)], user=owner.st_uid, group=owner.st_gid)
    try:
        assert eventually(lambda: answers(port))
        yield port
    finally:
        running.terminate()
        running.wait()


def answers(port: int) -> bool:
    try:
        psycopg.connect(f"postgresql://postgres@127.0.0.1:{port}/postgres?connect_timeout=2").close()
    except psycopg.OperationalError:
        return False
    return True


@pytest.fixture
def config_folder() -> Iterator[Path]:
    import tempfile

    with tempfile.TemporaryDirectory(prefix="dispatch-bouncer-") as folder:
        yield Path(folder)


def test_lives_of_issues_behind_a_pooler(url: str, config_folder: Path) -> None:
    """Eight threads share two sessions of the server in transaction mode, and every move stays in one session."""
    name = url.partition("search_path%3D")[2]
    with psycopg.connect(url, autocommit=True) as server:
        server.execute(f"ALTER ROLE postgres IN DATABASE postgres SET search_path = {name}")
        server.execute("ALTER DATABASE postgres SET timezone = 'Asia/Kathmandu'")
        try:
            with pooler(url, config_folder) as port:
                lives_behind(f"postgresql://postgres@127.0.0.1:{port}/postgres")
        finally:
            server.execute("ALTER ROLE postgres IN DATABASE postgres RESET search_path")
            server.execute("ALTER DATABASE postgres RESET timezone")


def lives_behind(pooled: str) -> None:
    with open_store(pooled, timeout=20) as store:
        assert store.database.pooled
        lives_of_threads(store, 8)
        moves = list(store.watch(after=0, timeout=0))
        assert moves == store.changes(limit=100_000)
        assert {move.created_at.utcoffset() for move in moves} == {timedelta()}
        assert store.verify() == []
        with psycopg.connect(pooled, autocommit=True) as another:
            for _ in range(5):
                found = another.execute("SELECT current_setting('lock_timeout'), current_setting('TimeZone')")
                assert found.fetchone() == ("0", "Asia/Kathmandu"), "what we set is left behind for others"


def lives_of_threads(store: Store, count: int) -> None:
    failed: list[BaseException] = []

    def lives() -> None:
        try:
            for _ in range(6):
                agent, issue = Agent.create(agent_type="coder"), an_issue()
                issue.assign(agent, by=MAINTAINER)
                issue.start(by=agent)
                with store.atomic():
                    issue.submit(by=agent)
                    issue.review(by=MAINTAINER)
                issue.complete(by=MAINTAINER)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=lives) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(HANG)
    assert failed == []
    assert Issue.select().where(Issue.status == "done").count() == 6 * count


def test_a_pooler_that_leaves_out_the_schema_is_refused(url: str, config_folder: Path) -> None:
    """This pooler is configured to drop the options of the URL."""
    dropped = "extra_float_digits, options"
    with (
        pooler(url, config_folder, ignore_startup_parameters=dropped) as port,
        pytest.raises(StoreError, match="ALTER ROLE … SET search_path = "),
    ):
        open_store(network.through(url, port))


# ---- the server's clock ------------------------------------------------------------------------------------


def test_the_servers_clock_rules(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose clock is three minutes slow stamps the server's time and rescues no living agent."""

    class Behind(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz) - timedelta(minutes=3)

    monkeypatch.setattr("dispatch_state.storage.server_clock.datetime", Behind)
    with open_store(url) as store:
        now = datetime.now(UTC)
        agent = Agent.create(agent_type="coder")
        assert abs((store.now() - now).total_seconds()) < 60
        assert abs((agent.started_at - now).total_seconds()) < 60
        agent.heartbeat()
        assert store.rescue(timeout=120) == []


def test_a_clock_that_the_caller_gave_is_used_instead(url: str) -> None:
    moment = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)
    with open_store(url, clock=lambda: moment):
        assert Epic.create(title="Then", description="…", repo_path="/src").created_at == moment


def test_the_clock_is_measured_anew_without_another_trip(opened: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The statement that begins a transaction measures it, now and then and when this machine's clock was set."""
    issue = an_issue()
    measured: list[datetime] = []
    take = ServerClock.set_from

    def counted(clock: ServerClock, asked: Any, moment: datetime) -> None:
        measured.append(moment)
        take(clock, asked, moment)

    monkeypatch.setattr(ServerClock, "set_from", counted)
    issue.queue(by=MAINTAINER)
    assert measured == []
    monkeypatch.setattr(ServerClock, "MAX_AGE", -1.0)
    issue.dequeue(by=MAINTAINER)
    assert len(measured) == 1
    assert abs((measured[0] - datetime.now(UTC)).total_seconds()) < 60
    assert opened.verify() == []


def test_a_change_of_this_machines_clock_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ServerClock()
    clock.set_from(ServerClock.local(), datetime.now(UTC))
    assert not clock.is_due()
    wall = time.time
    monkeypatch.setattr(time, "time", lambda: wall() + 180)
    assert clock.is_due()


def test_the_testing_kit_works_after_all_connections_ended(opened: Store, url: str) -> None:
    world = World(opened)
    issue = world.issues("in_progress")
    terminate(url)
    issue.complete(by=MAINTAINER)
    assert issue.status == "done"


def test_a_connection_that_is_lost_while_it_is_set_up_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that shuts down ends a connection that it has just accepted."""
    with postgres.fresh_schema() as url, open_store(url, timeout=5) as store:
        set_up = type(store.database)._set_up
        ended: list[int] = []

        def ends_the_first(database: Any, connection: Any) -> None:
            if not ended:
                ended.append(connection.pgconn.backend_pid)
                with psycopg.connect(url, autocommit=True) as other:
                    other.execute("SELECT pg_terminate_backend(%s)", ended)
            set_up(database, connection)

        monkeypatch.setattr(type(store.database), "_set_up", ends_the_first)

        with ThreadPoolExecutor(1) as thread, pytest.raises(StoreUnreachable, match="cannot be reached"):
            thread.submit(store.database.connection).result()
        assert ended
