"""JSON columns: the shapes of their values, their text, and the limits that both databases share.

Everything is checked before SQL, so that a value comes back exactly as it went in or is refused with `InvalidValue`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from dispatch_state.errors import InvalidValue
from dispatch_state.ids import uuid_text
from dispatch_state.values import INTEGER_RANGE, integer, kind_of, nonblank_text, number, refuse_repeats, stamp, text

MAX_JSON = 1 << 20
"""Longest JSON text that a column takes, in bytes of UTF-8."""
MAX_DEPTH = 32
"""Deepest nesting of lists and objects that a JSON column takes."""


# ---- writing ------------------------------------------------------------------------------------


def json_text(value: object, place: str, *, longest: int | None = MAX_JSON) -> str:
    """Check a value and return its JSON text.

    Args:
        value: what a column is to hold: lists, dicts with text as keys, text, numbers, booleans and None.
        place: table and column, for the message.
        longest: how many bytes of UTF-8 the text may have; None for no limit.

    Raises:
        InvalidValue: the value is not plain JSON, is nested deeper than `MAX_DEPTH`, or is too long.
    """
    _check_json(value, place, MAX_DEPTH)
    encoded = stored_json(value)
    if longest is not None and len(encoded.encode()) > longest:
        raise InvalidValue(f"{place}: the JSON is longer than {longest:,} bytes")
    return encoded


def stored_json(value: object) -> str:
    """Return the JSON text of a value that was checked already.

    Keys keep their order and characters stay as they are, so that the value that is read back equals this one.
    """
    return _ENCODER.encode(value)


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return columns as JSON can hold them: ids and times as their stored text. Columns with None are left out."""
    return {key: _plain(value) for key, value in values.items() if value is not None}


def _plain(value: Any) -> Any:
    if isinstance(value, UUID):
        return uuid_text(value)
    return stamp(value) if isinstance(value, datetime) else value


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
        raise InvalidValue(f"{place}: {kind_of(value)} is not JSON")


def _check_json_items(value: list[Any] | dict[Any, Any], place: str, depth: int) -> None:
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise InvalidValue(f"{place}: a JSON object's keys are text, not {kind_of(key)}")
            text(key, place)
    for item in value.values() if isinstance(value, dict) else value:
        _check_json(item, place, depth)


# ---- reading ------------------------------------------------------------------------------------


def parse_json(encoded: str | bytes) -> Any:
    """Return the value of a stored JSON text.

    PostgreSQL writes a float such as 1e23 as a whole number. Integers beyond 64 bits are never stored, so such a
    number was a float.

    Raises:
        ValueError: this is not JSON, or not UTF-8.
        RecursionError: it is nested too deeply.
    """
    if isinstance(encoded, bytes):
        encoded = encoded.decode()
    decoder = _DECODER_OF_LONG if _LONG.search(encoded) else _DECODER
    if encoded[:1].isspace():
        return decoder.decode(encoded)
    value, end = decoder.raw_decode(encoded)
    return value if end == len(encoded) else decoder.decode(encoded)


def parse_payload(encoded: object, place: str, *, longest: int, deepest: int = MAX_DEPTH) -> Any:
    """Return the value of a JSON text from outside.

    Args:
        encoded: the text, or its bytes in UTF-8.
        place: where it came from, for the message.
        longest: how long it may be, in characters or bytes.
        deepest: how deeply lists and objects may be nested.

    Raises:
        InvalidValue: it is not JSON, it is too long or nested too deeply, an object has a key twice, or a number
            is NaN, infinite or an integer beyond 64 bits.
    """
    if not isinstance(encoded, str | bytes | bytearray):
        raise InvalidValue(f"{place}: takes JSON text, not {kind_of(encoded)}")
    if len(encoded) > longest:
        raise InvalidValue(f"{place}: the JSON is longer than {longest:,} bytes")
    try:
        decoded = encoded if isinstance(encoded, str) else encoded.decode()
        if _nests_deeper(decoded, deepest):
            raise InvalidValue(f"{place}: JSON nested deeper than {deepest}")
        return _parse_strictly(decoded, place)
    except InvalidValue:
        raise
    except ValueError as error:
        raise InvalidValue(f"{place}: not JSON: {str(error)[:100]}") from None


