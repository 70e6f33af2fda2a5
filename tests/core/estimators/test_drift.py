"""The Kalman filter of price and drift: vectors, sign, size, and what must not become a drift."""

from __future__ import annotations

from decimal import Decimal, localcontext
from math import inf, log, nan, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmbot.core.estimators.drift import Belief, Drift, DriftParams, predict, update
from mmbot.core.types import NS_PER_S
from support import often

SIGMA2, SIGMA_M2, NOISE = 1.44, 7.687248223e-6, 0.25
OBSERVED = ((0.8, 0.5), (1.1, 0.25), (0.4, 2.0), (2.9, 1.0), (3.0, 5.0))
START = Belief(0.0, 0.0, 0.25, 0.0, 0.0024)
TREND = (
    (0.6361462006, 7.871280294e-4, 0.1987956877, 2.459775092e-4, 2.402661987e-3, 0.524332158),
    (0.956731291, 1.272455499e-3, 0.172750706, 2.616845272e-4, 2.403697334e-3, 0.2657101692),
    (0.4421976427, 4.142476586e-4, 0.2311373868, 3.836243332e-4, 2.41126975e-3, 0.09440054932),
    (2.580745657, 3.988284326e-3, 0.2175209686, 3.636011598e-4, 2.414886501e-3, 3.138127302),
    (2.9870887, 4.635611697e-3, 0.2419165524, 4.052757479e-4, 2.433003635e-3, 0.02062259619),
)
REVERTING = (
    (0.6361461335, 7.86145341e-4),
    (0.956731091, 1.270123954e-3),
    (0.4421977198, 4.139955891e-4),
    (2.580740207, 3.947458523e-3),
    (2.987077105, 4.54686207e-3),
)
MID = 262_000.0
T0 = 1_700_000_000 * NS_PER_S


def run(kappa: float) -> list[tuple[Belief, float]]:
    belief, rows = START, []
    for y, dt in OBSERVED:
        ahead = predict(belief, dt, sigma2=SIGMA2, sigma_m2=SIGMA_M2, kappa_per_s=kappa)
        belief, nis = update(ahead, y, NOISE)
        rows.append((belief, nis))
    return rows


def test_the_local_linear_trend_gives_the_vectors_of_the_model_notes() -> None:
    """Model notes, 3.1, kappa 0."""
    for (belief, nis), wanted in zip(run(0.0), TREND, strict=True):
        assert (*belief, nis) == pytest.approx(wanted, rel=1e-9)


def test_the_reverting_drift_gives_the_vectors_of_the_model_notes() -> None:
    """Model notes, 3.1, kappa 1/600."""
    for (belief, _), wanted in zip(run(1 / 600), REVERTING, strict=True):
        assert belief[:2] == pytest.approx(wanted, rel=1e-9)


STEPS = st.floats(1e-3, 300)
KAPPAS = st.sampled_from([0.0, 1e-5, 1 / 600, 0.0199, 0.0201, 0.3])


@given(STEPS, STEPS, KAPPAS, st.floats(-50, 50), st.floats(-2, 2))
def test_two_steps_without_an_observation_are_one(
    a: float, b: float, kappa: float, p: float, m: float
) -> None:
    """Invariant 28: how often a prediction is asked for must not change it."""
    belief = Belief(p, m, 0.5, 0.001, 0.003)
    whole = predict(belief, a + b, sigma2=1.2, sigma_m2=1e-5, kappa_per_s=kappa)
    first = predict(belief, a, sigma2=1.2, sigma_m2=1e-5, kappa_per_s=kappa)
    split = predict(first, b, sigma2=1.2, sigma_m2=1e-5, kappa_per_s=kappa)
    assert split == pytest.approx(whole, rel=1e-12, abs=1e-12)


@given(st.floats(-8, 1), st.floats(-3, 2.5))
def test_the_price_noise_keeps_its_digits_for_any_reversion_and_step(
    log_kappa: float, log_dt: float
) -> None:
    """Its closed form is a difference of near equals: at kappa dt 1e-4 no digit of it is left."""
    kappa, dt = 10.0**log_kappa, 10.0**log_dt
    found = predict(Belief(0, 0, 0, 0, 0), dt, sigma2=0.0, sigma_m2=1.0, kappa_per_s=kappa)
    with localcontext() as context:
        context.prec = 60
        k, t = Decimal(kappa), Decimal(dt)
        e = (-k * t).exp()
        q11 = (t - 2 * (1 - e) / k + (1 - e * e) / (2 * k)) / k**2
        q12 = (1 - e) ** 2 / (2 * k * k)
        q22 = (1 - e * e) / (2 * k)
        wanted = (float(q11), float(q12), float(q22))
    assert found[2:] == pytest.approx(wanted, rel=1e-13)


