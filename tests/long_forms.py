"""Whether the long forms of walks, races, power cuts and fuzzing are asked for."""

from __future__ import annotations

import os

LONG = bool(os.environ.get("DISPATCH_LONG"))
