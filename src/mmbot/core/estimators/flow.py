"""Pressure at the touch: bounded micro-price, order-flow imbalance, and VPIN for reports."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from math import fsum, inf, sqrt

from pydantic import BaseModel, ConfigDict, Field

from mmbot.core.types import NS_PER_S, Side

_WINSOR = 25.0
"""A squared window counts for at most five deviations: one sweep must not blind z for minutes."""

_GAP_S = 60.0
"""A longer silence of the book is a gap; what changed across it is not flow."""

_BUCKETS = 100
"""Buckets in the window, so that memory does not grow with the rate of book events."""


def weighted_mid(bid_px: float, bid_sz: float, ask_px: float, ask_sz: float) -> float:
    """
    Mid of the touch weighted by the opposite sizes, in the unit of the prices.

        (b q_a + a q_b) / (q_a + q_b), computed as mid + half touch (q_b - q_a) / (q_a + q_b)

    The second form is exactly antisymmetric when the sides are exchanged. Sizes must not both be
    zero (ZeroDivisionError).
    """
    lean = (ask_px - bid_px) * 0.5 * ((bid_sz - ask_sz) / (bid_sz + ask_sz))
    return (bid_px + ask_px) * 0.5 + lean


def micro_shift_bps(
    bid_px: float, bid_sz: float, ask_px: float, ask_sz: float, bps_max: float = 3.0
) -> float | None:
    """
    Distance of the micro-price from the mid, bps of the mid, positive up; None for no valid touch.

    The weighted mid stands for the micro-price. It is not a martingale, so its distance is bounded
    by the smaller of half the touch and `bps_max`; the signal dies in seconds and enters the fair
    price in full.

    Source: the micro-price of Stoikov (2018), The micro-price, Quantitative Finance 18(12); bounds
    are ours.
    """
    if not _is_touch(bid_px, bid_sz, ask_px, ask_sz):
        return None
    half_bps = (ask_px - bid_px) / (bid_px + ask_px) * 1e4
    bound = min(half_bps, bps_max)
    lean = half_bps * ((bid_sz - ask_sz) / (bid_sz + ask_sz))
    return max(-bound, min(bound, lean))


def ofi_event(
    bid_px0: float,
    bid_sz0: float,
    ask_px0: float,
    ask_sz0: float,
    bid_px: float,
    bid_sz: float,
    ask_px: float,
    ask_sz: float,
) -> float:
    """
    Order-flow imbalance of one change of the touch, in the unit of the sizes, positive up.

        e = 1{b1 >= b0} q_b1 - 1{b1 <= b0} q_b0 - 1{a1 <= a0} q_a1 + 1{a1 >= a0} q_a0

    Source: Cont, Kukanov and Stoikov (2014), The price impact of order book events, J. Financial
    Econometrics 12(1), definition of e_n.
    """
    bid = (bid_sz if bid_px >= bid_px0 else 0.0) - (bid_sz0 if bid_px <= bid_px0 else 0.0)
    ask = (ask_sz if ask_px <= ask_px0 else 0.0) - (ask_sz0 if ask_px >= ask_px0 else 0.0)
    return bid - ask


class FlowParams(BaseModel):
    """Order-flow imbalance and its scale; VPIN buckets of the report."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ofi_window_s: float = Field(10.0, ge=1, le=60, description="Window of the imbalance, s.")
    ofi_sd_half_life_s: float = Field(
        600.0, ge=60, le=7200, description="Half-life of the imbalance's own deviation, s."
    )
    ofi_warm_s: float = Field(
        60.0, ge=10, le=1800, description="Book time before the first z score, s."
    )
    ofi_z_max: float = Field(
        3.0, ge=1, le=5, description="Bound of the z score, standard deviations."
    )
    vpin_bucket_usd: float = Field(
        20_000.0, gt=0, le=1e9, description="Volume of one VPIN bucket, USD (report only)."
    )
    vpin_buckets: int = Field(
        50, ge=5, le=500, description="VPIN buckets averaged, count (report only)."
    )


