"""Words that a column may hold, and tables with an entry for each."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from dispatch_state.vocabulary import AgentStatus, AgentType, Priority, Threshold, total


def test_a_table_with_an_entry_for_each_word_is_taken_as_it_is() -> None:
    table = {word: len(word) for word in Threshold}
    assert total(table, Threshold, "lengths") is table
    live = dict.fromkeys(AgentStatus.live(), 0)
    assert total(live, AgentStatus.live(), "counts") is live


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({Priority.HIGH: 1, Priority.LOW: 2}, "ranks: no entry for critical, medium"),
        (
            {**dict.fromkeys(Priority, 1), Threshold.UNANIMOUS: 2},
            "ranks: no use for the entry unanimous",
        ),
    ],
)
def test_a_forgotten_entry_is_an_error_that_names_it(table: Any, message: str) -> None:
    with pytest.raises(TypeError, match=f"^{message}$"):
        total(table, Priority, "ranks")


def test_a_type_of_agent_without_a_weight_is_an_error_that_names_it() -> None:
    made: Any = AgentType.__new_member__  # type: ignore[attr-defined]
    assert made(AgentType, "analyst", "Finds out what is needed.", Fraction(1)).weight == 1
    with pytest.raises(TypeError, match="weight"):
        made(AgentType, "analyst", "Finds out what is needed.")
