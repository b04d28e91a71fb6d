"""Marshmallow schemas that load rows from plain data and dump them to it; one for each table.

    IssueSchema().load({"title": "…", "prompt": "…", "issue_type": "bug", "repo_path": "/src"}).save()
    IssueSchema().load({"priority": "high"}, instance=issue).save()
    IssueSchema().dump(issue)                   # ready for JSON: ids and times as text
    IssueSchema(many=True).dump(Issue.by_status("queued"))

Columns have the names that they have in the database (`epic_id`). The schemas are derived from the models, so a new
column, or a new word of a vocabulary, needs no change here. Only this module imports `marshmallow`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import UUID

import marshmallow
from marshmallow import fields

from dispatch_state import json_values, values
from dispatch_state.errors import InvalidValue
from dispatch_state.models.agent import Agent
from dispatch_state.models.agent_log import AgentLog
from dispatch_state.models.base import Stateful
from dispatch_state.models.decision import Decision
from dispatch_state.models.epic import Epic
from dispatch_state.models.gate import Gate, GateComment
from dispatch_state.models.issue import Issue
from dispatch_state.models.keys import ParentField
from dispatch_state.models.log import TransitionLog
from dispatch_state.models.proposal import Proposal
from dispatch_state.models.pull_request import PullRequest
from dispatch_state.models.row import Row
from dispatch_state.models.settings import ConfigEntry, SyncState
from dispatch_state.models.stage import Stage
from dispatch_state.models.tables import EVERY
from dispatch_state.models.vote import Vote
from dispatch_state.storage.fields import IdField, JsonField, StampField
from dispatch_state.values import listed

LONGEST = 8 * 1024 * 1024
"""The longest JSON text that `loads` reads, in bytes."""
DUMPED_ONLY = (Decision, TransitionLog)
"""The models whose rows only the library writes: they are dumped, never loaded."""


class InvalidPayload(InvalidValue, marshmallow.ValidationError):
    """A schema refused a payload.

    messages: what is wrong, by column; with many payloads, by position and column, as in marshmallow.
    """

    messages: dict[Any, Any]

    def __init__(self, schema: str, error: marshmallow.ValidationError) -> None:
        marshmallow.ValidationError.__init__(self, error.messages, data=error.data, valid_data=error.valid_data)
        self.args = (f"{schema}: {_in_one_line(self.messages)}",)

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickled, (self.args, vars(self))


def _unpickled(args: tuple[Any, ...], state: dict[str, Any]) -> InvalidPayload:
    error = InvalidPayload.__new__(InvalidPayload)
    error.args = args
    vars(error).update(state)
    return error


def _in_one_line(messages: Any) -> str:
    """Join messages into a line: `title: must not be blank; priority: …`."""
    if isinstance(messages, Mapping):
        return "; ".join(f"{key}: {_in_one_line(inner)}" for key, inner in messages.items())
    return ", ".join(map(str, messages)) if isinstance(messages, list) else str(messages)


# ---- columns -------------------------------------------------------------------------------------------


class Column(fields.Field[Any]):
    """A column of a model: it loads what the column's own check accepts, and dumps plain data."""

    def __init__(self, column: Any, **options: Any) -> None:
        super().__init__(attribute=column.name, data_key=column.column_name, allow_none=column.null, **options)
        self.column = column

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> Any:
        try:
            return self.column.check(self.meant(value))
        except InvalidValue as error:
            raise marshmallow.ValidationError(str(error).removeprefix(f"{self.column.place}: ")) from None

    def meant(self, value: Any) -> Any:
        """Convert a value of a payload to what the column's check takes."""
        return value


class PlainColumn(Column):
    """Text, a word, a number or a boolean, which is dumped as it is."""

    def _serialize(self, value: Any, attr: str | None, obj: Any, **options: Any) -> Any:
        return value


class WordColumn(Column):
    """A word of a vocabulary, dumped as text."""

    def _serialize(self, value: Any, attr: str | None, obj: Any, **options: Any) -> Any:
        return None if value is None else str(value)


