"""The whole store as a file of lines, and back: how a user moves to another database.

The first line says what the file is, the last how many rows of each table stand between. Each line is JSON; a row's is
`{table: {column: value}}`, tables in the order in which they can be inserted, rows by their key, so that two exports of
the same rows are the same bytes, whatever the database.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime
from functools import cache
from io import RawIOBase, UnsupportedOperation
from pathlib import Path
from typing import IO, Any, cast
from uuid import UUID

from peewee import SQL

from dispatch_state import json_values, values
from dispatch_state.audit.verify import one_moment
from dispatch_state.errors import DispatchError, InvalidValue, StoreError, StoreFull
from dispatch_state.models.agent import Agent
from dispatch_state.models.epic import Epic
from dispatch_state.models.gate import Gate
from dispatch_state.models.issue import Issue
from dispatch_state.models.keys import ParentField
from dispatch_state.models.log import TransitionLog
from dispatch_state.models.metrics import MEAN_TIME
from dispatch_state.models.proposal import Proposal
from dispatch_state.models.pull_request import PullRequest
from dispatch_state.models.row import Row
from dispatch_state.models.stage import Stage
from dispatch_state.models.tables import PLAIN
from dispatch_state.schema import numbering
from dispatch_state.storage.connect import Database
from dispatch_state.storage.fields import IdField, JsonField, StampField, TextField
from dispatch_state.storage.files import unwritable_error
from dispatch_state.storage.paging import grouped, size_sql
from dispatch_state.storage.statements import insert_statement, rows, tuples, update
from dispatch_state.transfer.backups import new_file, suspended
from dispatch_state.values import Progress, check_progress

FORMAT, VERSION = "dispatch_state", 1
ORDER: tuple[type[Row], ...] = (Epic, Stage, Gate, Agent, Issue, PullRequest, Proposal, *PLAIN)
"""Every table, those that others name first."""
TABLES = {model._meta.table_name: model for model in ORDER}
FORMER_MEAN_TIME = "avg_completion_time_secs"
"""What a snapshot of an older version calls the mean time to completion."""
PAGE = 500
"""Rows that are read, or written, at once, unless they are long."""
LONGEST, DEEPEST = 256 * 1024 * 1024, 40
"""Bytes of a line, and how deep it nests."""

Target = str | os.PathLike[str] | IO[bytes]


# ---- out -----------------------------------------------------------------------------------------------


def export(database: Database, file: Target, progress: Progress | None = None) -> dict[str, int]:
    """Write one moment of the store; see `Store.export`."""
    check_progress(progress)
    if database.transaction_depth():
        raise InvalidValue("export: a transaction is open in this thread; leave it first")
    with _written(file) as out, one_moment(database):
        counts = {table: int(model.select().count()) for table, model in TABLES.items()}
        out.write(_line({"format": FORMAT, "version": VERSION}))
        done, total = 0, sum(counts.values())
        for table, model in TABLES.items():
            for row in _rows(database, model):
                out.write(_line({table: _plain(model, row)}))
                done += 1
                if progress and not done % PAGE:
                    progress(done, total)
        out.write(_line({"end": counts}))
        if progress:
            progress(total, total)
    return counts


@contextmanager
def _written(file: Target) -> Iterator[IO[bytes]]:
    """A file to write to: the caller's, or a new one, which is whole, or not there."""
    if _is_open_file(file):
        callers = _CallersFile(file, "export")
        yield cast("IO[bytes]", callers)
        callers.flush()
        return
    path = new_file(cast("str | os.PathLike[str]", file), "export")
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


class _CallersFile:
    """A file that a caller opened: what it raises becomes an error of ours.

    Args:
        file: an open file, which should take bytes, or give them.
        what: what is being done with it, for messages.
    """

    def __init__(self, file: Any, what: str) -> None:
        self._file = file
        self._what = what

    def write(self, line: bytes) -> None:
        """Write the whole line; a file without a buffer may take less than it is given."""
        while line:
            with self._error_boundary("written"):
                taken = self._file.write(line)
            if isinstance(self._file, RawIOBase) and not taken:
                raise InvalidValue(f"{self._what}: the file takes nothing now; open it so that writing to it waits")
            line = line[taken:] if isinstance(self._file, RawIOBase) else b""

    def flush(self) -> None:
        """Hand on what the file has kept, so that what cannot be written is known now."""
        with self._error_boundary("written"):
            getattr(self._file, "flush", bool)()

    def readline(self, longest: int) -> bytes:
        """The next line, or so many bytes of it; nothing at the end."""
        with self._error_boundary("read"):
            line = self._file.readline(longest)
        if not isinstance(line, bytes):
            raise InvalidValue(f"{self._what}: the file gives no bytes; open it in binary mode")
        return line

    @contextmanager
    def _error_boundary(self, done: str) -> Iterator[None]:
        try:
            yield
        except DispatchError:
            raise
        except UnsupportedOperation as error:
            raise InvalidValue(f"{self._what}: the file is not opened to be {done}") from error
        except TypeError as error:
            raise InvalidValue(f"{self._what}: bytes cannot be {done}; open the file in binary mode") from error
        except Exception as error:
            says = f"{self._what}: the file cannot be {done}: {str(error) or type(error).__name__}"
            if done == "written" and isinstance(error, OSError) and error.errno is not None:
                raise (StoreFull if error.errno in (errno.ENOSPC, errno.EDQUOT) else StoreError)(says) from error
            raise InvalidValue(says) from error


