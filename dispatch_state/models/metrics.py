"""What `agents.metrics` holds: counters, a mean time, and numbers of a caller's own."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from dispatch_state import json_values, values
from dispatch_state.errors import InvalidValue

COUNTERS = ("issues_completed", "errors_encountered", "tokens_used")
"""The metrics that count from 0."""
MEAN_TIME = "avg_completion_time"
"""The metric that is the mean of completed_at - assigned_at, in seconds."""
NO_METRICS = f"takes a JSON object of numbers, of which {values.listed(COUNTERS)} are whole and not negative"


def measurements(value: object, place: str) -> None:
    """A shape: a JSON object of numbers.

    The counters are whole and not negative; both databases ask for the same.
    """
    try:
        json_values.json_object(value, place)
        assert isinstance(value, dict)
        for name, held in value.items():
            number = values.number(held, place)
            if name in COUNTERS and not (number.is_integer() and 0 <= held < values.INTEGER_RANGE.stop):
                raise InvalidValue(place)
    except InvalidValue:
        raise InvalidValue(f"{place}: {NO_METRICS}") from None


def with_every_one(held: Mapping[str, Any]) -> dict[str, Any]:
    """Stored metrics, with 0 for what was never counted; raises `InvalidValue` when they are no object of numbers."""
    measurements(held, "agents.metrics")
    whole = {name: int(held[name]) for name in COUNTERS if name in held}
    return {**dict.fromkeys(COUNTERS, 0), MEAN_TIME: 0.0, **held, **whole}


def more(count: int) -> int:
    """One more, or the most that a column holds."""
    return min(count + 1, values.INTEGER_RANGE.stop - 1)


def with_one_more(counted: dict[str, Any], since: datetime | None, now: datetime) -> dict[str, Any]:
    """Metrics with one more issue completed, on which the agent worked since a moment."""
    done = counted["issues_completed"]
    spent = max((now - since).total_seconds(), 0.0) if since else 0.0
    counted[MEAN_TIME] += (spent - counted[MEAN_TIME]) / (done + 1)
    counted["issues_completed"] = more(done)
    return counted