class IdColumn(Column):
    """A UUID, dumped as text with dashes."""

    def _serialize(self, value: Any, attr: str | None, obj: Any, **options: Any) -> Any:
        return None if value is None else str(value)

    def meant(self, value: Any) -> Any:
        if isinstance(value, str) and not (len(value) == 36 and value[8] == value[13] == value[18] == value[23] == "-"):
            raise InvalidValue("not a UUID with its dashes")
        if not isinstance(value, str | UUID):
            raise InvalidValue("takes a UUID as text")
        return value


class StampColumn(Column):
    """A time, as ISO 8601 text with an offset; it is dumped in UTC."""

    def _serialize(self, value: Any, attr: str | None, obj: Any, **options: Any) -> Any:
        return None if value is None else values.stamp(value)

    def meant(self, value: Any) -> Any:
        if isinstance(value, str):
            try:
                return datetime.fromisoformat(value)
            except ValueError:
                raise InvalidValue("not a time in ISO 8601 with an offset") from None
        return value


class JsonColumn(Column):
    """JSON of the column's shape; a copy is dumped."""

    def _serialize(self, value: Any, attr: str | None, obj: Any, **options: Any) -> Any:
        return _copied(value)


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value


def _column(field: Any, **options: Any) -> Column:
    if isinstance(field, IdField | ParentField):
        return IdColumn(field, **options)
    if isinstance(field, StampField):
        return StampColumn(field, **options)
    if isinstance(field, JsonField):
        return JsonColumn(field, **options)
    return WordColumn(field, **options) if hasattr(field, "words") else PlainColumn(field, **options)


# ---- schemas -------------------------------------------------------------------------------------------


class RowSchema(marshmallow.Schema):
    """The base of all schemas; `schema_for` makes them.

    model: the model whose rows it loads and dumps.
    """

    model: ClassVar[type[Row]]

    if TYPE_CHECKING:

        def dump(self, obj: Any, *, many: bool | None = None) -> Any: ...

    def load(
        self,
        data: Any,
        *,
        many: bool | None = None,
        partial: Any = None,
        unknown: Any = None,
        instance: Row | None = None,
    ) -> Any:
        """Load plain data as unsaved rows.

        `save()` the rows. Rows that have no `save()` are written by a method, to which you pass their columns.

        Args:
            data: columns by name, or a list of such payloads.
            many: whether `data` is a list; None for what the schema was made with.
            partial: True returns the checked columns as a dict, not as a row; columns may be missing.
            unknown: marshmallow's RAISE or EXCLUDE, for columns that do not exist; None for what the schema was made
                with, by default RAISE. INCLUDE is always refused, because it would set unchecked attributes.
            instance: a row to set the columns on; it is returned unsaved.

        Raises:
            InvalidPayload: a column does not exist, is missing, has a wrong value or must not be set; or an argument is
                wrong.
        """
        self._check_call(many, unknown, instance)
        updating = partial is True or instance is not None
        checked = super().load(data, many=many, partial=True if updating else partial, unknown=unknown)
        if updating:
            for changes in checked if isinstance(checked, list) else [checked]:
                self._refuse_guarded(changes)
        if instance is not None:
            return self._set(instance, checked)
        if updating:
            return checked
        return [self._made(one) for one in checked] if isinstance(checked, list) else self._made(checked)

    def _check_call(self, many: bool | None, unknown: Any, instance: Row | None) -> None:
        """Raise `InvalidPayload` for arguments of `load` that this schema does not take."""
        if self.model in DUMPED_ONLY:
            alone = f"{self.model.__name__} rows are written by {self.model.written_by} alone"
            raise self._refused({"_schema": [alone]})
        if instance is not None and not isinstance(instance, self.model):
            raise self._refused({"_schema": [f"instance: takes a {self.model.__name__} row"]})
        if instance is not None and (self.many if many is None else many):
            raise self._refused({"_schema": ["instance: takes one payload, not many"]})
        if (self.unknown if unknown is None else unknown) not in (marshmallow.RAISE, marshmallow.EXCLUDE):
            raise self._refused(
                {"_schema": ["unknown: takes RAISE or EXCLUDE; INCLUDE would set unchecked attributes"]}
            )

    def loads(self, json_data: Any, /, **options: Any) -> Any:
        """Load JSON text.

        Args:
            json_data: text of at most 8 MiB, without repeated keys and NaN.
            options: the arguments of `load`.

        Raises:
            InvalidPayload: the text is not JSON or breaks these limits, or `load` refuses it.
        """
        try:
            data = json_values.parse_payload(json_data, "payload", longest=LONGEST)
        except InvalidValue as error:
            raise self._refused({"_schema": [str(error)]}) from None
        return self.load(data, **options)

    def handle_error(self, error: marshmallow.ValidationError, data: Any, **options: Any) -> None:
        """Raise `InvalidPayload`, which is a `marshmallow.ValidationError` too."""
        raise InvalidPayload(type(self).__name__, error) from None

    def get_attribute(self, obj: Any, attr: str, default: Any) -> Any:
        """Read a column of a row object; a column that was not read from the database is left out."""
        return obj.__data__.get(attr, default)

    def _refused(self, messages: dict[str, Any]) -> InvalidPayload:
        return InvalidPayload(type(self).__name__, marshmallow.ValidationError(messages))

    def _made(self, columns: dict[str, Any]) -> Row:
        row = self.model(**columns)
        if isinstance(row, Stateful):
            self._require_fitting(row)
        return row

    def _require_fitting(self, row: Stateful) -> None:
        """Raise `InvalidPayload` when the model does not accept the columns together."""
        try:
            row.check_columns()
        except InvalidValue as error:
            raise self._refused({"_schema": [str(error)]}) from None

    def _refuse_guarded(self, columns: dict[str, Any]) -> None:
        """Raise `InvalidPayload` for columns that `save` would refuse to change, such as an id or a parent."""
        guarded = self.model.protected_columns() if issubclass(self.model, Stateful) else frozenset({"id", "key"})
        if refused := sorted(columns.keys() & guarded):
            known = self.model._meta.fields
            raise self._refused({known[name].column_name: ["never changes by an update"] for name in refused})

    def _set(self, row: Row, columns: dict[str, Any]) -> Row:
        for name, value in columns.items():
            setattr(row, name, value)
        return row


