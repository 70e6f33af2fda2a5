"""What a run lived through without us, and what it did there."""

from __future__ import annotations

from typing import Any

import msgspec

from mmbot.core.engine import EngineParams
from mmbot.core.events import Event, Snapshot
from mmbot.emulator.recordings import Recording
from mmbot.journal.records import Restored, Started
from mmbot.runtime.report.facts import Fill as Booked
from mmbot.runtime.report.facts import Mids, Payment


class Reload(msgspec.Struct, frozen=True):
    """The run was given other parameters."""

    recv_ns: int
    params: dict[str, Any]


class FundingDue(msgspec.Struct, frozen=True):
    """The venue paid funding: per lot that is long then, a cost where positive."""

    recv_ns: int
    venue_ms: int
    usd_per_lot: float


class End(msgspec.Struct, frozen=True):
    """The end of the run: nothing comes any more."""

    recv_ns: int


Input = Event | Reload | FundingDue | End


class Real(msgspec.Struct, frozen=True, kw_only=True):
    """
    What the run itself did there.

    Attributes:
        fills: Fills that its engine booked up to the end.
        payments: Funding.
        requests: Placements, moves and cancels.
        two_sided_ns: Time with a bid and an ask of ours resting.
        answers_ms: From a placement or a move to its verdict.
        kill: Why its kill switch tripped, if it did.
    """

    fills: tuple[Booked, ...]
    payments: tuple[Payment, ...]
    requests: int
    two_sided_ns: int
    answers_ms: tuple[float, ...]
    kill: str | None


class Market(msgspec.Struct, frozen=True, kw_only=True):
    """
    What a run lived through, our own doing taken out.

    Times are on a steady clock: steps of the machine's are taken out of them.

    Attributes:
        started: What the engine of the run was made of.
        params: Its parameters.
        restored: The memory it began with, if any.
        first: The account when trading began.
        recording: The market's messages.
        inputs: The same and everything else that no order of ours has a part in, in order.
        start_ns, end_ns: First reading of the account; when an end was ordered or the record ends.
        mids: The mid of others.
        end_px: What a position is worth at the end; that of the last reading where there is one.
        real: What the run did.
        warnings: What makes the record less than the whole run, for a person.
    """

    started: Started
    params: EngineParams
    restored: Restored | None
    first: Snapshot
    recording: Recording
    inputs: tuple[Input, ...]
    start_ns: int
    end_ns: int
    mids: Mids
    end_px: float
    real: Real
    warnings: tuple[str, ...]
