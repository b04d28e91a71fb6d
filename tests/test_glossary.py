"""The words of the project: what the glossary explains is in use, and retired words stand nowhere.

A retired word may stay where it has another sense; the few such senses are named beside it. Released migrations and the
changelog are history and are not read. Pages that are generated are not read either, because their sources are.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.pages import PAGES
from tests.paths import ROOT

GLOSSARY = ROOT / "docs" / "glossary.md"
ENTRY = re.compile(r"^\*\*(.+?)\*\*", re.MULTILINE)
PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
"""The words within an identifier: `UnitOfWork` and `unit_of_work` alike."""
PAGES_BY_HAND = [
    path
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"))
    if path.name != "CHANGELOG.md" and str(path.relative_to(ROOT)) not in PAGES.keys() - {"README.md"}
]
PACKAGE = sorted((ROOT / "dispatch_state").rglob("*.py"))
OTHER_CODE = sorted(path for folder in ("tests", "examples", "benchmarks") for path in (ROOT / folder).rglob("*.py"))
CODE = [path for path in (*PACKAGE, *OTHER_CODE) if path != Path(__file__)]

EVERYWHERE = {
    r"doors?|doorways?": "session",
    r"beats?|beating|beaten": "heartbeat",
    r"family|families": "the rows that are locked",
    r"mends?|mended|mending": "repair",
    r"strays?": "what it is: unchecked, unexpected",
    r"lockfiles?": "write queue",
    r"upkeep": "maintenance",
    r"ledgers?": "decision",
    r"kanban": "board",
    r"borders?": "error boundary",
    r"chores?": "maintenance",
}
"""In identifiers, comments, docstrings, messages, pages and tests: a pattern of words, and what to say instead."""
SENSES = re.compile(
    r"-border|border(?:[-:]|_style| *=)"  # of a style sheet, and of rich's panels
    r"|[\"'`]chore[\"'`]|\bCHORE\b"  # the issue type
)
TOLD = {
    r"tells?|telling|told": "say, show, report",
}
"""In prose, and in identifiers of the package."""
TOLD_SENSES = re.compile(
    r"(?:tells?|told) (?:.{1,30} )?apart|told (?:otherwise|not to|to)|tell .{1,60} from |told `|being told",
    re.IGNORECASE,
)
SHOWN = {
    r"births?": "creation",
}
"""In what users read: pages, docstrings, messages."""
PERMISSION = re.compile(
    r"\bword=(?!=)|(?<=\w)\.word\b"
    r"|\bwhose word\b|['’]s word\b|\bword of an? (?:person|human|agent)\b|\bword of the (?:owner|agent)\b"
    r"|\bword (?:is|was) (?:taken|asked|due)\b|\btak(?:es|ing) (?:the |their |his |her )?word\b",
    re.IGNORECASE,
)
"""`word` for a permission, which is `allowed=`; a word is an enumerated value."""
CLASSES = {
    "Door": "Session", "Doorway": "Session", "Border": "error_boundary", "_Threshold": "error_boundary",
    "Turn": "UnitOfWork", "Refusal": "Constraint", "LockFile": "WriteQueue", "Guarded": "ManagedDatabase",
}  # fmt: skip
ATTRIBUTES = {
    "reach": "locks", "touches": "locks", "handed": "update_objects", "terms": "editable_until",
    "kept": "written_elsewhere", "stamps": "birth_stamps", "swift": "fast_read", "alike": "native",
    "settled": "its own name", "immortal": "its own name",
}  # fmt: skip
"""As attributes, methods, parameters and keywords; as local variables and in prose they are plain English."""
FUNCTIONS = {"standing": "its own name"}
"""As functions only: `Tally.standing` is public."""
MODULES = {
    "refusals", "lockfile", "database", "moves", "door", "doorway", "families", "upkeep", "marks", "overview",
    "models/ledger", "testing/worlds", "cli/acting", "cli/drawing", "cli/keeping", "cli/looking", "cli/moving",
    "cli/reading", "cli/richly", "cli/standing", "cli/style", "cli/telling", "cli/kanban", "cli/page",
}  # fmt: skip
CONNECTING = {
    "write_queue.py", "connections.py", "sqlite.py", "sqlite_connections.py", "postgresql.py", "connect.py",
}  # fmt: skip
"""The modules in which a turn is what it says, one writer's place in the write queue, and connections are kept."""


class Found(NamedTuple):
    """A retired word: where, which, and what to write instead."""

    file: str
    line: int
    word: str
    instead: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.word} (say: {self.instead})"


