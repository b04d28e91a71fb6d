"""The clock of a PostgreSQL server, so that all machines with a store agree on the time."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta


class ServerClock:
    """The server's clock as it was last measured, accurate to half a round trip.

    It is measured by statements that are sent anyway. Between two measurements it runs as this machine's clock does. It
    is measured again from time to time, and when this machine's clock was set.
    """

    MAX_AGE = 30.0
    """Seconds after which it is measured again."""
    MAX_DRIFT = 0.1
    """Seconds by which this machine's wall clock may leave its monotonic clock before it counts as having been set."""

    def __init__(self) -> None:
        self._ahead = timedelta()
        self._measured_at = self._wall_minus_monotonic = -1e9

    def __call__(self) -> datetime:
        """Return the present moment, in UTC."""
        return datetime.now(UTC) + self._ahead

    @staticmethod
    def local() -> tuple[float, datetime]:
        """Return this machine's monotonic clock, in seconds, and its wall clock."""
        return time.monotonic(), datetime.now(UTC)

    def set_from(self, asked_at: tuple[float, datetime], server_time: datetime) -> None:
        """Set the clock from a server's answer.

        Args:
            asked_at: what `local` returned before the server was asked.
            server_time: what the server answered; it is assumed to be from halfway between then and now.
        """
        monotonic, wall = asked_at
        now = time.monotonic()
        self._ahead = server_time - (wall + timedelta(seconds=now - monotonic) / 2)
        self._measured_at, self._wall_minus_monotonic = now, time.time() - now

    def is_due(self) -> bool:
        """Return whether it should be measured again."""
        now = time.monotonic()
        drift = abs(time.time() - now - self._wall_minus_monotonic)
        return now - self._measured_at > self.MAX_AGE or drift > self.MAX_DRIFT
