"""Whether the long forms of walks, races, power cuts and fuzzing are asked for."""

from __future__ import annotations

import os

LONG = bool(os.environ.get("DISPATCH_LONG"))
LONGEST = (
    "properties/test_walk.py", "races/test_pairs.py", "properties/test_proposal_life.py", "test_agent_runner.py",
    "test_typing.py", "test_packaging.py", "races/test_workers.py", "faults/test_interrupts.py", "faults/test_fuzz.py",
)  # fmt: skip
"""Files whose tests take seconds each; they begin first, so that none of them runs alone at the end."""
