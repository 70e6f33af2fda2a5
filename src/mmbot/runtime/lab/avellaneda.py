"""
`mmbot lab avellaneda-stoikov`: the tables of 2008 by simulation, beside their exact values.

Both run our own quotes (`core.avellaneda`). Fills depend on inventory and time alone, so the law of
the inventory and the first two moments of the captured spread follow by recursion, and no printed
number, with its own sampling error, has to serve as the truth.
"""

from __future__ import annotations

from math import sqrt
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from mmbot.core.avellaneda import depths, spread

_HORIZON: Final = 1.0
_VOL: Final = 2.0
_DT: Final = 0.005
_STEPS: Final = 200
_K: Final = 1.5
_A: Final = 140.0
_Q_MAX: Final = 90
"""Inventories beyond it have a probability below 1e-12 in every table."""
ERRORS: Final = 4.0
"""Standard errors of the run within which a simulated figure agrees with its exact value."""

Depths = NDArray[np.float64]
"""Shape (steps, inventories, 2): bid and ask depth."""


class Case(msgspec.Struct, frozen=True):
    """One row of the tables."""

    table: str
    gamma: float
    is_inventory: bool
    """Whether quotes lean with the inventory, or stay symmetric at the mean spread."""
    has_horizon_term: bool

    @property
    def name(self) -> str:
        """What is printed for it."""
        return "inventory" if self.is_inventory else "symmetric"


CASES: Final = tuple(
    Case(table, gamma, is_inventory, has_horizon_term)
    for table, gamma, has_horizon_term in (
        ("QF 1", 0.1, True),
        ("QF 2", 0.01, True),
        ("QF 3", 1.0, True),
        ("WP 1", 0.1, False),
        ("WP 2", 0.01, False),
        ("WP 3", 0.5, False),
        ("none", 0.5, True),
    )
    for is_inventory in (True, False)
)
"""QF: the published tables. WP: the working paper of 2006, whose spread lacks the horizon term."""


class Moments(msgspec.Struct, frozen=True):
    """Mean and deviation of the profit, deviation of the final inventory."""

    profit_mean: float
    profit_sd: float
    final_q_sd: float


class Row(msgspec.Struct, frozen=True):
    """One case, simulated and exact; the errors are those of the run."""

    case: Case
    exact: Moments
    simulated: Moments
    mean_se: float
    sd_se: float
    q_sd_se: float

    @property
    def errors(self) -> tuple[float, float, float]:
        """Distance from the exact values of mean, deviation, inventory, in standard errors."""
        it, exact = self.simulated, self.exact
        return (
            (it.profit_mean - exact.profit_mean) / self.mean_se,
            (it.profit_sd - exact.profit_sd) / self.sd_se,
            (it.final_q_sd - exact.final_q_sd) / self.q_sd_se,
        )

    @property
    def agrees(self) -> bool:
        """Whether all three lie within `ERRORS`."""
        return all(abs(error) <= ERRORS for error in self.errors)


def quotes(case: Case) -> Depths:
    """Depths of every step and inventory from -90 to 90."""
    lefts = [_HORIZON - n * _DT for n in range(_STEPS)]
    spreads = [
        spread(case.gamma, _VOL, _K, left, has_horizon_term=case.has_horizon_term) for left in lefts
    ]
    table = np.empty((_STEPS, 2 * _Q_MAX + 1, 2))
    mean_half = sum(spreads) / _STEPS / 2
    for n, left in enumerate(lefts):
        for q in range(-_Q_MAX, _Q_MAX + 1):
            if case.is_inventory:
                table[n, q + _Q_MAX] = depths(q, spreads[n] / 2, case.gamma, _VOL, left)
            else:
                table[n, q + _Q_MAX] = mean_half, mean_half
    return table


def _fill_p(depth: Depths) -> Depths:
    return np.minimum(1.0, _A * np.exp(-_K * depth) * _DT)


