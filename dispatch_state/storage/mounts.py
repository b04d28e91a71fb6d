"""Whether a file is mounted by itself, as when one file and not its folder is put into a container."""

from __future__ import annotations

import os

_TOLD = "/proc/self/fdinfo/{}"
"""Where Linux says of an open file which mount it is in; elsewhere there is no such thing."""


def is_mount_point(path: str) -> bool:
    """Whether a file is in another mount than its folder; False where the system does not say.

    Args:
        path: the file, without links on the way; it need not be there.
    """
    mount = _mount(path)
    return mount is not None and mount != (_mount(os.path.dirname(path)) or mount)  # noqa: PTH120 - as the rest here


def _mount(path: str) -> bytes | None:
    """The mount that a path is in; None where that is not known."""
    try:
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)  # which takes no locks of the file away when it is closed
    except (OSError, AttributeError):
        return None
    try:
        with open(_TOLD.format(opened), "rb") as told:
            return next((line for line in told if line.startswith(b"mnt_id:")), None)
    except OSError:
        return None
    finally:
        os.close(opened)