class Ofi:
    """
    Order-flow imbalance over the last seconds, as a z score of its own size, positive up.

        z = OFI_10s / sd(OFI_10s), clipped to 3

    The deviation is an exponentially weighted root mean square about zero (a lasting imbalance is
    a signal, not a new zero), sampled once a second, winsorised at five deviations. Own orders are
    to be taken out of the sizes by the caller. z is None until a minute of book has been seen and
    the window is whole, and again when the book falls silent.

    Source: Cont, Kukanov and Stoikov (2014); the scaling is ours.
    """

    __slots__ = (
        "_bucket_ns",
        "_buckets",
        "_half_life_s",
        "_last_ns",
        "_sampled_ns",
        "_since_ns",
        "_sum",
        "_touch",
        "_var",
        "_var_s",
        "_warm_s",
        "_window_ns",
        "_z_max",
        "ignored",
    )

    def __init__(self, params: FlowParams) -> None:
        self._window_ns = int(params.ofi_window_s * NS_PER_S)
        self._bucket_ns = self._window_ns // _BUCKETS
        self._half_life_s = params.ofi_sd_half_life_s
        self._warm_s = params.ofi_warm_s
        self._z_max = params.ofi_z_max
        self._buckets: deque[list[float]] = deque()
        """Pairs of bucket number and imbalance, oldest first; at most `_BUCKETS` + 1."""
        self._sum = 0.0
        self._touch: tuple[float, float, float, float] | None = None
        self._last_ns: int | None = None
        self._since_ns = 0
        self._sampled_ns = 0
        self._var = 0.0
        self._var_s = 0.0
        """Time that the deviation rests on, s."""
        self.ignored = 0
        """Inputs refused: not a touch, late, or told before."""

    def observe(
        self, recv_ns: int, bid_px: float, bid_sz: float, ask_px: float, ask_sz: float
    ) -> None:
        """Fold one touch; prices and sizes in any unit, always the same one."""
        touch = (bid_px, bid_sz, ask_px, ask_sz)
        last_ns = self._last_ns
        if not _is_touch(bid_px, bid_sz, ask_px, ask_sz) or (
            last_ns is not None
            and (recv_ns < last_ns or (recv_ns == last_ns and touch == self._touch))
        ):
            self.ignored += 1
            return
        if last_ns is None or recv_ns - last_ns > _GAP_S * NS_PER_S:
            self._restart(recv_ns)
        self._sample(recv_ns)
        before = self._touch
        if before is not None:
            change = ofi_event(*before, *touch)
            if change:
                number = recv_ns // self._bucket_ns
                if self._buckets and self._buckets[-1][0] == number:
                    self._buckets[-1][1] += change
                else:
                    self._buckets.append([number, change])
                self._sum += change
        self._touch, self._last_ns = touch, recv_ns

    def z(self, now_ns: int) -> float | None:
        """Imbalance of the window ending at `now_ns`, deviations; None while it says nothing."""
        last_ns = self._last_ns
        if last_ns is None or now_ns < last_ns or now_ns - last_ns > self._window_ns:
            return None
        self._expire(now_ns)
        is_whole = now_ns - self._since_ns >= self._window_ns
        if not is_whole or self._var_s < self._warm_s or self._var <= 0.0:
            return None
        bound = self._z_max
        return max(-bound, min(bound, self._sum / sqrt(self._var)))

    def reset_gap(self) -> None:
        """Forget the touch and the window, not the deviation: the link was lost."""
        self._last_ns = None

    def _restart(self, recv_ns: int) -> None:
        self._touch = None
        self._buckets.clear()
        self._sum = 0.0
        self._since_ns = self._sampled_ns = recv_ns

    def _expire(self, now_ns: int) -> None:
        buckets = self._buckets
        oldest = (now_ns - self._window_ns) // self._bucket_ns
        if buckets and buckets[0][0] <= oldest:
            while buckets and buckets[0][0] <= oldest:
                buckets.popleft()
            # Summed anew rather than subtracted: rounding must not outlive what caused it.
            self._sum = fsum(entry[1] for entry in buckets)

    def _sample(self, now_ns: int) -> None:
        """Offer the window as it stood until now to the deviation, once a second."""
        self._expire(now_ns)
        step_ns = now_ns - self._sampled_ns
        if step_ns < NS_PER_S:
            return
        self._sampled_ns = now_ns
        if now_ns - self._since_ns < self._window_ns:
            return
        step_s = step_ns / NS_PER_S
        square = self._sum * self._sum
        if self._var_s >= self._warm_s and self._var > 0.0:
            square = min(square, _WINSOR * self._var)
        self._var_s += step_s
        # Until one time constant has passed this is the plain mean, so no start value weighs.
        fade = 1.0 - 2.0 ** (-step_s / self._half_life_s)
        self._var += max(fade, step_s / self._var_s) * (square - self._var)