def exact(case: Case) -> Moments:
    """The moments by recursion over the law of the inventory."""
    table = quotes(case)
    size = 2 * _Q_MAX + 1
    law, first, second = (np.zeros(size) for _ in range(3))
    law[_Q_MAX] = 1.0
    q = np.arange(-_Q_MAX, _Q_MAX + 1)
    held = 0.0
    for n in range(_STEPS):
        bid, ask = table[n, :, 0], table[n, :, 1]
        p_bid, p_ask = _fill_p(bid), _fill_p(ask)
        p_bid[-1] = p_ask[0] = 0.0
        after = [np.zeros(size) for _ in range(3)]
        for weight, gain, step in (
            ((1 - p_bid) * (1 - p_ask), np.zeros(size), 0),
            (p_bid * (1 - p_ask), bid, 1),
            ((1 - p_bid) * p_ask, ask, -1),
            (p_bid * p_ask, bid + ask, 0),
        ):
            moved = (
                weight * law,
                weight * (first + gain * law),
                weight * (second + 2 * gain * first + gain * gain * law),
            )
            after = [total + np.roll(part, step) for total, part in zip(after, moved, strict=True)]
        law, first, second = after
        held += float(law @ (q * q))
    mean = float(first.sum())
    variance = float(second.sum()) - mean * mean + _VOL * _VOL * _DT * held
    return Moments(mean, sqrt(variance), sqrt(float(law @ (q * q))))


def simulate(case: Case, paths: int, seed: int) -> Row:
    """
    Trade `paths` paths; the price moves by a coin, as in the paper.

    Args:
        case: Which row.
        paths: How many, at least 100.
        seed: Seeds everything.
    """
    if paths < 100:
        msg = f"paths must be at least 100, got {paths}"
        raise ValueError(msg)
    table = quotes(case)
    rng = np.random.default_rng(np.random.SeedSequence([seed, CASES.index(case)]))
    q = np.zeros(paths, dtype=np.int64)
    price, cash = np.full(paths, 100.0), np.zeros(paths)
    move = _VOL * sqrt(_DT)
    for n in range(_STEPS):
        rows = table[n, np.clip(q, -_Q_MAX, _Q_MAX) + _Q_MAX]
        bought = rng.random(paths) < _fill_p(rows[:, 0])
        sold = rng.random(paths) < _fill_p(rows[:, 1])
        cash += sold * (price + rows[:, 1]) - bought * (price - rows[:, 0])
        q += bought.astype(np.int64) - sold
        price += move * np.where(rng.random(paths) < 0.5, 1.0, -1.0)
    profit = cash + q * price
    simulated = Moments(float(profit.mean()), float(profit.std(ddof=1)), float(q.std(ddof=1)))
    return Row(
        case,
        exact(case),
        simulated,
        mean_se=simulated.profit_sd / sqrt(paths),
        sd_se=_sd_error(profit),
        q_sd_se=_sd_error(q.astype(np.float64)),
    )


def _sd_error(sample: NDArray[np.float64]) -> float:
    """Standard error of a sample deviation, by the fourth moment: these are not normal."""
    centred = sample - sample.mean()
    second = float((centred**2).mean())
    fourth = float((centred**4).mean())
    return sqrt(max(fourth - second * second, 0.0) / len(sample)) / (2 * sqrt(second))


def lines(rows: list[Row], paths: int) -> list[str]:
    """The table for a person."""
    head = (
        f"{'table':<6}{'gamma':>6}  {'strategy':<10}{'profit':>9}{'exact':>9}{'sd':>8}{'exact':>8}"
        f"{'q sd':>7}{'exact':>7}  errors (mean, sd, q sd)"
    )
    out = [f"{paths} paths a row; agreement within {ERRORS:g} standard errors", "", head]
    for row in rows:
        it, truth = row.simulated, row.exact
        errors = ", ".join(f"{error:+.1f}" for error in row.errors)
        out.append(
            f"{row.case.table:<6}{row.case.gamma:>6g}  {row.case.name:<10}"
            f"{it.profit_mean:>9.3f}{truth.profit_mean:>9.3f}{it.profit_sd:>8.3f}"
            f"{truth.profit_sd:>8.3f}{it.final_q_sd:>7.3f}{truth.final_q_sd:>7.3f}  {errors}"
            f"{'' if row.agrees else '  DISAGREES'}"
        )
    return out
