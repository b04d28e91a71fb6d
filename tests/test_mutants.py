"""The planted faults and the recipes of CONTRIBUTING.md still apply to the code, so that neither rots."""

from __future__ import annotations

from pathlib import Path

import pytest

import dispatch_state
from tests.mutants import FAULTS, Fault

PACKAGE = Path(dispatch_state.__file__).parent


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.name for fault in FAULTS])
def test_a_fault_can_be_planted(fault: Fault) -> None:
    """Its text is in its module exactly once, and its test is there."""
    assert (PACKAGE / fault.module).read_text().count(fault.text) == 1
    assert fault.planted != fault.text
    files = [word for word in f"tests/{fault.test}".split() if word.endswith(".py")]
    assert files
    assert all((Path(__file__).parent.parent / file).exists() for file in files)