class Piece(NamedTuple):
    """A line of a file, and what it is: `name` (an identifier), `comment`, `text` (a string) or `page`."""

    kind: str
    line: int
    text: str


# ---- reading -------------------------------------------------------------------------------------------


def pieces(source: str) -> Iterator[Piece]:
    """The identifiers, comments and strings of a module; what stands in the braces of an f-string is code."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        line = token.start[0]
        if token.type == tokenize.NAME:
            yield Piece("name", line, token.string)
        elif token.type == tokenize.COMMENT:
            yield Piece("comment", line, token.string)
        elif token.type == tokenize.STRING or tokenize.tok_name[token.type] == "FSTRING_MIDDLE":
            yield from _of_string(token.string, line)


def _of_string(text: str, line: int) -> Iterator[Piece]:
    formatted = "f" in text.partition('"')[0].lower() and text[:1] not in "\"'"
    for number, piece in enumerate(text.splitlines(), line):
        if formatted:
            for code in re.findall(r"\{([^{}]+)\}", piece):
                yield from (Piece("name", number, name) for name in re.findall(r"[A-Za-z_]\w*", code))
            piece = re.sub(r"\{[^{}]+\}", "{}", piece)
        yield Piece("text", number, piece)


def of_page(page: str) -> Iterator[Piece]:
    return (Piece("page", number, line) for number, line in enumerate(page.splitlines(), 1))


def spoken(kind: str, text: str) -> str:
    """What a piece says, in words."""
    return " ".join(PARTS.findall(text)).lower() if kind == "name" else text.replace("_", " ").lower()


# ---- judging -------------------------------------------------------------------------------------------


@cache
def words_of(kind: str, text: str, in_package: bool) -> tuple[tuple[str, str], ...]:
    """The retired words of a piece, and what to say instead."""
    found = [] if (kind, text) == ("name", "CHORE") else _matches(EVERYWHERE, spoken(kind, SENSES.sub(" ", text)))
    if kind != "name" or in_package:
        found += _matches(TOLD, spoken(kind, TOLD_SENSES.sub(" ", text)))
    if kind == "page" or (kind == "text" and in_package):
        found += _matches(SHOWN, spoken(kind, text))
    if kind != "name":
        found += ((match.strip(), "allowed, permission") for match in PERMISSION.findall(text))
    elif text in CLASSES:
        found.append((text, CLASSES[text]))
    return tuple(found)


def _matches(retired: dict[str, str], text: str) -> list[tuple[str, str]]:
    found = []
    for match in re.findall(_any_of(*retired), text):
        found += [(match, instead) for pattern, instead in retired.items() if re.fullmatch(pattern, match)]
    return found


@cache
def _any_of(*patterns: str) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{'|'.join(patterns)})\b")


def names_of(tree: ast.AST, in_package: bool) -> Iterator[tuple[int, str, str]]:
    """The retired attributes, parameters and functions of a module; a test may name its own helpers as it likes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in ATTRIBUTES:
            yield node.lineno, node.attr, ATTRIBUTES[node.attr]
        elif isinstance(node, ast.keyword) and (node.arg in ATTRIBUTES or (node.arg == "word" and in_package)):
            yield node.value.lineno, node.arg, ATTRIBUTES.get(node.arg, "allowed")
        elif isinstance(node, ast.Attribute) and node.attr == "word" and in_package:
            yield node.lineno, "word", "allowed"
        elif in_package:
            yield from ((line, name, (ATTRIBUTES | FUNCTIONS)[name]) for line, name in _defined(node))


def _defined(node: ast.AST) -> Iterator[tuple[int, str]]:
    """What a function, a parameter or the body of a class gives a retired name to."""
    if isinstance(node, ast.FunctionDef) and node.name in ATTRIBUTES | FUNCTIONS:
        yield node.lineno, node.name
    elif isinstance(node, ast.arg) and node.arg in ATTRIBUTES:
        yield node.lineno, node.arg
    elif isinstance(node, ast.ClassDef):
        for held in node.body:
            targets = held.targets if isinstance(held, ast.Assign) else [getattr(held, "target", None)]
            yield from ((t.lineno, t.id) for t in targets if isinstance(t, ast.Name) and t.id in ATTRIBUTES)


