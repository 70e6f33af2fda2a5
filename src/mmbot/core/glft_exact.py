"""
The optimal quote without the closed form's approximation: GLFT by the eigenvector.

The stationary quote of Gueant, Lehalle and Fernandez-Tapia (2013) on inventories of -Q..Q lots is

    bid(n) = c1 + cost + ln(f[n] / f[n+1]) / k        ask(n) = c1 + cost + ln(f[n] / f[n-1]) / k

with f the eigenvector of the smallest eigenvalue of a tridiagonal matrix. The closed form replaces
f by a Gaussian. That holds while an order moves the quote by little against 1/k and the limit is
far away; `exact_or_closed` knows which of the two a state calls for.
"""

from __future__ import annotations

from math import e, exp, floor, inf, isfinite, log, log1p, sqrt, ulp
from typing import Final, Literal, NamedTuple

import msgspec

from mmbot.core.types import NS_PER_S

Method = Literal["closed", "exact"]

EPS_CLOSED_MAX: Final = 0.15
"""Largest k * skew * delta at which the closed form is used; see `validity`."""

_WIDTHS_TO_LIMIT: Final = 1.75
"""The inventory limit must be this many widths of the well away; see `exact_or_closed`."""

_BEND: Final = 0.75
"""Largest eps * lots from the centre of the well at which the exact quote is still a line."""

_RATIO_TINY: Final = 1e-8
"""Below this the logarithms of the coefficients are replaced by their limits."""

_DIGITS: Final = 3
"""Significant digits of the inputs a solution is kept for: half a step moves a quote by 0.5 %."""

_RESOLVE_NS: Final = NS_PER_S
"""A new solution at most this often: it costs as much as a quote."""

_STEPS_MAX: Final = 12
"""Of Newton's method on the eigenvalue; three to five reach the last digits."""

_NEWTON_ULPS: Final = 4.0
"""Accuracy that Newton's method is trusted with, in units of the last place of the scale."""

_NEAR_NS: Final = 30 * NS_PER_S
_NEAR_FRAC: Final = 0.1
"""For so long a solution answers for inputs that differ by less: a tenth of A moves the half spread
by a twentieth of its smallest term."""
_NEAR_UNROUNDED: Final = 0.09
"""What is so near before it is rounded is near afterwards: rounding moves it by half a percent."""


class GlftInputs(NamedTuple):
    """
    One market and one risk aversion. Inventory is in the caller's unit, usually of the limit.

    Attributes:
        vol_bps_rt_s: Volatility of the mid (sigma), bps per root second, >= 0.
        gamma_per_bp: Aversion to inventory risk, per bps of a unit of inventory, >= 0.
        xi_per_bp: Aversion to execution risk; gamma for CARA utility, 0 for neutral.
        k_per_bp: Decay of fill intensity with depth, > 0.
        a_per_s: Fill intensity of one side at zero depth, per second, > 0.
        delta: Order size in units of inventory, > 0.
        lots_max: Inventory limit Q in orders, >= 1.
        drift_bps_per_s: Known drift of the mid (mu), positive up.
        cost_bps: What a fill costs: fee + own impact / 2 (GLFT 2013, section 5.2); a rebate is < 0.
    """

    vol_bps_rt_s: float
    gamma_per_bp: float
    xi_per_bp: float
    k_per_bp: float
    a_per_s: float
    delta: float
    lots_max: int
    drift_bps_per_s: float = 0.0
    cost_bps: float = 0.0


class _Shape(NamedTuple):
    """Coefficients of the matrix: M[n][n] = alpha n^2 - beta n, M[n][n +- 1] = -eta."""

    margin_bps: float
    """c1 + cost: the half spread of a maker who does not mind inventory."""
    alpha: float
    beta: float
    eta: float


def _shape(it: GlftInputs) -> _Shape:
    vol, gamma, xi, k, a_per_s, delta, lots_max, drift, cost = it
    if not (0 < k < inf and 0 < a_per_s < inf and 0 < delta < inf and lots_max >= 1):
        msg = f"k, a, delta must be positive and finite and lots_max at least 1, got {it}"
        raise ValueError(msg)
    if not (0 <= vol < inf and 0 <= gamma < inf and 0 <= xi < inf):
        msg = f"sigma, gamma and xi must be finite and not negative, got {it}"
        raise ValueError(msg)
    if not (isfinite(drift) and isfinite(cost)):
        msg = f"drift and cost must be finite, got {it}"
        raise ValueError(msg)
    step = xi * delta
    ratio = step / k
    if ratio < _RATIO_TINY:
        c1_bps, log_growth = (1.0 - ratio / 2) / k, log(e * (1.0 + ratio / 2))
    else:
        grown = log1p(ratio)
        c1_bps, log_growth = grown / step, (1.0 / ratio + 1.0) * grown
    eta = a_per_s * exp(-log_growth - k * cost)
    if not 0 < eta < inf:
        msg = f"no fills at this cost: the effective intensity is {eta} per s for {it}"
        raise ValueError(msg)
    return _Shape(
        c1_bps + cost,
        0.5 * k * gamma * vol**2 * delta,
        k * drift,
        eta,
    )


