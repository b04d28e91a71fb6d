"""The operations of the benchmarks' cases, on small stores."""

from __future__ import annotations

from benchmarks import scenes
from benchmarks.cases import claims, listing, lives, moves, refusals
from benchmarks.twins import Build, Operations

COUNT = 4
TAPED: dict[str, tuple[Build, Operations]] = {
    "move": (moves.some_issues, moves.to_and_fro),
    "move-guarded": (moves.staged_issues, moves.by_an_agent),
    "cascade": (moves.waiting_gates, moves.approvals),
    "load": (moves.some_issues, moves.loads),
    "illegal": (moves.some_issues, refusals.illegal),
    "stale": (refusals.queued_issues, refusals.moved_on),
    "claim": (lambda store, count: scenes.fill(store, queued=20, done=5, idle=COUNT), claims.claims),
    "listing": (lambda store, count: scenes.fill(store, queued=20, done=5, idle=1), listing.first_page),
    "life": (lives.one_agent, lives.lives),
    "votes": (lives.open_proposals, lives.ballots),
}