def _is_open_file(file: object) -> bool:
    return not isinstance(file, str | bytes | os.PathLike) and (hasattr(file, "write") or hasattr(file, "readline"))


def _line(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode() + b"\n"


def _rows(database: Database, model: Any) -> Iterator[Any]:
    """Every row by its key, read so many at once that they can be held."""
    key = model._meta.primary_key
    sized = ((key.python_value(held), size) for held, size in _sizes(database.kind, model))
    if isinstance(key, IdField) or model is TransitionLog:
        for keys in grouped(sized, PAGE):
            yield from _between(model)(keys[0], keys[-1])
    else:  # text sorts by the database's own rules; these tables are short
        for keys in grouped(sorted(sized), PAGE):
            yield from sorted(model.select().where(key.in_(keys)), key=lambda row: row._pk)


def _sizes(kind: str, model: Any) -> Iterator[tuple[Any, int]]:
    """The key of every row, as it is stored, and the bytes of its text."""
    page = _first(model, kind)()
    while page:
        yield from page
        page = _after(model, kind)(model._meta.primary_key.python_value(page[-1][0]))


@cache
def _first(model: Any, kind: str) -> Callable[[], list[Any]]:
    return tuples(lambda: _sized(model, kind))


@cache
def _after(model: Any, kind: str) -> Callable[[Any], list[Any]]:
    return tuples(lambda last: _sized(model, kind).where(model._meta.primary_key > last))


def _sized(model: Any, kind: str) -> Any:
    long = [field.column_name for field in model._meta.sorted_fields if isinstance(field, TextField | JsonField)]
    key = model._meta.primary_key
    return model.select(key, SQL(size_sql(long, kind))).order_by(key).limit(PAGE)


@cache
def _between(model: Any) -> Callable[[Any, Any], list[Any]]:
    key = model._meta.primary_key
    return rows(lambda first, last: model.select().where((key >= first) & (key <= last)).order_by(key))


def _plain(model: Any, row: Any) -> dict[str, Any]:
    return {field.column_name: _told(row.__data__.get(field.name)) for field in model._meta.sorted_fields}


def _told(value: Any) -> Any:
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, datetime):
        return values.stamp(value)
    return _alike(value) if isinstance(value, dict | list) else value


