"""What the stage shows, and what a quote must be: the words that model and measurement share."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from mmbot.core.types import Side


class Law(NamedTuple):
    """Fill intensity A exp(-k d) of one side and adverse move a0 + a1 d."""

    a_per_s: float
    k_per_bp: float
    a0_bps: float
    a1: float


class Facts(NamedTuple):
    """What the stage shows, other than prices."""

    x: float
    fee_bps: float
    funding_bps_per_h: float
    lead_bps: float | None
    """Of the reference market beyond its usual premium; None without one."""
    step_bps: float
    fair_ticks: float
    law: Law


class Sweep(NamedTuple):
    """A burst that took our orders of one side."""

    at_ns: int
    side: Side
    depth_bps: float
    deepest_ticks: int


class Pull(Enum):
    """Whether the danger of another sweep empties a side."""

    NO = "no"
    MAYBE = "maybe"
    """It depends on the flow of orders, which nothing here follows."""
    YES = "yes"


class Half(NamedTuple):
    """The part of a quote that both sides share, bps."""

    fee_bps: float
    adverse_bps: float
    glft_bps: float
    rest_bps: float
    relax_s: float
    floor_bps: float

    @property
    def half_bps(self) -> float:
        """Half spread."""
        return self.fee_bps + self.adverse_bps + self.glft_bps + self.rest_bps


class Wanted(NamedTuple):
    """One side of the quote: how far its nearest order must be, before price grid."""

    depth_bps: float
    """Before floors."""
    floor_bps: float
    """Nearest that it may come."""
    slack_bps: float
    """What the estimates leave open."""
    is_reducing: bool
    pull: Pull
    terms: dict[str, float]

    @property
    def laid_bps(self) -> float:
        """Depth after the floor."""
        return max(self.depth_bps, self.floor_bps)
