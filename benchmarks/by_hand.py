"""One move in one function: everything the library promises of it, and no layer between.

What is left beside the raw statements is what Python takes for the checks, the lock of the turn, the look whether the
file is still the one that was opened, the machine and the row objects: the least that the library could take.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import UUID

from benchmarks.measure import Call
from benchmarks.scenes import MAINTAINER
from benchmarks.tape import Sent, bare
from dispatch_state import Human, InvalidValue, Issue, Move, StaleRow, StoreNotFound
from dispatch_state.ids import uuid_text
from dispatch_state.lifecycle.interface import Firing
from dispatch_state.storage.statements import load
from dispatch_state.values import stamp

NAME = "one function by hand"


def to_and_fro(path: str, made: list[UUID], recorded: list[Sent]) -> Iterator[Call]:
    """Issues that are queued and taken off the queue, for ever, by the statements of a recorded move."""
    texts = {sent.sql.split()[0]: sent.sql for sent in recorded}
    cursor = bare(path, "normal").cursor()
    turn = os.open(f"{path}-turn", os.O_CREAT | os.O_RDWR)
    place = path, os.stat(path).st_ino, turn  # noqa: PTH116
    rows = [load(Issue, cursor.execute(texts["SELECT"], (str(key),)).fetchone()) for key in made]
    while True:
        for trigger in ("queue", "dequeue"):
            for row in rows:
                yield partial(_fire, cursor, texts, place, row, trigger, MAINTAINER)


def _fire(
    cursor: Any, texts: Mapping[str, str], place: tuple[str, int, int], row: Any, name: str, by: Human
) -> list[Move]:
    known, machine = row.__data__, row.machine
    trigger = machine.triggers[name]
    if by.__class__ is not Human or row._dirty or known["status"] not in trigger.edges:
        raise InvalidValue("an act that is none")
    path, file, turn = place
    fcntl.flock(turn, fcntl.LOCK_EX)
    try:
        if os.stat(path).st_ino != file:  # noqa: PTH116
            raise StoreNotFound("another file")
        cursor.execute("BEGIN IMMEDIATE")
        now, key = datetime.now(UTC), uuid_text(known["id"])
        fresh: Any = load(Issue, cursor.execute(texts["SELECT"], (key,)).fetchone())
        was = fresh.__data__
        if was["version"] != known["version"] or was["status"] != known["status"]:
            raise StaleRow("it moved since")
        firing = Firing(fresh, name, trigger.defaults, by, "", now)
        edge, version, moment = machine.decide(firing), was["version"] + 1, stamp(now)
        own = {**trigger.body(fresh, by=by, reason=""), "version": version, "status": edge.dest, "updated_at": now}
        logged = "issues", key, version, name, edge.source, edge.dest, by.actor, None, None, None, None, moment
        cursor.execute(texts["INSERT"], logged)
        seq = cursor.lastrowid
        cursor.execute(texts["UPDATE"], (version, edge.dest, moment, key, was["version"], was["status"]))
        if cursor.rowcount != 1:
            raise StaleRow("it moved meanwhile")
        cursor.execute("COMMIT")
    finally:
        fcntl.flock(turn, fcntl.LOCK_UN)
    known.update(was, **own)
    row.__rel__.clear()
    return [Move("issues", was["id"], name, edge.source, edge.dest, seq)]
