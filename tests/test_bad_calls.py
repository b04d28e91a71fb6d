"""Calls with objects that are not whole, or not of the kind that is asked for."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dispatch_state import Agent, Epic, InvalidValue, Issue
from tests.world import MAINTAINER, WHY, World

BAD_CALLS: dict[str, Callable[[World, Issue, Agent], object]] = {
    "save only a number": lambda w, i, a: i.save(only=5),
    "save only text": lambda w, i, a: i.save(only="title"),
    "save only a field": lambda w, i, a: i.save(only=Issue.title),
    "save only what is none": lambda w, i, a: i.save(only=["nope"]),
    "save only numbers": lambda w, i, a: i.save(only=[5, None]),
    "log about a partial row": lambda w, i, a: a.log("info", "m", issue=Issue.select(Issue.title).get()),
    "may without its argument": lambda w, i, a: i.may("assign", by=MAINTAINER),
    "may with another's argument": lambda w, i, a: i.may("queue", by=MAINTAINER, foo=1),
    "a version that is true": lambda w, i, a: w.new_issue(version=True),
    "a trigger of another model": lambda w, i, a: Issue.block(w.epics("draft"), by=MAINTAINER, reason=WHY),  # type: ignore[arg-type]
    "an agent in name": lambda w, i, a: i.assign(type("Agent", (), {"is_new": False, "id": 1})(), by=MAINTAINER),
    "a vote of a partial agent": lambda w, i, a: w.new_proposal().vote(
        Agent.select(Agent.agent_type).get(), "approve", WHY
    ),
    "reassign to a partial agent": lambda w, i, a: i.reassign(
        Agent.select(Agent.agent_type).get(), by=MAINTAINER, reason=WHY
    ),
    "place in a partial epic": lambda w, i, a: i.place(Epic.select(Epic.title).get(), by=MAINTAINER),
    "remove a partial row": lambda w, i, a: Issue.select(Issue.id).get().remove(by=MAINTAINER, reason=WHY),
    "comment as nobody": lambda w, i, a: w.waiting_stage().gates.get().comment("Hm", by=None),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("call", BAD_CALLS.values(), ids=BAD_CALLS)
def test_bad_calls(world: World, call: Callable[[World, Issue, Agent], object]) -> None:
    world.epics("draft")
    with pytest.raises(InvalidValue):
        call(world, world.issues("in_progress"), world.agent())
