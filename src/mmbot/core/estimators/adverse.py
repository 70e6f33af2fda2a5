"""
What a fill costs after the fact: the adverse law a(d) = a0 + a1 d, learnt from the public tape.

Virtual quotes make it known before we have traded, at depths where we do not quote, and free of
the choice of when we quote. Own fills refine its level.
"""

from __future__ import annotations

from math import log

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from mmbot.core.estimators.adverse_fit import Line, fit_line, raised
from mmbot.core.estimators.virtual import DEPTHS_BPS, HORIZONS_S, DepthRow, VirtualQuotes
from mmbot.core.types import NS_PER_S, Side

_NEAR = HORIZONS_S.index(5)
_HOLD = HORIZONS_S.index(30)
"""The horizon of the round trip is charged; the first seconds are a floor."""

_STEP_NS = NS_PER_S
_STEP_S_MAX = 60.0
"""After a long silence of ours the law moves by a minute's worth at most."""

_REFIT_NS = 60 * NS_PER_S
"""Without new evidence the law only ages, so it is fitted this seldom."""

_TURN_BPS = 6.0
"""Depth at which 'wider' is judged: the middle of the range quoted."""


class AdverseParams(BaseModel):
    """Prior of the adverse law, and how fast what is learnt reaches a quote."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    a0_bps: float = Field(
        1.8, ge=0, le=20, description="Adverse move of a fill at zero depth, bps (prior)."
    )
    a1: float = Field(
        0.3, ge=0, le=0.8, description="Growth of the adverse move per bps of depth (prior)."
    )
    prior_events: float = Field(
        30.0, ge=5, le=1000, description="Worth of the prior in events, at each depth."
    )
    half_life_s: float = Field(
        7200.0, ge=600, le=86_400, description="Half-life of the evidence of the tape, s."
    )
    own_half_life_events: float = Field(
        30.0, ge=5, le=500, description="Half-life of the evidence of own fills, events."
    )
    move_bps_max: float = Field(
        100.0, ge=20, le=1000, description="Bound of one event's move, bps: one crash is one event."
    )
    a0_bps_max: float = Field(20.0, ge=1, le=60, description="Upper bound of a0, bps.")
    a1_max: float = Field(0.8, ge=0, le=0.9, description="Upper bound of a1.")
    widen_half_life_s: float = Field(
        20.0, ge=1, le=300, description="Half-life of a change that widens the quote, s."
    )
    tighten_half_life_s: float = Field(
        300.0, ge=60, le=3600, description="Half-life of a change that tightens the quote, s."
    )
    change_per_min_max: float = Field(
        0.2, ge=0.01, le=0.5, description="Largest effect on the quote in a minute, fraction."
    )


class AdverseView(msgspec.Struct, frozen=True):
    """The law to quote with, and the table behind it."""

    a0_bps: float
    a1: float
    events: float
    """Events at the nearest depth, after forgetting."""
    own_events: float
    table: tuple[DepthRow, ...]

    def at(self, depth_bps: float) -> float:
        """Adverse move to charge to a fill at `depth_bps`, bps."""
        return self.a0_bps + self.a1 * depth_bps


class Adverse:
    """
    Learn a(d) = a0 + a1 d: the expected move against a fill at depth d, bps, positive against us.

    At each depth the mean move over 30 s is shrunk to the prior, worth 30 events; a line is fitted
    through the depths with the events as weights; own fills move its level, again against a prior
    of 30 events. The law is never below half of that for 5 s nor below half of the prior, anywhere
    from 0 to 12 bps.

    An event joins only when its last horizon is over, 60 s after it: no fill tightens a quote
    within that time. What is served then moves up with a half-life of 20 s, down of 300 s, and
    by at most 20 % of the half spread a minute (half of it each to a0 and to 1 - a1).

    Source: the surplus depth - fee - a(depth) of a maker among informed takers, after Glosten and
    Milgrom (1985), Bid, ask and transaction prices, J. Financial Economics 14(1).
    """

    __slots__ = (
        "_fitted_joined",
        "_fitted_ns",
        "_params",
        "_rate_per_s",
        "_served",
        "_stepped_ns",
        "_target",
        "_view",
        "is_bounded",
        "quotes",
    )

    def __init__(self, params: AdverseParams) -> None:
        self._params = params
        self._rate_per_s = log(1.0 + params.change_per_min_max) / 2 / 60.0
        self._served = self._target = Line(params.a0_bps, params.a1)
        self.quotes = VirtualQuotes(
            half_life_s=params.half_life_s,
            own_half_life_events=params.own_half_life_events,
            move_bps_max=params.move_bps_max,
        )
        """The evidence."""
        self.is_bounded = False
        """Whether the law asked for stands still because the evidence lies beyond its bounds."""
        self._stepped_ns: int | None = None
        self._fitted_ns = 0
        self._fitted_joined = 0
        self._view: AdverseView | None = None

    @property
    def ignored(self) -> int:
        """Inputs refused: not positive and finite, late, or told before."""
        return self.quotes.ignored

    def on_trades(self, recv_ns: int, side: Side, reach_bps: float, mid: float) -> None:
        """Take one aggressor event; see `VirtualQuotes.on_trades`."""
        self.quotes.on_trades(recv_ns, side, reach_bps, mid)

    def on_own_event(self, recv_ns: int, side: Side, depth_bps: float, mid: float) -> None:
        """Take one event of own fills; see `VirtualQuotes.on_own_event`."""
        self.quotes.on_own_event(recv_ns, side, depth_bps, mid)

    def on_mid(self, now_ns: int, mid: float) -> None:
        """Take a mid in the unit of the events' mids; once a second the served law moves."""
        if not self.quotes.on_mid(now_ns, mid):
            return
        if self._stepped_ns is None:
            self._stepped_ns = now_ns
        elif now_ns - self._stepped_ns >= _STEP_NS:
            self._step(now_ns, min((now_ns - self._stepped_ns) / NS_PER_S, _STEP_S_MAX))
            self._stepped_ns = now_ns
            self._view = None

    def reset_gap(self) -> None:
        """The link was lost: what waits for its horizon is dropped, what is learnt stays."""
        self.quotes.reset_gap()

    @property
    def law(self) -> Line:
        """The law to quote with, as of the last mid."""
        return self._served

    def view(self) -> AdverseView:
        """The law and the table as of the last mid; built anew at most once a second."""
        if self._view is None:
            self._view = AdverseView(
                a0_bps=self._served.a0_bps,
                a1=self._served.a1,
                events=self.quotes.events(_HOLD, 0),
                own_events=self.quotes.own[0],
                table=self.quotes.rows(),
            )
        return self._view

    def target(self) -> tuple[float, float]:
        """a0 (bps) and a1 that the evidence in hand asks for, before the bounds on speed."""
        line = self._law()
        return line.a0_bps, line.a1

    def _step(self, now_ns: int, dt_s: float) -> None:
        """Move the served law towards the one that the evidence asks for."""
        params, served = self._params, self._served
        if self.quotes.joined != self._fitted_joined or now_ns - self._fitted_ns >= _REFIT_NS:
            self._target = self._law()
            self._fitted_joined, self._fitted_ns = self.quotes.joined, now_ns
        target = self._target
        rise = target.at(_TURN_BPS) - served.at(_TURN_BPS)
        half_life_s = params.widen_half_life_s if rise > 0.0 else params.tighten_half_life_s
        weight = 1.0 - 2.0 ** (-dt_s / half_life_s)
        bound = self._rate_per_s * dt_s
        d0, d1 = abs(target.a0_bps - served.a0_bps), abs(target.a1 - served.a1)
        if d0 > 0.0:
            weight = min(weight, bound * max(1.0, served.a0_bps) / d0)
        if d1 > 0.0:
            weight = min(weight, bound * (1.0 - served.a1) / d1)
        # One weight for both figures: a mixture of two laws above a floor stays above it.
        self._served = Line(
            served.a0_bps + weight * (target.a0_bps - served.a0_bps),
            served.a1 + weight * (target.a1 - served.a1),
        )

    def _law(self) -> Line:
        """The law that the evidence asks for, with its floors and bounds."""
        params, near, fit = self._params, self._fit(_NEAR), self._fit(_HOLD)
        prior = Line(0.5 * params.a0_bps, 0.5 * params.a1)
        moving = raised(fit, Line(0.5 * near.a0_bps, 0.5 * near.a1), to_bps=DEPTHS_BPS[-1])
        hold = raised(moving, prior, to_bps=DEPTHS_BPS[-1])
        is_level_bound = hold.a0_bps > moving.a0_bps or hold.a0_bps >= params.a0_bps_max
        self.is_bounded = is_level_bound and hold.a1 in (0.0, params.a1_max)
        return Line(min(params.a0_bps_max, hold.a0_bps), hold.a1)

    def _fit(self, horizon: int) -> Line:
        params, quotes, prior = self._params, self.quotes, self._params.prior_events
        points = []
        for i, depth_bps in enumerate(DEPTHS_BPS):
            events, seen = quotes.events(horizon, i), quotes.mean_bps(horizon, i)
            expected = params.a0_bps + params.a1 * depth_bps
            total = prior + events
            shrunk = expected if seen is None else (prior * expected + events * seen) / total
            points.append((depth_bps, shrunk, total))
        line = fit_line(points, slope_max=params.a1_max)
        own, depths, *moves = quotes.own
        if own > 0.0:
            excess = moves[horizon] / own - line.at(depths / own)
            line = Line(line.a0_bps + own / (own + prior) * excess, line.a1)
        return line