class Vpin:
    """
    Volume-synchronised share of one-sided trading, 0 to 1, over the last buckets. Report only.

        VPIN = mean of |V_buy - V_sell| / V over 50 buckets of equal volume V

    The taker's side is known here, so no volume is classified. Andersen and Bondarenko (2014) find
    it tied mechanically to trading intensity: nothing is quoted from it.

    Source: Easley, Lopez de Prado and O'Hara (2012), Flow toxicity and liquidity in a
    high-frequency world, Review of Financial Studies 25(5).
    """

    __slots__ = ("_bucket_usd", "_filled_usd", "_net_usd", "_shares", "ignored", "value")

    def __init__(self, params: FlowParams) -> None:
        self._bucket_usd = params.vpin_bucket_usd
        self._shares: deque[float] = deque(maxlen=params.vpin_buckets)
        self._filled_usd = 0.0
        self._net_usd = 0.0
        self.value: float | None = None
        """Mean share of one-sided volume; None until every bucket has been filled once."""
        self.ignored = 0
        """Trades refused: not a positive finite value."""

    def on_trades(self, sides: Sequence[Side], values_usd: Sequence[float]) -> None:
        """Count public trades of one message, in order."""
        bucket, filled, net = self._bucket_usd, self._filled_usd, self._net_usd
        for side, value in zip(sides, values_usd, strict=True):
            if 0.0 < value < bucket - filled:
                filled += value
                net += side * value
                continue
            self._filled_usd, self._net_usd = filled, net
            self.on_trade(side, value)
            filled, net = self._filled_usd, self._net_usd
        self._filled_usd, self._net_usd = filled, net

    def on_trade(self, side: Side, value_usd: float) -> None:
        """Count one public trade; `side` is the taker's. What overflows opens the next bucket."""
        if not 0.0 < value_usd < inf:
            self.ignored += 1
            return
        room = self._bucket_usd - self._filled_usd
        if value_usd < room:
            self._filled_usd += value_usd
            self._net_usd += side * value_usd
            return
        self._shares.append(abs(self._net_usd + side * room) / self._bucket_usd)
        rest = value_usd - room
        whole = int(rest // self._bucket_usd)
        # More one-sided buckets than are kept cannot matter: the work stays bounded.
        shares = self._shares
        shares.extend([1.0] * min(whole, shares.maxlen or 0))
        self._filled_usd = max(0.0, rest - whole * self._bucket_usd)
        self._net_usd = side * self._filled_usd
        if len(shares) == shares.maxlen:
            self.value = fsum(shares) / len(shares)


def _is_touch(bid_px: float, bid_sz: float, ask_px: float, ask_sz: float) -> bool:
    """Whether four figures are a touch; a NaN fails every comparison."""
    return 0.0 < bid_px < ask_px < inf and 0.0 < bid_sz < inf and 0.0 < ask_sz < inf
