"""The exact GLFT quote: the reference's vectors, its symmetries, and where the closed form ends."""

from __future__ import annotations

from math import cos, log, pi, sqrt

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mmbot.core.glft import glft
from mmbot.core.glft_exact import (
    GlftExact,
    GlftInputs,
    _smallest_eigenvalue,
    exact_or_closed,
    glft_exact,
    validity,
)
from mmbot.core.types import NS_PER_S

G = GlftInputs(
    vol_bps_rt_s=0.3,
    gamma_per_bp=0.01,
    xi_per_bp=0.01,
    k_per_bp=0.3,
    a_per_s=0.9,
    delta=1.0,
    lots_max=60,
)
G6 = G._replace(
    k_per_bp=0.04235741115084049,
    a_per_s=2.986162360812285,
    vol_bps_rt_s=10.69,
    gamma_per_bp=0.05,
    xi_per_bp=0.05,
    lots_max=30,
)
H = GlftInputs(
    vol_bps_rt_s=1.2,
    gamma_per_bp=0.016,
    xi_per_bp=0.016,
    k_per_bp=0.25,
    a_per_s=0.0918,
    delta=0.04,
    lots_max=25,
)
DRIFT = 0.0253

# Model reference 1.9, columns "exact bid" and "exact ask": inputs, inventory, depths in bps.
VECTORS = {
    "G1": (G, 0.0, 3.313045418, 3.313045418),
    "G2": (G, 5.0, 3.65347952, 2.972521707),
    "G3": (G, -10.0, 2.632801914, 3.99293261),
    "G4": (G._replace(vol_bps_rt_s=0.4), 0.0, 3.324458078, 3.324458078),
    "G5": (
        G._replace(vol_bps_rt_s=1.0, a_per_s=0.2, lots_max=30),
        3.0,
        4.985996331,
        2.052775801,
    ),
    "G6": (G6, 0.0, 20.89632759, 20.89632759),
    "G7": (G6, 1.0, 31.18991208, 10.28457444),
    "G8": (G._replace(drift_bps_per_s=0.01), 0.0, 2.557506409, 4.068145348),
    "G9": (G._replace(drift_bps_per_s=-0.02), 4.0, 5.077376555, 1.546372174),
    "G10": (G._replace(cost_bps=0.25), 2.0, 3.705811926, 3.422876454),
    "G11": (G._replace(xi_per_bp=0.0), 3.0, 3.569761582, 3.164438512),
    "H1": (H, 0.0, 4.113074401, 4.113074401),
    "H2": (H._replace(cost_bps=1.5), 0.0, 5.637777343, 5.637777343),
    "H3": (H._replace(cost_bps=1.5), -0.44, 2.562393852, 8.692798778),
    "H4": (H._replace(cost_bps=1.5, drift_bps_per_s=DRIFT), -0.44, -3.277036041, 14.43786597),
    "H5": (H._replace(cost_bps=2.0, drift_bps_per_s=DRIFT), -0.44, -3.187462966, 15.35171958),
    "H6": (H._replace(cost_bps=1.5, xi_per_bp=0.0), -0.44, 2.569320765, 8.695946393),
    "L1": (
        G._replace(gamma_per_bp=1e-6, xi_per_bp=1e-6, lots_max=400),
        5.0,
        3.337029903,
        3.330298766,
    ),
    "L2": (
        G._replace(gamma_per_bp=1e-9, xi_per_bp=1e-9, lots_max=1500),
        5.0,
        3.333450395,
        3.333237545,
    ),
}


@pytest.mark.parametrize("name", VECTORS)
def test_the_exact_quote_meets_the_vectors_of_the_model(name: str) -> None:
    """Model 1.9, all nineteen, to the ten digits printed."""
    inputs, inventory, bid, ask = VECTORS[name]

    assert glft_exact(inputs).depths(inventory) == pytest.approx((bid, ask), rel=1e-9)