class GlftGrid(msgspec.Struct, frozen=True):
    """Exact quotes on the inventories -Q..Q lots, bps from fair value."""

    delta: float
    lots_max: int
    bid_bps: tuple[float, ...]
    """Depth of the bid at n = -Q .. Q-1: at the limit there is nothing left to buy."""
    ask_bps: tuple[float, ...]
    """Depth of the ask at n = -Q+1 .. Q."""

    def depths(self, inventory: float) -> tuple[float | None, float | None]:
        """
        Depths (bid, ask) at `inventory` in units, linear between lots.

        A side on which not even one more lot fits is None; beyond the limit the other side keeps
        the depth it has there.
        """
        place = inventory / self.delta
        top = float(self.lots_max)
        bid = None if place > top - 1 else _between(self.bid_bps, place + top)
        ask = None if place < 1 - top else _between(self.ask_bps, place + top - 1)
        return bid, ask


def _between(values: tuple[float, ...], place: float) -> float:
    """Linear interpolation at `place`, held constant beyond the ends."""
    if place <= 0:
        return values[0]
    low = floor(place)
    if low >= len(values) - 1:
        return values[-1]
    return values[low] + (place - low) * (values[low + 1] - values[low])


def glft_exact(inputs: GlftInputs) -> GlftGrid:
    """
    Stationary optimal quotes with an inventory limit; O(Q), about 0.1 ms at Q = 50.

    The eigenvalue is the last number that passes the Sturm test of the symmetric matrix, the ratios
    of neighbouring components come from the inward recursion

        f[n-1] / f[n] = (M[n][n] - lambda) / eta - f[n+1] / f[n]

    from each limit to the bottom of the well. The components themselves underflow far out, and
    the outward recursion loses all digits; this one is stable.

    Raises:
        ValueError: A bound of `GlftInputs` is broken, or its cost leaves no fills at all.

    Source: Gueant, Lehalle, Fernandez-Tapia (2013), theorems 1 and 2, section 5.1 for the drift;
    order size and xi as in Gueant (2017), arXiv:1605.01862.
    """
    shape = _shape(inputs)
    lots = inputs.lots_max
    diagonal = [shape.alpha * n * n - shape.beta * n for n in range(-lots, lots + 1)]
    eigenvalue = _smallest_eigenvalue(diagonal, shape.eta)
    bottom = min(range(len(diagonal)), key=diagonal.__getitem__)
    pull = [(value - eigenvalue) / shape.eta for value in diagonal]
    # ratio[i] = f[i] / f[i+1], from the upper limit down to the well, then from the lower one up.
    ratio = [1.0] * (len(diagonal) - 1)
    inner = 0.0
    for i in range(len(diagonal) - 1, bottom, -1):
        ratio[i - 1] = pull[i] - inner
        inner = 1.0 / ratio[i - 1]
    inner = 0.0
    for i in range(bottom):
        inner = 1.0 / (pull[i] - inner)
        ratio[i] = inner
    gains = [log(value) / inputs.k_per_bp for value in ratio]
    return GlftGrid(
        delta=inputs.delta,
        lots_max=lots,
        bid_bps=tuple(shape.margin_bps + gain for gain in gains),
        ask_bps=tuple(shape.margin_bps - gain for gain in gains),
    )


def _smallest_eigenvalue(diagonal: list[float], eta: float) -> float:
    """
    Of the symmetric tridiagonal matrix with -eta beside `diagonal`, to the last bit or two.

    It is the largest number for which every pivot of the elimination comes out positive. Rounding
    keeps the order (each pivot falls as the shift grows, in floating point as well: Demmel, Dhillon
    and Ren 1995), so there is just one, however it is looked for: Newton's method comes within a
    few units of the last place, and bisection decides between what is left.
    """
    high = min(diagonal)
    low = high - 2.0 * eta
    square = eta * eta
    found = _newton(diagonal, eta, low, high)
    if low < found < high:
        reach = _NEWTON_ULPS * ulp(max(abs(low), abs(high)))
        # Widened until the two ends enclose it; the outer bounds always do.
        while low < (below := found - reach):
            if _is_below(below, diagonal, square):
                low = below
                break
            high, reach = below, 4.0 * reach
        while (above := found + reach) < high:
            if not _is_below(above, diagonal, square):
                high = above
                break
            low, reach = above, 4.0 * reach
    while True:
        middle = 0.5 * (low + high)
        if not low < middle < high:
            return low
        if _is_below(middle, diagonal, square):
            low = middle
        else:
            high = middle