def in_code(path: Path, source: str) -> Iterator[Found]:
    file, in_package = str(path.relative_to(ROOT)), path in PACKAGE
    for piece in pieces(source):
        yield from (Found(file, piece.line, *found) for found in words_of(piece.kind, piece.text, in_package))
        if piece.kind == "name" and piece.text.strip("_") == "turn" and in_package and path.name not in CONNECTING:
            yield Found(file, piece.line, piece.text, "work, a unit of work")
    for line, name, instead in names_of(ast.parse(source), in_package):
        if name != "kept" or (in_package and path.name not in CONNECTING):
            yield Found(file, line, name, instead)


def in_page(path: Path, page: str) -> Iterator[Found]:
    file = str(path.relative_to(ROOT))
    yield from (
        Found(file, piece.line, *found) for piece in of_page(page) for found in words_of(piece.kind, piece.text, True)
    )
    for piece in of_page(page):
        names = [name for code in re.findall(r"`([^`]+)`", piece.text) for name in re.findall(r"\w+", code)]
        yield from (Found(file, piece.line, name, CLASSES[name]) for name in names if name in CLASSES)


def retired_modules() -> Iterator[Found]:
    for name in sorted(MODULES):
        if (ROOT / "dispatch_state" / f"{name}.py").exists():
            yield Found(f"dispatch_state/{name}.py", 1, Path(name).name, "its new place in the layout")


# ---- the tests -----------------------------------------------------------------------------------------


def test_no_retired_word_is_used() -> None:
    found = list(retired_modules())
    for path in CODE:
        found += in_code(path, path.read_text())
    for path in PAGES_BY_HAND:
        found += in_page(path, path.read_text())
    if found:
        listed = sorted(set(found))
        pytest.fail("\n".join((f"{len(listed)} retired words:", *map(str, listed))), pytrace=False)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("from dispatch_state.lifecycle.door import door", ["door", "door"]),
        ("class Doorway: ...", ["Doorway", "doorway"]),
        ("x = 'behind the door'  # who has beaten it", ["beaten", "door"]),
        ("BEATING = my_families = 1", ["beating", "families"]),
        ("work(reach='save', handed=rows)", ["handed", "reach"]),
        ("reach = kept = settled = 1", []),
        ("class Row:\n    kept: int = 1\n    terms = ()", ["kept", "terms"]),
        ("def move(turn: Turn): turn.act()", ["Turn", "turn", "turn"]),
        ("@transition(word=owner)\ndef start(): edge.word", ["word", "word"]),
        ("f'{told} of {family}'", ["family", "told"]),
        ("'''Whose word it takes; a person's word.'''", ["'s word", "Whose word"]),
        ("'''The birth of a row.'''\nbirths = 1  # after birth", ["birth"]),
        ("'''It can tell one row from another.''' ", []),
        ("IssueType.CHORE, 'chore', 'border-radius: 1px', border_style", []),
        ("recommend = heartbeat = outdoor = 'a word that the column knows, said in return'", []),
    ],
)
def test_the_search_finds_retired_words_and_leaves_other_senses(source: str, words: list[str]) -> None:
    path = ROOT / "dispatch_state" / "store.py"
    assert sorted(found.word for found in in_code(path, source)) == words


@pytest.mark.parametrize(
    ("page", "words"),
    [
        ("The birth of a family, through the `Doorway`.", ["Doorway", "birth", "doorway", "family"]),
        ("A border in `border: 1px`, a `chore` and two chores.", ["border", "chores"]),
        ("`watch()` tells every move, unless told otherwise.", ["tells"]),
        ("The writer keeps its turn, in the unit of work.", []),
    ],
)
def test_the_search_reads_pages(page: str, words: list[str]) -> None:
    assert sorted(found.word for found in in_page(ROOT / "README.md", page)) == words


def test_the_glossary_is_short_and_in_order() -> None:
    terms = ENTRY.findall(GLOSSARY.read_text())
    assert terms == sorted(terms, key=str.lower)
    assert 20 <= len(terms) <= 35


def test_every_term_of_the_glossary_is_used() -> None:
    """As whole words outside of the glossary, in the package or on a page."""
    said = [spoken(piece.kind, piece.text) for path in PACKAGE for piece in pieces(path.read_text())]
    pages = [path.read_text().lower() for path in PAGES_BY_HAND if path != GLOSSARY]
    used = re.sub(r"[^a-z]+", " ", "\n".join((*said, *pages)))
    terms = ENTRY.findall(GLOSSARY.read_text())
    unused = [term for term in terms if not re.search(rf"\b{re.sub('[^a-z]+', ' ', term.lower())}s?\b", used)]
    assert terms
    assert unused == []