def inputs_of(eps: float, lots_max: int, k: float, a: float, vol: float, xi: float) -> GlftInputs:
    """Inputs whose closed form has k * skew * delta = `eps`, for orders of one unit."""
    unit = glft(vol_bps_rt_s=vol, gamma_per_bp=1.0, k_per_bp=k, a_per_s=a, delta=1.0, xi_per_bp=xi)
    gamma = (eps / (k * unit.skew_bps)) ** 2
    return GlftInputs(vol, gamma, xi, k, a, 1.0, lots_max)


MARKETS = {
    "k": st.floats(0.03, 10),
    "a": st.floats(1e-3, 10),
    "vol": st.floats(0.1, 10),
}


@given(
    eps=st.floats(1e-3, 0.149),
    lots_max=st.integers(3, 50),
    fraction=st.floats(-1, 1),
    xi=st.floats(0, 1),
    **MARKETS,
)
def test_the_closed_form_is_within_one_percent_a_third_of_the_way_to_the_limit(
    eps: float, lots_max: int, fraction: float, xi: float, k: float, a: float, vol: float
) -> None:
    """Invariant 25, against the quoter's own closed form, wherever the limit is out of reach."""
    it = inputs_of(eps, lots_max, k, a, vol, xi * k)
    lots = round(fraction * lots_max / 3)
    assume((lots_max - abs(lots)) * sqrt(eps) >= 1.75)
    assume(eps * abs(lots) <= 0.75)
    shape = glft(
        vol_bps_rt_s=vol, gamma_per_bp=it.gamma_per_bp, k_per_bp=k, a_per_s=a, xi_per_bp=xi * k
    )

    bid, ask = glft_exact(it).depths(lots)

    assert bid is not None
    assert ask is not None
    scale = max(abs(bid), abs(ask))
    assert abs(shape.half_spread_bps + shape.skew_bps * lots - bid) < 0.01 * scale
    assert abs(shape.half_spread_bps - shape.skew_bps * lots - ask) < 0.01 * scale


@given(
    eps=st.floats(1e-4, 3.0),
    lots_max=st.integers(2, 50),
    place=st.floats(-1, 1),
    centre=st.floats(-0.6, 0.6),
    **MARKETS,
)
def test_whichever_form_is_chosen_the_quote_is_within_one_percent_of_the_exact_one(
    eps: float, lots_max: int, place: float, centre: float, k: float, a: float, vol: float
) -> None:
    """The choice is an economy, never a different quote: with drift, near limits, at any eps."""
    it = inputs_of(eps, lots_max, k, a, vol, 0.0)
    it = it._replace(drift_bps_per_s=centre * lots_max * it.gamma_per_bp * vol * vol)
    lots = round(place * (lots_max - 1))

    choice = exact_or_closed(it, lots)
    bid, ask = glft_exact(it).depths(lots)

    assert bid is not None
    assert ask is not None
    allowed = 1e-9 if choice.method == "exact" else 0.01
    scale = max(abs(bid), abs(ask))
    assert abs(choice.half_bps + choice.lean_bps - bid) <= allowed * scale
    assert abs(choice.half_bps - choice.lean_bps - ask) <= allowed * scale
    assert choice.eps == pytest.approx(eps, rel=1e-9)


def test_the_closed_choice_is_the_quoters_closed_form() -> None:
    """One formula in the program: half spread, skew and the drift's shift of model 1.6."""
    it = G._replace(drift_bps_per_s=0.01)
    shape = glft(vol_bps_rt_s=0.3, gamma_per_bp=0.01, k_per_bp=0.3, a_per_s=0.9)

    choice = exact_or_closed(it, 5.0)

    assert choice.method == "closed"
    assert choice.half_bps == pytest.approx(shape.half_spread_bps, rel=1e-12)
    assert choice.skew_bps == pytest.approx(shape.skew_bps, rel=1e-12)
    assert choice.lean_bps == pytest.approx(5 * 0.06786583253 - 0.7540648059, rel=1e-9)


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("G1", "closed"),
        ("G3", "closed"),
        ("G8", "closed"),
        ("H2", "closed"),
        ("H3", "exact"),  # eleven lots out at eps 0.07, the line has begun to bend
        ("G6", "exact"),  # eps 0.41: an order moves the quote by half of 1/k
        ("H4", "exact"),  # the drift asks for more than the limit: 2 bps between the forms
        ("L2", "exact"),  # the well is wider than the limit
    ],
)
def test_the_eigenvector_is_taken_where_the_closed_form_is_wrong(name: str, method: str) -> None:
    """Model 1.3 and 1.6: what decides is eps, the room to the limit and the drift's target."""
    inputs, inventory, *_ = VECTORS[name]
    if name == "L2":
        inputs = inputs._replace(lots_max=50)

    assert exact_or_closed(inputs, inventory).method == method


