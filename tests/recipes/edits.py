"""The recipes: which files are edited to add what."""

from __future__ import annotations

from tests.recipes import Edit, GridColumn, Recipe

ISSUE = "dispatch_state/models/issue.py"
VOCABULARY = "dispatch_state/vocabulary.py"

ASSIGN = (
    "    @transition(\n        IssueStatus.UNASSIGNED,\n        IssueStatus.QUEUED,\n        to=IssueStatus.ASSIGNED,"
)

STATUS = Recipe(
    "a status",
    (
        Edit(
            VOCABULARY,
            '    CANCELLED = member("cancelled", "It was cancelled.", FINAL)\n',
            '    CANCELLED = member("cancelled", "It was cancelled.", FINAL)\n'
            '    DEFERRED = member("deferred", "Not offered until somebody takes it up again.")\n',
        ),
        Edit(
            ISSUE,
            ASSIGN,
            "    @transition(IssueStatus.QUEUED, to=IssueStatus.DEFERRED)\n"
            '    def defer(self, *, by: Actor, reason: str = "") -> Columns:\n'
            '        """Take the issue off the queue for some time."""\n'
            "        return Columns()\n\n"
            "    @transition(IssueStatus.DEFERRED, to=IssueStatus.QUEUED, guards=(its_epic_runs, its_stage_runs))\n"
            '    def take_up(self, *, by: Actor, reason: str = "") -> Columns:\n'
            '        """Offer the issue again."""\n'
            "        return Columns()\n\n" + ASSIGN,
        ),
        Edit(
            "dispatch_state/cli/board_colours.py",
            '        IssueStatus.CANCELLED: Colour("#98a2b3", "#98a2b3", "dim"),\n',
            '        IssueStatus.CANCELLED: Colour("#98a2b3", "#98a2b3", "dim"),\n'
            '        IssueStatus.DEFERRED: Colour("#6941c6", "#9b8afb", "bold"),\n',
        ),
        Edit(
            "dispatch_state/views/explain.py",
            "        IssueStatus.BLOCKED: NOTHING,\n",
            "        IssueStatus.BLOCKED: NOTHING,\n"
            '        IssueStatus.DEFERRED: Onward("take_up", "somebody to take it up"),\n',
        ),
    ),
    (
        GridColumn("ISSUES", "deferred", {"cancel": "cancelled"}),
        Edit(
            "tests/grids.py",
            "\nassign          assigned   assigned ",
            "\ndefer           . deferred . . . . . . . ."
            "\ntake_up         . . . . . . . . . queued"
            "\nassign          assigned   assigned ",
        ),
        Edit(
            "tests/cascade_table.py",
            '    ("issues", "dequeue"): [],\n',
            '    ("issues", "dequeue"): [],\n    ("issues", "defer"): [],\n    ("issues", "take_up"): [],\n',
        ),
        Edit(
            "dispatch_state/audit/status_groups.py",
            '    unclaimed=("unassigned", "queued"),\n',
            '    unclaimed=("unassigned", "queued", "deferred"),\n',
        ),
    ),
    most=4,
    tests="factories testing enforcement verify views github",
    missed={
        "dispatch_state/cli/board_colours.py": "cli.board_colours.STATUS_COLOURS: no entry for deferred",
        "dispatch_state/views/explain.py": "views.explain.ONWARD[Issue]: no entry for deferred",
        "dispatch_state/audit/status_groups.py": "IssueStatus: deferred must be in exactly one group",
        ISSUE: "issues: no way leads to deferred",
    },
)

TRIGGER = Recipe(
    "a trigger",
    (
        Edit(
            "dispatch_state/models/epic.py",
            "    @transition(EpicStatus.READY, to=EpicStatus.IN_PROGRESS",
            "    @transition(EpicStatus.READY, to=EpicStatus.DRAFT)\n"
            '    def withdraw(self, *, by: Actor, reason: str = "") -> Columns:\n'
            '        """Go on writing the epic."""\n'
            "        return Columns()\n\n"
            "    @transition(EpicStatus.READY, to=EpicStatus.IN_PROGRESS",
        ),
    ),
    (
        Edit(
            "tests/grids.py",
            "\nstart       .          in_progress",
            "\nwithdraw    . draft . . . .\nstart       .          in_progress",
        ),
        Edit(
            "tests/cascade_table.py",
            '    ("epics", "reach_gate"): [],\n',
            '    ("epics", "withdraw"): [],\n    ("epics", "reach_gate"): [],\n',
        ),
    ),
    most=1,
    tests="cascades",
    missed={},
)

FILE = "f082b90d2dc851f2131542e11ea5d4a63bfabd7430cbd920111540601682cfc6"
SQLITE = "267d539392bb2e746a52cc6884d8a83f70361da612358c7fcb98e8652710f8d6"
POSTGRESQL = "2c474f5ae560cf747c7723b2b8d7d5d87e1ec5f60b005596df8998246ee9ced6"
"""The hashes of the migration below, and of its statements."""

