"""Every error this library raises.

    DispatchError
    ├── InvalidValue        (also ValueError)               wrong whatever the rows hold; nothing was sent
    ├── RowNotFound         (also Peewee's DoesNotExist)    the row is not in this store
    ├── StaleRow                                            somebody moved the row since you read it
    ├── IllegalTransition   (also transitions.MachineError) the lifecycle has no such move from here
    ├── GuardRefused                                        a guard forbids the move
    └── StoreError
        ├── StoreNotFound       the store does not exist, or the open file was removed or replaced
        ├── StoreAlreadyOpen    this process has a store open
        ├── StoreNotOpen        (also peewee.InterfaceError)    no store is open
        ├── StoreBusy           (also peewee.OperationalError)  others held the locks for too long; retryable
        ├── StoreUnreachable    (also peewee.OperationalError)  the database server cannot be reached; retryable
        ├── CommitUnknown       (also peewee.OperationalError)  the connection was lost while committing
        ├── StoreFull           (also peewee.OperationalError)  there is no room to write
        ├── StoreReadOnly       (also peewee.OperationalError)  the file, its folder or the role is read-only
        ├── StoreCorrupt        (also peewee.DatabaseError)     this is not a database, or it is damaged
        ├── WrongProcess        (also peewee.InterfaceError)    the store is used in a forked child
        ├── SchemaTooNew        a newer version of this library wrote the database
        ├── SchemaTooOld        the database needs migrating, and migrate=False was given
        └── MigrationFailed     a migration failed; the database is as it was before

When several apply, the first of this order is raised: StoreNotOpen, WrongProcess, InvalidValue, RowNotFound, StaleRow,
IllegalTransition, GuardRefused. After any error but `CommitUnknown` nothing has changed, in the database or in memory.
"""

from __future__ import annotations

from typing import ClassVar

import peewee
from transitions import MachineError


class DispatchError(Exception):
    """The root of all errors: something that this library refused or could not do.

    Args:
        message: what happened; the first line of the class's docstring when empty.
    """

    retryable: ClassVar[bool] = False
    """Whether the same call may succeed a moment later."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message or summary(type(self)))

    def __str__(self) -> str:
        return str(self.args[0])


def summary(error: type[DispatchError]) -> str:
    """Return the first line of an error's docstring, which is its message when no other is given."""
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
    """The lifecycle has this move, but a guard refuses it; `reasons` names every guard that failed.

    Args:
        message: which move of which row was asked for, and why it was refused.
        reasons: one sentence for each guard that failed.
    """

    def __init__(self, message: str = "", reasons: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.args = (str(self), reasons)
        self.reasons = reasons


class StoreError(DispatchError):
    """The store itself cannot be used this way."""


class StoreNotFound(StoreError):
    """There is no store there, and create=False was given; or the open file was removed or replaced."""


class StoreAlreadyOpen(StoreError):
    """This process has a store open; one store is open per process at a time."""


class StoreNotOpen(StoreError, peewee.InterfaceError):
    """No store is open; call open_store() first, or again if the store was closed."""


class StoreBusy(StoreError, peewee.OperationalError):
    """Others held the locks for too long; the same call may succeed a moment later."""

    retryable = True


class StoreUnreachable(StoreError, peewee.OperationalError):
    """The database server cannot be reached, or it ended the connection; nothing has changed.

    Outside of a `store.atomic()` block, the library repeated the call until the store's timeout had passed. A block is
    over: its row objects are as they were before it, and it may be begun again.
    """

    retryable = True


class CommitUnknown(StoreError, peewee.OperationalError):
    """The connection was lost while committing: the changes may or may not have been committed.

    Row objects are as they were before. `reload()` them, or read `store.history(row)`, before you repeat the call.
    """


class StoreFull(StoreError, peewee.OperationalError):
    """There is no room to write; free some and call again."""


class StoreReadOnly(StoreError, peewee.OperationalError):
    """The file, its folder or the database role may not be written to; permit it, and open the store again."""


class StoreCorrupt(StoreError, peewee.DatabaseError):
    """This is not a database, or it is damaged; name another file, or restore it from a backup."""


class WrongProcess(StoreError, peewee.InterfaceError):
    """The store was opened in another process; close it before forking, or spawn new processes."""


class SchemaTooNew(StoreError):
    """The database was written by a newer version of this library; upgrade it here too."""


class SchemaTooOld(StoreError):
    """The database needs migrating; open it with migrate=True."""


class MigrationFailed(StoreError):
    """A migration failed, and the database is as it was before it."""