def _alike(value: Any) -> Any:
    """JSON as both databases give it: PostgreSQL knows no difference between 1 and 1.0."""
    if isinstance(value, dict):
        return {key: _alike(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_alike(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 1 << 63 else value


# ---- in ------------------------------------------------------------------------------------------------


def import_snapshot(database: Database, file: Target, progress: Progress | None = None) -> dict[str, int]:
    """Fill an empty store; see `Store.import_snapshot`."""
    check_progress(progress)
    with _read(file) as lines, suspended(database):
        if taken := [table for table, model in TABLES.items() if model.select().exists()]:
            raise StoreError(f"the store is not empty: it has {values.listed(taken)}; import into a new one")
        return _filled(database, enumerate(lines, 1), progress)


@contextmanager
def _read(file: Target) -> Iterator[Iterable[bytes]]:
    if _is_open_file(file):
        opened: AbstractContextManager[Any] = nullcontext(file)
    else:
        try:
            opened = Path(os.fsdecode(cast("str", file))).expanduser().open("rb")
        except (TypeError, ValueError, RuntimeError):
            raise InvalidValue("import_snapshot: takes the path of a file, or a file opened to read bytes") from None
        except OSError as error:
            name = values.shown(os.fsdecode(cast("str", file)))
            raise InvalidValue(f"import_snapshot: {name} cannot be read: {error.strerror}") from None
    with opened as lines:
        callers = _CallersFile(lines, "import_snapshot")
        yield iter(lambda: callers.readline(LONGEST + 1), b"")


def _filled(database: Database, lines: Iterator[tuple[int, bytes]], progress: Progress | None) -> dict[str, int]:
    _check_header(_parsed(*next(lines, (1, b""))))
    counts = dict.fromkeys(TABLES, 0)
    pointers: list[tuple[type[Row], Any, dict[str, Any]]] = []
    ended = False
    for batch in grouped(((line, len(line[1])) for line in lines), PAGE):
        waiting: dict[type[Row], list[dict[str, Any]]] = {}
        for number, line in batch:
            table, held = _parsed(number, line)
            if ended:
                raise InvalidValue(f"line {number}: stands behind the end")
            if table == "end":
                _check_end(number, held, counts)
                ended = True
                continue
            model, columns = _checked(number, table, held)
            counts[table] += 1
            later = {name: columns.pop(name) for name in _later(model) if columns[name] is not None}
            if later:
                pointers.append((model, columns["id"], later))
            waiting.setdefault(model, []).append({**dict.fromkeys(_later(model)), **columns})
        for model, together in waiting.items():
            _insert(database, model, together)
        if progress:
            progress(sum(counts.values()), 0)
    if not ended:
        raise InvalidValue("the file was cut: its last line, which says how many rows there are, is missing")
    for model, key, columns in pointers:
        update(model, columns, key)
    if numbering.is_wrong(database):
        numbering.put_right(database)
    return counts


def _parsed(number: int, line: bytes) -> tuple[str, Any]:
    found = json_values.parse_payload(line, f"line {number}", longest=LONGEST, deepest=DEEPEST)
    if not isinstance(found, dict) or not (len(found) == 1 or number == 1):
        raise InvalidValue(f"line {number}: takes a JSON object with a table's name")
    return ("format", found) if number == 1 else next(iter(found.items()))


def _check_header(parsed: tuple[str, Any]) -> None:
    header = parsed[1]
    if header.get("format") != FORMAT:
        raise InvalidValue("line 1: this is no snapshot of a store")
    if header.get("version") != VERSION:
        raise InvalidValue(f"line 1: takes version {VERSION} of the format; upgrade the library")


def _check_end(number: int, told: Any, counts: dict[str, int]) -> None:
    if told != counts:
        raise InvalidValue(f"line {number}: says that there are other rows than those above it")


def _checked(number: int, table: str, held: Any) -> tuple[type[Row], dict[str, Any]]:
    model: Any = TABLES.get(table)
    if model is None or not isinstance(held, dict):
        raise InvalidValue(f"line {number}: {values.shown(table)} is no table with columns")
    fields = {field.column_name: field for field in model._meta.sorted_fields}
    if wrong := sorted(fields.keys() ^ held.keys()):
        raise InvalidValue(f"line {number}: {table} lacks, or does not know, {values.listed(map(values.shown, wrong))}")
    if model is Agent:
        held = {**held, "metrics": _renamed(held["metrics"])}
    try:
        return model, {field.name: _meant(field, held[name]) for name, field in fields.items()}
    except InvalidValue as error:
        raise InvalidValue(f"line {number}: {error}") from None


def _renamed(metrics: Any) -> Any:
    """An agent's metrics with the names they have now; see migration 009."""
    if not isinstance(metrics, dict) or FORMER_MEAN_TIME not in metrics:
        return metrics
    others = {name: value for name, value in metrics.items() if name != FORMER_MEAN_TIME}
    return {MEAN_TIME: metrics[FORMER_MEAN_TIME], **others}


def _meant(field: Any, value: Any) -> Any:
    place = f"{field.model._meta.table_name}.{field.column_name}"
    if isinstance(field, JsonField):
        return _meant_json(field, value, place)
    if not hasattr(field, "check"):
        return _number(value, place)
    if isinstance(field, StampField) and isinstance(value, str):
        try:
            value = values.parse_instant(value)
        except (ValueError, OverflowError):
            raise InvalidValue(f"{place}: not a moment in ISO 8601") from None
    return field.check(value)


def _number(value: Any, place: str) -> int:
    """The number of a move."""
    number = values.positive(value, place)
    if number > numbering.LAST:
        raise InvalidValue(f"{place}: a move's number is at most 2**53")
    return number


def _meant_json(field: JsonField, value: Any, place: str) -> Any:
    """What the library itself gathers may be longer than what it takes from others."""
    if value is None:
        return field.check(None)
    json_values.json_text(value, place, longest=None)
    field.check_shape(value)
    return value


@cache
def _later(model: type[Row]) -> tuple[str, ...]:
    """The keys to rows that come later in the file; they are set when all are there."""
    keys = [key for key in model._meta.refs if isinstance(key, ParentField)]
    return tuple(key.name for key in keys if ORDER.index(cast("Any", key.rel_model)) > ORDER.index(model))


def _insert(database: Database, model: type[Row], together: list[dict[str, Any]]) -> None:
    sql, bound = insert_statement(model, tuple(together[0])).prepared(database.kind)
    database.cursor().executemany(sql, [bound(*columns.values()) for columns in together])
