"""Moves in short."""

from __future__ import annotations

from dispatch_state import Move


def told(moves: list[Move]) -> list[str]:
    return [f"{move.entity}.{move.trigger}" for move in moves]
