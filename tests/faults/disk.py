"""What a process does to its files, written down call by call, and what a disk may hold of it after a power cut.

Recorded are write, pwrite, fsync, fdatasync, ftruncate and unlink, by a small library put before libc (`recorder.c`,
where there is a C compiler) or else by strace. What was synced is on the disk; of what was written to a file after
its last sync, any part may be, in whole or torn at a sector's end. A removal is on the disk with the next sync of any
file, as file systems with a journal do it.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import struct
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tests.paths import ROOT

WRITE, SYNC, TRUNCATE, UNLINK = "W", "S", "T", "U"
HEADER = struct.Struct("=cqqH")
SECTORS = (512, 4096)


class Change(NamedTuple):
    """One call: which, on which file (by its name), where, and the data; `length` is that of a truncation."""

    call: str
    name: str
    offset: int = 0
    data: bytes = b""
    length: int = 0


# ---- recording ---------------------------------------------------------------------------------------


def means(folder: Path) -> str:
    """How changes can be recorded here: "preload", "strace", or "" when neither works."""
    compiler = shutil.which("cc")
    if compiler and sys.platform == "linux":
        source = Path(__file__).with_name("recorder.c")
        command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(folder / "recorder.so"), str(source), "-ldl"]
        if not subprocess.run(command, capture_output=True, check=False).returncode:
            return "preload"
    strace = shutil.which("strace")
    works = strace and not subprocess.run([strace, "-f", "true"], capture_output=True, check=False).returncode
    return "strace" if works else ""


def record(command: list[str], folder: Path, names: list[str], by: str, work: Path) -> list[Change]:
    """Run a command to its end; returns what it changed in a folder.

    Args:
        names: the files that matter.
        by: what `means` said; work: the folder it was given.
    """
    kept, environment = work / "record", dict(os.environ)
    if by == "preload":
        environment |= {"LD_PRELOAD": str(work / "recorder.so"), "RECORDED": f"{folder}/", "RECORD": str(kept)}
    else:
        calls = "trace=write,pwrite64,fsync,fdatasync,ftruncate,unlink"
        only = [argument for name in names for argument in ("-P", str(folder / name))]
        command = ["strace", "-f", "-y", "-xx", "-s", "70000", "-e", calls, "-o", str(kept), *only, *command]
    subprocess.run(command, env=environment, cwd=ROOT, check=True, timeout=600)
    found = _records(kept.read_bytes()) if by == "preload" else _traced(kept.read_text())
    kept.unlink()
    return [change for change in found if change.name in names]


def _records(kept: bytes) -> Iterator[Change]:
    at = 0
    while at < len(kept):
        call, offset, length, named = HEADER.unpack_from(kept, at)
        at += HEADER.size + named
        name = Path(os.fsdecode(kept[at - named : at])).name
        held = length if call == b"W" else 0
        yield Change(call.decode(), name, offset, kept[at : at + held], length)
        at += held


_CALL = re.compile(
    r'^\d+ +(\w+)\((?:\d+<([^>]*)>|"([^"]*)")(?:, "([^"]*)")?(?:\.\.\.)?(?:, (\d+))?(?:, (\d+))?\) += (\d+)'
)
_CALLS = {"write": WRITE, "pwrite64": WRITE, "fsync": SYNC, "fdatasync": SYNC, "ftruncate": TRUNCATE, "unlink": UNLINK}


def _traced(kept: str) -> Iterator[Change]:
    ends: defaultdict[str, int] = defaultdict(int)  # where write() appends
    for line in kept.splitlines():
        if found := _CALL.match(line):
            call, opened, named, data, first, second, done = found.groups()
            name = Path(os.fsdecode(_unhexed(opened or named))).name
            held = _unhexed(data or "")[: int(done)] if _CALLS[call] == WRITE else b""
            offset = int(second) if call == "pwrite64" else ends[name]
            ends[name] += len(held) if call == "write" else 0
            yield Change(_CALLS[call], name, offset, held, int(first) if call == "ftruncate" else len(held))


def _unhexed(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", "")) if "\\x" in text else text.encode()


# ---- a disk ------------------------------------------------------------------------------------------


@dataclass
class File:
    """One file: what the disk surely holds, and what was done to it since."""

    synced: bytearray = field(default_factory=bytearray)
    since: list[Change] = field(default_factory=list)
    there: bool = True

    def sync(self) -> None:
        for change in self.since:
            apply(change, self.synced)
        self.since.clear()


def apply(change: Change, content: bytearray) -> None:
    """Do to a file what the call did."""
    if change.call == TRUNCATE:
        kept = content[: change.length]
        content[:] = kept + bytes(change.length - len(kept))
    elif change.call == WRITE:
        content.extend(bytes(max(0, change.offset - len(content))))
        content[change.offset : change.offset + len(change.data)] = change.data


def torn(change: Change, chance: random.Random) -> Iterator[Change]:
    """The sectors of a write that came to the disk."""
    size = chance.choice(SECTORS)
    at = change.offset
    while at < change.offset + len(change.data):
        end = min(at - at % size + size, change.offset + len(change.data))
        if chance.random() < 0.5:
            yield change._replace(offset=at, data=change.data[at - change.offset : end - change.offset])
        at = end


class Disk:
    """The files of a folder, as a disk that may lose its power holds them."""

    def __init__(self) -> None:
        self.files: defaultdict[str, File] = defaultdict(File)

    def take(self, change: Change) -> None:
        """The next call."""
        file = self.files[change.name]
        if change.call == SYNC:
            file.sync()
            for name in [name for name, other in self.files.items() if not other.there]:
                del self.files[name]
        elif change.call == UNLINK:
            file.since.append(change)
            file.there = False
        else:
            if not file.there:  # made anew under its old name
                self.files[change.name] = file = File()
            file.since.append(change)

    def cut(self, chance: random.Random) -> dict[str, bytes]:
        """What may be found after a power cut, by name: all that was synced, and any part of the rest."""
        share = chance.choice([0.0, 0.1, 0.5, 0.9, 1.0])
        return {name: found for name, file in self.files.items() if (found := _after(file, share, chance)) is not None}


def _after(file: File, share: float, chance: random.Random) -> bytes | None:
    content = bytearray(file.synced)
    for change in file.since:
        if chance.random() >= share:
            continue
        if change.call == UNLINK:
            return None
        parts = torn(change, chance) if change.call == WRITE and share < 1 and chance.random() < 0.3 else (change,)
        for part in parts:
            apply(part, content)
    return bytes(content)
