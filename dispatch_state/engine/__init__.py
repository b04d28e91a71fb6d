"""Move and record together."""
