"""
What moves the mode, what trips the kill switch, and at which figure.

The table of modes and the thresholds that are not of money; those of money are in `risk`. Every
trigger has its own absolute unit, and none waits for a warm-up or a minimum of anything.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

import msgspec
from pydantic import BaseModel, ConfigDict, Field, model_validator

from mmbot.core.types import HALTED, Mode


class KillParams(BaseModel):
    """When the kill switch trips for another reason than money, and what it does then."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    flatten: bool = Field(
        default=True,
        description="Close the position as a taker, as [flatten] says, after a trip by loss, "
        "drawdown, position or a position stuck against a trend; never by data.",
    )
    check_s: float = Field(
        10.0,
        ge=1,
        le=300,
        description="Time between two comparisons of our position with the venue's, s.",
    )
    mismatch_pull_s: float = Field(
        5.0,
        ge=1,
        le=300,
        description="Time for which the venue's position may differ from ours before no order "
        "rests, s.",
    )
    mismatch_kill_s: float = Field(
        30.0, ge=2, le=3600, description="The same before the switch trips, s."
    )
    rejects: int = Field(
        100,
        ge=5,
        le=10_000,
        description="Placements and moves refused within a minute that trip it, count; refusals "
        "for want of requests or of a market that is closed for a while are none.",
    )
    unknown_s: float = Field(
        300.0, ge=10, le=3600, description="Time without a verdict on an order that trips it, s."
    )
    requests_left: int = Field(
        0, ge=0, le=10**6, description="Requests left at the venue at which it trips, count."
    )
    margin_frac: float = Field(
        0.75,
        gt=0,
        le=1,
        description="Maintenance margin that trips it, fraction of the account value, or of the "
        "position's own margin where it is isolated; at 1 the venue liquidates.",
    )
    clock_s: float = Field(
        2.0,
        ge=0.25,
        le=60,
        description="Difference of our clock and the venue's that trips it, s; below "
        "gateway.expires_after_s, and at most 2.",
    )
    unwell_s: float = Field(
        600.0,
        ge=10,
        le=86_400,
        description="Time for which a term of the quote does not do what it must that trips it, s.",
    )
    journal_s: float = Field(
        60.0, ge=1, le=3600, description="Time for which the journal lags that trips it, s."
    )
    stuck_s: float = Field(
        900.0,
        ge=10,
        le=86_400,
        description="Time stuck against an urgent trend (guards.stuck_x) that trips it, s.",
    )
    mark_s: float = Field(
        300.0, ge=5, le=3600, description="Silence of the venue's mark that trips it, s."
    )
    account_s: float = Field(
        300.0,
        ge=5,
        le=3600,
        description="Time for which the account could not be read that trips it, s.",
    )

    @model_validator(mode="after")
    def _pulled_before_it_trips(self) -> KillParams:
        if self.mismatch_kill_s <= self.mismatch_pull_s:
            msg = (
                f"mismatch_kill_s {self.mismatch_kill_s:g} must exceed mismatch_pull_s "
                f"{self.mismatch_pull_s:g}"
            )
            raise ValueError(msg)
        if self.account_s < 2 * self.check_s:
            msg = f"account_s {self.account_s:g} must be at least twice check_s {self.check_s:g}"
            raise ValueError(msg)
        return self


class Trip(Enum):
    """What moves the mode."""

    INVENTORY = "inventory"
    SOFT_LOSS = "soft_loss"
    STUCK = "stuck_and_opposed"
    EDGE = "negative_edge"
    VITALS = "vitals"
    """A term of the quote does not do what it must."""
    HOURS = "trading_hours"
    """It is outside the hours in which this market is quoted."""
    CLEARED = "cleared"
    """No cause for REDUCING is left."""
    SESSION_LOSS = "session_loss"
    DAY_LOSS = "day_loss"
    DRAWDOWN = "drawdown"
    POSITION = "position"
    """So far above its limit that no order of ours can have made it."""
    MISMATCH = "position_mismatch"
    """The venue's position is not the one that our fills make."""
    FOREIGN_FILL = "foreign_fill"
    """The position grew by a fill that no order of ours explains."""
    LIQUIDATION = "liquidation"
    """The venue closed something of our position by force."""
    STUCK_LONG = "stuck"
    """STUCK for so long that reducing by post-only orders has failed."""
    MARGIN = "margin"
    BALANCE = "balance"
    """The account no longer carries the position limit that it began with."""
    STALE_DATA = "stale_data"
    STALE_MARK = "stale_mark"
    STALE_ACCOUNT = "stale_account"
    REJECTS = "rejects"
    UNKNOWN_ORDER = "unknown_order"
    REQUESTS = "requests"
    CLOCK = "clock"
    DEAD_WIRING = "dead_wiring"
    """VITALS for so long that nobody mends it."""
    JOURNAL = "journal"
    EXCEPTION = "exception"
    """A bug of ours: an invariant broke, or an exception escaped."""
    OPERATOR = "operator"


class Reach(msgspec.Struct, frozen=True):
    """How far the figure of one trigger of the kill switch is from its limit."""

    trigger: str
    value: float | None
    """The figure now; None where it is not known, or where one event is enough to trip."""
    limit: float
    unit: str
    is_least: bool = False
    """The switch trips where the figure falls to its limit, not where it rises to it."""


SOFT: Final = (
    Trip.INVENTORY,
    Trip.SOFT_LOSS,
    Trip.STUCK,
    Trip.EDGE,
    Trip.VITALS,
    Trip.HOURS,
)
"""What only reduces."""

KILLS: Final = tuple(trip for trip in Trip if trip not in (*SOFT, Trip.CLEARED))

FLATTENS: Final = frozenset(
    {
        Trip.SESSION_LOSS,
        Trip.DAY_LOSS,
        Trip.DRAWDOWN,
        Trip.POSITION,
        Trip.MISMATCH,
        Trip.FOREIGN_FILL,
        Trip.LIQUIDATION,
        Trip.STUCK_LONG,
        Trip.MARGIN,
        Trip.BALANCE,
    }
)
"""
Trips after which `kill.flatten` closes the position: what is held is the danger. After a trip by
data it is not known to be, and a person looks first.
"""

NEXT_MODE: Final[dict[tuple[Mode, Trip], Mode]] = {
    **{(mode, trip): Mode.REDUCING for mode in (Mode.RUNNING, Mode.REDUCING) for trip in SOFT},
    **{(mode, Trip.CLEARED): Mode.RUNNING for mode in (Mode.RUNNING, Mode.REDUCING)},
    **{(mode, trip): HALTED for mode in (Mode.RUNNING, Mode.REDUCING) for trip in KILLS},
    # HALTED latches: only a person restarts trading, with a fresh process.
    **{(Mode.HALTED, trip): HALTED for trip in Trip},
}


def closes_position(trigger: str) -> bool:
    """Whether `kill.flatten` closes the position after a trip by this trigger."""
    return any(trip.value == trigger for trip in FLATTENS)
