"""Opening and closing the store of this process, and what a store can be asked."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import dispatch_state.engine.cascades  # noqa: F401 - registers what follows from what
from dispatch_state import values
from dispatch_state.audit.verify import verify
from dispatch_state.audit.violations import Violation
from dispatch_state.engine import claims, maintenance
from dispatch_state.engine.session import StoreSession
from dispatch_state.errors import InvalidValue, StoreAlreadyOpen, WrongProcess
from dispatch_state.lifecycle.interface import Move
from dispatch_state.models.agent import Agent
from dispatch_state.models.base import Stateful
from dispatch_state.models.issue import Issue
from dispatch_state.models.log import TransitionLog
from dispatch_state.schema.migrate import migrate as migrate_database
from dispatch_state.storage.connect import Database, connect
from dispatch_state.storage.current import CURRENT
from dispatch_state.storage.targets import resolve
from dispatch_state.transfer.backups import backup, enforcement_suspended
from dispatch_state.transfer.files import Target
from dispatch_state.transfer.snapshot_reader import import_snapshot
from dispatch_state.transfer.snapshot_writer import export
from dispatch_state.values import Clock, Progress
from dispatch_state.views.explain import explain
from dispatch_state.views.history import changes, counts, history
from dispatch_state.views.needs_human import NeedsHuman, needs_human
from dispatch_state.views.watch import watch
from dispatch_state.vocabulary import IssueType


def open_store(
    target: str | os.PathLike[str] | None = None,
    *,
    create: bool = True,
    migrate: bool = True,
    timeout: float = 30.0,
    pool_size: int = 5,
    durability: str = "full",
    clock: Clock | None = None,
) -> Store:
    """Open the store of this process.

    Args:
        target: a path, ":memory:", or a URL (`sqlite:///…`, `postgresql://…`). When left out: the environment's
            `DISPATCH_DATABASE`, else `[database] path` or `url` of the configuration file (`DISPATCH_CONFIG`, else
            `config.toml` in the user's configuration folder for `dispatch`), else `dispatch.db` in the user's data
            folder for it.
        create: whether to make the database when it is not there.
        migrate: whether to bring an old schema up to date.
        timeout: how long to wait for a lock, in seconds.
        pool_size: connections kept open (PostgreSQL).
        durability: "full", or "normal", which trades the last commits before a power cut for speed (SQLite).
        clock: gives the moment for every stamp, deadline and heartbeat, as an aware datetime.

    Returns:
        The store, also a context manager that closes it.

    Raises:
        InvalidValue: an argument is wrong.
        StoreAlreadyOpen: a store is open in this process.
        StoreNotFound: nothing is there, and `create` is False.
        SchemaTooOld, SchemaTooNew, MigrationFailed: its schema is not this version's, and could not be made so.
        StoreError: it cannot be reached, read or written; a subclass says which.
    """
    _check(create, migrate, clock)
    place = resolve(target)
    with CURRENT.lock:
        if CURRENT.store is not None:
            raise StoreAlreadyOpen(f"{CURRENT.store} is open in this process; close() it first")
        database = connect(place, create=create, timeout=timeout, pool_size=pool_size, durability=durability)
        _up_to_date(database, migrate, create)
        session = StoreSession(database, clock)
        store = Store(database, session, str(place))
        CURRENT.put(store, session, database)
        return store


def _check(create: bool, migrate: bool, clock: Clock | None) -> None:
    values.boolean(create, "create")
    values.boolean(migrate, "migrate")
    if clock is not None and not callable(clock):
        raise InvalidValue("clock: takes a callable that gives an aware datetime")


def _up_to_date(database: Database, wanted: bool, create: bool) -> None:
    try:
        migrate_database(database, wanted=wanted, create=create)
    except BaseException:
        database.close_all()
        raise


class Store:
    """The open store of this process; made by `open_store`. Threads share it, each with its own connection.

    database: the Peewee database behind it.
    """

    def __init__(self, database: Database, session: StoreSession, name: str) -> None:
        self.database = database
        self.pid = os.getpid()
        self._session = session
        self._name = name

    def __repr__(self) -> str:
        return f"<Store {self._name}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.pid == os.getpid():
            self.close()

    def close(self) -> None:
        """Close the connections of all threads; every later use is `StoreNotOpen`. Closing twice does nothing.

        Raises:
            WrongProcess: the store was opened in another process.
        """
        if self.pid != os.getpid():
            raise WrongProcess()
        with CURRENT.lock:
            if CURRENT.store is self:
                CURRENT.clear()
                self.database.close_all()

    def atomic(self) -> AbstractContextManager[None]:
        """A block whose moves commit together or not at all; blocks nest.

        When it rolls back, the row objects that moved in it are put back to what they were before.

        Raises:
            StoreBusy: others held the database for longer than the store's timeout.
            StoreError: it cannot be committed; on PostgreSQL also when an error of the database was passed over in it.
        """
        return self._session.atomic()

    def now(self) -> datetime:
        """The present moment by the store's clock, in UTC."""
        self.database.check_usable()
        return self._session.now()

    def claim(
        self,
        agent: Agent,
        *,
        repo_path: str | None = None,
        issue_type: IssueType | str | None = None,
        start: bool = False,
        process_id: int | None = None,
        session_id: str | None = None,
    ) -> Issue | None:
        """Give an agent the first queued issue that fits it, atomically; it is dispatched to it.

        An issue may be claimed while all of this is true:
        - it is queued;
        - its `agent_type` is empty or the agent's;
        - its epic and its stage, where it has them, are in_progress;
        - it has the `repo_path` and the `issue_type` asked for.

        Of those the first is given, by priority, then by age, then by id. One that becomes unfit before it is
        assigned, because another session moved it, its stage or its epic, is passed over, and the next is given.

        An agent that holds an issue as its assignee gets that one back, whatever is asked for: one that it claimed
        before, or that came back to it by `unblock` or `request_changes`.

        A claim is a heartbeat; one that gives nothing writes it every 30 s at most.

        Args:
            agent: an agent of this store; the object is brought up to date.
            repo_path: only issues of this repository.
            issue_type: only issues of this type.
            start: also `start` the issue, if it is assigned, in the same transaction: what is given is in_progress.
            process_id, session_id: what the agent's `run` is given, which follows from that start. An agent that runs
                already, as with an issue that came back, keeps those it has.

        Returns:
            The issue, or None when nothing fits at this moment, or the agent is busy with a review.

        Raises:
            InvalidValue: an argument is wrong, or a process or session is named without `start`.
            RowNotFound: the agent is not in this store.
            GuardRefused: the agent is errored or completed.
        """
        return claims.claim(
            agent, repo_path=repo_path, issue_type=issue_type, start=start, process_id=process_id, session_id=session_id
        )

    def rescue(self, *, timeout: float = 120.0, max_attempts: int = 3, idle_timeout: float | None = None) -> list[Move]:
        """Fail every starting or working agent that is silent, as `System("rescue")`: its work is offered again.

        An agent is silent when its last heartbeat is longer ago than the timeout, or lies further ahead than that
        (a clock was wrong then). Agents that wait or are paused send no heartbeats, and are left alone.

        The longest silence first, each in a transaction of its own, looked at once and judged again there: several
        processes may call this at once. An agent that cannot be moved does not keep the others from it.

        Args:
            timeout: in seconds.
            max_attempts: from how many attempts on an issue is set aside instead of queued again.
            idle_timeout: in seconds; also `stop` every idle or errored agent that was silent for longer and that no
                live issue names as its assigned agent: sessions that are over. None leaves them.

        Returns:
            Every move that was made.

        Raises:
            InvalidValue: an argument is wrong.
            StoreError: an agent could not be read or written; the first such error, raised at the end, with a note
                of how many others there were. The moves of the other agents are made.
        """
        return maintenance.rescue(timeout, max_attempts, idle_timeout)

    def tick(self) -> list[Move]:
        """Fire what is due: checkpoints whose time has come, votes whose deadline has passed.

        Each in a transaction of its own, in the order in which they became due; safe to call from several processes
        at once. One that cannot be moved does not keep the others from it.

        Returns:
            Every move that was made.

        Raises:
            StoreError: a row could not be read or written; the first such error, raised at the end, with a note of
                how many others there were. The other moves are made.
        """
        return maintenance.tick()

    def verify(self, *, progress: Progress | None = None) -> list[Violation]:
        """What breaks an invariant of the lifecycles, or is not as the database should hold it; empty when sound.

        Reads one moment of the store, while others may go on writing.

        Args:
            progress: called now and then with how many checks are done, and of how many.

        Raises:
            InvalidValue: `progress` cannot be called.
            StoreCorrupt: the file is damaged so that it cannot be read.
        """
        return self._session.read(lambda: verify(self.database, progress))

    def backup(self, path: str | os.PathLike[str]) -> Path:
        """Copy one moment of the store to a new file, while others go on writing (SQLite).

        Args:
            path: a file that does not exist yet; it is its owner's alone.

        Returns:
            Its absolute path; whole and on disk when this returns.

        Raises:
            InvalidValue: there is such a file, or a transaction is open in this thread.
            StoreReadOnly, StoreFull: it cannot be written.
            StoreError: the store is on PostgreSQL, which has pg_dump.
        """
        with self._session.error_boundary():
            return backup(self.database, path)

    def export(self, file: Target, *, progress: Progress | None = None) -> dict[str, int]:
        """Write one moment of the store as lines of JSON, while others go on writing; streamed.

        Args:
            file: a path that does not exist yet, which becomes its owner's alone; or a file opened to write bytes.
            progress: told now and then how many rows are done, and of how many.

        Returns:
            How many rows of each table were written.

        Raises:
            InvalidValue: there is such a file, the open file takes no bytes, or a transaction is open in this thread.
            StoreReadOnly, StoreFull, StoreError: it cannot be written.
        """
        with self._session.error_boundary():
            return export(self.database, file, progress)

    def import_snapshot(self, file: Target, *, progress: Progress | None = None) -> dict[str, int]:
        """Fill this empty store with what `export` wrote, of either database; all of it, or nothing.

        It is one exclusive transaction; every value is checked on the way in, and `verify()` is asked at its end.

        Args:
            file: a path, or a file opened to read bytes.
            progress: told now and then how many rows are done; the second number is 0.

        Returns:
            How many rows of each table were read.

        Raises:
            InvalidValue: the file cannot be read or gives no bytes, is no snapshot, was cut, or holds what no column
                does; the line is named.
            StoreError: this store is not empty, or what the file holds breaks an invariant.
        """
        with self._session.error_boundary():
            return import_snapshot(self.database, file, progress)

    def enforcement_suspended(self) -> AbstractContextManager[None]:
        """A block in which the database's own triggers do not stand: the door for restores and repairs.

        It is one exclusive transaction. Before it commits the triggers stand again and `verify()` is asked; what
        does not hold rolls everything back. Row objects are put back then, as `atomic` does it.

        Raises:
            InvalidValue: a transaction is open in this thread.
            StoreBusy: others write so much that they were never all out at one moment.
            StoreError: what was written breaks an invariant.
        """
        return self._session.atomic(enforcement_suspended(self.database))

    def history(self, row: Stateful) -> list[TransitionLog]:
        """Every move of a row, the oldest first; also of one that was removed."""
        return self._session.read(lambda: history(row))

    def explain(self, row: Stateful) -> str:
        """Why a row is where it is: its last move, what that followed from, up to who acted; and what it waits for.

        Raises:
            RowNotFound: the row is gone.
        """
        return self._session.read(lambda: explain(row))

    def changes(self, after: int = 0, limit: int = 1000) -> list[TransitionLog]:
        """The moves recorded after one, in the order of `seq`.

        Args:
            after: the `seq` to begin behind.
            limit: how many at most.
        """
        return self._session.read(lambda: changes(after, limit))

    def watch(self, after: int | None = None, *, timeout: float | None = None) -> Iterator[TransitionLog]:
        """Every committed move behind one, in the order of `seq`, as they come, of all processes; none twice.

        On PostgreSQL a move is told when no transaction is open any more that may hold an earlier one. Whoever
        keeps the `seq` of the last one it dealt with goes on from there after a restart.

        Args:
            after: the `seq` to begin behind; None begins with what is committed from now on.
            timeout: end after so many seconds without a move; None goes on for ever.

        Raises:
            InvalidValue: an argument is wrong; or, from the iterator, a transaction is open in this thread.
            StoreNotOpen: from the iterator: the store was closed meanwhile.
        """
        return watch(self.database, self._session.read, self._session.error_boundary, after, timeout)

    def needs_human(self) -> list[NeedsHuman]:
        """Everything that goes on only when a person says so: gates, blocked issues, agents that ask and the like."""
        return self._session.read(needs_human)

    def counts(self) -> dict[str, dict[str, int]]:
        """How many rows stand in each status, by table."""
        return self._session.read(counts)