@pytest.mark.parametrize("kappa", [1 / 600, 0.05])
def test_the_series_and_the_closed_form_meet(kappa: float) -> None:
    """On both sides of where one takes over from the other the noise is the same function."""
    dt = 0.5 / kappa
    below, above = (
        predict(START, dt * f, sigma2=0.0, sigma_m2=1.0, kappa_per_s=kappa).pp
        for f in (1 - 1e-9, 1 + 1e-9)
    )
    assert above == pytest.approx(below, rel=1e-8)


@given(st.lists(st.tuples(st.floats(-40, 40), st.floats(1e-3, 600)), min_size=1, max_size=40))
def test_the_covariance_stays_positive_definite(moves: list[tuple[float, float]]) -> None:
    """Invariant 28, for any step and any observation, gated or not."""
    belief = START
    for y, dt in moves:
        ahead = predict(belief, dt, sigma2=1.44, sigma_m2=1e-5, kappa_per_s=1 / 600)
        belief, _ = update(ahead, y, 0.01, nis_max=16.0)
        assert belief.pp > 0
        assert belief.mm > 0
        assert belief.pp * belief.mm > belief.pm**2


def fed(
    mids: list[float], *, dt_s: float = 1.0, params: DriftParams | None = None, vol: float = 1.2
) -> Drift:
    drift = Drift(params or DriftParams())
    for n, mid in enumerate(mids):
        drift.observe(T0 + int(n * dt_s * NS_PER_S), mid, vol, 0.2)
    return drift


def mean(drift: Drift, after_s: float) -> float:
    view = drift.view(T0 + int(after_s * NS_PER_S))
    assert view is not None
    return view.mean_bps_per_s


def ramp(bps_per_s: float, seconds: int) -> list[float]:
    return [MID * (1 + bps_per_s * n * 1e-4) for n in range(seconds + 1)]


def test_a_ramp_is_seen_at_the_size_that_the_memory_allows() -> None:
    """Half-life 60 s: the exponential slope after 60 s of 1 bps/s is 1 - exp(-60/86.6) = 0.50."""
    params = DriftParams(is_mean_reverting=False, half_life_s=60.0, noise_bps_min=0.1)
    seen = mean(fed([MID] * 1200 + ramp(1.0, 60), params=params), 1260)
    assert seen == pytest.approx(0.50, abs=0.01)


@pytest.mark.parametrize("half_life_s", [20.0, 60.0, 120.0])
@pytest.mark.parametrize("after_s", [15, 30, 60, 120])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_ramp_is_seen_as_the_exponential_slope(
    half_life_s: float, after_s: int, sign: int
) -> None:
    """Size and sign at any time: slope times 1 - 2^(-t/h) when nothing reverts."""
    params = DriftParams(is_mean_reverting=False, half_life_s=half_life_s, noise_bps_min=0.1)
    still = 2400
    seen = mean(fed([MID] * still + ramp(sign * 0.5, after_s), params=params), still + after_s)
    assert seen == pytest.approx(sign * 0.5 * (1 - 2 ** (-after_s / half_life_s)), rel=0.05)


def test_a_reverting_drift_believes_the_share_of_the_slope_that_the_notes_say() -> None:
    """Model notes, 3.1: sigma 1.2, tau 600 s, stationary 0.03 bps/s: a quarter of the slope."""
    params = DriftParams(sd_per_vol_rt_s=0.025, noise_bps_min=0.1)
    seen = mean(fed(ramp(0.05, 3600), params=params), 3600)
    assert seen / 0.05 == pytest.approx(0.24, abs=0.01)


def test_a_rise_is_a_positive_drift_within_five_seconds() -> None:
    """Invariant 7."""
    assert mean(fed(ramp(1.0, 5)), 5) > 0
    assert mean(fed(ramp(-1.0, 5)), 5) < 0


@settings(max_examples=often(15, thoroughly=30))
@given(st.lists(st.floats(-30, 30), min_size=5, max_size=120))
def test_a_mirrored_path_has_the_mirrored_drift_to_the_bit(moves: list[float]) -> None:
    """Invariant 1: the sign of a drift may not depend on the side it is on."""
    path = MID + np.cumsum(np.round(moves)) * 2
    mirrored = (2 * path[0] - path).tolist()
    up, down = fed(path.tolist()), fed(mirrored)
    assert mean(up, len(moves)) == -mean(down, len(moves))


