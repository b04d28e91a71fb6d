"""The base of all models: columns are checked, and Peewee's own write methods are refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Self

import peewee

from dispatch_state.errors import InvalidValue, RowNotFound
from dispatch_state.lifecycle.session import session
from dispatch_state.models.keys import present, short
from dispatch_state.storage.current import DATABASE
from dispatch_state.storage.fields import fingerprint
from dispatch_state.values import closest, shown

ABSTRACT = ("Row", "Stateful")
"""The base classes of the models, which have no table."""
MODELS: dict[str, Any] = {}
"""Every model by its table, for modules that cannot import it."""


def _shown(row: Row) -> str:
    state = [str(row.__data__[name]) for name in ("status", "version") if name in row.__data__]
    return f"<{' '.join([str(row), *state])}>"


def _copied(value: Any) -> Any:
    """An equal value with new dicts, lists and sets."""
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    return (
        [_copied(item) for item in value]
        if isinstance(value, list)
        else set(value)
        if isinstance(value, set)
        else value
    )


class Row(peewee.Model):
    """A row of any table. It is a Peewee model with all of Peewee's queries, and is written only by its own methods."""

    written_by: ClassVar[str]
    """What writes rows of this model, for messages."""
    removed_by: ClassVar[str] = ""
    """What removes rows of this model; empty when nothing does."""
    _fingerprints: dict[str, str] | None = None
    """The fingerprints of the lists and dicts that were read from this object, by column."""

    if TYPE_CHECKING:
        _dirty: set[str]
        DoesNotExist: ClassVar[type[Exception]]

    class Meta:
        database = DATABASE
        only_save_dirty = True

    def __init__(self, **columns: Any) -> None:
        stored = columns.pop("__no_default__", False)
        super().__init__(__no_default__=stored)
        self.is_new = not stored
        for name, value in columns.items():
            if not stored and name not in self._meta.combined and name not in _ids(type(self)):
                raise InvalidValue(
                    f"{type(self).__name__} has no column {shown(name)}{closest(name, self._meta.combined)}"
                )
            setattr(self, name, value)

    @classmethod
    def get_by_id(cls, pk: Any) -> Self:
        """Read a row by its id, with cached SQL.

        Args:
            pk: the id, or the key of a table with a text key.

        Returns:
            The row.

        Raises:
            InvalidValue: the id is not a valid value.
            RowNotFound: there is no such row.
            StoreError: the store is not open, or the database failed. A subclass says which.
        """
        return session().read(lambda: present(cls, pk))  # type: ignore[no-any-return]

    @classmethod
    def validate_model(cls) -> None:
        """Make the model's `DoesNotExist` also a `RowNotFound`. Peewee calls this after it has created the class."""
        name = f"{cls.__name__}DoesNotExist"
        where = {"__module__": cls.__module__, "__qualname__": f"{cls.__qualname__}.DoesNotExist"}
        cls.DoesNotExist = type(name, (RowNotFound, cls.DoesNotExist), where)  # so that pickle finds it
        if cls.__name__ not in ABSTRACT:
            MODELS[cls._meta.table_name] = cls
        cls.__repr__ = _shown  # type: ignore[assignment]  # Peewee sets it on each class

    def __init_subclass__(cls, **options: Any) -> None:
        """Refuse a subclass of a model with a table, before Peewee registers it instead of that model.

        Raises:
            InvalidValue: a base class has a table.
        """
        super().__init_subclass__(**options)
        for base in cls.__mro__[1:]:
            if issubclass(base, Row) and base.__name__ not in ABSTRACT:
                raise InvalidValue(
                    f"{cls.__name__}: {base.__name__} cannot be subclassed, because its rules and its triggers know "
                    f"{base.__name__} only. Keep data of your own in a table of your own, with a key to the row, such "
                    "as peewee.ForeignKeyField(Issue), and put methods into functions that take the row"
                )

    def __copy__(self) -> Self:
        """Another object of the same row with its own values. The rows that its keys name are shared."""
        twin = type(self).__new__(type(self))
        vars(twin).update({name: _copied(value) for name, value in vars(self).items()})
        return twin

    def __str__(self) -> str:
        return f"{type(self).__name__} {short(self._pk)}"

    @property
    def _pk(self) -> Any:
        key: Any = self._meta.primary_key
        return self.__data__.get(key.name)

    def unsaved(self) -> tuple[str, ...]:
        """Return the columns that were changed in memory but not written, also lists and dicts changed in place."""
        for name, was in (self._fingerprints or {}).items():
            if fingerprint(self.__data__.get(name)) != was:
                self._dirty.add(name)
        return tuple(f.name for f in self._meta.sorted_fields if f.name in self._dirty) if self._dirty else ()

    def take(self, data: dict[str, Any]) -> None:
        """Set columns as read from the database. Unsaved changes to other columns stay.

        Args:
            data: the values by name.
        """
        dirty = self._dirty - data.keys() if self._dirty else self._dirty
        held = {**self.__data__, **data}
        # in one step, because a signal may raise at any line
        self.__dict__.update(__data__=held, __rel__={}, _fingerprints=None, _dirty=dirty, is_new=False)

    def reload(self) -> Self:
        """Read this row again into this object. Unsaved changes are dropped.

        Returns:
            This object.

        Raises:
            RowNotFound: the row was removed.
            StoreError: the store is not open, or the database failed. A subclass says which.
        """
        session().reload(self)
        return self

    # ---- Peewee's own write methods; the error names what to use instead -------------------------

    @classmethod
    def _refuse(cls, what: str, instead: str = "") -> NoReturn:
        use = instead or cls.written_by
        raise InvalidValue(f"{cls.__name__}.{what} would bypass the log of moves; use {use}")

    @classmethod
    def create(cls, **columns: Any) -> Self:
        cls._refuse("create()")

    def save(self, force_insert: bool = False, only: Any = None) -> int:
        self._refuse("save()")

    def delete_instance(self, recursive: bool = False, delete_nullable: bool = False) -> int:
        self._refuse("delete_instance()", self.removed_by)

    @classmethod
    def insert(cls, data: Any = None, /, **columns: Any) -> NoReturn:
        cls._refuse("insert()")

    @classmethod
    def insert_many(cls, rows: Any, fields: Any = None) -> NoReturn:
        cls._refuse("insert_many()")

    @classmethod
    def insert_from(cls, query: Any, fields: Any) -> NoReturn:
        cls._refuse("insert_from()")

    @classmethod
    def replace(cls, data: Any = None, /, **columns: Any) -> NoReturn:
        cls._refuse("replace()")

    @classmethod
    def replace_many(cls, rows: Any, fields: Any = None) -> NoReturn:
        cls._refuse("replace_many()")

    @classmethod
    def bulk_create(cls, model_list: Any, batch_size: Any = None) -> NoReturn:
        cls._refuse("bulk_create()")

    @classmethod
    def bulk_update(cls, model_list: Any, fields: Any, batch_size: Any = None) -> NoReturn:
        cls._refuse("bulk_update()")

    @classmethod
    def set_by_id(cls, key: Any, value: Any) -> NoReturn:
        cls._refuse("set_by_id()")

    @classmethod
    def delete_by_id(cls, pk: Any) -> NoReturn:
        cls._refuse("delete_by_id()", cls.removed_by)

    @classmethod
    def delete(cls) -> NoReturn:
        cls._refuse("delete()", cls.removed_by)

    @classmethod
    def truncate_table(cls, **options: Any) -> NoReturn:
        cls._refuse("truncate_table()", cls.removed_by)

    @classmethod
    def update(cls, data: Any = None, /, **columns: Any) -> Any:
        cls._refuse("update()")


def _ids(model: type[Row]) -> set[str]:
    return {field.object_id_name for field in model._meta.refs}
