"""Opening and closing the store of this process, and everything that a store can do."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import dispatch_state.engine.cascades  # noqa: F401 - registers the rules of cascades
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
    """Open the store of this process. A process can have only one store open.

    Args:
        target: a path, ":memory:", or a URL (`sqlite:///…`, `postgresql://…`). When left out, it is the environment
            variable `DISPATCH_DATABASE`, or else `[database] path` or `url` of the configuration file
            (`DISPATCH_CONFIG`, or `config.toml` in the user's configuration folder for `dispatch`), or else
            `dispatch.db` in the user's data folder for `dispatch`.
        create, migrate: whether to create a missing database, and whether to bring an old schema up to date.
        timeout: how long to wait for a lock, in seconds.
        pool_size: how many connections to keep open (PostgreSQL).
        durability: "full", or "normal", which is faster but may lose the last commits before a power cut (SQLite).
        clock: returns the present moment as an aware datetime, for every stamp, deadline and heartbeat. When None, the
            machine's clock is used, or the server's on PostgreSQL.

    Returns:
        The store. As a context manager it closes itself.

    Raises:
        InvalidValue: an argument is wrong.
        StoreAlreadyOpen: this process has a store open.
        StoreNotFound: there is no database, and `create` is False.
        SchemaTooOld, SchemaTooNew, MigrationFailed: the schema belongs to another version, and could not be migrated.
        StoreError: the database cannot be reached, read or written. A subclass says which.
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
        raise InvalidValue("clock: takes a callable that returns an aware datetime")


def _up_to_date(database: Database, wanted: bool, create: bool) -> None:
    try:
        migrate_database(database, wanted=wanted, create=create)
    except BaseException:
        database.close_all()
        raise


class Store:
    """The open store of this process, which `open_store` returns. Threads share it, each with its own connection.

    database: the Peewee database of the store.
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
        """Close the connections of all threads. Every later use raises `StoreNotOpen`; closing twice does nothing.

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
        """Return a block whose moves commit together or not at all. Blocks may be nested.

        When the block rolls back, the row objects that changed in it get back their earlier states.

        Raises:
            StoreNotOpen: the store was closed.
            StoreBusy: others held the database for longer than the store's timeout.
            StoreError: the block cannot be committed; on PostgreSQL also when it caught an error of the database and
                went on.
        """
        return self._session.atomic()

    def now(self) -> datetime:
        """Return the present moment by the store's clock, in UTC.

        Raises:
            InvalidValue: the clock returned a naive datetime, or something else.
            StoreNotOpen: the store was closed.
            WrongProcess: the store was opened before this process was forked.
        """
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
        """Give an agent the first queued issue that fits it: the issue is assigned, and the agent is dispatched to it.

        An agent may claim an issue when all of these conditions hold:
        - the issue is queued;
        - its `agent_type` is empty or the agent's;
        - its epic and its stage, if it has them, are in_progress;
        - it has the `repo_path` and the `issue_type` that were asked for.

        Of those issues the agent gets the first by priority, then by age, then by id. No two agents get the same issue.
        When another session makes an issue unfit before it is assigned, the claim takes the next one.
        An agent whose own issue is assigned or in_progress gets that issue again, whatever was asked for. It claimed
        the issue before, or `unblock` or `request_changes` gave it back.

        A claim is also a heartbeat. A claim that finds no issue writes a heartbeat only every 30 s.

        Args:
            agent: an agent of this store; the object is brought up to date.
            repo_path: only issues of this repository.
            issue_type: only issues of this type.
            start: whether to `start` an assigned issue in the same transaction, so that the issue is in_progress.
            process_id, session_id: arguments for the agent's `run`, which follows from that start. An agent that
                already runs, as with an issue that came back, keeps the values that it has.

        Returns:
            The issue. None when no issue fits at this moment, or the agent is busy with a review.

        Raises:
            InvalidValue: an argument is wrong, or `process_id` or `session_id` is given without `start`.
            RowNotFound: the agent is not in this store.
            GuardRefused: the agent is errored or completed.
            StoreError: the store is not open, or the database failed. A subclass says which.
        """
        return claims.claim(
            agent, repo_path=repo_path, issue_type=issue_type, start=start, process_id=process_id, session_id=session_id
        )

    def rescue(self, *, timeout: float = 120.0, max_attempts: int = 3, idle_timeout: float | None = None) -> list[Move]:
        """Mark starting and working agents as errored that have sent no heartbeat for too long.

        This fires `fail` on each of them as `System("rescue")`, which releases the agent's issues. An agent is silent
        when its last heartbeat is older than the timeout, or is further in the future than the timeout, because a clock
        was wrong. Agents that wait or are paused need not send heartbeats, and are left alone.

        The agents with the longest silence come first. Each one is moved in its own transaction, which checks the
        agent again, so several processes may call this at the same time. An agent that cannot be moved does not keep
        the others from being moved.

        Args:
            timeout: the longest silence that is allowed, in seconds.
            max_attempts: from how many attempts on an issue is blocked or unassigned instead of queued again.
            idle_timeout: in seconds. Also `stop` each idle or errored agent that was silent for longer and to which no
                live issue is assigned, because its session is over. None leaves such agents alone.

        Returns:
            Every move that was made.

        Raises:
            InvalidValue: an argument is wrong.
            StoreError: an agent could not be read or written. The first such error is raised after the other agents
                were moved, with a note of how many others there were.
        """
        return maintenance.rescue(timeout, max_attempts, idle_timeout)

    def tick(self) -> list[Move]:
        """Approve checkpoints whose time has come, and decide votes whose deadline has passed.

        The checkpoints come first, then the votes, each in the order in which they became due. Each row is moved in
        its own transaction, so several processes may call this at the same time. A row that cannot be moved does not
        keep the others from being moved.

        Returns:
            Every move that was made.

        Raises:
            StoreError: a row could not be read or written. The first such error is raised after the other rows were
                moved, with a note of how many others there were.
        """
        return maintenance.tick()

    def verify(self, *, progress: Progress | None = None) -> list[Violation]:
        """Check the whole store: the invariants of the lifecycles, and how the database stores each value.

        It reads one moment of the store, while others may go on writing.

        Args:
            progress: called from time to time with the number of checks that are done, and the number of all checks.

        Returns:
            What is wrong; empty when the store is sound.

        Raises:
            InvalidValue: `progress` cannot be called.
            StoreCorrupt: the file is so damaged that it cannot be read.
            StoreError: the store is not open, or the database failed. A subclass says which.
        """
        return self._session.read(lambda: verify(self.database, progress))

    def backup(self, path: str | os.PathLike[str]) -> Path:
        """Copy one moment of the store to a new file, while others go on writing (SQLite).

        Args:
            path: a file that does not exist yet. Only its owner can read it.

        Returns:
            The absolute path of the file, which is complete and on disk.

        Raises:
            InvalidValue: the file exists, or a transaction is open in this thread.
            StoreReadOnly, StoreFull: the file cannot be written.
            StoreError: the store is on PostgreSQL; use pg_dump there.
        """
        with self._session.error_boundary():
            return backup(self.database, path)

    def export(self, file: Target, *, progress: Progress | None = None) -> dict[str, int]:
        """Write one moment of the store as lines of JSON, while others go on writing. The rows are streamed.

        Args:
            file: the path of a file that does not exist yet, which only its owner can read; or a file that is open for
                writing bytes.
            progress: called from time to time with the number of rows that are done, and the number of all rows.

        Returns:
            How many rows of each table were written.

        Raises:
            InvalidValue: the file exists, the open file does not take bytes, or a transaction is open in this thread.
            StoreReadOnly, StoreFull, StoreError: the file cannot be written.
        """
        with self._session.error_boundary():
            return export(self.database, file, progress)

    def import_snapshot(self, file: Target, *, progress: Progress | None = None) -> dict[str, int]:
        """Fill this empty store from a file that `export` wrote, from either kind of database.

        The import is one exclusive transaction: all rows are imported, or none. Every value is checked, and so is the
        whole store at the end, as by `verify()`.

        Args:
            file: a path, or a file that is open for reading bytes.
            progress: called from time to time with the number of rows that are done, and 0.

        Returns:
            How many rows of each table were read.

        Raises:
            InvalidValue: the file cannot be read, does not return bytes, is not a snapshot, is truncated, or contains
                a value that its column does not accept. The message names the line.
            StoreError: this store is not empty, or the rows break an invariant.
        """
        with self._session.error_boundary():
            return import_snapshot(self.database, file, progress)

    def enforcement_suspended(self) -> AbstractContextManager[None]:
        """Return a block without the database's own triggers, for restores and repairs.

        The block is one exclusive transaction. Before it commits, the triggers are created again and the whole store is
        checked, as by `verify()`. When the check finds something, everything rolls back, and the row objects get back
        their earlier states.

        Raises:
            InvalidValue: a transaction is open in this thread.
            StoreBusy: other writers never left the database free.
            StoreError: what was written breaks an invariant.
        """
        return self._session.atomic(enforcement_suspended(self.database))

    def history(self, row: Stateful) -> list[TransitionLog]:
        """Return every move of a row, the oldest first.

        Args:
            row: a row with a lifecycle; it may have been removed.

        Raises:
            InvalidValue: it is something else.
            StoreError: the store is not open, or the database failed. A subclass says which.
        """
        return self._session.read(lambda: history(row))

    def explain(self, row: Stateful) -> str:
        """Explain in plain text why a row has its status.

        Args:
            row: a row with a lifecycle.

        Returns:
            Its last move, the moves from which that one followed, who acted in the end, and what the row waits for.

        Raises:
            InvalidValue: it is something else.
            RowNotFound: the row was removed.
            StoreError: the store is not open, or the database failed. A subclass says which.
        """
        return self._session.read(lambda: explain(row))

    def changes(self, after: int = 0, limit: int = 1000) -> list[TransitionLog]:
        """Return the moves after a given one, in the order of `seq`.

        Args:
            after: the `seq` of the last move to leave out.
            limit: the greatest number of moves to return.

        Raises:
            InvalidValue: an argument is wrong.
            StoreError: the store is not open, or the database failed. A subclass says which.
        """
        return self._session.read(lambda: changes(after, limit))

    def watch(self, after: int | None = None, *, timeout: float | None = None) -> Iterator[TransitionLog]:
        """Yield the committed moves of all processes, in the order of `seq` and each once, as they are made.

        On PostgreSQL a move is yielded when no open transaction can contain an earlier one any more. A program that
        stores the `seq` of the last move it has handled can go on from there after a restart.

        Args:
            after: the `seq` of the last move to leave out. None begins with the moves that are committed from now on.
            timeout: end after this many seconds without a move. None goes on for ever.

        Raises:
            InvalidValue: an argument is wrong; or, from the iterator, a transaction is open in this thread.
            StoreNotOpen: from the iterator: the store was closed.
            StoreError: from the iterator: the database failed.
        """
        return watch(self.database, self._session.read, self._session.error_boundary, after, timeout)

    def needs_human(self) -> list[NeedsHuman]:
        """Return everything that waits for a person, such as gates, blocked issues and agents with a question.

        Raises:
            StoreError: the store is not open, or the database failed. A subclass says which.
        """
        return self._session.read(needs_human)

    def counts(self) -> dict[str, dict[str, int]]:
        """Return how many rows have each status, by table.

        Raises:
            StoreError: the store is not open, or the database failed. A subclass says which.
        """
        return self._session.read(counts)
