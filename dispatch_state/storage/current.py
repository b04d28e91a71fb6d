"""The store that is open in this process: `open_store` puts it here, and `close` takes it away."""

from __future__ import annotations

import os
import threading
from typing import Any

import peewee

from dispatch_state.errors import StoreError, StoreNotOpen, WrongProcess


class Current:
    """The open store of this process.

    lock: held while a store is opened or closed.
    store: the `Store`; None when none is open.
    session: its session, which the models' methods use.
    database: its database, to which the models are bound. A forked child keeps its parent's, which refuses every use.
    no_session_error: the error to raise when there is no session.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.store: Any = None
        self.session: Any = None
        self.database: Any = None
        self.no_session_error: type[StoreError] = StoreNotOpen

    def put(self, store: Any, session: Any, database: Any) -> None:
        """Make a store the open one.

        Args:
            store: the `Store`.
            session: its session.
            database: its database.
        """
        DATABASE.initialize(database)
        self.store, self.session, self.no_session_error = store, session, StoreNotOpen

    def clear(self) -> None:
        """Forget the store, after it was closed."""
        self.store, self.session, self.no_session_error = None, None, StoreNotOpen
        DATABASE.initialize(None)

    def after_fork(self) -> None:
        """In a forked child: forget the parent's store, and the lock, which a thread of the parent may hold."""
        self.lock = threading.RLock()
        if self.store is not None:
            self.store, self.session, self.no_session_error = None, None, WrongProcess


CURRENT = Current()
os.register_at_fork(after_in_child=CURRENT.after_fork)


class StoreProxy(peewee.DatabaseProxy):
    """Stands for the database of the open store; any use raises `StoreNotOpen` when no store is open."""

    @property
    def obj(self) -> Any:
        """The database of the open store, or None. Peewee's proxies call it `obj`."""
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
"""Stands for the database of the open store. Every model is bound to it."""
