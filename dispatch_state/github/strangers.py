"""What is taken from people who write on GitHub but have no write access to the repository.

An agent does what the title and the prompt of its issue say. So after an issue was released, a stranger's edit is
recorded and shown to a person instead of being taken.

GitHub says how an author is related to the repository (`author_association`), but not how the sender of a delivery is.
It lets two kinds of people edit an issue: its author, and people with write access. So an author is judged by the
association, and every other person who edited the issue is an insider. An app is not an insider, because it may pass on
what anybody wrote.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dispatch_state.github.needs import (
    EDITED,
    TEXTS,
    forget_need,
    has_unread_edit,
    is_released,
    record_need,
    recorded_need,
    text_digests,
)
from dispatch_state.github.payloads import Payload
from dispatch_state.github.progress import SyncProgress
from dispatch_state.models.issue import Issue

INSIDERS = frozenset({"OWNER", "MEMBER", "COLLABORATOR"})
"""The values of `author_association` of insiders; every other value is a stranger's."""


def by_insider(written: Payload) -> bool:
    """Return whether an insider wrote an issue, a pull request or a review."""
    return written.text_or_empty("author_association") in INSIDERS


# ---- issues --------------------------------------------------------------------------------------------


def columns_to_take(whole: Payload, row: Issue) -> set[str]:
    """Return the text columns of an issue that a delivery may change.

    A delivery of any action carries the whole text, with edits that others made before. So only the action `edited`
    changes the text, and in a released issue only the columns that this edit changed.

    Args:
        whole: the delivery.
        row: the issue.
    """
    if whole.text("action") != "edited":
        return set()
    if not is_released(row):
        return set(TEXTS)
    return _edited_columns(whole) if _edited_by_insider(whole) else set()


def withhold_text(
    whole: Payload, row: Issue, columns: Mapping[str, Any], taken: set[str], progress: SyncProgress
) -> str | None:
    """Record a text on GitHub that a released issue does not take, so that a person reads it.

    Args:
        whole: the delivery.
        row: the issue, before it takes anything.
        columns: the columns as the delivery has them.
        taken: the names of the columns that are taken.
        progress: how far the issue was applied.

    Returns:
        Why the text is not taken; None when it is, or when the same was recorded before.
    """
    issue, edited = whole.part("issue"), whole.text("action") == "edited"
    url = issue.url("html_url")
    here, there = text_digests(row.__data__), text_digests(columns)
    known = progress.applied_text(url) or (here if edited else there)
    withheld = [name for name in TEXTS if name not in taken and there[name] not in (here[name], known[name])]
    progress.set_applied_text(url, {name: known[name] if name in withheld else there[name] for name in TEXTS})
    if not withheld:
        forget_need(EDITED, row)
    if not withheld or not is_released(row):
        return None
    after = {name: (there if name in taken else here)[name] for name in TEXTS}
    is_new = not row.status.final and _record_edit(row, after, there)
    editor = whole.part("sender").text_or_empty("login") if edited and whole.has("sender") else ""
    why = f"{url}: {editor[:100] or 'somebody'} changed its {' and '.join(withheld)} after it was released"
    return why if edited or is_new else None


def _record_edit(row: Issue, here: dict[str, str], there: dict[str, str]) -> bool:
    """Record that a person should read the text on GitHub; return False when this very text was recorded before."""
    known = recorded_need(EDITED, row)
    if known is not None and known["there"] == there:
        return False
    if known is not None and not has_unread_edit(row):
        forget_need(EDITED, row)
    record_need(EDITED, row, here=here, there=there)
    return True


def _edited_by_insider(whole: Payload) -> bool:
    issue = whole.part("issue")
    if not (whole.has("sender") and issue.has("user")):
        return False
    sender, author = whole.part("sender"), issue.part("user")
    if not (sender.text_or_empty("login") and author.text_or_empty("login")):
        return False
    if _is_same_account(sender, author):
        return by_insider(issue)
    return sender.text_or_empty("type") in ("", "User")


def _is_same_account(one: Payload, other: Payload) -> bool:
    """Compare two accounts by their name, and by their number where both have one."""
    if one.text("login").lower() == other.text("login").lower():
        return True
    return one.has("id") and other.has("id") and one.number("id") == other.number("id")


def _edited_columns(whole: Payload) -> set[str]:
    """Return the columns that an edit changed: both when it does not say. Without a body, the prompt is the title."""
    if not whole.has("changes"):
        return set(TEXTS)
    changes = whole.part("changes")
    title, body = changes.has("title"), changes.has("body")
    prompt = body or (title and not whole.part("issue").text_or_empty("body"))
    return {name for name, changed in (("title", title), ("prompt", prompt)) if changed}


# ---- pull requests -------------------------------------------------------------------------------------


def has_own_branch(request: Payload, repository: str) -> bool:
    """Return whether the branch of a pull request belongs to the repository itself, not to a fork.

    Args:
        request: the pull request in the delivery. The repository of its branch is missing when a fork was deleted.
        repository: the URL of the repository.
    """
    head = request.part("head")
    return head.has("repo") and head.part("repo").url("html_url") == repository


def why_untrusted(action: str, request: Payload, repository: str) -> str | None:
    """Return why a pull request does not count; None when it does.

    Without this, people without write access could move an issue by naming it in a pull request. The person who merges
    a pull request vouches for what it says then, but not for what its author makes of it afterwards.

    Args:
        action: the action of the delivery.
        request: the pull request in the delivery.
        repository: the URL of the repository.
    """
    if has_own_branch(request, repository) or by_insider(request):
        return None
    if not request.flag("merged"):
        return "comes from a fork of somebody without write access to the repository"
    return None if action in ("opened", "closed") else "may have been edited by a stranger after it was merged"