@pytest.mark.parametrize(
    ("lots_max", "lots", "method"),
    [
        (28, 4, "closed"),
        (17, 4, "closed"),
        (16, 4, "exact"),  # the limit 1.70 widths away
        (11, 4, "exact"),  # 0.99 widths: 2.3 % between the forms
        (17, -5, "exact"),
    ],
)
def test_the_limit_must_be_widths_of_the_well_away(lots_max: int, lots: int, method: str) -> None:
    """At eps 0.02 the well is seven lots wide; the closed form knows of no limit."""
    it = inputs_of(0.02, lots_max, 0.3, 0.9, 0.3, 0.0)

    assert exact_or_closed(it, lots).method == method


def test_validity_follows_eps_and_refuses_nonsense() -> None:
    """0.15 is the bound of invariant 25; a NaN must not read as valid."""
    assert validity(0.0) == "closed"
    assert validity(0.15) == "closed"
    assert validity(0.1501) == "exact"
    assert validity(float("inf")) == "exact"
    for eps in (-0.1, float("nan")):
        with pytest.raises(ValueError, match="eps"):
            validity(eps)


@given(
    eps=st.floats(1e-4, 5.0),
    lots_max=st.integers(1, 30),
    centre=st.floats(-1.5, 1.5),
    **MARKETS,
)
def test_the_ratios_are_those_of_a_dense_solver(
    eps: float, lots_max: int, centre: float, k: float, a: float, vol: float
) -> None:
    """Against LAPACK's eigenvector, where its components have not drowned in rounding."""
    it = inputs_of(eps, lots_max, k, a, vol, 0.0)
    it = it._replace(drift_bps_per_s=centre * lots_max * it.gamma_per_bp * vol * vol)
    lots = np.arange(-lots_max, lots_max + 1.0)
    # In units of eta: alpha/eta = eps^2, beta/eta = 2 alpha centre/eta.
    matrix = np.diag(eps**2 * (lots**2 - 2 * centre * lots_max * lots))
    matrix -= np.eye(len(lots), k=1) + np.eye(len(lots), k=-1)
    vector = np.abs(np.linalg.eigh(matrix)[1][:, 0])
    grid = glft_exact(it)

    for i in range(len(lots) - 1):
        if min(vector[i], vector[i + 1]) > 1e-5:
            gain = log(vector[i] / vector[i + 1]) / k
            assert grid.bid_bps[i] == pytest.approx(1 / k + gain, abs=1e-7 / k)
            assert grid.ask_bps[i] == pytest.approx(1 / k - gain, abs=1e-7 / k)


@given(
    eps=st.floats(1e-4, 5.0),
    lots_max=st.integers(1, 30),
    drift=st.floats(-1, 1),
    place=st.floats(-1.5, 1.5),
    **MARKETS,
)
def test_long_in_a_rising_market_mirrors_short_in_a_falling_one(
    eps: float, lots_max: int, drift: float, place: float, k: float, a: float, vol: float
) -> None:
    """Invariant 1: sides swapped, inventory and drift negated; either form."""
    it = inputs_of(eps, lots_max, k, a, vol, 0.0)
    it = it._replace(drift_bps_per_s=drift * it.gamma_per_bp * vol * vol)
    there = it._replace(drift_bps_per_s=-it.drift_bps_per_s)

    one, other = (
        exact_or_closed(it, place * lots_max),
        exact_or_closed(there, -place * lots_max),
    )

    assert one.method == other.method
    assert one.half_bps == pytest.approx(other.half_bps, rel=1e-9, abs=1e-9 / k)
    assert one.lean_bps == pytest.approx(-other.lean_bps, rel=1e-9, abs=1e-9 / k)


