"""The store that is open in this process: one holder, which `open_store` fills and `close` empties."""

from __future__ import annotations

import os
import threading
from typing import Any

import peewee

from dispatch_state.errors import StoreError, StoreNotOpen, WrongProcess


class Current:
    """What is open in this process.

    lock: held while that changes.
    store: the `Store`; None when none is open.
    session: its session, which the models' methods ask.
    database: its database, which the models are bound to. A forked child keeps its parent's, which refuses every use.
    absent: the error that says why no session is here.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.store: Any = None
        self.session: Any = None
        self.database: Any = None
        self.absent: type[StoreError] = StoreNotOpen

    def put(self, store: Any, session: Any, database: Any) -> None:
        """Put a store in place."""
        DATABASE.initialize(database)
        self.store, self.session, self.absent = store, session, StoreNotOpen

    def clear(self) -> None:
        """Take it away."""
        self.store, self.session, self.absent = None, None, StoreNotOpen
        DATABASE.initialize(None)

    def after_fork(self) -> None:
        """In a forked child: the store is the parent's."""
        if self.store is not None:
            self.store, self.session, self.absent = None, None, WrongProcess


CURRENT = Current()
os.register_at_fork(after_in_child=CURRENT.after_fork)


class StoreProxy(peewee.DatabaseProxy):
    """Stands for the database of the open store; without one, every use is `StoreNotOpen`."""

    @property
    def obj(self) -> Any:
        """The database, as Peewee's proxy calls it."""
        return CURRENT.database

    @obj.setter
    def obj(self, database: Any) -> None:
        CURRENT.database = database

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        if CURRENT.database is None:
            raise StoreNotOpen()
        return getattr(CURRENT.database, attribute)


DATABASE = StoreProxy()
"""The database of the open store; every model is bound to it."""
