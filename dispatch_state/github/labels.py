"""The type and the priority that the labels of an issue stand for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from dispatch_state.vocabulary import IssueType, Priority

TYPES: Mapping[str, IssueType] = {
    **{str(word): word for word in IssueType},
    "enhancement": IssueType.FEATURE,
    "documentation": IssueType.DOCS,
    "refactoring": IssueType.REFACTOR,
    "tests": IssueType.TEST,
    "testing": IssueType.TEST,
    "dependencies": IssueType.CHORE,
}
"""The labels that stand for a type, with or without a prefix such as `type: ` or `kind/`."""
PRIORITIES: Mapping[str, Priority] = {
    **{str(word): word for word in Priority},
    "p0": Priority.CRITICAL,
    "p1": Priority.HIGH,
    "p2": Priority.MEDIUM,
    "p3": Priority.LOW,
    "urgent": Priority.CRITICAL,
}
"""The labels that stand for a priority, with or without a prefix such as `priority: `."""
_PREFIX = re.compile(r"^(?:type|kind|priority|prio|severity)\s*[:/=-]\s*", re.IGNORECASE)


def columns_from_labels(labels: Iterable[str]) -> dict[str, Any]:
    """Return the type and the priority of an issue, as far as its labels name them.

    When several labels name a type, or a priority, the one that comes first in the tables above counts.

    Args:
        labels: the names of the labels.
    """
    names = {_PREFIX.sub("", label).strip().lower() for label in labels}
    found = {"issue_type": _first(TYPES, names), "priority": _first(PRIORITIES, names)}
    return {column: word for column, word in found.items() if word is not None}


def _first(meanings: Mapping[str, Any], names: set[str]) -> Any:
    return next((meaning for label, meaning in meanings.items() if label in names), None)
