"""Text from outside costs time in proportion to its length: every regular expression, and what reads JSON."""

from __future__ import annotations

import ast
import gc
import importlib
import re
import time
from collections.abc import Callable, Iterator

import pytest

from dispatch_state import json_values, schemas, values
from dispatch_state.cli.terminal import masked
from dispatch_state.errors import DispatchError
from dispatch_state.github.payloads import Payload
from dispatch_state.models.issue import Issue
from dispatch_state.schemas import IssueSchema
from dispatch_state.transfer import snapshot_reader
from tests.paths import ROOT

FOLDERS = ("dispatch_state", "migrations")
ELSEWHERE = {"re", "sre_compile", "regex", "fnmatch", "glob", "difflib"}
"""Modules that make patterns, or compare texts, each use of which is listed below."""
COMPARED = {"dispatch_state/values.py"}
"""Where words are compared to find the one that was meant: of short ones only."""
GROWTH, STEP = 24.0, 8
"""How much longer eight times as much may take; what is quadratic takes 64 times as long."""
LEAST = 0.001
"""Seconds of work that the shorter text takes at least; it is made longer until it does."""
LARGEST = 1 << 20
"""Characters beyond which nothing is tried: what is so fast there is not measured."""

WORST: dict[tuple[str, str], list[tuple[str, str, str]]] = {
    ("dispatch_state/actors.py", "_LOGIN"): [("", "a", "!"), ("", "a-", "["), ("", "a[bot]", "")],
    ("dispatch_state/actors.py", "_COMPONENT"): [("", "a", "!"), ("", "a-", "-"), ("", "_", "")],
    ("dispatch_state/actors.py", "_AGENT"): [("", "0", "!"), ("", "00000000-", "")],
    ("dispatch_state/schema/adoption.py", "_COLUMN"): [("", " ", "!"), (" ", "a", "!"), ("", " a\n", "")],
    ("dispatch_state/schema/adoption.py", "_ADDED"): [
        ("", "ALTER TABLE ", ""), ("ALTER TABLE ", "a", "!"), ("ALTER TABLE a ADD COLUMN ", "a", "!"),
    ],
    ("dispatch_state/schema/adoption.py", "_FRACTION"): [
        ("", ".", ""), ("", "1", "!"), ("", ".123456", ""), (".", "1", "!"),
    ],
    ("dispatch_state/cli/lookup.py", "_END"): [("", "a", "!"), ("", "-", "")],
    ("dispatch_state/cli/parsing.py", "_OPTION"): [("", "--a", "!"), ("", "-", ""), ("", "--a-", "")],
    ("dispatch_state/cli/parsing.py", r"[\w-]+"): [("", "a", "!"), ("", "a!", "")],
    ("dispatch_state/cli/terminal.py", "_PASSWORD"): [("", "password=", ""), ("", "p", ""), ("password=", "a", "&")],
    ("dispatch_state/cli/terminal.py", "_USER"): [("", ":/", ""), (":", "/", ""), ("", ":", ""), ("", ":/a", " ")],
    ("dispatch_state/ddl.py", "_COLUMN"): [("", "a", ""), ("", "a ", ""), ("a ", "TEXT", "")],
    ("dispatch_state/ddl.py", "_KEY"): [("", "FOREIGN KEY ", ""), ("", "FOREIGN KEY", "\n")],
    ("dispatch_state/ddl.py", r";\s*$"): [("", ";\n", "")],
    ("dispatch_state/ddl.py", "--.*"): [("", "-", ""), ("", "--\n", "")],
    ("dispatch_state/ddl.py", "(?<=ADD COLUMN ).*"): [("", "ADD COLUMN ", ""), ("", "ADD COLUMN \n", "")],
    ("dispatch_state/schema/enforcement.py", "_COMMENT"): [
        ("", "-- dispatch_state ", ""),
        ("-- dispatch_state ", "1.", "!"),
        ("", "-- dispatch_state 1", "\n"),
    ],
    ("dispatch_state/github/pull_requests.py", "_CLOSES"): [
        ("", "fix ", ""), ("fix", " ", "!"), ("", "fix #", ""), ("", "fix #1 ", ""), ("", "close", "d"),
        ("fix #", "1", "a"),
    ],
    ("dispatch_state/github/labels.py", "_PREFIX"): [
        ("type", " ", "!"), ("", "type", ""), ("", " ", ":"), ("type:", " ", ""),
    ],
    ("dispatch_state/schema/names.py", "_CREATED"): [
        ("", "CREATE ", ""),
        ("CREATE TABLE ", "a", "!"),
        ("", "CREATE UNIQUE ", ""),
    ],
    ("dispatch_state/schema/names.py", "_NUMBERED"): [
        ("CREATE TABLE ", "a", "!"),
        ("CREATE TABLE a (", " ", "!"),
        ("", "CREATE TABLE a (", ""),
    ],
    ("dispatch_state/audit/verify.py", "_ABOUT_A_ROW"): [
        ("", "a", "!"),
        ("", "a ", ""),
        ("a value in ", "a", "!"),
        ("", "a value in ", ""),
    ],
    ("dispatch_state/json_values.py", "_LONG"): [("", "1", ""), (".", "1", ""), ("", "123456789012345678.", "")],
    ("dispatch_state/json_values.py", "_STRING"): [
        ("", '"', ""), ('"', '\\"', ""), ('"', "\\", ""), ("", '"\\', ""), ('"', "a", "\\"), ("", '\\"', ""),
    ],
}  # fmt: skip
"""Every pattern of the package, by file and name, or by its text where it has no name; and what is worst for it:
what stands before, what is repeated, what stands behind."""


