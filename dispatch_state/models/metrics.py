"""The metrics of an agent: counters, a mean time, and numbers that the caller adds."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from dispatch_state import json_values, values
from dispatch_state.errors import InvalidValue

COUNTERS = ("issues_completed", "errors_encountered", "tokens_used")
"""The metrics that count, from 0."""
MEAN_TIME = "avg_completion_time"
"""The metric with the mean of completed_at - assigned_at, in seconds."""
NO_METRICS = f"takes a JSON object of numbers, of which {values.listed(COUNTERS)} are whole and not negative"


def measurements(value: object, place: str) -> None:
    """A shape: a JSON object of numbers.

    The counters must be whole and not negative. Both databases demand the same.

    Args:
        value: the value to check.
        place: the table and the column, for the message.

    Raises:
        InvalidValue: it is anything else.
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


def all_metrics(held: Mapping[str, Any]) -> dict[str, Any]:
    """Complete stored metrics with 0 for what was never counted.

    Args:
        held: the stored metrics.

    Returns:
        All metrics; the counters as integers.

    Raises:
        InvalidValue: the stored value is not an object of numbers.
    """
    measurements(held, "agents.metrics")
    whole = {name: int(held[name]) for name in COUNTERS if name in held}
    return {**dict.fromkeys(COUNTERS, 0), MEAN_TIME: 0.0, **held, **whole}


def plus_one(count: int) -> int:
    """Return the count plus one, or the greatest integer that a column can store."""
    return min(count + 1, values.INTEGER_RANGE.stop - 1)


def with_one_completed(counted: dict[str, Any], since: datetime | None, now: datetime) -> dict[str, Any]:
    """Count one more completed issue.

    Args:
        counted: all metrics, as `all_metrics` returns them; they are changed.
        since: the moment from which the agent worked on the issue, if it is known.
        now: the moment of completion.

    Returns:
        The changed metrics.
    """
    done = counted["issues_completed"]
    spent = max((now - since).total_seconds(), 0.0) if since else 0.0
    counted[MEAN_TIME] += (spent - counted[MEAN_TIME]) / (done + 1)
    counted["issues_completed"] = plus_one(done)
    return counted