COLUMN = Recipe(
    "a column",
    (
        Edit(
            "migrations/010_issue_estimate.py",
            "",
            '"""How large an issue is thought to be."""\n\n'
            "from typing import Any\n\nfrom dispatch_state import ddl\n\n"
            'SCHEMA = """\nALTER TABLE issues ADD COLUMN estimate TEXT;\n"""\n\n\n'
            "def up(migrator: Any, db: Any) -> None:\n    ddl.run(db, SCHEMA)\n",
        ),
        Edit(
            ISSUE,
            "    labels = JsonField(json_values.list_of_text, null=True)\n",
            "    labels = JsonField(json_values.list_of_text, null=True)\n    estimate = TextField(null=True)\n",
        ),
        Edit(
            "dispatch_state/models/columns.py",
            "    labels: list[str] | None\n",
            "    labels: list[str] | None\n    estimate: str | None\n",
        ),
    ),
    (
        Edit(
            "tests/migrations.py",
            "}\n\nNAMES = list(HASHES)",
            f'    "010_issue_estimate": "{FILE}",\n}}\n\nNAMES = list(HASHES)',
        ),
        Edit(
            "tests/schema/test_tables.py",
            '    ("gates", "auto_approve_at"): ("TEXT", 0, None, 0),\n',
            '    ("gates", "auto_approve_at"): ("TEXT", 0, None, 0),\n'
            '    ("issues", "estimate"): ("TEXT", 0, None, 0),\n',
        ),
        Edit(
            "tests/schema/test_schema.py",
            '}\n"""What `ddl` makes of each released migration',
            f'    ("010_issue_estimate", "sqlite"): "{SQLITE}",\n'
            f'    ("010_issue_estimate", "postgresql"): "{POSTGRESQL}",\n'
            '}\n"""What `ddl` makes of each released migration',
        ),
    ),
    most=3,
    tests="schema schemas typing",
    missed={},
)

AGENT_TYPE = Recipe(
    "an agent type",
    (
        Edit(
            VOCABULARY,
            '    ARCHITECT = member("architect", "Decides on structure.", ONE_AND_A_HALF)\n',
            '    ARCHITECT = member("architect", "Decides on structure.", ONE_AND_A_HALF)\n'
            '    ANALYST = member("analyst", "Finds out what is needed.", ONE)\n',
        ),
    ),
    (Edit("tests/models/test_voting.py", '"architect": 3}', '"architect": 3, "analyst": 2}'),),
    most=2,
    tests="voting actors",
    missed={},
)

CONSEQUENCE = Recipe(
    "a consequence",
    (
        Edit(
            "dispatch_state/engine/cascades.py",
            "# ---- proposals ----",
            '@after(PullRequest, "convert_to_draft", then=(Issue.request_changes,))\n'
            "def a_request_taken_back_sends_its_issue_back(request: PullRequest, firing: Firing) -> Iterator[Step]:\n"
            "    issue = present(Issue, request.issue_id)\n"
            "    agent = issue.assigned_agent\n"
            "    idle = agent is not None and agent.status == AgentStatus.IDLE\n"
            "    if idle and issue.status == IssueStatus.AWAITING_REVIEW:\n"
            '        yield Step(issue, "request_changes")\n\n\n'
            "# ---- proposals ----",
        ),
    ),
    (
        Edit(
            "tests/cascade_table.py",
            '    ("pull_requests", "convert_to_draft"): [],\n',
            '    ("pull_requests", "convert_to_draft"): [("issues", "request_changes")],\n',
        ),
    ),
    most=1,
    tests="cascades github",
    missed={},
)

COMMAND = Recipe(
    "a command",
    (
        Edit(
            "dispatch_state/cli/log.py",
            "def _log_options(",
            "def moves(call: Call) -> Exit:\n"
            '    """Count the moves that were made."""\n'
            "    call.open()\n"
            "    count = session().read(TransitionLog.select().count)\n"
            "    if call.out.as_json:\n"
            '        call.out.json({"moves": count})\n'
            "    else:\n"
            "        call.out.line(str(count))\n"
            "    return Exit.OK\n\n\n"
            "def _log_options(",
        ),
        Edit(
            "dispatch_state/cli/log.py",
            'Command("decisions", decisions, _decisions_options))',
            'Command("decisions", decisions, _decisions_options), Command("moves", moves))',
        ),
    ),
    (
        Edit(
            "tests/cli/test_cli.py",
            "]  # fmt: skip\n\n\ndef test_every_command_is_tried",
            '    ["moves"],\n]  # fmt: skip\n\n\ndef test_every_command_is_tried',
        ),
    ),
    most=1,
    tests="cli",
    missed={},
)

ERROR = Recipe(
    "an error",
    (
        Edit(
            "dispatch_state/errors.py",
            "        ├── StoreReadOnly ",
            "        ├── StoreStalled        the disk takes too long to write\n        ├── StoreReadOnly ",
        ),
        Edit(
            "dispatch_state/errors.py",
            "class StoreReadOnly(",
            "class StoreStalled(StoreError, peewee.OperationalError):\n"
            '    """The disk takes too long to write; put the file elsewhere."""\n\n\n'
            "class StoreReadOnly(",
        ),
        Edit("dispatch_state/__init__.py", "    StoreReadOnly,\n", "    StoreReadOnly,\n    StoreStalled,\n"),
        Edit(
            "dispatch_state/__init__.py",
            '    "StoreReadOnly",\n',
            '    "StoreReadOnly",\n    "StoreStalled",\n',
        ),
    ),
    (),
    most=2,
    tests="typing",
    missed={},
)

RECIPES = (STATUS, TRIGGER, COLUMN, AGENT_TYPE, CONSEQUENCE, COMMAND, ERROR)
