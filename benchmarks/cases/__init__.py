"""Every case, by name, in the order they run."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from benchmarks.cases import claims, listing, lives, memory, moves, postgres, processes, refusals, starting
from benchmarks.report import Line
from benchmarks.twins import Session

CASES: dict[str, Callable[[Session], Iterator[Line]]] = {
    "move": moves.move,
    "move-full": moves.move_full,
    "move-guarded": moves.move_guarded,
    "cascade": moves.cascade,
    "load": moves.load,
    "block": moves.block,
    "refused": refusals.refused,
    "stale": refusals.stale,
    "claim": claims.claim,
    "claim-flat": claims.flat,
    "life": lives.life,
    "votes": lives.votes,
    "listing": listing.listing,
    "import": starting.importing,
    "open": starting.opening,
    "postgres": postgres.move,
    "memory": memory.moves,
    "memory-store": memory.stores,
    "processes": processes.claiming,
}