def test_a_still_mid_has_no_drift_in_the_end() -> None:
    """Invariant 28."""
    drift = fed([*ramp(0.5, 120), *[MID * 1.006] * 3000])
    assert abs(mean(drift, 3120)) < 0.002


def test_the_first_return_is_not_the_drift() -> None:
    """A diffuse start would take 10 bps in one second for 10 bps a second."""
    assert abs(mean(fed([MID, MID * 1.001]), 1)) < 0.05


@pytest.mark.parametrize("jump_bps", [12.0, 30.0, 90.0, -90.0])
def test_a_jump_is_not_a_drift_neither_at_once_nor_later(jump_bps: float) -> None:
    """
    The price follows at once. Were it gated as noise of the observation, it would lag, and every
    second of the lag would push the drift: 90 bps were 0.046 bps/s after half a minute.
    """
    path = [MID] * 300 + [MID * (1 + jump_bps * 1e-4)] * 120
    at_once, later = fed(path[:301]), fed(path)
    for drift, after_s in ((at_once, 300), (later, 330), (later, 419)):
        assert abs(mean(drift, after_s)) < 0.0015
        assert mean(drift, after_s) * jump_bps > 0


def test_the_larger_a_jump_the_less_the_drift_learns_from_it() -> None:
    """Beyond the gate a move is ever more likely to be a jump."""
    learnt = [
        mean(fed([MID] * 300 + [MID * (1 + bps * 1e-4)]), 300) for bps in (4, 5, 8, 16, 32, 64)
    ]
    assert learnt[0] < learnt[1]
    assert learnt[1:] == sorted(learnt[1:], reverse=True)


def test_a_gated_innovation_is_as_surprising_as_the_gate_says() -> None:
    """Model notes, 3.1: beyond 16 the variance is inflated so that it is 16."""
    belief = Belief(0.0, 0.001, 0.5, 0.002, 0.0008)
    y = 10.0
    after, nis = update(belief, y, 0.25, nis_max=16.0)
    s = y * y / 16.0
    assert nis == pytest.approx(100 / 0.75)
    assert after.m_bps_per_s == pytest.approx(0.001 + 0.002 * y / s)
    assert after.p_bps == pytest.approx((s - 0.25) / s * y)
    assert after.pp == pytest.approx(0.25 * (s - 0.25) / s)
    assert after.pm == pytest.approx(0.002 * 0.25 / s)
    assert after.mm == pytest.approx(0.0008 - 0.002**2 / s)


def test_after_a_long_silence_the_drift_is_forgotten_and_not_invented() -> None:
    """The move across a gap took an unknown path: what it was is no drift of the next minute."""
    drift = fed(ramp(0.5, 120))
    assert mean(drift, 150) > 0
    late = T0 + 200 * NS_PER_S
    assert drift.view(late) is None
    drift.observe(late, MID * 1.05, 1.2, 0.2)
    view = drift.view(late)
    assert view is not None
    assert view.mean_bps_per_s == 0
    assert view.sd_bps_per_s == pytest.approx(0.03)


def test_a_shorter_silence_is_predicted_over_its_true_length() -> None:
    """The drift fades and grows less certain meanwhile; the next price is judged by the time."""
    drift = fed(ramp(0.5, 120))
    before, after = drift.view(T0 + 120 * NS_PER_S), drift.view(T0 + 170 * NS_PER_S)
    assert before is not None
    assert after is not None
    assert after.mean_bps_per_s == pytest.approx(before.mean_bps_per_s * 0.92, rel=1e-3)
    assert after.sd_bps_per_s > before.sd_bps_per_s
    drift.observe(T0 + 170 * NS_PER_S, ramp(0.5, 170)[-1], 1.2, 0.2)
    assert mean(drift, 170) > after.mean_bps_per_s


@pytest.mark.parametrize("sign", [1, -1])
def test_a_new_origin_of_the_bps_is_not_seen_in_the_drift(sign: int) -> None:
    """A price two per cent off becomes what bps are measured in; the drift goes on."""
    drift = Drift(DriftParams())
    seen = []
    for n in range(1000):
        drift.observe(T0 + n * NS_PER_S, MID * (1 + sign * n * 0.25 * 1e-4), 1.2, 0.2)
        view = drift.view(T0 + n * NS_PER_S)
        assert view is not None
        seen.append(view.mean_bps_per_s)
    steps = np.abs(np.diff(seen[700:]))
    assert sign * seen[-1] > 0.04
    # The bps themselves are 2 % others.
    assert steps.max() < 0.021 * abs(seen[-1])


