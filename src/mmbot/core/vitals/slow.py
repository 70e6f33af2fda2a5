"""What shows only over minutes: estimates that never move, bounds that always bind."""

from __future__ import annotations

from collections.abc import Iterator
from math import exp, inf, log

from mmbot.core.diagnostics import Diagnostics
from mmbot.core.types import NS_PER_S
from mmbot.core.vitals.expectation import EXPECTATIONS, Facts, Kind, Reading, Violation
from mmbot.core.vitals.quoted import Settings

_EVENTS_MIN = 10.0
_RATE_MARGIN = 1.5
"""Records are not of the same instant as the steps of the estimators."""

_ADVERSE_TO_BPS = 12.0
"""The law is at least half of the prior up to the deepest virtual quote."""

_AT_BOUND = 0.999
_DAY_NS = 24 * 3600 * NS_PER_S


class _Allowed:
    """A figure that moves at a bounded speed: what it may be by now."""

    __slots__ = ("_waited_s", "value")

    def __init__(self, prior: float) -> None:
        self.value = prior
        self._waited_s = 0.0

    def clip_ratio(self, observed: float, dt_s: float, log_rate_per_s: float) -> float:
        """The figure, if it can be that by now, else the nearest it can be."""
        self._waited_s += dt_s
        reach = exp(log_rate_per_s * self._waited_s * _RATE_MARGIN + 1e-3)
        return self._settle(observed, self.value / reach, self.value * reach)

    def clip_step(self, observed: float, dt_s: float, rate_per_s: float) -> float:
        """The same for one that moves by so much a second."""
        self._waited_s += dt_s
        reach = rate_per_s * self._waited_s * _RATE_MARGIN + 1e-4
        return self._settle(observed, self.value - reach, self.value + reach)

    def _settle(self, observed: float, low: float, high: float) -> float:
        if low <= observed <= high:
            self.value, self._waited_s = observed, 0.0
            return observed
        return max(low, min(high, observed))


class _Still:
    """Since when a figure has not changed at all."""

    __slots__ = ("_value", "is_raised", "since_ns")

    def __init__(self) -> None:
        self._value: object = None
        self.since_ns = 0
        self.is_raised = False

    def still_s(self, now_ns: int, value: object) -> float:
        """Seconds without a change."""
        if value != self._value:
            self._value, self.since_ns, self.is_raised = value, now_ns, False
        return (now_ns - self.since_ns) / NS_PER_S

    def restart(self) -> None:
        """Count from the next look on, unless it has lasted too long already."""
        if not self.is_raised:
            self._value = None


