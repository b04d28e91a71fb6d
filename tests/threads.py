"""Run work in threads; what it returns or raises comes back to the caller."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Queue
from typing import Any

HANG = 60
"""Seconds after which a thread that does not come back is given up; nothing is judged by it."""


def in_thread(work: Callable[[], object]) -> Any:
    """What `work` returns or raises in a thread that then ends."""
    found: list[Any] = []

    def run() -> None:
        try:
            found.append(work())
        except BaseException as error:
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(30)
    return found[0]


def in_threads(count: int, work: Callable[[int], Any]) -> list[Any]:
    """What `work` returns in so many threads that begin together; raises the first error of any."""
    found: list[Any] = [TimeoutError()] * count
    start = threading.Barrier(count)

    def run(number: int) -> None:
        start.wait(HANG)
        try:
            found[number] = work(number)
        except Exception as error:
            found[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(HANG)
    for error in found:
        if isinstance(error, Exception):
            raise error
    return found


class Worker:
    """A thread that does one thing after the other, as it is asked to, and returns the result of each."""

    def __init__(self) -> None:
        self._asked: Queue[Callable[[], Any] | None] = Queue()
        self._told: Queue[Any] = Queue()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while (work := self._asked.get()) is not None:
            try:
                self._told.put(work())
            except Exception as error:
                self._told.put(error)

    def does(self, work: Callable[[], Any]) -> Any:
        """What `work` returns or raises in this thread."""
        self._asked.put(work)
        return self._told.get(timeout=HANG)

    def end(self) -> None:
        """Let the thread end."""
        self._asked.put(None)
        self._thread.join(HANG)


@contextmanager
def workers(count: int) -> Iterator[list[Worker]]:
    started = [Worker() for _ in range(count)]
    try:
        yield started
    finally:
        for worker in started:
            worker.end()
