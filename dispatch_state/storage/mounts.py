"""Whether a file is mounted by itself, as when a container gets one file and not its folder."""

from __future__ import annotations

import os

_FDINFO = "/proc/self/fdinfo/{}"
"""Where Linux says which mount an open file is in. Other systems do not have it."""


def is_mount_point(path: str) -> bool:
    """Return whether a file is in another mount than its folder; False when the system does not say.

    Args:
        path: the file, without links on the way; it need not exist.
    """
    mount = _mount(path)
    return mount is not None and mount != (_mount(os.path.dirname(path)) or mount)  # noqa: PTH120 - text, as everything here


def _mount(path: str) -> bytes | None:
    """Return the mount that a path is in; None when that is not known."""
    try:
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)  # with O_PATH, closing it releases no locks on the file
    except (OSError, AttributeError):
        return None
    try:
        with open(_FDINFO.format(opened), "rb") as lines:
            return next((line for line in lines if line.startswith(b"mnt_id:")), None)
    except OSError:
        return None
    finally:
        os.close(opened)
