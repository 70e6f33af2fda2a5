"""What every term of the quote must do, and what it is called when it does not."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

import msgspec

from mmbot.core.types import Side


class Kind(Enum):
    """How a term can fail."""

    DEAD = "dead"
    """It must act and is zero."""
    CONSTANT = "constant"
    """It stands still while what it depends on moves."""
    WRONG_SIGN = "wrong_sign"
    WRONG_SIZE = "wrong_size"
    """Outside the band around the figure that the recorded inputs call for."""
    CAPPED = "capped"
    """It sits at its bound for longer than a bound is meant to bind."""
    DELETED = "deleted"
    """It acts in the waterfall, and the price or the order does not carry it."""


class Expectation(msgspec.Struct, frozen=True):
    """
    What one term must do. The band is expected/factor - slack to expected*factor + slack.

    A difference must last `patience_s` of market time to be a violation: records and estimators
    look at the market up to a second apart, and orders take a moment to follow.
    """

    term: str
    acts_when: str
    sign: str
    size: str
    """Formula of the expected size in the figures recorded beside it."""
    factor: float
    slack: float
    """In the unit of the term."""
    patience_s: float
    constant_s: float | None = None
    """Longest time without any change while there is news, s; None if it may stand still."""
    capped_s: float | None = None
    """Longest time at its bound, s; None if it has no bound or may rest there."""
    warm_up_s: float = 0.0
    is_least: bool = False
    """More than expected is no fault: a protection that knows more than the record shows."""


class Filled(NamedTuple):
    """A fill of an order of ours that rested, as the venue told it."""

    venue_ms: int
    side: Side
    oid: int
    px: float
    sz: float


class Facts(msgspec.Struct, frozen=True, gc=False):
    """
    What the engine was told, taken where it came in: before any estimator, quoter or ladder.

    `live_*_px` are the nearest prices at which orders of ours rest or are on their way to.
    """

    fee_bps: float
    """Maker fee of the account."""
    funding_bps_per_h: float | None
    """What a long position pays."""
    reference_px: float | None
    """Mid of the other market, USD."""
    a_per_s: float
    k_per_bp: float
    a0_bps: float
    a1: float
    """Intensity and adverse law as their estimators serve them."""
    tape_events: float
    """Public aggressor events that the estimators have counted and not yet forgotten."""
    taker_fills: int
    """Fills of ours so far that took: an order of somebody else on the account is no sweep."""
    filled: tuple[Filled, ...]
    """Fills of orders that rested since the facts before."""
    live_bid_px: float | None
    live_ask_px: float | None
    is_k_bounded: bool = False
    """The decay stands at the bound of what it may move within a day."""
    is_law_bounded: bool = False
    """The adverse law stands at its floor, or at its upper bounds."""


class Violation(msgspec.Struct, frozen=True):
    """A term that does not do what it must. `at` is a side, or empty for both."""

    at_ns: int
    term: str
    at: str
    kind: Kind
    observed: float
    expected: float
    since_ns: int
    """When it was first seen."""

    @property
    def text(self) -> str:
        """One line for the log and the operator."""
        where = f" of the {self.at}" if self.at else ""
        for_s = (self.at_ns - self.since_ns) / 1e9
        return (
            f"{self.term}{where} is {self.kind.value.replace('_', ' ')} for {for_s:.0f} s: "
            f"{self.observed:.6g}, expected {self.expected:.6g}"
        )


class Reading(NamedTuple):
    """One figure beside the one that the recorded inputs call for."""

    term: str
    observed: float
    expected: float
    at: str = ""
    slack: float = 0.0
    """Added to that of the expectation: what the inputs themselves leave open just now."""


def _expect(
    term: str,
    acts_when: str,
    sign: str,
    size: str,
    *band: float,
    constant_s: float | None = None,
    capped_s: float | None = None,
    warm_up_s: float = 0.0,
    is_least: bool = False,
) -> Expectation:
    factor, slack, patience_s = band
    return Expectation(
        term,
        acts_when,
        sign,
        size,
        factor,
        slack,
        patience_s,
        constant_s,
        capped_s,
        warm_up_s,
        is_least,
    )


_ALL = (
    # What the market is. Band: factor, slack in the term's unit, patience in s.
    _expect(
        "volatility", "always", "> 0", "EWMA of 1 s moves of the mid, 120 s, winsorised at 5 sd",
        1.6, 0.05, 15.0, constant_s=120.0, capped_s=900.0,
    ),
    _expect(
        "volatility_robust", "always", "> 0", "0.7 sigma to 2.5 x the largest sigma of its window",
        1.0, 0.01, 15.0,
    ),
    _expect(
        "trend", "the mid has moved over 30, 180 or 900 s", "that of the move",
        "1e4 (mid/mid[-H] - 1); T = sum w r/H / sum w x H_long", 1.25, 0.5, 15.0, warm_up_s=5.0,
    ),
    _expect(
        "trend_z", "as trend", "that of the trend", "rate/(sigma_robust sd(unit rate))",
        1.4, 0.2, 15.0, warm_up_s=60.0,
    ),
    _expect(
        "drift_rate", "the mid has moved", "that of the slope",
        "slope of the mid over tau_f, shrunk by 1 - kappa tau_f", 1.6, 0.0, 15.0,
    ),
    _expect(
        "drift_sd", "always", "> 0", "posterior deviation of the same filter", 1.25, 0.0, 15.0
    ),
    _expect(
        "intensity", "always", "> 0", "prior, moving at most 20 % a minute; k at most a factor 2",
        1.0, 1e-4, 5.0, constant_s=300.0,
    ),
    _expect(
        "adverse", "always", ">= 0", "(fee + a0)/(1 - a1) - fee; a0, a1 never below half the prior",
        1.0, 1e-3, 5.0, constant_s=300.0,
    ),
    _expect(
        "danger", "a sweep of ours", ">= 0",
        "log odds 3 per sweep, halving every 120 s, both sides added", 1.4, 0.6, 10.0,
    ),
    # What the position means in it.
    _expect("position", "always", "long positive", "position/limit", 1.0, 1e-6, 3.0),
    _expect(
        "opposed", "|x| >= 0.05 against a trend of |z| >= 0.7", "that of the trend, opposite to x",
        "min(phi(U) |T|, cap), 20 to 50 % of T beyond U = 1", 1.3, 0.15, 10.0, capped_s=900.0,
        warm_up_s=12.0,
    ),
    _expect("is_opposed", "|x| >= 0.05, |z| >= 0.7", "1", "1 when it holds", 1.0, 0.5, 10.0),
    _expect(
        "urgency", "opposed", ">= 0", "|x| |rate| min(tau_hold, age)/half", 1.5, 0.05, 10.0
    ),
    _expect(
        "continuation", "a position and a drift", "> 0.5 when the drift is against it",
        "Phi(m tau/sqrt(sigma^2 tau + V tau^2))", 1.0, 0.03, 10.0,
    ),
    _expect("action", "|x| >= 0.45 or U >= 1 or p >= 0.6", "1", "1 to reduce", 1.0, 0.5, 5.0),
    # What the quote is made of.
    _expect("fee", "always", "that of the account's fee", "maker fee", 1.0, 1e-6, 3.0),
    _expect(
        "glft", "always", "> 0", "half of GLFT at k/(1 - a1), A exp(-k break-even), over 1 - a1",
        1.08, 0.05, 10.0, capped_s=1800.0,
    ),
    _expect("half_min", "the terms sum to less", ">= 0", "least half - sum", 1.0, 1e-6, 3.0),
    _expect(
        "inventory_skew", "x is not 0", "opposite to x",
        "max(6, (half - step)/0.45) x", 1.02, 0.02, 3.0,
    ),
    _expect(
        "drift", "not opposed, drift not 0", "that of the drift",
        "m/(1/tau* + 1/tau_mu), at most 0.1 skews", 1.15, 0.03, 10.0, capped_s=3600.0,
    ),
    _expect(
        "funding", "funding not 0", "opposite to what a long pays", "F/3600 min(tau*, 3600 s)",
        1.15, 0.002, 10.0, capped_s=1800.0,
    ),
    _expect(
        "reference", "another market leads", "that of the lead",
        "lead beyond the usual premium, within its bound", 1.4, 1.0, 10.0, capped_s=600.0,
    ),
    _expect(
        "shift_cap", "shifts beyond their bound", "against them", "bounded - sum", 1.0, 1e-6, 3.0,
        capped_s=600.0,
    ),
    _expect(
        "widening", "x is not 0", ">= 0 on the increasing side, else 0",
        "0.5 |x| sigma sqrt(60 s), capped", 1.02, 0.02, 3.0, capped_s=1800.0,
    ),
    _expect(
        "guard", "|x| > 0.6", ">= 0 on the increasing side, else 0",
        "b ((|x| - 0.6)/0.4)^2", 1.02, 0.02, 3.0,
    ),
    _expect(
        "cascade", "a sweep of the side, for minutes", ">= 0",
        "swept depth, whole for 120 s, then halving every 60 s, x weight", 1.7, 1.0, 10.0,
        capped_s=900.0,
        is_least=True,
    ),
    _expect(
        "hold", "a sweep in the last 120 s and fair near it again", ">= 0",
        "what keeps the quote behind the deepest price taken, to a line of the ladder",
        1.4, 1.5, 10.0,
    ),
    _expect(
        "touch", "to be reduced", "<= 0 on the reducing side, else 0", "one step - depth",
        1.02, 0.02, 3.0,
    ),
    # What became of it.
    _expect("floor", "always", ">= 0", "(fee + a0)/(1 - a1)", 1.0, 1e-3, 3.0),
    _expect("reducing_floor", "it binds", ">= 0", "nearest reducing depth", 1.0, 0.5, 5.0),
    _expect("clamps", "always", ">= 0", "only ever away from the market", 1.0, 1e-6, 3.0),
    _expect("carried", "always", "-", "the terms sum to the depth of the price", 1.0, 0.02, 3.0),
    _expect("grid", "always", "-", "at most a line and the hold off", 1.0, 0.05, 10.0),
    _expect("rungs", "a position", "-", "the reducing side is never empty", 1.0, 0.5, 10.0),
    _expect("placed", "a wanted order", "-", "an order of ours at that price", 1.0, 0.1, 45.0),
)  # fmt: skip

EXPECTATIONS: dict[str, Expectation] = {each.term: each for each in _ALL}
"""By term. A term whose estimate is absent, or that is off, is not asked for anything."""

DELETIONS = frozenset({"carried", "grid", "rungs", "placed"})
"""Failures of these mean that a term was taken away after the quote was made."""