@given(eps=st.floats(1e-3, 5.0), lots_max=st.integers(2, 50), **MARKETS)
def test_more_inventory_leans_more(
    eps: float, lots_max: int, k: float, a: float, vol: float
) -> None:
    """Invariant 3: the bid goes away and the ask comes nearer with every lot bought."""
    grid = glft_exact(inputs_of(eps, lots_max, k, a, vol, 0.0))

    assert all(x < y for x, y in zip(grid.bid_bps, grid.bid_bps[1:], strict=False))
    assert all(x > y for x, y in zip(grid.ask_bps, grid.ask_bps[1:], strict=False))


@given(scale=st.floats(0.01, 100), contracts=st.floats(0.01, 100), clock=st.floats(0.01, 100))
def test_units_do_not_matter(scale: float, contracts: float, clock: float) -> None:
    """Invariant 23: price unit, contract size and clock rescaled, the same quote comes out."""
    it = H._replace(cost_bps=1.5, drift_bps_per_s=DRIFT)
    other = GlftInputs(
        vol_bps_rt_s=it.vol_bps_rt_s * scale / sqrt(clock),
        gamma_per_bp=it.gamma_per_bp / scale / contracts,
        xi_per_bp=it.xi_per_bp / scale / contracts,
        k_per_bp=it.k_per_bp / scale,
        a_per_s=it.a_per_s / clock,
        delta=it.delta * contracts,
        lots_max=it.lots_max,
        drift_bps_per_s=it.drift_bps_per_s * scale / clock,
        cost_bps=it.cost_bps * scale,
    )
    bid, ask = glft_exact(it).depths(-0.44)
    assert bid is not None
    assert ask is not None

    assert glft_exact(other).depths(-0.44 * contracts) == pytest.approx(
        (bid * scale, ask * scale), rel=1e-7
    )


def test_without_risk_aversion_only_the_limit_bends_the_quote() -> None:
    """gamma = xi = 0: f is a cosine, so the flat half spread is 1/k + f - ln cos(pi/2(Q+1))/k."""
    it = G._replace(gamma_per_bp=0.0, xi_per_bp=0.0, lots_max=20, cost_bps=1.5)

    choice = exact_or_closed(it, 0.0)

    assert choice.method == "exact"
    assert choice.half_bps == pytest.approx(1.5 + (1 - log(cos(pi / 42))) / 0.3, rel=1e-9)
    assert choice.lean_bps == pytest.approx(0.0, abs=1e-9)


def test_at_the_limit_the_increasing_side_has_no_quote() -> None:
    """The model's |q| <= Q: no bid with Q lots, no ask with -Q, and none beyond."""
    grid = glft_exact(H)

    assert grid.depths(1.0) == (None, grid.ask_bps[-1])
    assert grid.depths(1.7) == (None, grid.ask_bps[-1])
    assert grid.depths(-1.0) == (grid.bid_bps[0], None)
    assert exact_or_closed(H, 1.0) == exact_or_closed(H, 0.96)


def test_between_lots_the_quote_is_a_straight_line() -> None:
    """Partial fills leave inventories that are no whole order."""
    grid = glft_exact(H)
    low, high = grid.depths(0.12), grid.depths(0.16)

    assert grid.depths(0.13) == pytest.approx(
        tuple(0.75 * (x or 0) + 0.25 * (y or 0) for x, y in zip(low, high, strict=True)), rel=1e-9
    )


@pytest.mark.parametrize(
    "bad",
    [
        {"k_per_bp": 0.0},
        {"a_per_s": -1.0},
        {"delta": float("nan")},
        {"lots_max": 0},
        {"vol_bps_rt_s": float("nan")},
        {"gamma_per_bp": -0.1},
        {"xi_per_bp": float("inf")},
        {"drift_bps_per_s": float("nan")},
        {"cost_bps": float("inf")},
        {"cost_bps": 1e9},
    ],
)
def test_figures_out_of_bounds_are_refused_by_value(bad: dict[str, float]) -> None:
    """A NaN that became a price would be an order at that price."""
    with pytest.raises(ValueError, match=r"must be|no fills"):
        exact_or_closed(H._replace(**bad), 0.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="inventory"):
        exact_or_closed(H, float("nan"))


