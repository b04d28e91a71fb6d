"""What an error of SQLite means to a caller."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

from dispatch_state.errors import StoreBusy, StoreCorrupt, StoreError, StoreFull, StoreReadOnly, summary
from dispatch_state.storage.connections import driver_error

_ERRORS: Mapping[int, type[StoreError]] = {
    sqlite3.SQLITE_BUSY: StoreBusy,
    sqlite3.SQLITE_LOCKED: StoreBusy,
    sqlite3.SQLITE_FULL: StoreFull,
    sqlite3.SQLITE_IOERR_WRITE: StoreFull,  # a quota, or a limit of the process
    sqlite3.SQLITE_IOERR_SHMSIZE: StoreFull,
    sqlite3.SQLITE_READONLY: StoreReadOnly,
    sqlite3.SQLITE_CANTOPEN: StoreReadOnly,
    sqlite3.SQLITE_PERM: StoreReadOnly,
    sqlite3.SQLITE_NOTADB: StoreCorrupt,
    sqlite3.SQLITE_CORRUPT: StoreCorrupt,
    sqlite3.SQLITE_IOERR_SHORT_READ: StoreCorrupt,
}
"""Our error for a code of SQLite. An extended code that is not here counts as its primary code, the low byte."""


def error_code(error: BaseException) -> int | None:
    """Return SQLite's extended code of an error, or None for an error that has no code."""
    return getattr(driver_error(error), "sqlite_errorcode", None)


def store_error(error: Exception) -> StoreError | None:
    """Return the error that a caller gets for an error of SQLite; None when the store is not at fault."""
    code = error_code(error)
    if code == sqlite3.SQLITE_BUSY_SNAPSHOT:
        return StoreBusy("a query of this thread is still being read: read it to its end before writing")
    known = _ERRORS.get(code) or _ERRORS.get(code & 0xFF) if code is not None else None
    if known is None and ("malformed" in str(error) or "decode" in str(error)):
        known = StoreCorrupt
    if known is None and code is not None and code & 0xFF == sqlite3.SQLITE_IOERR:
        return StoreError(f"the disk cannot be read or written; see to it, and open the store again ({error})")
    return known(f"{summary(known)} ({error})") if known else None
