"""Fits of the fill intensity lambda(d) = A exp(-k d) per side to a whole sample, for reports."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import exp, fsum, inf, sqrt
from typing import NamedTuple


class CensoredFit(NamedTuple):
    """Fit of A and k to the reach of aggressor events."""

    a_per_s: float
    k_per_bp: float
    k_se: float
    events: int


class QuotesFit(NamedTuple):
    """Fit of A and k to own fills under moving quotes."""

    a_per_s: float
    k_per_bp: float


def mle_censored(
    reaches_bps: Iterable[float], span_s: float, d_min_bps: float, d_max_bps: float = inf
) -> CensoredFit:
    """
    Maximum likelihood of an exponential reach, seen from `d_min_bps`, censored at `d_max_bps`.

        k = n_uncensored / sum(min(reach, d_max) - d_min),  A = n/T exp(k d_min),  se = k/sqrt(n_u)

    Args:
        reaches_bps: Worst price of each aggressor event from the mid just before, bps; those
            below `d_min_bps` are left out.
        span_s: Time watched, s; for both sides together give twice the time.

    Raises:
        ValueError: No event lies between the bounds, or a bound or the span is not in order.

    Source: the censored exponential of survival analysis; the intensity of Avellaneda and Stoikov
    (2008), section 2.5.
    """
    if not (0.0 <= d_min_bps < d_max_bps and 0.0 < span_s < inf):
        msg = f"need 0 <= d_min < d_max and a span > 0, got {d_min_bps}, {d_max_bps}, {span_s} s"
        raise ValueError(msg)
    count = uncensored = 0
    excess = 0.0
    for reach in reaches_bps:
        if reach >= d_min_bps:
            count += 1
            uncensored += reach < d_max_bps
            excess += min(reach, d_max_bps) - d_min_bps
    if uncensored == 0 or excess <= 0.0:
        msg = f"no aggressor event reached between {d_min_bps} and {d_max_bps} bps"
        raise ValueError(msg)
    k = uncensored / excess
    return CensoredFit(count / span_s * exp(k * d_min_bps), k, k / sqrt(uncensored), count)


def mle_quotes(fills_bps: Sequence[float], exposure: Sequence[tuple[float, float]]) -> QuotesFit:
    """
    Maximum likelihood of Poisson fills at the depths where our orders rested.

        mean depth of fills = sum t d e^(-k d) / sum t e^(-k d),   A = n / sum t e^(-k d)

    Args:
        fills_bps: Depth of each fill, bps.
        exposure: Pairs of depth, bps, and seconds that an order really rested there.

    k may come out negative where we were filled deep more often than shallow; then the data do not
    show the law.

    Raises:
        ValueError: No fill, exposure at fewer than two depths, or fills whose mean depth no k
            gives (all at the nearest or all at the farthest).
    """
    rested = [(depth, seconds) for depth, seconds in exposure if seconds > 0.0]
    lo, hi = (min(rested)[0], max(rested)[0]) if rested else (0.0, 0.0)
    mean = fsum(fills_bps) / len(fills_bps) if fills_bps else lo
    if not lo < mean < hi:
        msg = (
            f"{len(fills_bps)} fills of mean depth {mean} bps do not lie inside the depths quoted, "
            f"{lo} to {hi} bps"
        )
        raise ValueError(msg)
    # The weighted mean depth falls in k. Bisection keeps Newton inside; the scale is 1/depth.
    below, above = -700.0 / (hi - lo), 700.0 / (hi - lo)
    k = 0.0
    for _ in range(200):
        weights = [seconds * exp(-k * (depth - lo)) for depth, seconds in rested]
        total = fsum(weights)
        centre = fsum(w * d for w, (d, _) in zip(weights, rested, strict=True)) / total
        spread = fsum(w * (d - centre) ** 2 for w, (d, _) in zip(weights, rested, strict=True))
        if centre > mean:
            below = k
        else:
            above = k
        step = (centre - mean) * total / spread if spread > 0.0 else inf
        following = k + step
        if not below < following < above:
            following = (below + above) / 2
        if abs(following - k) <= 1e-15 * max(1.0, abs(k)):
            break
        k = following
    return QuotesFit(len(fills_bps) / fsum(s * exp(-k * d) for d, s in rested), k)
