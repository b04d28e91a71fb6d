"""What people write on GitHub who may not write to the repository, and what of it is taken.

An agent does what the title and the prompt of its issue say. So once an issue was released, a stranger's edit is
remembered and shown to a person, and not taken.

GitHub says of an author what it is to the repository (`author_association`), and nothing of who caused a delivery. It
lets two kinds of people edit an issue: its author, and whoever may write to the repository. So an author is asked for
its association, and any other person who edited is an insider. An app is not: it may pass on what anybody told it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dispatch_state.actors import System
from dispatch_state.github.payloads import Payload
from dispatch_state.github.progress import (
    EDITED,
    TEXTS,
    Marks,
    digests,
    forget_need,
    is_unread,
    need,
    note_need,
    released,
)
from dispatch_state.lifecycle.interface import Lock, session
from dispatch_state.models.issue import Issue

GITHUB = System("github")
INSIDERS = frozenset({"OWNER", "MEMBER", "COLLABORATOR"})
"""The values of `author_association` of those whose text counts; whatever else stands there is a stranger's."""


def by_insider(written: Payload) -> bool:
    """Whether an issue, a pull request or a review was written by somebody who belongs to the repository."""
    return written.maybe_text("author_association") in INSIDERS


def taken_from(whole: Payload, row: Issue) -> set[str]:
    """The columns of an issue's text that a delivery may change.

    A delivery of any action carries the whole text, with edits that others made before. So only `edited` changes it,
    and in a released issue only what that edit changed.
    """
    if whole.text("action") != "edited":
        return set()
    if not released(row):
        return set(TEXTS)
    return _edited_columns(whole) if _edited_by_insider(whole) else set()


def held_back(whole: Payload, row: Issue, columns: Mapping[str, Any], taken: set[str], marks: Marks) -> str | None:
    """Remember a text on GitHub that the released row does not take, for a person to read.

    Args:
        whole: the delivery.
        row: as it stands, before anything is taken.
        columns: what the delivery says of it.
        taken: the columns that are taken.
        marks: what is known of the issue.

    Returns:
        Why it is not taken; None when it is, or when that was said already.
    """
    issue, edited = whole.part("issue"), whole.text("action") == "edited"
    address = issue.address("html_url")
    here, there = digests(row.__data__), digests(columns)
    known = marks.text(address) or (here if edited else there)
    other = [name for name in TEXTS if name not in taken and there[name] not in (here[name], known[name])]
    marks.keep_text(address, {name: known[name] if name in other else there[name] for name in TEXTS})
    if not other:
        forget_need(EDITED, row)
    if not other or not released(row):
        return None
    now = {name: (there if name in taken else here)[name] for name in TEXTS}
    news = not row.status.final and _noted(row, now, there)
    editor = whole.part("sender").maybe_text("login") if edited and whole.has("sender") else ""
    why = f"{address}: {editor[:100] or 'somebody'} changed its {' and '.join(other)} after it was released"
    return why if edited or news else None


def _noted(row: Issue, here: dict[str, str], there: dict[str, str]) -> bool:
    """Remember that a person should read the text there; False when that was said of this very text."""
    known = need(EDITED, row)
    if known is not None and known["there"] == there:
        return False
    if known is not None and not is_unread(row):
        forget_need(EDITED, row)
    note_need(EDITED, row, here=here, there=there)
    return True


def _edited_by_insider(whole: Payload) -> bool:
    issue = whole.part("issue")
    if not (whole.has("sender") and issue.has("user")):
        return False
    sender, author = whole.part("sender"), issue.part("user")
    if not (sender.maybe_text("login") and author.maybe_text("login")):
        return False
    if _same(sender, author):
        return by_insider(issue)
    return sender.maybe_text("type") in ("", "User")


def _same(one: Payload, other: Payload) -> bool:
    """Whether two are one account, by its name or its number."""
    if one.text("login").lower() == other.text("login").lower():
        return True
    return one.has("id") and other.has("id") and one.number("id") == other.number("id")


def _edited_columns(whole: Payload) -> set[str]:
    """The columns that an edit changed; a prompt is the title where there is no body. Both when it does not say."""
    if not whole.has("changes"):
        return set(TEXTS)
    changes = whole.part("changes")
    title, body = changes.has("title"), changes.has("body")
    prompt = body or (title and not whole.part("issue").maybe_text("body"))
    return {name for name, changed in (("title", title), ("prompt", prompt)) if changed}


def hold_still(row: Issue) -> None:
    """Lock a row where it stands, so that nobody releases it before its text is written.

    Raises:
        StaleRow: it moved since it was read.
    """
    session().work_on(row, "save", lambda unit, fresh: None, locks=(Lock.ROW,), by=GITHUB, fenced=True)


# ---- pull requests -------------------------------------------------------------------------------------


def from_there(request: Payload, repository: str) -> bool:
    """Whether its branch is one of the repository's own; a fork that is gone is none."""
    head = request.part("head")
    return head.has("repo") and head.part("repo").address("html_url") == repository


def distrust(action: str, request: Payload, repository: str) -> str | None:
    """Why a pull request does not count: who may not write to the repository could move an issue by naming it.

    Whoever merges it answers for what it says then, and not for what its author makes of it afterwards.
    """
    if from_there(request, repository) or by_insider(request):
        return None
    if not request.flag("merged"):
        return "comes from a fork of somebody who may not write there"
    return None if action in ("opened", "closed") else "may have been edited by a stranger after it was merged"
