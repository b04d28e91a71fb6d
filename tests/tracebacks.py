"""What a user reads of an error."""

from __future__ import annotations


def shown(error: BaseException | None) -> str:
    """Every message that a traceback of the error would show."""
    if error is None:
        return ""
    return f"{error}\n{shown(error.__cause__ or (None if error.__suppress_context__ else error.__context__))}"
