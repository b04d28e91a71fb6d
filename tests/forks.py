"""Work in a forked child."""

from __future__ import annotations

import os
from collections.abc import Callable


def in_child(work: Callable[[], object]) -> str:
    """The name of what `work` raises in a forked child, which then leaves without cleaning up."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            work()
            name = "nothing"
        except BaseException as error:
            name = type(error).__name__
        os.write(writer, name.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as told:
        name = told.read()
    os.waitpid(child, 0)
    return name
