"""The session of an open store: it checks arguments, opens transactions and keeps row objects up to date.

All arguments are checked before any SQL. A call inside the caller's transaction joins it with a savepoint. Otherwise it
begins its own transaction, and repeats it when the database asks for that. Row objects change only after success, and
get back their earlier state when the surrounding `store.atomic()` block rolls back.
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
from dispatch_state.engine.blocks import AtomicBlock, ErrorBoundary, ObjectStates
from dispatch_state.engine.checks import (
    FENCED,
    new_row_columns,
    require_actor,
    require_id,
    require_parents,
    require_saved,
)
from dispatch_state.engine.judging import why_refused
from dispatch_state.engine.locks import take_locks
from dispatch_state.engine.removals import remove
from dispatch_state.engine.unit_of_work import UnitOfWork
from dispatch_state.errors import InvalidValue, StaleRow, StoreError, StoreUnreachable
from dispatch_state.lifecycle.interface import Move
from dispatch_state.lifecycle.locks import Lock, Locks
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
    """The session of one open store; what the models see of it is the protocol `lifecycle.session.Session`.

    Args:
        database: the database with the rows.
        clock: returns the present moment as an aware datetime. When None, the database's clock is used.
    """

    def __init__(self, database: Database, clock: Clock | None = None) -> None:
        self._database = database
        self.now: Clock = database.clock if clock is None else partial(_read_clock, clock)
        """Returns the store's present moment, in UTC; raises `InvalidValue` when the clock returns a naive datetime."""
        self._object_states = ObjectStates()
        self._error_boundary = ErrorBoundary(database)

    # ---- transactions ----------------------------------------------------------------------------

    def error_boundary(self) -> ErrorBoundary:
        """A block in which errors of the database become errors of this library."""
        return self._error_boundary

    def atomic(self, block: AbstractContextManager[Any] | None = None) -> AbstractContextManager[None]:
        """A block that commits as a whole. When it rolls back, the row objects get back their earlier states.

        Queries that the caller writes in it raise Peewee's errors.

        Args:
            block: begins and ends the transaction. When None, the block begins an ordinary one.

        Raises:
            StoreNotOpen: the store was closed.
            WrongProcess: the store was opened before this process was forked.
        """
        self._database.check_usable()
        return AtomicBlock(self._database, self._error_boundary, self._object_states, block)

    def _in_transaction(
        self,
        row: Row | None,
        work: Callable[[UnitOfWork], T],
        *,
        by: Actor,
        locks: Locks | None,
        others: tuple[Any, ...] = (),
        update_objects: tuple[Any, ...] = (),
    ) -> T:
        """Do the work in one transaction, under its locks, then update the caller's row objects."""
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
                            take_locks(row, locks, others, by)
                        unit = UnitOfWork(self.now())
                        result = work(unit)
                    break
                except (Outdated, peewee.PeeweeException) as error:
                    retries = retries or Retries(database, f"the rows around {row}" if row else "the same rows")
                    retries.wait_or_raise(error, depth)
            self._object_states.update((*update_objects, by) if isinstance(by, Agent) else update_objects, unit.changed)
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

    # ---- firing ----------------------------------------------------------------------------------

    def fire(
        self, row: Stateful, trigger: Trigger, by: Any, reason: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> list[Move]:
        """Fire a trigger on a row object, and return the moves; see `lifecycle.session.Session.fire`.

        Raises:
            InvalidValue: an argument is wrong, or the object has unsaved changes.
            RowNotFound, StaleRow: a row was removed, or this one moved since it was read.
            IllegalTransition: the trigger does not start from the row's status.
            GuardRefused: a guard refused, or `by` may not fire the trigger.
            StoreError: the store is not open, or the database failed. A subclass says which.
        """
        name = trigger.name
        if row.machine.triggers.get(name) is not trigger:
            raise InvalidValue(f"{name}: is not a trigger of {row}")
        if by.__class__ is not Human:
            require_actor(by, name)
        if reason != "" or trigger.needs_reason:
            reason = trigger.checked_reason(reason)
        arguments = trigger.checked(args, kwargs) if args or kwargs or trigger.required else trigger.defaults
        if row.is_new or row._dirty or row._fingerprints or not row.__data__.keys() >= FENCED:
            require_saved(row)
        rows = tuple([value for value in arguments.values() if isinstance(value, Row)]) if arguments else ()
        if row.__data__["status"] not in trigger.edges:
            self.read(lambda: self._read_fenced(row, rows))
            row.machine.require(row, name)
        if "error" in arguments and (name == "fail" or not reason):
            reason = arguments["error"]

        def work(unit: UnitOfWork) -> list[Move]:
            fresh, read = self._read_fenced(row, rows)
            current = {key: read.get(id(value), value) for key, value in arguments.items()} if read else arguments
            return unit.acts(name, [(fresh, name, current)], by, reason)

        return self._in_transaction(row, work, by=by, locks=trigger.locks, others=rows, update_objects=(row, *rows))

    def _read_fenced(self, row: Stateful, others: tuple[Row, ...] = ()) -> tuple[Any, dict[int, Row]]:
        """Read the row and the other rows again; the others are returned by the `id()` of their objects.

        Raises:
            RowNotFound: one of them was removed.
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
        """Find out why a trigger would be refused on the row as it is in the database.

        See `lifecycle.session.Session.refusals`.

        Raises:
            InvalidValue: there is no such trigger, or an argument is wrong.
            RowNotFound: a row was removed.
        """
        found = row.machine.triggers.get(trigger) if isinstance(trigger, str) else None
        if found is None:
            raise InvalidValue(f"{row} has no trigger {shown(trigger)}; it has {listed(row.machine.triggers)}")
        require_actor(by, trigger)
        arguments.pop("reason", None)
        try:
            checked = found.checked((), arguments)
        except TypeError:
            raise InvalidValue(f"{trigger}: takes {listed(found.parameters)}, by name") from None
        return self.read(lambda: why_refused(row, found, by, checked, self.now()))

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
        """Do `work` on a row in one write transaction.

        See `lifecycle.session.Session.work_on` for the arguments, the return value and the errors.
        """
        require_actor(by, action)
        require_id(row)
        if fenced:
            require_saved(row)

        def whole(unit: UnitOfWork) -> T:
            fresh = self._read_fenced(row, others)[0] if fenced else present(type(row), row._pk)
            unit.remember(fresh)
            if legal is not None:
                fresh.machine.require(fresh, legal)
            unit.refuse(fresh, action, unit.actor_refusals(by, fresh))
            return work(unit, fresh)

        return self._in_transaction(row, whole, by=by, locks=locks, others=others, update_objects=(row, *others))

    def insert(self, row: Stateful, by: Actor, reason: str) -> None:
        """Insert a new row, and bring the object up to date; see `lifecycle.session.Session.insert`.

        Raises:
            InvalidValue: a column or an argument is wrong, or the id was used before.
            RowNotFound: a key names no row.
            GuardRefused: the row cannot be created in the present state of other rows.
            StoreError: the store is not open, or the database failed. A subclass says which.
        """
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
            created = self._in_transaction(new_row, work, by=by, locks=row.create_locks, update_objects=parents)
        except StoreError as error:
            if isinstance(error.__cause__, peewee.IntegrityError) and self.read(lambda: moves_of(new_row.id)):
                raise InvalidValue(f"{new_row}: that id was used before") from error
            raise
        self._object_states.remember(row)
        row.take(created)

    def save(self, row: Stateful, columns: tuple[str, ...]) -> None:
        """Write changed columns of a row object; see `lifecycle.session.Session.save`.

        Raises:
            InvalidValue: a value is wrong, or `save` may not change a column.
            RowNotFound: the row was removed, or a key names no row.
            GuardRefused: a column cannot change any more.
        """
        require_id(row)
        if protected := row.protected_columns().intersection(columns):
            raise InvalidValue(
                f"{row}: save() refuses this: {row.why_protected(protected)}; reload() restores the object"
            )
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

        written = self._in_transaction(row, work, by=STORE, locks=(Lock.ROW,))
        self._object_states.remember(row)
        row.take(written)

    def remove(self, row: Stateful, by: Actor, reason: str) -> None:
        """Delete a final row with the rows that belong to it, and log each removal.

        See `lifecycle.session.Session.remove`.
        """
        require_actor(by, "remove")
        reason = values.nonblank_text(reason, "reason")
        require_saved(row)
        self._in_transaction(
            row, lambda unit: remove(unit, self._read_fenced(row)[0], by, reason), by=by, locks=row.remove_locks
        )

    def read(self, ask: Callable[[], T]) -> T:
        """Read from the database. When the connection was lost outside of a transaction, the read is repeated.

        See `lifecycle.session.Session.read`.
        """
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
        """Do `work` in one write transaction, which is repeated when the database asks for that.

        See `lifecycle.session.Session.write`.
        """
        return self._in_transaction(None, work, by=STORE, locks=None)

    def reload(self, row: Row) -> None:
        """Read a row again into its object; see `lifecycle.session.Session.reload`."""
        fresh = self.read(lambda: present(type(row), row._pk))
        self._object_states.remember(row)
        row.take(fresh.__data__)


def _read_clock(clock: Clock) -> datetime:
    return values.instant(clock(), "clock")
