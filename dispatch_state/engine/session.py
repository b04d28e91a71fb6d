"""What stands behind the models' door: checks what comes in, opens the transaction, keeps objects true.

Everything a caller gives is checked before any SQL. The transaction is the caller's, joined with a
savepoint, or one of our own, which is tried again when the database asks for it. Row objects change
only after success, and are put back when a `store.atomic()` block around them rolls back.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

import peewee

from dispatch_state import values
from dispatch_state.actors import STORE, Actor, Human
from dispatch_state.engine.blocks import AtomicBlock, ErrorBoundary, Memory
from dispatch_state.engine.checks import (
    FENCED,
    new_row_columns,
    require_actor,
    require_id,
    require_parents,
    require_saved,
)
from dispatch_state.engine.locks import hold
from dispatch_state.engine.removals import remove
from dispatch_state.engine.unit_of_work import UnitOfWork
from dispatch_state.errors import GuardRefused, InvalidValue, StaleRow, StoreError, StoreUnreachable
from dispatch_state.lifecycle.interface import Firing, Lock, Locks, Move
from dispatch_state.lifecycle.triggers import Trigger
from dispatch_state.models.agent import Agent
from dispatch_state.models.base import Stateful
from dispatch_state.models.keys import absent, present
from dispatch_state.models.log import moves_of
from dispatch_state.models.row import Row
from dispatch_state.storage.connect import Database
from dispatch_state.storage.retries import Outdated, Retries
from dispatch_state.storage.statements import find, row_object
from dispatch_state.storage.targets import POSTGRESQL
from dispatch_state.values import Clock, listed, shown

T = TypeVar("T")


class StoreSession:
    """The door of one open store.

    Args:
        database: where the rows are.
        clock: tells the moment, as an aware datetime; the database's own when None.
    """

    def __init__(self, database: Database, clock: Clock | None = None) -> None:
        self._database = database
        self.now: Clock = database.clock if clock is None else partial(_read_clock, clock)
        """The store's present moment; raises `InvalidValue` when the clock tells a naive one."""
        self._memory = Memory()
        self._error_boundary = ErrorBoundary(database)

    # ---- transactions ----------------------------------------------------------------------------

    def error_boundary(self) -> ErrorBoundary:
        """A block that nothing foreign leaves; `store_error` says what it becomes."""
        return self._error_boundary

    def atomic(self, block: AbstractContextManager[Any] | None = None) -> AbstractContextManager[None]:
        """A block that commits as one; when it rolls back, row objects are put back to what they were.

        Queries that the caller writes in it raise Peewee's errors.

        Args:
            block: begins and ends the transaction; an ordinary one when None.
        """
        self._database.check_usable()
        return AtomicBlock(self._database, self._error_boundary, self._memory, block)

    def _run(
        self,
        row: Row | None,
        work: Callable[[UnitOfWork], T],
        *,
        by: Actor,
        locks: Locks | None,
        others: tuple[Any, ...] = (),
        update_objects: tuple[Any, ...] = (),
    ) -> T:
        """Do the work in one transaction, under its locks, and bring the caller's row objects up to date."""
        database = self._database
        depth = len(database._state.transactions)
        if depth and sys.exception() is not None:
            database.undo_interrupted_block()
            depth = len(database._state.transactions)
        pooled = database.kind == POSTGRESQL
        retries: Retries | None = None
        try:
            while True:
                try:
                    with database.block:
                        if pooled and row is not None:
                            hold(row, locks, others, by)
                        unit = UnitOfWork(self.now())
                        result = work(unit)
                    break
                except (Outdated, peewee.PeeweeException) as error:
                    retries = retries or Retries(database, f"the rows around {row}" if row else "the same rows")
                    retries.wait_or_raise(error, depth)
            self._bring_up_to_date((*update_objects, by) if isinstance(by, Agent) else update_objects, unit)
            if unit.lines:
                unit.report(committed=not depth)
            return result
        except BaseException as error:
            database.roll_back_beyond(depth)
            if isinstance(error, database.foreign_errors):
                self._error_boundary.translate(error)
            raise
        finally:
            if pooled:
                database.release()

    def _bring_up_to_date(self, objects: tuple[Any, ...], unit: UnitOfWork) -> None:
        for row in objects:
            data = unit.changed.get((type(row), row.__data__.get("id")))
            if data is not None:
                if self._memory.blocks:
                    self._memory.remember(row)
                if row._dirty or row._fingerprints:
                    unsaved = row.unsaved()
                    data = {name: value for name, value in data.items() if name not in unsaved}
                row.take(data)

    # ---- firing ----------------------------------------------------------------------------------

    def fire(
        self, row: Stateful, trigger: Trigger, by: Any, reason: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> list[Move]:
        """Fire a trigger on a row object, which must stand where it did when it was read."""
        name = trigger.name
        if row.machine.triggers.get(name) is not trigger:
            raise InvalidValue(f"{name}: is no trigger of {row}")
        if by.__class__ is not Human:
            require_actor(by, name)
        if reason != "" or trigger.needs_reason:
            reason = trigger.checked_reason(reason)
        arguments = trigger.checked(args, kwargs) if args or kwargs or trigger.required else trigger.defaults
        if row.is_new or row._dirty or row._fingerprints or not row.__data__.keys() >= FENCED:
            require_saved(row)
        rows = tuple([value for value in arguments.values() if isinstance(value, Row)]) if arguments else ()
        if row.__data__["status"] not in trigger.edges:
            self.read(lambda: self._fenced(row, rows))
            row.machine.require(row, name)
        if "error" in arguments and (name == "fail" or not reason):
            reason = arguments["error"]

        def work(unit: UnitOfWork) -> list[Move]:
            fresh, read = self._fenced(row, rows)
            given = {key: read.get(id(value), value) for key, value in arguments.items()} if read else arguments
            return unit.acts(name, [(fresh, name, given)], by, reason)

        return self._run(row, work, by=by, locks=trigger.locks, others=rows, update_objects=(row, *rows))

    def _fenced(self, row: Stateful, others: tuple[Row, ...] = ()) -> tuple[Any, dict[int, Row]]:
        """The row as it stands, and the other rows by the identity of the objects that name them.

        Raises:
            RowNotFound: one of them is gone.
            StaleRow: the row moved since the object was read.
        """
        known = row.__data__
        fresh = find(type(row), known["id"]) or absent(type(row), known["id"])
        now = fresh.__data__
        read = {id(other): present(type(other), other._pk) for other in others} if others else {}
        if now["version"] != known["version"] or now["status"] != known["status"]:
            raise StaleRow(
                f"{row} was {row.status} (version {row.version}) when it was read, and is now {fresh.status} "
                f"(version {fresh.version}); reload() it and decide again"
            )
        return fresh, read

    def refusals(self, row: Stateful, trigger: str, by: Actor, arguments: dict[str, Any]) -> list[str]:
        """Why a trigger would be refused on the row as it stands in the database."""
        found = row.machine.triggers.get(trigger) if isinstance(trigger, str) else None
        if found is None:
            raise InvalidValue(f"{row} has no trigger {shown(trigger)}; it has {listed(row.machine.triggers)}")
        require_actor(by, trigger)
        arguments.pop("reason", None)
        try:
            checked = found.checked((), arguments)
        except TypeError:
            raise InvalidValue(f"{trigger}: takes {listed(found.parameters)}, by name") from None
        return self.read(lambda: self._refusals(row, found, by, checked))

    def _refusals(self, row: Stateful, trigger: Trigger, by: Actor, arguments: dict[str, Any]) -> list[str]:
        fresh = present(type(row), row.id)
        if fresh.status not in trigger.edges:
            return [row.machine.illegal(fresh, trigger.name)]
        agent = find(Agent, by.id) if isinstance(by, Agent) else None
        read = {n: present(type(v), v._pk) if isinstance(v, Row) else v for n, v in arguments.items()}
        firing = Firing(fresh, trigger.name, read, by, "", self.now(), agent=agent)
        if refusal := UnitOfWork.actor_refusal(by, agent, fresh, trigger.name):
            firing.refusals.append(refusal)
        try:
            fresh.machine.decide(firing)
        except GuardRefused as error:
            return list(error.reasons)
        return []

    # ---- other writing ---------------------------------------------------------------------------

    def work_on(
        self,
        row: Any,
        action: str,
        work: Callable[[UnitOfWork, Any], T],
        *,
        locks: Locks | None,
        by: Actor = STORE,
        others: tuple[Any, ...] = (),
        fenced: bool = False,
        legal: str | None = None,
    ) -> T:
        """Do `work` in one write transaction, given the row as it stands; see `lifecycle.interface.Session`."""
        require_actor(by, action)
        require_id(row)
        if fenced:
            require_saved(row)

        def whole(unit: UnitOfWork) -> T:
            fresh = self._fenced(row, others)[0] if fenced else present(type(row), row._pk)
            unit.remember(fresh)
            if legal is not None:
                fresh.machine.require(fresh, legal)
            unit.refuse(fresh, action, unit.actor_refusals(by, fresh))
            return work(unit, fresh)

        return self._run(row, whole, by=by, locks=locks, others=others, update_objects=(row, *others))

    def insert(self, row: Stateful, by: Actor, reason: str) -> None:
        """Give birth to a row object."""
        require_actor(by, "create")
        reason = values.text(reason, "reason")
        columns = new_row_columns(row)
        new_row = row_object(type(row), columns)
        new_row.check_columns()

        def work(unit: UnitOfWork) -> dict[str, Any]:
            fresh = row_object(type(row), dict(columns))
            require_parents(fresh)
            for parent in fresh.__rel__.values():
                unit.remember(parent)
            unit.create(fresh, by, reason)
            return unit.changed[type(row), fresh.id]

        try:
            parents = tuple(row.__rel__.values())
            born = self._run(new_row, work, by=by, locks=row.create_locks, update_objects=parents)
        except StoreError as error:
            if isinstance(error.__cause__, peewee.IntegrityError) and self.read(lambda: moves_of(new_row.id)):
                raise InvalidValue(f"{new_row}: that id was used before") from error
            raise
        self._memory.remember(row)
        row.take(born)

    def save(self, row: Stateful, columns: tuple[str, ...]) -> None:
        """Write changed columns of a row object."""
        require_id(row)
        if guarded := row.protected_columns().intersection(columns):
            raise InvalidValue(f"{row}: not by save(): {row.why_protected(guarded)}; reload() puts the object back")
        fields = row._meta.fields
        changed = {name: fields[name].check(row.__data__.get(name)) for name in columns}

        def work(unit: UnitOfWork) -> dict[str, Any]:
            fresh = present(type(row), row.id)
            fresh.take(changed)
            fresh.check_columns()
            require_parents(fresh, columns)
            unit.refuse(fresh, "save", fresh.why_fixed(columns))
            unit.set(fresh, **changed)
            return {name: fresh.__data__[name] for name in (*columns, "updated_at") if name in fresh.__data__}

        written = self._run(row, work, by=STORE, locks=(Lock.ROW,))
        self._memory.remember(row)
        row.take(written)

    def remove(self, row: Stateful, by: Actor, reason: str) -> None:
        """Delete a row that is final, and log what goes with it."""
        require_actor(by, "remove")
        reason = values.nonblank_text(reason, "reason")
        require_saved(row)
        self._run(row, lambda unit: remove(unit, self._fenced(row)[0], by, reason), by=by, locks=row.remove_locks)

    def read(self, ask: Callable[[], T]) -> T:
        """Ask something of the database; outside of a transaction once more, when the connection was lost."""
        database = self._database
        depth = len(database._state.transactions)
        retries: Retries | None = None
        while True:
            try:
                with self._error_boundary:
                    return ask()
            except StoreUnreachable as error:
                retries = retries or Retries(database, "")
                retries.wait_or_raise(error, depth)
            except BaseException:
                database.roll_back_beyond(depth)
                raise

    def write(self, work: Callable[[UnitOfWork], T]) -> T:
        """Do `work` in one write transaction, begun again when the database asks for it; it may fire triggers."""
        return self._run(None, work, by=STORE, locks=None)

    def reload(self, row: Row) -> None:
        """Read a row object afresh, in place."""
        fresh = self.read(lambda: present(type(row), row._pk))
        self._memory.remember(row)
        row.take(fresh.__data__)


def _read_clock(clock: Clock) -> datetime:
    return values.instant(clock(), "clock")
