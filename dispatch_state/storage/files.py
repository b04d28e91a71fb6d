"""Files of a store on disk: which one a name reaches, and how a new one is made."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from dispatch_state.errors import StoreError, StoreFull, StoreNotFound, StoreReadOnly


def identity(path: str) -> tuple[int, int] | None:
    """The file of that name, by device and number; None when there is none that can be reached."""
    try:
        found = os.stat(path)  # noqa: PTH116 - before every write: a Path takes twice as long
    except OSError:
        return None
    return found.st_dev, found.st_ino


def make_file(path: Path, create: bool) -> None:
    """See that the file is there; one that we make is its owner's alone, and no planted link is followed."""
    if path.exists():
        return
    if path.is_symlink():
        raise StoreError(f"{path} is a link to nothing; remove it or make what it names")
    if not create:
        raise StoreNotFound(f"there is no store at {path}; name the file of one, or have one made (create=True)")
    flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, flags, 0o600))
    except FileExistsError:
        return  # another process was faster, or a folder on the way is a file: opening will tell
    except OSError as error:
        raise unwritable(path, error) from None


def unwritable(path: Path, error: OSError) -> StoreError:
    """What an error of the file system means to whoever wanted to write there."""
    meaning = StoreFull if error.errno in (errno.ENOSPC, errno.EDQUOT) else StoreReadOnly
    return meaning(f"{path} cannot be written: {error.strerror}; see to it, or name another file")