def schema_for(model: type[Row]) -> type[RowSchema]:
    """Return the schema class of a model, the same one at each call.

    Args:
        model: a model of this library.

    Raises:
        InvalidValue: it is another class.
    """
    if not isinstance(model, type) or model not in EVERY:
        raise InvalidValue(f"schema_for: takes one of {listed(sorted(m.__name__ for m in EVERY))}")
    return _schema_for(model)


@cache
def _schema_for(model: type[Row]) -> type[RowSchema]:
    columns = {field.name: _column(field, **_options(model, field)) for field in model._meta.sorted_fields}
    name = f"{model.__name__}Schema"
    about = f"Rows of {model._meta.table_name} as plain data."
    members = {"model": model, "__doc__": about, "__module__": __name__, **columns}
    return type(name, (RowSchema,), members)


def _options(model: type[Row], field: Any) -> dict[str, Any]:
    """The options of a column: whether it is loaded, and whether it is required."""
    if field.name not in loaded(model):
        return {"dump_only": True}
    filled_in = issubclass(model, Stateful) and field.name in model.filled_at_creation
    needed = not (field.null or field.default is not None or filled_in)
    return {"required": needed}


@cache
def loaded(model: type[Row]) -> frozenset[str]:
    """The columns that a payload may set: all but the status, the version, times of changes and owned columns."""
    if model in DUMPED_ONLY:
        return frozenset()
    if issubclass(model, Stateful):
        return model.set_at_creation() - {"status"}
    stamps = {field.name for field in model._meta.sorted_fields if isinstance(field, StampField)}
    return frozenset(model._meta.fields) - stamps


AgentSchema = schema_for(Agent)
AgentLogSchema = schema_for(AgentLog)
ConfigEntrySchema = schema_for(ConfigEntry)
DecisionSchema = schema_for(Decision)
EpicSchema = schema_for(Epic)
GateSchema = schema_for(Gate)
GateCommentSchema = schema_for(GateComment)
IssueSchema = schema_for(Issue)
ProposalSchema = schema_for(Proposal)
PullRequestSchema = schema_for(PullRequest)
StageSchema = schema_for(Stage)
SyncStateSchema = schema_for(SyncState)
TransitionLogSchema = schema_for(TransitionLog)
VoteSchema = schema_for(Vote)
