"""Clocks, and the checks on ids, times, text and numbers.

SQLite stores almost any value. PostgreSQL refuses NUL, lone surrogates and numbers out of range. Every value is checked
against the stricter of the two before SQL, so it either comes back exactly as it went in or is refused with
`InvalidValue`. A message names the place and what is allowed there. It never repeats a long value.

Each check takes the value and its place: a table and column, or an argument, for the message. It returns the value as
the rest of the library uses it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from uuid import UUID

from dispatch_state.errors import InvalidValue

MAX_TEXT = 1_000_000
"""Longest text a column takes, in characters."""
NO_MESSAGE = "(no message)"
"""Stored in place of a blank text that a machine wrote."""
MAX_INDEXED = 2500
"""Longest text that an indexed column takes, in bytes of UTF-8. An index of PostgreSQL holds little more."""
LONGEST_WORD = 40
"""Characters up to which a message repeats a word that was given."""
INTEGER_RANGE = range(-(1 << 63), 1 << 63)

Clock = Callable[[], datetime]
"""Returns the present moment, as an aware datetime."""
Progress = Callable[[int, int], object]
"""Called now and then with how much is done, and of how much. The second number is 0 when the total is not known."""


def check_progress(progress: object) -> None:
    """Check an argument that takes a `Progress` or None.

    Raises:
        InvalidValue: the argument is something else.
    """
    if progress is not None and not callable(progress):
        raise InvalidValue("progress: takes a callable of two numbers, or None")


# ---- ids ----------------------------------------------------------------------------------------


def uuid(value: object, place: str) -> UUID:
    """Return a UUID, or its text, as a UUID.

    Raises:
        InvalidValue: the value is neither.
    """
    if isinstance(value, UUID):
        return value
    if isinstance(value, str):
        try:
            return UUID(value)
        except ValueError:
            raise InvalidValue(f"{place}: not a UUID") from None
    raise InvalidValue(f"{place}: takes a UUID, not {kind_of(value)}")


# ---- time ---------------------------------------------------------------------------------------


def utc_now() -> datetime:
    """Return the present moment, aware, in UTC. This is the clock of a store that was given none."""
    return datetime.now(UTC)


def instant(value: object, place: str) -> datetime:
    """Return an aware datetime in UTC.

    Raises:
        InvalidValue: the value is not a datetime, is naive, or has no moment in UTC.
    """
    if not isinstance(value, datetime):
        raise InvalidValue(f"{place}: takes an aware datetime, not {kind_of(value)}")
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
    """The moment that was converted last, with its text. The next one is mostly the same object."""

    stamp: tuple[datetime | None, str] = None, ""


def stamp(value: datetime) -> str:
    """Return the stored text of an aware datetime: fixed width, in UTC, so that text order is time order."""
    moment, text = _Last.stamp
    if moment is not value:
        text = (value if value.tzinfo is UTC else value.astimezone(UTC)).isoformat("T", "microseconds")
        _Last.stamp = value, text
    return text


def parse_instant(text: str) -> datetime:
    """Return the moment that an ISO 8601 text means, in UTC. A text without an offset is read as UTC.

    Raises:
        ValueError: it is not such a text.
        OverflowError: the moment has no place in UTC's range.
    """
    value = datetime.fromisoformat(text)
    if value.tzinfo is UTC:
        return value
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def seconds(value: object, place: str) -> timedelta:
    """Return a positive number of seconds as a timedelta.

    Raises:
        InvalidValue: the value is not a number, not positive, or too large for a timedelta.
    """
    amount = number(value, place)
    try:
        if amount > 0:
            return timedelta(seconds=amount)
    except OverflowError:
        pass
    raise InvalidValue(f"{place}: takes a positive number of seconds that a clock can count")


def earlier(moment: datetime, amount: timedelta) -> datetime:
    """Return the moment that is earlier by an amount, or the earliest moment there is."""
    try:
        return moment - amount
    except OverflowError:
        return datetime.min.replace(tzinfo=UTC)


def later(moment: datetime, amount: timedelta) -> datetime:
    """Return the moment that is later by an amount, or the latest moment there is."""
    try:
        return moment + amount
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)


# ---- text ---------------------------------------------------------------------------------------


def text(value: object, place: str) -> str:
    """Return text that both databases can store.

    Raises:
        InvalidValue: the value is not text, has more than `MAX_TEXT` characters, or contains NUL or a lone surrogate.
    """
    if not isinstance(value, str):
        raise InvalidValue(f"{place}: takes text, not {kind_of(value)}")
    if len(value) > MAX_TEXT:
        raise InvalidValue(f"{place}: {len(value):,} characters; at most {MAX_TEXT:,} are allowed")
    if "\0" in value:
        raise InvalidValue(f"{place}: contains a NUL character")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise InvalidValue(f"{place}: contains a lone surrogate, which is not a character") from None
    return str.__str__(value)  # an Enum that is text too would print its name


def nonblank_text(value: object, place: str) -> str:
    """Return text that is more than white space.

    Raises:
        InvalidValue: as `text` does, and for blank text.
    """
    checked = text(value, place)
    if not checked.strip():
        raise InvalidValue(f"{place}: must not be blank")
    return checked


def storable(value: object, place: str) -> str:
    """Return what a machine wrote as text that can be stored, so that a failure is always recorded.

    NUL and lone surrogates become U+FFFD. Text of more than `MAX_TEXT` characters is cut, and says so at its end.
    Blank text becomes `NO_MESSAGE`.

    Raises:
        InvalidValue: the value is not text.
    """
    if not isinstance(value, str):
        raise InvalidValue(f"{place}: takes text, not {kind_of(value)}")
    cleaned = str.__str__(value)
    if len(cleaned) > MAX_TEXT:
        mark = f" … (cut; it had {len(cleaned):,} characters)"
        cleaned = cleaned[: MAX_TEXT - len(mark)] + mark
    cleaned = cleaned.replace("\0", "\ufffd")
    if not cleaned.isascii():
        cleaned = cleaned.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return cleaned if cleaned.strip() else NO_MESSAGE


def indexed(value: object, place: str) -> str:
    """Return text that fits into an index.

    Raises:
        InvalidValue: as `text` does, and for more than `MAX_INDEXED` bytes of UTF-8.
    """
    checked = text(value, place)
    if len(checked.encode()) > MAX_INDEXED:
        raise InvalidValue(f"{place}: takes at most {MAX_INDEXED:,} bytes of UTF-8")
    return checked


def key(value: object, place: str) -> str:
    """Return text by which a row is found.

    Raises:
        InvalidValue: as `indexed` does, and for blank text.
    """
    return indexed(nonblank_text(value, place), place)


# ---- numbers ------------------------------------------------------------------------------------


def integer(value: object, place: str, *, bits: int = 64) -> int:
    """Return a signed integer that fits into a number of bits.

    Raises:
        InvalidValue: the value is not an integer (a bool and a float are not), or does not fit.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidValue(f"{place}: takes an integer, not {kind_of(value)}")
    if not -(1 << bits - 1) <= value < 1 << bits - 1:
        raise InvalidValue(f"{place}: the integer does not fit into {bits} bits")
    return int(value)


