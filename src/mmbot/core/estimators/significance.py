"""
What is a coincidence: how likely independent fills make a burst, a reach or a run.

Pure functions for the burst detector, for reports and for choosing thresholds. An independent
event is one aggressive order, not one fill: an order that sweeps seven rungs is one event.
"""

from __future__ import annotations

from math import exp, fsum


def reach_p(span_bps: float, k_per_bp: float) -> float:
    """
    Probability that an order that took one rung goes on for `span_bps` or more: exp(-k span).

    Raises:
        ValueError: The span is negative or `k_per_bp` is not positive.

    Source: the exponential reach of aggressive orders, Avellaneda and Stoikov (2008), section 2.5.
    """
    if not (0 <= span_bps < float("inf") and 0 < k_per_bp < float("inf")):
        msg = f"need span >= 0 and k > 0, got {span_bps} bps and {k_per_bp} per bps"
        raise ValueError(msg)
    return exp(-k_per_bp * span_bps)


def scan_p(events: int, rate_per_s: float, window_s: float, span_s: float) -> float:
    """
    Probability that some window of `window_s` inside `span_s` holds `events` or more of them.

    For a Poisson stream; 1 where that many are expected in every window anyway
    (`events <= rate * window`, outside the formula's range). An approximation for the tail: below
    about 0.2 it falls with `events`, near the mean it does not quite.

    Raises:
        ValueError: A figure is not positive, or the window is longer than the span.

    Source: Alm (1983), On the distribution of the scan statistic of a Poisson process.
    """
    if events < 1 or not 0 < window_s <= span_s < float("inf") or not 0 < rate_per_s < float("inf"):
        msg = (
            "need events >= 1, rate > 0 and 0 < window <= span, got "
            f"{events} events, {rate_per_s} per s, {window_s} s in {span_s} s"
        )
        raise ValueError(msg)
    mean = rate_per_s * window_s
    if events <= mean:
        return 1.0
    term = exp(-mean)
    below = term
    for i in range(1, events):
        term *= mean / i
        below += term
    # `term` is now the Poisson probability of events - 1, `below` that of at most events - 1.
    windows = (1.0 - mean / events) * rate_per_s * (span_s - window_s)
    return min(1.0, max(0.0, 1.0 - below * exp(-windows * term)))


def scan_events_min(p: float, rate_per_s: float, window_s: float, span_s: float) -> int:
    """
    Smallest number of events in one window that is significant at level `p`.

    Raises:
        ValueError: `p` is not in (0, 1), or a bound of `scan_p` is broken.
    """
    if not 0 < p < 1:
        msg = f"p must be in (0, 1), got {p}"
        raise ValueError(msg)
    events = 1
    while scan_p(events, rate_per_s, window_s, span_s) >= p:
        events += 1
    return events


def longest_run_p(tosses: int, run: int) -> float:
    """
    Probability of `run` or more equal sides in a row among `tosses` fair ones.

    Real aggressor sides are correlated, so a long run alone proves less than this figure says.

    Raises:
        ValueError: A count is below 1.
    """
    if tosses < 1 or run < 1:
        msg = f"need at least one toss and a run of one, got {tosses} and {run}"
        raise ValueError(msg)
    if run == 1:
        return 1.0
    # alive[i]: probability that the current run has i + 1 sides and none has reached the goal.
    alive = [1.0] + [0.0] * (run - 2)
    reached = 0.0
    for _ in range(tosses - 1):
        reached += alive[-1] / 2
        alive = [fsum(alive) / 2, *(value / 2 for value in alive[:-1])]
    return reached
