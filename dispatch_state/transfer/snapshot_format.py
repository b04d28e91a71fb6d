"""The format of a snapshot: the whole store as a file of lines, for moving to another database.

The first line says what the file is, and the last line how many rows of each table are between them. Each line is
JSON. A row is written as `{table: {column: value}}`. Tables come in the order in which they can be inserted, and rows
in the order of their keys, so two exports of the same rows are the same bytes, whatever the database.
"""

from __future__ import annotations

from dispatch_state.models.agent import Agent
from dispatch_state.models.epic import Epic
from dispatch_state.models.gate import Gate
from dispatch_state.models.issue import Issue
from dispatch_state.models.proposal import Proposal
from dispatch_state.models.pull_request import PullRequest
from dispatch_state.models.row import Row
from dispatch_state.models.stage import Stage
from dispatch_state.models.tables import PLAIN

FORMAT, VERSION = "dispatch_state", 1
"""What the first line says."""
ORDER: tuple[type[Row], ...] = (Epic, Stage, Gate, Agent, Issue, PullRequest, Proposal, *PLAIN)
"""Every table; parents come before their children."""
TABLES = {model._meta.table_name: model for model in ORDER}
FORMER_MEAN_TIME = "avg_completion_time_secs"
"""The name under which snapshots of older versions have the mean time to completion."""
PAGE = 500
"""The number of rows that are read or written at once, unless they are long."""
LONGEST, DEEPEST = 256 * 1024 * 1024, 40
"""The maximum length of a line in bytes, and the maximum depth of its JSON."""
