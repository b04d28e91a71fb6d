"""Files of a store on disk: which file a path leads to, and how a new one is created."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from dispatch_state.errors import StoreError, StoreFull, StoreNotFound, StoreReadOnly


def file_identity(path: str) -> tuple[int, int] | None:
    """Return the device and inode of a file; None when it does not exist or cannot be reached."""
    try:
        found = os.stat(path)  # noqa: PTH116 - runs before every write, and a Path takes twice as long
    except OSError:
        return None
    return found.st_dev, found.st_ino


def create_file(path: Path, create: bool) -> None:
    """Create a store's file, unless it exists.

    Only its owner may read and write a new file. A link that somebody put there is not followed.

    Args:
        path: the file.
        create: whether to create it.

    Raises:
        StoreNotFound: it does not exist, and `create` is False.
        StoreReadOnly: it cannot be created there.
        StoreFull: there is no room for it.
        StoreError: the path is a link that leads nowhere.
    """
    if path.exists():
        return
    if path.is_symlink():
        raise StoreError(f"{path} is a link that leads nowhere; remove it, or create the file that it names")
    if not create:
        raise StoreNotFound(f"there is no store at {path}; name an existing file, or create one (create=True)")
    flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, flags, 0o600))
    except FileExistsError:
        return  # another process was faster, or a folder of the path is a file: opening will fail then
    except OSError as error:
        raise unwritable_error(path, error) from None


def unwritable_error(path: Path, error: OSError) -> StoreError:
    """Return the error that a caller gets when the file system refused to write to a path."""
    meaning = StoreFull if error.errno in (errno.ENOSPC, errno.EDQUOT) else StoreReadOnly
    return meaning(f"{path} cannot be written: {error.strerror}; see to it, or name another file")
