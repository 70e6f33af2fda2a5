"""
Watch the records of the decisions for a term that does not do what it must.

On 24 February a drift of the wrong sign, a skew that reached no price and a memory of twenty
seconds were all visible in the log within a minute, to nobody. Each record is judged beside the
figures that its own inputs call for; what stays wrong for seconds is a violation.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import erfc, isnan, sqrt

from mmbot.core.diagnostics import Diagnostics
from mmbot.core.stance import Action
from mmbot.core.types import NS_PER_S, Instrument, Side
from mmbot.core.vitals.expectation import EXPECTATIONS, Facts, Kind, Reading, Violation
from mmbot.core.vitals.quoted import Base, Quoted, Settings
from mmbot.core.vitals.shadow import (
    ShadowDrift,
    ShadowReference,
    ShadowReturns,
    ShadowVolatility,
)
from mmbot.core.vitals.slow import Slow
from mmbot.core.vitals.sweeps import Sweeps
from mmbot.core.vitals.track import Track

__all__ = ["Settings", "Vitals"]

_STEP_NS = NS_PER_S
_NEWER = 1.05
"""A pullback that is more than has been left of it was given anew."""
_HALT = "halted"
_ROBUST_MIN = 0.7
_ROBUST_MAX = 2.5
"""Medians of a few overlapping steps are noisy in the first minutes; the level is not."""

_GAP_NS = 180 * NS_PER_S
"""Volatility is not judged for so long after a lost link."""


class Vitals:
    """
    Judge one record a second of market time; the sweeps are read off all of them.

    Args:
        settings: Parameters of the core (the engine's).
        instrument: For the price grid.
        off: Terms switched off by the configuration or left out; they are exempt. A term whose
            estimate is absent (None in the record) is exempt as long as it is.

    Raises:
        ValueError: `off` names no term.
    """

    __slots__ = (
        "_calm_ns",
        "_checked_ns",
        "_drift",
        "_fade",
        "_gap_ns",
        "_off",
        "_opposed_ns",
        "_quoted",
        "_reference",
        "_returns",
        "_settings",
        "_slow",
        "_sweeps",
        "_tracks",
        "_volatility",
        "is_sound",
        "is_well",
    )

    def __init__(
        self, settings: Settings, instrument: Instrument, *, off: frozenset[str] = frozenset()
    ) -> None:
        unknown = off - EXPECTATIONS.keys()
        if unknown:
            msg = (
                f"no term is called {', '.join(sorted(unknown))}; the terms are "
                f"{', '.join(sorted(EXPECTATIONS))}"
            )
            raise ValueError(msg)
        self._settings = settings
        self._off = off
        self._quoted = Quoted(settings, instrument)
        self._slow = Slow(settings)
        self._sweeps = Sweeps(settings.cascade)
        self._volatility = ShadowVolatility(settings.volatility)
        self._returns = ShadowReturns(settings.trend)
        self._drift = ShadowDrift(settings.drift)
        self._reference = ShadowReference(
            settings.quoter.reference_bps_max, settings.quoter.reference_half_life_s
        )
        self._tracks: dict[tuple[str, str], Track] = {}
        self._checked_ns: int | None = None
        self._gap_ns: int | None = None
        self._fade = 0.0
        self._opposed_ns: int | None = None
        self._calm_ns: int | None = None
        self.is_well = True
        """Whether no violation stands; every decision asks."""
        self.is_sound = True
        """
        The same but for terms at their bound: a market may hold them there for hours.

        Such a one is alarmed about and reduces, which ends with the market's extreme; what ends the
        run is a term that does not work.
        """

    def retune(self, settings: Settings) -> None:
        """
        Judge by other parameters of the quote from now on; those of the estimators are the same.

        What stands stays standing: no change of a parameter is an end of what was wrong.
        """
        self._settings = settings
        self._quoted.retune(settings)
        self._slow.retune(settings)
        self._sweeps.retune(settings.cascade)
        self._reference.retune(
            settings.quoter.reference_bps_max, settings.quoter.reference_half_life_s
        )

    def reset_gap(self) -> None:
        """The link was lost: what the estimators forget is forgotten here as well."""
        self._drift.reset()
        self._returns.reset()
        self._sweeps.reset_gap()
        self._slow.reset_gap()
        self._tracks = {key: track for key, track in self._tracks.items() if track.is_raised}
        self._gap_ns = self._checked_ns

    @property
    def standing(self) -> tuple[str, ...]:
        """Terms that a violation stands against, in order."""
        raised = {term for (term, _), track in self._tracks.items() if track.is_raised}
        return tuple(sorted(raised | self._slow.standing))

    def observe(self, record: Diagnostics, facts: Facts) -> tuple[Violation, ...]:
        """
        Take a record, in order of time; the violations that have become certain with it.

        Each is reported once, and again only after it was mended. `facts` are of the same moment.
        """
        self._sweeps.see(record, facts)
        last_ns, now_ns = self._checked_ns, record.at_ns
        if record.mode == _HALT or (last_ns is not None and now_ns - last_ns < _STEP_NS):
            return ()
        self._checked_ns = now_ns
        dt_s = 0.0 if last_ns is None else (now_ns - last_ns) / NS_PER_S
        found: list[Violation] = []
        tracks = self._tracks
        for reading in self._readings(record, facts, dt_s):
            expectation = EXPECTATIONS[reading.term]
            if reading.term in self._off or isnan(reading.expected):
                continue
            if reading.term == "volatility" and self._is_after_gap(now_ns):
                continue  # its steps across the gap are told apart by no record
            key = reading.term, reading.at
            track = tracks.get(key)
            if track is None:
                track = tracks[key] = Track()
            kind = track.take(now_ns, reading, expectation)
            if kind is not None:
                found.append(_violation(now_ns, reading, kind, track.since_ns))
        found.extend(self._slow.take(record, facts, self._off))
        # What is raised falls with a reading as well, and nowhere else.
        is_tracked = not any(track.is_raised for track in self._tracks.values())
        self.is_sound = self._slow.is_sound and is_tracked
        self.is_well = self._slow.is_well and is_tracked
        return tuple(found)

    def _is_after_gap(self, now_ns: int) -> bool:
        return self._gap_ns is not None and now_ns - self._gap_ns < _GAP_NS

    def _readings(self, record: Diagnostics, facts: Facts, dt_s: float) -> Iterator[Reading]:
        yield from self._market(record)
        yield from self._slow.intensity(record, facts, dt_s)
        base = self._quoted.base(record, facts)
        if base is None:
            # An intensity or a volatility that is no number at all: the readings above say which.
            return
        quoted = self._quoted
        yield from quoted.shared(record, facts, base)
        yield from self._stance(record, base, dt_s)
        yield from quoted.drift(record, base, self._fade)
        yield from quoted.risk(record, base)
        if facts.reference_px is not None and record.reference_bps is not None:
            # Not from a price that has become old: the usual premium would follow our own market.
            lead = self._reference.lead_bps(record.at_ns, facts.reference_px, record.fair_px)
            yield Reading("reference", record.reference_bps, lead)
        yield Reading(
            "danger",
            self._sweeps.observed_odds(record),
            self._sweeps.expected_odds(record.at_ns),
        )
        yield from self._sides(record, facts, base)

    # -- the market -------------------------------------------------------------------------------

    def _market(self, record: Diagnostics) -> Iterator[Reading]:
        """The estimates beside the plainest form of each on the recorded mids."""
        now_ns, mid = record.at_ns, record.mid_px
        volatility = self._volatility
        volatility.sample(now_ns, mid)
        sigma = volatility.bps_rt_s
        yield Reading("volatility", record.sigma_bps_rt_s, sigma)
        robust, level = record.sigma_robust_bps_rt_s, record.sigma_bps_rt_s
        upper = min(
            self._settings.volatility.vol_bps_rt_s_max, _ROBUST_MAX * volatility.largest_bps_rt_s
        )
        lower = max(self._settings.volatility.vol_bps_rt_s_min, _ROBUST_MIN * level)
        yield Reading("volatility_robust", robust, max(lower, min(upper, robust)))
        yield from self._trend(record, sigma)
        if record.drift_bps_per_s is None:
            self._drift.reset()
            return
        # The volatility was judged above; the filter is judged by the one it was given.
        vol = level if level > 0 else sigma
        self._drift.step(now_ns, mid, vol, record.drift_bps_per_s)
        sd = self._drift.sd_bps_per_s()
        expected = self._drift.mean_bps_per_s
        slack = 0.2 * sd + self._drift.jump_bps_per_s(vol)
        yield Reading("drift_rate", record.drift_bps_per_s, expected, slack=slack)
        if record.drift_sd_bps_per_s is not None:
            yield Reading("drift_sd", record.drift_sd_bps_per_s, sd)

    def _trend(self, record: Diagnostics, sigma: float) -> Iterator[Reading]:
        told = (record.trend_short_bps, record.trend_med_bps, record.trend_long_bps)
        short, medium, long = told
        trend, z = record.trend_bps, record.z_t
        if short is None or medium is None or long is None or trend is None or z is None:
            self._returns.reset()
            return
        returns = self._returns
        returns.sample(record.at_ns, record.mid_px)
        figures, spans, blended = returns.returns((short, medium, long))
        # The estimator may have looked at the mid up to one of its samples earlier.
        slack = 2.0 * sigma * sqrt(max(1.0, self._settings.trend.sample_s))
        for name, observed, expected in zip(
            ("short", "medium", "long"), (short, medium, long), figures, strict=True
        ):
            yield Reading("trend", observed, expected, name, slack)
        if returns.age_s < EXPECTATIONS["trend_z"].warm_up_s:
            return
        yield Reading("trend", trend, blended, "blend", slack * returns.trend_gain(spans))
        sd = record.sigma_robust_bps_rt_s * returns.unit_sd_per_s(spans)
        if sd > 0:
            yield Reading("trend_z", z, trend / spans[2] / sd)

    # -- the position in it -----------------------------------------------------------------------

    def _stance(self, record: Diagnostics, base: Base, dt_s: float) -> Iterator[Reading]:
        stance, x = self._settings.stance, base.x
        step = dt_s / stance.fade_s
        was_opposed = self._opposed_ns is not None
        self._fade = min(1.0, max(0.0, self._fade + (step if was_opposed else -step)))
        if record.is_opposed:
            self._opposed_ns = self._opposed_ns or record.at_ns
            self._calm_ns = None
        else:
            self._calm_ns = self._calm_ns or record.at_ns
            self._opposed_ns = None
        hold_s = self._quoted.hold_s(record, base)
        trend, z = record.trend_bps, record.z_t
        against = False
        if trend is not None and z is not None:
            against = trend * x < 0
            may = against and abs(x) >= stance.opposed_x_min and abs(z) >= stance.opposed_z_leave
            must = may and abs(z) >= stance.opposed_z
            if must or not may:
                yield Reading("is_opposed", float(record.is_opposed), float(must))
        age_s = self._returns.age_s
        if record.is_opposed and trend is not None and age_s >= 30:
            span_s = min(self._settings.trend.long_s, age_s)
            carried_s = min(hold_s, age_s)
            expected = abs(x) * abs(trend) / span_s * carried_s / base.half_bps
            yield Reading("urgency", record.urgency, expected)
        elif not record.is_opposed:
            yield Reading("urgency", record.urgency, 0.0)
        yield from self._continuation(record, x, hold_s)
        yield from self._action(record, x)

    def _continuation(self, record: Diagnostics, x: float, hold_s: float) -> Iterator[Reading]:
        p, mean, sd = record.continuation_p, record.drift_bps_per_s, record.drift_sd_bps_per_s
        if p is None or mean is None or sd is None or x == 0:
            return
        against = -mean if x > 0 else mean
        spread = sqrt(record.sigma_robust_bps_rt_s**2 * hold_s + (sd * hold_s) ** 2)
        if spread > 0:
            expected = 0.5 * erfc(-against * hold_s / spread / sqrt(2))
            yield Reading("continuation", p, expected)

    def _action(self, record: Diagnostics, x: float) -> Iterator[Reading]:
        stance = self._settings.stance
        u, p, held = record.urgency, record.continuation_p or 0.0, abs(x)
        must = held >= stance.reduce_x or u >= stance.reduce_urgency or p >= stance.reduce_p
        may = (
            held >= stance.reduce_x_leave
            or u >= stance.reduce_urgency_leave
            or p >= stance.reduce_p_leave
        )
        if must or not may:
            is_reducing = record.position_action == Action.REDUCE.value
            yield Reading("action", float(is_reducing), float(must))

    # -- both sides -------------------------------------------------------------------------------

    def _sides(self, record: Diagnostics, facts: Facts, base: Base) -> Iterator[Reading]:
        quoted = self._quoted
        response = self._response(record)
        if response is not None and record.response_bps is not None:
            yield Reading("opposed", record.response_bps, response)
        for side, falls, live_px in (
            (Side.BUY, record.bids, facts.live_bid_px),
            (Side.SELL, record.asks, facts.live_ask_px),
        ):
            yield from quoted.laid(record, base, side, falls)
            yield from quoted.placed(record, base, side, live_px)
            yield from self._memory(record, base, side)
            if not falls:
                continue
            yield from quoted.sided(record, base, side, falls[0])
            if response is not None:
                yield from quoted.opposed(record, base, side, falls[0], response)

    def _response(self, record: Diagnostics) -> float | None:
        """The answer once it has faded in or out; None on the way."""
        settled_ns = int((self._settings.stance.fade_s + 2) * NS_PER_S)
        now_ns = record.at_ns
        if self._opposed_ns is not None and now_ns - self._opposed_ns >= settled_ns:
            return self._quoted.response_bps(record)
        if self._calm_ns is not None and now_ns - self._calm_ns >= settled_ns:
            return 0.0
        return None

    def _memory(self, record: Diagnostics, base: Base, side: Side) -> Iterator[Reading]:
        """Pullback and price hold after a sweep, whether or not an order is wanted there."""
        sweeps, now_ns, name = self._sweeps, record.at_ns, side.name.lower()
        if sweeps.is_inherited(now_ns):
            return
        weight = sweeps.weight(side, record.q_frac)
        is_bid = side > 0
        pullback = record.cascade_bid_bps if is_bid else record.cascade_ask_bps
        expected = sweeps.pullback_bps(side, now_ns) * weight
        yield Reading("cascade", pullback, expected, name)
        is_held, hold_px = sweeps.hold(side, now_ns)
        if is_held and hold_px is None:
            return
        if not is_held and pullback > _NEWER * expected + EXPECTATIONS["cascade"].slack:
            # A burst that no record shows keeps the whole memory: its depth is judged just above.
            return
        wanted = 0.0
        if hold_px is not None:
            held_bps = side * (1.0 - hold_px / record.fair_px) * 1e4
            before_bps = self._quoted.before_hold_bps(record, base, side)
            wanted = max(0.0, held_bps - before_bps) * weight
        hold = record.hold_bid_bps if is_bid else record.hold_ask_bps
        # What rested was up to a line from what was wanted, which is all that the records show.
        ladder = self._settings.ladder
        line_bps = max(ladder.spacing_bps, record.sigma_bps_rt_s * sqrt(ladder.spacing_vol_s))
        slack = max(0.0, line_bps * weight - EXPECTATIONS["hold"].slack)
        yield Reading("hold", hold, wanted, name, slack)


def _violation(now_ns: int, reading: Reading, kind: Kind, since_ns: int) -> Violation:
    return Violation(
        now_ns, reading.term, reading.at, kind, reading.observed, reading.expected, since_ns
    )
