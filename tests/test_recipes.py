"""The recipes of CONTRIBUTING.md still apply to the code; `python -m tests.recipes` carries each of them out."""

from __future__ import annotations

import re

import pytest

from tests.copies import ROOT
from tests.recipes import Recipe
from tests.recipes.__main__ import forgotten
from tests.recipes.edits import AGENT_TYPE, RECIPES, STATUS

PAGE = (ROOT / "CONTRIBUTING.md").read_text()
TEXTS = dict(re.findall(r"^\*\*(An? [a-z ]+)[.*]+(.*?)(?=^\*\*|^## )", PAGE, re.DOTALL | re.MULTILINE))
"""What the page says of each recipe, by its name there."""


@pytest.mark.parametrize("recipe", RECIPES, ids=[recipe.name for recipe in RECIPES])
def test_a_recipe_applies(recipe: Recipe) -> None:
    """Each text that it replaces is there once, it names few files, and the page names all of them."""
    assert recipe.problems(ROOT) == []
    assert len(recipe.files) <= recipe.most
    text = TEXTS[recipe.name.capitalize()]
    for file in (*recipe.files, *(edit.file for edit in recipe.contract)):
        folder, _, name = file.removeprefix("dispatch_state/").rpartition("/")
        assert f"`{folder}/{name}`" in text or f"`{folder}/`" in text or f"`{file}`" in text or f"`{name}`" in text, (
            file
        )


def test_the_page_has_a_recipe_for_each() -> None:
    assert {name.lower() for name in TEXTS} == {recipe.name for recipe in RECIPES}


def test_a_text_that_is_gone_is_a_problem() -> None:
    (edit,) = AGENT_TYPE.edits
    gone = AGENT_TYPE._replace(edits=(edit._replace(text="no such text"),))
    assert gone.problems(ROOT) == ["dispatch_state/vocabulary.py has this text 0 times, not once: 'no such text'"]


def test_a_forgotten_file_is_named_by_the_import() -> None:
    file = "dispatch_state/cli/board_colours.py"
    assert list(forgotten(STATUS, file)) == []
    other = STATUS._replace(missed={file: "something else"})
    assert [
        wrong.startswith(f"without {file} the import should say 'something else'") for wrong in forgotten(other, file)
    ]
