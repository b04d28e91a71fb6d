"""Files that a command makes: whole, or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from dispatch_state.errors import InvalidValue, StoreError
from dispatch_state.ids import new_id


def write_file(name: str, content: bytes) -> None:
    """Write a file, replacing one of that name; a reader sees the old content or the new, never a part.

    Args:
        name: the path of the file; `~` stands for the home folder.
        content: what the file is to hold.

    Raises:
        InvalidValue: no file can have this name.
        StoreError: the file cannot be written.
    """
    if not name:
        raise InvalidValue("the name of the file to write is empty")
    try:
        path = Path(name).expanduser().resolve()
        if not path.is_file() and path.exists():
            with path.open("wb") as file:  # a pipe, a terminal, /dev/null
                file.write(content)
            return
        _replace(path, content)
    except OSError as error:
        raise StoreError(f"{name}: cannot be written: {error.strerror}") from None
    except (ValueError, RuntimeError) as error:
        raise InvalidValue(f"{name}: cannot be written: {error}") from None


def _replace(path: Path, content: bytes) -> None:
    partial = path.with_name(f".{new_id().hex}.partial")
    try:
        with open(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o666), "wb") as file:
            file.write(content)
        if path.exists():
            partial.chmod(path.stat().st_mode & 0o777)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
