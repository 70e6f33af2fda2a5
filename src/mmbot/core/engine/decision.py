"""What the engine decided."""

from __future__ import annotations

from functools import cached_property

import msgspec

from mmbot.core.diagnostics import Capture, Diagnostics, diagnose
from mmbot.core.intents import KillReason, Note, Query, Status
from mmbot.core.risk import Batch


class Decision(msgspec.Struct, frozen=True, dict=True):
    """What to send and to tell. `kill` stays set from the decision that tripped on."""

    batch: Batch | None
    notes: tuple[Note, ...]
    queries: tuple[Query, ...]
    status: Status
    capture: Capture | None
    """What the diagnostics are made of; None where there are none. Asking for it costs nothing."""
    kill: KillReason | None
    relink: str | None = None
    """Why the connection should be made anew; None nearly always."""
    leave: str | None = None
    """Why the run should end and its position be closed as a taker; None nearly always."""

    refusal: str | None = None
    """Why the run should end, its position held: the market does not trade. None nearly always."""

    @cached_property
    def diagnostics(self) -> Diagnostics | None:
        """
        The numbers behind it, put together when first asked for.

        That is work for after the batch has been sent; the state described is that of the decision.
        """
        return None if self.capture is None else diagnose(self.capture)
