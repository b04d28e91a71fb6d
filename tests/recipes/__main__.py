"""Carry out the recipes: `python -m tests.recipes [WORD …]`.

Words choose the recipes whose names hold them. Ends with 1 when a recipe asks for another file than it names, or names
more files than it may, or when a forgotten file goes unnoticed.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

from tests.__main__ import place_of
from tests.copies import ROOT, copy_project, run_python, run_tests
from tests.recipes import Recipe
from tests.recipes.edits import RECIPES

RENEWED = ("tests.pages", "tests.golden", "tests.boards")
"""What makes the pages and texts that are generated."""
QUICK = "floors vocabulary total machine locks grids docs pictures board diagrams"
"""Tests that would notice a forgotten place; each recipe names more. DISPATCH_LONG=1 runs all there are."""
CHOSEN = "'not postgresql and not guide'"
"""On SQLite, and without the code of the guides, which takes minutes."""
FAILED = re.compile(r"^(?:FAILED|ERROR) (.*)$", re.MULTILINE)


def carried_out(recipe: Recipe) -> Iterator[str]:
    """What is wrong with a recipe: that it names too many files, does not apply, or that something else must change."""
    if len(recipe.files) > recipe.most:
        yield f"names {len(recipe.files)} files, {recipe.most} are allowed"
    with tempfile.TemporaryDirectory(prefix="recipe-") as folder:
        copy = copy_project(folder)
        problems = recipe.problems(copy)
        yield from problems
        if problems:
            return
        for edit in (*recipe.edits, *recipe.contract):
            edit.make(copy)
        for module in RENEWED:
            made = run_python(f"-m {module}", copy)
            if made.returncode:
                yield f"python -m {module} fails: {made.stderr.strip().splitlines()[-1]}"
                return
        names = f"{QUICK} {recipe.tests}".split()
        files = "" if os.environ.get("DISPATCH_LONG") else " ".join(map(_place, names))
        tested = run_tests(f"-k {CHOSEN} {files}", copy)
        if tested.returncode:
            yield from FAILED.findall(tested.stdout) or [tested.stdout[-2000:] + tested.stderr[-2000:]]


def _place(name: str) -> str:
    """Return the file or folder of the tests of that name, from the top of the project."""
    path = place_of(name)
    if path is None:
        raise ValueError(f"there are no tests called {name}")
    return str(path.relative_to(ROOT))


def forgotten(recipe: Recipe, file: str) -> Iterator[str]:
    """What is wrong when a file of the recipe is left out: the import must fail, and name what is missing."""
    with tempfile.TemporaryDirectory(prefix="recipe-") as folder:
        copy = copy_project(folder)
        for edit in (*recipe.edits, *recipe.contract):
            if edit.file != file:
                edit.make(copy)
        imported = run_python("-c 'import dispatch_state.cli.commands, dispatch_state.cli.board_rich'", copy)
        if recipe.missed[file] not in imported.stderr:
            last = (imported.stderr.strip().splitlines() or ["nothing"])[-1]
            yield f"without {file} the import should say {recipe.missed[file]!r}, and says {last!r}"


def verdict(recipe: Recipe) -> list[str]:
    """All that is wrong with a recipe."""
    return [*carried_out(recipe), *chain.from_iterable(forgotten(recipe, file) for file in recipe.missed)]


def main(words: list[str]) -> int:
    """Carry out those recipes, and print what came of each."""
    chosen = [recipe for recipe in RECIPES if all(word in recipe.name for word in words)]
    failed = not chosen
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for recipe, wrong in zip(chosen, pool.map(verdict, chosen), strict=True):
            failed |= bool(wrong)
            contract = sorted({edit.file for edit in recipe.contract})
            print(f"{recipe.name}: {len(recipe.files)} by hand ({', '.join(recipe.files)})")
            print(f"    contract: {', '.join(contract) or 'nothing'}")
            print("\n".join(f"    WRONG: {each}" for each in wrong) or "    nothing else had to change", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
