"""The recipes of CONTRIBUTING.md, "To add a …", each carried out on a copy of the project: `python -m tests.recipes`.

A recipe names the files that somebody edits by hand. Its edits are made in a copy, generated pages are renewed there,
and the quick tests are run. They pass only when no other file has to change.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class Edit(NamedTuple):
    """One change of a file: `put` in place of the only occurrence of `text`; a new file when `text` is empty."""

    file: str
    text: str
    put: str

    def problem(self, root: Path) -> str | None:
        """Why the edit cannot be made in a project, or None."""
        path = root / self.file
        if not self.text:
            return f"{self.file} is there already" if path.exists() else None
        count = path.read_text().count(self.text)
        return None if count == 1 else f"{self.file} has this text {count} times, not once: {self.text!r}"

    def make(self, root: Path) -> None:
        """Change the file."""
        path = root / self.file
        path.write_text(path.read_text().replace(self.text, self.put) if self.text else self.put)


class GridColumn(NamedTuple):
    """One change of tests/grids.py: a status more in a grid.

    table: the grid's name there; status: the new status, the last column.
    cells: where triggers lead from it; all others lead nowhere.
    """

    table: str
    status: str
    cells: dict[str, str]
    file: str = "tests/grids.py"

    def problem(self, root: Path) -> str | None:
        """Why the edit cannot be made in a project, or None."""
        found = self._grid((root / self.file).read_text())
        return None if found else f"{self.file} has no grid {self.table}"

    def make(self, root: Path) -> None:
        """Change the file."""
        path = root / self.file
        text = path.read_text()
        grid = self._grid(text)
        assert grid is not None
        path.write_text(text.replace(grid[1], "".join(self._lines(grid[1]))))

    def _grid(self, text: str) -> re.Match[str] | None:
        return re.search(rf'^{self.table} = """\n(.*?)"""', text, re.DOTALL | re.MULTILINE)

    def _lines(self, grid: str) -> Iterator[str]:
        for number, line in enumerate(grid.splitlines()):
            cell = self.status if not number else self.cells.get(line.split()[0], ".")
            yield f"{line} {cell}\n"


class Recipe(NamedTuple):
    """What somebody edits to add one thing.

    name: as CONTRIBUTING.md has it, after "To add ".
    edits: by hand, in the package and the migrations.
    contract: by hand, in what says how the library must behave, or what is pinned.
    most: how many files `edits` may change at most.
    tests: what would notice a forgotten place, beside the tests that are run for every recipe.
    missed: what a failure names when the edits of the file are left out, for one of them.
    """

    name: str
    edits: tuple[Edit, ...]
    contract: tuple[Edit | GridColumn, ...]
    most: int
    tests: str
    missed: dict[str, str]

    @property
    def files(self) -> tuple[str, ...]:
        """The files that are edited by hand, the contract aside."""
        return tuple(dict.fromkeys(edit.file for edit in self.edits))

    def problems(self, root: Path) -> list[str]:
        """Why the recipe cannot be carried out on a project; nothing when it can."""
        return [problem for edit in (*self.edits, *self.contract) if (problem := edit.problem(root)) is not None]
