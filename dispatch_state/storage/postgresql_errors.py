"""What an error of PostgreSQL means: which of our errors it becomes, and whether the work may be tried again."""

from __future__ import annotations

from collections.abc import Mapping

import peewee

from dispatch_state.errors import (
    StoreBusy,
    StoreCorrupt,
    StoreError,
    StoreFull,
    StoreReadOnly,
    StoreUnreachable,
    summary,
)
from dispatch_state.storage.connections import driver_error

_ERRORS: Mapping[str, type[StoreError]] = {
    "40P01": StoreBusy,  # a deadlock
    "40001": StoreBusy,  # a serialization failure
    "55P03": StoreBusy,  # lock_timeout
    "57014": StoreBusy,  # statement_timeout, or an administrator
    "53300": StoreUnreachable,  # too many connections
    "53100": StoreFull,
    "42501": StoreReadOnly,
    "25006": StoreReadOnly,
    "XX001": StoreCorrupt,
    "XX002": StoreCorrupt,
}
"""Our error for an SQLSTATE."""
_RETRIED = frozenset({"40P01", "40001", "57014"})
"""These end a transaction that may be begun again: a deadlock, a serialization failure, a cancelled statement."""
_DISCONNECTED = frozenset({"57P01", "57P02", "57P03", "57P05", "25P03", "25P04"})
"""The server ends a connection with these: a shutdown, a restart, or one of its own time limits."""


def _sqlstate(error: BaseException) -> str:
    return getattr(driver_error(error), "sqlstate", None) or ""


def store_error(error: Exception) -> StoreError | None:
    """Return the error that a caller gets for an error of PostgreSQL; None when the store is not at fault."""
    state = _sqlstate(error)
    known = _ERRORS.get(state)
    if known is None and isinstance(error, peewee.OperationalError):
        known = StoreError
    return known(f"{summary(known)} ({type(driver_error(error)).__name__} {state})") if known else None


def is_retried(error: Exception) -> bool:
    """Return whether a transaction lost to another one or was cancelled, and may succeed when it is begun again."""
    return _sqlstate(error) in _RETRIED


def is_disconnection(error: BaseException) -> bool:
    """Return whether the server reported with this error that the connection has ended."""
    state = _sqlstate(error)
    return state.startswith("08") or state in _DISCONNECTED


def reason(error: BaseException) -> str:
    """Return what libpq reports as the cause of an error, in one line."""
    lines = str(driver_error(error)).splitlines() or [type(driver_error(error)).__name__]
    several = [line.removeprefix("- ") for line in lines if line.startswith("- ")]
    return "; ".join(several) or lines[0].removeprefix("connection failed: ")
