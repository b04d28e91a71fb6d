"""The unit of work, the one place that writes a status, a log row or a decision.

A unit of work is one write transaction. The act is the firing that the caller asked for; everything else follows from
it. For an act the machine of its row judges whether it is legal. Then these are written, in this order:

1. the log row of the act;
2. the row itself, if its version and status are still the ones that were read;
3. what follows, step by step, first in, first out, each step with its own log row;
4. the decision, because its outcome is known only now.

The rules for what follows are in `cascades.py`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import UUID

from dispatch_state.actors import SANGHA, Actor, Human
from dispatch_state.engine.checks import actor_refusal
from dispatch_state.engine.columns import Neighbours, log_details, resolved
from dispatch_state.engine.decisions import OpenDecision, open_decision
from dispatch_state.engine.rules import RULES, Step
from dispatch_state.errors import GuardRefused, StaleRow
from dispatch_state.ids import new_id
from dispatch_state.lifecycle.interface import Columns, Firing, Move
from dispatch_state.lifecycle.triggers import Edge, Trigger
from dispatch_state.models.agent import Agent
from dispatch_state.models.base import Stateful
from dispatch_state.models.decision import Decision
from dispatch_state.models.log import TransitionLog
from dispatch_state.models.row import Row
from dispatch_state.storage.statements import append_statement, find, insert, move_row, row_object, update
from dispatch_state.vocabulary import Status

LOGGER = logging.getLogger("dispatch_state")
_LOG = append_statement(TransitionLog)
NOTHING: Mapping[str, Any] = MappingProxyType({})


class _Pending(NamedTuple):
    """A rule that a move has started, and that may yield further steps.

    cause: the number of the move's log row.
    """

    steps: Iterator[Step]
    cause: int


class UnitOfWork:
    """One write transaction: the acts in it, what follows from them, and the new state of each row.

    Args:
        now: the present moment, which every stamp of this unit of work gets.
    """

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.moves: list[Move] = []
        self.lines: list[str] = []
        """One line for each move, for logging at DEBUG; empty when that is off."""
        self.changed: dict[tuple[type[Row], Any], dict[str, Any]] = {}
        self._pending: list[_Pending] = []
        self._debugging = LOGGER.isEnabledFor(logging.DEBUG)

    def report(self, committed: bool) -> None:
        """Log the moves at DEBUG.

        Args:
            committed: whether they are committed. When False, the lines say that the caller's transaction is open.
        """
        for line in self.lines:
            LOGGER.debug("%s" if committed else "%s, in a transaction that is still open", line)

    # ---- acts ----------------------------------------------------------------------------------

    def act(self, row: Any, trigger: str, by: Actor, reason: str, **arguments: Any) -> list[Move]:
        """Fire one trigger as an act, and make every move that follows; see `lifecycle.session.UnitOfWork.act`."""
        return self.acts(trigger, [(row, trigger, arguments)], by, reason)

    def acts(
        self,
        action: str,
        acts: Iterable[tuple[Any, str, Mapping[str, Any]]],
        by: Actor,
        reason: str,
        *,
        passed_on: Mapping[str, Any] = NOTHING,
        **details: Any,
    ) -> list[Move]:
        """Fire several triggers as acts, with at most one decision for all of them.

        See `lifecycle.session.UnitOfWork.acts`.

        Raises:
            IllegalTransition: a trigger does not start from its row's status.
            GuardRefused: a guard refused, or `by` may not fire a trigger.
            StaleRow: another transaction moved a row.
        """
        decision: OpenDecision | None = None
        first, status_before = len(self.moves), None
        for row, name, arguments in acts:
            status_before = status_before or row.__data__["status"]
            trigger = row.machine.triggers[name]
            firing = Firing(row, name, {**trigger.defaults, **arguments}, by, reason, self.now, passed_on=passed_on)
            if by.__class__ is not Human:
                self._check_actor(firing)
            try:
                edge = row.machine.decide(firing)
            except GuardRefused as refusal:
                if name != action:  # the row is back in that status, and the caller asked for `action`
                    raise _refusal(row, status_before, action, refusal.reasons) from None
                raise
            decided = None if edge.decision is None else open_decision(edge.decision, firing)
            self._move(firing, trigger, edge, decided.id if decided else None)
            if self._pending:
                self._settle(by, reason or f"follows {row._meta.table_name}.{name}")
            decision = decision or decided
        if decision is not None:
            decision.details.update(details)
            self.insert(Decision, **decision.columns(action, by, reason, self.moves[first:]))
        return self.moves[first:]

    def _check_actor(self, firing: Firing) -> None:
        """Read the acting agent again, and add why it, or `SANGHA` (the agents as a body), may not act."""
        by = firing.by
        if isinstance(by, Agent):
            firing.agent = self._acting(by, firing.row)
        elif by is not SANGHA:
            return
        if refusal := actor_refusal(by, firing.agent, firing.row, firing.trigger):
            firing.refusals.append(refusal)

    @staticmethod
    def _acting(by: Agent, row: Any) -> Agent | None:
        """The acting agent as it is now; it may be the row itself, which was just read."""
        return row if isinstance(row, Agent) and row.id == by.id else find(Agent, by.id)

    # ---- moves ---------------------------------------------------------------------------------

    def _move(self, firing: Firing, trigger: Trigger, edge: Edge, decision: UUID | None = None) -> None:
        row, was = firing.row, firing.row.__data__
        columns = trigger.body(row, by=firing.by, reason=firing.reason, **firing.arguments)
        moment = self._moment(row)
        own: dict[str, Any] = {}
        details: dict[str, Any] | None = None
        if columns or columns.more:
            self._require_owned(row, trigger, columns)
            own = resolved(columns, moment, self.now)
            neighbours = [(neighbour, resolved(theirs, moment, self.now)) for neighbour, theirs in columns.neighbours]
            details = log_details(columns, neighbours)
        own["version"] = version = was["version"] + 1
        own["status"] = edge.dest
        if "updated_at" in was:
            own["updated_at"] = moment
        seq = self._log(firing, edge.source, edge.dest, version, details, decision)
        if not move_row(type(row), own, was):
            raise StaleRow(f"{row} was moved by another transaction at the same moment; reload() it and decide again")
        firing.before = was
        self.changed[type(row), was["id"]] = row.__data__ = {**was, **own}
        row.__rel__.clear()
        if columns.more:
            self._write_neighbours(columns, neighbours)
        self._record_move(firing, edge.source, edge.dest, seq)

    def _moment(self, row: Stateful) -> datetime:
        """The present moment, or the row's latest one if that is later: a clock may step back."""
        seen: Iterator[datetime | None] = map(row.__data__.__getitem__, row.moment_columns())
        return max(self.now, *filter(None, seen))

    @staticmethod
    def _require_owned(row: Stateful, trigger: Trigger, columns: Columns) -> None:
        if foreign := columns.keys() - trigger.owned - {*row.written_elsewhere, *row.editable_until}:
            raise TypeError(f"{row._meta.table_name}.{trigger.name} sets {foreign}, which it does not own")

    def _write_neighbours(self, columns: Columns, neighbours: Neighbours) -> None:
        for neighbour, theirs in neighbours:
            update(type(neighbour), theirs, neighbour.id)
            self.changed.setdefault((type(neighbour), neighbour.id), {}).update(theirs)
        for model, record in columns.records:
            self.insert(model, **record)

    def _record_move(self, firing: Firing, source: str | None, dest: str | None, seq: int) -> None:
        row, trigger = firing.row, firing.trigger
        if self._debugging:
            self.lines.append(f"{row} {trigger}: {source} -> {dest} by {firing.by.actor}")
        self.moves.append(Move(row._meta.table_name, row.__data__["id"], trigger, source, dest, seq))
        if (rule := RULES.get((type(row), trigger))) is not None:
            self._pending.append(_Pending(rule(row, firing), seq))

    def _log(
        self,
        firing: Firing,
        source: Status | None,
        dest: Status | None,
        version: int,
        details: dict[str, Any] | None,
        decision: UUID | None,
    ) -> int:
        row = firing.row
        returned, cursor = _LOG.run(
            row._meta.table_name,
            row.__data__["id"],
            version,
            firing.trigger,
            source and str(source),
            dest and str(dest),
            firing.by.actor,
            firing.reason or None,
            details or None,
            firing.cause,
            decision,
            self.now,
        )
        seq: int = returned[0][0] if returned else cursor.lastrowid
        return seq

    # ---- what follows --------------------------------------------------------------------------

    def _settle(self, by: Actor, reason: str) -> None:
        while self._pending:
            steps, cause = self._pending.pop(0)
            for step in steps:
                self._follow(step, cause, by, reason)

    def _follow(self, step: Step, cause: int, by: Actor, reason: str) -> None:
        row = find(type(step.row), step.row.id)
        if row is None or row.status not in (trigger := row.machine.triggers[step.trigger]).edges:
            return
        bound = {**trigger.defaults, **step.arguments}
        firing = Firing(row, step.trigger, bound, by, reason, self.now, act=False, cause=cause)
        self._move(firing, trigger, row.machine.decide(firing))

    # ---- creation and removal ------------------------------------------------------------------

    def create(self, row: Stateful, by: Actor, reason: str) -> None:
        """Insert a new row, log it, and make every move that follows.

        Args:
            row: a copy of the caller's object, which this method completes.
            by: who creates it.
            reason: why; may be empty.

        Raises:
            InvalidValue: a column that was filled in is wrong.
            GuardRefused: the row cannot be created in the present state of other rows.
        """
        firing = Firing(row, "create", {}, by, reason, self.now)
        self._check_actor(firing)
        row.on_create(firing)
        if firing.refusals:
            reasons = "; ".join(firing.refusals)
            raise GuardRefused(f"{type(row).__name__} cannot be created here: {reasons}", tuple(firing.refusals))
        for name in row.filled_at_creation:
            row.__data__[name] = row._meta.fields[name].check(row.__data__.get(name))
        for name in ("updated_at", *row.creation_stamps):
            if name in row._meta.fields:
                row.__data__[name] = self.now
        seq = self._log(firing, None, row.status, row.version, {}, None)
        insert(type(row), row.__data__)
        self.remember(row)
        self._record_move(firing, None, row.status, seq)
        self._settle(by, reason or f"follows {row._meta.table_name}.create")

    def log_removal(self, row: Stateful, by: Actor, reason: str, cause: int | None) -> int:
        """Log the removal of a row.

        Args:
            row: the row that is removed.
            by: who removes it.
            reason: why.
            cause: the log row of the removal that this one follows from, if any.

        Returns:
            The number of its log row.
        """
        firing = Firing(row, "remove", {}, by, reason, self.now, cause=cause)
        seq = self._log(firing, row.status, None, row.version + 1, {}, None)
        if self._debugging:
            self.lines.append(f"{row} remove: {row.status} -> None by {by.actor}")
        self.moves.append(Move(row._meta.table_name, row.id, "remove", row.status, None, seq))
        return seq

    def actor_refusals(self, by: Actor, row: Any) -> list[str]:
        """Find out why an actor may do nothing to a row; see `lifecycle.session.UnitOfWork.actor_refusals`."""
        agent = self._acting(by, row) if isinstance(by, Agent) else None
        refusal = actor_refusal(by, agent, row, "")
        return [refusal] if refusal else []

    def refuse(self, row: Any, what: str, reasons: list[str]) -> None:
        """Refuse what was asked, if there are reasons; see `lifecycle.session.UnitOfWork.refuse`.

        Raises:
            GuardRefused: there are reasons.
        """
        if reasons:
            raise _refusal(row, row.status, what, tuple(reasons))

    # ---- columns that make no move -------------------------------------------------------------

    def set(self, row: Any, **columns: Any) -> None:
        """Set columns of a row without a move; see `lifecycle.session.UnitOfWork.set`."""
        if "updated_at" in row._meta.fields:
            columns["updated_at"] = self._moment(row)
        update(type(row), columns, row._pk)
        row.take(columns)
        self.remember(row)

    def insert(self, model: type[Row], **columns: Any) -> Any:
        """Insert a row of a table without a lifecycle; see `lifecycle.session.UnitOfWork.insert`."""
        row = row_object(model, {"id": new_id(), "created_at": self.now, **columns})
        insert(model, row.__data__)
        return row

    def remember(self, row: Row) -> None:
        """Keep the new state of a row, so that the caller's objects of it are updated after success.

        See `lifecycle.session.UnitOfWork.remember`.
        """
        self.changed[type(row), row._pk] = row.__data__


def _refusal(row: Any, status: str | None, what: str, reasons: tuple[str, ...]) -> GuardRefused:
    return GuardRefused(f"{row} is {status}: {what} was refused: {'; '.join(reasons)}", reasons)
