"""
Memory of sweeps: how far a swept side of ours stays back, and for how long.

A sweep leaves two things behind: more activity for minutes, and an inventory that the next one on
the same side would double. So the side that was swept stays behind the deepest price taken, wider
by the depth of the sweep, for two minutes, and comes back by halves. That is asked only of the
side that adds to the position; the side that reduces it is left as it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, exp2, isfinite, log
from typing import Final

import msgspec
from pydantic import ConfigDict, Field, model_validator

from mmbot.core.estimators.burst import Burst, BurstDetector, BurstParams, OwnFill
from mmbot.core.types import BUY, NS_PER_S, Side
from mmbot.errors import StateError

_SIGNAL_MAX: Final = 3.0
"""Trend and flow scores count for at most three standard deviations."""

_FORGOTTEN_BPS: Final = 0.05
"""A memory below this is over: the next burst is a first one. A tick is 0.2 to 0.4 bps."""

_EXTRA_BPS_MAX: Final = 40.0
_LOG_ODDS_MAX: Final = 1e4
"""Bounds of what a memory can hold; beyond them a stored one is not ours."""


class CascadeParams(BurstParams):
    """Bursts, the memory of them, and the directional danger they announce."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        json_schema_extra={
            "reloadable": [
                "gain",
                "extra_bps_max",
                "sustain_s",
                "half_life_s",
                "fade_x_min",
                "fade_x_max",
                "danger_p",
                "danger_log_odds",
                "danger_half_life_s",
                "danger_z_weight",
                "danger_ofi_weight",
                "danger_pull",
            ]
        },
    )

    gain: float = Field(
        1.0,
        ge=0,
        le=3,
        description="Pullback per bps of swept depth; 0 switches pullback and hold off.",
    )
    extra_bps_max: float = Field(
        15.0, ge=1, le=_EXTRA_BPS_MAX, description="Upper bound of the pullback, bps."
    )
    sustain_s: float = Field(
        120.0,
        ge=0,
        le=900,
        description="How long pullback and price hold last in full after the last burst, s.",
    )
    half_life_s: float = Field(
        60.0, ge=5, le=3600, description="Half-life of the pullback after that, s."
    )
    fade_x_min: float = Field(
        0.05,
        ge=0,
        le=0.5,
        description="Fraction of the position limit up to which a reducing side stays back too.",
    )
    fade_x_max: float = Field(
        0.15,
        gt=0,
        le=0.5,
        description="Fraction of the position limit from which a reducing side is untouched.",
    )
    danger_p: float = Field(
        0.025, ge=1e-6, le=0.5, description="Danger of either side when nothing happened (prior)."
    )
    danger_log_odds: float = Field(
        3.0, ge=0, le=10, description="What one burst adds to the log odds of danger."
    )
    danger_half_life_s: float = Field(120.0, ge=5, le=3600, description="Half-life of that, s.")
    danger_z_weight: float = Field(
        0.1, ge=0, le=5, description="Log odds of danger per standard deviation of the trend."
    )
    danger_ofi_weight: float = Field(
        0.1, ge=0, le=5, description="Log odds of danger per standard deviation of order flow."
    )
    danger_pull: float = Field(
        0.8, ge=0.5, le=1, description="Danger above which the increasing side is pulled."
    )

    @model_validator(mode="after")
    def _fades(self) -> CascadeParams:
        if self.fade_x_min >= self.fade_x_max:
            msg = (
                f"fade_x_min must be below fade_x_max, got {self.fade_x_min} and {self.fade_x_max}"
            )
            raise ValueError(msg)
        return self


