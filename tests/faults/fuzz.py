"""Bad and random values into every argument of every public entry point, and what comes of each.

    python -m tests.faults.fuzz 300             # so many values into each argument, on SQLite; prints a table
    python -m tests.faults.fuzz 300 postgresql

Each is a clean error of ours, or is stored and read back exactly. `tests/faults/recipes.py` has the entry points.
"""

from __future__ import annotations

import random
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import datetime
from itertools import chain, groupby, islice
from pathlib import Path
from typing import Any
from uuid import UUID

from dispatch_state import DispatchError, Store, StoreError, open_store, values
from dispatch_state.models.row import Row
from dispatch_state.testing.scratch import Clock
from tests import postgres
from tests.faults.nasty import nasty, random_value, shown
from tests.faults.recipes import NOTHING, Entry, everything
from tests.world import World

LONGEST_MESSAGE = 1000
NOT_EMPTY = "the store is not empty"
"""What an import says that is in order: it is tried on a store that has rows."""
MADE_STORABLE = (("Proposal.fail_execution", "error"), ("Agent.log", "message"))
"""Texts of machines that are read back: what no column takes is changed, so that a failure is always recorded."""
MANY = 100
"""From so many values into an argument on, the store is also verified after the first that a trigger takes."""


class Failed(Exception):
    """Values that were changed in silence, or made something foreign leave."""


# ---- fuzzing -----------------------------------------------------------------------------------------


def same(given: Any, found: Any) -> bool:
    """Whether the stored value is the given one, in the form that its column keeps."""
    if found is NOTHING or (given is None and found != ""):
        return True  # nothing to compare, or a default was filled in
    if isinstance(given, Row):
        return bool(found == given._pk)
    if isinstance(found, UUID):
        return UUID(str(given)) == found
    if isinstance(found, datetime):
        return bool(found == given) and found.utcoffset() is not None
    if isinstance(given, str) and isinstance(found, str):
        return str.__str__(given) == found
    return alike(given, found)


def alike(given: Any, found: Any) -> bool:
    """Whether two values are equal, where true is not 1."""
    if isinstance(given, dict) and isinstance(found, dict):
        return given.keys() == found.keys() and all(alike(given[key], found[key]) for key in given)
    if isinstance(given, list) and isinstance(found, list):
        return len(given) == len(found) and all(map(alike, given, found))
    return bool(given == found) and isinstance(given, bool) == isinstance(found, bool)


def values_for(entry: Entry, draws: int, world: World) -> Iterator[Any]:
    """The nasty values first, in an order of this argument's own, then random ones; the same in every run."""
    chance = random.Random(f"{entry.name} {entry.argument}")
    listed = nasty(world)
    chance.shuffle(listed)
    endless = iter(lambda: random_value(chance), NOTHING)
    wanted = chain(listed, endless)
    if entry.name in ("Store.backup", "Store.export", "Store.import_snapshot", "aio.run"):
        wanted = (value for value in wanted if not isinstance(value, str | Path) and not callable(value))
    return islice(wanted, draws)


def outcome(entry: Entry, made: Any, value: Any) -> str:
    """`stored`, or the name of our error; raises `Failed`."""
    try:
        found = entry.call(made, value)
    except DispatchError as error:
        plain = type(error) is StoreError and not str(error).startswith(NOT_EMPTY)
        if plain or not 0 < len(str(error)) <= LONGEST_MESSAGE:
            raise Failed(f"{type(error).__name__}, {len(str(error))} characters: {str(error)[:200]}") from error
        return type(error).__name__
    except Exception as error:
        raise Failed(f"{type(error).__name__}: {str(error)[:200]}") from error
    if (entry.name, entry.argument) in MADE_STORABLE and isinstance(value, str):
        value = values.storable(value, entry.argument)
    given_login = entry.name in ("Human", "System") and isinstance(value, str)
    if not (same(value, found) or (given_login and value.lower().removeprefix("@") == found)):
        raise Failed(f"became {shown(found)}")
    return "stored"


class _Undo(Exception):
    """Takes back what a value did, so that the next one finds what it found."""


@contextmanager
def undone(store: Store, undo: bool) -> Iterator[None]:
    """Undo what a value did, so that the next value finds the same store."""
    try:
        with store.atomic():
            yield
            if undo:
                raise _Undo
    except _Undo:
        pass


