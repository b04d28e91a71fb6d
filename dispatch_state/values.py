"""Clocks, and the checks that keep a value alike on both databases.

SQLite stores almost anything; PostgreSQL refuses NUL, lone surrogates and numbers out of range.
Everything is checked to the stricter of the two, before SQL, so that a value either comes back
exactly as it went in or is refused with `InvalidValue`. Messages name the place and what is
allowed there; they never repeat a long value.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from dispatch_state.errors import InvalidValue
from dispatch_state.ids import uuid_text

MAX_TEXT = 1_000_000
"""Longest text a column takes, in characters."""
NO_MESSAGE = "(no message)"
"""What is stored for a blank text that a machine wrote."""
MAX_INDEXED = 2500
"""Longest text that a column with an index takes, in bytes of UTF-8; PostgreSQL's index holds little more."""
MAX_JSON = 1 << 20
"""Longest JSON text a column takes, in bytes of UTF-8."""
MAX_DEPTH = 32
"""Deepest nesting of lists and objects a JSON column takes."""
LONGEST_WORD = 40
"""Characters up to which a message repeats a word that was given."""
INTEGER_RANGE = range(-(1 << 63), 1 << 63)

Clock = Callable[[], datetime]
Progress = Callable[[int, int], object]
"""Called now and then with how much is done, and of how much; the latter is 0 where nobody knows."""


def check_progress(progress: object) -> None:
    """Raise `InvalidValue` for what is neither a `Progress` nor None."""
    if progress is not None and not callable(progress):
        raise InvalidValue("progress: takes a callable of two numbers, or None")


# ---- ids ----------------------------------------------------------------------------------------


def uuid(value: object, place: str) -> UUID:
    """`value` as a UUID, from a UUID or its text; raises `InvalidValue` otherwise."""
    if isinstance(value, UUID):
        return value
    if isinstance(value, str):
        try:
            return UUID(value)
        except ValueError:
            raise InvalidValue(f"{place}: not a UUID") from None
    raise InvalidValue(f"{place}: takes a UUID, not {_kind(value)}")


# ---- time ---------------------------------------------------------------------------------------


def utc_now() -> datetime:
    """The present moment, aware, in UTC: the clock of a store that was given none."""
    return datetime.now(UTC)


def instant(value: object, place: str) -> datetime:
    """`value` as an aware UTC datetime; a naive one is refused with `InvalidValue`."""
    if not isinstance(value, datetime):
        raise InvalidValue(f"{place}: takes an aware datetime, not {_kind(value)}")
    if value.tzinfo is UTC:
        return value
    try:
        if value.utcoffset() is None:
            raise InvalidValue(f"{place}: the datetime is naive; give it a time zone, such as datetime.UTC")
        return value.astimezone(UTC)
    except (OverflowError, ValueError) as error:
        if isinstance(error, InvalidValue):
            raise
        raise InvalidValue(f"{place}: the datetime is out of range in UTC") from None


class _Last:
    """The moment that was stamped last, which mostly is the next one too."""

    stamp: tuple[datetime | None, str] = None, ""


def stamp(value: datetime) -> str:
    """The stored text of an aware datetime: fixed width, UTC, so that text order is time order."""
    moment, text = _Last.stamp
    if moment is not value:
        text = (value if value.tzinfo is UTC else value.astimezone(UTC)).isoformat("T", "microseconds")
        _Last.stamp = value, text
    return text


def parse_instant(text: str) -> datetime:
    """The aware UTC datetime that an ISO 8601 text means; a text without offset is read as UTC."""
    value = datetime.fromisoformat(text)
    if value.tzinfo is UTC:
        return value
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def seconds(value: object, place: str) -> timedelta:
    """A positive, finite number of seconds as a timedelta; raises `InvalidValue` otherwise."""
    amount = number(value, place)
    try:
        if amount > 0:
            return timedelta(seconds=amount)
    except OverflowError:
        pass
    raise InvalidValue(f"{place}: takes a positive number of seconds that a clock can count")


def earlier(moment: datetime, amount: timedelta) -> datetime:
    """A moment so much earlier, or the earliest there is."""
    try:
        return moment - amount
    except OverflowError:
        return datetime.min.replace(tzinfo=UTC)


def later(moment: datetime, amount: timedelta) -> datetime:
    """A moment so much later, or the latest there is."""
    try:
        return moment + amount
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)


# ---- text and numbers ---------------------------------------------------------------------------


def text(value: object, place: str) -> str:
    """`value` as text that both databases store: no NUL, no lone surrogate, at most `MAX_TEXT` characters."""
    if not isinstance(value, str):
        raise InvalidValue(f"{place}: takes text, not {_kind(value)}")
    if len(value) > MAX_TEXT:
        raise InvalidValue(f"{place}: {len(value):,} characters; at most {MAX_TEXT:,} are allowed")
    if "\0" in value:
        raise InvalidValue(f"{place}: contains a NUL character")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise InvalidValue(f"{place}: contains a lone surrogate, which is no character") from None
    return str.__str__(value)  # an Enum that is text too would print its name


