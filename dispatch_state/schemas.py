"""Rows in and out as plain data, through marshmallow: one schema for each table, derived from its model.

    IssueSchema().load({"title": "…", "prompt": "…", "issue_type": "bug", "repo_path": "/src"}).save()
    IssueSchema().load({"priority": "high"}, instance=issue).save()
    IssueSchema().dump(issue)                   # JSON-ready: ids and times as text, words as their values
    IssueSchema(many=True).dump(Issue.by_status("queued"))

Columns go by the names they have in the database (`epic_id`). Every rule is the column's own: a new column, or a new
word, appears here by itself. `marshmallow` is imported here alone, and only by who imports this module.
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
"""Bytes of JSON text that `loads` reads at most."""
MADE_ELSEWHERE = (Decision, TransitionLog)
"""What only the library writes: these rows are dumped, and never loaded."""


class InvalidPayload(InvalidValue, marshmallow.ValidationError):
    """A payload that a schema refuses.

    messages: what is wrong, by column; by position first where there are many, as marshmallow keeps it.
    """

    messages: dict[Any, Any]

    def __init__(self, schema: str, error: marshmallow.ValidationError) -> None:
        marshmallow.ValidationError.__init__(self, error.messages, data=error.data, valid_data=error.valid_data)
        self.args = (f"{schema}: {_said(self.messages)}",)

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickled, (self.args, vars(self))


def _unpickled(args: tuple[Any, ...], state: dict[str, Any]) -> InvalidPayload:
    error = InvalidPayload.__new__(InvalidPayload)
    error.args = args
    vars(error).update(state)
    return error


def _said(messages: Any) -> str:
    """Messages as one line: `title: must not be blank; priority: …`."""
    if isinstance(messages, Mapping):
        return "; ".join(f"{key}: {_said(inner)}" for key, inner in messages.items())
    return ", ".join(map(str, messages)) if isinstance(messages, list) else str(messages)


# ---- columns -------------------------------------------------------------------------------------------


class Column(fields.Field[Any]):
    """A column of a model: checked by its own rules on the way in, plain data on the way out."""

    def __init__(self, column: Any, **options: Any) -> None:
        super().__init__(attribute=column.name, data_key=column.column_name, allow_none=column.null, **options)
        self.column = column

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> Any:
        try:
            return self.column.check(self.meant(value))
        except InvalidValue as error:
            raise marshmallow.ValidationError(str(error).removeprefix(f"{self.column.place}: ")) from None

    def meant(self, value: Any) -> Any:
        """What a value of a payload stands for; a column's own check says whether it takes that."""
        return value


class PlainColumn(Column):
    """Text, a word, a number or a boolean, which plain data has alike."""

    def _serialize(self, value: Any, attr: str | None, obj: Any, **options: Any) -> Any:
        return value


class WordColumn(Column):
    """A word of an enumeration, by its value."""

    def _serialize(self, value: Any, attr: str | None, obj: Any, **options: Any) -> Any:
        return None if value is None else str(value)


class IdColumn(Column):
    """A UUID, as dashed text."""

    def _serialize(self, value: Any, attr: str | None, obj: Any, **options: Any) -> Any:
        return None if value is None else str(value)

    def meant(self, value: Any) -> Any:
        if isinstance(value, str) and not (len(value) == 36 and value[8] == value[13] == value[18] == value[23] == "-"):
            raise InvalidValue("not a UUID with its dashes")
        if not isinstance(value, str | UUID):
            raise InvalidValue("takes a UUID as text")
        return value


class StampColumn(Column):
    """A moment, as ISO 8601 text with its offset; in UTC on the way out."""

    def _serialize(self, value: Any, attr: str | None, obj: Any, **options: Any) -> Any:
        return None if value is None else values.stamp(value)

    def meant(self, value: Any) -> Any:
        if isinstance(value, str):
            try:
                return datetime.fromisoformat(value)
            except ValueError:
                raise InvalidValue("not a moment in ISO 8601 with its offset") from None
        return value


