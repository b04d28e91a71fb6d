"""What `verify` reports about a store whose triggers are gone."""

from __future__ import annotations

from dispatch_state import Store, Violation


def told(store: Store) -> list[Violation]:
    """What verify says, but of the missing triggers."""
    return [violation for violation in store.verify() if violation.invariant != "enforcement"]
