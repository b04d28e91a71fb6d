"""Firing a trigger, and comparing the outcome with what the lifecycles promise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dispatch_state.errors import GuardRefused, IllegalTransition, RowNotFound, StaleRow
from dispatch_state.lifecycle.interface import Move
from dispatch_state.models.base import Stateful
from dispatch_state.models.row import Row
from dispatch_state.models.tables import EVERY
from dispatch_state.storage.statements import find

Refused = StaleRow | IllegalTransition | GuardRefused | RowNotFound
"""The errors with which a call on a row may be refused."""
Outcome = list[Move] | Refused


def attempt(row: Stateful, trigger: str, arguments: dict[str, Any]) -> Outcome:
    """Fire a trigger, and check that the outcome is what the lifecycle promises.

    A move must be logged, and the row object must equal the stored row. A refusal must be the right error, have the
    reasons that `why_not` gave, and leave the row object as it was.

    Args:
        row: a saved row; it may be a stale copy of a row that was moved or removed since.
        trigger: the name of one of its triggers.
        arguments: the arguments of the trigger, with `by` and `reason`.

    Returns:
        The moves, or the error with which it was refused.

    Raises:
        AssertionError: the outcome is not what the lifecycle promises.
    """
    before = find(type(row), row.id)
    stale = before is None or (row.version, row.status) != (before.version, before.status)
    expected = [] if before is None else row.why_not(trigger, **arguments)
    outcome: Outcome = outcome_of(row, lambda: getattr(row, trigger)(**arguments))
    what = f"{row!r}.{trigger}: {outcome}"
    if not isinstance(outcome, list):
        _check_refusal(outcome, what, removed=before is None, stale=stale, expected=expected)
        return outcome
    _check(not stale, f"a stale copy was moved: {what}")
    _check(not expected, f"why_not() said {expected}: {what}")
    own = outcome[0]
    _check((own.entity, own.id, own.trigger) == (row._meta.table_name, row.id, trigger), f"not its own move: {what}")
    after = find(type(row), row.id)
    _check(after is not None and row.__data__ == after.__data__, f"the row object differs from the stored row: {what}")
    return outcome


def outcome_of(row: Row, call: Callable[[], Any]) -> Any:
    """Call a function, and check that a refusal leaves the row object as it was.

    Args:
        row: the row that the call is about.
        call: a function without arguments.

    Returns:
        What the function returns, or the error with which it was refused.

    Raises:
        AssertionError: a refusal changed the row object.
    """
    before = dict(row.__data__)
    try:
        return call()
    except (StaleRow, IllegalTransition, GuardRefused, RowNotFound) as refusal:
        _check(dict(row.__data__) == before, f"a refusal changed {row!r} in memory: {refusal}")
        return refusal


def everything() -> dict[str, dict[Any, dict[str, Any]]]:
    """Read all rows of the open store: by table and key, the columns of each row."""
    return {model._meta.table_name: {row._pk: dict(row.__data__) for row in model.select()} for model in EVERY}


def _check_refusal(refusal: Refused, what: str, *, removed: bool, stale: bool, expected: list[str]) -> None:
    if removed or stale:
        right: type[Exception] = RowNotFound if removed else StaleRow
        _check(isinstance(refusal, right), f"a stale copy was refused, and not with {right.__name__}: {what}")
        return
    _check(isinstance(refusal, IllegalTransition | GuardRefused), f"an up-to-date copy was refused as stale: {what}")
    _check("which follows from move" not in str(refusal), f"a move that follows was refused: {what}")
    reasons = list(refusal.reasons) if isinstance(refusal, GuardRefused) else [str(refusal)]
    _check(expected == reasons, f"why_not() said {expected}: {what}")


def _check(holds: bool, message: str) -> None:
    if not holds:
        raise AssertionError(message)
