"""
How often a quote at some depth is filled: lambda(d) = A exp(-k d) per side.

k and a first A come from the public tape, the served A from our own fills and the time our orders
really rested. This is the running form of the fits in `intensity_fit`.
"""

from __future__ import annotations

from collections import deque
from math import exp, inf, log, sqrt
from operator import itemgetter

import msgspec
from pydantic import BaseModel, ConfigDict, Field, model_validator

from mmbot.core.types import NS_PER_S, Side

_SIDES = 2.0
"""The evidence of both sides is pooled; A is the rate of one side."""

_DELAY_NS = 60 * NS_PER_S
"""Evidence that tightens waits this long: more fills must never tighten a quote within 60 s."""

_GAP_NS = 60 * NS_PER_S
"""A longer silence of our own calls is a gap: what was not watched is not time without events."""

_STEP_NS = NS_PER_S
"""The served figures move at most once a second."""

_DEPTH_BPS_MAX = 64.0
_BIN_BPS = 0.5
_BINS = int(_DEPTH_BPS_MAX / _BIN_BPS)
"""Resting time is kept in bins of half a bps with its mean depth; exp(-k d) is off by 0.3 %."""

_FRESH = 1024
"""Waiting events that may lower k before their time; more in a minute than this just wait."""

_UNIT_MAX = 2.0**30

_DAY_BLOCK_NS = 3600 * NS_PER_S
_DAY_BLOCKS = 25
"""Hours whose extremes bound k: the one in progress and the 24 before it."""


_EXCESS = itemgetter(1)


