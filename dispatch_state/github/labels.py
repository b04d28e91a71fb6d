"""What the labels of an issue say of its type and its priority."""

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
"""What a label says of an issue's type, with or without a prefix such as `type: ` or `kind/`."""
PRIORITIES: Mapping[str, Priority] = {
    **{str(word): word for word in Priority},
    "p0": Priority.CRITICAL,
    "p1": Priority.HIGH,
    "p2": Priority.MEDIUM,
    "p3": Priority.LOW,
    "urgent": Priority.CRITICAL,
}
"""What a label says of an issue's priority, with or without a prefix such as `priority: `."""
_PREFIX = re.compile(r"^(?:type|kind|priority|prio|severity)\s*[:/=-]\s*", re.IGNORECASE)


def meant(labels: Iterable[str]) -> dict[str, Any]:
    """The columns of an issue that its labels say something of; of several words for one, the first of our list."""
    said = {_PREFIX.sub("", label).strip().lower() for label in labels}
    found = {"issue_type": _first(TYPES, said), "priority": _first(PRIORITIES, said)}
    return {name: word for name, word in found.items() if word is not None}


def _first(meanings: Mapping[str, Any], said: set[str]) -> Any:
    return next((meaning for word, meaning in meanings.items() if word in said), None)
