"""The layout: imports point up one list, without cycles, and each foreign part has one place."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dispatch_state.ids import new_id

PACKAGE = Path(__file__).parent.parent / "dispatch_state"

ORDER = [
    "_version", "vocabulary", "errors", "ids", "values", "json_values", "actors", "ddl",
    "storage", "lifecycle", "models", "engine", "schema", "audit", "transfer", "github", "views",
    "aio", "diagrams", "schemas", "store", "cli", "__main__", "testing",
]  # fmt: skip
"""The packages and the modules beside them; each may import those before it."""

HOMES = {
    "transitions": {"lifecycle", "errors"},
    "marshmallow": {"schemas"},
    "hypothesis": {"testing"},
    "psycopg": set(),
    "rich": {"cli"},
}
LONGEST_FILE = 350
LONGER = {"store.py": 415}  # what a user reads first: each call of the store with its whole contract
LONGEST_FUNCTION = 45


def modules() -> dict[str, Path]:
    paths = sorted(PACKAGE.rglob("*.py"))
    names = {str(path.relative_to(PACKAGE).with_suffix("")).replace("/", "."): path for path in paths}
    return {name: path for name, path in names.items() if not name.endswith("__init__")}


def imported(tree: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """The modules that are imported, and where: `from dispatch_state.cli import board` imports the module `board`."""
    ours = modules()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            names = [f"{base}.{alias.name}" for alias in node.names]
            yield from ((name if name.removeprefix("dispatch_state.") in ours else base, node) for name in names)


def our_imports(name: str) -> Iterator[tuple[str, ast.AST]]:
    """The modules of the package that one of them imports when it runs, and where."""
    tree = ast.parse(modules()[name].read_text())
    for_types = only_for_types(tree)
    for target, node in imported(tree):
        if node in for_types:
            assert package(name) == "models" or not target.startswith("dispatch_state"), f"{name} imports {target}"
        elif target.startswith("dispatch_state."):
            yield target.removeprefix("dispatch_state."), node


def package(name: str) -> str:
    return name.partition(".")[0]


def only_for_types(tree: ast.Module) -> set[ast.AST]:
    blocks = [n for n in ast.walk(tree) if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING"]
    return {inner for block in blocks for statement in block.body for inner in ast.walk(statement)}


def test_every_package_is_in_the_list() -> None:
    assert {package(name) for name in modules()} == set(ORDER)


@pytest.mark.parametrize("name", modules())
def test_packages_import_those_above_them_only(name: str) -> None:
    for target, _ in our_imports(name):
        above = ORDER.index(package(target)) <= ORDER.index(package(name))
        assert above, f"{name} imports {target}, which is below it"


def test_no_modules_import_each_other() -> None:
    edges = {name: {target for target, _ in our_imports(name)} for name in modules()}
    left = dict(edges)
    while free := [name for name, targets in left.items() if targets.isdisjoint(left)]:
        for name in free:
            del left[name]
    assert not left, f"a cycle of imports among {sorted(left)}"


@pytest.mark.parametrize("name", modules())
def test_no_star_and_no_deferred_imports(name: str) -> None:
    tree = ast.parse(modules()[name].read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert [alias.name for alias in node.names] != ["*"]
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            ours = [target for target, _ in imported(function) if target.startswith("dispatch_state")]
            assert not ours, f"{name}.{function.name} imports {ours}"


@pytest.mark.parametrize("part", HOMES)
def test_each_foreign_part_has_its_place(part: str) -> None:
    users = {
        package(name)
        for name, path in modules().items()
        for target, _ in imported(ast.parse(path.read_text()))
        if target.split(".")[0] == part
    }
    assert users <= HOMES[part]


def test_sizes() -> None:
    for path in modules().values():
        text = path.read_text()
        where = str(path.relative_to(PACKAGE))
        assert text.count("\n") <= LONGER.get(where, LONGEST_FILE), where
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                assert (node.end_lineno or 0) - node.lineno < LONGEST_FUNCTION, f"{where}: {node.name}"


def public_definitions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.ClassDef]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from (n for n in node.body if isinstance(n, ast.FunctionDef) and not n.name.startswith("_"))


HOOKS = {
    "decision_context", "label", "on_create", "why_fixed", "check_columns", "owner_id", "decision_details",
    "checked", "stored", "check", "bound", "placed", "meant", "db_value", "python_value", "to_value", "filled",
    "set_model", "get_rel_instance", "savepoint", "rollback", "connection", "cursor", "connect", "fetchone",
    "fetchall", "kept_after_fork", "insert", "insert_many", "insert_from", "replace", "replace_many", "bulk_create",
    "bulk_update", "set_by_id", "delete_by_id", "truncate_table", "delete", "update", "delete_instance", "create",
    "save", "add", "up", "trigger", "execute", "remember", "forget_block", "actor", "signature", "register",
    "context", "birth", "frozen", "whole", "to_parameter", "parameter", "slot",
}  # fmt: skip
"""What a model or a field overrides: its contract is on the base class, or is Peewee's."""
DOCUMENTED = 0.95
SAYING_WHAT_THEY_RAISE = ("models", "lifecycle", "engine", "store")
GROUPS = {"all": set(ORDER), **{name: {name} for name in SAYING_WHAT_THEY_RAISE}}