class SideMemory(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """What is left of the bursts of one side, as of the last of them."""

    at_ns: int
    """When the last fill of the last burst reached us, ns since the epoch."""
    extra_bps: float
    hold_ticks: float | None
    """Deepest price taken; None when the pullback is off."""
    log_odds: float
    """What the bursts add to the log odds of danger."""


class CascadeMemory(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """The state that outlives the process; a side without bursts is None."""

    bid: SideMemory | None = None
    ask: SideMemory | None = None

    def shifted(self, step_ns: int, now_ns: int) -> CascadeMemory:
        """The same by a clock that was set forward by `step_ns` and now says `now_ns`."""
        bid, ask = (
            None
            if it is None
            else msgspec.structs.replace(it, at_ns=min(now_ns, max(0, it.at_ns + step_ns)))
            for it in (self.bid, self.ask)
        )
        return CascadeMemory(bid, ask)

    def fault(self, now_ns: int) -> str | None:
        """What makes this impossible as a memory at `now_ns`, or None."""
        for name, it in (("bid", self.bid), ("ask", self.ask)):
            if it is None:
                continue
            if not 0 <= it.at_ns <= now_ns:
                return f"{name}.at_ns {it.at_ns} is not between the epoch and now, {now_ns}"
            if not 0 <= it.extra_bps <= _EXTRA_BPS_MAX:
                return f"{name}.extra_bps {it.extra_bps} is not in [0, {_EXTRA_BPS_MAX}]"
            if it.hold_ticks is not None and not 0 < it.hold_ticks < float("inf"):
                return f"{name}.hold_ticks {it.hold_ticks} is not a price"
            if not 0 <= it.log_odds <= _LOG_ODDS_MAX:
                return f"{name}.log_odds {it.log_odds} is not in [0, {_LOG_ODDS_MAX}]"
        return None


class CascadeView(msgspec.Struct, frozen=True, gc=False):
    """
    What the memory asks of each side: depth to add, price to stay behind, whether to have no quote.

    `weight_*` is how much of it applies at this position: 1 on the increasing side, fading to 0
    on the reducing one. The depth has it already, the hold does not.
    """

    bid_bps: float
    ask_bps: float
    hold_bid_ticks: float | None
    hold_ask_ticks: float | None
    weight_bid: float
    weight_ask: float
    danger_up: float
    danger_down: float
    pulls_bid: bool
    pulls_ask: bool

    @property
    def direction(self) -> float:
        """Danger above less danger below, in (-1, 1): positive says that up is dangerous."""
        return self.danger_up - self.danger_down

    def hold_bps(self, side: Side, depth_bps: float, fair_ticks: float) -> float:
        """
        What the price hold adds to a quote of `side` that would rest at `depth_bps` of fair.

        Zero or more; in full it puts the quote on the deepest price taken. It comes after
        every other term of the side, `bid_bps` and `ask_bps` included.
        """
        is_bid = side is BUY
        hold_ticks = self.hold_bid_ticks if is_bid else self.hold_ask_ticks
        if hold_ticks is None:
            return 0.0
        held_bps = side * (fair_ticks - hold_ticks) / fair_ticks * 1e4
        return max(0.0, held_bps - depth_bps) * (self.weight_bid if is_bid else self.weight_ask)


def extra_bps(it: SideMemory, now_ns: int, params: CascadeParams) -> float:
    """Pullback left at `now_ns`, bps: in full for `sustain_s`, then halving."""
    fading_s = _age_s(it, now_ns) - params.sustain_s
    if fading_s <= 0:
        return it.extra_bps
    return it.extra_bps * exp2(-fading_s / params.half_life_s)


def log_odds(it: SideMemory, now_ns: int, params: CascadeParams) -> float:
    """What the bursts still add to the log odds of danger at `now_ns`: a plain decaying sum."""
    return it.log_odds * exp2(-_age_s(it, now_ns) / params.danger_half_life_s)


def absorb(
    before: SideMemory | None, now_ns: int, burst: Burst, params: CascadeParams
) -> SideMemory:
    """
    The memory after a burst that began at `now_ns`.

    Pullback: min(cap, what is left + gain * depth), and at least that of the burst before: a second
    sweep must not leave the side nearer than the first did. Of two live holds the deeper stays.
    """
    depth_bps = params.gain * burst.depth_bps
    hold_ticks = burst.deepest_ticks if params.gain > 0 else None
    odds = params.danger_log_odds
    if before is not None:
        left_bps = extra_bps(before, now_ns, params)
        depth_bps += left_bps
        if left_bps >= _FORGOTTEN_BPS:
            depth_bps = max(depth_bps, before.extra_bps)
        if hold_ticks is not None and before.hold_ticks is not None:
            deeper = min if burst.side is BUY else max
            if _is_held(before, now_ns, params):
                hold_ticks = deeper(hold_ticks, before.hold_ticks)
        odds += log_odds(before, now_ns, params)
    return SideMemory(
        at_ns=burst.at_ns,
        extra_bps=min(params.extra_bps_max, depth_bps),
        hold_ticks=hold_ticks,
        log_odds=min(odds, _LOG_ODDS_MAX),
    )


def _age_s(it: SideMemory, now_ns: int) -> float:
    # After the clock stepped back, a burst from the future is a fresh one.
    return max(0, now_ns - it.at_ns) / NS_PER_S


def _is_held(it: SideMemory, now_ns: int, params: CascadeParams) -> bool:
    return _age_s(it, now_ns) < params.sustain_s


class Cascade:
    """
    Pullback, price hold and directional danger from the bursts of our own fills.

        pullback  C <- min(cap, C(now) + gain D) at a burst of depth D (bps); C for 120 s, then
                  halving every 60 s: one eighth after five minutes
        danger    1 / (1 + exp(-l)),  l_up = l0 + E_ask + b_z z + b_o ofi,  l_down its mirror,
                  E a sum of 3 per burst, halving every 120 s

    Own sells raise the danger above and nothing below: being filled is evidence against the
    position it makes. Times are ns since the epoch: the memory ages while the program is down.

    Source: our measurements of what follows a sweep (activity for minutes, direction for
    seconds); log odds as in a two-state filter of a counting process.
    """

    __slots__ = ("_base_log_odds", "_before", "_bursts", "_memory", "_opened_ns", "_params")

    def __init__(self, params: CascadeParams) -> None:
        self._params = params
        self._base_log_odds = log(params.danger_p / (1.0 - params.danger_p))
        self._memory = CascadeMemory()
        self._bursts = {side: BurstDetector(params, side) for side in Side}
        # What there was before the last burst of a side, and when it began: it may yet grow.
        self._before: dict[Side, SideMemory | None] = dict.fromkeys(Side)
        self._opened_ns = dict.fromkeys(Side, 0)

    def retune(self, params: CascadeParams) -> None:
        """
        Go on with other gains, spans and odds; what makes a burst stays as it was.

        A pullback in force keeps its size within the new bound, and fades as is now asked for.
        """
        self._params = params
        self._base_log_odds = log(params.danger_p / (1.0 - params.danger_p))
        bid, ask = self._memory.bid, self._memory.ask
        kept = CascadeMemory(self._within(bid), self._within(ask))
        if kept != self._memory:
            self._memory = kept
        self._before = {side: self._within(it) for side, it in self._before.items()}

    @property
    def ignored(self) -> int:
        """Calls refused as impossible, repeated or too late to matter."""
        return sum(it.ignored for it in self._bursts.values())

    def on_own_fills(
        self,
        now_ns: int,
        venue_ms: int,
        side: Side,
        fills: Sequence[OwnFill],
        *,
        resting_lots: float,
        touch_ticks: float | None,
        fair_ticks: float,
        k_per_bp: float,
    ) -> Burst | None:
        """
        Take fills of one side and one venue time, or a part of them; return the burst they make.

        One message of the venue is one event however many calls bring it, in whatever order.
        A fill seen before is dropped. A call with an impossible figure changes nothing.

        Args:
            now_ns: When they reached us.
            venue_ms: The venue's time of these fills.
            side: Of our orders: BUY when our bids were taken.
            fills: At least one.
            resting_lots: Size that rested on the side before these fills.
            touch_ticks: Touch they hit: best bid for our bids; None when there is no book.
            fair_ticks: Price of which a bps is a ten-thousandth.
            k_per_bp: Measured decay of fill intensity with depth.
        """
        burst = self._bursts[side].add(
            now_ns,
            venue_ms,
            fills,
            resting_lots=resting_lots,
            touch_ticks=touch_ticks,
            fair_ticks=fair_ticks,
            k_per_bp=k_per_bp,
        )
        if burst is None:
            return None
        it = self._memory
        if not burst.is_extension:
            self._before[side] = it.bid if side is BUY else it.ask
            self._opened_ns[side] = now_ns
        # An extension starts again from what was there before: the same fills count once.
        after = absorb(self._before[side], self._opened_ns[side], burst, self._params)
        self._memory = CascadeMemory(after, it.ask) if side is BUY else CascadeMemory(it.bid, after)
        return burst

    def view(self, now_ns: int, x: float, z: float | None, ofi_z: float | None) -> CascadeView:
        """
        What the memory asks at `now_ns`; changes nothing.

        Args:
            now_ns: Time of the view.
            x: Position as a fraction of its limit, long positive. NaN: both sides are increasing.
            z: Trend in standard deviations, positive up; absent (None or not a number) it adds
                nothing to the danger.
            ofi_z: Order-flow imbalance in standard deviations, positive up; likewise.
        """
        params, bid, ask = self._params, self._memory.bid, self._memory.ask
        weight_bid, weight_ask = self._weight(x), self._weight(-x)
        signal = params.danger_z_weight * _bounded(z) + params.danger_ofi_weight * _bounded(ofi_z)
        odds_up = odds_down = self._base_log_odds
        bid_bps = ask_bps = 0.0
        hold_bid_ticks = hold_ask_ticks = None
        if bid is not None:
            odds_down += log_odds(bid, now_ns, params)
            bid_bps = weight_bid * extra_bps(bid, now_ns, params)
            if weight_bid > 0 and _is_held(bid, now_ns, params):
                hold_bid_ticks = bid.hold_ticks
        if ask is not None:
            odds_up += log_odds(ask, now_ns, params)
            ask_bps = weight_ask * extra_bps(ask, now_ns, params)
            if weight_ask > 0 and _is_held(ask, now_ns, params):
                hold_ask_ticks = ask.hold_ticks
        danger_up, danger_down = _logistic(odds_up + signal), _logistic(odds_down - signal)
        return CascadeView(
            bid_bps,
            ask_bps,
            hold_bid_ticks,
            hold_ask_ticks,
            weight_bid,
            weight_ask,
            danger_up,
            danger_down,
            danger_down > params.danger_pull and not x < 0,
            danger_up > params.danger_pull and not x > 0,
        )

    def _weight(self, towards: float) -> float:
        """Share of the memory that applies to a side that adds to `towards` when it fills."""
        if not towards < 0:
            return 1.0
        low, high = self._params.fade_x_min, self._params.fade_x_max
        return min(1.0, max(0.0, (high + towards) / (high - low)))

    def wake_at_ns(self, now_ns: int) -> int | None:
        """When the next pullback starts to fade and its hold ends, after `now_ns`, or None."""
        bid, ask = self._memory.bid, self._memory.ask
        if bid is None and ask is None:
            return None
        sustain_ns = round(self._params.sustain_s * NS_PER_S)
        ends = [
            it.at_ns + sustain_ns
            for it in (bid, ask)
            if it is not None and it.at_ns + sustain_ns > now_ns
        ]
        return min(ends, default=None)

    def snapshot(self) -> CascadeMemory:
        """The memory, for the store. The same object until a burst changes it."""
        return self._memory

    def restore(self, memory: CascadeMemory, now_ns: int) -> None:
        """
        Go on from a stored memory, aged by the time since, within the bounds of today's settings.

        Raises:
            StateError: It cannot be ours at this time.
        """
        fault = memory.fault(now_ns)
        if fault is not None:
            msg = (
                f"the stored cascade memory is impossible: {fault}. The safety state is damaged or "
                "this machine's clock was set back: set the clock right, or: mmbot reset --sweeps"
            )
            raise StateError(msg)
        self._memory = CascadeMemory(self._within(memory.bid), self._within(memory.ask))
        self._bursts = {side: BurstDetector(self._params, side) for side in Side}
        self._before = dict.fromkeys(Side)

    def _within(self, it: SideMemory | None) -> SideMemory | None:
        if it is None:
            return None
        is_on = self._params.gain > 0
        return SideMemory(
            at_ns=it.at_ns,
            extra_bps=min(it.extra_bps, self._params.extra_bps_max) if is_on else 0.0,
            hold_ticks=it.hold_ticks if is_on else None,
            log_odds=it.log_odds,
        )


def _bounded(score: float | None) -> float:
    if score is None or not isfinite(score):
        return 0.0
    return max(-_SIGNAL_MAX, min(_SIGNAL_MAX, score))


def _logistic(odds: float) -> float:
    return 1.0 / (1.0 + exp(-odds))
