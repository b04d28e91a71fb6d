"""Planted faults, each caught by the test that is named with it: `python -m tests.mutants [WORD …]`.

Each fault is put into a copy of the package, and its test is run there: it must fail, and it must pass
without the fault. Words choose the faults whose names hold them. Ends with 1 when a fault was missed.
"""

from __future__ import annotations

import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from tests.copies import copy_project, run_tests


class Fault(NamedTuple):
    """A text of a module, what stands in its place, and the test that notices."""

    name: str
    module: str
    text: str
    planted: str
    test: str


FAULTS = [
    Fault(
        "a dropped guard: an epic without stages is ready",
        "models/epic.py", "guards=(has_a_stage,)", "guards=()",
        "models/test_guards.py",
    ),
    Fault(
        "a dropped guard: a stage starts before the one above it is closed",
        "models/stage.py", "guards=(its_epic_in_progress, earlier_stages_closed)", "guards=(its_epic_in_progress,)",
        "models/test_guards.py",
    ),
    Fault(
        "a dropped guard: an agent reviews its own work",
        "models/issue_guards.py", "if reviewer.id == issue.assigned_agent_id:", "if False:",
        "models/test_guards.py",
    ),
    Fault(
        "a dropped guard: anybody of any type is assigned",
        "models/issue.py",
        "guards=(the_agent_is_free, the_agent_fits, its_epic_runs, its_stage_runs)",
        "guards=(the_agent_is_free, its_epic_runs, its_stage_runs)",
        "models/test_guards.py",
    ),
    Fault(
        "a checkpoint that opens a moment late",
        "models/gate.py", "firing.now >= gate.auto_approve_at", "firing.now > gate.auto_approve_at",
        "models/test_governance.py",
    ),
    Fault(
        "an issue done with a request open",
        "models/issue_guards.py", "    request = unsettled_request(issue.id)\n", "    request = None\n",
        "models/test_guards.py",
    ),
    Fault(
        "a swapped cascade: an epic's gates are not skipped with it",
        "engine/cascades.py", 'for gate in open_gates_of_epic(epic.id):\n        yield Step(gate, "skip")\n', "pass\n",
        "engine/test_cascades.py",
    ),
    Fault(
        "a JSON string that never ends, looked for again at each quote",
        "json_values.py", """[^"\\\\]*+)*+"?', re.DOTALL)""", """[^"\\\\]*)*"', re.DOTALL)""",
        "test_patterns.py",
    ),
    Fault(
        "a login as GitHub has them only",
        "actors.py", "[a-z0-9._+@\\\\|/-]{0,99}", "[a-z0-9_-]{0,38}",
        "test_actors.py",
    ),
    Fault(
        "a failure that is not recorded because of its text",
        "lifecycle/arguments.py", '"error", values.storable', '"error", values.nonblank_text',
        "models/test_agents.py -k recorded",
    ),
    Fault(
        "a copy that changes its original",
        "models/row.py", "{name: _copied(value) for name, value in vars(self).items()}", "vars(self)",
        "models/test_rows.py -k copy",
    ),
    Fault(
        "a subclass that passes by the rules of its table",
        "models/row.py", "if issubclass(base, Row) and", "if False and",
        "models/test_rows.py -k subclass",
    ),
    Fault(
        "a cause that is its own",
        "views/explain.py", "move.cause_seq < move.seq", "move.cause_seq <= move.seq + 1",
        "views/test_explain.py -k tampered",
    ),
    Fault(
        "metrics of any shape, written by SQL",
        "schema/column_constraints.py", "if field is Agent.metrics:", "if False:",
        "models/test_agents.py -k metrics",
    ),
    Fault(
        "columns that nobody knows, set on a row",
        "schemas.py", "not in (marshmallow.RAISE, marshmallow.EXCLUDE)", "is None",
        "test_schemas.py -k unknown",
    ),
    Fault(
        "an agent that merges what it had before the store was adopted",
        "models/pull_request.py", "[issue.assigned_agent_id, *(", "[None, *(",
        "schema/test_adoption.py -k merge",
    ),
    Fault(
        "an issue that cannot go to the agent that reviews it",
        "models/issue.py",
        "return unit.acts(\"reassign\", both(issue)",
        "return unit.acts(\"reassign\", list(both(issue))",
        "engine/test_reassigning.py -k may_go",
    ),
    Fault(
        "a parent that is stale after something was added to it",
        "engine/session.py", "                unit.remember(parent)\n", "                pass\n",
        "engine/test_creation.py -k added",
    ),
    Fault(
        "a reassigning that asks who acts before it asks whether there is such a move",
        "models/issue.py", ', legal="release"', "",
        "engine/test_reassigning.py -k whoever",
    ),
    Fault(
        "an off-by-one: attempts",
        "engine/cascades.py", "attempts(issue) < firing", "attempts(issue) <= firing",
        "engine/test_cascades.py",
    ),
    Fault(
        "a stage approved with nothing done",
        "engine/cascades.py", "and first_done_issue_of_stage(stage.id) is not None", "",
        "engine/test_cascades.py",
    ),
    Fault(
        "a decision by anybody's act",
        "engine/decisions.py",
        "if kind == DecisionType.HUMAN_OVERRIDE and not isinstance(firing.by, Human):", "if False:",
        "engine/test_cascades.py tests/lifecycle/test_grids.py",
    ),
    Fault(
        "a lost decision",
        "engine/unit_of_work.py",
        "        if decision is not None:\n            decision.details",
        "        if False:\n            decision.details",
        "models/test_governance.py",
    ),
    Fault(
        "a dead agent that acts",
        "engine/checks.py", "if agent.status in DEAD and", "if False and",
        "models/test_guards.py",
    ),
    Fault(
        "a fence on the version alone",
        "engine/session.py",
        'now["version"] != known["version"] or now["status"] != known["status"]',
        'now["version"] != known["version"]',
        "engine/test_fencing.py",
    ),
    Fault(
        "a fence that lets everybody pass",
        "engine/session.py",
        '        if now["version"] != known["version"] or now["status"] != known["status"]:',
        "        if False:",
        "engine/test_fencing.py",
    ),
    Fault(
        "an object that keeps what was rolled back",
        "engine/blocks.py",
        "self._object_states.end(self._level, restore=failed)",
        "self._object_states.end(self._level, restore=False)",
        "engine/test_atomicity.py",
    ),
    Fault(
        "an inner block that forgets what the outer one must put back",
        "engine/blocks.py",
        "                    self.blocks[-2].setdefault(key, (row, state))\n", "                    pass\n",
        "engine/test_atomicity.py",
    ),
    Fault(
        "a foreign exception that leaves",
        "engine/session.py", "            if isinstance(error, database.foreign_errors):", "            if False:",
        "storage/test_errors.py tests/test_bad_input.py tests/storage/test_write_queue.py",
    ),
    Fault(
        "a foreign exception that leaves a block",
        "engine/blocks.py",
        "if error is not None and isinstance(error, self._database.foreign_errors):", "if False:",
        "schema/test_enforcement.py -k through_the_library",
    ),
    Fault(
        "a rescue that stops agents which have just sent a heartbeat",
        "engine/maintenance.py", "abs(now - agent.last_heartbeat) > longest", "True",
        "engine/test_rescue.py -k spared",
    ),
    Fault(
        "a heartbeat that goes back",
        "models/heartbeats.py", "unit.now - agent.last_heartbeat >= every", "True",
        "models/test_agents.py -k heartbeats",
    ),
    Fault(
        "a claim that others can make fail",
        "engine/claims.py", "        raise _TryAgain(issue.id) from refusal\n", "        raise\n",
        "engine/test_claims.py -k passed_over",
    ),
    Fault(
        "a claim that tries what it has passed over",
        "engine/claims.py", "            query = query.where(Issue.id.not_in(passed))\n", "            pass\n",
        "engine/test_claims.py -k not_tried_again",
    ),
    Fault(
        "a claim that tries every issue for an agent that can have none",
        "engine/claims.py", "if issue_under_way(agent.id) not in (None, issue):", "if False:",
        "engine/test_claims.py -k no_issue_can_be_given",
    ),
    Fault(
        "a claim that gives the dead nothing instead of refusing them",
        "engine/claims.py", "        unit.refuse(agent, \"claim\", unit.actor_refusals(agent, agent))\n", "",
        "engine/test_claims.py -k dies",
    ),
    Fault(
        "a claim that gives back what was taken away",
        "engine/claims.py", "if issue is None or issue != before:", "if issue is None and (issue := before) is None:",
        "engine/test_claims.py -k taken_away_meanwhile",
    ),
    Fault(
        "a claim for nothing that writes each time",
        "engine/claims.py", "if unit.now - agent.last_heartbeat >= IDLE_HEARTBEAT_INTERVAL:", "if True:",
        "engine/test_claims.py -k now_and_then",
    ),
    Fault(
        "a claim for nothing that is no heartbeat",
        "engine/claims.py", "if unit.now - agent.last_heartbeat >= IDLE_HEARTBEAT_INTERVAL:", "if False:",
        "engine/test_claims.py -k now_and_then",
    ),
    Fault(
        "a process that is not handed on",
        "engine/cascades.py", "\"run\", **firing.passed_on)", "\"run\")",
        "engine/test_claims.py -k start",
    ),
    Fault(
        "a heartbeat for what was taken",
        "models/agent.py", "if wanted is not None and held != wanted:", "if False:",
        "models/test_agents.py -k answers",
    ),
    Fault(
        "a heartbeat ahead that takes other stamps along",
        "models/agent.py", "if name != \"last_heartbeat\")", "if name)",
        "engine/test_rescue.py -k forgotten",
    ),
    Fault(
        "a sign of life that never goes back",
        "engine/columns.py", "value(now if value is PRESENT else moment)", "value(moment)",
        "models/test_agents.py -k sign_of_life",
    ),
    Fault(
        "a log line of no issue",
        "models/agent_log.py", "columns[\"issue\"] or agent.current_issue_id", "columns[\"issue\"]",
        "models/test_agents.py -k log_line",
    ),
    Fault(
        "a rescue that spares a clock that was ahead",
        "engine/maintenance.py", " | (Agent.last_heartbeat > until)", "",
        "engine/test_rescue.py -k longest_silence",
    ),
    Fault(
        "a rescue that a broken row stops",
        "engine/maintenance.py",
        "            except Exception as error:", "            except ZeroDivisionError as error:",
        "engine/test_rescue.py -k keeps_no_other",
    ),
    Fault(
        "a rescue that keeps a broken row to itself",
        "engine/maintenance.py", "        raise errors[0]\n", "",
        "engine/test_rescue.py -k keeps_no",
    ),
    Fault(
        "a rescue that stops who was given work meanwhile",
        "engine/maintenance.py", " or any_live_issue(agent.id):", ":",
        "engine/test_rescue.py -k is_not_stopped",
    ),
    Fault(
        "a claim that leaves what is for anybody",
        "engine/claims.py", "for kind in (agent.agent_type, ANYBODY)]", "for kind in (agent.agent_type,)]",
        "engine/test_claims.py -k anybody",
    ),
    Fault(
        "wrong rounding: two thirds as a float",
        "models/voting.py", "3 * approve >= 2 * (approve + reject)", "float(approve / (approve + reject)) >= 0.6667",
        "models/test_voting.py tests/properties/test_voting_laws.py",
    ),
    Fault(
        "a vote that need_more_info does not hold up",
        "models/voting.py", "early or not (missing or unsure)", "early or not missing",
        "models/test_voting.py",
    ),
    Fault(
        "a missing lock",
        "engine/locks.py", "        keys = sorted(found.get(model, ()))", "        keys = []",
        "races/test_pairs.py -k postgresql",
    ),
    Fault(
        "locks in any order",
        "engine/locks.py",
        "    for model in ORDER:\n        keys",
        "    for model in sorted(ORDER, key=lambda _: __import__('random').random()):\n        keys",
        "races/test_pairs.py -k postgresql",
    ),
    Fault(
        "a trigger that does not lock what its cascade moves",
        "models/pull_request.py",
        "to=PullRequestStatus.CLOSED, allowed=owner, locks=(Lock.ISSUE,))",
        "to=PullRequestStatus.CLOSED, allowed=owner)",
        "engine/test_locks.py",
    ),
    Fault(
        "an import that does not check what is locked",
        "engine/locks.py", "                if table not in locked:", "                if False:",
        "engine/test_locks.py -k error",
    ),
    Fault(
        "a check of locks that ignores what follows from what follows",
        "engine/locks.py", "            waiting += followers.get((owners[trigger], trigger.name), ())\n", "",
        "engine/test_locks.py -k error",
    ),
    Fault(
        "a table of weights with an entry forgotten",
        "vocabulary.py", "if missing := [str(key) for key in wanted if key not in table]:", "if missing := []:",
        "test_vocabulary.py",
    ),
    Fault(
        "a savepoint that is not released",
        "storage/transactions.py",
        "                    database.run(f\"RELEASE SAVEPOINT {savepoint_name(depth)}\")\n",
        "                    pass\n",
        "storage/test_connections.py",
    ),
    Fault(
        "a child that keeps its parent's turn",
        "storage/connections.py", "            connection.turn.abandon()\n", "",
        "storage/test_write_queue.py",
    ),
    Fault(
        "a turn that is not given back",
        "storage/sqlite_connections.py",
        "        self.in_unobserved_block = False\n        self.turn.give_back()",
        "        self.in_unobserved_block = False",
        "storage/test_write_queue.py",
    ),
    Fault(
        "a trigger that asks for no log row",
        "schema/constraints.py",
        "NOT (NEW.version = OLD.version + 1 AND {logged})", "NOT (NEW.version = OLD.version + 1)",
        "schema/test_enforcement.py -k 'way_round and sqlite'",
    ),
    Fault(
        "a log that takes any move",
        "schema/constraints.py", "ELSE {stands} AND CASE NEW.trigger {edges} ELSE FALSE END END", "ELSE {stands} END",
        "schema/test_enforcement.py -k 'pair and sqlite'",
    ),
    Fault(
        "a row that is replaced",
        "schema/constraints.py",
        'yield Constraint(dialect.exists(table, f"{key} = NEW.{key}"), f"{table}.{key}: a row with this key exists")',
        "pass",
        "schema/test_enforcement.py -k 'round and sqlite'",
    ),
    Fault(
        "triggers that are not put back",
        "schema/migrate.py", "enforcement.ensure(database) if wanted else", "",
        "schema/test_enforcement.py -k noticed",
    ),
    Fault(
        "a timestamp that SQLite rounds",
        "schema/column_constraints.py", 'whole = f"substr({new}, 1, 19)"', 'whole = new',
        "schema/test_enforcement.py -k moment",
    ),
    Fault(
        "a verify that does not fold the log",
        "audit/verify.py", "    statuses_match_log,\n", "",
        "audit/test_verify.py -k alone",
    ),
    Fault(
        "a restore that is not verified",
        "transfer/backups.py", "        _refuse_unsound(database)\n", "",
        "transfer/test_backups.py",
    ),
    Fault(
        "a backup over what is there",
        "transfer/files.py",
        "os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC", "os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC",
        "transfer/test_backups.py",
    ),
    Fault(
        "a call from asyncio that waits for its own block",
        "aio.py", "    if DATABASE.transaction_depth():", "    if False:",
        "test_aio.py -k 'block and sqlite'",
    ),
    Fault(
        "a machine that skips its condition",
        "lifecycle/machine.py", "            if condition(*args):", "            if condition(*args) or True:",
        "models/test_guards.py",
    ),
    Fault(
        "a birth that is tried again with what the lost one was filled in with",
        "engine/session.py", "row_object(type(row), dict(columns))", "row_object(type(row), columns)",
        "engine/test_atomicity.py -k filled_in_anew",
    ),
    Fault(
        "a turn in a caller's block that is tried again without the block",
        "storage/retries.py",
        "(not depth and self._database.should_retry(error))", "self._database.should_retry(error)",
        "engine/test_atomicity.py -k callers_block",
    ),
    Fault(
        "JSON too deep to be read that is no word of ours",
        "storage/statements.py", "KeyError, OverflowError, RecursionError\n", "KeyError, OverflowError\n",
        "faults/test_storage.py -k cannot_be_read",
    ),
    Fault(
        "JSON that is read to the end of its first value only",
        "json_values.py", "return value if end == len(encoded) else decoder.decode(encoded)", "return value",
        "models/test_rows.py -k json",
    ),
    Fault(
        "a float that comes back as an integer beyond 64 bits",
        "json_values.py", "[0-9]{19}(?<![0-9.][0-9]{19})", "[0-9]{20}(?<![0-9.][0-9]{20})",
        "models/test_rows.py -k 64_bits",
    ),
    Fault(
        "a commit that another connection takes",
        "storage/postgresql.py",
        "if connection is None or not is_alive(connection):\n            raise StoreUnreachable(",
        "if False:\n            raise StoreUnreachable(",
        "storage/test_errors.py -k commit",
    ),
    Fault(
        "a commit of a failed transaction that passes for a success",
        "storage/postgresql.py", 'if cursor.statusmessage == "ROLLBACK":', "if False:",
        "engine/test_atomicity.py -k passes",
    ),
    Fault(
        "a writer that goes on for ever while others wait",
        "storage/write_queue.py",
        "self._must_yield = now - self._streak_began > LONGEST_STREAK", "self._must_yield = False",
        "storage/test_write_queue.py -k while",
    ),
    Fault(
        "a queue that serves whoever looks first",
        "storage/write_queue.py", "first = arrived <= queue.arrived or not queue.is_waited_in(now)", "first = True",
        "storage/test_write_queue.py -k come",
    ),
    Fault(
        "a queue held up by one who died in it",
        "storage/write_queue.py",
        "first = arrived <= queue.arrived or not queue.is_waited_in(now)", "first = arrived <= queue.arrived",
        "storage/test_write_queue.py -k come",
    ),
    Fault(
        "a statement kept for each number of rows to lock",
        "engine/locks.py", "size = 1 << (len(batch) - 1).bit_length()", "size = len(batch)",
        "engine/test_locks.py -k few",
    ),
    Fault(
        "a cursor made for each statement on PostgreSQL",
        "storage/postgresql.py", "cursor = connection.reused_cursor.execute(sql, parameters)",
        "cursor = connection.cursor().execute(sql, parameters)",
        "test_costs.py -k cursor",
    ),
    Fault(
        "a list that is compared with what it was when it was handed out last",
        "storage/fields.py",
        "            if self.name not in fingerprints:\n                fingerprints", "            fingerprints",
        "models/test_rows.py -k in_place",
    ),
]  # fmt: skip


def verdict(fault: Fault) -> str:
    """What became of a fault: "caught", "MISSED", or why it says nothing."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        module = copy_project(folder) / "dispatch_state" / fault.module
        whole = module.read_text()
        if whole.count(fault.text) != 1:
            return f"STALE: its text stands {whole.count(fault.text)} times in {fault.module}"
        if not passes(fault.test, folder):
            return "STALE: its test fails without it"
        module.write_text(whole.replace(fault.text, fault.planted))
        return "MISSED" if passes(fault.test, folder) else "caught"


def passes(test: str, folder: str) -> bool:
    return run_tests(f"-x tests/{test}", folder).returncode == 0


def main(words: list[str]) -> int:
    chosen = [fault for fault in FAULTS if all(word in fault.name for word in words)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        verdicts = list(zip(chosen, pool.map(verdict, chosen), strict=True))
    for fault, told in verdicts:
        print(f"{told:8} {fault.name}  [{fault.test}]", flush=True)
    return int(any(told != "caught" for _, told in verdicts))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
