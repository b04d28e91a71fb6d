"""What stands behind the models' door: checks what comes in, opens the transaction, keeps objects true.

Everything a caller gives is checked before any SQL. The transaction is the caller's, joined with a
savepoint, or one of our own, which is tried again when the database asks for it. Row objects change
only after success, and are put back when a `store.atomic()` block around them rolls back.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

import peewee

from dispatch_state import values
from dispatch_state.actors import SANGHA, STORE, Actor, Human, System
from dispatch_state.database import Database
from dispatch_state.engine import Turn
from dispatch_state.errors import DispatchError, GuardRefused, InvalidValue, StaleRow, StoreBusy, StoreError
from dispatch_state.families import covers, family, lock
from dispatch_state.machine import Trigger
from dispatch_state.models.agent import Agent
from dispatch_state.models.base import Row, Stateful
from dispatch_state.models.keys import ParentField, absent, present
from dispatch_state.models.log import moves_of
from dispatch_state.moves import Firing, Move
from dispatch_state.statements import FENCE, find, made
from dispatch_state.targets import POSTGRESQL
from dispatch_state.values import Clock, listed, shown

T = TypeVar("T")
TRIES = 3
"""How often a turn starts over before it is `StoreBusy`."""


class _Memory(threading.local):
    """What row objects were before the blocks of this thread changed them, block by block."""

    def __init__(self) -> None:
        self.blocks: list[dict[int, tuple[Row, dict[str, Any]]]] = []

    def remember(self, row: Row) -> None:
        if self.blocks and id(row) not in self.blocks[-1]:
            state = {name: _copied(value) for name, value in vars(row).items()}
            self.blocks[-1][id(row)] = (row, state)

    def forget_block(self, restore: bool) -> None:
        block = self.blocks.pop()
        for key, (row, state) in block.items():
            if restore:
                vars(row).clear()
                vars(row).update(state)
            elif self.blocks:
                self.blocks[-1].setdefault(key, (row, state))


def _copied(value: Any) -> Any:
    return value.copy() if isinstance(value, dict | set) else value


class Border:
    """Nothing foreign leaves here: an error of the database or its driver becomes one of ours."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def __enter__(self) -> None:
        self._database.check_usable()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._database.release()
        if error is not None and isinstance(error, self._database.foreign_errors):
            self.turn_back(error)

    def turn_back(self, error: Exception) -> None:
        """Raise what an error of the database or its driver becomes, unless it is one of ours too."""
        if isinstance(error, DispatchError):
            return
        self._database.check_usable()  # another thread may have closed the store meanwhile
        first = str(error).partition("\n")[0]
        raise self._database.store_error(error) or StoreError(f"the database refused: {first}") from error


