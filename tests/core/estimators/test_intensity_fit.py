"""Fits of A and k: the model's vectors, their limits, and their error on seeded samples."""

from __future__ import annotations

from math import exp, inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmbot.core.estimators.intensity_fit import mle_censored, mle_quotes

REACHES = (0.6, 0.9, 1.4, 2.2, 3.0, 0.7, 5.5, 9.0, 1.1, 0.55)
FILLS = (3.0, 3.0, 4.0, 6.0, 3.0, 5.0, 8.0)
EXPOSURE = ((3.0, 400.0), (4.0, 300.0), (5.0, 300.0), (6.0, 300.0), (8.0, 200.0))


def test_the_censored_fit_meets_the_vector_of_section_3_4() -> None:
    """Ten events in 120 s, one of them censored at 6 bps."""
    fit = mle_censored(REACHES, 120.0, 0.5, 6.0)
    assert fit.a_per_s == pytest.approx(0.1086721286, rel=1e-9)
    assert fit.k_per_bp == pytest.approx(0.5309734513, rel=1e-9)
    assert fit.k_se == pytest.approx(0.5309734513 / 3, rel=1e-9)
    assert fit.events == 10


def test_the_fit_of_own_fills_meets_the_vector_of_section_3_4() -> None:
    """Seven fills under quotes that rested at five depths."""
    fit = mle_quotes(FILLS, EXPOSURE)
    assert fit.a_per_s == pytest.approx(0.008161756306, rel=1e-9)
    assert fit.k_per_bp == pytest.approx(0.1185394449, rel=1e-9)


def test_the_likelihood_fit_beats_the_regression_as_the_model_says() -> None:
    """
    True A 0.15, k 0.45, 25 minutes: sd of k 0.034 and of A 0.012 at a bias of 0.003 and 0.

    A regression of log exceedance counts, as tutorials do it, has 1.8 and 2.7 times the error.
    """
    rng = np.random.default_rng(20240224)
    a_true, k_true, span_s = 0.15, 0.45, 1500.0
    grid = np.arange(0.5, 12, 0.5)
    fits, lines = [], []
    for _ in range(2000):
        reaches = rng.exponential(1 / k_true, rng.poisson(a_true * span_s))
        fit = mle_censored(reaches.tolist(), span_s, 0.5)
        fits.append((fit.k_per_bp, fit.a_per_s))
        counts = (reaches[:, None] >= grid).sum(axis=0)
        slope, level = np.polyfit(grid[counts > 0], np.log(counts[counts > 0] / span_s), 1)
        lines.append((-slope, exp(level)))
    k_sd, a_sd = np.std(fits, axis=0)
    k_line_sd, a_line_sd = np.std(lines, axis=0)
    k_bias, a_bias = np.mean(fits, axis=0) - (k_true, a_true)
    assert k_sd == pytest.approx(0.034, abs=0.002)
    assert a_sd == pytest.approx(0.012, abs=0.001)
    assert k_bias == pytest.approx(0.003, abs=0.0025)
    assert a_bias == pytest.approx(0.0, abs=0.001)
    assert k_line_sd / k_sd == pytest.approx(1.8, abs=0.15)
    assert a_line_sd / a_sd == pytest.approx(2.7, abs=0.25)


def test_censoring_does_not_bias_k() -> None:
    """Half the events are cut at the upper bound; k stays what it was."""
    rng = np.random.default_rng(5)
    reaches = rng.exponential(1 / 0.45, 20_000).tolist()
    fit = mle_censored(reaches, 1000.0, 0.5, 2.0)
    assert fit.k_per_bp == pytest.approx(0.45, abs=4 * fit.k_se)
    assert fit.a_per_s == pytest.approx(20.0, rel=0.02)


@given(k=st.floats(0.1, 1.5), a=st.floats(0.001, 0.5))
def test_own_fills_give_back_the_law_that_made_them(k: float, a: float) -> None:
    """Fills in exact proportion to the time at each depth: the likelihood has its maximum there."""
    expected = [(d, s * a * exp(-k * d)) for d, s in EXPOSURE]
    unit = min(n for _, n in expected) / 3
    fills = [d for d, n in expected for _ in range(round(n / unit))]
    # Rounding the counts moves the truth: what is exact is the pair of likelihood equations.
    fit = mle_quotes(fills, EXPOSURE)
    weights = [s * exp(-fit.k_per_bp * d) for d, s in EXPOSURE]
    mean = sum(w * d for w, (d, _) in zip(weights, EXPOSURE, strict=True)) / sum(weights)
    assert mean == pytest.approx(sum(fills) / len(fills), rel=1e-9)
    assert fit.a_per_s * sum(weights) == pytest.approx(len(fills), rel=1e-9)
    assert fit.k_per_bp == pytest.approx(k, abs=0.12)


@given(factor=st.floats(0.01, 100))
def test_rates_scale_with_time_and_k_does_not(factor: float) -> None:
    """Units (invariant 23): a clock that runs differently changes A alone."""
    one, other = (
        mle_censored(REACHES, 120.0, 0.5, 6.0),
        mle_censored(REACHES, 120.0 * factor, 0.5, 6.0),
    )
    assert other.k_per_bp == one.k_per_bp
    assert other.a_per_s * factor == pytest.approx(one.a_per_s)
    quick = mle_quotes(FILLS, [(d, s * factor) for d, s in EXPOSURE])
    assert quick.k_per_bp == pytest.approx(0.1185394449, rel=1e-8)
    assert quick.a_per_s * factor == pytest.approx(0.008161756306, rel=1e-8)


@pytest.mark.parametrize("depth", [3.0, 8.0])
def test_fills_at_one_end_of_the_quotes_have_no_k(depth: float) -> None:
    """Any k is then too small: refused instead of answered with a bound."""
    with pytest.raises(ValueError, match="do not lie inside"):
        mle_quotes([depth] * 4, EXPOSURE)


@pytest.mark.parametrize("exposure", [[], [(3.0, 100.0)], [(3.0, 100.0), (5.0, 0.0)]])
def test_own_fills_need_depths_that_differ(exposure: list[tuple[float, float]]) -> None:
    """With one depth only the product A e^(-k d) can be known."""
    with pytest.raises(ValueError, match="do not lie inside"):
        mle_quotes([3.0], exposure)


@pytest.mark.parametrize(
    ("reaches", "span_s", "d_min", "d_max"),
    [
        ((1.0,), 10.0, 2.0, 6.0),
        ((7.0, 8.0), 10.0, 2.0, 6.0),
        ((), 10.0, 0.0, inf),
        ((3.0,), 0.0, 2.0, 6.0),
        ((3.0,), 10.0, 6.0, 6.0),
        ((3.0,), float("nan"), 2.0, 6.0),
    ],
)
def test_a_sample_that_says_nothing_is_refused(
    reaches: tuple[float, ...], span_s: float, d_min: float, d_max: float
) -> None:
    """No event inside the range, or no time: an error, never a neutral figure."""
    with pytest.raises(ValueError, match=r"need 0 <= d_min|no aggressor event"):
        mle_censored(reaches, span_s, d_min, d_max)
