"""The files that a copy of a store is written to or read from."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from io import RawIOBase, UnsupportedOperation
from pathlib import Path
from typing import IO, Any, cast

from dispatch_state import values
from dispatch_state.errors import DispatchError, InvalidValue, StoreError, StoreFull
from dispatch_state.storage.files import unwritable_error

Target = str | os.PathLike[str] | IO[bytes]


def create_file(path: str | os.PathLike[str], action: str) -> Path:
    """Create an empty file that only its owner can read, so that no other program takes the name meanwhile.

    Args:
        path: the path of a file that does not exist.
        action: what the file is for, for messages.

    Returns:
        The absolute path.

    Raises:
        InvalidValue: the file exists, or `path` is not a path.
        StoreReadOnly, StoreFull: the file cannot be created.
    """
    try:
        target = Path(os.fsdecode(path)).expanduser().absolute()
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        raise InvalidValue(f"{action}: {target} exists; name a file that does not") from None
    except (TypeError, ValueError, RuntimeError):
        raise InvalidValue(f"{action}: takes the path of a file that does not exist") from None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise InvalidValue(f"{action}: the path is too long") from None
        raise unwritable_error(target, error) from None
    return target


@contextmanager
def opened_to_write(file: Target, action: str) -> Iterator[IO[bytes]]:
    """A block that writes to a caller's open file, or to a new file, which is removed when the block fails.

    Args:
        file: the path of a file that does not exist, or a file opened to write bytes.
        action: what is being done, for messages.

    Raises:
        InvalidValue: the file exists, or the open file takes no bytes.
        StoreReadOnly, StoreFull, StoreError: the file cannot be written.
    """
    if _is_open_file(file):
        callers = _CallersFile(file, action)
        yield cast("IO[bytes]", callers)
        callers.flush()
        return
    path = create_file(cast("str | os.PathLike[str]", file), action)
    try:
        with path.open("wb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
    except BaseException as error:
        path.unlink(missing_ok=True)
        if isinstance(error, OSError) and not isinstance(error, DispatchError):
            raise unwritable_error(path, error) from error
        raise


@contextmanager
def opened_to_read(file: Target, action: str, longest: int) -> Iterator[Iterable[bytes]]:
    """A block that reads the lines of a file.

    Args:
        file: a path, or a file opened to read bytes.
        action: what is being done, for messages.
        longest: the maximum length of a line in bytes. Of a longer line, one byte more is read.

    Raises:
        InvalidValue: the file cannot be read, or gives no bytes.
    """
    if _is_open_file(file):
        opened: AbstractContextManager[Any] = nullcontext(file)
    else:
        try:
            opened = Path(os.fsdecode(cast("str", file))).expanduser().open("rb")
        except (TypeError, ValueError, RuntimeError):
            raise InvalidValue(f"{action}: takes the path of a file, or a file opened to read bytes") from None
        except OSError as error:
            name = values.shown(os.fsdecode(cast("str", file)))
            raise InvalidValue(f"{action}: {name} cannot be read: {error.strerror}") from None
    with opened as lines:
        callers = _CallersFile(lines, action)
        yield iter(lambda: callers.readline(longest + 1), b"")


def _is_open_file(file: object) -> bool:
    return not isinstance(file, str | bytes | os.PathLike) and (hasattr(file, "write") or hasattr(file, "readline"))


class _CallersFile:
    """A file that a caller opened; the errors that it raises become errors of ours.

    Args:
        file: an open file, which should take or give bytes.
        action: what is being done with it, for messages.
    """

    def __init__(self, file: Any, action: str) -> None:
        self._file = file
        self._action = action

    def write(self, line: bytes) -> None:
        """Write a whole line; a file without a buffer may take it in several parts."""
        while line:
            with self._error_boundary("written"):
                taken = self._file.write(line)
            if isinstance(self._file, RawIOBase) and not taken:
                raise InvalidValue(f"{self._action}: the file takes nothing now; open it so that writing to it waits")
            line = line[taken:] if isinstance(self._file, RawIOBase) else b""

    def flush(self) -> None:
        """Write what the file has buffered, so that an error is raised now."""
        with self._error_boundary("written"):
            getattr(self._file, "flush", bool)()

    def readline(self, longest: int) -> bytes:
        """Return the next line, or the first `longest` bytes of it; empty at the end of the file."""
        with self._error_boundary("read"):
            line = self._file.readline(longest)
        if not isinstance(line, bytes):
            raise InvalidValue(f"{self._action}: the file gives no bytes; open it in binary mode")
        return line

    @contextmanager
    def _error_boundary(self, done: str) -> Iterator[None]:
        try:
            yield
        except DispatchError:
            raise
        except UnsupportedOperation as error:
            raise InvalidValue(f"{self._action}: the file is not opened to be {done}") from error
        except TypeError as error:
            raise InvalidValue(f"{self._action}: bytes cannot be {done}; open the file in binary mode") from error
        except Exception as error:
            message = f"{self._action}: the file cannot be {done}: {str(error) or type(error).__name__}"
            if done == "written" and isinstance(error, OSError) and error.errno is not None:
                raise (StoreFull if error.errno in (errno.ENOSPC, errno.EDQUOT) else StoreError)(message) from error
            raise InvalidValue(message) from error