def test_the_solution_is_renewed_at_most_once_a_second() -> None:
    """It costs a millisecond and the volatility moves with every sample."""
    it = GlftExact()
    start = 1_700_000_000 * NS_PER_S
    for i in range(1000):
        it.quote(start + i * NS_PER_S // 1000, G6._replace(vol_bps_rt_s=10 + i / 10), 0.0)
    assert it.solved == 1

    renewed = it.quote(start + NS_PER_S, G6._replace(vol_bps_rt_s=12.0), 0.0)

    assert it.solved == 2
    assert renewed == exact_or_closed(
        G6._replace(vol_bps_rt_s=12.0, k_per_bp=0.0424, a_per_s=2.99), 0.0
    )._replace(eps=renewed.eps, skew_bps=renewed.skew_bps)


def _by_bisection(diagonal: list[float], eta: float) -> float:
    """The last number that passes the Sturm test, looked for without any help."""
    high = min(diagonal)
    low = high - 2.0 * eta
    while True:
        middle = 0.5 * (low + high)
        if not low < middle < high:
            return low
        pivot = float("inf")
        for value in diagonal:
            pivot = value - middle - eta * eta / pivot
            if pivot <= 0:
                high = middle
                break
        else:
            low = middle


@given(
    lots=st.integers(1, 40),
    log_alpha=st.floats(-9, 1),
    beta=st.one_of(st.just(0.0), st.floats(-1, 1)),
    log_eta=st.floats(-8, 1),
)
def test_the_short_way_to_the_eigenvalue_ends_on_the_same_bit(
    lots: int, log_alpha: float, beta: float, log_eta: float
) -> None:
    """A quote must not depend on how its eigenvalue was looked for, or a replay would differ."""
    alpha, eta = 10.0**log_alpha, 10.0**log_eta
    diagonal = [alpha * n * n - beta * n for n in range(-lots, lots + 1)]
    assert _smallest_eigenvalue(diagonal, eta) == _by_bisection(diagonal, eta)


def test_inputs_that_hardly_move_cost_no_solution() -> None:
    """Rounded to three digits: an hour of a steady market is one solution."""
    it = GlftExact()
    for second in range(3600):
        choice = it.quote(
            second * NS_PER_S, G6._replace(vol_bps_rt_s=10.69 + 0.004 * (second % 2)), 1.0
        )
        assert choice.half_bps + choice.lean_bps == pytest.approx(31.18991208, rel=5e-3)
    assert it.solved == 1


def test_estimates_that_creep_are_solved_for_twice_a_minute_and_a_jump_at_once() -> None:
    """A tenth of an input is a few hundredths of a bp; a spread that must widen does not wait."""
    it = GlftExact()
    for second in range(120):
        it.quote(second * NS_PER_S, G6._replace(a_per_s=3.0 * (1 + second * 3e-4)), 0.0)
    assert it.solved == 4
    wide = it.quote(121 * NS_PER_S, G6._replace(vol_bps_rt_s=20.0), 0.0)
    assert it.solved == 5
    assert wide.half_bps > exact_or_closed(G6, 0.0).half_bps


def test_a_clock_that_went_back_does_not_keep_an_old_solution() -> None:
    """An hour back, and the old figures would answer for an hour."""
    it = GlftExact()
    it.quote(3600 * NS_PER_S, G6, 0.0)
    later = it.quote(0, G6._replace(vol_bps_rt_s=20.0), 0.0)

    assert later.half_bps == pytest.approx(
        exact_or_closed(G6._replace(vol_bps_rt_s=20.0), 0.0).half_bps, rel=5e-3
    )


def test_the_closed_form_solves_nothing() -> None:
    """The usual case must stay as cheap as the formula."""
    it = GlftExact()
    assert it.quote(0, H, 0.1).method == "closed"
    assert it.solved == 0
