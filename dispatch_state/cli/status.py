"""The store at a glance: the rows by status, what waits for a person, and what is under way."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Mapping
from itertools import groupby
from typing import Any

from dispatch_state.cli.format import found, place_of, say_flowing
from dispatch_state.cli.parsing import Call, Command, Exit
from dispatch_state.cli.terminal import Terminal, clipped, visible
from dispatch_state.cli.triggers import needed
from dispatch_state.lifecycle.session import session
from dispatch_state.models.agent import BUSY, Agent
from dispatch_state.models.base import Stateful
from dispatch_state.models.epic import Epic
from dispatch_state.models.gate import Gate
from dispatch_state.models.issue import Issue
from dispatch_state.models.keys import short
from dispatch_state.models.stage import Stage
from dispatch_state.values import positive
from dispatch_state.views.explain import actor_refusals, agent_name
from dispatch_state.views.needs_human import NeedsHuman, who_may_approve
from dispatch_state.vocabulary import EpicStatus, StageStatus

NEXT: Mapping[str, tuple[str, ...]] = {
    "gate": ("approve",),
    "idle stage": ("submit", "finish"),
    "unassigned issue": ("queue",),
    "blocked issue": ("unblock", "release"),
    "orphaned review": ("complete", "release"),
    "waiting agent": ("receive_input",),
    "approved proposal": ("begin_execution",),
}
"""The triggers with which a person answers each kind of wait; the first one that would be accepted is shown."""


def status(call: Call) -> Exit:
    """Count the rows in each status, and list what waits for a person and what is under way."""
    store, out = call.open(), call.out
    most = positive(call.chosen.limit, "--limit")
    counts, needs = store.counts(), store.needs_human()
    epics, agents = session().read(lambda: (_live_epics(most), _busy_agents(most)))
    if out.as_json:
        under_way = {"epics": [_epic_data(epic, most) for epic in epics], "agents": list(map(_agent_data, agents))}
        out.json({"counts": counts, "needs_human": [_need_data(need) for need in needs], **under_way})
        return Exit.OK
    for table, by_status in counts.items():
        _show_counts(out, table.replace("_", " "), by_status)
    out.line()
    out.line(("bold", f"{len(needs):,} for a person to decide") if needs else "Nothing waits for a person.")
    for _, waiting in groupby(needs, key=lambda need: need.kind):
        _show_needs(call, list(waiting), most)
    _show_epics(out, epics, most, sum(counts["epics"][word] for word in EpicStatus.live()))
    _show_agents(out, agents, sum(counts["agents"][word] for word in BUSY))
    return Exit.OK


def _show_counts(out: Terminal, name: str, by_status: dict[str, int]) -> None:
    counted = "  ".join(f"{count:,}\u00a0{word}" for word, count in by_status.items() if count) or "none"
    first, *others = textwrap.wrap(counted, max(out.width - 15, 20))
    out.line(("bold", f"{name:<14} "), first.replace("\u00a0", " "))
    for line in others:
        out.line(" " * 15, line.replace("\u00a0", " "))


def _show_more(out: Terminal, more: int, indent: str = "  ") -> None:
    if more > 0:
        out.line(("dim", f"{indent}and {more:,} more; --limit shows them"))


# ---- what waits for a person -------------------------------------------------------------------------------


def _show_needs(call: Call, waiting: list[NeedsHuman], most: int) -> None:
    """List the rows that wait in one way, and the command that answers the first of them."""
    out, first = call.out, waiting[0]
    out.line(("yellow", first.kind), f": {first.why}")
    for need in waiting[:most]:
        since = need.since.isoformat(sep=" ", timespec="minutes")
        who = who_may_approve(need.row) if isinstance(need.row, Gate) else ""
        facts = [_titled(out, need.row), place_of(need.row).say(out.width // 3), who]
        say_flowing(out, *filter(None, facts), ("dim", f"since {since}"))
    _show_more(out, len(waiting) - most)
    if trigger := _answer(first):
        words = " ".join(needed(first.row, trigger))
        out.line(("cyan", f"  {call.again} fire {short(first.row.id)} {words}"))


def _titled(out: Terminal, row: Stateful) -> str:
    return f"{row}  “{clipped(visible(row.label()), max(out.width // 2, 20))}”"


def _answer(need: NeedsHuman) -> str | None:
    legal = [trigger for trigger in NEXT.get(need.kind, ()) if trigger in need.row.legal_triggers()]
    return session().read(lambda: next((trigger for trigger in legal if not actor_refusals(need.row, trigger)), None))


def _need_data(need: NeedsHuman) -> dict[str, Any]:
    row = need.row
    epic, stage = place_of(row)
    return {
        "kind": need.kind,
        "table": row._meta.table_name,
        "id": row.id,
        "status": row.status,
        "label": row.label(),
        "since": need.since,
        "why": need.why,
        "epic": epic and {"id": epic.id, "title": epic.title},
        "stage": stage and {"id": stage.id, "name": stage.name},
        "approvers": (row.named_approvers() or "any") if isinstance(row, Gate) else None,
        "trigger": _answer(need),
    }


# ---- what is under way -------------------------------------------------------------------------------


def _live_epics(most: int) -> list[Epic]:
    """The epics that are not final, the one that changed last first."""
    live, moved, id_ = Epic.status.in_(EpicStatus.live()), Epic.updated_at, Epic.id
    return list(Epic.select().where(live).order_by(moved.desc(), id_).limit(most))


def _busy_agents(most: int) -> list[Agent]:
    """The agents that hold an issue, the one with the last heartbeat first."""
    heartbeat, id_ = Agent.last_heartbeat, Agent.id
    return list(Agent.select().where(Agent.status.in_(BUSY)).order_by(heartbeat.desc(), id_).limit(most))


def _stages(epic: Epic, most: int) -> tuple[list[Stage], int]:
    """The stages of an epic in order, and how many it has; if there are too many, finished ones are left out first."""
    stages = session().read(lambda: list(epic.stages.order_by(Stage.stage_order)))
    behind = next((n for n, stage in enumerate(stages) if stage.status in StageStatus.live()), len(stages))
    begin = max(min(behind, len(stages) - most), 0)
    return stages[begin : begin + most], len(stages)


def _show_epics(out: Terminal, epics: list[Epic], most: int, count: int) -> None:
    if epics:
        out.line()
        out.line(("bold", "live epics"), ("dim", f"  {count:,}"))
    for epic in epics:
        say_flowing(out, _titled(out, epic), epic.status)
        stages, of = _stages(epic, most)
        for stage in stages:
            say_flowing(out, f"  {stage}  {stage.status:<13}  {stage.name}")
        _show_more(out, of - len(stages), "    ")
    _show_more(out, count - len(epics))


def _epic_data(epic: Epic, most: int) -> dict[str, Any]:
    stages = [{"id": stage.id, "name": stage.name, "status": stage.status} for stage in _stages(epic, most)[0]]
    return {"id": epic.id, "title": epic.title, "status": epic.status, "stages": stages}


def _show_agents(out: Terminal, agents: list[Agent], count: int) -> None:
    if agents:
        out.line()
        out.line(("bold", "busy agents"), ("dim", f"  {count:,}"))
    for agent in agents:
        issue = found(Issue, agent.current_issue_id)
        say_flowing(out, f"{agent_name(agent)}  {agent.status}", *([_titled(out, issue)] if issue else []))
    _show_more(out, count - len(agents))


def _agent_data(agent: Agent) -> dict[str, Any]:
    names = ("id", "agent_type", "status", "current_issue_id", "last_heartbeat")
    return {name: getattr(agent, name) for name in names}


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--limit", type=int, default=10, metavar="N", help="list at most N rows of each kind (10)")


COMMANDS = (Command("status", status, _options),)
