"""Stores to measure on: small ones made by the library, large ones written past it."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

from benchmarks.twins import Session, opened
from dispatch_state import Agent, Epic, Human, Issue, Stage, Store
from dispatch_state.schema import enforcement

MAINTAINER = Human("maintainer")
COLUMNS: dict[str, Any] = {"title": "An issue", "prompt": "Do it, and say what was done.", "issue_type": "feature"}


def issues(count: int, **columns: Any) -> list[UUID]:
    """So many new issues, unassigned."""
    return [Issue.create(**{**COLUMNS, "repo_path": "/src", **columns}).id for _ in range(count)]


def agents(count: int, agent_type: str = "coder") -> list[UUID]:
    """So many idle agents."""
    return [Agent.create(agent_type=agent_type).id for _ in range(count)]


def running_epic(stages: int = 2) -> Epic:
    """An epic in progress, a gate on its first stage and three issues in each other one."""
    epic = Epic.create(title="An epic", description="What it is about", repo_path="/src")
    first, *others = [epic.add_stage(f"stage {number}") for number in range(stages)]
    first.add_gate("approval", "A person looks")
    for stage in others:
        for _ in range(3):
            stage.add_issue(**COLUMNS)
    epic.mark_ready(by=MAINTAINER)
    epic.start(by=MAINTAINER)
    return epic


def running_stage() -> Stage:
    """A stage that is in progress."""
    stage: Stage = running_epic().stages.order_by(Stage.stage_order).first()
    return stage


# ---- large stores --------------------------------------------------------------------------------------

_ID = "printf('019c{kind}-%04x-7000-8000-%012x', i >> 16 & 65535, i)"
_WHEN = "strftime('%Y-%m-%dT%H:%M:%S', 1767225600 + i, 'unixepoch') || '.000000+00:00'"
_NUMBERS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)"
_PRIORITY = "CASE i % 8 WHEN 0 THEN 'critical' WHEN 1 THEN 'high' WHEN 2 THEN 'low' ELSE 'medium' END"

_ISSUES = f"""
INSERT INTO issues (id, repo_path, title, prompt, issue_type, priority, status, created_at, updated_at, completed_at)
{_NUMBERS} SELECT {_ID}, '/src', 'An issue', 'Do it, and say what was done.', 'feature', {_PRIORITY}, '{{status}}',
    {_WHEN}, {_WHEN}, {{completed}} FROM n
"""
_AGENTS = f"""
INSERT INTO agents (id, agent_type, status, started_at, last_heartbeat)
{_NUMBERS} SELECT {_ID}, 'coder', 'idle', {_WHEN}, {_WHEN} FROM n
"""
_LOG = f"""
INSERT INTO transition_log (entity, entity_id, version, "trigger", dest, actor, created_at)
{_NUMBERS} SELECT '{{table}}', {_ID}, 1, 'adopt', '{{status}}', 'system:store', {_WHEN} FROM n
"""


IDLE = 5_000
"""Agents in a large store: each claims once."""


def large(session: Session, *, queued: int, done: int = 0, idle: int = IDLE) -> str:
    """A copy of a store of so many adopted issues and agents; made once, and kept among temporary files."""
    kept = _kept(f"{queued}-{done}-{idle}")
    if not kept.exists():
        path = session.scratch("large")
        with opened(path) as store:
            fill(store, queued=queued, done=done, idle=idle)
        partial = kept.with_suffix(".partial")
        shutil.move(path, partial)
        partial.replace(kept)
    return session.copy(str(kept))


def _kept(name: str) -> Path:
    """Where a large store is kept; another way of making it has another name."""
    folder = Path(tempfile.gettempdir()) / "dispatch-benchmarks"
    folder.mkdir(exist_ok=True)
    migrations = sorted(Path(__file__).parent.parent.glob("migrations/*.py"))
    text = "".join(path.read_text() for path in (Path(__file__), *migrations))
    return folder / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}.db"


def fill(store: Store, *, queued: int, done: int, idle: int) -> None:
    """Write adopted rows past the library, in one transaction, while the database's triggers do not stand."""
    database = store.database
    with database.transaction("EXCLUSIVE"):
        enforcement.remove(database)
        for sql, count in _texts(queued, done, idle):
            database.execute_sql(sql, (count,))
        enforcement.install(database)


def _texts(queued: int, done: int, idle: int) -> Iterator[tuple[str, int]]:
    kinds = (("a", "issues", "queued", queued), ("b", "issues", "done", done), ("c", "agents", "idle", idle))
    for kind, table, status, count in kinds:
        if count:
            shape = _AGENTS if table == "agents" else _ISSUES
            completed = _WHEN if status == "done" else "NULL"
            slots = {"kind": f"000{kind}", "table": table, "status": status, "completed": completed}
            yield shape.format(**slots), count
            yield _LOG.format(**slots), count


def idle_agents() -> Iterator[Agent]:
    """The agents of a large store, one after the other."""
    yield from Agent.select().order_by(Agent.id).iterator()