class JsonColumn(Column):
    """JSON of the column's shape; what is dumped is a copy."""

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
    """The schema of one model; `schema_for` makes them.

    model: whose rows it takes and gives.
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
        """Rows of plain data, unsaved; `save()` them, or hand what they hold to the method that writes such rows.

        Args:
            data: columns by name; a list of such where there are many.
            many: whether there are many; the schema's own `many` when None.
            partial: True gives the checked columns as a dict in place of a row, and misses none.
            unknown: marshmallow's RAISE or EXCLUDE; the schema's own when None, by which unknown columns are errors.
                INCLUDE is refused, here and as the schema's own: it would set attributes that nobody checked.
            instance: a row whose columns are set in place of making one; it is returned, unsaved.

        Raises:
            InvalidPayload: a column is unknown, missing, wrong, or none that such a payload may set; or an argument is
                wrong.
        """
        if self.model in MADE_ELSEWHERE:
            alone = f"{self.model.__name__} rows are written by {self.model.written_by} alone"
            raise self._refused({"_schema": [alone]})
        if instance is not None and not isinstance(instance, self.model):
            raise self._refused({"_schema": [f"instance: takes a {self.model.__name__} row"]})
        if instance is not None and (self.many if many is None else many):
            raise self._refused({"_schema": ["instance: takes the payload of one row, not many"]})
        if (self.unknown if unknown is None else unknown) not in (marshmallow.RAISE, marshmallow.EXCLUDE):
            raise self._refused({"_schema": ["unknown: takes RAISE or EXCLUDE; columns that nobody knows are not set"]})
        updating = partial is True or instance is not None
        checked = super().load(data, many=many, partial=True if updating else partial, unknown=unknown)
        if updating:
            for changes in checked if isinstance(checked, list) else [checked]:
                self._refuse_guarded(changes)
        if instance is not None:
            return self._set(instance, checked)
        if updating:
            return checked
        return [self._born(one) for one in checked] if isinstance(checked, list) else self._born(checked)

    def loads(self, json_data: Any, /, **options: Any) -> Any:
        """As `load`, from JSON text of at most 8 MiB, in which no key stands twice and no number is NaN.

        Raises:
            InvalidPayload: it is no such text, or `load` refuses it.
        """
        try:
            data = json_values.parse_payload(json_data, "payload", longest=LONGEST)
        except InvalidValue as error:
            raise self._refused({"_schema": [str(error)]}) from None
        return self.load(data, **options)

    def handle_error(self, error: marshmallow.ValidationError, data: Any, **options: Any) -> None:
        """Raise what marshmallow found as an error of ours, which is one of its own too."""
        raise InvalidPayload(type(self).__name__, error) from None

    def get_attribute(self, obj: Any, attr: str, default: Any) -> Any:
        """What a row object holds of a column; a column that was not read is left out."""
        return obj.__data__.get(attr, default)

    def _refused(self, messages: dict[str, Any]) -> InvalidPayload:
        return InvalidPayload(type(self).__name__, marshmallow.ValidationError(messages))

    def _born(self, columns: dict[str, Any]) -> Row:
        row = self.model(**columns)
        if isinstance(row, Stateful):
            self._fits(row, columns)
        return row

    def _fits(self, row: Stateful, columns: dict[str, Any]) -> None:
        """What the model says of columns that do not fit each other."""
        try:
            row.check_columns()
        except InvalidValue as error:
            raise self._refused({"_schema": [str(error)]}) from None

    def _refuse_guarded(self, columns: dict[str, Any]) -> None:
        """No update sets what `save` would refuse: an id, a row's parents."""
        guarded = self.model.protected_columns() if issubclass(self.model, Stateful) else frozenset({"id", "key"})
        if refused := sorted(columns.keys() & guarded):
            known = self.model._meta.fields
            raise self._refused({known[name].column_name: ["never changes by an update"] for name in refused})

    def _set(self, row: Row, columns: dict[str, Any]) -> Row:
        for name, value in columns.items():
            setattr(row, name, value)
        return row


def schema_for(model: type[Row]) -> type[RowSchema]:
    """The schema of a model: the same class whenever it is asked.

    Raises:
        InvalidValue: it is no model of this library.
    """
    if not isinstance(model, type) or model not in EVERY:
        raise InvalidValue(f"schema_for: takes one of {listed(sorted(m.__name__ for m in EVERY))}")
    return _schema_for(model)


@cache
def _schema_for(model: type[Row]) -> type[RowSchema]:
    columns = {field.name: _column(field, **_ways(model, field)) for field in model._meta.sorted_fields}
    name = f"{model.__name__}Schema"
    about = f"Rows of {model._meta.table_name} as plain data."
    members = {"model": model, "__doc__": about, "__module__": __name__, **columns}
    return type(name, (RowSchema,), members)


def _ways(model: type[Row], field: Any) -> dict[str, Any]:
    """Whether a column is loaded, and whether it must be there."""
    if field.name not in loaded(model):
        return {"dump_only": True}
    open_to_birth = issubclass(model, Stateful) and field.name in model.filled_at_creation
    needed = not (field.null or field.default is not None or open_to_birth)
    return {"required": needed}


@cache
def loaded(model: type[Row]) -> frozenset[str]:
    """The columns that a payload may set: no status, no version, no stamp, none that a transition owns."""
    if model in MADE_ELSEWHERE:
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
