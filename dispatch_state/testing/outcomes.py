"""Doing something to a row, and holding what comes of it against what the lifecycles promise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dispatch_state.errors import GuardRefused, IllegalTransition, RowNotFound, StaleRow
from dispatch_state.lifecycle.interface import Move
from dispatch_state.models.base import Stateful
from dispatch_state.models.row import Row
from dispatch_state.models.tables import EVERY
from dispatch_state.storage.statements import find

Refusal = StaleRow | IllegalTransition | GuardRefused | RowNotFound
Outcome = list[Move] | Refusal


def attempt(row: Stateful, trigger: str, arguments: dict[str, Any]) -> Outcome:
    """Fire a trigger, and see that what comes of it is what the lifecycles promise.

    A move is logged and in memory as it is in the store; a refusal is the right one, is what `why_not` foretold, and
    left the row object as it was.

    Args:
        row: a saved row, perhaps a stale copy of one that has moved, or was removed.
        trigger: the name of a trigger of it.
        arguments: what it takes, `by` and `reason` among them.

    Returns:
        The moves, or the refusal.

    Raises:
        AssertionError: the promise does not hold.
    """
    stands = find(type(row), row.id)
    stale = stands is None or (row.version, row.status) != (stands.version, stands.status)
    foretold = [] if stands is None else row.why_not(trigger, **arguments)
    outcome: Outcome = ask(row, lambda: getattr(row, trigger)(**arguments))
    what = f"{row!r}.{trigger}: {outcome}"
    if not isinstance(outcome, list):
        _judge_refusal(outcome, what, gone=stands is None, stale=stale, foretold=foretold)
        return outcome
    _must(not stale, f"a stale copy was moved: {what}")
    _must(not foretold, f"why_not() said {foretold}: {what}")
    own = outcome[0]
    _must((own.entity, own.id, own.trigger) == (row._meta.table_name, row.id, trigger), f"not its own move: {what}")
    now = find(type(row), row.id)
    _must(now is not None and row.__data__ == now.__data__, f"in memory it is not what it is in the store: {what}")
    return outcome


def ask(row: Row, call: Callable[[], Any]) -> Any:
    """What a call on a row answers, or how it was refused, the row object being as it was then.

    Raises:
        AssertionError: the refusal left its mark on the row object.
    """
    before = dict(row.__data__)
    try:
        return call()
    except (StaleRow, IllegalTransition, GuardRefused, RowNotFound) as refusal:
        _must(dict(row.__data__) == before, f"a refusal changed {row!r} in memory: {refusal}")
        return refusal


def everything() -> dict[str, dict[Any, dict[str, Any]]]:
    """Every row of every table of the open store, by its key."""
    return {model._meta.table_name: {row._pk: dict(row.__data__) for row in model.select()} for model in EVERY}


def _judge_refusal(refusal: Refusal, what: str, *, gone: bool, stale: bool, foretold: list[str]) -> None:
    if gone or stale:
        right: type[Exception] = RowNotFound if gone else StaleRow
        _must(isinstance(refusal, right), f"a copy that is no longer true was refused otherwise: {what}")
        return
    _must(isinstance(refusal, IllegalTransition | GuardRefused), f"a true copy was refused: {what}")
    _must("which follows from move" not in str(refusal), f"a move that follows was refused: {what}")
    reasons = list(refusal.reasons) if isinstance(refusal, GuardRefused) else [str(refusal)]
    _must(foretold == reasons, f"why_not() said {foretold}: {what}")


def _must(holds: bool, otherwise: str) -> None:
    if not holds:
        raise AssertionError(otherwise)