class Fuzzer:
    """Fuzzes the entry points of one open store.

    found: the outcome for each value, by entry point and argument; failures: what was wrong, in a line each.
    """

    def __init__(self, store: Store, draws: int) -> None:
        self.found: dict[str, list[str]] = {}
        self.failures: list[str] = []
        self._world = World(store)
        self._draws = draws

    def every_argument(self, entries: list[Entry]) -> None:
        """Those of one entry point, in one transaction that is taken back when the store was found sound."""
        store, in_block = self._world.store, entries[0].in_block
        with undone(store, undo=True) if in_block else nullcontext():
            made = entries[0].make(self._world)
            for entry in entries:
                outcomes = self.found[f"{entry.name}({entry.argument})"] = []
                for value in values_for(entry, self._draws, self._world):
                    outcomes.append(self._one(entry, made, value, "stored" not in outcomes))
            self._sound(entries[0].name)

    def _one(self, entry: Entry, made: Any, value: Any, first: bool) -> str:
        call = f"{entry.name}({entry.argument}={shown(value)})"
        try:
            with undone(self._world.store, undo=not entry.keeps) if entry.in_block else nullcontext():
                result = outcome(entry, made, value)
                if result == "stored" and not entry.keeps and first and self._draws >= MANY:
                    self._sound(call)
                return result
        except Failed as failed:
            self.failures.append(f"{call}: {failed}")
            return "failed"

    def _sound(self, after: str) -> None:
        self.failures += [f"{after}, afterwards: {violation}" for violation in self._world.store.verify()]


def fuzz(target: str, draws: int) -> tuple[dict[str, list[str]], list[str]]:
    """Fuzz everything in a new store; return the outcomes by entry point and argument, and the failures."""
    with open_store(target, durability="normal", clock=Clock()) as store:
        fuzzer = Fuzzer(store, draws)
        for name, entries in groupby(everything(), lambda entry: entry.name):
            if name != "Store.backup" or store.database.kind == "sqlite":
                fuzzer.every_argument(list(entries))
        fuzzer.failures += map(str, store.verify())
    return fuzzer.found, fuzzer.failures


OPTIONS = ("target", "create", "migrate", "timeout", "pool_size", "durability", "clock")


def fuzz_opening(target: str, draws: int) -> tuple[dict[str, list[str]], list[str]]:
    """Do the same for `open_store`, whose store exists already."""
    found: dict[str, list[str]] = {}
    failures: list[str] = []
    open_store(target).close()

    def call(_: Any, option: str, value: Any) -> Any:
        given = {"target": target, "create": False, "timeout": 0.1, option: value}
        with open_store(**given) as store:
            store.now()
        return NOTHING

    for option in OPTIONS:
        entry = Entry("open_store", option, lambda w: None, lambda m, v, o=option: call(m, o, v))
        outcomes = found[f"open_store({option})"] = []
        for value in values_for(entry, draws, None):  # type: ignore[arg-type]
            if (option == "target" and isinstance(value, str | Path | None)) or (option == "clock" and callable(value)):
                continue  # which may name anything, or be no fault of ours; tests/storage/test_targets.py has its own
            try:
                outcomes.append(outcome(entry, None, value))
            except Failed as failed:
                failures.append(f"open_store({option}={shown(value)}): {failed}")
    return found, failures


def table(found: dict[str, list[str]]) -> str:
    """How often each outcome came, by entry point."""
    lines = [f"{'argument':55} {'values':>7} {'stored':>7}  refused"]
    for name, outcomes in found.items():
        counted = Counter(outcomes)
        refused = ", ".join(f"{error} {count}" for error, count in counted.most_common() if error != "stored")
        lines.append(f"{name:55} {len(outcomes):7} {counted['stored']:7}  {refused}")
    whole = Counter(chain.from_iterable(found.values()))
    lines.append(f"{len(found)} arguments, {whole.total()} values: {dict(whole.most_common())}")
    return "\n".join(lines)


def main(draws: str = "300", backend: str = "sqlite") -> int:
    with tempfile.TemporaryDirectory() as folder:
        place = postgres.fresh_schema() if backend == "postgresql" else nullcontext(f"{folder}/dispatch.db")
        with place as target:
            opened, wrong = fuzz_opening(target, int(draws))
            found, failures = fuzz(target, int(draws))
    print(table(opened | found))
    print("\n".join([*wrong, *failures]))
    return len(failures + wrong)


if __name__ == "__main__":
    sys.exit(bool(main(*sys.argv[1:])))