class IntensityParams(BaseModel):
    """Prior of A and k, and how fast what is learnt reaches a quote."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    a_per_s: float = Field(
        0.12, gt=0, le=100, description="Fill intensity of one side at zero depth, per s (prior)."
    )
    k_per_bp: float = Field(
        0.5, ge=0.02, le=10, description="Decay of fill intensity with depth, per bps (prior)."
    )
    prior_events: float = Field(
        20.0, ge=5, le=1000, description="Worth of the prior in aggressor events or own fills."
    )
    d_min_bps: float = Field(
        2.0, ge=0, le=20, description="Least reach of an event that counts, bps."
    )
    d_max_bps: float = Field(
        12.0, gt=0, le=60, description="Reach beyond which only 'at least' is believed, bps."
    )
    half_life_s: float = Field(
        3600.0, ge=300, le=86_400, description="Half-life of the evidence, s."
    )
    widen_half_life_s: float = Field(
        20.0, ge=1, le=300, description="Half-life of a change that widens the quote, s."
    )
    tighten_half_life_s: float = Field(
        300.0, ge=60, le=3600, description="Half-life of a change that tightens the quote, s."
    )
    change_per_min_max: float = Field(
        0.2, ge=0.01, le=0.5, description="Largest effect on the quote in a minute, fraction."
    )
    k_day_factor_max: float = Field(
        2.0, ge=1.1, le=4, description="Largest ratio of any two k served within 24 h."
    )

    @model_validator(mode="after")
    def _ordered(self) -> IntensityParams:
        if self.d_max_bps < self.d_min_bps + 1.0:
            msg = (
                "d_max_bps must be at least 1 bps above d_min_bps, got "
                f"{self.d_max_bps} and {self.d_min_bps}"
            )
            raise ValueError(msg)
        if self.widen_half_life_s > self.tighten_half_life_s:
            msg = (
                "widen_half_life_s must not exceed tighten_half_life_s, got "
                f"{self.widen_half_life_s} and {self.tighten_half_life_s}"
            )
            raise ValueError(msg)
        return self


class IntensityView(msgspec.Struct, frozen=True, gc=False):
    """What the quoter may use, and the evidence behind it (the prior counts in `k_se`)."""

    a_per_s: float
    """Fills per second of one side at zero depth."""
    k_per_bp: float
    k_se: float
    events: float
    """Aggressor events within the range, both sides, after forgetting."""
    own_fills: float
    """Own fills after forgetting."""


class _Second:
    """Evidence of one second that waits: watched time, events, uncensored ones, own fills."""

    __slots__ = ("events", "excess", "fills", "number", "uncensored", "watched_s")

    def __init__(self, number: int) -> None:
        self.number = number
        self.watched_s = self.events = self.uncensored = self.excess = self.fills = 0.0

    def fade(self, keep: float) -> None:
        """Forget with the rest of the evidence; for a silence longer than the wait itself."""
        self.watched_s *= keep
        self.events *= keep
        self.uncensored *= keep
        self.excess *= keep
        self.fills *= keep


class Intensity:
    """
    Running A (per side) and k of lambda(d) = A exp(-k d), from the tape and from own fills.

        k = (w + n_u) / (w/k0 + sum excess)                censored exponential, Gamma prior
        A_tape = (w + n) / (w/l0 + T) e^(k d_min),         l0 = A0 e^(-k0 d_min)
        A = (w + fills) / (w/A_tape + sum t_j e^(-k d_j))  Poisson, the tape as the prior

    w is the worth of the prior in events, so a figure is there from the first second. Evidence is
    forgotten exponentially. Time counts only while `view` or `on_trades` is called at least once a
    minute, resting time only as told by `on_exposure`.

    What is served approaches these targets, downwards (a wider quote) with a half-life of 20 s,
    upwards of 300 s. Evidence that raises a target joins it only 60 s after it happened, so an
    added fill or trade never makes A or k larger within that time. Speed is bounded so that the
    effect on half spread and skew stays below 20 % a minute: their elasticity is at most 1 in k
    and 1/2 in A, hence half the bound to ln k, the whole to ln A.

    Source: model of Avellaneda and Stoikov (2008), section 2.5; conjugate priors; bounds are ours.
    """

    __slots__ = (
        "_a",
        "_bins",
        "_blocks",
        "_clocked_ns",
        "_d_max",
        "_d_min",
        "_excess",
        "_exposure_s",
        "_exposure_sbp",
        "_fills",
        "_fresh",
        "_half_life_s",
        "_k",
        "_k_factor",
        "_n",
        "_n_uncensored",
        "_rate_per_s",
        "_stepped_ns",
        "_tighten_s",
        "_told",
        "_traded_ns",
        "_unit",
        "_view",
        "_waiting",
        "_waiting_fills",
        "_watched_s",
        "_weight",
        "_widen_s",
        "ignored",
        "is_bounded",
        "prior",
    )

    def __init__(self, params: IntensityParams) -> None:
        self.prior = params
        self._d_min, self._d_max = params.d_min_bps, params.d_max_bps
        self._half_life_s = params.half_life_s
        self._widen_s, self._tighten_s = params.widen_half_life_s, params.tighten_half_life_s
        self._rate_per_s = log(1.0 + params.change_per_min_max) / 60.0
        self._k_factor = params.k_day_factor_max
        weight = self._weight = params.prior_events
        self._a, self._k = params.a_per_s, params.k_per_bp
        self._n = self._n_uncensored = self._excess = self._watched_s = self._fills = 0.0
        self._exposure_s = [0.0] * _BINS
        self._exposure_sbp = [0.0] * _BINS
        self._bins: list[int] = []
        """Those in which anything ever rested, in order."""
        self._unit = 1.0
        """Weight of a second told now: resting time is forgotten by weighing what follows more."""
        self._waiting: deque[_Second] = deque()
        """Per second of our time, see `_Second`; each waits until all of it is a minute old."""
        self._fresh: deque[tuple[int, float]] = deque()
        """Second and excess of each uncensored event that waits."""
        self._waiting_fills = 0.0
        """Own fills told since the clock was last advanced; they join the second in progress."""
        self._blocks: deque[list[float]] = deque(maxlen=_DAY_BLOCKS)
        """Per hour: its number, least and largest k served."""
        self._clocked_ns: int | None = None
        self._stepped_ns: int | None = None
        self._traded_ns = -1
        self._told: set[tuple[Side, float]] = set()
        """Events of the newest receive time: told twice, they count once."""
        self._view = IntensityView(self._a, self._k, self._k / sqrt(weight), 0.0, 0.0)
        self.ignored = 0
        """Inputs refused: not a positive finite figure, late, or told before."""
        self.is_bounded = False
        """Whether the served k stands still because it may not move farther within the day."""

    # -- evidence ---------------------------------------------------------------------------------

    def on_trades(self, recv_ns: int, side: Side, reach_bps: float) -> None:
        """Count one aggressor event, its trades merged; reach is from the mid just before, bps."""
        event = (side, reach_bps)
        if (
            not 0.0 < reach_bps < inf
            or recv_ns < self._traded_ns
            or (recv_ns == self._traded_ns and event in self._told)
        ):
            self.ignored += 1
            return
        if recv_ns > self._traded_ns:
            self._traded_ns = recv_ns
            self._told.clear()
        self._told.add(event)
        if self._clocked_ns is None or recv_ns > self._clocked_ns:
            self._advance(recv_ns)
        if reach_bps < self._d_min:
            return
        second = self._waiting[-1]
        second.events += 1.0
        if reach_bps >= self._d_max:
            # "At least this far" can only lower k, so it need not wait.
            self._excess += self._d_max - self._d_min
            return
        excess = reach_bps - self._d_min
        second.uncensored += 1.0
        second.excess += excess
        if len(self._fresh) < _FRESH:
            self._fresh.append((second.number, excess))

    def on_exposure(self, side: Side, depth_bps: float, seconds: float) -> None:  # noqa: ARG002
        """Add time during which one order of ours rested at a depth from the mid, bps."""
        # The sides are pooled: a side's own A would be a directional signal by the back door.
        if not (0.0 <= depth_bps < _DEPTH_BPS_MAX and 0.0 < seconds < inf):
            self.ignored += 1
            return
        i = int(depth_bps / _BIN_BPS)
        if not self._exposure_s[i]:
            self._bins = sorted({*self._bins, i})
        self._exposure_s[i] += seconds * self._unit
        self._exposure_sbp[i] += seconds * depth_bps * self._unit

    def on_own_fill(self, depth_bps: float) -> None:
        """Count one order of ours that was filled at a depth from the mid, bps (parts merged)."""
        if not 0.0 <= depth_bps < _DEPTH_BPS_MAX:
            self.ignored += 1
            return
        self._waiting_fills += 1.0

    def reset_gap(self) -> None:
        """The link was lost: the time until the next call was not watched."""
        self._clocked_ns = None

    # -- serving ----------------------------------------------------------------------------------

    def view(self, now_ns: int) -> IntensityView:
        """Figures to quote with at `now_ns`; the prior before there is evidence."""
        if self._clocked_ns is None or now_ns > self._clocked_ns:
            self._advance(now_ns)
        return self._view

    @property
    def served(self) -> IntensityView:
        """The figures as of the last call of `view`."""
        return self._view

    def decay(self) -> float:
        """The k that the evidence in hand asks for, before smoothing and bounds."""
        weight = self._weight
        events, excess = weight + self._n_uncensored, weight / self.prior.k_per_bp + self._excess
        # Of the events that wait, those count already that make k smallest: the farthest ones.
        # One event more can then only lower k.
        for _, reached in sorted(self._fresh, key=_EXCESS, reverse=True):
            if reached * events <= excess:
                break
            events += 1.0
            excess += reached
        return events / excess

    def target(self) -> tuple[float, float]:
        """A and k that the evidence in hand asks for, before smoothing and bounds."""
        prior, weight, k = self.prior, self._weight, self.decay()
        silence_s = weight / (prior.a_per_s * exp(-prior.k_per_bp * self._d_min))
        tape = (weight + self._n) / (silence_s + self._watched_s) * exp(k * self._d_min)
        rested = 0.0
        exposure_s, exposure_sbp = self._exposure_s, self._exposure_sbp
        for i in self._bins:
            seconds = exposure_s[i]
            if seconds > 0.0:
                rested += seconds * exp(-k * exposure_sbp[i] / seconds)
        return (weight + self._fills) / (weight / tape + rested / self._unit), k

    def _second(self, now_ns: int) -> _Second:
        """The waiting second in progress."""
        waiting = self._waiting
        number = now_ns // NS_PER_S
        if not waiting or waiting[-1].number != number:
            waiting.append(_Second(number))
        return waiting[-1]

    def _advance(self, now_ns: int) -> None:
        """Let time pass: watched seconds, evidence whose wait is over, and the served figures."""
        last_ns, self._clocked_ns = self._clocked_ns, now_ns
        second = self._second(now_ns)
        if last_ns is not None and now_ns - last_ns <= _GAP_NS:
            second.watched_s += _SIDES * (now_ns - last_ns) / NS_PER_S
        if self._waiting_fills:
            second.fills += self._waiting_fills
            self._waiting_fills = 0.0
        stepped_ns = self._stepped_ns
        if stepped_ns is None:
            self._stepped_ns = now_ns
            self._remember(now_ns)
            return
        if now_ns - stepped_ns < _STEP_NS:
            return
        self._stepped_ns = now_ns
        dt_s = (now_ns - stepped_ns) / NS_PER_S
        keep = 2.0 ** -min(dt_s / self._half_life_s, 400.0)
        self._forget(keep)
        if now_ns - stepped_ns > _DELAY_NS:
            for waiting in self._waiting:
                waiting.fade(keep)
        self._release(now_ns)
        a, k = self.target()
        # A long silence of ours must not let a figure jump by all it could have moved in it.
        dt_s = min(dt_s, _GAP_NS / NS_PER_S)
        wanted = self._approach(self._k, k, dt_s, self._rate_per_s / 2)
        self._k = self._bounded_day(wanted)
        self.is_bounded = self._k != wanted
        self._a = self._approach(self._a, a, dt_s, self._rate_per_s)
        self._remember(now_ns)
        self._view = IntensityView(
            self._a,
            self._k,
            k / sqrt(self._weight + self._n_uncensored),
            self._n,
            self._fills,
        )

    def _forget(self, keep: float) -> None:
        self._n *= keep
        self._n_uncensored *= keep
        self._excess *= keep
        self._watched_s *= keep
        self._fills *= keep
        self._unit /= keep
        if self._unit > _UNIT_MAX:
            self._exposure_s = [seconds / self._unit for seconds in self._exposure_s]
            self._exposure_sbp = [moment / self._unit for moment in self._exposure_sbp]
            self._unit = 1.0

    def _release(self, now_ns: int) -> None:
        """Join evidence all of which is older than the delay."""
        ripe = (now_ns - _DELAY_NS) // NS_PER_S
        waiting = self._waiting
        while waiting and waiting[0].number < ripe:
            second = waiting.popleft()
            self._watched_s += second.watched_s
            self._n += second.events
            self._n_uncensored += second.uncensored
            self._excess += second.excess
            self._fills += second.fills
        fresh = self._fresh
        while fresh and fresh[0][0] < ripe:
            fresh.popleft()

    def _approach(self, served: float, target: float, dt_s: float, rate_per_s: float) -> float:
        """One step in logarithms: fast down, slowly up, never faster than the rate."""
        gap = log(target / served)
        half_life_s = self._tighten_s if gap > 0.0 else self._widen_s
        step = gap * (1.0 - 2.0 ** (-dt_s / half_life_s))
        bound = rate_per_s * dt_s
        return served * exp(max(-bound, min(bound, step)))

    def _bounded_day(self, k: float) -> float:
        largest = max(block[2] for block in self._blocks)
        least = min(block[1] for block in self._blocks)
        return max(largest / self._k_factor, min(least * self._k_factor, k))

    def _remember(self, now_ns: int) -> None:
        blocks, k = self._blocks, self._k
        number = now_ns // _DAY_BLOCK_NS
        # The hour in progress and 24 whole ones; hours without a call hold no k.
        while blocks and blocks[0][0] <= number - _DAY_BLOCKS:
            blocks.popleft()
        if blocks and blocks[-1][0] == number:
            blocks[-1][1] = min(blocks[-1][1], k)
            blocks[-1][2] = max(blocks[-1][2], k)
        else:
            blocks.append([number, k, k])
