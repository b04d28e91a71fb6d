"""How a lifecycle is declared and judged."""
