"""
The figures of the named markets.

A world differs from its neighbours in as little as possible, so that a difference in results has
one cause. `docs/figures.md` puts what each produces beside the source of its figures.

Source: the project's model notes, section 8.1; the path of 24 February 2026 from recorded mids.
"""

from __future__ import annotations

from typing import Any, Final

from mmbot.emulator.market import MarketParams

NOISE: Final[dict[str, Any]] = {
    "sigma_bps_rt_s": 1.2,
    "a_per_s": 0.12,
    "k_per_bp": 0.5,
    "impact_j0_bps": 0.0,
    "impact_a1": 0.0,
    "episodes_per_hour": 0.0,
    "sweep_informed_frac": 0.0,
}
"""Takers who know nothing: the null worlds, in which a defence can only cost."""

INFORMED: Final[dict[str, Any]] = {
    "sigma_bps_rt_s": 0.8,
    "a_per_s": 0.12,
    "k_per_bp": 0.5,
    "impact_j0_bps": 1.2,
    "impact_p": 0.6,
    "impact_a1": 0.3,
    "impact_decay_frac": 0.0,
    "sweeps_per_s": 0.001,
    "sweep_informed_frac": 0.0,
    "episodes_per_hour": 0.0,
}
"""
Impact matched to fills of real makers: adverse at 5 s 4.4 bps at a depth of 3 (recorded: 4.6).
"""

EPISODES: Final[dict[str, Any]] = {
    "episodes_per_hour": 4.0,
    "episode_s": 180.0,
    "episode_drift_bps_per_s": 0.05,
    "episode_a_per_s": 0.05,
}

_PATH: Final[dict[str, Any]] = {
    **INFORMED,
    "sigma_bps_rt_s": 0.7,
    "sweeps_per_s": 0.0,
}

FEB24_ANCHORS: Final = (
    (0.0, 2.0),
    (151.0, 0.0),
    (247.0, -5.0),
    (296.0, -3.4),
    (325.0, 1.9),
    (351.0, 6.7),
    (521.0, 0.0),
    (529.0, -9.0),
    (536.0, -21.4),
    (546.0, -16.4),
    (550.0, -15.3),
    (565.0, -0.2),
    (590.0, 12.2),
    (600.0, 23.3),
    (680.0, 24.4),
    (740.0, 33.2),
    (751.0, 42.7),
    (796.0, 45.0),
    (830.0, 58.0),
    (933.0, 71.7),
    (1015.0, 80.1),
    (1101.0, 97.3),
    (1383.0, 119.8),
    (1500.0, 119.0),
)
"""Recorded mids of 24 February 2026, seconds after 13:24:02 UTC and bps of 26.2035."""

FEB24_SWEEPS: Final = (
    (351.0, 1, 16.0, True),
    (600.0, 1, 12.0, True),
    (680.0, -1, 12.0, False),
    (796.0, 1, 9.0, True),
)
"""The sweeps of that session; the sides of the last two are inferred from the position."""

_DESCRIBED: Final = ((0.0, 0.0), (240.0, -9.0), (420.0, -15.0), (540.0, -4.0), (660.0, -14.0))
_DESCRIBED_SWEEPS: Final = ((780.0, 1, 15.0, True), (1020.0, 1, 15.0, True))

WORLDS: Final[dict[str, tuple[str, MarketParams]]] = {
    "two-sided": (
        "Null: two-sided takers who know nothing, no sweeps. A defence must cost little here.",
        MarketParams(**{**NOISE, "sweeps_per_s": 0.0}),
    ),
    "false-sweeps": (
        "Null with false alarms: as two-sided, with sweeps after which the price comes back.",
        MarketParams(**{**NOISE, "sweeps_per_s": 0.001}),
    ),
    "informed-0": (
        "Takers move the price for good; every sweep is noise.",
        MarketParams(**INFORMED),
    ),
    "informed-50": (
        "As informed-0, half of the sweeps inside episodes of informed flow.",
        MarketParams(**{**INFORMED, **EPISODES, "sweep_informed_frac": 0.5}),
    ),
    "informed-100": (
        "As informed-0, all sweeps inside episodes of informed flow.",
        MarketParams(**{**INFORMED, **EPISODES, "sweep_informed_frac": 1.0}),
    ),
    "trend": (
        "As informed-0 with a drift that lasts: following a trend pays.",
        MarketParams(**{**INFORMED, "drift_sd_bps_per_s": 0.03, "drift_s": 600.0}),
    ),
    "whipsaw": (
        "As informed-0 with a displacement that reverts: following a trend loses.",
        MarketParams(**{**INFORMED, "reverting_sd_bps": 8.0, "reverting_s": 180.0}),
    ),
    "too-tight": (
        "informed-0 for a maker at 3 bps, the width of 24 February: it loses whatever it does.",
        MarketParams(**INFORMED),
    ),
    "feb24": (
        "The path and the sweeps of 24 February 2026: a regression test, nothing to tune on.",
        MarketParams(
            **{
                **_PATH,
                "a_per_s": 0.010,
                "flow_beta": 0.3,
                "px_usd": 26.2035,
                "anchors": FEB24_ANCHORS,
                "forced_sweeps": FEB24_SWEEPS,
            }
        ),
    ),
    "p38": (
        "The shape first described: down 15 bps, then up to +38, two sweeps of asks (anchored).",
        MarketParams(
            **{
                **_PATH,
                "a_per_s": 0.020,
                "flow_beta": 0.5,
                "anchors": (*_DESCRIBED, (840.0, 6.0), (1080.0, 24.0), (1500.0, 38.0)),
                "forced_sweeps": _DESCRIBED_SWEEPS,
            }
        ),
    ),
    "p77": (
        "The same shape up to +77 bps (anchored).",
        MarketParams(
            **{
                **_PATH,
                "a_per_s": 0.020,
                "flow_beta": 0.5,
                "anchors": (*_DESCRIBED, (840.0, 12.0), (1080.0, 45.0), (1500.0, 77.0)),
                "forced_sweeps": _DESCRIBED_SWEEPS,
            }
        ),
    ),
    "native": (
        "A liquid native perp: a touch of 0.5 bps, and most of a trade's move comes back.",
        MarketParams(
            **{
                **INFORMED,
                "sigma_bps_rt_s": 0.85,
                "a_per_s": 0.10,
                "k_per_bp": 0.8,
                "impact_decay_frac": 0.6,
                "decay_s": 15.0,
                "touch_spread_bps": 0.5,
            }
        ),
    ),
    "gap": (
        "informed-0 in which the price falls 150 bps between two looks after ten minutes.",
        MarketParams(
            **{**INFORMED, "anchors": ((600.0, 0.0), (600.25, -150.0))},
        ),
    ),
    "thin": (
        "A thin coin as WLFI was on 4 September 2025: a touch of 3.2 bps, 4.6 bps per root second.",
        MarketParams(
            **{
                **INFORMED,
                "sigma_bps_rt_s": 3.9,
                "a_per_s": 0.24,
                "k_per_bp": 0.35,
                "touch_spread_bps": 3.2,
                "depth_usd_per_bp": 1_000.0,
            }
        ),
    ),
}
