"""What other processes do for the benchmarks: `python -m benchmarks.workers WORK ARGUMENTS`.

They say `ready`, wait for a number of seconds on their standard input, and answer with one line of JSON.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from typing import Any

from benchmarks.cases.claims import claims
from benchmarks.cases.listing import page
from benchmarks.cases.moves import some_issues, to_and_fro
from benchmarks.measure import Call
from benchmarks.scenes import idle_agents
from benchmarks.tape import Sent, bare
from dispatch_state import open_store


def say(told: object) -> None:
    """Answer the parent."""
    print(json.dumps(told), flush=True)


# ---- claims --------------------------------------------------------------------------------------------


def library(path: str, first: str, step: str) -> None:
    """Claim as every so-many-th agent, through the library."""
    with open_store(path, durability="normal") as store:
        _in_rounds([partial(store.claim, agent) for agent in islice(idle_agents(), int(first), None, int(step))])


def raw(path: str, tape: str, first: str, step: str) -> None:
    """Claim as every so-many-th agent, by the statements of a claim that was recorded."""
    with open(tape) as file:
        recorded = [Sent(sql, tuple(parameters), reads) for sql, parameters, reads in json.load(file)]
    connection = bare(path, "normal")
    connection.execute("PRAGMA busy_timeout = 30000")
    agents = [str(key) for (key,) in connection.execute("SELECT id FROM agents ORDER BY id")][int(first) :: int(step)]
    claim = Claim(connection, recorded)
    _in_rounds([partial(claim, agent) for agent in agents])


class Claim:
    """A recorded claim, played for other agents and other issues.

    What names the recorded agent, issue or log row names the present one.
    """

    def __init__(self, connection: Any, recorded: list[Sent]) -> None:
        self._connection = connection
        self._recorded = recorded
        self._agent = next(str(s.parameters[0]) for s in recorded if s.sql.startswith("SELECT"))
        log = [s.parameters for s in recorded if "transition_log" in s.sql]
        self._issue = str(log[0][1])
        self._seq = next(p for p in log[1] if isinstance(p, int) and p > 1000)

    def __call__(self, agent: str) -> None:
        cursor, issue, seq = self._connection.cursor(), self._issue, None
        for sql, parameters, reads in self._recorded:
            names = {self._agent: agent, self._issue: issue}
            cursor.execute(sql, [_renamed(value, names, self._seq, seq) for value in parameters])
            found = cursor.fetchall() if reads else ()
            if "'queued'" in sql and found:
                issue = found[0][0]
            if seq is None and "transition_log" in sql:
                seq = cursor.lastrowid


def _renamed(value: Any, names: dict[str, str], old: int, seq: int | None) -> Any:
    if isinstance(value, str):
        for name, other in names.items():
            value = value.replace(name, other)
        return value
    return seq if value == old else value


def _in_rounds(calls: Sequence[Call]) -> None:
    """Make calls for as long as the parent says, again and again; a call that fails is counted."""
    waiting = iter(calls)
    say("ready")
    for line in sys.stdin:
        made, failed, longest = 0, 0, 0.0
        end = time.monotonic() + float(line)
        while (start := time.monotonic()) < end:
            call = next(waiting)
            try:
                call()
                made += 1
            except Exception:
                failed += 1
            longest = max(longest, time.monotonic() - start)
        say({"made": made, "failed": failed, "longest": longest})


# ---- memory --------------------------------------------------------------------------------------------


def _peak() -> int:
    """The most memory this process has held so far, in KiB."""
    try:
        with open("/proc/self/status") as status:  # elsewhere on Linux a child begins with its parent's peak
            return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak // 1024 if sys.platform == "darwin" else peak


def moves(path: str, count: str, warm_up: str) -> None:
    """Make so many moves; answers how much the peak rose behind the warm-up, in KiB."""
    with open_store(path, durability="normal") as store:
        calls = to_and_fro(store, some_issues(store, 0))
        for _ in range(int(warm_up)):
            next(calls)()
        before = _peak()
        for _ in range(int(count)):
            next(calls)()
        say(_peak() - before)


def uses(path: str) -> None:
    """Open a store, claim and list; answers the peak, in KiB."""
    with open_store(path, durability="normal") as store:
        for _, call in zip(range(100), claims(store, None), strict=False):
            call()
        page()
        say(_peak())


WORK: dict[str, Callable[..., None]] = {"library": library, "raw": raw, "moves": moves, "uses": uses}

if __name__ == "__main__":
    WORK[sys.argv[1]](*sys.argv[2:])
