"""The clock of a run as it would have been, had nobody set it."""

from __future__ import annotations

from typing import Any

import msgspec

from mmbot.core.events import Listing, Snapshot


class SteadyClock:
    """
    Puts the times of a run on a clock that is never set.

    Attributes:
        steps: By how much the clock of the run was set so far, ns, each time.
        at_ns: The last time that was read.
    """

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.at_ns = 0

    def time(self, recv_ns: int) -> int:
        """A time of the run on a steady clock; none lies before the one before it."""
        self.at_ns = max(self.at_ns, recv_ns - sum(self.steps))
        return self.at_ns

    def timed(self, event: Any) -> Any:
        """An event with its time on a steady clock."""
        at_ns, recv_ns = self.time(event.recv_ns), event.recv_ns
        if at_ns == recv_ns:
            return event
        changes: dict[str, int] = {"recv_ns": at_ns}
        if isinstance(event, Snapshot | Listing):
            changes["requested_at_ns"] = at_ns - (recv_ns - event.requested_at_ns)
        return msgspec.structs.replace(event, **changes)