def _is_below(shift: float, diagonal: list[float], square: float) -> bool:
    """Whether a number lies below every eigenvalue: all pivots are positive."""
    pivot = inf
    for value in diagonal:
        pivot = value - shift - square / pivot
        if pivot <= 0:
            return False
    return True


def _newton(diagonal: list[float], eta: float, low: float, high: float) -> float:
    """
    Nearly the smallest eigenvalue: the root of the pivot at the bottom of the well.

        g(s) = d[c] - s - eta^2 / u(s) - eta^2 / w(s)

    with u and w the last pivots of the eliminations from both ends. It is concave and falls up to
    its first pole, and far from that pole at the root, for there the vector is largest; Newton's
    step is the Rayleigh quotient of the vector that belongs to the shift.
    """
    bottom = min(range(len(diagonal)), key=diagonal.__getitem__)
    left, right = diagonal[:bottom], diagonal[:bottom:-1]
    square = eta * eta
    is_even = left == right
    shift = low
    for _ in range(_STEPS_MAX):
        value, slope = diagonal[bottom] - shift, -1.0
        for side in (left,) if is_even else (left, right):
            pivot, weight = inf, 0.0
            for entry in side:
                share = square / pivot
                # Squared length of the vector so far, in units of its newest component.
                weight = 1.0 + weight * share / pivot
                pivot = entry - shift - share
                if pivot <= 0:
                    return high
            if side:
                share = square / pivot
                times = 2.0 if is_even else 1.0
                value -= times * share
                slope -= times * weight * share / pivot
        step = value / slope
        shift -= step
        if not low < shift < high:
            return high
        if abs(step) <= _NEWTON_ULPS * ulp(shift):
            break
    return shift


class GlftChoice(NamedTuple):
    """A quote at one inventory: bid = half + lean, ask = half - lean; which method made it."""

    half_bps: float
    lean_bps: float
    """Half of bid - ask: skew and drift together, positive moves both quotes down (long)."""
    method: Method
    eps: float
    """k * skew * delta of the closed form."""
    skew_bps: float
    """Slope of the closed form per unit of inventory, whatever the method."""


def validity(eps: float) -> Method:
    """
    Which form to use at `eps` = k * skew * delta, the closed form's error being a function of it.

    Measured error of the closed depth: eps 0.02: 0.004 %; 0.07: 0.03 % flat and 1 % at 11 lots;
    0.14: 0.5 % at 3 lots; 0.41: 2 % flat and 4 % at 1 lot; above 0.5 it is not usable. The choice
    is the closed form up to 0.15, where it is within 1 % and the change-over is no visible step,
    and the eigenvector from there on, long before the closed form breaks.

    Necessary, not sufficient, since the closed form knows no limit: see `exact_or_closed`.

    Raises:
        ValueError: `eps` is negative or not a number.
    """
    if not eps >= 0:
        msg = f"eps must not be negative, got {eps}"
        raise ValueError(msg)
    return "closed" if eps <= EPS_CLOSED_MAX else "exact"


def exact_or_closed(inputs: GlftInputs, inventory: float) -> GlftChoice:
    """
    The quote at `inventory` by the closed form where it holds, else by the eigenvector.

    The closed form is taken when `validity(eps)` says so and, on the well of f, which is
    1/sqrt(eps) lots wide around the inventory the drift asks for (mu / (gamma sigma^2)):

        the inventory and that centre are 1.75 widths or more inside the limit, and
        eps * (lots between the two) <= 0.75, beyond which the line bends.

    On random inputs both depths are then within 1 % of the exact ones, relative to the larger
    of the two. Without risk aversion there is no well, so the limit decides: eigenvector.
    Where only one side of the exact quote exists (the last lot, and beyond the limit) the
    quote of the last inventory with both sides stands.

    Args:
        inputs: Market, aversion and limit.
        inventory: Signed, in the units of `inputs`.

    Raises:
        ValueError: A bound of `GlftInputs` is broken, or the inventory is not finite.

    Source: Gueant, Lehalle, Fernandez-Tapia (2013), section 4, and section 5.1 for the drift.
    """
    closed, is_valid = _closed(inputs, inventory)
    if is_valid:
        return closed
    half_bps, lean_bps = _half_and_lean(glft_exact(inputs), inventory)
    return GlftChoice(half_bps, lean_bps, "exact", closed.eps, closed.skew_bps)