# ---- finding them --------------------------------------------------------------------------------------


def patterns() -> Iterator[tuple[tuple[str, str], str, re.Pattern[str]]]:
    """Every pattern that the sources make: its file and name, the method that asks it, and the pattern."""
    for path in sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")):
        tree = ast.parse(path.read_text())
        where = str(path.relative_to(ROOT))
        named = {id(n.value): n.targets[0].id for n in ast.walk(tree) if isinstance(n, ast.Assign) and _a_name(n)}
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call) and _asks_re(node)):
            method = call.func.attr  # type: ignore[attr-defined]
            text = ast.literal_eval(call.args[0])
            if method == "compile":
                name = named[id(call)]
                module = importlib.import_module(where.removesuffix(".py").replace("/", "."))
                yield (where, name), _asked_by(tree, name), getattr(module, name)
            else:
                flags = [ast.unparse(word.value) for word in call.keywords if word.arg == "flags"]
                yield (
                    (where, text),
                    method,
                    re.compile(text, *(getattr(re, flag.removeprefix("re.")) for flag in flags)),
                )


def _a_name(assigned: ast.Assign) -> bool:
    return isinstance(assigned.targets[0], ast.Name)


def _asks_re(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Name) and call.func.value.id == "re"


def _asked_by(tree: ast.AST, name: str) -> str:
    """The method of a compiled pattern that its module calls; where there are several, one that tries every place."""
    called = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == name
    }
    return next(
        (method for method in ("sub", "findall", "finditer", "search", "match") if method in called), "fullmatch"
    )


FOUND = list(patterns())


def test_every_pattern_is_here() -> None:
    assert {key for key, _, _ in FOUND} == WORST.keys()


def test_no_pattern_is_made_elsewhere() -> None:
    """Neither by a name of `re` imported alone, nor by what builds on it."""
    compared = set()
    for path in (path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert node.module not in ELSEWHERE, path
            for alias in node.names if isinstance(node, ast.Import) else ():
                assert alias.asname is None or alias.name not in ELSEWHERE, path
                if alias.name in ELSEWHERE - {"re"}:
                    compared.add(str(path.relative_to(ROOT)))
    assert compared == COMPARED


# ---- how long they take --------------------------------------------------------------------------------


def best(work: Callable[[str], object], text: str) -> float:
    """The shortest of five times, in seconds of work; what collects garbage, now and then, does not count."""
    times = []
    gc.disable()
    try:
        for _ in range(5):
            began = time.process_time()
            work(text)
            times.append(time.process_time() - began)
    finally:
        gc.enable()
    return min(times)


def growth(work: Callable[[str], object], before: str, again: str, behind: str) -> float:
    """How many times as long a text takes that is eight times as long; 0 for what takes no time at all."""

    def text(count: int) -> str:
        return before + again * count + behind

    count = 64
    while (shorter := best(work, text(count))) < LEAST:
        count *= 2
        if count * len(again) > LARGEST:
            return 0.0
    return best(work, text(count * STEP)) / shorter


@pytest.mark.parametrize(("key", "method", "pattern"), FOUND, ids=[f"{where}:{name}" for (where, name), _, _ in FOUND])
def test_patterns_are_linear(key: tuple[str, str], method: str, pattern: re.Pattern[str]) -> None:
    def work(text: str) -> None:
        if method == "sub":
            pattern.sub("", text)
        elif method == "finditer":
            list(pattern.finditer(text))
        else:
            getattr(pattern, method)(text)

    for worst in WORST[key]:
        assert growth(work, *worst) <= GROWTH, worst


def test_what_is_quadratic_is_noticed() -> None:
    """The pattern that read JSON strings once: each quote of one that never ends looked for that end."""
    once = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[{]|[\]}]', re.DOTALL)
    assert growth(lambda text: list(once.finditer(text)), '"', '\\"', "") > GROWTH


