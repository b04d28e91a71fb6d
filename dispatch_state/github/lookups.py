"""Finds the rows of issues and pull requests on GitHub."""

from __future__ import annotations

from peewee import ModelSelect

from dispatch_state.models.issue import Issue
from dispatch_state.models.pull_request import PullRequest
from dispatch_state.storage.statements import one


@one
def issue_by_number(repository: str, number: int) -> ModelSelect[Issue]:
    """Return the row of an issue, or None.

    Args:
        repository: the URL of the repository.
        number: the number of the issue in it.
    """
    return Issue.select().where(Issue.github_id == number, Issue.repo_url == repository).order_by(Issue.id)


@one
def issue_by_branch(repository: str, branch: str) -> ModelSelect[Issue]:
    """Return the newest issue that is worked on in a branch, or None.

    Args:
        repository: the URL of the repository.
        branch: the name of the branch.
    """
    query = Issue.select().where(Issue.repo_url == repository, Issue.branch_name == branch)
    return query.order_by(Issue.id.desc())


@one
def pull_request_by_url(url: str) -> ModelSelect[PullRequest]:
    """Return the row of a pull request, or None.

    Args:
        url: the URL of the pull request.
    """
    return PullRequest.select().where(PullRequest.github_url == url).order_by(PullRequest.id)