def _closed(inputs: GlftInputs, inventory: float) -> tuple[GlftChoice, bool]:
    """The closed form, and whether it may be used at this inventory."""
    if not isfinite(inventory):
        msg = f"inventory must be finite, got {inventory}"
        raise ValueError(msg)
    shape = _shape(inputs)
    eps = sqrt(shape.alpha / shape.eta)
    skew_bps = eps / (inputs.k_per_bp * inputs.delta)
    is_valid = False
    lean_bps = skew_bps * inventory
    if shape.alpha > 0:
        centre = shape.beta / (2.0 * shape.alpha)
        lots = inventory / inputs.delta
        room = inputs.lots_max - max(abs(lots), abs(centre))
        is_line = eps * abs(lots - centre) <= _BEND
        is_far = room * sqrt(eps) >= _WIDTHS_TO_LIMIT
        is_valid = validity(eps) == "closed" and is_line and is_far
        lean_bps -= skew_bps * centre * inputs.delta
    half_bps = shape.margin_bps + inputs.delta / 2 * skew_bps
    return GlftChoice(half_bps, lean_bps, "closed", eps, skew_bps), is_valid


def _half_and_lean(grid: GlftGrid, inventory: float) -> tuple[float, float]:
    """The exact quote at the nearest inventory at which both of its sides exist."""
    edge = (grid.lots_max - 1) * grid.delta
    bid_bps, ask_bps = grid.depths(max(-edge, min(edge, inventory)))
    assert bid_bps is not None
    assert ask_bps is not None
    return (bid_bps + ask_bps) / 2, (bid_bps - ask_bps) / 2


class GlftExact:
    """
    `exact_or_closed` for the hot path: one solution kept, renewed at most once a second.

    A solution belongs to inputs rounded to three digits. Inside the second after it, and for half
    a minute while no input has moved by a tenth, it answers for others as well: estimates move a
    little every second, and a solution costs more than everything else in a decision.
    """

    __slots__ = ("_at_ns", "_grid", "_key", "_read", "solved")

    def __init__(self) -> None:
        self._key: GlftInputs | None = None
        self._grid: GlftGrid | None = None
        self._at_ns = 0
        self._read: tuple[float, float, float] | None = None
        """Inventory at which the solution was last read, and what it said there."""
        self.solved = 0
        """Eigenproblems solved so far, for the benchmark and the tests."""

    def quote(self, now_ns: int, inputs: GlftInputs, inventory: float) -> GlftChoice:
        """
        The quote at `inventory`; see `exact_or_closed` for the method and the errors.

        Raises:
            ValueError: A bound of `GlftInputs` is broken, or the inventory is not finite.
        """
        closed, is_valid = _closed(inputs, inventory)
        if is_valid:
            return closed
        grid = self._grid_at(now_ns, inputs)
        read = self._read
        if read is None or read[0] != inventory:
            self._read = read = (inventory, *_half_and_lean(grid, inventory))
        _, half_bps, lean_bps = read
        return GlftChoice(half_bps, lean_bps, "exact", closed.eps, closed.skew_bps)

    def _grid_at(self, now_ns: int, inputs: GlftInputs) -> GlftGrid:
        grid, kept = self._grid, self._key
        if grid is not None and kept is not None:
            # A clock that went back must not keep an old solution alive.
            age_ns = now_ns - self._at_ns
            is_near = 0 <= age_ns < _NEAR_NS
            if is_near and (age_ns < _RESOLVE_NS or _near(inputs, kept, _NEAR_UNROUNDED)):
                return grid
            key = _rounded(inputs)
            if key == kept or (is_near and _near(key, kept, _NEAR_FRAC)):
                return grid
        else:
            key = _rounded(inputs)
        self._grid, self._key, self._at_ns = glft_exact(key), key, now_ns
        self._read = None
        self.solved += 1
        return self._grid


def _near(key: GlftInputs, other: GlftInputs, frac: float) -> bool:
    """Whether no input differs by more than a fraction, and the limit not at all."""
    if key.lots_max != other.lots_max:
        return False
    for a, b in zip(key, other, strict=True):  # noqa: SIM110 - twice as fast as `all`
        if abs(a - b) > frac * abs(b):
            return False
    return True


def _rounded(inputs: GlftInputs) -> GlftInputs:
    """The inputs to three significant digits."""
    return GlftInputs(
        vol_bps_rt_s=_digits(inputs.vol_bps_rt_s),
        gamma_per_bp=_digits(inputs.gamma_per_bp),
        xi_per_bp=_digits(inputs.xi_per_bp),
        k_per_bp=_digits(inputs.k_per_bp),
        a_per_s=_digits(inputs.a_per_s),
        delta=_digits(inputs.delta),
        lots_max=inputs.lots_max,
        drift_bps_per_s=_digits(inputs.drift_bps_per_s),
        cost_bps=_digits(inputs.cost_bps),
    )


def _digits(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