def refused(work: Callable[[str], object]) -> Callable[[str], object]:
    def call(text: str) -> None:
        try:
            work(text)
        except (DispatchError, TypeError):
            pass

    return call


JSON = [
    ('"', '\\"', ""), ("", '"', ""), ("", "[", ""), ("", '{"":', ""), ("[", "[],", "1]"), ("[", "{},", "1]"),
    ("[", '"a",', "1]"), ("[", "1,", "1]"), ("1.", "1", ""), ("1e", "1", ""), ("", "]", "["),
    ("[", '"\\u0041\\\\",', "1]"),
    ("", "[" * 31 + "]" * 31, ""), ("", " ", ""), ('"', "\\ud800", '"'), ("[", "1234567890123456789,", "1]"),
]  # fmt: skip
READERS: dict[str, tuple[Callable[[str], object], list[tuple[str, str, str]]]] = {
    "loads": (IssueSchema().loads, JSON),
    "a line of an import": (lambda text: snapshot_reader._parsed_line(2, text.encode()), JSON),
    "stored JSON": (refused(lambda text: _or_none(json_values.parse_json, text)), JSON[:5] + JSON[6:11]),
    "a message with URLs": (masked, [("", ":/", ""), (":", "/", ""), ("", "://a:b@", ""), ("", "password=@:/:", "")]),
    "an unknown column": (lambda text: Issue(**{text: 1}), [("", "title", ""), ("", "t", "")]),
    "an unknown argument": (
        lambda text: Issue.queue.trigger.checked((), {text: 1}),  # type: ignore[attr-defined]
        [("", "reason", ""), ("", "r", "")],
    ),
    "a moment from GitHub": (
        lambda text: Payload({"at": text}, "payload").moment("at"),
        [("2026-01-31T09:30:00.", "1", "Z"), ("", "2026-", "")],
    ),
    "an id": (lambda text: values.uuid(text, "id"), [("", "0", ""), ("", "{", "}"), ("", "urn:uuid:", "")]),
    "what a machine wrote": (
        lambda text: values.storable(text, "error"), [("", "\0", ""), ("", "\ud800", ""), ("", " ", "")]
    ),
}  # fmt: skip
"""What takes text from outside, and the worst for it."""


def _or_none(work: Callable[[str], object], text: str) -> object:
    try:
        return work(text)
    except (ValueError, RecursionError):
        return None


@pytest.mark.parametrize("name", READERS)
def test_what_reads_text_is_linear(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    work, worst = READERS[name]
    monkeypatch.setattr(schemas, "LONGEST", LARGEST * STEP * 2)
    for text in worst:
        assert growth(refused(work), *text) <= GROWTH, text


def test_what_never_ends_is_refused_as_it_was() -> None:
    for text, told in (
        ('"' + '\\"' * 40_000, "not JSON: Unterminated string"),
        ("[" * 100_000, "JSON nested deeper than 32"),
        ("[" * 33 + "]" * 33, "JSON nested deeper than 32"),
        ('{"a":' * 33, "JSON nested deeper than 32"),
        ('["' + "[" * 100, "not JSON: Unterminated string"),
    ):
        with pytest.raises(DispatchError, match=re.escape(told)):
            IssueSchema().loads(text)
    for text in (
        "[" * 32 + "]" * 32,
        '["' + "[" * 100 + '"]',
        '["\\"[[[[", "' + "{" * 99 + '"]',
        "[" + "[[],{}]," * 99 + "1]",
    ):
        assert json_values.parse_payload(text, "payload", longest=10_000) is not None