def positive(value: object, place: str) -> int:
    """Return an integer of at least 1.

    Raises:
        InvalidValue: as `integer` does, and for less than 1.
    """
    checked = integer(value, place)
    if checked < 1:
        raise InvalidValue(f"{place}: takes an integer of at least 1")
    return checked


def number(value: object, place: str) -> float:
    """Return a finite float.

    Raises:
        InvalidValue: the value is not a number (a bool is not), or is infinite, NaN or beyond a float's range.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidValue(f"{place}: takes a number, not {kind_of(value)}")
    try:
        if math.isfinite(checked := float(value)):
            return checked
    except OverflowError:
        pass
    raise InvalidValue(f"{place}: takes a finite number")


def boolean(value: object, place: str) -> bool:
    """Return True or False.

    Raises:
        InvalidValue: the value is anything else.
    """
    if not isinstance(value, bool):
        raise InvalidValue(f"{place}: takes True or False, not {kind_of(value)}")
    return value


# ---- messages -----------------------------------------------------------------------------------


def refuse_repeats(items: Iterable[str], place: str) -> None:
    """Check that no item is repeated.

    Raises:
        InvalidValue: one is; the message names it.
    """
    seen: set[str] = set()
    for item in items:
        if item in seen:
            raise InvalidValue(f"{place}: {shown(item)} is repeated")
        seen.add(item)


def shown(word: object) -> str:
    """Return a short word in quotes, for a message. Of anything else it returns the type."""
    return f'"{word}"' if isinstance(word, str) and len(word) <= LONGEST_WORD and word.isprintable() else kind_of(word)


def kind_of(value: object) -> str:
    """Return what a value is, for a message: "None", or "a value of type" and the name of its type."""
    return "None" if value is None else f"a value of type {type(value).__name__}"


def closest(word: object, known: Iterable[str]) -> str:
    """Return the end of a message about an unknown word: "; did you mean …?", or nothing when no word is close."""
    import difflib  # only here, where something was misspelt

    close = difflib.get_close_matches(str(word), [*known], n=1) if len(str(word)) <= LONGEST_WORD else []
    return f"; did you mean {close[0]}?" if close else ""


def listed(items: Iterable[object]) -> str:
    """Return items as a list in prose, or "nothing"."""
    return ", ".join(str(item) for item in items) or "nothing"
