"""A trial's reports on their way to the driver, several at a time. No Ray here."""

from collections.abc import Callable, Sequence

from raysys.records import Report

HOLD_S = 0.5
"""How long a report may wait for others: the driver takes about 1,000 results a second from all trials."""


class Outbox:
    """Sends reports at once where they come slowly or somebody decides on them, and else together.

    What is held when a worker dies is in its trial's saved state, and comes again with the next attempt.
    """

    def __init__(self, send: Callable[[Sequence[Report]], None], clock: Callable[[], float]) -> None:
        self._send = send
        self._clock = clock
        self._held: list[Report] = []
        self._sent = self._last = -HOLD_S

    def add(self, reports: Sequence[Report]) -> None:
        """Take new reports; at a milestone they are all sent when this returns."""
        now = self._clock()
        soon = now - self._last < HOLD_S  # the next report will not be long
        self._last = now
        self._held += reports
        if reports[-1].milestone or not soon or now - self._sent >= HOLD_S:
            self._sent = now
            self.flush()

    def take(self) -> list[Report]:
        """The reports that are still held; nothing is held then."""
        held, self._held = self._held, []
        return held

    def flush(self) -> None:
        """Send what is held."""
        if held := self.take():
            self._send(held)
