"""Moves as short texts."""

from __future__ import annotations

from dispatch_state import Move


def fired(moves: list[Move]) -> list[str]:
    """Each move as `table.trigger`, in order."""
    return [f"{move.entity}.{move.trigger}" for move in moves]