def test_the_error_is_what_the_theory_says() -> None:
    """Driftless noise: sd(m) = sigma sqrt(g), g = -kappa + sqrt(kappa^2 + (sigma_m/sigma)^2)."""
    rng = np.random.default_rng(3)
    params = DriftParams(is_mean_reverting=False, half_life_s=60, noise_bps_min=0.01)
    means = []
    for _ in range(40):
        path = MID * (1 + np.cumsum(1.2 * rng.standard_normal(700)) * 1e-4)
        means.append(mean(fed(path.tolist(), params=params), 699))
    gain = log(2) / 60
    # Half of the posterior's variance is what a driftless path shows of it.
    assert np.std(means) == pytest.approx(1.2 * sqrt(gain / 2), rel=0.3)


def test_innovations_are_as_large_as_believed_when_the_noises_are_right() -> None:
    rng = np.random.default_rng(4)
    path = MID * (1 + np.cumsum(1.2 * rng.standard_normal(3000)) * 1e-4)
    view = fed(path.tolist()).view(T0 + 3000 * NS_PER_S)
    assert view is not None
    assert view.nis_mean is not None
    assert 0.8 <= view.nis_mean <= 1.25


@pytest.mark.parametrize(("believed", "low", "high"), [(0.6, 2.5, 5.0), (2.4, 0.15, 0.4)])
def test_a_wrong_volatility_shows_in_the_innovations(
    believed: float, low: float, high: float
) -> None:
    """Half and twice the true one: outside 0.8 to 1.25, where the vitals look."""
    rng = np.random.default_rng(6)
    path = MID * (1 + np.cumsum(1.2 * rng.standard_normal(3000)) * 1e-4)
    view = fed(path.tolist(), vol=believed).view(T0 + 3000 * NS_PER_S)
    assert view is not None
    assert view.nis_mean is not None
    assert low < view.nis_mean < high


def test_the_innovations_of_the_first_minute_are_not_judged() -> None:
    """One is no mean, and 1 would be a figure that nobody measured."""
    early, late = fed([MID] * 60).view(T0 + 59 * NS_PER_S), fed([MID] * 62).view(T0 + 61 * NS_PER_S)
    assert early is not None
    assert early.nis_mean is None
    assert late is not None
    assert late.nis_mean == pytest.approx(0.0, abs=1e-12)


@given(st.integers(-10, 10), st.integers(0, 20))
def test_the_unit_of_the_price_does_not_matter(power: int, seed: int) -> None:
    """Invariant 23."""
    moves = np.cumsum(np.random.default_rng(seed).standard_normal(40)) * 1e-4
    path = MID * (1 + moves)
    assert mean(fed(path.tolist()), 39) == mean(fed((2.0**power * path).tolist()), 39)


@pytest.mark.parametrize("mid", [nan, inf, 0.0, -1.0])
def test_what_is_no_price_changes_nothing_and_is_counted(mid: float) -> None:
    """Invariant 29."""
    drift = fed(ramp(0.5, 30))
    before = drift.view(T0 + 31 * NS_PER_S)
    drift.observe(T0 + 31 * NS_PER_S, mid, 1.2, 0.2)
    assert drift.view(T0 + 31 * NS_PER_S) == before
    assert drift.ignored == 1


def test_what_comes_out_of_order_or_twice_changes_nothing() -> None:
    """Invariants 29 and 32."""
    drift = fed(ramp(0.5, 30))
    before = drift.view(T0 + 31 * NS_PER_S)
    drift.observe(T0 + 20 * NS_PER_S, MID * 0.9, 1.2, 0.2)
    drift.observe(T0 + 30 * NS_PER_S, MID * 0.9, 1.2, 0.2)
    assert drift.view(T0 + 31 * NS_PER_S) == before
    assert drift.ignored == 1


def test_the_memory_does_not_change_with_the_volatility() -> None:
    """Noises scale together: twice the moves at twice the volatility are twice the drift."""
    rng = np.random.default_rng(5)
    moves = np.cumsum(rng.standard_normal(300))
    params = DriftParams(noise_bps_min=1e-3)
    calm = fed((MID * (1 + moves * 1e-5)).tolist(), vol=0.5, params=params)
    wild = fed((MID * (1 + 2 * moves * 1e-5)).tolist(), vol=1.0, params=params)
    assert mean(wild, 299) == pytest.approx(2 * mean(calm, 299), rel=0.05)
