"""How far another market's price leads ours, beyond the usual premium."""

from __future__ import annotations

from math import log

from mmbot.core.types import NS_PER_S


class Reference:
    """
    Lead of another market's price over ours, beyond the usual premium.

    The premium is an average of `log(ref/fair)` with a half-life of minutes, so a constant premium
    (another quote currency, another index, a price of quite another size) shifts nothing; the first
    price sets it whole.
    """

    __slots__ = (
        "_half_life_s",
        "_max_bps",
        "_premium_bps",
        "_recv_ns",
        "_stale_ns",
        "_venue_ms",
        "px",
    )

    def __init__(self, *, bps_max: float, stale_s: float, half_life_s: float) -> None:
        self._max_bps = bps_max
        self._stale_ns = int(stale_s * NS_PER_S)
        self._half_life_s = half_life_s
        self._premium_bps: float | None = None
        self._recv_ns = 0
        self._venue_ms = -1
        self.px: float | None = None

    def retune(self, *, bps_max: float, stale_s: float, half_life_s: float) -> None:
        """Go on with other bounds; the usual premium stays as it was learnt."""
        self._max_bps = bps_max
        self._stale_ns = int(stale_s * NS_PER_S)
        self._half_life_s = half_life_s

    def observe(self, px: float, recv_ns: int, venue_ms: int, fair_px: float | None) -> None:
        """Take a price of the other market, in USD; older ones and nonsense are ignored."""
        if not 0 < px < float("inf") or venue_ms < self._venue_ms:
            return
        elapsed_s = (recv_ns - self._recv_ns) / NS_PER_S
        self.px, self._recv_ns, self._venue_ms = px, recv_ns, venue_ms
        if fair_px is None:
            return
        gap_bps = log(px / fair_px) * 1e4
        if self._premium_bps is None:
            self._premium_bps = gap_bps
        elif elapsed_s > 0:
            weight = 1.0 - 2.0 ** (-elapsed_s / self._half_life_s)
            self._premium_bps += weight * (gap_bps - self._premium_bps)

    def forget(self) -> None:
        """Drop price and time after a lost link: one wrong time must not outlive its connection."""
        self.px, self._venue_ms = None, -1

    def shift_bps(self, fair_px: float, now_ns: int) -> float | None:
        """Bounded lead in bps, positive up; None when there is no price younger than the limit."""
        if self.px is None or self._premium_bps is None or now_ns - self._recv_ns > self._stale_ns:
            return None
        lead = log(self.px / fair_px) * 1e4 - self._premium_bps
        # Plus zero: a bound of zero would otherwise answer with a zero that has a sign.
        return max(-self._max_bps, min(self._max_bps, lead)) + 0.0

    def expires_at_ns(self) -> int | None:
        """When the price in hand becomes absent."""
        return None if self.px is None else self._recv_ns + self._stale_ns + 1
