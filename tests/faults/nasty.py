"""Values that no caller should pass, and random values of every kind."""

from __future__ import annotations

import random
import string
import uuid
from collections import OrderedDict, deque, namedtuple
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import Enum, IntEnum
from fractions import Fraction
from pathlib import Path
from typing import Any
from uuid import UUID

import peewee

from dispatch_state import SANGHA, Agent, AgentStatus, Epic, Human, Issue, IssueType, Priority, System
from tests.bad_input import ACTORS_BAD, LONG_JSON, endless, nested
from tests.world import World

NOWHERE = UUID("01900000-0000-7000-8000-000000000000")


class Mixed(str, Enum):  # noqa: UP042 - the kind that prints as its name
    WORD = "bug"


class Number(IntEnum):
    ONE = 1


class Silent:
    """Cannot even be shown."""

    def __repr__(self) -> str:
        raise ZeroDivisionError

    __str__ = __repr__


class Loud(str):
    """A text that says it is another."""

    __slots__ = ()

    def __str__(self) -> str:
        return "another"


class Odd(tzinfo):
    """A time zone whose offset raises an error."""

    def utcoffset(self, when: datetime | None) -> timedelta:
        raise ValueError("nobody knows")


def deep(depth: int) -> list[Any]:
    """A list that is nested too deep for anything that recurses."""
    found: list[Any] = []
    for _ in range(depth):
        found = [found]
    return found


Pair = namedtuple("Pair", "left right")

TEXTS: list[Any] = [
    "", " ", "\t\n", "\u00a0", "\u200b", "\ufeff", "x", "a\x00b", "\x00", "\ud800", "a\udfff", "\x7f", "\x1b[31m",
    "\r\n", "\u2028", "\u202eabc", "e\u0301", "\U0001f600" * 3, "\U0010ffff", "\uffff", "'; DROP TABLE issues; --",
    '"', "\\", "%s", "%(x)s", "{}", "{0}", "?", ":x", "NULL", "null", "None", "true", "[]", "{", "0", "1", "-1",
    "1.5", "nan", "Infinity", "0x10", "1_000", "\u0661", "2026-01-01", "2026-01-01T00:00:00+00:00", "any", "@ada",
    "ada", "human:ada", "agent:x", "sangha", str(NOWHERE), NOWHERE.hex, f"{{{NOWHERE}}}", f"urn:uuid:{NOWHERE}",
    str(NOWHERE).upper(), "queued", "done", "bug", "BUG", "coder", "approve", "approval", "a" * 100, "é" * 1000,
    "x" * 1_000_000, "x" * 1_000_001, "é" * 1_000_000, "\U0001f600" * 300_000, Mixed.WORD, Loud("bug"), IssueType.BUG,
    AgentStatus.IDLE, Priority.HIGH, "i\u0307", "\u212aen", "ſ", "ß", "İ", "../../etc/passwd", "~", "$HOME",
    "\N{VARIATION SELECTOR-16}", "a\u0000", "\v", "\x85", "x" * 65_536,
]  # fmt: skip
NUMBERS: list[Any] = [
    0, 1, -1, 2, 127, 2**31 - 1, 2**31, -(2**31), -(2**31) - 1, 2**53, 2**53 + 1, 2**63 - 1, 2**63, -(2**63),
    -(2**63) - 1, 2**64, 10**100, 10**5000, True, False, Number.ONE, 0.0, -0.0, 0.1, 0.5, 1.0, 1.5, 1e16, 1e22, 1e23,
    1e308, 5e-324, 1e-7, float("nan"), float("inf"), float("-inf"), Decimal("0.1"), Decimal("NaN"), Fraction(1, 3),
    1j, 0.1 + 0.2, 1 / 3, 123456789012345680.0, 2.0**63, 1e19, -1e18,
]  # fmt: skip
TIMES: list[Any] = [
    datetime(2026, 1, 1), datetime(2026, 1, 1, tzinfo=UTC), datetime.min, datetime.max,
    datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC),
    datetime.max.replace(tzinfo=timezone(timedelta(hours=-14))),
    datetime.min.replace(tzinfo=timezone(timedelta(hours=14))), datetime(2026, 1, 1, tzinfo=Odd()),
    datetime(2026, 1, 1, 12, 0, 0, 1, tzinfo=timezone(timedelta(seconds=1))),
    datetime(2026, 3, 29, 2, 30, fold=1, tzinfo=UTC), datetime(1, 1, 1, 0, 0, 1, tzinfo=UTC),
    datetime(2030, 1, 1, 0, 0, 0, 999_600, UTC),
    datetime(999, 12, 31, tzinfo=UTC), datetime(2026, 1, 1, 0, 0, 0, 500_000, UTC), date(2026, 1, 1), time(1, 2),
    timedelta(1), timedelta.max, datetime(1969, 12, 31, 23, 59, 59, 1, UTC),
]  # fmt: skip
THINGS: list[Any] = [
    None, [], {}, (), set(), frozenset(), b"", b"abc", b"\xff", bytearray(b"x"), memoryview(b"x"), object(), Silent(),
    object, type, int, str, len, print, lambda: 1, Ellipsis, NotImplemented, range(3), iter([]), (x for x in "ab"),
    Path("x"), Exception(), [1], ["a"], ["a", "a"], ["a", "b"], ["ada"], ["Ada", "ada"], [""], [None], [[]], [{}],
    ["\x00"], ["\ud800"], [1, "a"], ["coder"], ["coder", "architect"], ["coder", "coder"], [{"id": "a"}, {"id": "b"}],
    [{"id": 1}], [{"id": "a", "x": [1.5]}], {"a": 1}, {1: 2}, {None: 1}, {"a": {"b": []}}, {"\x00": 1}, {"\ud800": 1},
    {"a": float("nan")}, {"a": 2**63}, {"a": -0.0}, {"a": 1e16}, {"a": 1e300}, {"a": True, "b": 1}, {"": ""},
    {"a": (1, 2)}, {"a": {1}}, {"a": b""}, {"a": Mixed.WORD}, {"success": True}, {"a": 12345678901234567890},
    {"z": 1, "a": 2}, {"a": 0.1}, {"a": 1e-7}, {"a": 5e-324}, {"a": 1.0}, nested(32), nested(33), nested(900),
    deep(100_000), endless(), LONG_JSON, [0] * 100_000, Pair(1, 2), OrderedDict(a=1), deque([1]), NOWHERE,
    uuid.uuid4(), uuid.uuid1(), UUID(int=0), UUID(int=2**128 - 1), Human("ada"), System("x"), SANGHA, Human, Agent,
    Epic, Issue.title, Issue.title == "x", peewee.SQL("1"), peewee.fn.COUNT(1), peewee.Value(1), Issue.select(),
    Agent(agent_type="coder"), Issue(), Epic(title="t"), Exception("x"), *(w for _, w in ACTORS_BAD),
]  # fmt: skip


