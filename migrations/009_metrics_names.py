"""An agent's mean time to completion, in seconds, goes by the name that the seed has for it: avg_completion_time."""

import json
from typing import Any

FORMER, NAME = "avg_completion_time_secs", "avg_completion_time"


def up(migrator: Any, db: Any) -> None:
    update = "UPDATE agents SET metrics = ? WHERE id = ?".replace("?", db.param)
    for agent, stored in db.execute_sql("SELECT id, metrics FROM agents WHERE metrics IS NOT NULL").fetchall():
        metrics = _read(stored)
        if not isinstance(metrics, dict) or FORMER not in metrics:
            continue
        mean = metrics.pop(FORMER)
        metrics.setdefault(NAME, mean)  # where both stand, the former counted what came before it as done in no time
        db.execute_sql(update, (json.dumps(metrics, ensure_ascii=False, separators=(",", ":")), agent))


def _read(stored: Any) -> Any:
    """What a column means; None for what is no JSON, which verify() names."""
    try:
        return json.loads(stored) if isinstance(stored, str) else stored
    except (ValueError, RecursionError):
        return None