def speaks_for_itself(node: ast.FunctionDef | ast.ClassDef) -> bool:
    """Guards and statements are named as claims, hooks and fields have their contract on the base class."""
    arguments = [a.arg for a in node.args.args] if isinstance(node, ast.FunctionDef) else []
    guard = arguments[1:] == ["firing"] or bool(node.decorator_list)
    return node.name in HOOKS or guard or node.name == "Meta"


def test_public_definitions_are_documented() -> None:
    for name, path in modules().items():
        for node in public_definitions(ast.parse(path.read_text())):
            assert ast.get_docstring(node) or speaks_for_itself(node), f"{name}.{node.name}"


@pytest.mark.parametrize("group", GROUPS)
def test_nearly_every_public_definition_has_a_docstring(group: str) -> None:
    """Guards and decorated functions are counted too; only the hooks are left out."""
    nodes = [
        (f"{name}.{node.name}", node)
        for name, path in modules().items()
        for node in public_definitions(ast.parse(path.read_text()))
        if package(name) in GROUPS[group] and node.name not in HOOKS
    ]
    without = [name for name, node in nodes if ast.get_docstring(node) is None]
    assert len(without) <= (1 - DOCUMENTED) * len(nodes), f"{len(without)} of {len(nodes)}: {sorted(without)}"


@pytest.mark.parametrize("name", [name for name in modules() if package(name) in SAYING_WHAT_THEY_RAISE])
def test_docstrings_say_what_is_raised(name: str) -> None:
    for node in public_definitions(ast.parse(modules()[name].read_text())):
        raising = [n for n in ast.walk(node) if isinstance(n, ast.Raise) and n.exc is not None]
        if isinstance(node, ast.FunctionDef) and raising and node.name not in HOOKS:
            assert "Raises:" in (ast.get_docstring(node) or ""), f"{name}.{node.name}"


def test_exported_names_are_sorted_and_true() -> None:
    import dispatch_state

    names = list(dispatch_state.__all__)
    assert names == sorted(names, key=lambda n: (not n.isupper(), not n[0].isupper(), n))
    assert all(hasattr(dispatch_state, name) for name in names)
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    bound = {alias.asname or alias.name for n in tree.body if isinstance(n, ast.ImportFrom) for alias in n.names}
    assert bound == set(names)


def test_a_bare_import_is_light() -> None:
    heavy = "marshmallow", "hypothesis", "rich", "dispatch_state.testing"
    code = f"import sys, dispatch_state; print([name for name in {heavy!r} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
    assert new_id() != new_id()