class Slow:
    """Speed limits of intensity and adverse law, and whatever stands still or is capped."""

    __slots__ = ("_a", "_a0", "_a1", "_capped", "_k", "_mid", "_settings", "_started_ns", "_still")

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._a = _Allowed(settings.intensity.a_per_s)
        self._k = _Allowed(settings.intensity.k_per_bp)
        self._a0 = _Allowed(settings.adverse.a0_bps)
        self._a1 = _Allowed(settings.adverse.a1)
        self._still: dict[tuple[str, str], _Still] = {}
        self._started_ns: int | None = None
        self._capped: dict[str, _Still] = {}
        self._mid: float | None = None

    def retune(self, settings: Settings) -> None:
        """Judge by other bounds of the quote's terms; what stands stays standing."""
        self._settings = settings

    @property
    def standing(self) -> set[str]:
        """Terms that a violation stands against."""
        still = {term for (term, _), each in self._still.items() if each.is_raised}
        return still | {term for term, each in self._capped.items() if each.is_raised}

    @property
    def is_well(self) -> bool:
        """Whether no violation stands."""
        return not self.standing

    @property
    def is_sound(self) -> bool:
        """Whether nothing stands still; what is at its bound does what it must, for too long."""
        return not any(each.is_raised for each in self._still.values())

    def reset_gap(self) -> None:
        """The link was lost: what was about to be learnt is lost too, so the clocks begin anew."""
        for each in self._still.values():
            each.restart()

    def intensity(self, record: Diagnostics, facts: Facts, dt_s: float) -> Iterator[Reading]:
        """A, k, a0 and a1 as served, and inside what their speed and their floors allow."""
        yield Reading("intensity", record.a_per_s, facts.a_per_s, "rate served")
        yield Reading("intensity", record.k_per_bp, facts.k_per_bp, "decay served")
        yield Reading("adverse", record.a0_bps, facts.a0_bps, "law served")
        yield Reading("adverse", record.a1, facts.a1, "slope served")
        intensity, adverse = self._settings.intensity, self._settings.adverse
        rate = log(1.0 + intensity.change_per_min_max) / 60
        k_prior, factor = intensity.k_per_bp, intensity.k_day_factor_max
        k = self._k.clip_ratio(record.k_per_bp, dt_s, rate / 2)
        yield Reading("intensity", record.a_per_s, self._a.clip_ratio(record.a_per_s, dt_s, rate))
        yield Reading("intensity", record.k_per_bp, k, "decay")
        in_day = max(k_prior / factor, min(k_prior * factor, record.k_per_bp))
        if self._started_ns is None:
            self._started_ns = record.at_ns
        if record.at_ns - self._started_ns < _DAY_NS:
            yield Reading("intensity", record.k_per_bp, in_day, "day")
        rate = log(1.0 + adverse.change_per_min_max) / 2 / 60
        a0_rate = rate * max(1.0, self._a0.value)
        a0 = self._a0.clip_step(record.a0_bps, dt_s, a0_rate)
        a1 = self._a1.clip_step(record.a1, dt_s, rate * (1.0 - min(0.99, self._a1.value)))
        yield Reading("adverse", record.a0_bps, max(a0, 0.5 * adverse.a0_bps), "law at 0")
        yield Reading("adverse", record.a1, a1, "slope")
        far = record.a0_bps + record.a1 * _ADVERSE_TO_BPS
        least = 0.5 * (adverse.a0_bps + adverse.a1 * _ADVERSE_TO_BPS)
        yield Reading("adverse", far, max(far, least), "law at 12")

    def take(self, record: Diagnostics, facts: Facts, off: frozenset[str]) -> list[Violation]:
        """What has stood still or at its bound for too long, with this record."""
        found: list[Violation] = []
        now_ns = record.at_ns
        # Without news a figure may stand still: the clock begins with the news. So it may at its
        # bound, where a market may lie for hours: no bound of these is a failure of the term.
        is_taped = facts.tape_events >= _EVENTS_MIN
        moved = self._mid is not None and record.mid_px != self._mid
        self._mid = record.mid_px
        for term, at, value, is_news, at_bound in (
            ("intensity", "rate", record.a_per_s, is_taped, False),
            ("intensity", "decay", record.k_per_bp, is_taped, facts.is_k_bounded),
            ("adverse", "law", record.a0_bps + record.a1, is_taped, facts.is_law_bounded),
            ("volatility", "", record.sigma_bps_rt_s, moved, self._is_volatility_bound(record)),
        ):
            limit_s = EXPECTATIONS[term].constant_s or inf
            each = self._still.setdefault((term, at), _Still())
            still_s = each.still_s(now_ns, (value, is_taped, at_bound))
            if still_s < limit_s or not is_news or at_bound or each.is_raised or term in off:
                continue
            each.is_raised = True
            found.append(Violation(now_ns, term, at, Kind.CONSTANT, value, value, each.since_ns))
        for term, is_capped, observed in self._bounds(record):
            limit_s = EXPECTATIONS[term].capped_s or inf
            bound = self._capped.setdefault(term, _Still())
            still_s = bound.still_s(now_ns, is_capped)
            if not is_capped or still_s < limit_s or bound.is_raised or term in off:
                continue
            bound.is_raised = True
            found.append(
                Violation(now_ns, term, "", Kind.CAPPED, observed, observed, bound.since_ns)
            )
        return found

    def _is_volatility_bound(self, record: Diagnostics) -> bool:
        params, sigma = self._settings.volatility, record.sigma_bps_rt_s
        is_low = sigma <= params.vol_bps_rt_s_min
        return is_low or sigma >= params.vol_bps_rt_s_max * _AT_BOUND

    def _bounds(self, record: Diagnostics) -> Iterator[tuple[str, object, float]]:
        """
        Term, at which of its bounds (false for none), figure.

        A standstill is no fault of the volatility, so only its upper bound counts.
        """
        settings = self._settings
        quoter = settings.quoter
        sigma_max = settings.volatility.vol_bps_rt_s_max
        drift_bound = quoter.drift_x_max * record.skew_bps
        widening, cascade = record.widening_bps, record.cascade_bid_bps + record.cascade_ask_bps
        for term, value, bound in (
            ("volatility", record.sigma_bps_rt_s, sigma_max),
            ("glft", record.glft_bps, quoter.glft_bps_max),
            ("drift", record.drift_adj_bps or 0.0, drift_bound),
            ("funding", record.funding_bps or 0.0, quoter.funding_bps_max),
            ("reference", record.reference_bps or 0.0, quoter.reference_bps_max),
            ("widening", widening, quoter.widening_bps_max),
            ("cascade", cascade, settings.cascade.extra_bps_max),
        ):
            at = abs(value) >= bound * _AT_BOUND and bound > 0
            yield term, (1 if value > 0 else -1) if at else False, value
        yield "opposed", record.is_response_capped, record.response_bps or 0.0
        others = record.shift_bps - record.inventory_skew_bps
        yield "shift_cap", abs(others) >= quoter.shift_bps_max * _AT_BOUND, others