def nasty(world: World | None) -> list[Any]:
    """All nasty values, and rows of this store."""
    rows = [] if world is None else [*rows_of_a_few_tables()]
    return [*TEXTS, *NUMBERS, *TIMES, *THINGS, *rows]


def rows_of_a_few_tables() -> list[Any]:
    """A row of a few tables, whole and in part."""
    found: list[Any] = [model.select().order_by(model.id).first() for model in (Epic, Issue, Agent)]
    mangled = [model.select().order_by(model.id).first() for model in (Epic, Issue, Agent)]
    for row in filter(None, mangled):
        row.id = "not an id"
    return [*found, *mangled, *(model.select(model.id).order_by(model.id).first() for model in (Issue, Agent))]


def random_value(chance: random.Random, depth: int = 3) -> Any:
    kinds = [random_text, random_integer, random_float, random_instant, random_word, random_id]
    if depth:
        kinds += [random_list, random_object]
    kind = chance.choice(kinds)
    return kind(chance, depth - 1) if kind in (random_list, random_object) else kind(chance)  # type: ignore[operator]


def random_text(chance: random.Random) -> str:
    alphabet = chance.choice([string.printable, "ab-_@. ", "\x00\n\té\u200b\ud800", None])
    length = int(chance.expovariate(0.1))
    if alphabet is None:
        return "".join(chr(chance.randrange(0x110000)) for _ in range(length))
    return "".join(chance.choice(alphabet) for _ in range(length))


def random_integer(chance: random.Random) -> int:
    return chance.choice([-1, 1]) * chance.getrandbits(chance.choice([1, 8, 31, 32, 53, 63, 64, 65, 200]))


def random_float(chance: random.Random) -> float:
    return chance.choice(
        [chance.random(), chance.uniform(-1e3, 1e3), chance.random() * 10.0 ** chance.randrange(-300, 300)]
    )


def random_instant(chance: random.Random) -> datetime:
    zone = chance.choice([UTC, None, timezone(timedelta(minutes=chance.randrange(-1439, 1440)))])
    moment = datetime(chance.randrange(1, 9999), chance.randrange(1, 13), chance.randrange(1, 29), tzinfo=zone)
    return moment + timedelta(microseconds=chance.randrange(86_400_000_000))


def random_word(chance: random.Random) -> str:
    words = [
        "bug",
        "docs",
        "high",
        "coder",
        "approve",
        "queued",
        "idle",
        "unanimous",
        "approval",
        "decision",
        "peewee",
        "info",
    ]
    word = chance.choice(words)
    return chance.choice([word, word, word.upper(), word + chance.choice(" \x00s\n")])


def random_id(chance: random.Random) -> Any:
    found = UUID(int=chance.getrandbits(128))
    return chance.choice([found, str(found), found.hex, str(found)[:-1]])


def random_list(chance: random.Random, depth: int) -> list[Any]:
    return [random_value(chance, depth) for _ in range(chance.randrange(4))]


def random_object(chance: random.Random, depth: int) -> dict[Any, Any]:
    return {
        chance.choice([random_text, random_word])(chance): random_value(chance, depth)
        for _ in range(chance.randrange(4))
    }


def shown(value: Any) -> str:
    """Any value, in a few characters."""
    try:
        text = repr(value)
    except Exception as error:
        text = f"a {type(value).__name__} that cannot be shown ({type(error).__name__})"
    return text if len(text) <= 80 else f"{text[:60]}… ({len(text)} characters)"