def words(value: object, place: str) -> str:
    """Text that says something: as `text`, and not blank."""
    checked = text(value, place)
    if not checked.strip():
        raise InvalidValue(f"{place}: must not be blank")
    return checked


def storable(value: object, place: str) -> str:
    """Text that a machine wrote, made such that it can be stored: what failed is always recorded.

    NUL and lone surrogates become U+FFFD, more than `MAX_TEXT` characters are cut with a mark, and blank text
    becomes `NO_MESSAGE`. Raises `InvalidValue` for what is not text.
    """
    if not isinstance(value, str):
        raise InvalidValue(f"{place}: takes text, not {_kind(value)}")
    told = str.__str__(value)
    if len(told) > MAX_TEXT:
        mark = f" … (cut; it had {len(told):,} characters)"
        told = told[: MAX_TEXT - len(mark)] + mark
    told = told.replace("\0", "\ufffd")
    if not told.isascii():
        told = told.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return told if told.strip() else NO_MESSAGE


def indexed(value: object, place: str) -> str:
    """Text for a column with an index: as `text`, and at most `MAX_INDEXED` bytes long."""
    checked = text(value, place)
    if len(checked.encode()) > MAX_INDEXED:
        raise InvalidValue(f"{place}: takes at most {MAX_INDEXED:,} bytes of UTF-8")
    return checked


def key(value: object, place: str) -> str:
    """Text by which a row is found: not blank, and short enough for an index."""
    return indexed(words(value, place), place)


def integer(value: object, place: str, *, bits: int = 64) -> int:
    """`value` as a signed integer of so many bits; a bool or a float is refused."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidValue(f"{place}: takes an integer, not {_kind(value)}")
    if not -(1 << bits - 1) <= value < 1 << bits - 1:
        raise InvalidValue(f"{place}: the integer does not fit into {bits} bits")
    return int(value)


def positive(value: object, place: str) -> int:
    """`value` as an integer of at least 1."""
    checked = integer(value, place)
    if checked < 1:
        raise InvalidValue(f"{place}: takes an integer of at least 1")
    return checked


def number(value: object, place: str) -> float:
    """`value` as a finite float."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidValue(f"{place}: takes a number, not {_kind(value)}")
    try:
        if math.isfinite(checked := float(value)):
            return checked
    except OverflowError:
        pass
    raise InvalidValue(f"{place}: takes a finite number")


def boolean(value: object, place: str) -> bool:
    """`value`, which must be True or False."""
    if not isinstance(value, bool):
        raise InvalidValue(f"{place}: takes True or False, not {_kind(value)}")
    return value


# ---- JSON ---------------------------------------------------------------------------------------


def json_text(value: object, place: str, *, longest: int | None = MAX_JSON) -> str:
    """The JSON text of `value`, checked; raises `InvalidValue` for what is not plain JSON, or is too long."""
    _check_json(value, place, MAX_DEPTH)
    encoded = stored_json(value)
    if longest is not None and len(encoded.encode()) > longest:
        raise InvalidValue(f"{place}: the JSON is longer than {longest:,} bytes")
    return encoded


def stored_json(value: object) -> str:
    """The JSON text of what is known to be plain JSON.

    Keys keep their order and characters stay as they are, so that what is read back equals what was given.
    """
    return _STORING.encode(value)


def parse_json(encoded: str | bytes) -> Any:
    """What a stored JSON text means.

    PostgreSQL writes a float such as 1e23 back as a whole number; integers beyond 64 bits are
    never stored, so one read back was a float.
    """
    if isinstance(encoded, bytes):
        encoded = encoded.decode()
    decoder = _WITH_LONG if _LONG.search(encoded) else _STORED
    if encoded[:1].isspace():
        return decoder.decode(encoded)
    value, end = decoder.raw_decode(encoded)
    return value if end == len(encoded) else decoder.decode(encoded)


def parse_payload(encoded: object, place: str, *, longest: int, deepest: int = MAX_DEPTH) -> Any:
    """What a JSON text from outside means.

    Raises:
        InvalidValue: it is no JSON text, longer than so many bytes, nested deeper than that, has a key twice, or a
            number that is none (NaN) or that no column holds.
    """
    if not isinstance(encoded, str | bytes | bytearray):
        raise InvalidValue(f"{place}: takes JSON text, not {_kind(encoded)}")
    if len(encoded) > longest:
        raise InvalidValue(f"{place}: the JSON is longer than {longest:,} bytes")

    def number_of(digits: str) -> int:
        if len(digits) > 20 or (found := int(digits)) not in INTEGER_RANGE:
            raise InvalidValue(f"{place}: an integer beyond 64 bits")
        return found

    def refuse_constant(name: str) -> None:
        raise InvalidValue(f"{place}: {name} is not JSON")

    def without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(found := dict(pairs)) < len(pairs):
            refuse_repeats((key for key, _ in pairs), place)
        return found

    try:
        decoded = encoded if isinstance(encoded, str) else encoded.decode()
        if _nests_deeper(decoded, deepest):
            raise InvalidValue(f"{place}: JSON nested deeper than {deepest}")
        return json.loads(
            decoded,
            parse_int=number_of if _LONG.search(decoded) else None,
            parse_constant=refuse_constant,
            object_pairs_hook=without_repeats,
        )
    except InvalidValue:
        raise
    except ValueError as error:
        raise InvalidValue(f"{place}: no JSON: {str(error)[:100]}") from None


_STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
"""A JSON string, or the rest of the text when it is never closed: no character is looked at twice."""
_ROUND = bytes.maketrans(b"{}", b"[]")
_NO_BRACKET = bytes(sorted(set(range(256)) - set(b"[]{}")))


def _nests_deeper(encoded: str, deepest: int) -> bool:
    """Whether brackets nest deeper than that in a JSON text, found without parsing it.

    Taking away each pair with nothing between makes the text one level shallower.
    """
    brackets = _STRING.sub("", encoded).encode(errors="replace").translate(_ROUND, _NO_BRACKET)
    for _ in range(deepest):
        if b"[]" not in brackets:
            break
        brackets = brackets.replace(b"[]", b"")
    return b"[]" in brackets or brackets.count(b"[") > deepest


def _integer_or_float(digits: str) -> int | float:
    return value if len(digits) <= 20 and (value := int(digits)) in INTEGER_RANGE else float(digits)


_LONG = re.compile(r"[0-9]{19}(?<![0-9.][0-9]{19})")  # a digit comes first, which is searched for three times faster
_STORED = json.JSONDecoder()
_WITH_LONG = json.JSONDecoder(parse_int=_integer_or_float)
_STORING = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _check_json(value: object, place: str, depth: int) -> None:
    if value is None or isinstance(value, bool):
        return
    if isinstance(value, str):
        text(value, place)
    elif isinstance(value, int):
        integer(value, place)
    elif isinstance(value, float):
        number(value, place)
    elif isinstance(value, list | dict):
        if not depth:
            raise InvalidValue(f"{place}: JSON nested deeper than {MAX_DEPTH}")
        _check_json_items(value, place, depth - 1)
    else:
        raise InvalidValue(f"{place}: {_kind(value)} is not JSON")


def _check_json_items(value: list[Any] | dict[Any, Any], place: str, depth: int) -> None:
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise InvalidValue(f"{place}: a JSON object's keys are text, not {_kind(key)}")
            text(key, place)
    for item in value.values() if isinstance(value, dict) else value:
        _check_json(item, place, depth)


def any_json(value: object, place: str) -> None:
    """A shape: any JSON."""


def json_object(value: object, place: str) -> None:
    """A shape: a JSON object."""
    if not isinstance(value, dict):
        raise InvalidValue(f"{place}: takes a JSON object (a dict), not {_kind(value)}")


def list_of_text(value: object, place: str) -> None:
    """A shape: a list of texts."""
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise InvalidValue(f"{place}: takes a list of texts")


def list_of_objects(value: object, place: str) -> None:
    """A shape: a list of JSON objects or texts."""
    if not isinstance(value, list) or not all(isinstance(item, str | dict) for item in value):
        raise InvalidValue(f"{place}: takes a list of texts or objects")


def names(value: object, place: str) -> tuple[str, ...]:
    """The names in a list of options, each given as text or as an object with an `id`.

    Raises `InvalidValue` for an empty list, a blank name, or one that is repeated.
    """
    list_of_objects(value, place)
    assert isinstance(value, list)
    found = tuple(words(item if isinstance(item, str) else item.get("id"), place) for item in value)
    refuse_repeats(found, place)
    if not found:
        raise InvalidValue(f"{place}: takes at least one")
    return found


def refuse_repeats(items: Iterable[str], place: str) -> None:
    """Raise `InvalidValue` when an item stands twice."""
    seen: set[str] = set()
    for item in items:
        if item in seen:
            raise InvalidValue(f"{place}: {shown(item)} is repeated")
        seen.add(item)


def shown(word: object) -> str:
    """A short word in quotes, for a message; what is long or no text is only named."""
    return f'"{word}"' if isinstance(word, str) and len(word) <= LONGEST_WORD and word.isprintable() else _kind(word)


def closest(word: object, known: Iterable[str]) -> str:
    """The end of a message about an unknown word: which known one was probably meant, if any."""
    import difflib  # only here, where something was misspelt

    close = difflib.get_close_matches(str(word), [*known], n=1) if len(str(word)) <= LONGEST_WORD else []
    return f"; did you mean {close[0]}?" if close else ""


def listed(items: Iterable[object]) -> str:
    """`items` as a list in prose, or "nothing"."""
    return ", ".join(str(item) for item in items) or "nothing"


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """`values` as JSON can hold them: ids and times as their stored text, words as plain text."""
    return {key: _plain(value) for key, value in values.items() if value is not None}


def _plain(value: Any) -> Any:
    if isinstance(value, UUID):
        return uuid_text(value)
    return stamp(value) if isinstance(value, datetime) else value


def _kind(value: object) -> str:
    return "None" if value is None else f"a value of type {type(value).__name__}"
