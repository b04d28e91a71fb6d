"""Every error this library raises.

    DispatchError
    ├── InvalidValue        (also ValueError)               wrong whatever the rows hold; the database was not asked
    ├── RowNotFound         (also peewee's DoesNotExist)    the row is not in this store
    ├── StaleRow                                            somebody moved the row since you read it
    ├── IllegalTransition   (also transitions.MachineError) no such move from this status
    ├── GuardRefused                                        who acts, or what the rows hold, forbids the move
    └── StoreError
        ├── StoreNotFound       nothing there that was not to be created, or the open file was removed or replaced
        ├── StoreAlreadyOpen    this process has a store open
        ├── StoreNotOpen        (also peewee.InterfaceError)    no store is open, or it was closed
        ├── StoreBusy           (also peewee.OperationalError)  others held the locks too long; retryable
        ├── StoreUnreachable    (also peewee.OperationalError)  the database server cannot be reached; retryable
        ├── CommitUnknown       (also peewee.OperationalError)  the connection was lost while committing
        ├── StoreFull           (also peewee.OperationalError)  no room to write
        ├── StoreReadOnly       (also peewee.OperationalError)  the file, its folder or the role may not write
        ├── StoreCorrupt        (also peewee.DatabaseError)     not a database, or a damaged one
        ├── WrongProcess        (also peewee.InterfaceError)    used in a forked child
        ├── SchemaTooNew        written by a newer version of this library
        ├── SchemaTooOld        needs migrating, and that was not wanted
        └── MigrationFailed     a migration stopped; the database is as it was

They are looked for in this order: StoreNotOpen, WrongProcess, InvalidValue, RowNotFound,
StaleRow, IllegalTransition, GuardRefused. After any of them but `CommitUnknown` nothing has
changed, in the database or in memory.
"""

from __future__ import annotations

from typing import ClassVar

import peewee
from transitions import MachineError


class DispatchError(Exception):
    """Something this library refused or could not do."""

    retryable: ClassVar[bool] = False
    """Whether the same call may succeed a moment later."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message or summary(type(self)))

    def __str__(self) -> str:
        return str(self.args[0])


def summary(error: type[DispatchError]) -> str:
    """The first line of what an error says of itself."""
    return (error.__doc__ or error.__name__).partition("\n")[0]


class InvalidValue(DispatchError, ValueError):
    """The value is wrong whatever the rows hold: a type, an unknown word, a blank required reason."""


class RowNotFound(DispatchError):
    """The row is not in this store; each model's `DoesNotExist` is a subclass."""


class StaleRow(DispatchError):
    """Somebody moved this row since it was read; `reload()` it and decide again."""


class IllegalTransition(DispatchError, MachineError):
    """The lifecycle has no such move from this status."""

    def __init__(self, message: str = "") -> None:
        DispatchError.__init__(self, message)
        self.value = str(self)


class GuardRefused(DispatchError):
    """The move exists, but a guard says no; `reasons` names every guard that failed.

    Args:
        message: what was asked, of which row, and why it was refused.
        reasons: one sentence for each guard that failed.
    """

    def __init__(self, message: str = "", reasons: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.args = (str(self), reasons)
        self.reasons = reasons


class StoreError(DispatchError):
    """The store itself cannot be used this way."""


class StoreNotFound(StoreError):
    """There is no store there, and it was not to be created; or the file that is open is there no more."""


class StoreAlreadyOpen(StoreError):
    """This process has a store open; one store is open per process at a time."""


class StoreNotOpen(StoreError, peewee.InterfaceError):
    """No store is open: call open_store() first, or it was closed."""


class StoreBusy(StoreError, peewee.OperationalError):
    """Others held the locks too long; the same call may succeed a moment later."""

    retryable = True


class StoreUnreachable(StoreError, peewee.OperationalError):
    """The database server cannot be reached, or it ended the connection; nothing has changed.

    Outside of a `store.atomic()` block the call was tried again for as long as the store's timeout. A block is over:
    its row objects are put back, and it may be begun again.
    """

    retryable = True


class CommitUnknown(StoreError, peewee.OperationalError):
    """The connection was lost while committing: what was asked may have been done, or not.

    Row objects hold what they held before. `reload()` them, or read `store.history(row)`, before asking again.
    """


class StoreFull(StoreError, peewee.OperationalError):
    """There is no room to write; free some and call again."""


class StoreReadOnly(StoreError, peewee.OperationalError):
    """The file, its folder or the database role may not be written to; permit it, and open the store again."""


class StoreCorrupt(StoreError, peewee.DatabaseError):
    """This is not a database, or it is damaged; name another file, or restore it from a backup."""


class WrongProcess(StoreError, peewee.InterfaceError):
    """The store was opened in another process; close it before forking, or spawn."""


class SchemaTooNew(StoreError):
    """The database was written by a newer version of this library; upgrade it here too."""


class SchemaTooOld(StoreError):
    """The database needs migrating; open it with migrate=True."""


class MigrationFailed(StoreError):
    """A migration stopped, and the database is as it was before it."""
