"""Snapshots in memory."""

from __future__ import annotations

import io

from dispatch_state import Store


def exported(store: Store) -> bytes:
    out = io.BytesIO()
    store.export(out)
    return out.getvalue()