def _parse_strictly(decoded: str, place: str) -> Any:
    """Parse JSON, and refuse what `json` accepts though no column can hold it."""

    def parse_integer(digits: str) -> int:
        if len(digits) > 20 or (found := int(digits)) not in INTEGER_RANGE:
            raise InvalidValue(f"{place}: an integer beyond 64 bits")
        return found

    def refuse_constant(name: str) -> None:
        raise InvalidValue(f"{place}: {name} is not JSON")

    def object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(found := dict(pairs)) < len(pairs):
            refuse_repeats((key for key, _ in pairs), place)
        return found

    return json.loads(
        decoded,
        parse_int=parse_integer if _LONG.search(decoded) else None,
        parse_constant=refuse_constant,
        object_pairs_hook=object_of,
    )


_STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
"""A JSON string, or the rest of the text when the string is never closed. It reads each character once."""
_BRACES_AS_BRACKETS = bytes.maketrans(b"{}", b"[]")
_NOT_BRACKETS = bytes(sorted(set(range(256)) - set(b"[]{}")))


def _nests_deeper(encoded: str, deepest: int) -> bool:
    """Return whether a JSON text is nested more deeply than `deepest`, without parsing it.

    Each round removes the innermost pairs of brackets, and so makes the text one level shallower.
    """
    brackets = _STRING.sub("", encoded).encode(errors="replace").translate(_BRACES_AS_BRACKETS, _NOT_BRACKETS)
    for _ in range(deepest):
        if b"[]" not in brackets:
            break
        brackets = brackets.replace(b"[]", b"")
    return b"[]" in brackets or brackets.count(b"[") > deepest


def _integer_or_float(digits: str) -> int | float:
    return value if len(digits) <= 20 and (value := int(digits)) in INTEGER_RANGE else float(digits)


_LONG = re.compile(r"[0-9]{19}(?<![0-9.][0-9]{19})")  # starts with a digit: searching for that is three times faster
_DECODER = json.JSONDecoder()
_DECODER_OF_LONG = json.JSONDecoder(parse_int=_integer_or_float)
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


# ---- shapes -------------------------------------------------------------------------------------
# A shape takes a value and its place, and raises `InvalidValue` when the value is not of that shape.
# The reference prints what follows “A shape:”.


def any_json(value: object, place: str) -> None:
    """A shape: any JSON."""


def json_object(value: object, place: str) -> None:
    """A shape: a JSON object.

    Raises:
        InvalidValue: the value is not a dict.
    """
    if not isinstance(value, dict):
        raise InvalidValue(f"{place}: takes a JSON object (a dict), not {kind_of(value)}")


def list_of_text(value: object, place: str) -> None:
    """A shape: a list of texts.

    Raises:
        InvalidValue: the value is not a list, or an item is not text.
    """
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise InvalidValue(f"{place}: takes a list of texts")


def list_of_objects(value: object, place: str) -> None:
    """A shape: a list of JSON objects or texts.

    Raises:
        InvalidValue: the value is not a list, or an item is neither text nor a dict.
    """
    if not isinstance(value, list) or not all(isinstance(item, str | dict) for item in value):
        raise InvalidValue(f"{place}: takes a list of texts or objects")


def option_names(value: object, place: str) -> tuple[str, ...]:
    """Return the names in a list of options; an option is a text, or an object with an `id`.

    Raises:
        InvalidValue: the value is not such a list, the list is empty, or a name is blank or repeated.
    """
    list_of_objects(value, place)
    assert isinstance(value, list)
    found = tuple(nonblank_text(item if isinstance(item, str) else item.get("id"), place) for item in value)
    refuse_repeats(found, place)
    if not found:
        raise InvalidValue(f"{place}: takes at least one")
    return found
