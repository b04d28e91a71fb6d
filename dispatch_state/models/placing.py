"""Which epics and stages an issue may be created in, or placed in later."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dispatch_state.actors import Actor
from dispatch_state.lifecycle.interface import Move
from dispatch_state.lifecycle.session import UnitOfWork
from dispatch_state.models.epic import Epic
from dispatch_state.models.keys import present
from dispatch_state.models.stage import Stage
from dispatch_state.vocabulary import IssueStatus, StageStatus

if TYPE_CHECKING:
    from dispatch_state.models.issue import Issue

CLOSED_TO_NEW_ISSUES = (StageStatus.AWAITING_GATE, StageStatus.APPROVED, StageStatus.SKIPPED)


def join_parents(issue: Issue, refusals: list[str]) -> None:
    """Fill in the columns that an issue gets from its stage and its epic, and check that it may belong to them.

    Args:
        issue: the issue; its columns are filled in.
        refusals: the reasons why it may not belong there are added to it.
    """
    epic, stage = issue.epic, issue.stage
    if stage is not None:
        epic = epic or stage.epic
        issue.epic = epic
        if stage.epic_id != epic.id:
            refusals.append(f"{stage} belongs to another epic than {epic}")
        if stage.status in CLOSED_TO_NEW_ISSUES:
            refusals.append(f"{stage} is {stage.status}")
    if epic is not None:
        issue.repo_path = issue.repo_path or epic.repo_path
        issue.repo_url = issue.repo_url or epic.repo_url
        if epic.status.final:
            refusals.append(f"{epic} is {epic.status}")


def place(unit: UnitOfWork, issue: Issue, where: Epic | Stage, by: Actor) -> list[Move]:
    """Put an unassigned issue into an epic or a stage; see `Issue.place`.

    Args:
        unit: the unit of work.
        issue: the issue as read under its lock.
        where: the epic or the stage.
        by: who places it.

    Returns:
        The moves: the issue is queued when the stage is in_progress.

    Raises:
        GuardRefused: the issue has an epic, is not unassigned, or could not be created there.
    """
    refusals = []
    if issue.epic_id is not None or issue.stage_id is not None:
        refusals.append("it has an epic already, and a row's parent never changes")
    if issue.status != IssueStatus.UNASSIGNED:
        refusals.append(f"it is {issue.status}, not unassigned")
    if not refusals:
        setattr(issue, "stage" if isinstance(where, Stage) else "epic", where.id)
        join_parents(issue, refusals)
    unit.refuse(issue, "place", refusals)
    unit.set(issue, epic=issue.epic_id, stage=issue.stage_id, repo_url=issue.repo_url)
    unit.remember(present(type(where), where.id))
    stage = issue.stage
    return unit.act(issue, "queue", by, "") if stage and stage.status == StageStatus.IN_PROGRESS else []