class Doorway:
    """The door of one open store.

    Args:
        database: where the rows are.
        clock: tells the moment, as an aware datetime.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self.now: Clock = clock if clock is values.utc_now else partial(_told_by, clock)
        """The store's present moment; raises `InvalidValue` when the clock tells a naive one."""
        self._memory = _Memory()
        self._border = Border(database)

    # ---- transactions ----------------------------------------------------------------------------

    def border(self) -> Border:
        """A block that nothing foreign leaves; `store_error` says what it becomes."""
        return self._border

    @contextmanager
    def atomic(self, block: AbstractContextManager[Any] | None = None) -> Iterator[None]:
        """A block that commits as one; when it rolls back, row objects are put back to what they were.

        Args:
            block: begins and ends the transaction; an ordinary one when None.
        """
        self._database.check_usable()
        block = block or self._database.block
        with self.border():
            block.__enter__()
        self._memory.blocks.append({})
        restore = True
        try:
            yield  # outside the border: queries that the caller writes here raise Peewee's errors
        except BaseException as error:
            if self._database.usable:
                with self.border():
                    block.__exit__(type(error), error, error.__traceback__)
            raise
        else:
            with self.border():
                block.__exit__(None, None, None)
            restore = False
        finally:
            if not self._database.usable:
                self._database._state.transactions.clear()  # nobody else leaves the blocks of a closed store
            self._memory.forget_block(restore)

    def _run(
        self,
        row: Row,
        work: Callable[[Turn], T],
        *,
        by: Actor,
        reach: str,
        handed: tuple[Any, ...] = (),
        touches: tuple[Any, ...] = (),
    ) -> T:
        """Do the work in one transaction under the family's locks, and bring the handed objects up to date."""
        database = self._database
        pooled = database.kind == POSTGRESQL
        try:
            for attempt in range(1, TRIES + 1):
                try:
                    with database.block:
                        if pooled:
                            self._lock(row, reach, touches, by)
                        turn = Turn(self.now())
                        result = work(turn)
                    break
                except (_FamilyGrew, peewee.PeeweeException) as error:
                    grew = isinstance(error, _FamilyGrew)
                    if not grew and (database.transaction_depth() or not database.should_retry(error)):
                        raise
                    if attempt == TRIES:
                        raise StoreBusy(f"others kept moving the rows around {row}; try again") from error
        except database.foreign_errors as error:
            self._border.turn_back(error)
            raise
        finally:
            if pooled:
                database.release()
        self._bring_up_to_date((*handed, by) if isinstance(by, Agent) else handed, turn)
        return result

    def _lock(self, row: Row, reach: str, touches: tuple[Any, ...], by: Actor) -> None:
        members = family(row, reach, touches, by)
        lock(members)
        if not covers(members, family(row, reach, touches, by)):
            raise _FamilyGrew

    def _bring_up_to_date(self, handed: tuple[Any, ...], turn: Turn) -> None:
        for row in handed:
            data = turn.touched.get((type(row), row.__data__.get("id")))
            if data is not None:
                if self._memory.blocks:
                    self._memory.remember(row)
                if row._dirty or row._handed:
                    unsaved = row.unsaved()
                    data = {name: value for name, value in data.items() if name not in unsaved}
                row.take(data)

    # ---- firing ----------------------------------------------------------------------------------

    def fire(
        self, row: Stateful, trigger: Trigger, by: Any, reason: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> list[Move]:
        """Fire a trigger on a row object, fenced; see `dispatch_state.door.Door`."""
        name = trigger.name
        if row.machine.triggers.get(name) is not trigger:
            raise InvalidValue(f"{name}: is no trigger of {row}")
        if by.__class__ is not Human:
            actor(by, name)
        if reason != "" or trigger.needs_reason:
            reason = trigger.checked_reason(reason)
        arguments = trigger.checked(args, kwargs) if args or kwargs or trigger.required else trigger.defaults
        if row.is_new or row._dirty or row._handed or not row.__data__.keys() >= _FENCED:
            saved(row)
        rows = tuple([value for value in arguments.values() if isinstance(value, Row)]) if arguments else ()
        if row.__data__["status"] not in trigger.edges:
            with self.border():
                self._fenced(row, rows)
            row.machine.require(row, name)
        if "error" in arguments and (name == "fail" or not reason):
            reason = arguments["error"]

        def work(turn: Turn) -> list[Move]:
            fresh, read = self._fenced(row, rows)
            given = {key: read.get(id(value), value) for key, value in arguments.items()} if read else arguments
            return turn.acts(name, [(fresh, name, given)], by, reason)

        touches = (*rows, by) if name == "review" and isinstance(by, Agent) else rows
        return self._run(row, work, by=by, reach=name, handed=(row, *rows), touches=touches)

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
        actor(by, trigger)
        arguments.pop("reason", None)
        try:
            checked = found.checked((), arguments)
        except TypeError:
            raise InvalidValue(f"{trigger}: takes {listed(found.parameters)}, by name") from None
        with self.border():
            fresh = present(type(row), row.id)
            if fresh.status not in found.edges:
                return [row.machine.illegal(fresh, trigger)]
            agent = find(Agent, by.id) if isinstance(by, Agent) else None
            read = {n: present(type(v), v._pk) if isinstance(v, Row) else v for n, v in checked.items()}
            firing = Firing(fresh, trigger, read, by, "", self.now(), agent=agent)
            if refusal := Turn.standing(by, agent, fresh, trigger):
                firing.refusals.append(refusal)
            try:
                fresh.machine.decide(firing)
            except GuardRefused as error:
                return list(error.reasons)
            return []

    # ---- other writing ---------------------------------------------------------------------------

    def turn(
        self,
        row: Any,
        work: Callable[[Turn, Any], T],
        *,
        reach: str,
        by: Actor = STORE,
        handed: tuple[Any, ...] = (),
        touches: tuple[Any, ...] = (),
        fenced: bool = False,
        legal: str | None = None,
    ) -> T:
        """Do `work` in one write transaction; see `dispatch_state.door.Door`."""
        actor(by, reach)
        keyed(row)
        if fenced:
            saved(row)

        def whole(turn: Turn) -> T:
            fresh = self._fenced(row, touches)[0] if fenced else present(type(row), row._pk)
            turn.touch(fresh)
            if legal is not None:
                fresh.machine.require(fresh, legal)
            turn.refuse(fresh, reach, turn.objections(by, fresh))
            return work(turn, fresh)

        return self._run(row, whole, by=by, reach=reach, handed=(row, *handed), touches=touches)

    def insert(self, row: Stateful, by: Actor, reason: str) -> None:
        """Give birth to a row object."""
        actor(by, "create")
        reason = values.text(reason, "reason")
        columns = newborn_columns(row)
        newborn = made(type(row), columns)
        newborn.whole()

        def work(turn: Turn) -> dict[str, Any]:
            fresh = made(type(row), dict(columns))
            refuse_orphans(fresh)
            for parent in fresh.__rel__.values():
                turn.touch(parent)
            turn.birth(fresh, by, reason)
            return turn.touched[type(row), fresh.id]

        try:
            parents = tuple(row.__rel__.values())
            born = self._run(newborn, work, by=by, reach="create", handed=parents)
        except StoreError as error:
            if isinstance(error.__cause__, peewee.IntegrityError) and self.read(lambda: moves_of(newborn.id)):
                raise InvalidValue(f"{newborn}: that id was used before") from error
            raise
        self._memory.remember(row)
        row.take(born)

    def save(self, row: Stateful, columns: tuple[str, ...]) -> None:
        """Write changed columns of a row object."""
        keyed(row)
        if guarded := row.guarded().intersection(columns):
            raise InvalidValue(f"{row}: not by save(): {row.kept_from(guarded)}; reload() puts the object back")
        fields = row._meta.fields
        changed = {name: fields[name].check(row.__data__.get(name)) for name in columns}

        def work(turn: Turn) -> dict[str, Any]:
            fresh = present(type(row), row.id)
            fresh.take(changed)
            fresh.whole()
            refuse_orphans(fresh, columns)
            turn.refuse(fresh, "save", fresh.frozen(columns))
            turn.set(fresh, **changed)
            return {name: fresh.__data__[name] for name in (*columns, "updated_at") if name in fresh.__data__}

        written = self._run(row, work, by=STORE, reach="save")
        self._memory.remember(row)
        row.take(written)

    def remove(self, row: Stateful, by: Actor, reason: str) -> None:
        """Delete a row that is final, and log what goes with it."""
        actor(by, "remove")
        reason = values.words(reason, "reason")
        saved(row)
        self._run(row, lambda turn: turn.remove(self._fenced(row)[0], by, reason), by=by, reach="remove")

    def read(self, ask: Callable[[], T]) -> T:
        """Ask something of the database."""
        with self.border():
            return ask()

    def write(self, work: Callable[[Turn], T]) -> T:
        """Do `work` in one write transaction that concerns no row with a lifecycle."""
        with self.border(), self._database.block:
            return work(Turn(self.now()))

    def reload(self, row: Row) -> None:
        """Read a row object afresh, in place."""
        fresh = self.read(lambda: present(type(row), row._pk))
        self._memory.remember(row)
        row.take(fresh.__data__)


def _told_by(clock: Clock) -> datetime:
    return values.instant(clock(), "clock")


class _FamilyGrew(Exception):
    """The rows to lock changed while their locks were being taken."""


# ---- what is checked before any SQL ------------------------------------------------------------------


_ACTORS = Human, System, Agent


def actor(by: object, what: str, argument: str = "by") -> None:
    """Raise `InvalidValue` unless `by` is an actor: free text is how an agent would forge a person."""
    if isinstance(by, Agent) and not isinstance(by.id, UUID):
        raise InvalidValue("by: the agent's id is not one; reload() the row")
    if isinstance(by, _ACTORS) or by is SANGHA:
        return
    given = "nobody was named" if by is None else f"a value of type {type(by).__name__} is no actor"
    raise InvalidValue(
        f'{what}({argument}): {given}; say who acts: Human("login"), System("component"), an Agent row or SANGHA'
    )


def keyed(row: Row) -> None:
    """Raise `InvalidValue` for a row object whose id was replaced by what is none."""
    if not isinstance(row._pk, UUID):
        raise InvalidValue(f"{type(row).__name__}: the id of the object is none; read the row again")


_FENCED = frozenset(FENCE)


def saved(row: Stateful) -> None:
    """Raise `InvalidValue` for a row object that a trigger cannot start from."""
    if row.is_new:
        raise InvalidValue(f"{row} was never saved; save() it first")
    if not row.__data__.keys() >= _FENCED:
        missing = sorted(_FENCED - row.__data__.keys())
        raise InvalidValue(f"{type(row).__name__} was read without {listed(missing)}; reload() it first")
    if changed := row.unsaved():
        way = "save() or reload()" if row.guarded().isdisjoint(changed) else "reload()"
        raise InvalidValue(f"{row} has unsaved changes to {listed(changed)}; {way} it first")


def newborn_columns(row: Stateful) -> dict[str, Any]:
    """The checked columns of a row to be born; raises `InvalidValue` for what is wrong or not set at birth."""
    columns = {}
    born_with, given = row.born_with(), row.__data__
    for field in row._meta.sorted_fields:
        value = given.get(field.name)
        if field.name in born_with:
            columns[field.name] = field.check(value) if value is not None or field.name not in row.filled else None
        elif value is not None and value != field.default:
            raise InvalidValue(f"{field.place}: is not set at birth; use {row.written_by}")
        else:
            columns[field.name] = None if value is field.default is None else field.check(value)
    if columns["status"] not in row.machine.births:
        raise InvalidValue(f"{row._meta.table_name}.status: born {listed(row.machine.births)} only")
    return columns


def refuse_orphans(row: Stateful, columns: tuple[str, ...] | None = None) -> None:
    """Raise `RowNotFound` for a key that names nothing."""
    for field in row._meta.refs:
        if isinstance(field, ParentField) and (columns is None or field.name in columns):
            getattr(row, field.name)
